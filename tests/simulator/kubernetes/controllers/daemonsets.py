# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DaemonSets: one pod on every node that will have it."""

from __future__ import annotations

from simulator.kubernetes.controllers.cache import Event
from simulator.kubernetes.controllers.controller import Controller
from simulator.kubernetes.controllers.objects import (
    Key,
    Object,
    is_finished,
    is_ready,
    is_terminating,
    key_of,
    labels_of,
    node_of,
    scaled,
    uid_of,
)
from simulator.kubernetes.controllers.pods import REVISION, is_of_revision, pod_from, template_hash
from simulator.kubernetes.controllers.predicates import (
    NOT_READY_TAINT,
    UNREACHABLE_TAINT,
    UNSCHEDULABLE_TAINT,
    matches_node,
    untolerated,
)

# What the DaemonSet controller adds to every pod (AddOrUpdateDaemonPodTolerations): it stays on a broken node, and
# it comes to a cordoned one.
TOLERATIONS = [
    {"key": NOT_READY_TAINT, "operator": "Exists", "effect": "NoExecute"},
    {"key": UNREACHABLE_TAINT, "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/disk-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/pid-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": UNSCHEDULABLE_TAINT, "operator": "Exists", "effect": "NoSchedule"},
]
HOST_NETWORK = {"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"}


