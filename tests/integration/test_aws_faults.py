# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS as it is on a bad day, in the middle of a rollout: it throttles, fails, loses answers, has no capacity.

What passes is waited out, and nothing counts twice; what does not pass stops the run where it can go on.
"""

from __future__ import annotations

import pytest
from integration.rollouts import checkpoints, problems, roll, roll_until_killed

from simulator.identities import TOOL, TOOL_KEY
from simulator.record import Call
from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario
from simulator.world import World

WORKLOADS = [
    Deployment("web", replicas=4, group="shared", budget=Budget(min_available=3)),
    Deployment("cache", replicas=1, group="shared", emptydir=True),
]
TWO_NODES = Scenario(groups=[NodeGroup("shared", size=2)], workloads=WORKLOADS)
IN_ONE_WAVE = {"eks_canary": 0, "eks_max_surge": "100%"}
DRAINING = {"delete_emptydir_data": True, "poll_seconds": 0.1}
MINUTES = 60.0
GO_ON = "To go on: ansible-playbook evergreen.eks.rollout"


def calls(world: World, operation: str) -> list[Call]:
    """The requests of that kind that AWS has carried out for us, whether or not we got to know."""
    return [call for call in world.record.calls(author=TOOL, operation=operation) if call.succeeded]


def untouched(world: World) -> bool:
    """No old node was cordoned, drained or removed, and the group's members are those of the beginning."""
    group = world.snapshot().groups["shared"]
    return (
        world.record.notes("cordoned") == []
        and world.record.notes("evicted") == []
        and set(world.beginning.groups["shared"].instances) <= set(group.instances)
    )


# --- what passes ---------------------------------------------------------------------------------------------------


CHANGES = (
    *("CreateTags", "CreateOrUpdateTags", "UpdateAutoScalingGroup", "SetInstanceProtection", "SuspendProcesses"),
    *("TerminateInstanceInAutoScalingGroup", "ResumeProcesses", "DeleteTags"),
)


def throttle(world: World) -> None:
    """For three minutes neither service answers anything else, reads and changes alike."""
    errors = {"autoscaling": (400, "Throttling", "Rate exceeded"), "ec2": (503, "RequestLimitExceeded", "Too many")}
    for service, error in errors.items():
        world.faults.add(service, author=TOOL, error=error, times=None, seconds=3 * MINUTES)


def throttled(world: World) -> list[Call]:
    return [call for call in world.record.calls(author=TOOL) if call.error in ("Throttling", "RequestLimitExceeded")]


def grows(call: Call) -> bool:
    """It is about desired capacity, or no such request at all."""
    return call.operation != "UpdateAutoScalingGroup" or "DesiredCapacity" in call.params


@pytest.mark.scenario(TWO_NODES)
def test_on_a_bad_day_nothing_counts_twice(world: World) -> None:
    """Of each kind of change the first request never arrives, the second fails, the third is done but not answered;
    and it throttles for minutes when the instances are launched, and again when they are terminated."""
    for operation in CHANGES:
        bad = {"author": TOOL, "chosen": grows}
        world.faults.add(None, f"^{operation}$", **bad, reset="before")
        world.faults.add(None, f"^{operation}$", **bad, skip=1, error=(500, "InternalFailure", "Sorry"))
        world.faults.add(None, f"^{operation}$", **bad, skip=2, reset="after")
    for operation in ("^UpdateAutoScalingGroup$", "^TerminateInstance"):
        world.actors.when(lambda: throttle(world), operation=operation, chosen=grows, skip=2)
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert problems(world) == []
    assert len(calls(world, "TerminateInstanceInAutoScalingGroup")) == 2
    sizes = [call.params for call in calls(world, "UpdateAutoScalingGroup") if "DesiredCapacity" in call.params]
    assert [size["DesiredCapacity"] for size in sizes] == [4]
    assert len(throttled(world)) > 10


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_minutes_of_throttling_in_every_stage_are_waited_out(world: World) -> None:
    for operation in ("^CreateOrUpdateTags$", "^UpdateAutoScalingGroup$", "^TerminateInstance", "^DeleteTags$"):
        world.actors.when(lambda: throttle(world), operation=operation, service="autoscaling")
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert problems(world) == []
    assert len(throttled(world)) > 20


