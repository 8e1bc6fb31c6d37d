# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back from a run that nobody wants to finish, judged by the invariants over the world's own record."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from integration.rollouts import RESTORE, lose_checkpoints, problems, restore, roll, roll_until_killed
from integration.test_rollout import IN_ONE_WAVE, TWO_NODES

from simulator.checks import nothing_changed
from simulator.scenarios import NodeGroup, Scenario
from simulator.world import World


@dataclass(frozen=True)
class Kill:
    """A request at which a run is killed: before it is served, or after it was; and is its checkpoint lost then."""

    service: str
    operation: str
    skip: int = 0
    before: bool = False
    lost: bool = False


def gone(world: World, group: str = "shared") -> set[str]:
    """The instances of the beginning that are members no more, or are on their way out."""
    now = world.snapshot().groups[group].instances
    leaving = {name for name, instance in now.items() if instance.lifecycle.startswith("Terminating")}
    return set(world.beginning.groups[group].instances) - (set(now) - leaving)


def given_up_after(world: World, kill: Kill) -> set[str]:
    """Start a rollout and kill it; answers the instances that it had taken out by then."""
    roll_until_killed(world, kill.service, kill.operation, skip=kill.skip, before=kill.before, **IN_ONE_WAVE)
    if kill.lost:
        lose_checkpoints(world)
    return gone(world)


def put_back(world: World, replaced: set[str], **expected) -> None:
    """Restore, and judge: everything is as it was, and nobody is gone but those who had gone already."""
    run = restore(world)
    assert run.rc == 0, run.output
    assert problems(world, {"shared": replaced}, **expected) == []


# One kill in each stage. Each run is given up and put back before the next one begins.
STAGES = [
    Kill("autoscaling", "^CreateOrUpdateTags$", lost=True),  # reserve
    Kill("autoscaling", "^UpdateAutoScalingGroup$", skip=1),  # scale_up
    Kill("kubernetes", "^PATCH nodes$", skip=3, lost=True),  # cordon
    Kill("kubernetes", "^POST pods/eviction$", skip=1),  # drain
    Kill("autoscaling", "^TerminateInstanceInAutoScalingGroup$", lost=True),  # terminate
    Kill("autoscaling", "^ResumeProcesses$"),  # restore
]
SOME = [STAGES[4]]


@pytest.mark.parametrize(
    "stages", [pytest.param(SOME, id="one"), pytest.param(STAGES, id="all", marks=pytest.mark.slow)]
)
@pytest.mark.scenario(TWO_NODES)
def test_given_up_in_any_stage_the_group_is_put_back(world: World, stages: list[Kill]):
    for kill in stages:
        replaced = given_up_after(world, kill)
        calls_so_far = world.record.calls()[-1].number
        check = restore(world, "--check")
        assert check.rc == 0, check.output
        assert "is given up" in check.stdout
        assert nothing_changed(world.record, since=calls_so_far) == []

        put_back(world, replaced)

    calls_so_far = world.record.calls()[-1].number
    again = restore(world)
    assert again.rc == 0, again.output
    assert "nothing to put back" in again.stdout
    assert nothing_changed(world.record, since=calls_so_far) == []


# The way back is killed as well, and what it had recorded is lost: what it launched and marked to go must still go.
WAY_BACK = [
    Kill("autoscaling", "^CreateOrUpdateTags$"),  # given up
    Kill("kubernetes", "^PATCH nodes$"),  # the first of the old nodes uncordoned
    Kill("kubernetes", "^POST pods/eviction$"),  # a new node cordoned, its first pod evicted
    Kill("autoscaling", "^TerminateInstanceInAutoScalingGroup$"),  # the first new one out
    Kill("autoscaling", "^DeleteTags$"),  # all is back, the marks are going
]