class DaemonSetController(Controller):
    """Looks at one node of one DaemonSet at a time: a change on a node costs as many looks as there are DaemonSets."""

    author = "daemon-set-controller"
    watches = ("daemonsets", "nodes", "pods")

    def start(self) -> None:
        # Pods by the node they are meant for: the scheduler binds them, so spec.nodeName comes later.
        self._pods: dict[tuple[str, str], dict[Key, Object]] = {}

    def observe(self, event: Event) -> None:
        if event.resource == "daemonsets":
            self.enqueue((key_of(event.object), ""))
            for node in self.cache.all("nodes"):
                self.enqueue((key_of(event.object), node["metadata"]["name"]))
        elif event.resource == "nodes":
            if event.kind == "MODIFIED" and event.old is not None and not _eligibility_changed(event.old, event.object):
                return
            for daemon_set in self.cache.all("daemonsets"):
                self.enqueue((key_of(daemon_set), event.object["metadata"]["name"]))
                self.enqueue((key_of(daemon_set), ""))
        else:
            self._observe_pod(event)

    def _observe_pod(self, event: Event) -> None:
        owner = next((o for o in event.object["metadata"].get("ownerReferences") or [] if o.get("controller")), None)
        if owner is None or owner["kind"] != "DaemonSet":
            return
        node = target_of(event.object)
        known = self._pods.setdefault((owner["uid"], node), {})
        if event.kind == "DELETED":
            known.pop(key_of(event.object), None)
        else:
            known[key_of(event.object)] = event.object
        key: Key = (event.object["metadata"]["namespace"], owner["name"])
        self.enqueue((key, node))
        self.enqueue((key, ""))

    def reconcile(self, key: tuple[Key, str]) -> None:
        name, node_name = key
        daemon_set = self.cache.get("daemonsets", *name)
        if daemon_set is None or is_terminating(daemon_set):
            return
        if node_name:
            self._settle(name, daemon_set, node_name)
        else:
            self._report(daemon_set)
            self._roll(daemon_set)

    def _settle(self, key: Key, daemon_set: Object, node_name: str) -> None:
        node = self.cache.get("nodes", "", node_name)
        pods = list(self._pods.get((uid_of(daemon_set), node_name), {}).values())
        template = pod_for(daemon_set, node_name)
        if node is None:
            # Pods that were on the node are the garbage collector's; those never bound have nowhere to go.
            surplus = [pod for pod in pods if not node_of(pod)]
        elif not may_stay(template["spec"], node):
            surplus = pods
        else:
            surplus = [pod for pod in pods if is_finished(pod)]
            if not [pod for pod in pods if pod not in surplus] and may_come(template["spec"], node):
                self.create("pods", key[0], template)
        for pod in surplus:
            if not is_terminating(pod):
                self.delete("pods", pod)

    def _wanted(self, daemon_set: Object) -> dict[str, list[Object]]:
        """The pods on each node that is to have one; finished ones and those on their way out do not count."""
        spec = pod_for(daemon_set, "")["spec"]
        spec["affinity"] = daemon_set["spec"]["template"]["spec"].get("affinity") or {}
        wanted = [node["metadata"]["name"] for node in self.cache.all("nodes") if may_come(spec, node)]
        uid = uid_of(daemon_set)
        return {node: list(self._pods.get((uid, node), {}).values()) for node in wanted}

    def _report(self, daemon_set: Object) -> None:
        revision = template_hash(daemon_set["spec"]["template"])
        on_wanted = list(self._wanted(daemon_set).values())
        running = sum(1 for pods in on_wanted if any(node_of(pod) for pod in pods))
        updated = sum(1 for pods in on_wanted if any(node_of(pod) and is_of_revision(pod, revision) for pod in pods))
        ready = sum(1 for pods in on_wanted if any(is_ready(pod) and not is_terminating(pod) for pod in pods))
        status = {
            "desiredNumberScheduled": len(on_wanted),
            "currentNumberScheduled": running,
            "updatedNumberScheduled": updated,
            "numberMisscheduled": 0,
            "numberReady": ready,
            "numberAvailable": ready,
            "numberUnavailable": len(on_wanted) - ready,
            "observedGeneration": daemon_set["metadata"].get("generation", 1),
        }
        self.patch_status("daemonsets", daemon_set, status)

    def _roll(self, daemon_set: Object) -> None:
        """One step of a rolling update (pkg/controller/daemon/update.go): pods of an older template go, those that are
        not available at once, the others while no more than maxUnavailable nodes are without.

        A positive maxSurge is treated as that many unavailable: the world's nodes hold one pod of a DaemonSet.
        """
        strategy = daemon_set["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        on_wanted = self._wanted(daemon_set)
        rolling = strategy.get("rollingUpdate") or {}
        limits = [rolling.get("maxUnavailable", 1), rolling.get("maxSurge", 0)]
        allowed = max(1, *(scaled(limit, len(on_wanted)) for limit in limits))
        revision = template_hash(daemon_set["spec"]["template"])
        old, unavailable = [], 0
        for pods in on_wanted.values():
            staying = [pod for pod in pods if not is_terminating(pod) and not is_finished(pod)]
            unavailable += 0 if any(map(is_ready, staying)) else 1
            old += [pod for pod in staying if not is_of_revision(pod, revision)]
        for pod in sorted(old, key=is_ready):
            if is_ready(pod):
                if unavailable >= allowed:
                    return
                unavailable += 1
            self.delete("pods", pod)


def pod_for(daemon_set: Object, node: str) -> Object:
    """The DaemonSet's pod for one node: an ordinary pod that may run only there, which the scheduler binds."""
    template = daemon_set["spec"]["template"]
    pod = pod_from(template, daemon_set, labels={REVISION: template_hash(template)})
    spec = pod["spec"]
    own = [HOST_NETWORK] if spec.get("hostNetwork") else []
    spec["tolerations"] = [*(spec.get("tolerations") or []), *TOLERATIONS, *own]
    only = {"key": "metadata.name", "operator": "In", "values": [node]}
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.get("nodeSelectorTerms") or [{}]
    required["nodeSelectorTerms"] = [{**term, "matchFields": [only]} for term in terms]
    return pod


def target_of(pod: Object) -> str:
    """The node that a DaemonSet's pod is on or meant for."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or []:
        for item in term.get("matchFields") or []:
            if item["key"] == "metadata.name":
                return item["values"][0]
    return node_of(pod)


def may_stay(spec: Object, node: Object) -> bool:
    """The node's labels still suit, and no NoExecute taint drives the pod away."""
    taints = (node.get("spec") or {}).get("taints")
    return matches_node(spec, node) and untolerated(spec, taints, ("NoExecute",)) is None


def may_come(spec: Object, node: Object) -> bool:
    """A new pod would be welcome too: no NoSchedule taint either."""
    taints = (node.get("spec") or {}).get("taints")
    return may_stay(spec, node) and untolerated(spec, taints, ("NoSchedule",)) is None


def _eligibility_changed(before: Object, after: Object) -> bool:
    return labels_of(before) != labels_of(after) or before.get("spec") != after.get("spec")
