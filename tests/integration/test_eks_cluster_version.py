# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules eks_cluster_version, eks_insight_info and eks_insight_refresh, and the role control_plane.

What they claim is checked against the world: its record of the tool's calls, and the version of its control plane.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.permissions import grant_only_what_is_documented

from simulator.aws.eks_insights import DeprecatedApi
from simulator.identities import TOOL
from simulator.killing import kill_tree
from simulator.runs import start_ansible_playbook
from simulator.scenarios import NodeGroup, Scenario
from simulator.world import World

CLUSTER = "rehearsal"
FAST = 600.0
MODULE = "evergreen.eks.eks_cluster_version"
ONE_NODE = Scenario(
    name="one-node",
    cluster=CLUSTER,
    version="1.31",
    groups=[NodeGroup("shared", size=1, outdated=False)],
    system=False,
)
pytestmark = pytest.mark.scenario(ONE_NODE, speed=FAST)


def reach(world: World, version: str, check: bool = False, **options: Any) -> dict[str, Any]:
    given = {"cluster_name": CLUSTER, "version": version, "poll_seconds": 0.1, **options}
    return world.module(MODULE, given, check=check)


def requests(world: World, operation: str = "UpdateClusterVersion") -> list[Any]:
    """What the tool has asked EKS for, and EKS has heard."""
    return world.record.calls(author=TOOL, service="eks", operation=operation)


def taken(world: World) -> list[str]:
    """The versions for which EKS has begun an update on the tool's request."""
    return [call.params["version"] for call in requests(world) if call.status == 200]


def cluster(world: World) -> dict[str, Any]:
    return world.aws()("eks").describe_cluster(name=CLUSTER)["cluster"]


def versions(answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(step["from"], step["to"], step["status"]) for step in answer["steps"]]


