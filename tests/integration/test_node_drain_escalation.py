# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What node_drain does about nodes that are not empty in time: fail, carry on, or what the user has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from integration.permissions import grant_only_what_is_documented
from integration.test_node_drain import calls, cordon, drain, evictions, node_with, nodes_of, pods_on

from simulator.identities import TOOL
from simulator.kubernetes import troubles
from simulator.kubernetes.controllers.timings import HANGS
from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario
from simulator.world import World

DELETION = "DELETE pods"
MARKS = "evergreen.eks/marks"
BATCH = {"tier": "batch"}
FROZEN = Budget(max_unavailable=0)
# Pods of one node: under a budget that never lets them go, batch jobs under such a budget, and one that does not stop.
STUBBORN = Scenario(
    groups=[NodeGroup("shared", size=3, outdated=False)],
    workloads=[
        Deployment("frozen", replicas=3, budget=FROZEN),
        Deployment("batch", replicas=3, budget=FROZEN, labels=BATCH),
        Deployment("slow", replicas=3, stop=36000, grace=36000),
        Deployment("web", replicas=3),
    ],
)


def deletions(world: World) -> list[tuple[str, int | None]]:
    """Workload and grace period of each pod that the tool has deleted."""
    return [
        (call.target.split("/")[1].split("-")[0], call.params["body"].get("gracePeriodSeconds"))
        for call in calls(world, DELETION)
        if call.status == 200
    ]


