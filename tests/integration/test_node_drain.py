# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""evergreen.eks.node_drain against the world, judged by the world's record and its final state."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.identities import TOOL
from simulator.kubernetes.controllers.timings import STATIC_PODS
from simulator.record import Call
from simulator.scenarios import Budget, DaemonSet, Deployment, Job, NodeGroup, Pod, Scenario, StatefulSet
from simulator.world import World

EVICTION = "POST pods/eviction"
GROUP = NodeGroup("shared", size=3, outdated=False)


def scenario(*workloads: Any, **changes: Any) -> Scenario:
    return Scenario(groups=[GROUP], workloads=workloads, **changes)


def nodes_of(world: World) -> list[str]:
    return sorted(node.name for node in world.snapshot().nodes.values())


def node_with(world: World, workload: str) -> str:
    """A node on which a pod of that workload runs."""
    return next(node for pod, node in sorted(world.snapshot().pods.items()) if pod.startswith(f"default/{workload}"))


def pods_on(world: World, node: str) -> list[str]:
    """The pods on it that should be evicted before it goes, as the world itself judges."""
    return sorted(pod for pod, where in world.snapshot().pods.items() if where == node)


def cordon(world: World, *names: str) -> None:
    for name in names:
        world.client().patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
    world.record.clear()


def drain(world: World, *names: str, check: bool = False, **options: Any) -> dict[str, Any]:
    arguments = {
        "cluster_name": world.scenario.cluster,
        "nodes": list(names),
        "poll_seconds": 0.2,
        "timeout": 60,
        **options,
    }
    return world.module("evergreen.eks.node_drain", arguments, check=check)


def calls(world: World, operation: str | None = None, **selectors: Any) -> list[Call]:
    return world.record.calls(author=TOOL, operation=operation, **selectors)


def evictions(world: World, status: int = 201) -> list[str]:
    """The pods for which the tool sent an eviction that was answered so."""
    return sorted(call.target for call in calls(world, EVICTION) if call.status == status and not call.dry_run)


def blocked(answer: dict[str, Any], node: str) -> list[tuple[str, str]]:
    """What is in the way there: workload and reason."""
    return [(entry["pod"].split("/")[1].split("-")[0], entry["reason"]) for entry in answer["nodes"][node]["blocked"]]


@pytest.mark.scenario(scenario(Deployment("web", replicas=12)))
def test_what_nothing_blocks_is_evicted_with_one_call_a_pod_and_a_second_run_changes_nothing(world: World) -> None:
    first, second, _third = nodes_of(world)
    cordon(world, first, second)
    there = pods_on(world, first) + pods_on(world, second)

    outlook = drain(world, first, second, check=True)
    assert outlook["changed"] and calls(world, mutating=True) == []
    assert sorted(pod for entry in outlook["nodes"].values() for pod in entry["evicted"]) == sorted(there)
    world.record.clear()

    answer = drain(world, first, second)
    assert answer["changed"] and {entry["reason"] for entry in answer["nodes"].values()} == {"drained"}
    assert evictions(world) == sorted(there) and len(calls(world, EVICTION)) == len(there)
    assert all(call.params["body"]["deleteOptions"]["preconditions"]["uid"] for call in calls(world, EVICTION))
    assert pods_on(world, first) == pods_on(world, second) == []
    assert {entry["reason"] for entry in answer["nodes"][first]["skipped"]} == {"daemonset"}

    again = drain(world, first, second)
    assert not again["changed"] and all(entry["drained"] for entry in again["nodes"].values())
    assert len(calls(world, EVICTION)) == len(there)


