# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is next about a control plane, and what forbids it: tables of decisions."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.eks import decisions
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import (
    Cluster,
    Issue,
    cluster_from,
    sorted_versions,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.decisions import Refused, next_move
from ansible_collections.evergreen.eks.plugins.module_utils.eks.insights import Insight
from ansible_collections.evergreen.eks.plugins.module_utils.eks.updates import Update
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Kubelet, Version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
BEGAN = "2026-11-21T01:02:03Z"


def v(minor: int) -> Version:
    return Version(1, minor)


def cluster(minor: int = 31, status: str = "ACTIVE", *issues: Issue) -> Cluster:
    return Cluster("prod", "arn:aws:eks:eu-west-1:1:cluster/prod", v(minor), "eks.1", status, issues)


def update(kind: str = "VersionUpdate", to: str = "1.32", status: str = "InProgress", created: str = BEGAN) -> Update:
    return Update("u-1", kind, status, created=created, params={"Version": to} if to else {})


def insight(name: str = "Kubelet version skew", status: str = "ERROR", refreshed: str = BEGAN) -> Insight:
    return Insight(f"id-of-{name}", name, "UPGRADE_READINESS", "1.32", status, "why", "", refreshed, refreshed)


# ---- what is next


@pytest.mark.parametrize(
    ("minor", "status", "running", "kind", "to"),
    [
        (33, "ACTIVE", None, "done", None),
        (31, "ACTIVE", None, "step", 32),
        (32, "ACTIVE", None, "step", 33),
        (31, "UPDATING", update(), "join", 32),
        (31, "ACTIVE", update(), "join", 32),  # its status follows with a delay
        (31, "UPDATING", update("LoggingUpdate", ""), "sit_out", None),
        (33, "UPDATING", update("ConfigUpdate", ""), "sit_out", None),
        (31, "UPDATING", None, "wait", None),
        (33, "UPDATING", None, "done", None),
    ],
)
def test_what_is_next(minor: int, status: str, running: Update | None, kind: str, to: int | None) -> None:
    move = next_move(cluster(minor, status), running, v(33))
    assert (move.kind, move.to) == (kind, v(to) if to else None)


@pytest.mark.parametrize(
    ("there", "running", "reason", "text"),
    [
        (cluster(34), None, "downgrade", "is at 1.34 already; it is not taken down to 1.33. Ask for 1.34 or a later"),
        (cluster(33, "UPDATING"), update(to="1.34"), "downgrade", "is on its way to 1.34 since 2026-11-21T01:02:03Z"),
        (cluster(32, "UPDATING"), update("VersionRollback", "1.31"), "rolling_back", "rolling EKS cluster prod back"),
        (cluster(31, "FAILED"), None, "cluster_not_active", "EKS cluster prod is FAILED, not ACTIVE"),
        (cluster(31, "CREATING"), None, "cluster_not_active", "Wait until it is ACTIVE"),
    ],
)
def test_what_is_refused_at_first_sight(there: Cluster, running: Update | None, reason: str, text: str) -> None:
    with pytest.raises(Refused) as refused:
        next_move(there, running, v(33))
    assert refused.value.reason == reason
    assert text in str(refused.value)


def test_who_wrote_a_version_as_a_number_is_told() -> None:
    with pytest.raises(Refused, match="Ask for 1.31 or a later version; 1.30 is written '1.30', in quotes"):
        next_move(cluster(31), None, v(3))


# ---- what forbids it


@pytest.mark.parametrize(
    ("wanted", "unknown"),
    [(v(33), ""), (v(31), ""), (v(36), "1.36"), (v(38), "1.36 and 1.37 and 1.38")],
)
def test_every_version_on_the_way_must_be_offered(wanted: Version, unknown: str) -> None:
    offered = [v(minor) for minor in range(31, 36)]
    if not unknown:
        assert decisions.check_offered(v(31), wanted, offered) is None
        return
    with pytest.raises(Refused, match="1.31, 1.32, 1.33, 1.34, 1.35") as refused:
        decisions.check_offered(v(31), wanted, offered)
    assert refused.value.message == f"EKS does not offer Kubernetes {unknown}"


def test_managed_node_groups_allow_one_step_at_a_time() -> None:
    assert decisions.check_node_groups(cluster(), v(32), ["web"]) is None
    assert decisions.check_node_groups(cluster(), v(33), []) is None
    with pytest.raises(Refused, match="Go to 1.32, update the managed node groups, then go on") as refused:
        decisions.check_node_groups(cluster(), v(33), ["api", "web"])
    assert refused.value.reason == "node_groups_behind"


def test_kubelets_that_are_too_old_are_named_with_how_far_it_may_go() -> None:
    kubelets = [Kubelet("a", v(31)), Kubelet("fargate-b", v(30), fargate=True)]
    assert decisions.check_kubelets("prod", v(33), kubelets) is None
    assert decisions.check_kubelets("prod", v(99), []) is None
    with pytest.raises(Refused, match="with them it may go to 1.33") as refused:
        decisions.check_kubelets("prod", v(34), kubelets)
    assert "fargate-b (1.30, Fargate)" in refused.value.message
    assert refused.value.details["nodes"] == [{"node": "fargate-b", "version": "1.30", "fargate": True}]


def test_health_issues_stop_it_unless_they_are_ignored_or_mended_by_it() -> None:
    unsupported, gone = Issue("UnsupportedVersion", "1.30 has ended"), Issue("VpcNotFound", "it is gone", ("vpc-1",))
    assert decisions.check_issues(cluster(), []) is None
    assert decisions.check_issues(cluster(31, "ACTIVE", unsupported), []) is None
    assert decisions.check_issues(cluster(31, "ACTIVE", gone), ["cluster health ISSUES"]) is None
    with pytest.raises(Refused, match=r"VpcNotFound: it is gone \[vpc-1\]") as refused:
        decisions.check_issues(cluster(31, "ACTIVE", unsupported, gone), [])
    assert [issue["code"] for issue in refused.value.details["health_issues"]] == ["VpcNotFound"]


@pytest.mark.parametrize(
    ("ignored", "stopping", "passed_over"),
    [
        ([], ["a", "b"], []),
        (["A "], ["b"], ["a"]),
        (["id-of-b"], ["a"], ["b"]),
        (["a", "b", "c"], [], ["a", "b"]),
    ],
)
def test_which_insights_in_error_stop_it(ignored: list[str], stopping: list[str], passed_over: list[str]) -> None:
    found = [insight("a"), insight("b"), insight("c", "WARNING"), insight("d", "PASSING")]
    stop, passed = decisions.errors_among(found, ignored)
    assert ([one.name for one in stop], [one.name for one in passed]) == (stopping, passed_over)


def test_the_refusal_for_insights_says_what_helps() -> None:
    refused = decisions.insights_refusal("prod", v(32), [insight("a"), insight("b")])
    assert str(refused) == (
        "Insights of EKS cluster prod forbid Kubernetes 1.32: a: why; b: why. "
        "Mend that, or name in ignore_insights what may be passed over: 'a', 'b'."
    )


@pytest.mark.parametrize(
    ("refreshed", "max_age", "since", "wanted"),
    [
        (["2026-11-21T11:00:00Z"], 86400, "", False),
        (["2026-11-21T11:00:00Z", "2026-11-20T11:59:59Z"], 86400, "", True),
        (["2026-11-21T11:00:00Z"], 86400, "2026-11-21T11:30:00Z", True),  # the control plane has changed since
        (["2026-11-21T11:00:00Z"], 86400, "2026-11-21T10:30:00Z", False),
        ([], 86400, "", True),
        ([], 0, "", False),
        (["2020-01-01T00:00:00Z"], 0, "2026-11-21T11:30:00Z", False),
        ([""], 86400, "", True),
    ],
)
def test_when_eks_is_to_look_again(refreshed: list[str], max_age: float, since: str, wanted: bool) -> None:
    found = [insight(refreshed=moment) for moment in refreshed]
    assert decisions.wants_fresh(found, NOW, max_age, since) is wanted


# ---- the way back


@pytest.mark.parametrize(
    ("updates", "until"),
    [
        ([], ""),
        ([update(status="Successful")], "2026-11-28T01:02:03Z"),
        ([update(status="Successful", created="2026-11-10T00:00:00Z")], ""),
        ([update(status="Failed")], ""),
        ([update(to="1.31", status="Successful")], ""),  # of an earlier upgrade; EKS has forgotten the last one
        (
            [update("LoggingUpdate", "", "Successful", "2026-11-21T02:00:00Z"), update(status="Successful")],
            "2026-11-28",
        ),
        (
            [update("VersionRollback", "1.32", "Successful", "2026-11-21T02:00:00Z"), update(status="Successful")],
            "",
        ),
    ],
)
def test_until_when_there_is_a_way_back(updates: list[Update], until: str) -> None:
    found = decisions.rollback_until(updates, v(32), NOW)
    assert found.startswith(until) and bool(found) is bool(until)


# ---- clusters


def test_a_cluster_as_a_record() -> None:
    issue = {"code": "VpcNotFound", "message": "gone", "resourceIds": ["vpc-1"]}
    answer: dict[str, Any] = {"name": "prod", "arn": "arn", "version": "1.31", "platformVersion": "eks.1"}
    assert cluster_from({**answer, "status": "ACTIVE", "health": {"issues": [issue]}}) == Cluster(
        *("prod", "arn", v(31), "eks.1", "ACTIVE"), issues=(Issue("VpcNotFound", "gone", ("vpc-1",)),)
    )
    with pytest.raises(EvergreenError, match="names no Kubernetes version for cluster prod: its status is PENDING"):
        cluster_from({"name": "prod", "status": "PENDING"})


def test_versions_are_put_in_order_once_each() -> None:
    assert sorted_versions(["1.10", "1.9", "", "1.9"]) == [v(9), v(10)]