def events(path: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [event for event in found if event["kind"] == kind]


def release_once_it_is_awaited(world: World) -> None:
    """The update that is held goes on once the tool has found it."""
    world.faults.add("eks", "^DescribeUpdate$", author=TOOL, skip=1, after=lambda _call: world.eks.script.release())


def test_two_minor_versions_are_two_steps_each_awaited_and_a_rerun_changes_nothing(
    world: World, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.jsonl"
    api = DeprecatedApi("/apis/x/v1beta1/y", "/apis/x/v1/y", stops="1.33", starts="1.29", clients={"curl/8": 7})
    world.eks.insights.deprecate(api)
    foreseen = reach(world, "1.33", check=True)
    assert (foreseen["changed"], foreseen["version"]) == (True, "1.33")
    assert "insights for Kubernetes 1.33 may stop it: Deprecated APIs removed in" in str(foreseen["warnings"])
    world.eks.insights.mend(api)
    assert versions(foreseen) == [("1.31", "1.32", "Planned"), ("1.32", "1.33", "Planned")]
    assert taken(world) == []

    world.eks.disturbances = ((0.5, 30.0), (1.0, 60.0))
    answer = reach(world, "1.33", journal=str(journal))

    assert not answer["failed"], answer
    assert answer["changed"]
    assert versions(answer) == [("1.31", "1.32", "Successful"), ("1.32", "1.33", "Successful")]
    assert taken(world) == ["1.32", "1.33"]
    tokens = [call.params["clientRequestToken"] for call in requests(world)]
    assert len(set(tokens)) == 2
    assert world.kubernetes.version == cluster(world)["version"] == "1.33"
    assert answer["platform_version"] == cluster(world)["platformVersion"]
    assert answer["rollback_version"] == "1.32"
    assert answer["rollback_until"] > answer["steps"][1]["began"]
    assert [event["status"] for event in events(journal, "update_ended")] == ["Successful"] * 2
    assert [event["until"] for event in events(journal, "rollback_open")] == [answer["rollback_until"]]

    again = reach(world, "1.33")
    assert (again["changed"], again["steps"]) == (False, [])
    assert again["rollback_until"] == answer["rollback_until"]
    back = reach(world, "1.32")
    assert (back["reason"], back["steps"]) == ("downgrade", [])
    assert "is at 1.33 already; it is not taken down to 1.32" in back["msg"]
    assert taken(world) == ["1.32", "1.33"]


def test_an_update_that_somebody_else_has_begun_is_joined_and_not_doubled(world: World) -> None:
    world.eks.script.hold("VersionUpdate")
    begun = world.aws()("eks").update_cluster_version(name=CLUSTER, version="1.32")["update"]
    foreseen = reach(world, "1.33", check=True)
    assert versions(foreseen) == [("1.31", "1.32", "InProgress"), ("1.32", "1.33", "Planned")]
    beyond = reach(world, "1.31")
    assert beyond["reason"] == "downgrade"
    assert "is on its way to 1.32" in beyond["msg"]

    world.eks.disturbances = ((1.0, 1800.0),)  # for longer than an API that has never answered is waited for
    release_once_it_is_awaited(world)
    answer = reach(world, "1.33")

    assert not answer["failed"], answer
    joined, own = answer["steps"]
    assert (joined["update_id"], joined["joined"], joined["status"]) == (begun["id"], True, "Successful")
    assert (own["joined"], own["status"]) == (False, "Successful")
    assert taken(world) == ["1.33"]


def test_killed_between_request_and_answer_it_joins_its_own_update(world: World, tmp_path: Path) -> None:
    """The whole playbook dies once EKS has heard the request, before anybody has heard EKS."""
    world.eks.script.hold("VersionUpdate")
    playbook = role_playbook(tmp_path)
    process: list[Any] = []
    world.faults.add("eks", "^UpdateClusterVersion$", author=TOOL, after=lambda _call: kill_tree(process[0].pid))
    process.append(start_ansible_playbook(world.env(), str(playbook), {"wanted": "1.32"}, capture=True))
    process[0].communicate(timeout=120)
    assert process[0].returncode != 0

    release_once_it_is_awaited(world)
    answer = reach(world, "1.32")

    assert [step["joined"] for step in answer["steps"]] == [True], answer
    assert len(requests(world)) == 1
    assert cluster(world)["version"] == "1.32"


def test_whatever_becomes_of_the_requests_there_is_one_update(world: World) -> None:
    """It is throttled, EKS is out of order, the request is lost, and then its answer; and so are the looks after it."""
    update = {"service": "eks", "operation": "^UpdateClusterVersion$", "author": TOOL}
    world.faults.add(**update, error=(429, "ThrottlingException", "Rate exceeded"))
    world.faults.add(**update, skip=1, error=(500, "ServerException", "out of order"))
    world.faults.add(**update, skip=2, reset="before")
    world.faults.add(**update, skip=3, reset="after")
    world.faults.add("eks", "^DescribeUpdate$", author=TOOL, error=(503, "ServiceUnavailable", "no"), times=9)
    answer = reach(world, "1.32")
    assert not answer["failed"], answer
    assert versions(answer) == [("1.31", "1.32", "Successful")]
    assert len(world.aws()("eks").list_updates(name=CLUSTER)["updateIds"]) == 1
    assert len(requests(world)) == 4
    assert len({call.params["clientRequestToken"] for call in requests(world)}) == 1


def test_eks_that_is_busy_for_a_while_after_an_update_is_waited_for(world: World) -> None:
    world.eks.lingers = 1800.0
    answer = reach(world, "1.33")
    assert not answer["failed"], answer
    assert versions(answer) == [("1.31", "1.32", "Successful"), ("1.32", "1.33", "Successful")]
    assert taken(world) == ["1.32", "1.33"]
    assert [call.status for call in requests(world)].count(409) > 0, "it was asked too early"


def test_an_update_that_eks_fails_names_its_errors_and_the_rerun_takes_the_step_again(world: World) -> None:
    world.eks.script.fail("VersionUpdate", "IpNotAvailable", "subnet-1 has no free addresses", resources=["subnet-1"])
    failed = reach(world, "1.33")
    assert (failed["reason"], failed["changed"]) == ("update_failed", False)
    assert "IpNotAvailable: subnet-1 has no free addresses [subnet-1]" in failed["msg"]
    assert "Free addresses in the cluster's subnets" in failed["msg"]
    assert versions(failed) == [("1.31", "1.32", "Failed")]
    assert failed["update"]["errors"][0]["code"] == "IpNotAvailable"

    world.eks.script.hold("VersionUpdate")
    late = reach(world, "1.33", timeout=1)
    assert late["reason"] == "update_timeout"
    assert "run again to wait on, it is not asked for twice" in late["msg"]
    release_once_it_is_awaited(world)
    answer = reach(world, "1.33")
    assert not answer["failed"], answer
    assert (answer["steps"][0]["joined"], answer["version"]) == (True, "1.33")
    assert taken(world) == ["1.32", "1.32", "1.33"]


def test_bad_input_is_one_clear_error_and_changes_nothing(world: World) -> None:
    issue = {"code": "Ec2SubnetNotFound", "message": "subnet-1 is gone", "resourceIds": ["subnet-1"]}
    skew = "Replace these nodes first (restart the pods on Fargate); with them it may go to 1.34"
    table = [
        ({"version": "1.99"}, "unknown_version", "It offers 1.31, 1.32, 1.33, 1.34, 1.35, 1.36"),
        ({"version": "1.33.4"}, "invalid_input", "Give a minor version in quotes"),
        ({"version": "1.32", "cluster_name": "rehersal"}, "cluster_not_found", "Check the name and the region"),
        ({"version": "1.35"}, "version_skew", skew),
    ]
    for options, reason, text in table:
        answer = reach(world, **options)
        assert (answer["failed"], answer["reason"]) == (True, reason), answer
        assert text in answer["msg"]
        assert "Traceback" not in str(answer)
    assert [node["version"] for node in answer["nodes"]] == ["1.31"]

    world.eks.health.append(issue)
    answer = reach(world, "1.32")
    assert (answer["reason"], answer["health_issues"][0]["code"]) == ("cluster_issues", "Ec2SubnetNotFound")
    assert "Ec2SubnetNotFound: subnet-1 is gone [subnet-1]" in answer["msg"]
    foreseen = reach(world, "1.35", check=True)
    assert foreseen["reason"] == "cluster_issues", "the same refusals in check mode"
    assert world.record.calls(author=TOOL, mutating=True) == []


@pytest.mark.scenario(
    Scenario(
        name="managed",
        cluster=CLUSTER,
        version="1.31",
        groups=[NodeGroup("eks-web", size=1, outdated=False, managed="web")],
        system=False,
    ),
    speed=FAST,
)
def test_managed_node_groups_follow_each_step(world: World) -> None:
    refused = reach(world, "1.33")
    assert refused["reason"] == "node_groups_behind"
    assert "Go to 1.32, update the managed node groups, then go on." in refused["msg"]
    assert taken(world) == []
    assert not reach(world, "1.32")["failed"]
    behind = reach(world, "1.33")
    assert behind["reason"] == "update_refused"
    assert "Nodegroups web must be updated to match cluster version 1.32" in behind["msg"]
    assert taken(world) == ["1.32"]


def test_insights_in_error_stop_the_upgrade_unless_they_are_named_or_mended(world: World) -> None:
    api = DeprecatedApi("/apis/x/v1beta1/y", "/apis/x/v1/y", stops="1.32", starts="1.29", clients={"curl/8": 7})
    world.eks.insights.deprecate(api)
    name = "Deprecated APIs removed in Kubernetes v1.32"

    found = world.module("evergreen.eks.eks_insight_info", {"cluster_name": CLUSTER, "version": "1.32"})
    assert found["counts"]["ERROR"] == 1
    worst = found["insights"][0]
    assert (worst["name"], worst["status"], worst["stale"]) == (name, "ERROR", False)
    assert worst["deprecations"][0]["clients"][0]["user_agent"] == "curl/8"
    assert worst["resources"] == [
        {"resource": "/apis/x/v1beta1/y", "status": "ERROR", "reason": worst["reason"]},
    ]

    refused = reach(world, "1.32")
    assert refused["reason"] == "insights_in_error"
    assert f"{name}: Deprecated API usage detected within last 30 days" in refused["msg"]
    assert f"'{name}'" in refused["msg"]
    assert refused["insights"][0]["deprecations"][0]["replaced_with"] == "/apis/x/v1/y"
    assert len(requests(world, "StartInsightsRefresh")) == 1, "it is looked at once more before that"
    assert taken(world) == []

    world.eks.insights.set("Kubelet version skew", "ERROR", "stuck")
    world.eks.insights.unset("Kubelet version skew")  # mended, but EKS has not looked since
    passed = reach(world, "1.32", ignore_insights=[name.upper()])
    assert not passed["failed"], passed
    assert passed["ignored_insights"] == [name]
    assert passed["steps"][0]["forced"] is True
    assert requests(world)[-1].params["force"] is True


def test_old_insights_are_refreshed_first_and_told_of_where_that_fails(world: World) -> None:
    options = {"cluster_name": CLUSTER, "poll_seconds": 0.1}
    world.eks.insights.age(3 * 86400)
    assert world.module("evergreen.eks.eks_insight_info", {"cluster_name": CLUSTER})["stale"]
    foreseen = world.module("evergreen.eks.eks_insight_refresh", {**options, "max_age": 86400}, check=True)
    assert (foreseen["changed"], foreseen["began"]) == (True, "")
    warned = reach(world, "1.32", check=True)
    assert "asked for anew when this is run without check mode" in str(warned["warnings"])
    assert requests(world, "StartInsightsRefresh") == []

    world.eks.insights.refresh_fails = True
    failed = world.module("evergreen.eks.eks_insight_refresh", options)
    assert (failed["reason"], failed["failed"]) == ("refresh_failed", True)
    fresh = world.module("evergreen.eks.eks_insight_refresh", {**options, "max_age": 86400})
    assert fresh["changed"] and fresh["began"] < fresh["ended"]
    assert not world.module("evergreen.eks.eks_insight_refresh", {**options, "max_age": 86400})["changed"]
    assert len(requests(world, "StartInsightsRefresh")) == 2
    unknown = world.module("evergreen.eks.eks_insight_refresh", {**options, "cluster_name": "rehersal"})
    assert unknown["reason"] == "cluster_not_found"

    world.eks.insights.age(3 * 86400)
    world.eks.insights.refresh_fails = True
    answer = reach(world, "1.32")
    assert not answer["failed"], answer
    assert "EKS could not look at cluster rehearsal again" in str(answer["warnings"])


def role_playbook(folder: Path) -> Path:
    """The role in an operator's own play, whose hosts are machines elsewhere."""
    play = {
        "name": "The control plane",
        "hosts": "far.example",
        "gather_facts": False,
        "vars": {"ansible_connection": "ssh"},
        "roles": [{"role": "evergreen.eks.control_plane", "control_plane_cluster_name": CLUSTER}],
        "module_defaults": {"group/evergreen.eks.aws": {"region": "eu-central-1"}},
    }
    roles = {"control_plane_version": "{{ wanted }}", "control_plane_poll_seconds": "0.1"}
    play["roles"][0] |= roles  # type: ignore[index]
    path = folder / "site.yml"
    path.write_text(
        yaml.safe_dump(
            [
                {
                    "name": "A machine",
                    "hosts": "localhost",
                    "gather_facts": False,
                    "tasks": [{"name": "It is there", "ansible.builtin.add_host": {"name": "far.example"}}],
                },
                play,
            ]
        ),
        encoding="utf-8",
    )
    return path


def test_the_role_in_a_play_of_its_own_with_the_documented_permissions(world: World, tmp_path: Path) -> None:
    asked = grant_only_what_is_documented(world, upgrade=True)
    world.eks.insights.age(3 * 86400)
    run = world.playbook(str(role_playbook(tmp_path)), {"wanted": "1.33"})
    assert run.rc == 0, run.output
    assert "changed=1" in run.stdout
    assert "control plane of rehearsal 1.32 -> 1.33: Successful" in run.stderr
    assert "EKS lets it be rolled back to 1.32 until" in run.stderr
    assert cluster(world)["version"] == "1.33"
    again = world.playbook(str(role_playbook(tmp_path)), {"wanted": "1.33"})
    assert again.rc == 0 and "changed=0" in again.stdout
    documented = statement("UpgradeControlPlane")
    assert documented - asked.actions == {"eks:DescribeInsight"}, "which is read of those that do not pass"
    assert {action for action in asked.actions if action.startswith("eks:")} <= {*documented, "eks:DescribeCluster"}


def statement(sid: str) -> set[str]:
    """The actions of one statement of the documented policy."""
    path = Path(__file__).resolve().parents[2] / "docs" / "permissions" / "iam-policy.json"
    policy = json.loads(path.read_text(encoding="utf-8"))
    return {action for one in policy["Statement"] if one["Sid"] == sid for action in one["Action"]}