# --- what does not pass --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "operation",
    ["^UpdateAutoScalingGroup$", "^TerminateInstance", "^DescribeAutoScalingGroups$", "^CreateOrUpdateTags$"],
)
@pytest.mark.scenario(TWO_NODES)
def test_throttling_without_an_end_stops_the_run_where_the_next_one_goes_on(world: World, operation: str) -> None:
    def throttle() -> None:
        error = (400, "Throttling", "Rate exceeded")
        world.faults.add("autoscaling", operation, author=TOOL, error=error, times=None)

    world.actors.when(throttle, operation="^SuspendProcesses$", service="autoscaling")
    run = roll(world, **IN_ONE_WAVE, eks_ready_timeout=6)
    assert run.rc != 0
    assert "Rate exceeded" in run.stdout
    assert GO_ON in run.stdout
    world.faults.clear()
    again = roll(world, **IN_ONE_WAVE)
    assert again.rc == 0, again.output
    assert problems(world) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_credentials_that_expire_stop_the_run_and_the_next_one_goes_on(world: World) -> None:
    world.actors.when(
        lambda: world.cloud.expired.add(TOOL_KEY), operation="^POST pods/eviction$", service="kubernetes", skip=1
    )
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc != 0
    assert "The AWS credentials have expired" in run.stdout
    assert "Renew the credentials" in run.stdout
    assert '"reason": "credentials_expired"' in run.stdout
    assert GO_ON in run.stdout
    assert calls(world, "TerminateInstanceInAutoScalingGroup") == []
    world.cloud.expired.clear()
    again = roll(world, **IN_ONE_WAVE)
    assert again.rc == 0, again.output
    assert problems(world) == []


# --- new nodes that do not come ------------------------------------------------------------------------------------

NO_CAPACITY = "We currently do not have sufficient m5.large capacity"


@pytest.mark.scenario(TWO_NODES)
def test_without_capacity_the_run_stops_in_the_words_of_aws_and_no_old_node_is_touched(world: World) -> None:
    world.cloud.fail_launches("shared")
    run = roll(world, **IN_ONE_WAVE, eks_ready_timeout=3)
    assert run.rc != 0
    assert NO_CAPACITY in run.stdout
    assert "2 of the 4 instances of Auto Scaling group shared that are needed are Ready" in run.stdout
    assert GO_ON in run.stdout
    assert untouched(world)


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_when_there_is_capacity_again_the_next_run_goes_on(world: World) -> None:
    world.cloud.fail_launches("shared")
    assert roll(world, **IN_ONE_WAVE, eks_ready_timeout=3).rc != 0
    world.cloud.allow_launches()
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert problems(world) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_with_capacity_for_one_only_what_came_is_taken_out_by_name(world: World) -> None:
    """One of two new instances comes: it goes again by name, and the other one is not waited for any more."""
    old = set(world.beginning.groups["shared"].instances)
    world.cloud.fail_launches("shared", skip=1)
    run = roll(world, **IN_ONE_WAVE, eks_ready_timeout=3, eks_on_failure="restore")
    assert run.rc != 0
    assert problems(world, {"shared": []}) == []
    assert set(world.snapshot().groups["shared"].instances) == old


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_nodes_that_never_get_ready_are_named_and_taken_out_again_by_name(world: World) -> None:
    old = set(world.beginning.groups["shared"].instances)
    world.machines.broken_groups.add("shared")
    run = roll(world, **IN_ONE_WAVE, eks_ready_timeout=3, eks_on_failure="restore")
    assert run.rc != 0
    assert "NetworkPluginNotReady" in run.stdout
    assert "Auto Scaling: InService; EC2: running since its launch" in run.stdout
    removed = {call.params["InstanceId"] for call in calls(world, "TerminateInstanceInAutoScalingGroup")}
    assert not removed & old
    assert len(removed) == 2
    assert problems(world, {"shared": []}) == []
    assert set(world.snapshot().groups["shared"].instances) == old


# --- what AWS forgets ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("skip", [0, 1], ids=["one had left", "both had left"])
@pytest.mark.scenario(TWO_NODES)
def test_departures_are_counted_when_ec2_has_forgotten_who_left(world: World, skip: int) -> None:
    """Killed while the old nodes leave, the checkpoint lost, and nobody looks for two hours."""
    roll_until_killed(world, "autoscaling", "^TerminateInstanceInAutoScalingGroup$", skip=skip, **IN_ONE_WAVE)
    for path in checkpoints(world):
        path.unlink()
    world.wait_until(lambda now: len(now.running) == 3 - skip, "they are gone")
    world.clock.advance(2 * 3600)
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert problems(world) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES.with_group("shared", size=3))
def test_what_an_interrupted_call_has_detached_is_named_and_swept_up(world: World) -> None:
    """Detached, and the call was killed before it terminated the instance: it runs on outside its group."""
    orphan = sorted(world.beginning.groups["shared"].instances)[0]
    denied = world.faults.add("ec2", "^TerminateInstances$", author=TOOL, times=None, error=(403, "AccessDenied", "no"))
    options = {"asg_name": "shared", "instance_ids": [orphan], "decrement": True, "method": "detach", "run_id": "mine"}
    world.module("evergreen.eks.asg_detach_terminate", {**options, "verify_drained": False, "poll_seconds": 0.1})
    world.faults.remove(denied)
    assert orphan in world.snapshot().running
    node = world.snapshot().nodes[orphan].name
    world.actors.cordon(node)
    drained = world.module("evergreen.eks.node_drain", {"cluster_name": "rehearsal", "nodes": [node], **DRAINING})
    assert not drained["failed"], drained

    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert f"{orphan} is running outside the group: it was detached by asg_detach_terminate of mine" in run.stdout
    assert problems(world, shifted={"shared": {"desired": -1}}) == []
