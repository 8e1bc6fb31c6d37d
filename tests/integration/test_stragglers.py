# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts in which nodes are not empty in time: they are carried from wave to wave, or what is written is done."""

from __future__ import annotations

import json

import pytest
from integration.permissions import grant_only_what_is_documented
from integration.rollouts import (
    checkpoints,
    everything_outdated,
    own_tasks,
    problems,
    restore,
    roll,
    roll_until_killed,
    told,
)

from simulator.identities import TOOL
from simulator.runs import Run
from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario
from simulator.world import World

FROZEN = Budget(max_unavailable=0)
# One pod that its budget never lets go, on one of three nodes.
ONE_FROZEN = Scenario(
    groups=[NodeGroup("shared", size=3)],
    workloads=[Deployment("frozen", budget=FROZEN), Deployment("web", replicas=3)],
)
WITHOUT_GATES = {"eks_gate": False, "eks_load_balancers": False}
CARRY = {
    **WITHOUT_GATES,
    "eks_drain_on_timeout": "carry",
    "eks_drain_timeout": 4,
    "eks_canary": 0,
    "eks_max_surge": 2,
}


def instance_of(world: World, workload: str) -> str:
    """The instance on which the pod of that workload runs."""
    (node,) = {where for pod, where in world.snapshot().pods.items() if pod.startswith(f"default/{workload}-")}
    return next(name for name, one in world.snapshot().nodes.items() if one.name == node)


def removed(world: World) -> set[str]:
    return {note["instance"] for note in world.record.notes("instance_removed")}


def loosen(world: World, workload: str) -> None:
    """Its budget lets pods go from now on."""
    path = f"/apis/policy/v1/namespaces/default/poddisruptionbudgets/{workload}"
    world.client("somebody").patch(path, {"spec": {"maxUnavailable": 1}})


@pytest.mark.scenario(ONE_FROZEN)
def test_one_that_does_not_get_empty_does_not_hold_the_others_and_is_finished_at_the_end(world: World) -> None:
    straggler = instance_of(world, "frozen")
    everybody = set(world.beginning.groups["shared"].instances)

    # The others go; in the end it is alone, and that is a failure that says what is left.
    run = roll(world, eks_tasks_after_drain=own_tasks(world), **CARRY)
    assert run.rc != 0, run.output
    assert removed(world) == everybody - {straggler}, run.output
    assert told(world) and not [line for line in told(world) if straggler in line]
    assert f"Half done: 1 ({straggler} cordoned, not drained in time)" in run.output
    assert world.snapshot().nodes[straggler].unschedulable
    assert world.record.notes("budget_violated") == []

    # Somebody sees to the budget: the next run has nobody to begin with, and finishes it.
    loosen(world, "frozen")
    run = roll(world, **CARRY)
    assert run.rc == 0, run.output
    assert everybody <= removed(world)
    assert problems(world) == []


@pytest.mark.slow
@pytest.mark.scenario(ONE_FROZEN)
@pytest.mark.parametrize("way", ["on", "back"])
def test_killed_right_after_a_node_was_carried_the_run_goes_on_or_back(world: World, way: str) -> None:
    straggler = instance_of(world, "frozen")
    everybody = set(world.beginning.groups["shared"].instances)
    roll_until_killed(world, "autoscaling", "^TerminateInstanceInAutoScalingGroup$", skip=1, **CARRY)
    (checkpoint,) = checkpoints(world)
    host = json.loads(checkpoint.read_text())["hosts"][straggler]
    assert (host["carried"], host["finished"]) == (1, False)
    assert world.snapshot().nodes[straggler].unschedulable

    if way == "on":
        loosen(world, "frozen")
        run = roll(world, **CARRY)
        assert run.rc == 0, run.output
        assert problems(world) == []
    else:
        run = restore(world, **WITHOUT_GATES)
        assert run.rc == 0, run.output
        assert not world.snapshot().nodes[straggler].unschedulable
        assert problems(world, {"shared": everybody - {straggler}}) == []


ONE_TO_FORCE = Scenario(
    groups=[NodeGroup("shared", size=1)],
    workloads=[Deployment("frozen", budget=FROZEN, labels={"tier": "batch"}), Deployment("web", replicas=2)],
)
ESCALATE = {
    **WITHOUT_GATES,
    "eks_drain_on_timeout": "escalate",
    "eks_drain_timeout": 1,
    "eks_drain_escalation": [{"after": "1s", "action": "delete", "selector": "tier=batch", "budgets": "overrule"}],
}


@pytest.mark.scenario(ONE_TO_FORCE)
def test_what_the_policy_forces_is_in_the_result_and_the_journal_of_the_run(world: World) -> None:
    grant_only_what_is_documented(world, escalation=True)
    run = roll(world, **ESCALATE)
    assert run.rc == 0, run.output
    forced_once(world, run)
    # Nothing but that budget was passed over.
    assert [found for found in problems(world, everything_outdated(world.beginning)) if "frozen" not in found] == []


@pytest.mark.slow
@pytest.mark.scenario(ONE_TO_FORCE)
def test_who_was_forced_right_before_the_run_was_killed_is_in_the_result_of_the_next_one(world: World) -> None:
    roll_until_killed(world, "kubernetes", "^DELETE pods$", **ESCALATE)
    run = roll(world, **ESCALATE)
    assert run.rc == 0, run.output
    forced_once(world, run)


def forced_once(world: World, run: Run) -> None:
    """The one pod that a budget never lets go is listed wherever it should be, and was deleted once."""
    (finished,) = (world.home / "state").rglob("*.done.json")
    (forced,) = json.loads(finished.read_text())["forced"]
    assert forced["pod"].startswith("default/frozen-") and forced["budgets"] == ["default/frozen"]
    assert forced["action"] == "delete"
    assert f"1 pod was forced: {forced['pod']} (delete)" in run.stdout
    (journal,) = (world.home / "state").rglob("*.journal.jsonl")
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [event["uid"] for event in events if event["kind"] == "pod_forced"] == [forced["uid"]]
    assert [call.target for call in world.record.calls(author=TOOL, operation="DELETE pods")] == [forced["pod"]]
    assert {note["budget"] for note in world.record.notes("budget_violated")} == {"default/frozen"}
