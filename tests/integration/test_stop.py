# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run is asked to stop from outside: it brings the nodes in hand to their end, and says how to go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from integration.rollouts import PLAYBOOK, problems, restore, roll, variables

from simulator.checks import nothing_changed
from simulator.runs import Run, start_ansible_playbook
from simulator.scenarios import Deployment, NodeGroup, Scenario
from simulator.world import World

T = TypeVar("T")

STOP = "evergreen.eks.stop"
WEB = Deployment("web", replicas=3)
# With a canary of one, two instances make two waves of one.
TWO_WAVES = Scenario(groups=[NodeGroup("shared", size=2)], workloads=[WEB])
TWO_GROUPS = Scenario(groups=[NodeGroup("shared", size=1), NodeGroup("other", size=1)], workloads=[WEB])


def stop(world: World, *arguments: str, **own) -> Run:
    """`ansible-playbook evergreen.eks.stop`, to its end."""
    return world.playbook(STOP, variables(world, **own), *arguments)


def while_rolling(world: World, deed: Callable[[], T], **own) -> tuple[T, Run]:
    """A rollout, and what is done once its first instance is leaving: what came of both."""
    process = start_ansible_playbook(world.env(), PLAYBOOK, variables(world, **own), capture=True)
    leaving = "TerminateInstanceInAutoScalingGroup"
    world.wait_until(lambda _now: world.record.calls(operation=leaving), "the first instance leaves", seconds=6000)
    done = deed()
    stdout, stderr = process.communicate(timeout=300)
    return done, Run(process.returncode, stdout, stderr)


@pytest.mark.scenario(TWO_WAVES)
def test_a_run_that_is_asked_to_stop_finishes_the_nodes_in_hand_and_the_next_one_goes_on(world: World):
    old = set(world.beginning.groups["shared"].instances)
    # The canary would stand for long before the second wave: a request to stop ends that, too.
    (refused, asked), stopped = while_rolling(
        world,
        lambda: (restore(world, eks_lock_wait="0"), stop(world)),
        eks_on_failure="restore",
        eks_canary_bake_seconds=200,
    )

    assert refused.rc != 0
    assert "Cluster rehearsal is held by root on " in refused.stdout, "a living run is not given up"
    assert asked.rc == 0, asked.output
    assert "is asked to stop after the nodes in hand (root at 20" in asked.stdout
    assert stopped.rc != 0
    assert "The run was asked to stop (root at 20" in stopped.stdout
    assert "did so before wave 2 of 2. " in stopped.stdout, stopped.output
    assert " Done: 1 (i-" in stopped.stdout, stopped.output
    assert " Half done: 0. Untouched: 1 (i-" in stopped.stdout, stopped.output
    assert "To go on: ansible-playbook evergreen.eks.rollout -e " in stopped.stdout
    assert "To go back: ansible-playbook evergreen.eks.restore -e " in stopped.stdout
    now = world.snapshot().groups["shared"]
    assert len(old & set(now.instances)) == 1, "one was replaced"
    assert now.desired == 3, "a stop is no failure: the new node waits for the next run"
    assert len(world.record.notes("cordoned")) == 1

    run = roll(world)
    assert run.rc == 0, run.output
    assert "the request to stop (root at 20" in run.output
    assert problems(world) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_GROUPS)
def test_a_stop_in_the_last_wave_of_a_group_keeps_the_next_one_from_beginning(world: World):
    asked, stopped = while_rolling(world, lambda: stop(world))

    assert "shared: run " in asked.stdout
    assert "other: no run is unfinished here; the one of the cluster, root on " in asked.stdout
    assert "is asked to stop before it begins here (root at 20" in asked.stdout
    assert stopped.rc != 0
    assert "Node group shared is finished; those that have not begun are untouched. To go on: " in stopped.stdout
    gone = world.beginning.groups["shared"].instances
    assert problems(world, {"shared": gone, "other": []}) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_GROUPS)
def test_a_group_that_a_stop_is_asked_for_before_it_is_begun_stays_untouched(world: World):
    asked, stopped = while_rolling(world, lambda: stop(world, eks_node_groups="other"))

    assert "is asked to stop before it begins here" in asked.stdout, asked.output
    assert stopped.rc != 0
    assert "Nothing was changed at node group other of cluster rehearsal" in stopped.stdout, stopped.output
    assert "The run was asked to stop (root at 20" in stopped.stdout
    gone = world.beginning.groups["shared"].instances
    assert problems(world, {"shared": gone, "other": []}) == []

    run = roll(world)
    assert run.rc == 0, run.output
    assert "was for an earlier run and is taken off" in run.output
    assert problems(world) == []


@pytest.mark.scenario(TWO_WAVES)
def test_a_request_that_its_run_would_not_see_is_refused_and_one_for_nobody_is_not_left(world: World):
    nobody = stop(world)
    assert nobody.rc == 0, nobody.output
    assert "there is nothing to stop" in nobody.stdout
    assert list((world.home / "state").rglob("*.stop")) == []

    world.cloud.fail_launches("shared")
    roll(world, eks_ready_timeout=2)
    foreseen = stop(world, "--check")
    assert foreseen.rc == 0, foreseen.output
    assert "is asked to stop" in foreseen.stdout
    assert list((world.home / "state").rglob("*.stop")) == []
    elsewhere = stop(world, eks_state_dir=str(world.home / "elsewhere"))
    assert elsewhere.rc != 0
    assert "whose checkpoint is not " in elsewhere.stdout
    assert "Name the same eks_state_* variables as that run does" in elsewhere.stdout

    assert "changed=1" in stop(world).stdout
    calls_so_far = world.record.calls()[-1].number
    assert "changed=0" in stop(world).stdout, "once is enough"
    assert nothing_changed(world.record, since=calls_so_far) == []
    back = restore(world)
    assert back.rc == 0, back.output
    assert list((world.home / "state").rglob("*.stop")) == []