@pytest.mark.parametrize(
    "kills", [pytest.param(WAY_BACK[3:4], id="one"), pytest.param(WAY_BACK, id="all", marks=pytest.mark.slow)]
)
@pytest.mark.scenario(TWO_NODES)
def test_the_way_back_is_killed_too_and_its_record_lost(world: World, kills: list[Kill]):
    given_up_after(world, Kill("kubernetes", "^POST pods/eviction$", skip=1))
    for kill in kills:
        roll_until_killed(world, kill.service, kill.operation, playbook=RESTORE)
        lose_checkpoints(world)
    put_back(world, set())


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_what_others_changed_before_the_way_back_stays(world: World):
    """An autoscaler wants one more, Terraform another maximum, and one of the old instances is lost."""
    given_up_after(world, Kill("kubernetes", "^POST pods/eviction$"))
    lost = sorted(world.beginning.groups["shared"].instances)[0]
    world.actors.reset_max("shared", 6)
    world.actors.set_desired("shared", 5)
    world.actors.spot_loss(lost)
    put_back(world, set(), shifted={"shared": {"desired": 1, "max_size": 4}}, gone_otherwise=[lost])


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES.with_group("shared", min_size=2))
def test_the_way_back_of_a_group_at_its_minimum_whose_desired_capacity_somebody_has_set(world: World):
    given_up_after(world, Kill("kubernetes", "^POST pods/eviction$"))
    world.actors.set_desired("shared", 2)
    put_back(world, set())


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_surplus_that_never_came_is_asked_for_no_more(world: World):
    world.cloud.fail_launches("shared")
    failed = roll(world, eks_ready_timeout=2, **IN_ONE_WAVE)
    assert failed.rc != 0
    assert world.snapshot().groups["shared"].desired == 4
    put_back(world, set())
    assert set(world.snapshot().groups["shared"].instances) == set(world.beginning.groups["shared"].instances)


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_the_way_back_does_not_wait_for_who_was_cordoned_before(world: World):
    by_its_user = sorted(world.beginning.nodes.values(), key=lambda node: node.name)[0]
    world.actors.cordon(by_its_user.name)
    world.beginning = world.snapshot()
    given_up_after(world, Kill("kubernetes", "^POST pods/eviction$"))
    put_back(world, set(), max_unavailable={"shared": 1})


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_surplus_that_never_joined_goes_also_when_the_maximum_was_reset(world: World):
    """AWS has lowered desired capacity with the maximum: what never joined leaves without another decrement."""
    world.machines.boot_seconds["shared"] = 1e9
    stuck = roll(world, eks_ready_timeout=4, **IN_ONE_WAVE)
    assert stuck.rc != 0
    world.actors.reset_max("shared", 2)
    put_back(world, set())
    assert set(world.snapshot().groups["shared"].instances) == set(world.beginning.groups["shared"].instances)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "operation"),
    [("ec2", "^CreateTags$"), ("kubernetes", "^PATCH nodes$")],
    ids=["marked to stay", "uncordoned"],
)
@pytest.mark.scenario(TWO_NODES)
def test_a_rollout_after_half_a_way_back_selects_anew_and_goes_on(world: World, service: str, operation: str):
    given_up_after(world, Kill("kubernetes", "^POST pods/eviction$"))
    roll_until_killed(world, service, operation, playbook=RESTORE)
    lose_checkpoints(world)
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert "was given up, but not put back yet" in run.stdout
    assert problems(world) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_a_checkpoint_whose_run_was_put_back_from_elsewhere_is_not_used(world: World):
    """Somebody restores from another machine; here the checkpoint still speaks of surplus that is long gone."""
    given_up_after(world, Kill("kubernetes", "^POST pods/eviction$"))
    elsewhere = restore(world, eks_state_dir=str(world.home / "elsewhere"))
    assert elsewhere.rc == 0, elsewhere.output
    check = restore(world, "--check")
    assert "nothing to put back" in check.stdout
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert "it was finished, or put back, from elsewhere" in run.stdout
    assert problems(world) == []


@pytest.mark.scenario(Scenario(groups=[NodeGroup("shared", size=2)]))
def test_an_instance_that_an_interrupted_call_left_outside_its_group_is_ended(world: World):
    orphan = sorted(world.beginning.groups["shared"].instances)[0]
    denied = world.faults.add("ec2", "^TerminateInstances$", times=None, error=(403, "AccessDenied", "no"))
    options = {"asg_name": "shared", "instance_ids": [orphan], "decrement": True, "method": "detach"}
    world.module("evergreen.eks.asg_detach_terminate", {**options, "verify_drained": False, "poll_seconds": 0.1})
    failed = restore(world)
    assert failed.rc != 0
    assert re.search(r"it stopped in 'Finish what [^']*'\. [^{]*ec2:TerminateInstances", failed.stdout), failed.output
    world.faults.remove(denied)

    run = restore(world)
    assert run.rc == 0, run.output
    assert f"shared: {orphan} is running outside the group" in run.stdout
    world.wait_until(lambda now: orphan not in now.running, "it has ended")
    assert problems(world, {"shared": [orphan]}, shifted={"shared": {"desired": -1}}) == []
    assert "nothing to put back" in restore(world).stdout


TWO_GROUPS = Scenario(groups=[NodeGroup("shared", size=1), NodeGroup("logging", size=1)])


@pytest.mark.slow
@pytest.mark.scenario(TWO_GROUPS)
def test_a_group_that_cannot_be_put_back_does_not_keep_the_others_from_it(world: World):
    both_begun = {"eks_parallel_groups": 2, **IN_ONE_WAVE}
    roll_until_killed(world, "autoscaling", "^TerminateInstanceInAutoScalingGroup$", before=True, **both_begun)
    replaced = {group: gone(world, group) for group in ("shared", "logging")}
    world.actors.start_refresh("shared")
    first = restore(world)
    assert first.rc != 0
    assert first.stdout.count("has an instance refresh under way") > 1, "its words come once more, at the end"
    groups = world.snapshot().groups
    assert groups["logging"].tags == world.beginning.groups["logging"].tags
    assert groups["shared"].tags != world.beginning.groups["shared"].tags
    world.actors.cancel_refresh("shared")
    second = restore(world)
    assert second.rc == 0, second.output
    assert problems(world, replaced) == []