@pytest.mark.scenario(scenario(Deployment("web", replicas=6, budget=Budget(min_available=5), start=60)))
def test_a_budget_is_kept_and_the_drain_waits_for_it(world: World, tmp_path: Path) -> None:
    first, second, _third = nodes_of(world)
    cordon(world, first, second)
    there = pods_on(world, first) + pods_on(world, second)
    journal = tmp_path / "journal.jsonl"

    answer = drain(world, first, second, journal=str(journal))

    assert not answer["failed"] and evictions(world) == sorted(there)
    assert len(calls(world, EVICTION)) == len(there), "the budget, which lets one pod go at a time, was asked in vain"
    assert world.record.notes("budget_violated") == []
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    refused = [event for event in events if event["kind"] == "pod_blocked"]
    assert any("The disruption budget web needs 5 healthy pods" in event["message"] for event in refused)
    assert {event["uid"] for event in refused} == {e["uid"] for e in events if e["kind"] == "pod_unblocked"}
    assert not [event for event in events if "pod" in event and "text" in event], "budgets say no all the time"
    stages = [(event["node"], event["pods"]) for event in events if event.get("to") == "drained"]
    assert sorted(stages) == sorted((name, len(answer["nodes"][name]["evicted"])) for name in (first, second))


CROWD = [Deployment(f"web-{number}", replicas=27, cpu="20m", memory="16Mi", start=10, stop=5) for number in range(5)]


