# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that fall silent, and the taints that follow a node's state (node lifecycle and taint eviction controllers)."""

from __future__ import annotations

import math
from typing import Any

from simulator.kubernetes.controllers.cache import Event
from simulator.kubernetes.controllers.controller import Controller
from simulator.kubernetes.controllers.objects import (
    Key,
    Object,
    condition,
    condition_is,
    is_finished,
    is_ready,
    is_terminating,
    key_of,
    node_of,
    with_condition,
)
from simulator.kubernetes.controllers.predicates import (
    NOT_READY_TAINT,
    UNREACHABLE_TAINT,
    UNSCHEDULABLE_TAINT,
    tolerates,
)

Name = tuple[str, str]  # a taint's key and effect

OURS: list[Name] = [
    (UNSCHEDULABLE_TAINT, "NoSchedule"),
    (NOT_READY_TAINT, "NoSchedule"),
    (NOT_READY_TAINT, "NoExecute"),
    (UNREACHABLE_TAINT, "NoSchedule"),
    (UNREACHABLE_TAINT, "NoExecute"),
]
SILENT = "Kubelet stopped posting node status."


class NodeLifecycleController(Controller):
    """A node whose kubelet is silent becomes Unknown; taints follow its condition and ``spec.unschedulable``.

    Real kubelets renew a Lease every ten seconds. Two hundred nodes at sixty times the speed would drown the record in
    them, so this controller looks at the machines themselves, as often as the real one looks at the Leases.
    """

    author = "node-lifecycle-controller"
    watches = ("nodes", "pods")

    def start(self) -> None:
        self._silent_since: dict[str, float] = {}
        self.enqueue("monitor")

    def observe(self, event: Event) -> None:
        if event.resource == "nodes":
            if event.kind == "DELETED":
                self._silent_since.pop(event.object["metadata"]["name"], None)
            else:
                self.enqueue(("node", event.object["metadata"]["name"]))
        elif event.kind == "ADDED" or (event.old is not None and node_of(event.old) != node_of(event.object)):
            node = self.cache.get("nodes", "", node_of(event.object))
            if node is not None and not condition_is(node, "Ready"):
                self.enqueue(("node", node_of(event.object)))

    def reconcile(self, key: Any) -> None:
        if key == "monitor":
            self._monitor()
            return
        node = self.cache.get("nodes", "", key[1])
        if node is not None:
            self._follow(node)

    def _monitor(self) -> None:
        now = self.clock.now()
        for node in self.cache.all("nodes"):
            name = node["metadata"]["name"]
            if self.around.machine_is_up(name):
                self._silent_since.pop(name, None)
                continue
            silent = now - self._silent_since.setdefault(name, now)
            if silent >= self.timings.node_monitor_grace and not condition_is(node, "Ready", "Unknown"):
                self._mark_unknown(node)
        self.later("monitor", self.timings.node_monitor_period)

    def _mark_unknown(self, node: Object) -> None:
        now, marked = self.clock.timestamp(), node
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready"):
            if kind == "Ready" or condition(node, kind) is not None:
                conditions = with_condition(marked, now, kind, "Unknown", "NodeStatusUnknown", SILENT)
                marked = {**node, "status": {"conditions": conditions}}
        self.patch_status("nodes", node, marked["status"])

    def _follow(self, node: Object) -> None:
        self._taint(node)
        if not condition_is(node, "Ready"):
            for pod in self.cache.pods_on(node["metadata"]["name"]):
                if is_ready(pod) and not is_finished(pod):
                    conditions = with_condition(pod, self.clock.timestamp(), "Ready", "False", "NodeNotReady")
                    self.patch_status("pods", pod, {"conditions": conditions})

    def _taint(self, node: Object) -> None:
        before = (node.get("spec") or {}).get("taints") or []
        wanted, now = taints_for(node), self.clock.timestamp()
        kept = [taint for taint in before if _name(taint) not in OURS or _name(taint) in wanted]
        known = [_name(taint) for taint in kept]
        missing = [name for name in wanted if name not in known]
        after = kept + [{"key": key, "effect": effect, "timeAdded": now} for key, effect in missing]
        if after != before:
            version = {"resourceVersion": node["metadata"]["resourceVersion"]}
            self.patch("nodes", node, {"metadata": version, "spec": {"taints": after or None}})


