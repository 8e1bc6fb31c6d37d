# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of a control plane where EKS is at work on something else, or does not say at what, and where it is vague.

What it does on an ordinary way is judged by the rehearsal world: tests/integration/test_eks_cluster_version.py.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.stub import ANY
from unit.scripted_aws import ScriptedAws, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.eks.control_plane import ControlPlane, Wish
from ansible_collections.evergreen.eks.plugins.module_utils.eks.updates import UpdateTimeout
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError

BEGUN = datetime(2026, 11, 21, 1, 2, 3, tzinfo=timezone.utc)


def expect_cluster(script: ScriptedAws, version: str, status: str = "ACTIVE") -> None:
    answer = {"name": "prod", "version": version, "status": status, "platformVersion": "eks.1"}
    script.expect("eks", "describe_cluster", {"cluster": answer}, name="prod")


def expect_updates(script: ScriptedAws, *ids: str) -> None:
    script.expect("eks", "list_updates", {"updateIds": list(ids)}, name="prod")


def expect_update(script: ScriptedAws, update_id: str, status: str, kind: str = "VersionUpdate", **more: Any) -> None:
    params = [{"type": "Version", "value": "1.32"}] if kind == "VersionUpdate" else []
    update = {"id": update_id, "status": status, "type": kind, "params": params, "createdAt": BEGUN, **more}
    script.expect("eks", "describe_update", {"update": update}, name="prod", updateId=update_id)


def no_need(_call: Any) -> Any:
    raise AssertionError("nobody has to look at nodes for this")


class NoNodes:
    """A Kubernetes API without nodes."""

    def list(self, path: str) -> tuple[list[Any], str]:
        assert path == "/api/v1/nodes"
        return [], "1"


def reach(script: ScriptedAws, timeout: float = 60, connect: Any = no_need) -> dict[str, Any]:
    wish = Wish("prod", Version(1, 32), insight_max_age=0, timeout=timeout, poll_seconds=5)
    return ControlPlane(script.aws, connect, script.call, wish).reach()


@pytest.mark.parametrize(
    ("status", "errors", "warned"),
    [
        ("Successful", [], 0),
        ("Failed", [{"errorCode": "AccessDenied", "errorMessage": "no"}], 1),
    ],
)
def test_an_update_of_another_kind_is_sat_out_however_it_ends(status: str, errors: list[Any], warned: int) -> None:
    with scripted_aws() as script:
        expect_cluster(script, "1.32", "UPDATING")
        expect_updates(script, "u-log")
        expect_update(script, "u-log", "InProgress", "LoggingUpdate")
        expect_update(script, "u-log", "InProgress", "LoggingUpdate")
        expect_update(script, "u-log", status, "LoggingUpdate", errors=errors)
        expect_cluster(script, "1.32")
        expect_updates(script, "u-log", "u-1")
        expect_update(script, "u-1", "Successful")
        expect_update(script, "u-log", status, "LoggingUpdate")
        answer = reach(script)
    assert (answer["changed"], answer["steps"], answer["version"]) == (False, [], "1.32")
    assert answer["rollback_until"] == "2026-11-28T01:02:03Z"
    assert len(answer["warnings"]) == warned


def test_a_cluster_that_is_updating_without_an_update_is_looked_at_again() -> None:
    with scripted_aws() as script:
        expect_cluster(script, "1.31", "UPDATING")
        expect_updates(script)
        expect_cluster(script, "1.32")
        expect_updates(script)
        answer = reach(script)
        assert script.clock.sleeps == [5]
    assert (answer["changed"], answer["version_before"], answer["version"]) == (True, "1.31", "1.32")
    assert (answer["rollback_until"], answer["rollback_version"]) == ("", "")


def test_and_not_for_ever() -> None:
    with scripted_aws() as script:
        for _look in range(3):
            expect_cluster(script, "1.31", "UPDATING")
            expect_updates(script)
        with pytest.raises(UpdateTimeout, match=r"at work on cluster prod \(UPDATING\), and does not say at what"):
            reach(script, timeout=10)


def test_a_step_is_done_when_the_cluster_says_so_too() -> None:
    with scripted_aws() as script:
        expect_cluster(script, "1.31", "UPDATING")
        expect_updates(script, "u-1")
        expect_update(script, "u-1", "InProgress")
        expect_update(script, "u-1", "Successful")
        expect_cluster(script, "1.31", "UPDATING")
        expect_cluster(script, "1.32")
        expect_cluster(script, "1.32")
        answer = reach(script)
        assert script.clock.sleeps == [5]
    assert [step["status"] for step in answer["steps"]] == ["Successful"]
    assert answer["rollback_version"] == "1.31"


def test_what_was_done_until_it_failed_is_in_the_failure() -> None:
    with scripted_aws() as script:
        expect_cluster(script, "1.31", "UPDATING")
        expect_updates(script, "u-1")
        expect_update(script, "u-1", "InProgress")
        expect_update(script, "u-1", "Failed", errors=[{"errorCode": "EniLimitReached", "errorMessage": "full"}])
        with pytest.raises(EvergreenError, match="EniLimitReached: full. Raise the account's limit") as failed:
            reach(script)
    failure = failed.value.as_failure()
    assert (failure["reason"], failure["changed"]) == ("update_failed", False)
    assert [(step["joined"], step["status"]) for step in failure["steps"]] == [(True, "Failed")]


def test_eks_that_stays_busy_has_refused_the_update_in_the_end() -> None:
    request = {"name": "prod", "version": "1.32", "clientRequestToken": ANY}
    wanted = {"categories": ["UPGRADE_READINESS"], "kubernetesVersions": ["1.32"]}
    with scripted_aws() as script:
        expect_cluster(script, "1.31")
        script.expect("eks", "describe_cluster_versions", {"clusterVersions": [{"clusterVersion": "1.32"}]})
        script.expect("eks", "list_insights", {"insights": []}, clusterName="prod", filter=wanted)
        for look in range(3):
            if look:
                expect_cluster(script, "1.31")
                expect_updates(script)
            script.fail("eks", "update_cluster_version", "ResourceInUseException", "busy", once=True, **request)
        with pytest.raises(EvergreenError, match="EKS refuses to take cluster prod to 1.32:.*busy") as refused:
            reach(script, timeout=10, connect=lambda _call: NoNodes())
    assert (refused.value.reason, refused.value.details["steps"]) == ("update_refused", [])
