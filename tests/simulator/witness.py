# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The world's own witness: it notes what a cluster's users would have suffered from, and who did it.

Kinds of notes (``record.notes(kind)``):

- ``cordoned``: ``node``, ``group``, ``author``, ``ready`` (Ready schedulable nodes of the group right after it)
- ``evicted``: ``pod`` (namespace/name), ``uid``, ``node``, ``author``, and ``group`` and ``ready`` as above
- ``pod_deleted``: the same, deleted past the eviction API
- ``instance_launched``: ``instance``, ``zone``
- ``instance_removed``: ``instance``, ``group``, ``node`` (empty: it never became one), ``author``, ``how`` (terminated
  or stopped), ``cause``, ``was_ready`` (its node), ``ready`` (Ready schedulable nodes of the group without it),
  ``pods`` (those that should have been evicted before and were still there)
- ``budget_violated``: ``budget``, ``author``, ``healthy``, ``wanted``: fewer healthy pods than wanted are left by a
  deed past the eviction API
- ``pod_lost``: see ``pods`` of instance_removed; one note a pod, with ``pod``, ``node``, ``instance``, ``author``, and
  ``alive``: whether anything of it ran until then, or its machine was dead already
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from simulator.identities import AUTHORS
from simulator.kubernetes.resources import NODES, POD_DISRUPTION_BUDGETS, PODS
from simulator.kubernetes.selectors import object_selector
from simulator.kubernetes.store import Store
from simulator.nodes import is_ready
from simulator.record import Call, Record
from simulator.scenarios.model import GROUP_LABEL

Object = dict[str, Any]

AWS = "aws"  # the author of what Auto Scaling does by itself
PEOPLE = frozenset(AUTHORS.values())
MIRROR = "kubernetes.io/config.mirror"
DRAIN, CLUSTER_API_DRAIN = "evergreen.eks/drain", "cluster.x-k8s.io/drain"
REMOVALS = ("TerminateInstanceInAutoScalingGroup", "TerminateInstances", "StopInstances")
RESIZES = ("SetDesiredCapacity", "UpdateAutoScalingGroup", "DeleteAutoScalingGroup")
LOWERED = "user request"  # what the cause of a scaling activity says when somebody has resized the group
AZ_BALANCE = "balance instances in zones"


@dataclass(frozen=True)
class Change:
    """An instance goes from one state to another; ``cause`` is what its group's scaling activity says, if any."""

    instance: str
    group: str
    zone: str
    before: str
    now: str
    cause: str


