# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""evergreen.eks.node_drain says why pods do not leave: in check mode, while it waits, and in its result."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.drain.explain import Explainer
from simulator.identities import TOOL
from simulator.kubernetes.client import ApiClient
from simulator.kubernetes.controllers.timings import CRASHES_AFTER, READY_AFTER
from simulator.kubernetes.errors import ApiError
from simulator.kubernetes.troubles import denied
from simulator.scenarios import Budget, Deployment, NodeGroup, Pod, Scenario
from simulator.scenarios.manifests import manifests
from simulator.world import World, create

GROUP = NodeGroup("shared", size=3, outdated=False)
BUDGETS = "/apis/policy/v1/namespaces/{}/poddisruptionbudgets"


def nodes_of(world: World) -> list[str]:
    return sorted(node.name for node in world.snapshot().nodes.values())


def node_with(world: World, pod: str) -> str:
    """A node with a pod whose name begins so."""
    return next(node for name, node in sorted(world.snapshot().pods.items()) if name.startswith(pod))


def cordon(world: World, *names: str) -> None:
    for name in names:
        world.client().patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
    world.record.clear()


def drain(world: World, *names: str, check: bool = False, **options: Any) -> dict[str, Any]:
    arguments = {"cluster_name": world.scenario.cluster, "nodes": list(names), "poll_seconds": 0.2, **options}
    return world.module("evergreen.eks.node_drain", arguments, check=check)


def blocked(answer: dict[str, Any], namespace: str) -> dict[str, Any]:
    """The first of the pods of that namespace that are in the way."""
    entries = [item for entry in answer["nodes"].values() for item in entry["blocked"]]
    return next(item for item in entries if item["pod"].startswith(f"{namespace}/"))


def lists(world: World) -> Counter[str]:
    """What the tool listed of single namespaces: ``pods of shop``."""
    asked = Counter()
    for call in world.record.calls(author=TOOL):
        kind = call.operation.rpartition(" ")[2]
        if call.operation.startswith("GET ") and kind in ("pods", "poddisruptionbudgets") and call.target.endswith("/"):
            asked[f"{kind} of {call.target[:-1]}"] += 1
    return asked


def crashing(client: ApiClient, namespace: str) -> int:
    """How many of the pods of that namespace have crashed at least once."""
    pods = client.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    statuses = [status for pod in pods for status in pod["status"].get("containerStatuses") or ()]
    return sum(status["restartCount"] > 0 for status in statuses)


def a_budget(name: str, app: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": app}}, **spec},
    }


def a_pod(name: str, node: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}, **metadata},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "registry.invalid/one:1"}],
        },
    }


ALL_KINDS = Scenario(
    groups=[GROUP],
    workloads=[
        Deployment("web", "impossible", replicas=2, budget=Budget(min_available=2)),
        Deployment("web", "frozen", replicas=1, budget=Budget(max_unavailable=0)),
        Deployment("big", "crowded", replicas=3, cpu="1200m", budget=Budget(min_available=3)),
        Pod("alone", "percent", budget=Budget(max_unavailable="50%")),
        Deployment("web", "several", replicas=1, budget=Budget(max_unavailable=1)),
        Deployment("web", "guarded", replicas=1),
        Deployment("web", "burned", replicas=2, budget=Budget(max_unavailable=1)),
        Deployment("web", "synced", replicas=1),
    ],
)


# Neither of its pods ever gets Ready.
SICK = Deployment(
    "web",
    "sick",
    replicas=2,
    budget=Budget(max_unavailable="100%"),
    annotations={READY_AFTER: "never", CRASHES_AFTER: "1"},
)


class Reads:
    """The lists of the collection's client, in this process."""

    def __init__(self, world: World) -> None:
        self._client = world.client()

    def list(self, path: str, *, keep: Callable[[dict[str, Any]], Any]) -> tuple[list[Any], str]:
        return [keep(item) for item in self._client.get(path)["items"]], ""


