# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""evergreen.eks.node_drain: who leaves when, and who does not. Judged by the world's record and its final state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from integration.rollouts import problems, roll

from simulator.identities import TOOL
from simulator.kubernetes.controllers.timings import FINISHES_AFTER, STATIC_PODS, STOPS_AFTER
from simulator.scenarios import Budget, DaemonSet, Deployment, Job, NodeGroup, Scenario
from simulator.world import World

GROUP = NodeGroup("shared", size=3, outdated=False)
WAIT = {"evergreen.eks/drain": "wait-completed"}
SPARED = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
CRITICAL = "system-cluster-critical"


def scenario(*workloads: Any) -> Scenario:
    return Scenario(groups=[GROUP], workloads=workloads)


def nodes_of(world: World) -> list[str]:
    return sorted(node.name for node in world.snapshot().nodes.values())


def instance_of(world: World, node: str) -> str:
    return next(instance_id for instance_id, state in world.snapshot().nodes.items() if state.name == node)


def node_with(world: World, workload: str) -> str:
    return next(node for pod, node in sorted(world.snapshot().pods.items()) if pod.startswith(f"default/{workload}"))


def cordon(world: World, *names: str) -> None:
    for name in names:
        world.client().patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
    world.record.clear()


def place(world: World, name: str, node: str, *, seconds: float = 0, spec: Any = None, **metadata: Any) -> None:
    """A pod of its own on that node, which ends by itself after so many seconds, if any."""
    annotations = {STOPS_AFTER: "1", **metadata.pop("annotations", {})}
    if seconds:
        annotations[FINISHES_AFTER] = f"{seconds:g}"
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations, **metadata},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never" if seconds else "Always",
            "containers": [{"name": "main", "image": "registry.invalid/one:1"}],
            **(spec or {}),
        },
    }
    world.client().create("/api/v1/namespaces/default/pods", manifest)


def pod(world: World, name: str) -> dict[str, Any]:
    return world.client().get(f"/api/v1/namespaces/default/pods/{name}")


def drain(world: World, *names: str, check: bool = False, **options: Any) -> dict[str, Any]:
    arguments = {"cluster_name": world.scenario.cluster, "nodes": list(names), "poll_seconds": 0.2, "timeout": 30}
    return world.module("evergreen.eks.node_drain", {**arguments, **options}, check=check)


def last_report_on(world: World, name: str) -> float:
    """When its kubelet last said how that pod is."""
    calls = world.record.calls(operation="PATCH pods/status", author="kubelet")
    return max(call.at for call in calls if call.target == name)


def evicted(world: World) -> list[str]:
    """The workloads whose pods the tool has evicted, in that order; those of kube-system with it."""
    calls = world.record.calls(author=TOOL, operation="POST pods/eviction")
    return [short(call.target) for call in calls if call.status == 201 and not call.dry_run]


def short(name: str) -> str:
    """``web`` for default/web-7d4b9c-x2x7k."""
    return name.split("/")[1].split("-")[0]


def listed(answer: dict[str, Any], node: str, which: str, field: str = "reason") -> dict[str, str]:
    """Workload -> that field, of one list of a node's entry."""
    return {short(entry["pod"]): entry[field] for entry in answer["nodes"][node][which]}