def taints_for(node: Object) -> list[Name]:
    """The taints (key, effect) that go with the node's Ready condition and with its being cordoned."""
    wanted = []
    if (node.get("spec") or {}).get("unschedulable"):
        wanted.append((UNSCHEDULABLE_TAINT, "NoSchedule"))
    ready = condition(node, "Ready")
    if ready is not None and ready["status"] == "Unknown":
        wanted += [(UNREACHABLE_TAINT, "NoSchedule"), (UNREACHABLE_TAINT, "NoExecute")]
    elif ready is None or ready["status"] != "True":
        wanted += [(NOT_READY_TAINT, "NoSchedule"), (NOT_READY_TAINT, "NoExecute")]
    return wanted


class TaintEvictionController(Controller):
    """NoExecute taints: a pod without toleration is deleted at once, one with ``tolerationSeconds`` after that time.

    It deletes, it does not evict: disruption budgets play no part.
    """

    author = "taint-eviction-controller"
    watches = ("nodes", "pods")

    def start(self) -> None:
        self._since: dict[Key, dict[str, float]] = {}  # pod -> its node's taints by key -> when we saw them together

    def observe(self, event: Event) -> None:
        if event.resource == "nodes":
            if _no_execute(event.object) or (event.old is not None and _no_execute(event.old)):
                for pod in self.cache.pods_on(event.object["metadata"]["name"]):
                    self.enqueue(key_of(pod))
        elif event.kind == "DELETED":
            self._since.pop(key_of(event.object), None)
        elif event.old is None or node_of(event.old) != node_of(event.object):
            self.enqueue(key_of(event.object))

    def reconcile(self, key: Key) -> None:
        pod = self.cache.get("pods", *key)
        node = self.cache.get("nodes", "", node_of(pod)) if pod is not None and node_of(pod) else None
        if pod is None or node is None or is_terminating(pod):
            return
        taints = {taint["key"]: taint for taint in _no_execute(node)}
        now, before = self.clock.now(), self._since.pop(key, {})
        since = {name: before.get(name, now) for name in taints}
        if since:
            self._since[key] = since
        for name, taint in taints.items():
            until = since[name] + self._tolerated(pod, taint)
            if until <= now:
                self._delete(pod)
                return
            if until != math.inf:
                self.agenda.put(key, until)

    def _tolerated(self, pod: Object, taint: Object) -> float:
        """For how many seconds the pod bears the taint: 0 not at all, infinity for ever."""
        matching = [item for item in pod["spec"].get("tolerations") or [] if tolerates([item], taint)]
        if matching:
            return min(item.get("tolerationSeconds", math.inf) for item in matching)
        # The API server gives every pod these two (DefaultTolerationSeconds); scenarios may put in pods without.
        return self.timings.default_toleration if taint["key"] in (NOT_READY_TAINT, UNREACHABLE_TAINT) else 0.0

    def _delete(self, pod: Object) -> None:
        message = "Taint manager: deleting due to NoExecute taint"
        now = self.clock.timestamp()
        conditions = with_condition(pod, now, "DisruptionTarget", "True", "DeletionByTaintManager", message)
        self.patch_status("pods", pod, {"conditions": conditions})
        self.delete("pods", pod)


def _name(taint: Object) -> Name:
    return taint["key"], taint["effect"]


def _no_execute(node: Object) -> list[Object]:
    return [taint for taint in (node.get("spec") or {}).get("taints") or [] if taint["effect"] == "NoExecute"]
