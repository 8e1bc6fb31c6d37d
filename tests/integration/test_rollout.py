# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout from end to end, judged by the invariants over the world's own record."""

from __future__ import annotations

import json

import pytest
from integration.rollouts import checkpoints, problems, roll, roll_until_killed, variables

from simulator.checks import nothing_changed
from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario, StatefulSet
from simulator.world import World

WORKLOADS = [
    Deployment("web", replicas=4, group="shared", budget=Budget(min_available=3)),
    Deployment("cache", replicas=1, group="shared", emptydir=True),
]
ONE_GROUP = Scenario(groups=[NodeGroup("shared", size=3, min_size=3)], workloads=WORKLOADS)
IN_ONE_WAVE = {"eks_canary": 0, "eks_max_surge": "100%"}
TWO_NODES = Scenario(groups=[NodeGroup("shared", size=2)], workloads=WORKLOADS)


def test_a_rollout_replaces_every_outdated_node_and_a_second_run_changes_nothing(world: World):
    run = roll(world)
    assert run.rc == 0, run.output
    assert problems(world) == []

    calls_so_far = world.record.calls()[-1].number
    again = roll(world)
    assert again.rc == 0, again.output
    assert "nothing to do" in again.stdout
    assert nothing_changed(world.record, since=calls_so_far) == []


@pytest.mark.scenario(ONE_GROUP)
def test_check_mode_shows_the_plan_and_sends_no_change(world: World):
    run = roll(world, "--check", "--diff")
    assert run.rc == 0, run.output
    assert "3 to replace in 3 waves of 1+1+1" in run.stdout
    assert nothing_changed(world.record) == []
    dry = world.record.calls(author="evergreen", operation="POST pods/eviction")
    assert len(dry) == 5
    assert all(call.dry_run for call in dry)
    assert list((world.home / "state").rglob("*")) == []


@pytest.mark.scenario(ONE_GROUP)
def test_the_plan_playbook_sends_no_change(world: World):
    run = world.playbook("evergreen.eks.plan", variables(world))
    assert run.rc == 0, run.output
    assert "3 to replace in 3 waves of 1+1+1" in run.stdout
    assert nothing_changed(world.record) == []


@pytest.mark.parametrize(
    ("amounts", "missing"),
    [
        pytest.param({"eks_max_surge": "100%", "eks_canary": "0"}, 0, marks=pytest.mark.slow),
        pytest.param({"eks_max_surge": 0, "eks_max_unavailable": "1"}, 1, marks=pytest.mark.slow),
        ({"eks_max_surge": "1", "eks_max_unavailable": "40%", "eks_canary": 0}, 1),
    ],
    ids=["all at once", "no surge", "both"],
)
@pytest.mark.scenario(ONE_GROUP)
def test_amounts(world: World, amounts, missing):
    run = roll(world, **amounts)
    assert run.rc == 0, run.output
    assert problems(world, max_unavailable={"shared": missing}) == []


@pytest.mark.slow
@pytest.mark.scenario(
    Scenario(
        groups=[NodeGroup("data", size=3)],
        workloads=[StatefulSet("db", replicas=3, group="data", budget=Budget(max_unavailable=1), zonal_volume=True)],
    )
)
def test_zonal_volumes_find_their_pods_again(world: World):
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert problems(world) == []


def some(world: World) -> list[str]:
    return sorted(world.beginning.groups["shared"].instances)[:1]


@pytest.mark.slow
@pytest.mark.scenario(ONE_GROUP.with_group("shared", outdated=False))
def test_named_instances_only(world: World):
    run = roll(world, eks_select=json.dumps({"instances": some(world)}))
    assert run.rc == 0, run.output
    assert problems(world, {"shared": some(world)}) == []

    calls_so_far = world.record.calls()[-1].number
    again = roll(world, eks_select=json.dumps({"instances": some(world)}))
    assert again.rc == 0, again.output
    assert "gone already" in again.stdout
    assert nothing_changed(world.record, since=calls_so_far) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES.with_group("shared", outdated=False))