def forced(entry: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Workload, action and overruled budgets of what was forced on a node."""
    return [(one["pod"].split("/")[1].split("-")[0], one["action"], one["budgets"]) for one in entry["forced"]]


def left(answer: dict[str, Any], node: str) -> list[str]:
    """The workloads that are in the way on a node."""
    return sorted(entry["pod"].split("/")[1].split("-")[0] for entry in answer["nodes"][node]["blocked"])


def marked_cordon(world: World, *names: str) -> None:
    """Cordoned by the collection itself, with its marks."""
    arguments = {"cluster_name": world.scenario.cluster, "nodes": list(names), "state": "cordoned", "run_id": "run-1"}
    assert not world.module("evergreen.eks.node_cordon", arguments)["failed"]
    world.record.clear()


@pytest.mark.scenario(STUBBORN)
def test_only_what_the_policy_says_is_done(world: World, tmp_path: Path) -> None:
    """The budgets hold, but for the step that says otherwise, and for those that it selects."""
    node = node_with(world, "frozen")
    cordon(world, node)
    policy = [
        {"after": 1, "action": "delete"},
        {"after": 4, "action": "delete", "selector": "tier=batch", "budgets": "overrule"},
        {"after": 5, "action": "delete_grace_1", "selector": "app=slow"},
    ]
    journal = tmp_path / "journal.jsonl"
    asked = grant_only_what_is_documented(world, escalation=True)
    answer = drain(world, node, timeout=2, on_timeout="escalate", escalation=policy, journal=str(journal))

    assert answer["failed"] and answer["reason"] == "timeout" and left(answer, node) == ["frozen"]
    assert sorted(deletions(world)) == [("batch", None), ("slow", 1)] and ("delete", "", "pods", "") in asked.verbs
    entry = answer["nodes"][node]
    assert sorted(forced(entry)) == [("batch", "delete", ["default/batch"]), ("slow", "delete_grace_1", [])]
    assert sorted(pod.split("/")[1].split("-")[0] for pod in entry["evicted"]) == ["slow", "web"]
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    told = {(event["kind"], event["pod"].split("/")[1].split("-")[0]) for event in events if "action" in event}
    assert told == {("pod_forced", "batch"), ("pod_forced", "slow"), ("pod_spared", "frozen"), ("pod_spared", "batch")}
    assert {note["budget"] for note in world.record.notes("budget_violated")} == {"default/batch"}


@pytest.mark.scenario(
    Scenario(
        groups=[NodeGroup("shared", size=3, outdated=False)],
        workloads=[
            Deployment("frozen", replicas=1, budget=FROZEN),
            Deployment("hung", replicas=1, annotations={HANGS: "true"}, group="shared"),
            Deployment("web", replicas=6),
        ],
    )
)
def test_who_is_carried_is_named_and_a_later_call_counts_on_and_forces_what_no_delete_helped(world: World) -> None:
    nodes = nodes_of(world)
    frozen, hung = node_with(world, "frozen"), node_with(world, "hung")
    instances = {node.name: node.instance_id for node in world.beginning.nodes.values()}
    marked_cordon(world, *nodes)

    answer = drain(world, *nodes, timeout=2, on_timeout="carry")
    assert not answer["failed"] and set(answer["carried"]) == {frozen, hung}
    assert {node: answer["nodes"][node]["drained"] for node in nodes} == {n: n not in (frozen, hung) for n in nodes}
    assert answer["nodes"][frozen]["reason"] == "timeout" and deletions(world) == []
    assert drained_since(world, frozen) == ""

    answer = drain_instances(world, instances[frozen], timeout=1, on_timeout="carry")
    assert answer["carried"] == [instances[frozen]]  # as it was named

    # A call with steps notes when it began, and one that comes an hour later goes on from there.
    policy = [
        {"after": "30m", "action": "delete_grace_1", "budgets": "overrule"},
        {"after": "40m", "action": "force", "budgets": "overrule"},
    ]
    nobody = [{"after": 0, "action": "delete", "selector": "app=nobody"}]
    answer = drain(world, frozen, hung, timeout=1, on_timeout="escalate", escalation=nobody)
    assert answer["reason"] == "timeout" and deletions(world) == []
    began = drained_since(world, frozen)
    assert began
    world.clock.advance(3600)

    answer = drain(world, frozen, hung, on_timeout="escalate", escalation=policy)
    assert not answer["failed"], answer
    assert drained_since(world, frozen) == began
    assert sorted(deletions(world)) == [("frozen", 1), ("hung", 0), ("hung", 1)]
    assert forced(answer["nodes"][frozen]) == [("frozen", "delete_grace_1", ["default/frozen"])]
    assert [action for _pod, action, _budgets in forced(answer["nodes"][hung])] == ["delete_grace_1", "force"]
    assert pods_on(world, frozen) == pods_on(world, hung) == []

    # With the cordon the note goes.
    arguments = {"cluster_name": world.scenario.cluster, "nodes": [frozen], "state": "uncordoned"}
    assert world.module("evergreen.eks.node_cordon", arguments)["changed"]
    assert MARKS not in world.client().get(f"/api/v1/nodes/{frozen}")["metadata"].get("annotations", {})


def drained_since(world: World, node: str) -> str:
    """What the collection's mark on a node says."""
    annotations = world.client().get(f"/api/v1/nodes/{node}")["metadata"]["annotations"]
    return json.loads(annotations[MARKS]).get("drained_since", "")


def drain_instances(world: World, *instances: str, **options: Any) -> dict[str, Any]:
    arguments = {"cluster_name": world.scenario.cluster, "instance_ids": list(instances), "poll_seconds": 0.2}
    return world.module("evergreen.eks.node_drain", {**arguments, **options})


@pytest.mark.scenario(
    Scenario(
        groups=[NodeGroup("shared", size=3, outdated=False)],
        workloads=[Deployment("web", replicas=1, budget=Budget(max_unavailable=1)), Deployment("other", replicas=2)],
    )
)
def test_steps_are_taken_in_trouble_too_and_for_pods_that_nobody_could_ever_evict(world: World) -> None:
    """Two budgets select the pod, which the eviction API does not support; the answer to its deletion is lost."""
    selector = {"matchLabels": {"app": "web"}}
    second = {"metadata": {"name": "second"}, "spec": {"maxUnavailable": 1, "selector": selector}}
    manifest = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", **second}
    world.client().create("/apis/policy/v1/namespaces/default/poddisruptionbudgets", manifest)
    node = node_with(world, "web")
    cordon(world, node)
    world.faults.add("kubernetes", f"^{DELETION}$", author=TOOL, error=troubles.flow_control(1))
    world.faults.add("kubernetes", f"^{DELETION}$", author=TOOL, reset="after", skip=1)

    policy = [{"after": 1, "action": "delete", "budgets": "overrule"}]
    answer = drain(world, node, timeout=1, on_timeout="escalate", escalation=policy)

    assert not answer["failed"], answer
    assert forced(answer["nodes"][node]) == [("web", "delete", ["default/second", "default/web"])]
    assert pods_on(world, node) == []

    # A node that only waits for pods that are to complete does not hold the others either.
    waiting = node_with(world, "other")
    cordon(world, waiting)
    completing = {"selector": "app=other", "timeout": "20h"}
    answer = drain(world, waiting, timeout=1, on_timeout="carry", wait_for_completion=completing)
    assert not answer["failed"] and answer["carried"] == [waiting]
    assert {entry["reason"] for entry in answer["nodes"][waiting]["blocked"]} == {"completing"}
    assert not [pod for pod in evictions(world) if "other" in pod]


@pytest.mark.scenario(
    Scenario(
        groups=[NodeGroup("shared", size=3, outdated=False)],
        workloads=[Deployment("web", replicas=3, budget=Budget(max_unavailable=1), stop=20, grace=120)],
    )
)
def test_where_steps_are_long_due_nobody_is_forced_who_would_leave_in_a_moment(world: World) -> None:
    """The first run was yesterday. One pod waits for its budget, the other has been asked to stop just now."""
    nodes = nodes_of(world)[:2]
    marked_cordon(world, *nodes)
    yesterday = world.clock.timestamp(world.clock.now() - 86400)
    for name in nodes:
        annotations = world.client().get(f"/api/v1/nodes/{name}")["metadata"]["annotations"]
        marks = {**json.loads(annotations[MARKS]), "drained_since": yesterday}
        world.client().patch(f"/api/v1/nodes/{name}", {"metadata": {"annotations": {MARKS: json.dumps(marks)}}})

    policy = [
        {"after": "30m", "action": "delete", "budgets": "overrule"},
        {"after": "40m", "action": "delete_grace_1", "budgets": "overrule"},
    ]
    answer = drain(world, *nodes, on_timeout="escalate", escalation=policy, poll_seconds=0.5)
    assert not answer["failed"] and deletions(world) == [], answer
    assert all(answer["nodes"][name]["drained"] and not answer["nodes"][name]["forced"] for name in nodes)
    assert len(evictions(world)) == 2 and not world.record.notes("budget_violated")
