# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts in which nodes are not empty in time: they are carried from wave to wave, or what is written is done."""

from __future__ import annotations

from typing import Any

import pytest
from integration.rollouts import problems, roll

from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario
from simulator.world import World

FROZEN = Budget(max_unavailable=0)
# One pod that its budget never lets go, on one of four nodes.
ONE_FROZEN = Scenario(
    groups=[NodeGroup("shared", size=3)],
    workloads=[Deployment("frozen", budget=FROZEN, labels={"tier": "batch"}), Deployment("web", replicas=3)],
)
CARRY = {
    "eks_drain_on_timeout": "carry",
    "eks_drain_timeout": 4,
    "eks_canary": 0,
    "eks_max_surge": 2,
    "eks_gate": False,
    "eks_load_balancers": False,
}


def instance_of(world: World, workload: str) -> str:
    """The instance on which the pod of that workload runs."""
    (node,) = {where for pod, where in world.snapshot().pods.items() if pod.startswith(f"default/{workload}-")}
    return next(name for name, one in world.snapshot().nodes.items() if one.name == node)


def removed(world: World) -> list[str]:
    return [note["instance"] for note in world.record.notes("instance_removed")]


def loosen(world: World, workload: str) -> None:
    """Its budget lets pods go from now on."""
    path = f"/apis/policy/v1/namespaces/default/poddisruptionbudgets/{workload}"
    world.client("somebody").patch(path, {"spec": {"maxUnavailable": 1}})


def last_words(run: Any) -> str:
    return run.output.split("To go on:")[0]


@pytest.mark.scenario(ONE_FROZEN)
def test_one_that_does_not_get_empty_does_not_hold_the_others_and_is_finished_at_the_end(world: World) -> None:
    straggler = instance_of(world, "frozen")
    everybody = set(world.beginning.groups["shared"].instances)

    # The others go; in the end it is alone, and that is a failure that says what is left.
    run = roll(world, **CARRY)
    assert run.rc != 0, run.output
    assert set(removed(world)) == everybody - {straggler}, run.output
    assert f"Half done: 1 ({straggler} cordoned, not drained in time)" in run.output
    assert world.snapshot().nodes[straggler].unschedulable
    assert world.record.notes("budget_violated") == []

    # Somebody sees to the budget: the next run has nobody to begin with, and finishes it.
    loosen(world, "frozen")
    run = roll(world, **CARRY)
    assert run.rc == 0, run.output
    assert everybody <= set(removed(world))
    assert problems(world) == []