class TestCheckMode:
    """One look at everything that is in the way, in one world that nothing changes."""

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls) -> Iterator[World]:
        with World.start(ALL_KINDS, speed=5) as running:
            client = running.client()
            client.patch("/apis/apps/v1/namespaces/crowded/deployments/big", {"spec": {"replicas": 4}})
            for manifest in manifests(replace(ALL_KINDS, workloads=[SICK], system=False)):
                create(client, manifest)
            client.create(BUDGETS.format("several"), a_budget("another", "web", maxUnavailable=1))
            owner = {"apiVersion": "example.com/v1", "kind": "Engine", "name": "e", "uid": "u", "controller": True}
            engine = a_pod("engine", nodes_of(running)[0], ownerReferences=[owner])
            client.create("/api/v1/namespaces/synced/pods", engine)
            client.create(BUDGETS.format("synced"), a_budget("engine", "engine", maxUnavailable=1))
            running.wait_until(lambda now: "synced/engine" in now.pods, "the engine runs")
            running.wait_until(lambda _now: crashing(client, "sick") == 2, "the sick ones have crashed")
            fault = denied("not on a Friday")
            running.faults.add("kubernetes", "^POST pods/eviction$", target="^guarded/", error=fault, times=None)
            cordon(running, *nodes_of(running))
            yield running

    @pytest.fixture(scope="class")
    @classmethod
    def outlook(cls, world: World) -> dict[str, Any]:
        cls.burn(world)
        world.record.clear()
        return drain(world, *nodes_of(world), check=True, evict_unmanaged=True)

    @staticmethod
    def burn(world: World) -> None:
        """Somebody evicts with the UID of a pod that is gone: the budget is spent, and nothing is evicted."""
        pod = next(name for name in world.snapshot().pods if name.startswith("burned/")).split("/")[1]
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": "burned"},
            "deleteOptions": {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}},
        }
        with pytest.raises(ApiError):
            world.client().create(f"/api/v1/namespaces/burned/pods/{pod}/eviction", eviction)

    @pytest.mark.parametrize(
        ("namespace", "kind", "cause", "remedy"),
        [
            (
                "impossible",
                "impossible",
                "budget impossible/web (minAvailable 2) keeps all its 2 pods for ever",
                "scale Deployment impossible/web to 3 replicas, or set minAvailable of budget impossible/web to 1",
            ),
            (
                "frozen",
                "impossible",
                "budget frozen/web (maxUnavailable 0) keeps its only pod for ever",
                "set maxUnavailable of budget frozen/web to 1",
            ),
            (
                "sick",
                "all_unready",
                "none of the 2 pods of budget sick/web is healthy",
                "set unhealthyPodEvictionPolicy of budget sick/web to AlwaysAllow",
            ),
            ("crowded", "exhausted", "needs 3 healthy pods and has 3 of 4", "make room for crowded/big-"),
            ("percent", "percent_without_controller", "counts replicas of pods without a controller", "minAvailable 0"),
            (
                "several",
                "several_budgets",
                "budgets several/another, several/web select the same pod",
                "delete all but",
            ),
            ("guarded", "webhook_denied", "not on a Friday", "ask whoever runs the webhook guard.example.com"),
            ("burned", "burned", "granted and never happened: web-", "wait until 20"),
            ("synced", "sync_failed", 'no matches for kind "Engine"', "give budget synced/engine minAvailable 0"),
        ],
    )
    def test_names_class_cause_and_remedy(
        self, outlook: dict[str, Any], namespace: str, kind: str, cause: str, remedy: str
    ) -> None:
        entry = blocked(outlook, namespace)
        assert (entry["class"], entry["since"] != "") == (kind, True)
        assert cause in entry["cause"] and remedy in entry["remedy"]

    def test_names_the_pod_that_eats_the_budget_in_the_scheduler_s_own_words(self, outlook: dict[str, Any]) -> None:
        (eater,) = blocked(outlook, "crowded")["unready"]
        assert eater["reason"] == "unschedulable" and "nodes are available" in eater["message"]

    def test_lists_budgets_and_pods_of_a_namespace_once(self, world: World, outlook: dict[str, Any]) -> None:
        asked = lists(world)
        assert asked["pods of impossible"] == asked["poddisruptionbudgets of impossible"] == 1
        # The server does not say which budgets they are when there are several: one more list of budgets a pod.
        assert max(number for what, number in asked.items() if not what.endswith("several")) == 1
        assert world.record.calls(author=TOOL, mutating=True) == []

    def test_the_whole_cluster_names_what_can_never_be_met_before_anything_is_touched(self, world: World) -> None:
        found = Explainer(Reads(world)).impossible_budgets()
        kinds = {one.budgets[0].namespace: one.kind for one in found}
        assert kinds == {
            "impossible": "impossible",
            "frozen": "impossible",
            "percent": "percent_without_controller",
            "several": "several_budgets",
            "synced": "sync_failed",
        }
        pinned = {pod: node for pod, node in world.snapshot().pods.items() if pod.startswith("impossible/")}
        (impossible,) = (one for one in found if one.budgets[0].namespace == "impossible")
        assert impossible.pods == tuple(sorted(pinned)) and impossible.nodes == tuple(sorted(set(pinned.values())))

    def test_the_plan_of_a_rollout_shows_them(self, world: World) -> None:
        arguments = {"cluster_name": "rehearsal", "asg_name": GROUP.name, "settings": {"select": "all"}}
        plan = world.module("evergreen.eks.rollout_plan_info", arguments)["plan"]
        found = [one["budgets"][0]["name"].partition("/")[0] for one in plan["impossible_budgets"]]
        assert found == ["frozen", "impossible", "percent", "several", "synced"]
        lines = [line for line in plan["summary"] if "budget that can never be met" in line]
        assert len(lines) == 5 and "set maxUnavailable of budget frozen/web to 1" in lines[0]
        world.kubernetes.authorize = lambda user, verb, group, resource, subresource: group != "policy"
        try:
            blind = world.module("evergreen.eks.rollout_plan_info", arguments)["plan"]
        finally:
            world.kubernetes.authorize = lambda *_request: True
        assert blind["impossible_budgets"] == [] and "are not foretold" in blind["summary"][-1]

    def test_says_less_without_the_rights(self, world: World) -> None:
        world.kubernetes.authorize = lambda user, verb, group, resource, subresource: group != "policy" or subresource
        try:
            outlook = drain(world, *nodes_of(world), check=True, evict_unmanaged=True)
        finally:
            world.kubernetes.authorize = lambda *_request: True
        entry = blocked(outlook, "impossible")
        assert entry["class"] == "exhausted" and entry["budgets"] == []
        assert "The disruption budget web needs 2" in entry["cause"] and "kubectl describe" in entry["remedy"]
        assert blocked(outlook, "sick")["class"] == "all_unready"