class Witness:
    """Watches all requests and all instances from the moment ``watch`` is called."""

    def __init__(self, record: Record, store: Store, machine_is_up: Callable[[str], bool]):
        self._record = record
        self._store = store
        self._machine_is_up = machine_is_up
        self._lock = threading.Lock()
        self._cordoned: set[str] = set()
        self._watching = False

    def watch(self) -> None:
        """Begin to take notes; before this the world is being built."""
        self._cordoned = {name_of(node) for node in self._nodes() if node["spec"].get("unschedulable")}
        self._watching = True

    def on_call(self, call: Call) -> None:
        """A request has been decided (a Record observer)."""
        if not self._watching or call.service != "kubernetes" or not call.mutating or not call.succeeded:
            return
        if call.operation in ("PATCH nodes", "PUT nodes"):
            self._look_at_cordons(call)
        elif call.operation == "POST pods/eviction" and call.author in PEOPLE:
            self._note_pod("evicted", call)
        elif call.operation == "DELETE pods" and call.author in PEOPLE:
            self._note_pod("pod_deleted", call)
            self._check_budgets(call)

    def on_instance(self, change: Change) -> None:
        """An instance changes its state: look at what is on it before anything else can happen."""
        if not self._watching:
            return
        if change.now == "pending" and not change.before:
            self._record.note("instance_launched", instance=change.instance, zone=change.zone)
        elif change.now in ("shutting-down", "stopping"):
            self._note_removal(change)

    # ---- nodes and pods

    def _nodes(self) -> list[Object]:
        return [stored.object for stored in self._store.all(NODES)]

    def _look_at_cordons(self, call: Call) -> None:
        with self._lock:
            nodes = self._nodes()
            cordoned = {name_of(node) for node in nodes if node["spec"].get("unschedulable")}
            fresh = cordoned - self._cordoned
            self._cordoned = cordoned
        for node in nodes:
            if name_of(node) in fresh:
                group = group_of(node)
                ready = strength(nodes, group)
                self._record.note("cordoned", node=name_of(node), group=group, author=call.author, ready=ready)

    def _note_pod(self, kind: str, call: Call) -> None:
        namespace, _unused, name = call.target.partition("/")
        pod = self._last_known_pod(namespace, name)
        uid = pod["metadata"]["uid"] if pod else ""
        node = pod["spec"].get("nodeName", "") if pod else ""
        nodes = self._nodes()
        group = next((group_of(one) for one in nodes if name_of(one) == node), "")
        ready = strength(nodes, group)
        self._record.note(kind, pod=call.target, uid=uid, node=node, author=call.author, group=group, ready=ready)

    def _last_known_pod(self, namespace: str, name: str) -> Object | None:
        stored = self._store.get(PODS, namespace, name)
        if stored is not None:
            return stored.object
        recent = self._store.since(PODS, max(0, self._store.version - 500))
        gone = [change.stored for change in recent if change.stored.key == (namespace, name)]
        return gone[-1].object if gone else None

    # ---- budgets

    def _check_budgets(self, call: Call) -> None:
        namespace, _unused, name = call.target.partition("/")
        pod = self._last_known_pod(namespace, name)
        if pod is not None:
            self._note_violations([pod], call.author)

    def _note_violations(self, lost: Iterable[Object], author: str) -> None:
        """These pods go at once: which budgets are left with less than they want?"""
        lost = list(lost)
        uids = {pod["metadata"]["uid"] for pod in lost}
        for stored in self._store.all(POD_DISRUPTION_BUDGETS):
            budget = stored.object
            covers = object_selector(budget["spec"].get("selector"))
            namespace = budget["metadata"]["namespace"]

            def covered(pod: Object, namespace: str = namespace, covers: Any = covers) -> bool:
                metadata = pod["metadata"]
                return metadata["namespace"] == namespace and covers(metadata.get("labels") or {})

            if not any(covered(pod) for pod in lost):
                continue
            others = [item.object for item in self._store.all(PODS, namespace)]
            healthy = sum(1 for p in others if covered(p) and p["metadata"]["uid"] not in uids and healthy_pod(p))
            wanted = (budget.get("status") or {}).get("desiredHealthy", 0)
            if healthy < wanted:
                named = f"{namespace}/{budget['metadata']['name']}"
                self._record.note("budget_violated", budget=named, author=author, healthy=healthy, wanted=wanted)

    # ---- instances

    def _note_removal(self, change: Change) -> None:
        author = self._remover(change)
        nodes = self._nodes()
        node = next((n for n in nodes if n["spec"].get("providerID", "").endswith(f"/{change.instance}")), None)
        pods = []
        if node is not None:
            pods = [s.object for s in self._store.all(PODS, node=name_of(node)) if should_be_evicted(s.object)]
        names = [f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in pods]
        self._record.note(
            "instance_removed",
            instance=change.instance,
            group=change.group,
            node=name_of(node) if node else "",
            author=author,
            how="stopped" if change.now == "stopping" else "terminated",
            cause=change.cause,
            was_ready=node is not None and is_ready(node),
            ready=strength([other for other in nodes if other is not node], change.group),
            pods=names,
        )
        for name in names:
            where = {"node": name_of(node), "instance": change.instance, "alive": self._machine_is_up(name_of(node))}
            self._record.note("pod_lost", pod=name, author=author, **where)
        self._note_violations([pod for pod in pods if healthy_pod(pod)], author)

    def _remover(self, change: Change) -> str:
        """Who brought it about: the latest request that names the instance, else the one that lowered its group."""
        for call in reversed(self._record.calls(service="autoscaling") + self._record.calls(service="ec2")):
            if call.mutating and call.operation in REMOVALS and names_instance(call, change.instance):
                return call.author
        if LOWERED in change.cause and AZ_BALANCE not in change.cause:
            for call in reversed(self._record.calls(service="autoscaling", mutating=True)):
                if call.operation in RESIZES and call.params.get("AutoScalingGroupName") == change.group:
                    return call.author
        return AWS


def names_instance(call: Call, instance_id: str) -> bool:
    """The request is about that instance, and has not been refused."""
    named = call.params.get("InstanceIds") or [call.params.get("InstanceId")]
    return instance_id in named and (call.status is None or call.succeeded)


def name_of(item: Object) -> str:
    """An object's name."""
    return item["metadata"]["name"]


def group_of(node: Object) -> str:
    """The node group that a Node belongs to."""
    return (node["metadata"].get("labels") or {}).get(GROUP_LABEL, "")


def schedulable_and_ready(node: Object) -> bool:
    """Ready, and not cordoned."""
    return is_ready(node) and not node["spec"].get("unschedulable")


def strength(nodes: Iterable[Object], group: str) -> int:
    """How many of these nodes are the group's, Ready and schedulable."""
    return sum(1 for node in nodes if group_of(node) == group and schedulable_and_ready(node))


def healthy_pod(pod: Object) -> bool:
    """Counts for its budgets: Ready and not on its way out."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def should_be_evicted(pod: Object) -> bool:
    """A pod that must be off a node before its instance goes: not of a DaemonSet, not a mirror pod, not finished, and
    not one that wants to stay until then."""
    metadata = pod["metadata"]
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    if MIRROR in annotations or "skip" in (annotations.get(DRAIN), labels.get(DRAIN), labels.get(CLUSTER_API_DRAIN)):
        return False
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    owners = metadata.get("ownerReferences") or []
    return not any(owner.get("controller") and owner["kind"] == "DaemonSet" for owner in owners)
