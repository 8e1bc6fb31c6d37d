# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Insights of EKS: read, judged, asked for anew."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from unit.scripted_aws import ScriptedAws, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.eks.insights import (
    Insight,
    Refresh,
    RefreshFailed,
    counts,
    in_words,
    is_over,
    is_stale,
    list_insights,
    read_insight,
    refresh_insights,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import WaitTimeout

LOOKED = datetime(2026, 11, 21, 1, 2, 3, tzinfo=timezone.utc)


def summary(name: str = "Kubelet version skew", status: str = "ERROR", version: str = "1.32") -> dict[str, Any]:
    return {
        "id": f"id-of-{name}",
        "name": name,
        "category": "UPGRADE_READINESS",
        "kubernetesVersion": version,
        "lastRefreshTime": LOOKED,
        "lastTransitionTime": LOOKED,
        "description": "Checks it. ",
        "insightStatus": {"status": status, "reason": "why"},
    }


def listed(script: ScriptedAws, *summaries: dict[str, Any]) -> list[Insight]:
    wanted = {"categories": ["UPGRADE_READINESS"], "kubernetesVersions": ["1.32"]}
    script.expect("eks", "list_insights", {"insights": list(summaries)}, clusterName="prod", filter=wanted)
    return list_insights(script.aws, "prod", version="1.32")


def test_the_worst_is_first() -> None:
    with scripted_aws() as script:
        found = listed(script, summary("a", "PASSING"), summary("b", "WARNING"), summary("c"), summary("d", "UNKNOWN"))
    assert [one.name for one in found] == ["c", "b", "d", "a"]
    assert counts(found) == {"PASSING": 1, "WARNING": 1, "ERROR": 1, "UNKNOWN": 1}
    assert (found[0].refreshed, found[0].description) == ("2026-11-21T01:02:03Z", "Checks it.")


def test_an_insight_in_full() -> None:
    resource = {"insightStatus": {"status": "ERROR", "reason": "old"}, "kubernetesResourceUri": "/api/v1/nodes/a"}
    deprecation = {"usage": "/apis/x", "replacedWith": "/apis/y", "clientStats": [{"userAgent": "curl/8"}]}
    special = {
        "deprecationDetails": [deprecation],
        "addonCompatibilityDetails": [{"name": "coredns", "compatibleVersions": ["v1.11.4-eksbuild.2"]}],
    }
    whole = {
        **summary(),
        "recommendation": "Update your nodes.",
        "additionalInfo": {"Skew": "https://kubernetes.io/releases/version-skew-policy/"},
        "resources": [resource, {"insightStatus": {"status": "PASSING"}, "arn": "arn:fine"}],
        "categorySpecificSummary": special,
    }
    with scripted_aws() as script:
        (found,) = listed(script, summary())
        given = {"clusterName": "prod", "id": found.id}
        script.expect("eks", "describe_insight", {"insight": whole}, **given)
        full = read_insight(script.aws, "prod", found)
        script.fail("eks", "describe_insight", "ResourceNotFoundException", "no", **given)
        gone = read_insight(script.aws, "prod", found)
    assert in_words(full) == "Kubelet version skew: why (Update your nodes.) [/api/v1/nodes/a]"
    assert full.record["deprecations"][0]["clients"] == [{"user_agent": "curl/8", "requests": 0, "last": ""}]
    assert full.record["addons"] == [{"name": "coredns", "compatible_versions": ["v1.11.4-eksbuild.2"]}]
    assert (gone.id, gone.recommendation) == (found.id, "EKS has looked again meanwhile, and has none of this any more")


@pytest.mark.parametrize(
    ("age", "max_age", "stale"), [(60, 86400, False), (86401, 86400, True), (86401, 0, False), (61, 60, True)]
)
def test_when_an_insight_is_stale(age: float, max_age: float, stale: bool) -> None:
    with scripted_aws() as script:
        (found,) = listed(script, summary())
    assert is_stale(found, LOOKED + timedelta(seconds=age), max_age) is stale