@pytest.mark.scenario(scenario(Deployment("web", replicas=6)))
def test_batch_pods_complete_and_hold_nobody_up(world: World, tmp_path: Path) -> None:
    first, second, _third = nodes_of(world)
    place(world, "report", first, seconds=600, annotations=WAIT)
    place(world, "import", first, seconds=400, labels={"app": "import"})
    place(world, "stays", first, labels={"cluster.x-k8s.io/drain": "skip"})
    place(world, "export", second, seconds=300, labels={"cluster.x-k8s.io/drain": "wait-completed"})
    cordon(world, first, second)
    journal = tmp_path / "journal.jsonl"

    completions = {"selector": "app=import"}
    answer = drain(
        world, first, second, timeout=3, max_parallel=1, wait_for_completion=completions, journal=str(journal)
    )

    assert not answer["failed"] and {entry["reason"] for entry in answer["nodes"].values()} == {"drained"}, answer
    assert set(evicted(world)) == {"web"} and world.record.notes("pod_deleted") == []
    assert {name: pod(world, name)["status"]["phase"] for name in ("report", "import", "export", "stays")} == {
        "report": "Succeeded",
        "import": "Succeeded",
        "export": "Succeeded",
        "stays": "Running",
    }
    assert listed(answer, first, "waited", "outcome") == {"report": "succeeded", "import": "succeeded"}
    assert listed(answer, second, "waited", "outcome") == {"export": "succeeded"}
    assert {**listed(answer, first, "skipped"), **listed(answer, second, "skipped")}["stays"] == "opted_out"
    assert answer["nodes"][first]["seconds"] > 3, "it was waited for longer than the drain's own time-out"
    # It had a place of its own (max_parallel), and gave it away.
    completed = last_report_on(world, "default/report")
    assert [note.at < completed for note in world.record.notes("evicted")].count(False) == 0
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    told = [(short(event["pod"]), event["outcome"]) for event in events if event["kind"] == "pod_waited_for"]
    assert sorted(told) == sorted(
        (name, outcome) for name in ("report", "import", "export") for outcome in ("waiting", "succeeded")
    )

    arguments = {
        "cluster_name": world.scenario.cluster,
        "asg_name": "shared",
        "instance_ids": [instance_of(world, first)],
        "decrement": False,
        "poll_seconds": 0.1,
    }
    removed = world.module("evergreen.eks.asg_detach_terminate", arguments)
    assert not removed["failed"], removed
    assert world.record.notes("pod_lost") == []


@pytest.mark.scenario(
    scenario(
        Deployment("batch", replicas=1, annotations={**WAIT, "evergreen.eks/drain-timeout": "2h"}),
        Deployment("frozen", replicas=3, budget=Budget(max_unavailable=0)),
    )
)
def test_a_deadline_counts_from_the_cordon_also_for_a_rerun(world: World) -> None:
    node = node_with(world, "batch")
    marked = world.module(
        "evergreen.eks.node_cordon", {"cluster_name": world.scenario.cluster, "nodes": [node], "poll_seconds": 0.2}
    )
    since = json.loads(marked["nodes"][node]["after"]["annotations"]["evergreen.eks/marks"])["since"]
    world.record.clear()

    first = drain(world, node, timeout=2)
    assert first["reason"] == "timeout" and listed(first, node, "blocked") == {
        "batch": "completing",
        "frozen": "budget",
    }
    (wait,) = first["nodes"][node]["waited"]
    assert (wait["reason"], wait["outcome"]) == ("completing", "waiting") and wait["until"][11:] != since[11:]
    assert int(wait["until"][11:13]) == (int(since[11:13]) + 2) % 24 and wait["until"][13:] == since[13:]
    assert "batch" not in evicted(world)

    world.client().delete("/apis/policy/v1/namespaces/default/poddisruptionbudgets/frozen")
    world.clock.advance(2 * 3600)
    failed = drain(world, node, timeout=0)
    assert failed["reason"] == "blocked" and listed(failed, node, "blocked") == {"batch": "not_completed"}
    assert "evergreen.eks/drain-timeout" in failed["msg"] and set(evicted(world)) == {"frozen"}

    outlook = drain(world, node, check=True, wait_for_completion={"then": "evict"})
    assert [short(name) for name in outlook["nodes"][node]["evicted"]] == ["batch"]
    last = drain(world, node, wait_for_completion={"then": "evict"})
    assert last["nodes"][node]["drained"] and evicted(world)[-1] == "batch"