def journal_of(path: Path, kind: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [event for event in events if event["kind"] == kind]


@pytest.mark.scenario(
    Scenario(
        groups=[GROUP],
        workloads=[
            Deployment("web", "shop", replicas=6, budget=Budget(min_available=6)),
            Deployment("free", replicas=3),
        ],
    )
)
def test_a_drain_tells_once_why_each_pod_stays_and_reads_little_for_it(world: World, tmp_path: Path) -> None:
    nodes = nodes_of(world)
    cordon(world, *nodes[:2])
    journal = tmp_path / "journal.jsonl"

    answer = drain(world, *nodes[:2], timeout=5, journal=str(journal))

    assert answer["failed"] and answer["reason"] == "timeout"
    remedy = "scale Deployment shop/web to 7 replicas, or set minAvailable of budget shop/web to 5"
    assert remedy[1:] in answer["msg"]
    told = journal_of(journal, "pod_diagnosed")
    kept = sorted(item["pod"] for name in nodes[:2] for item in answer["nodes"][name]["blocked"])
    assert len(kept) == 4 and sorted(event["pod"] for event in told) == kept, "each pod once"
    assert not [event for event in told if "text" in event]
    lines = [event["text"] for event in journal_of(journal, "pods_blocked")]
    assert lines and all(len(line) <= 160 and line.endswith(remedy) for line in lines)
    assert len(lines) == 4 or any(" and " in line.split(":")[0] for line in lines), "one line for all alike"
    assert all(event["class"] == "impossible" and event["owner"] == "Deployment shop/web" for event in told)
    # 5 s are 25 polls: a look after 6, one a poll later for who was blocked a little later, every 6, and the last one.
    assert set(lists(world)) == {"pods of shop", "poddisruptionbudgets of shop"}
    assert 2 <= lists(world)["pods of shop"] == lists(world)["poddisruptionbudgets of shop"] <= 8


@pytest.mark.scenario(
    Scenario(groups=[GROUP], workloads=[Deployment("web", "shop", replicas=3, budget=Budget(min_available=2))]),
    speed=20,  # five minutes until the pods of a silent node are replaced, which gives the budget back
)
def test_a_silent_node_that_eats_the_budget_of_others_is_named(world: World, tmp_path: Path) -> None:
    lost, drained = nodes_of(world)[:2]
    instance = next(name for name, state in world.snapshot().nodes.items() if state.name == lost)
    world.actors.suspend("shared", "HealthCheck", "ReplaceUnhealthy", "Launch", "Terminate")
    world.actors.stop_instance(instance)
    budget = BUDGETS.format("shop") + "/web"
    world.wait_until(
        lambda _now: world.client().get(budget)["status"]["disruptionsAllowed"] == 0, "the budget is used up"
    )
    cordon(world, drained)

    answer = drain(world, drained, timeout=2)

    entry = blocked(answer, "shop")
    assert entry["class"] == "exhausted" and entry["budgets"][0]["current_healthy"] == 2
    (eater,) = entry["unready"]
    assert (eater["node"], eater["reason"]) == (lost, "node_not_ready")
    assert f"bring node {lost} back, or terminate its instance {instance}" in entry["remedy"]


@pytest.mark.scenario(Scenario(groups=[GROUP], workloads=[Deployment("web", "shop", replicas=3, grace=1)]))
def test_a_pod_that_nobody_can_vouch_for_is_told_before_it_is_given_up(world: World, tmp_path: Path) -> None:
    node = node_with(world, "shop/web")
    instance = next(name for name, state in world.snapshot().nodes.items() if state.name == node)
    world.machines.frozen.add(instance)
    world.wait_until(lambda now: not now.nodes[instance].ready, "the node is not Ready")
    cordon(world, node)
    journal = tmp_path / "journal.jsonl"

    answer = drain(world, node, timeout=0, dead_node_timeout=300, journal=str(journal))

    assert answer["nodes"][node]["abandoned"]
    (told,) = journal_of(journal, "pod_diagnosed")
    assert told["class"] == "kubelet_silent"
    assert told["remedy"] == f"bring the node back, or terminate instance {instance}"


@pytest.mark.scenario(Scenario(groups=[GROUP]))
def test_a_pod_that_a_finalizer_holds_is_told_from_one_that_is_stopping(world: World) -> None:
    node = nodes_of(world)[0]
    client = world.client()
    client.create("/api/v1/namespaces/default/pods", a_pod("held", node, finalizers=["example.com/held"]))
    slow = a_pod("slow", node, annotations={"simulator/stops-after": "3000"})
    slow["spec"]["terminationGracePeriodSeconds"] = 3000
    client.create("/api/v1/namespaces/default/pods", slow)
    world.wait_until(lambda now: {"default/held", "default/slow"} <= set(now.pods), "they run")
    cordon(world, node)

    answer = drain(world, node, timeout=3, evict_unmanaged=True)

    found = {item["pod"]: item for item in answer["nodes"][node]["blocked"]}
    assert {pod: item["class"] for pod, item in found.items()} == {
        "default/held": "finalizer",
        "default/slow": "stopping",
    }
    assert "example.com/held" in found["default/held"]["cause"]
    assert "3000 s" in found["default/slow"]["cause"]
    assert lists(world) == Counter(), "nothing need be read for that"
    client.patch("/api/v1/namespaces/default/pods/held", {"metadata": {"finalizers": None}})


@pytest.mark.scenario(Scenario(groups=[GROUP], workloads=[Deployment("cache", emptydir=True), Pod("alone")]))
def test_pods_that_must_not_be_evicted_come_with_the_remedy(world: World) -> None:
    nodes = nodes_of(world)
    cordon(world, *nodes)
    for check in (True, False):
        answer = drain(world, *nodes, check=check)
        found = {item["class"]: item["remedy"] for entry in answer["nodes"].values() for item in entry["blocked"]}
        assert found["unmanaged"] == "set evict_unmanaged, or delete pod default/alone yourself"
        assert found["local_storage"].startswith("set delete_emptydir_data, or save its data")