def test_a_cluster_that_is_not_there_is_named() -> None:
    with scripted_aws() as script, pytest.raises(AwsError, match="EKS knows no cluster prod in eu-west-1") as missing:
        wanted = {"categories": ["UPGRADE_READINESS"]}
        script.fail("eks", "list_insights", "ResourceNotFoundException", "no", clusterName="prod", filter=wanted)
        list_insights(script.aws, "prod")
    assert missing.value.reason == "cluster_not_found"


# ---- looking again


def expect_look(script: ScriptedAws, status: str, minutes: int = 5) -> None:
    began = LOOKED + timedelta(minutes=minutes)
    answer = {"status": status, "message": "so it is", "startedAt": began}
    script.expect("eks", "describe_insights_refresh", answer, clusterName="prod")


def refresh(script: ScriptedAws, timeout: float = 60) -> Refresh:
    return refresh_insights(script.aws, script.call, "prod", timeout=timeout, poll_seconds=5)


def test_a_look_is_asked_for_once_and_awaited_past_the_one_of_before() -> None:
    with scripted_aws() as script:
        expect_look(script, "COMPLETED", minutes=1)
        script.expect("eks", "start_insights_refresh", {"status": "IN_PROGRESS"}, clusterName="prod")
        expect_look(script, "COMPLETED", minutes=1)
        expect_look(script, "IN_PROGRESS")
        expect_look(script, "COMPLETED")
        assert refresh(script).began == "2026-11-21T01:07:03Z"
        assert script.clock.sleeps == [5, 5]


def test_a_look_that_is_under_way_is_waited_for() -> None:
    with scripted_aws() as script:
        expect_look(script, "IN_PROGRESS")
        expect_look(script, "FAILED")
        with pytest.raises(RefreshFailed, match="EKS could not look at cluster prod again: so it is"):
            refresh(script)


def test_the_first_look_of_all_may_take_too_long() -> None:
    with scripted_aws() as script:
        script.fail(
            "eks", "describe_insights_refresh", "ResourceNotFoundException", "none was asked for", clusterName="prod"
        )
        script.expect("eks", "start_insights_refresh", {"status": "IN_PROGRESS"}, clusterName="prod")
        expect_look(script, "IN_PROGRESS")
        expect_look(script, "IN_PROGRESS")
        with pytest.raises(WaitTimeout, match="has not looked at cluster prod again in 5 s") as late:
            refresh(script, timeout=5)
    assert late.value.reason == "refresh_timeout"


@pytest.mark.parametrize(
    ("seen", "before", "over"),
    [
        (Refresh("COMPLETED", began="2"), Refresh("COMPLETED", began="1"), True),
        (Refresh("COMPLETED", began="1"), Refresh("COMPLETED", began="1"), False),
        (Refresh("COMPLETED", began="1"), Refresh("IN_PROGRESS", began="1"), True),
        (Refresh("COMPLETED"), Refresh("COMPLETED"), True),  # EKS does not say when
        (Refresh("NEVER"), Refresh("NEVER"), False),
    ],
)
def test_when_a_look_is_over(seen: Refresh, before: Refresh, over: bool) -> None:
    assert is_over(seen, before) is over


@pytest.mark.parametrize(("code", "kind"), [("InvalidRequestException", RefreshFailed), ("ClientException", AwsError)])
def test_a_look_that_eks_refuses_now_is_one_that_failed(code: str, kind: type[Exception]) -> None:
    """An upgrade goes on with what is known then, and says so."""
    with scripted_aws() as script:
        expect_look(script, "COMPLETED")
        script.fail("eks", "start_insights_refresh", code, "a look a minute", clusterName="prod")
        with pytest.raises(kind, match="a look a minute") as refused:
            refresh(script)
    assert isinstance(refused.value, RefreshFailed) is (kind is RefreshFailed)