def quarter_of(app: str) -> dict[str, Any]:
    """A budget that lets a quarter of these pods go at a time."""
    spec = {"maxUnavailable": "25%", "selector": {"matchLabels": {"app": app}}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": app}, "spec": spec}


@pytest.mark.scenario(Scenario(groups=[NodeGroup("shared", size=9, outdated=False)], workloads=CROWD))
def test_what_a_drain_of_many_pods_costs(world: World) -> None:
    """Everything that is asked of the API server counts: lists, watches, owners, looks at the nodes, confirmations."""
    nodes = nodes_of(world)
    cordon(world, *nodes[:3])
    there = [pod for node in nodes[:3] for pod in pods_on(world, node)]
    answer = drain(world, *nodes[:3], poll_seconds=5, asg_name="shared", min_ready=3)
    assert not answer["failed"] and evictions(world) == sorted(there)
    asked = [call.operation for call in calls(world, service="kubernetes")]
    assert asked.count(EVICTION) == len(there) and len(asked) < 1.5 * len(there), Counter(asked)

    for workload in CROWD:
        path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
        world.client().create(path, quarter_of(workload.name))
    cordon(world, *nodes[3:6])
    there = [pod for node in nodes[3:6] for pod in pods_on(world, node)]
    answer = drain(world, *nodes[3:6], poll_seconds=1)
    assert not answer["failed"] and evictions(world) == sorted(there)
    assert len(calls(world, EVICTION)) <= 1.2 * len(there), "budgets were asked in vain"
    assert world.record.notes("budget_violated") == []
    most = max(sum(1 for one in calls(world, EVICTION) if before <= one.at < before + 10) for before in starts(world))
    assert most > len(CROWD), "one at a time would be slow"


def starts(world: World) -> list[float]:
    return [call.at for call in calls(world, EVICTION)]


@pytest.mark.scenario(
    scenario(
        Deployment("frozen", replicas=1, budget=Budget(max_unavailable=0)),
        Deployment("web", replicas=3),
    )
)
def test_a_time_out_is_a_failure_that_names_pod_and_budget(world: World) -> None:
    node = node_with(world, "frozen")
    cordon(world, node)
    outlook = drain(world, node, check=True)
    assert not outlook["failed"] and blocked(outlook, node) == [("frozen", "budget")]

    answer = drain(world, node, timeout=3)

    assert answer["failed"] and answer["reason"] == "timeout" and answer["changed"]
    entry = answer["nodes"][node]
    assert not entry["drained"] and blocked(answer, node) == [("frozen", "budget")]
    assert entry["blocked"][0]["budget"] == "frozen" and entry["blocked"][0]["attempts"] == 1
    assert evictions(world, status=429) == [
        entry["blocked"][0]["pod"]
    ], "asked once, to see whether the ledger is right"
    assert "default/frozen" in answer["msg"] and "The disruption budget frozen needs" in answer["msg"]
    assert [pod.split("-")[0] for pod in entry["evicted"]] == ["default/web"]
    assert len(pods_on(world, node)) == 1


@pytest.mark.scenario(scenario(Deployment("cache", emptydir=True), Pod("alone"), Deployment("web", replicas=6)))
def test_a_pod_that_must_not_be_evicted_keeps_every_node_untouched(world: World) -> None:
    nodes = nodes_of(world)
    cordon(world, *nodes)

    answer = drain(world, *nodes)

    assert answer["failed"] and answer["reason"] == "refused" and not answer["changed"]
    found = sorted(item for node in nodes for item in blocked(answer, node))
    assert found == [("alone", "unmanaged"), ("cache", "local_storage")]
    assert not any(entry["drained"] for entry in answer["nodes"].values())
    assert "default/cache" in answer["msg"] and "delete_emptydir_data" in answer["msg"]
    assert calls(world, EVICTION) == []

    outlook = drain(world, *nodes, check=True)
    assert not outlook["failed"] and not outlook["changed"]
    assert sorted(item for node in nodes for item in blocked(outlook, node)) == found

    node = node_with(world, "cache")
    allowed = drain(world, node, delete_emptydir_data=True, evict_unmanaged=True)
    warned = {warning["pod"].split("-")[0]: warning["reason"] for warning in allowed["nodes"][node]["warnings"]}
    assert allowed["nodes"][node]["drained"] and warned["default/cache"] == "local_storage"


@pytest.mark.scenario(scenario(Deployment("web", replicas=3)))
def test_a_node_that_is_not_cordoned_is_refused(world: World) -> None:
    cordoned, schedulable, _third = nodes_of(world)
    cordon(world, cordoned)
    answer = drain(world, cordoned, schedulable)
    assert answer["reason"] == "not_cordoned" and schedulable in answer["msg"]
    assert answer["nodes"][cordoned]["reason"] == "not_started" and calls(world, EVICTION) == []


@pytest.mark.scenario(scenario(Deployment("web", replicas=1, stop=600, grace=600)))
def test_a_node_that_somebody_uncordons_is_left_alone(world: World) -> None:
    node = node_with(world, "web")
    cordon(world, node)
    world.actors.when(lambda: world.actors.cordon(node, False), operation=EVICTION)
    answer = drain(world, node)
    assert answer["reason"] == "uncordoned" and not answer["nodes"][node]["drained"]


def test_a_name_without_node_counts_as_drained_and_says_so(world: World) -> None:
    by_name = drain(world, "ip-10-9-9-9.eu-central-1.compute.internal")
    assert not by_name["changed"] and [entry["reason"] for entry in by_name["nodes"].values()] == ["node_gone"]
    arguments = {"cluster_name": world.scenario.cluster, "instance_ids": ["i-00000000000000000"]}
    by_instance = world.module("evergreen.eks.node_drain", arguments)
    assert by_instance["nodes"]["i-00000000000000000"]["reason"] == "no_node"


@pytest.mark.scenario(scenario(Deployment("web", replicas=2)))
def test_more_than_one_budget_is_named_at_once_and_does_not_wait_for_the_time_out(world: World) -> None:
    for name in ("one", "two"):
        world.client().create(
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": name},
                "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
            },
        )
    node = node_with(world, "web")
    cordon(world, node)
    answer = drain(world, node, timeout=0)
    assert answer["reason"] == "blocked" and set(blocked(answer, node)) == {("web", "several_budgets")}
    assert answer["nodes"][node]["blocked"][0]["budget"] == "one, two"
    assert "budget one, two" in answer["msg"]


@pytest.mark.scenario(scenario(Deployment("web", replicas=3)))
def test_a_missing_right_stops_at_once_and_names_verb_and_resource(world: World) -> None:
    node = node_with(world, "web")
    cordon(world, node)
    world.kubernetes.authorize = lambda user, verb, group, resource, subresource: subresource != "eviction"
    answer = drain(world, node, timeout=0)
    assert answer["reason"] == "kubernetes_forbidden" and "create on pods/eviction" in answer["msg"]
    assert answer["nodes"][node]["reason"] == "stopped" and not answer["changed"]


