# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that nobody can stop any more, and namespaces that go away."""

from __future__ import annotations

from simulator.kubernetes.controllers.cache import Event, path_to
from simulator.kubernetes.controllers.controller import Controller
from simulator.kubernetes.controllers.objects import (
    Object,
    condition_is,
    is_finished,
    is_terminating,
    seconds_of,
    with_condition,
)
from simulator.kubernetes.controllers.predicates import OUT_OF_SERVICE_TAINT
from simulator.kubernetes.resources import RESOURCES

NAMESPACED = tuple(resource.plural for resource in RESOURCES if resource.namespaced)


class PodGarbageCollector(Controller):
    """Every 20 s: force-deletes pods of nodes that are gone (after 40 s of doubt), and others that cannot end.

    Source: pkg/controller/podgc. A terminating pod on a node that is not Ready is only forced when the node has the
    taint ``node.kubernetes.io/out-of-service``.
    """

    author = "pod-garbage-collector"
    watches = ("pods", "nodes")

    def start(self) -> None:
        self._missing_since: dict[str, float] = {}  # nodes that pods are bound to and that do not exist
        self._started = False

    def observe(self, event: Event) -> None:
        # It looks when its time has come, not when something changes; only the first look has to be arranged.
        if not self._started:
            self._started = True
            self.later("look", self.timings.podgc_period)

    def reconcile(self, key: str) -> None:
        now = self.clock.now()
        self.later("look", self.timings.podgc_period)
        suspects = self.cache.nodes_with_pods() - {node["metadata"]["name"] for node in self.cache.all("nodes")}
        self._missing_since = {name: self._missing_since.get(name, now) for name in suspects}
        for name, since in self._missing_since.items():
            # Noticed at one look, gone for 40 s at a later one.
            if now - since >= self.timings.podgc_quarantine:
                for pod in self.cache.pods_on(name):
                    self._collect(pod, "PodGC: node no longer exists")
        for node in self.cache.all("nodes"):
            taints = (node.get("spec") or {}).get("taints") or []
            if not condition_is(node, "Ready") and any(taint["key"] == OUT_OF_SERVICE_TAINT for taint in taints):
                for pod in self.cache.pods_on(node["metadata"]["name"]):
                    if is_terminating(pod):
                        self._collect(pod, "PodGC: node has the out-of-service taint")

    def _collect(self, pod: Object, message: str) -> None:
        if pod["metadata"].get("deletionGracePeriodSeconds") == 0 and is_finished(pod):
            return  # done already; a finalizer keeps the object
        if not is_finished(pod):
            now = self.clock.timestamp()
            conditions = with_condition(pod, now, "DisruptionTarget", "True", "DeletionByPodGC", message)
            self.patch_status("pods", pod, {"phase": "Failed", "conditions": conditions})
        self.delete("pods", pod, grace=0)


class NamespaceController(Controller):
    """Empties a namespace that is to go, and lets it go when it is empty.

    It begins about five seconds after the deletion, as the real one does; until then the pods look untouched while
    evictions are refused already.
    """

    author = "namespace-controller"
    watches = ("namespaces", *NAMESPACED)

    def observe(self, event: Event) -> None:
        if event.resource == "namespaces":
            if is_terminating(event.object):
                self.enqueue(event.object["metadata"]["name"])
        elif event.kind == "DELETED":
            namespace = self.cache.get("namespaces", "", event.object["metadata"]["namespace"])
            if namespace is not None and is_terminating(namespace):
                self.enqueue(namespace["metadata"]["name"])

    def reconcile(self, key: str) -> None:
        namespace = self.cache.get("namespaces", "", key)
        if namespace is None or not is_terminating(namespace):
            return
        begins = seconds_of(namespace["metadata"]["deletionTimestamp"]) + self.timings.namespace_deletion
        if self.clock.now() < begins:
            self.agenda.put(key, begins)
            return
        for resource in NAMESPACED:
            for item in self.cache.namespaced(resource, key):
                if not is_terminating(item):
                    self.delete(resource, item)
        self.cache.refresh()
        left = sum(len(self.cache.namespaced(resource, key)) for resource in NAMESPACED)
        if not left:
            self.api.replace(path_to("namespaces", None, key, "finalize"), {**namespace, "spec": {"finalizers": []}})
            return
        message = f"Some content in the namespace has not been removed yet: {left} objects"
        now = self.clock.timestamp()
        conditions = with_condition(namespace, now, "NamespaceContentRemaining", "True", "SomeResourcesRemain", message)
        self.patch_status("namespaces", namespace, {"conditions": conditions})
