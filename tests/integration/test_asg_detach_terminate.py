# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""evergreen.eks.asg_detach_terminate against the world, judged by the world's record and its final state."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.identities import TOOL
from simulator.record import Call
from simulator.scenarios import Deployment, NodeGroup, Scenario
from simulator.world import World

FAST = 120.0
LEAVING = "evergreen.eks/leaving"

# Nothing but DaemonSet pods: every node may go at once.
EMPTY = Scenario(groups=[NodeGroup("shared", size=4, min_size=1, max_size=6, outdated=False)])
BUSY = Scenario(
    groups=[NodeGroup("shared", size=3, outdated=False)],
    workloads=[Deployment("web", replicas=1, group="shared")],
)
TWO_GROUPS = Scenario(groups=[NodeGroup("shared", size=2, outdated=False), NodeGroup("other", size=1, outdated=False)])
HOOK = {
    "LifecycleHookName": "goodbye",
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
    "HeartbeatTimeout": 7200,
}


def members(world: World, group: str = "shared") -> list[str]:
    return sorted(world.snapshot().groups[group].instances)


def remove(world: World, ids: list[str], *, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
    arguments = {
        "cluster_name": world.scenario.cluster,
        "asg_name": "shared",
        "instance_ids": ids,
        "decrement": True,
        "poll_seconds": 0.1,
        "timeout": 20,
        **options,
    }
    return world.module("evergreen.eks.asg_detach_terminate", arguments, check=check, diff=diff)


def changes(world: World, operation: str | None = None) -> list[Call]:
    """What the tool changed, or tried to."""
    return world.record.calls(author=TOOL, operation=operation, mutating=True)


def state_and_tags(world: World, instance_id: str) -> tuple[str, set[str]]:
    """Its state in EC2, and the tags that we have put on it."""
    instance = world.aws()("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    ours = {tag["Key"] for tag in instance["Tags"] if tag["Key"].startswith("evergreen.eks/")}
    return instance["State"]["Name"], ours


def results(answer: dict[str, Any]) -> dict[str, str]:
    return {instance_id: entry["result"] for instance_id, entry in answer["instances"].items()}


@pytest.mark.scenario(EMPTY, speed=FAST)
def test_exactly_the_named_instances_go_and_a_second_run_changes_nothing(world: World) -> None:
    first, second, *others = members(world)
    world.aws()("autoscaling").set_instance_protection(
        AutoScalingGroupName="shared", InstanceIds=[first], ProtectedFromScaleIn=True
    )

    answer = remove(world, [first, second], diff=True)

    assert answer["changed"] and results(answer) == {first: "terminated", second: "terminated"}
    now = world.snapshot()
    assert sorted(now.groups["shared"].instances) == others
    assert now.groups["shared"].desired == 2
    assert [call.operation for call in changes(world)] == ["TerminateInstanceInAutoScalingGroup"] * 2
    assert answer["instances"][first]["node"] == world.beginning.nodes[first].name
    assert answer["diff"]["before"]["desired_capacity"] == 4
    assert answer["diff"]["after"] == {
        "desired_capacity": 2,
        "instances": {first: "no member", second: "no member"},
    }

    again = remove(world, [first, second])
    assert not again["changed"] and results(again) == {first: "already_gone", second: "already_gone"}
    assert len(changes(world)) == 2


@pytest.mark.scenario(EMPTY, speed=FAST)
def test_without_decrement_the_group_replaces_what_goes(world: World) -> None:
    victim, *others = members(world)
    answer = remove(world, [victim], decrement=False)
    assert results(answer) == {victim: "terminated"}
    now = world.wait_until(lambda now: len(now.groups["shared"].instances) == 4, "the replacement launched")
    assert now.groups["shared"].desired == 4
    assert victim not in now.groups["shared"].instances and set(others) < set(now.groups["shared"].instances)


@pytest.mark.scenario(BUSY, speed=FAST)
def test_an_instance_with_pods_is_refused_and_the_others_go(world: World) -> None:
    pod, node = next(iter(world.beginning.pods.items()))
    busy = next(item.instance_id for item in world.beginning.nodes.values() if item.name == node)
    idle = next(item for item in members(world) if item != busy)

    foretold = remove(world, [busy, idle], check=True)
    assert not foretold["failed"] and foretold["changed"] and foretold["changed_instances"] == [idle]
    assert foretold["instances"][busy]["reason"] == "not_drained"
    assert foretold["instances"][idle]["reason"] == "planned"
    assert changes(world) == []

    answer = remove(world, [busy, idle])
    assert answer["failed"] and answer["reason"] == "not_drained" and pod in answer["msg"]
    assert answer["changed"] and results(answer) == {busy: "refused", idle: "terminated"}
    assert [call.target for call in changes(world)] == [idle]
    assert busy in members(world)

    joined = remove(world, [busy], allow_unjoined=True)
    assert joined["failed"] and joined["reason"] == "not_drained"
    forced = remove(world, [busy], verify_drained=False)
    assert results(forced) == {busy: "terminated"}


@pytest.mark.scenario(EMPTY, speed=FAST)
def test_a_running_instance_without_a_node_is_no_proof_of_emptiness(world: World) -> None:
    world.machines.boot_seconds["shared"] = 1e6
    world.actors.set_desired("shared", 5)
    now = world.wait_until(
        lambda now: sum(one.lifecycle == "InService" for one in now.groups["shared"].instances.values()) == 5,
        "the fifth in service",
    )
    (silent,) = set(now.groups["shared"].instances) - set(now.nodes)
    answer = remove(world, [silent])
    assert answer["failed"] and answer["instances"][silent]["reason"] == "node_unknown"
    assert changes(world) == []

    answer = remove(world, [silent], allow_unjoined=True)
    assert results(answer) == {silent: "terminated"}


@pytest.mark.scenario(EMPTY.with_group("shared", min_size=3), speed=FAST)
def test_below_the_minimum_size_nothing_is_begun(world: World) -> None:
    answer = remove(world, members(world)[:2])
    assert answer["failed"] and answer["reason"] == "below_min_size"
    assert "from 4 to 2" in answer["msg"] and "min_size 3" in answer["msg"]
    assert changes(world) == []


@pytest.mark.scenario(EMPTY.with_group("shared", size=7, max_size=7), speed=FAST)
def test_whatever_becomes_of_a_call_each_instance_counts_once(world: World) -> None:
    troubles: list[dict[str, Any]] = [
        {"error": (400, "Throttling", "Rate exceeded")},
        {"error": (400, "ScalingActivityInProgress", "The group is busy")},
        {"error": (500, "InternalFailure", "Sorry")},
        {"reset": "before"},
        {"reset": "after"},
    ]
    for number, trouble in enumerate(troubles):
        # Each trouble meets the first call for one of the instances; the second call for it is left alone.
        world.faults.add("autoscaling", "TerminateInstance", author=TOOL, skip=2 * number, **trouble)
    victims = members(world)[:5]
    answer = remove(world, victims)
    assert results(answer) == dict.fromkeys(victims, "terminated")
    assert answer["changed_instances"] == victims
    assert world.snapshot().groups["shared"].desired == 2
    assert len(changes(world)) == 9, "two for each, but one for the last, which was done before its answer was lost"


@pytest.mark.scenario(EMPTY, speed=FAST)
def test_without_the_permission_it_stops_at_the_first_and_names_the_action(world: World) -> None:
    first, second = members(world)[:2]
    error = (403, "AccessDenied", "User is not authorized")
    world.faults.add("autoscaling", "TerminateInstance", author=TOOL, times=None, error=error)
    answer = remove(world, [first, second])
    assert answer["failed"] and answer["reason"] == "access_denied" and not answer["changed"]
    assert "autoscaling:TerminateInstanceInAutoScalingGroup" in answer["msg"]
    assert results(answer) == {first: "failed", second: "failed"}
    assert len(changes(world)) == 1


@pytest.mark.scenario(EMPTY, speed=FAST)
def test_a_detached_orphan_is_found_by_its_tag_and_finished_by_the_next_run(world: World) -> None:
    victim = members(world)[0]
    denied = world.faults.add(
        "ec2", "StopInstances", author=TOOL, times=None, error=(403, "UnauthorizedOperation", "no")
    )
    answer = remove(world, [victim], final_state="stopped", run_id="run-7")
    assert answer["failed"] and answer["reason"] == "access_denied"
    assert results(answer) == {victim: "leaving"}
    now = world.snapshot()
    assert victim not in now.groups["shared"].instances
    assert now.running[victim][LEAVING] == "run-7/stopped/shared"
    assert now.groups["shared"].desired == 3

    world.faults.remove(denied)
    again = remove(world, [victim], final_state="stopped", run_id="run-7")
    assert again["changed"] and results(again) == {victim: "stopped"}
    assert world.snapshot().groups["shared"].desired == 3
    assert len(changes(world, "DetachInstances")) == 1
    assert state_and_tags(world, victim) == ("stopped", set()), "whoever starts it again keeps it"


@pytest.mark.scenario(EMPTY, speed=FAST)
def test_a_detached_instance_runs_on_outside_the_group(world: World) -> None:
    victim = members(world)[0]
    assert results(remove(world, [victim], final_state="detached")) == {victim: "detached"}
    assert state_and_tags(world, victim) == ("running", set())
    now = world.snapshot()
    assert victim in now.running and victim not in now.groups["shared"].instances
    again = remove(world, [victim], final_state="detached")
    assert not again["changed"] and results(again) == {victim: "detached"}


@pytest.mark.scenario(EMPTY, speed=FAST)
@pytest.mark.parametrize("code", ["AccessDenied", "ValidationError"])
def test_what_aws_refuses_to_detach_stays_a_member_without_a_tag(world: World, code: str) -> None:
    victim = members(world)[0]
    world.faults.add("autoscaling", "DetachInstances", author=TOOL, times=None, error=(400, code, "no"))
    answer = remove(world, [victim], final_state="stopped")
    assert answer["failed"] and results(answer) == {victim: "failed"}
    assert [call.operation for call in changes(world)] == ["CreateTags", "DetachInstances", "DeleteTags"]
    assert victim in members(world) and state_and_tags(world, victim) == ("running", set())


@pytest.mark.scenario(EMPTY, speed=FAST)
def test_a_stop_that_was_not_waited_for_needs_no_tag_any_more(world: World) -> None:
    victim = members(world)[0]
    assert remove(world, [victim], final_state="stopped", wait=False)["instances"][victim]["reason"] == "accepted"
    assert state_and_tags(world, victim)[1] == set()
    assert results(remove(world, [victim], final_state="stopped")) == {victim: "stopped"}


@pytest.mark.scenario(EMPTY.with_group("shared", size=23, max_size=23, min_size=0), speed=FAST)
def test_detaching_goes_in_chunks_and_survives_one_that_vanishes_before_the_call(world: World) -> None:
    ids = members(world)
    gone, chosen = ids[0], ids[:22]
    world.actors.when(lambda: world.actors.spot_loss(gone), operation="DetachInstances", before=True)
    answer = remove(world, chosen, final_state="detached", decrement=True)
    kept = {item: result for item, result in results(answer).items() if item != gone}
    assert set(kept.values()) == {"detached"}
    assert results(answer)[gone] in ("detached", "terminated", "already_gone")
    assert all(len(call.params["InstanceIds"]) <= 20 for call in changes(world, "DetachInstances"))
    assert not set(chosen) & set(world.snapshot().groups["shared"].instances)


@pytest.mark.scenario(EMPTY.with_group("shared", hooks=[HOOK]), speed=FAST)
def test_a_lifecycle_hook_is_waited_for_and_the_time_out_says_who_holds_it(world: World) -> None:
    victim = members(world)[0]
    late = remove(world, [victim], timeout=1)
    assert late["failed"] and late["reason"] == "timeout" and "Terminating:Wait" in late["msg"]
    assert results(late) == {victim: "leaving"} and late["changed"]

    def say_goodbye() -> None:
        world.aws()("autoscaling").complete_lifecycle_action(
            AutoScalingGroupName="shared",
            LifecycleHookName="goodbye",
            InstanceId=victim,
            LifecycleActionResult="CONTINUE",
        )

    world.actors.when(say_goodbye, operation="DescribeAutoScalingGroups", skip=2)
    again = remove(world, [victim])
    assert not again["changed"] and results(again) == {victim: "terminated"}
    assert world.snapshot().groups["shared"].desired == 3


@pytest.mark.scenario(EMPTY.with_group("shared", suspended=("AZRebalance",)), speed=FAST)
def test_the_floor_lets_cordoned_ones_go_and_keeps_the_last_ready_ones(world: World) -> None:
    cordoned, ready, *_others = members(world)
    world.actors.cordon(world.beginning.nodes[cordoned].name)
    answer = remove(world, [ready, cordoned], min_ready=3, timeout=2)
    assert answer["failed"] and answer["reason"] == "floor"
    assert results(answer) == {ready: "refused", cordoned: "terminated"}
    assert [call.target for call in changes(world)] == [cordoned]


@pytest.mark.scenario(
    Scenario(groups=[NodeGroup("shared", size=2, outdated=False), NodeGroup("other", size=1, outdated=False)]),
    speed=FAST,
)
def test_what_is_not_of_the_group_is_never_touched(world: World) -> None:
    (stranger,) = members(world, "other")
    answer = remove(world, [stranger])
    assert answer["failed"] and answer["instances"][stranger]["reason"] == "not_a_member"
    unknown = remove(world, ["i-00000000000000000"])
    assert not unknown["failed"] and results(unknown) == {"i-00000000000000000": "already_gone"}
    missing = remove(world, [stranger], asg_name="sharde")
    assert missing["failed"] and missing["reason"] == "group_not_found" and "shared" in missing["msg"]
    assert changes(world) == []


@pytest.mark.scenario(EMPTY, speed=FAST)
def test_a_wait_costs_one_describe_of_the_group_a_look(world: World) -> None:
    answer = remove(world, members(world)[:3], poll_seconds=0.2)
    assert set(results(answer).values()) == {"terminated"}
    describes = world.record.calls(author=TOOL, operation="DescribeAutoScalingGroups")
    instances = world.record.calls(author=TOOL, operation="DescribeInstances")
    assert len(instances) <= len(describes)


@pytest.mark.scenario(EMPTY, speed=FAST)
def test_without_waiting_it_ends_when_aws_has_accepted_it(world: World) -> None:
    victim = members(world)[0]
    answer = remove(world, [victim], wait=False)
    assert answer["changed"] and answer["instances"][victim]["reason"] == "accepted"
    world.wait_until(lambda now: victim not in now.groups["shared"].instances, "gone")