@pytest.mark.scenario(scenario(Deployment("web", replicas=3)))
def test_nothing_is_evicted_below_the_floor(world: World) -> None:
    node = node_with(world, "web")
    cordon(world, node)
    answer = drain(world, node, asg_name="shared", min_ready=3, timeout=2)
    assert answer["reason"] == "timeout" and set(blocked(answer, node)) == {("web", "below_floor")}
    assert "2 of 3 members of shared are Ready" in answer["msg"] and calls(world, EVICTION) == []

    answer = drain(world, node, asg_name="shared", min_ready=2)
    assert answer["nodes"][node]["drained"] and evictions(world)


@pytest.mark.scenario(
    scenario(
        DaemonSet("agent", namespace="default"),
        Deployment("web", replicas=3),
        Job("report", runs_for=1),
    )
)
def test_each_kind_of_pod_is_treated_as_it_should_be(world: World) -> None:
    """Static pods stay, those of a DaemonSet that was left over leave, finished ones go, late ones are drained too."""
    node = node_with(world, "web")
    client = world.client()
    client.patch(f"/api/v1/nodes/{node}", {"metadata": {"annotations": {STATIC_PODS: "etcd"}}})
    client.delete(
        "/apis/apps/v1/namespaces/default/daemonsets/agent", {"propagationPolicy": "Orphan", "kind": "DeleteOptions"}
    )
    late = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "late", "namespace": "default"},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "registry.invalid/late:1"}]},
    }
    world.actors.when(lambda: client.create("/api/v1/namespaces/default/pods", late), operation=EVICTION)
    cordon(world, node)
    answer = drain(world, node, evict_unmanaged=True)

    entry = answer["nodes"][node]
    assert entry["drained"], answer
    assert "default/late" in entry["evicted"]
    assert any(pod.startswith("default/agent") for pod in entry["evicted"])
    assert pods_on(world, node) == []


@pytest.mark.scenario(scenario(StatefulSet("db", replicas=3, stop=6, start=2)))
def test_the_successor_of_the_same_name_is_another_pod(world: World) -> None:
    node = node_with(world, "db-0")
    cordon(world, node)
    there = pods_on(world, node)
    answer = drain(world, node)
    assert answer["nodes"][node]["evicted"] == there == evictions(world)
    assert len(calls(world, EVICTION)) == len(there)
    world.wait_until(lambda now: now.pods.get(there[0], node) != node, "the successor runs elsewhere")


ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"


def attached_to(world: World, node: str) -> list[str]:
    """The volumes that are attached to it."""
    items = world.client().get(ATTACHMENTS)["items"]
    return sorted(item["spec"]["source"]["persistentVolumeName"] for item in items if item["spec"]["nodeName"] == node)


def hold_volumes(world: World, node: str, held: bool = True) -> None:
    """Somebody keeps the volumes of that node attached, or lets them go."""
    for item in world.client().get(ATTACHMENTS)["items"]:
        if item["spec"]["nodeName"] == node:
            others = [name for name in item["metadata"].get("finalizers") or [] if name != "example.com/held"]
            finalizers = [*others, *(["example.com/held"] if held else [])]
            path = f"{ATTACHMENTS}/{item['metadata']['name']}"
            world.client().patch(path, {"metadata": {"finalizers": finalizers or None}})