def test_all_are_frozen_at_the_first_gather(world: World):
    roll_until_killed(world, "kubernetes", "^POST pods/eviction$", eks_select="all", **IN_ONE_WAVE)
    run = roll(world, eks_select="all", **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert problems(world) == []


@pytest.mark.scenario(
    TWO_NODES.with_group("shared", suspended=("AZRebalance", "ScheduledActions"), max_size=5, protected=True)
)
def test_what_was_so_before_stays_so(world: World):
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert problems(world) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_finished_waves_are_one_line(world: World):
    roll_until_killed(world, "kubernetes", "^POST pods/eviction$", skip=4)
    run = roll(world)
    assert run.rc == 0, run.output
    assert "wave 1 is finished, skipped" in run.stdout
    assert ", wave 1]" not in run.stdout
    assert problems(world) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_an_old_instance_that_vanishes_is_finished_and_the_surplus_goes(world: World):
    victims = sorted(world.beginning.groups["shared"].instances)

    def lose_one():
        still = [one for one in victims if one in world.snapshot().running]
        world.actors.spot_loss(still[-1])

    world.actors.when(lose_one, operation="^POST pods/eviction$", service="kubernetes")
    run = roll(world)
    assert run.rc == 0, run.output
    assert problems(world, gone_otherwise=victims) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_an_autoscaler_that_adds_a_node_between_kill_and_rerun_keeps_it(world: World):
    roll_until_killed(world, "autoscaling", "^UpdateAutoScalingGroup$", skip=1)
    world.actors.reset_max("shared", 5)
    world.actors.set_desired("shared", 4)  # two of its own, one of ours, one more
    run = roll(world)
    assert run.rc == 0, run.output
    assert problems(world, shifted={"shared": {"desired": 1, "max_size": 3}}) == []


@pytest.mark.scenario(TWO_NODES)
def test_on_failure_restore_keeps_the_old_nodes_and_puts_everything_back(world: World):
    refused = {"eks_delete_emptydir_data": False, "eks_canary": 0, "eks_max_surge": "100%"}
    run = roll(world, **refused, eks_on_failure="restore")
    assert run.rc != 0
    assert "emptyDir" in run.stdout
    assert "To go on: ansible-playbook evergreen.eks.rollout" in run.stdout
    assert "All that it took is put back. Done: 0. Half done: 0. Untouched: 2 (i-" in run.stdout, run.output
    assert "To go back" not in run.stdout, "there is nothing left to go back from"
    assert problems(world, {"shared": []}) == []
    assert set(world.snapshot().groups["shared"].instances) == set(world.beginning.groups["shared"].instances)


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_new_nodes_that_never_come_stop_the_rollout_before_any_old_one_is_touched(world: World):
    world.machines.boot_seconds["shared"] = 1e9
    run = roll(world, eks_ready_timeout=4, eks_on_failure="restore")
    assert run.rc != 0
    assert "has not joined this cluster" in run.stdout
    assert world.record.calls(author="evergreen", operation="POST pods/eviction") == []
    assert world.record.notes("cordoned") == []
    assert problems(world, {"shared": []}) == []
    assert set(world.snapshot().groups["shared"].instances) == set(world.beginning.groups["shared"].instances)


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_a_maximum_that_somebody_resets_meanwhile_costs_the_group_none_of_its_own(world: World):
    world.actors.when(
        lambda: world.actors.reset_max("shared", 2), operation="^POST pods/eviction$", service="kubernetes"
    )
    run = roll(world)
    assert run.rc == 0, run.output
    assert problems(world) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_a_target_that_moves_stops_the_rollout_and_names_both(world: World):
    roll_until_killed(world, "kubernetes", "^POST pods/eviction$")
    world.actors.new_version("shared")
    calls_so_far = world.record.calls()[-1].number
    run = roll(world)
    assert run.rc != 0
    assert "version 3" in run.stdout
    assert "version 2" in run.stdout
    assert "eks_ignore_checkpoint=true" in run.stdout
    assert nothing_changed(world.record, since=calls_so_far) == []
    anew = roll(world, eks_ignore_checkpoint="true", **IN_ONE_WAVE)
    assert anew.rc == 0, anew.output
    versions = {one.version for one in world.snapshot().groups["shared"].instances.values()}
    assert versions == {"3"}


@pytest.mark.slow
@pytest.mark.parametrize("last", ["autoscaling", "ec2"])
@pytest.mark.scenario(TWO_NODES)
def test_killed_with_its_last_steps_the_next_run_sweeps_up(world: World, last: str):
    """The marks go from the group, then from the instances, then the checkpoint is put aside."""
    roll_until_killed(world, last, "^DeleteTags$", **IN_ONE_WAVE)
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert problems(world) == []
    assert checkpoints(world) == []
    calls_so_far = world.record.calls()[-1].number
    again = roll(world, **IN_ONE_WAVE)
    assert "nothing to do" in again.stdout, again.output
    assert nothing_changed(world.record, since=calls_so_far) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_new_nodes_that_never_came_make_way_for_a_newer_version(world: World):
    """A bad image: what was launched with it is outdated once the image is put right, and has no node to drain."""
    world.machines.boot_seconds["shared"] = 1e9
    stuck = roll(world, eks_ready_timeout=4, **IN_ONE_WAVE)
    assert stuck.rc != 0
    never_joined = set(world.snapshot().groups["shared"].instances) - set(world.beginning.groups["shared"].instances)
    assert len(never_joined) == 2

    del world.machines.boot_seconds["shared"]
    world.actors.new_version("shared")
    run = roll(world, eks_ignore_checkpoint="true", **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert problems(world) == []
    assert not never_joined & set(world.snapshot().groups["shared"].instances)