@pytest.mark.scenario(
    scenario(
        Deployment("web", replicas=3),
        Deployment("spared", replicas=1, annotations=SPARED),
        Deployment("young", replicas=1, annotations={"karpenter.sh/do-not-disrupt": "12m"}),
    )
)
def test_pods_that_are_protected_are_heeded_as_the_user_says(world: World) -> None:
    nodes = nodes_of(world)
    spared, young = node_with(world, "spared"), node_with(world, "young")
    cordon(world, *nodes)

    refused = drain(world, *nodes)
    assert refused["reason"] == "refused" and not refused["changed"] and "protected_pods" in refused["msg"]
    assert "protected" == listed(refused, spared, "blocked")["spared"] == listed(refused, young, "blocked")["young"]
    outlook = drain(world, *nodes, check=True)
    assert not outlook["changed"] and listed(outlook, spared, "blocked")["spared"] == "protected"
    assert evicted(world) == []

    waited = drain(world, *nodes, protected_pods="wait", timeout=14)
    assert waited["reason"] == "timeout" and listed(waited, spared, "blocked") == {"spared": "protected"}
    assert sorted(evicted(world)) == ["web", "web", "web", "young"]
    assert listed(waited, young, "waited", "outcome").get("young") == "evicted"
    (eviction,) = (note for note in world.record.notes("evicted") if short(note["pod"]) == "young")
    assert eviction.at >= world.clock.now() - 14 * 60, "in this drain"

    allowed = drain(world, spared, protected_pods="evict")
    assert allowed["nodes"][spared]["drained"] and evicted(world)[-1] == "spared"
    assert listed(allowed, spared, "warnings") == {"spared": "protected"}


@pytest.mark.scenario(
    scenario(
        Deployment("dns", "kube-system", replicas=3, priority_class=CRITICAL, stop=30),
        Deployment("db", replicas=3, labels={"tier": "database"}, stop=120, grace=120),
        Deployment("web", replicas=3, stop=120, grace=120),
    )
)
def test_pods_leave_in_order_and_the_next_wave_begins_when_the_former_is_gone(world: World) -> None:
    first, second, third = nodes_of(world)
    order = [{"selector": "app=web"}, {"selector": "tier=database"}]

    def leave(node: str, **options: Any) -> dict[str, tuple[float, float]]:
        """Workload -> when the first of its pods was evicted there, and when the last was gone."""
        cordon(world, node)
        answer = drain(world, node, **options)
        assert answer["nodes"][node]["drained"], answer
        notes = [note for note in world.record.notes("evicted") if note["node"] == node]
        gone = {call.target: call.at for call in world.record.calls(operation="DELETE pods", author="kubelet")}
        times: dict[str, tuple[float, float]] = {}
        for note in notes:
            began, ended = times.get(short(note["pod"]), (note.at, 0.0))
            times[short(note["pod"])] = min(began, note.at), max(ended, gone[note["pod"]])
        return times

    times = leave(first, order=order)
    assert times["web"][1] <= times["db"][0] and times["db"][1] <= times["dns"][0]

    times = leave(second)
    assert max(times["web"][1], times["db"][1]) <= times["dns"][0] and times["web"][0] < times["db"][1]

    times = leave(third, order=json.dumps(order), order_timeout="1s")
    assert times["web"][0] < times["db"][0] < times["web"][1] and times["db"][0] < times["dns"][0] < times["db"][1]