def add_daemon_with_volume(world: World, node: str) -> None:
    """A DaemonSet on that node alone, whose pod has a volume."""
    client, labels = world.client(), {"app": "cache"}
    size = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}
    source = {"csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-cache"}}
    claim = {"accessModes": ["ReadWriteOnce"], "volumeName": "pv-cache", "resources": {"requests": {"storage": "1Gi"}}}
    client.create(
        "/api/v1/persistentvolumes",
        {"metadata": {"name": "pv-cache"}, "spec": {**size, **source}, "status": {"phase": "Bound"}},
    )
    client.create(
        "/api/v1/namespaces/default/persistentvolumeclaims",
        {"metadata": {"name": "cache"}, "spec": claim, "status": {"phase": "Bound"}},
    )
    client.patch(
        "/api/v1/persistentvolumes/pv-cache", {"spec": {"claimRef": {"namespace": "default", "name": "cache"}}}
    )
    pod = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "containers": [{"name": "main", "image": "registry.invalid/cache:1"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "cache"}}],
        "tolerations": [{"operator": "Exists"}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    client.create(
        "/apis/apps/v1/namespaces/default/daemonsets",
        {"metadata": {"name": "cache"}, "spec": {"selector": {"matchLabels": labels}, "template": template}},
    )
    world.wait_until(lambda _now: "pv-cache" in attached_to(world, node), "its volume is attached")


@pytest.mark.scenario(scenario(StatefulSet("db", replicas=3, zonal_volume=True)))
def test_a_node_is_drained_when_the_volumes_of_its_pods_are_detached(world: World, tmp_path: Path) -> None:
    """Those of pods that stay do not count; and the wait has an end of its own, which is a warning."""
    first, second, third = nodes_of(world)
    add_daemon_with_volume(world, first)
    cordon(world, first, second, third)

    hold_volumes(world, first)
    world.actors.when(lambda: world.actors.at(120, lambda: hold_volumes(world, first, False)), operation=EVICTION)
    answer = drain(world, first)
    assert not answer["failed"] and answer["nodes"][first]["volumes_pending"] == []
    assert attached_to(world, first) == ["pv-cache"]
    listed = [call for call in calls(world) if call.operation.endswith(" volumeattachments")]
    assert sorted({call.operation for call in listed}) == ["GET volumeattachments", "WATCH volumeattachments"]

    there = attached_to(world, second)
    hold_volumes(world, second)
    journal = tmp_path / "journal.jsonl"
    late = drain(world, second, volume_timeout=5, timeout=3, journal=str(journal))
    assert not late["failed"] and late["nodes"][second]["drained"], late
    assert late["nodes"][second]["volumes_pending"] == there == attached_to(world, second)
    assert f"{second}: 1 volume is still attached" in str(late["warnings"])
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [event["volumes"] for event in events if event["kind"] == "volumes_pending"] == [there]

    world.record.clear()
    hold_volumes(world, third)
    world.kubernetes.authorize = lambda user, verb, group, *_rest: "evergreen" not in user or "storage" not in group
    blind = drain(world, third)
    assert blind["nodes"][third]["drained"] and attached_to(world, third)
    assert "list volumeattachments.storage.k8s.io" in str(blind["warnings"]), blind
    world.kubernetes.authorize = lambda *_request: True
    world.record.clear()
    assert drain(world, third, volume_timeout=0)["nodes"][third]["drained"]
    assert not [call for call in calls(world) if call.operation.endswith(" volumeattachments")]


@pytest.mark.scenario(scenario(Deployment("web", replicas=3), Deployment("doomed", "temporary", replicas=3)))
def test_a_namespace_that_is_being_deleted_is_waited_for(world: World) -> None:
    node = node_with(world, "web")
    cordon(world, node)
    world.actors.when(lambda: world.client().delete("/api/v1/namespaces/temporary"), operation="^WATCH pods$")
    answer = drain(world, node)
    assert answer["nodes"][node]["drained"] and pods_on(world, node) == []


@pytest.mark.scenario(scenario(Deployment("web", replicas=3, stop=3600, grace=3600)))
def test_a_node_that_goes_away_is_drained(world: World) -> None:
    node = node_with(world, "web")
    instance = next(name for name, state in world.snapshot().nodes.items() if state.name == node)
    cordon(world, node)
    world.actors.when(lambda: world.actors.spot_loss(instance), operation=EVICTION)
    answer = drain(world, node)
    assert answer["nodes"][node]["drained"] and answer["nodes"][node]["reason"] in ("node_gone", "drained")


GUARDED = Deployment("guarded", replicas=3, budget=Budget(max_unavailable=0))


def instance_of(world: World, node: str) -> str:
    return next(name for name, state in world.snapshot().nodes.items() if state.name == node)


def die(world: World, node: str, *, stopped: bool = False) -> None:
    """Its machine hangs, or is stopped, until the control plane has noticed."""
    instance = instance_of(world, node)
    if stopped:
        world.actors.stop_instance(instance)
    else:
        world.machines.frozen.add(instance)
    world.wait_until(lambda now: not now.nodes[instance].ready, "the node is not Ready")
    cordon(world, node)


def remove(world: World, node: str, **options: Any) -> dict[str, Any]:
    """What becomes of the node's instance, as asg_detach_terminate says."""
    arguments = {
        "cluster_name": world.scenario.cluster,
        "asg_name": "shared",
        "instance_ids": [instance_of(world, node)],
        "decrement": True,
        "poll_seconds": 0.2,
        "timeout": 30,
        **options,
    }
    (entry,) = world.module("evergreen.eks.asg_detach_terminate", arguments)["instances"].values()
    return entry


@pytest.mark.scenario(
    scenario(
        Deployment("web", replicas=6, grace=3600, stop=3000), GUARDED, StatefulSet("db", replicas=3, zonal_volume=True)
    ),
    speed=20,  # else a slow machine comes after the five minutes in which unreachable pods are tolerated
)
def test_nobody_waits_for_ever_for_a_dead_node_and_its_instance_may_go(world: World, tmp_path: Path) -> None:
    """Pods that take an hour to stop, a budget that never lets one go, a volume: none of them is waited for."""
    silent, stopped, _alive = nodes_of(world)
    world.actors.suspend("shared", "HealthCheck", "ReplaceUnhealthy", "Launch", "AZRebalance")
    journal = tmp_path / "journal.jsonl"
    die(world, silent)
    there = pods_on(world, silent)

    hasty = drain(world, silent, timeout=1.5, dead_node_timeout=100_000)
    assert hasty["reason"] == "timeout" and ("guarded", "budget") in blocked(hasty, silent)
    assert remove(world, silent, dead_node_timeout=100_000)["reason"] == "not_drained"
    world.record.clear()

    answer = drain(world, silent, timeout=0, journal=str(journal))
    entry = answer["nodes"][silent]
    assert entry["drained"] and entry["reason"] == "drained" and entry["seconds"] < 10, answer
    assert entry["abandoned"] == there and "silent since" in entry["message"]
    assert {call.params["body"]["deleteOptions"].get("gracePeriodSeconds") for call in calls(world, EVICTION)} <= {1}
    assert not [call for call in calls(world) if call.operation.endswith("volumeattachments")]
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    (given_up,) = [event for event in events if event["kind"] == "pods_abandoned"]
    assert (given_up["pods"], given_up["node"]) == (there, silent)
    assert remove(world, silent)["result"] == "terminated"

    die(world, stopped, stopped=True)
    there = pods_on(world, stopped)
    answer = drain(world, stopped, timeout=0, dead_node_timeout=100_000)
    assert answer["nodes"][stopped]["drained"] and answer["nodes"][stopped]["abandoned"] == there
    assert f"{instance_of(world, stopped)} is stopped" in answer["nodes"][stopped]["message"]
    asked, looks = calls(world, "DescribeInstances"), calls(world, "GET nodes")
    assert 0 < len(asked) < len(looks), "EC2 is asked now and then, not at each look"


class TestBadInput:
    @pytest.fixture(scope="class")
    @classmethod
    def untouched(cls) -> Iterator[World]:
        """One world for all of them: none changes anything."""
        with World.start(scenario(), speed=60) as running:
            yield running

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"timeout": -1}, "timeout is -1"),
            ({"max_parallel": 0}, "max_parallel is 0"),
            ({"grace_period": 0}, "grace_period is 0"),
            ({"min_ready": 1}, "asg_name"),
            ({"volume_timeout": -1}, "volume_timeout is -1"),
            ({"dead_node_timeout": -1}, "dead_node_timeout is -1"),
            ({"poll_seconds": 0}, "poll_seconds must be above 0"),
            ({"instance_ids": ["i-1"]}, "mutually exclusive"),
            ({"cluster_name": "nowhere"}, "EKS cluster nowhere"),
            ({"journal": "/nowhere/at/all"}, "journal /nowhere/at/all"),
        ],
    )
    def test_is_one_clear_error(self, untouched: World, options: dict[str, Any], text: str) -> None:
        answer = drain(untouched, "node-a", **options)
        assert answer["failed"] and text in answer["msg"] and "Traceback" not in json.dumps(answer)
        assert calls(untouched, mutating=True) == []