@pytest.mark.scenario(scenario(DaemonSet("agent", namespace="default"), Deployment("web", replicas=3)))
def test_every_kind_of_pod_in_the_table_of_docs_drain_md(world: World) -> None:
    node = node_with(world, "web")
    client = world.client()
    client.patch(f"/api/v1/nodes/{node}", {"metadata": {"annotations": {STATIC_PODS: "etcd"}}})
    place(world, "alone", node)
    place(world, "local", node, spec={"volumes": [{"name": "scratch", "emptyDir": {}}]})
    place(world, "finished", node, seconds=1)
    place(world, "asked", node, spec={"evictionResponders": [{"name": "db.example.com"}]})
    place(world, "skipped", node, annotations={"evergreen.eks/drain": "skip"})
    place(world, "labelled", node, labels={"evergreen.eks/drain": "skip"})
    place(world, "completed", node, seconds=1, annotations=WAIT)
    place(world, "held", node, finalizers=["example.com/held"])
    gone = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "gone", "uid": "no-such-uid", "controller": True}
    place(world, "leftover", node, ownerReferences=[gone])
    place(world, "typo", node, annotations={"karpenter.sh/do-not-disrupt": "a while"})
    world.wait_until(
        lambda now: {"default/finished", "default/completed"} <= set(now.pods_finished), "both have finished"
    )
    cordon(world, node)
    strict = drain(world, node)
    assert strict["reason"] == "refused" and evicted(world) == []
    assert listed(strict, node, "blocked") == {
        "alone": "unmanaged",
        "local": "local_storage",
        "asked": "unmanaged",
        "held": "unmanaged",
        "typo": "unmanaged",
    }

    client.delete(
        "/apis/apps/v1/namespaces/default/daemonsets/agent", {"propagationPolicy": "Orphan", "kind": "DeleteOptions"}
    )
    release = {"metadata": {"finalizers": None}}
    world.actors.when(
        lambda: world.actors.at(120, lambda: client.patch("/api/v1/namespaces/default/pods/held", release)),
        operation="^POST pods/eviction$",
        target="held",
    )
    answer = drain(world, node, delete_emptydir_data=True, evict_unmanaged=True)
    assert answer["nodes"][node]["drained"], answer
    leave = ["agent", "alone", "asked", "finished", "held", "leftover", "local", "typo", "web"]
    assert sorted(evicted(world)) == leave
    skipped = listed(answer, node, "skipped")
    assert {name: skipped[name] for name in ("etcd", "skipped", "labelled", "completed")} == {
        "etcd": "mirror",
        "skipped": "opted_out",
        "labelled": "opted_out",
        "completed": "completed",
    }
    warned: dict[str, set[str]] = {}
    for warning in answer["nodes"][node]["warnings"]:
        warned.setdefault(short(warning["pod"]), set()).add(warning["reason"])
    assert warned == {
        "agent": {"unmanaged"},  # orphaned on purpose, it has no owner any more
        "leftover": {"orphaned_daemonset"},
        "alone": {"unmanaged"},
        "asked": {"unmanaged", "eviction_responders"},
        "held": {"unmanaged"},
        "local": {"unmanaged", "local_storage"},
        "typo": {"unmanaged", "unreadable_annotation"},
    }


@pytest.mark.slow
@pytest.mark.scenario(
    Scenario(
        groups=[NodeGroup("shared", size=1, max_size=2)],
        workloads=[
            Deployment("web", replicas=2),
            Job("report", runs_for=36000, annotations=WAIT),
        ],
    ),
    speed=120,
)
def test_a_rollout_lets_a_report_run_to_its_end(world: World) -> None:
    (report,) = (name for name in world.snapshot().pods if name.startswith("default/report"))
    place(world, "stays", node_with(world, "report"), labels={"cluster.x-k8s.io/drain": "skip"})
    # Three seconds of ours after the drain of one second began, ten hours pass in the world.
    world.actors.when(lambda: world.actors.at(360, lambda: world.clock.advance(36000)), operation="^WATCH pods$")

    run = roll(world, eks_drain_timeout="1", eks_order='[{"selector": "app=web"}]', eks_order_timeout="1m")

    assert run.rc == 0, run.output
    assert "it is waited for until it has completed" in run.output
    assert problems(world) == []
    (removed,) = world.record.notes("instance_removed")
    assert last_report_on(world, report) < removed.at and "report" not in evicted(world) and "web" in evicted(world)
