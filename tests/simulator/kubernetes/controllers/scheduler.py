# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scheduler: binds pods to nodes, or says in the pod's condition PodScheduled why it cannot."""

from __future__ import annotations

from collections import Counter

from simulator.kubernetes.controllers.cache import Event, path_to
from simulator.kubernetes.controllers.controller import Controller
from simulator.kubernetes.controllers.objects import (
    Key,
    Object,
    annotations_of,
    controller_of,
    is_active,
    is_finished,
    key_of,
    labels_of,
    node_of,
    status_of,
    uid_of,
    with_condition,
)
from simulator.kubernetes.controllers.predicates import (
    VOLUME,
    NodeInfo,
    Requests,
    Topology,
    affinity_terms,
    claims_of,
    explain,
    hard_spread,
    matches_node_selector,
    misfit,
    requests_of,
    soft_taints,
    topology_for,
)

DEFAULT_SCHEDULER = "default-scheduler"
SELECTED_NODE = "volume.kubernetes.io/selected-node"  # asks for a volume where that node is


class Scheduler(Controller):
    """Keeps what every node has left, so that one pod costs one look at each node.

    A pod that fits nowhere is tried again when something changes that may help it: a node that it fits on by itself,
    room on a node, or a volume or pod that its rules speak of.
    """

    author = "scheduler"
    watches = ("nodes", "pods", "persistentvolumeclaims", "persistentvolumes")

    def start(self) -> None:
        self._nodes: dict[str, NodeInfo] = {}
        self._waiting: dict[Key, Requests] = {}  # pods that fitted nowhere when last tried
        self._anti_affine: dict[Key, Object] = {}  # bound pods that keep others away

    # --- what changed

    def observe(self, event: Event) -> None:
        if event.resource == "nodes":
            self._observe_node(event)
        elif event.resource == "pods":
            self._observe_pod(event)
        else:
            for key in self._waiting:
                self.enqueue(key)

    def _observe_node(self, event: Event) -> None:
        name = event.object["metadata"]["name"]
        if event.kind == "DELETED":
            self._nodes.pop(name, None)
            return
        info = self._nodes.get(name)
        if info is None:
            info = self._nodes[name] = NodeInfo(event.object)
            for pod in self.cache.pods_on(name):
                self._account(info, pod)
        else:
            changed = _scheduling_changed(info.node, event.object)
            info.look_at(event.object)
            if not changed:
                return
        self._retry_on(info)

    def _observe_pod(self, event: Event) -> None:
        key, pod = key_of(event.object), event.object
        info = self._nodes.get(node_of(pod))
        if event.kind == "DELETED" or is_finished(pod):
            self._waiting.pop(key, None)
            self._anti_affine.pop(key, None)
            if info is not None and uid_of(pod) in info.pods:
                info.remove(uid_of(pod))
                self._retry_on(info)
            self._retry_those_with_rules()
        elif node_of(pod):
            self._waiting.pop(key, None)
            if affinity_terms(pod, "podAntiAffinity"):
                self._anti_affine[key] = pod
            if info is not None and uid_of(pod) not in info.pods:
                self._account(info, pod)
                self._retry_those_with_rules()
        elif event.old is None or event.old["spec"] != pod["spec"]:
            self.enqueue(key)

    def _account(self, info: NodeInfo, pod: Object) -> None:
        if not is_finished(pod):
            info.add(uid_of(pod), requests_of(pod))

    def _retry_on(self, info: NodeInfo) -> None:
        for key, wanted in self._waiting.items():
            pod = self.cache.get("pods", *key)
            if pod is not None and misfit(pod, wanted, info) is None:
                self.enqueue(key)

    def _retry_those_with_rules(self) -> None:
        """A pod came to a node or left one, which may open or close a domain for those with rules between pods."""
        for key in self._waiting:
            pod = self.cache.get("pods", *key)
            if pod is not None and (_has_rules(pod) or self._anti_affine):
                self.enqueue(key)

    # --- one pod

    def reconcile(self, key: Key) -> None:
        pod = self.cache.get("pods", *key)
        if pod is None or node_of(pod) or not is_active(pod) or pod["spec"].get("schedulingGates") or not _ours(pod):
            self._waiting.pop(key, None)
            return
        volumes, problem = self._volumes(pod)
        wanted = requests_of(pod)
        reasons: Counter[str] = Counter()
        best = None if problem else self._best(pod, wanted, volumes, reasons)
        if best is None:
            self._waiting[key] = wanted
            self._unschedulable(pod, problem or explain(reasons, len(self._nodes)))
        elif self._volumes_ready(pod, best):
            self._bind(pod, best)
        else:
            self._waiting[key] = wanted  # the volumes come into being where the pod will run

    def _best(self, pod: Object, wanted: Requests, volumes: list[Object], reasons: Counter[str]) -> NodeInfo | None:
        rules = self._rules(pod)
        fitting = []
        for info in self._nodes.values():
            reason = misfit(pod, wanted, info)
            if reason is None and not all(matches_node_selector(selector, info.node) for selector in volumes):
                reason = VOLUME
            if reason is None:
                reason = rules.misfit(info.node)
            if reason is None:
                fitting.append(info)
            else:
                reasons[reason] += 1
        if len(fitting) < 2:
            return fitting[0] if fitting else None
        by_node, by_zone = self._siblings(pod)
        selected = self._selected_node(pod)

        def preference(info: NodeInfo) -> tuple[bool, int, int, int, int, str]:
            """Where the claim's volume is being made; no soft taints; away from its siblings; where few pods are."""
            taints = soft_taints(pod, info.node)
            return info.name != selected, taints, by_zone[info.zone], by_node[info.name], len(info.pods), info.name

        return min(fitting, key=preference)

    def _rules(self, pod: Object) -> Topology:
        if not _has_rules(pod) and not self._anti_affine:
            return Topology()
        neighbours: list[Object] = []
        if _has_rules(pod):
            neighbours = [other for other in self.cache.all("pods") if node_of(other) and not is_finished(other)]
        nodes = {name: info.node for name, info in self._nodes.items()}
        return topology_for(pod, neighbours, self._anti_affine.values(), nodes)

    def _siblings(self, pod: Object) -> tuple[Counter[str], Counter[str]]:
        """How many pods of the same owner run on each node and in each zone."""
        by_node: Counter[str] = Counter()
        by_zone: Counter[str] = Counter()
        owner = controller_of(pod)
        if owner is not None and owner["kind"] != "DaemonSet":
            for other in self.cache.pods_of(owner["uid"]):
                info = self._nodes.get(node_of(other))
                if info is not None and is_active(other):
                    by_node[info.name] += 1
                    by_zone[info.zone] += 1
        return by_node, by_zone

    def _bind(self, pod: Object, info: NodeInfo) -> None:
        metadata = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": info.name}
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "target": target,
        }
        self.api.create(path_to("pods", metadata["namespace"], metadata["name"], "binding"), body)

    def _unschedulable(self, pod: Object, message: str) -> None:
        known = next((c for c in status_of(pod).get("conditions") or [] if c["type"] == "PodScheduled"), {})
        if known.get("reason") == "Unschedulable" and known.get("message") == message:
            return
        now = self.clock.timestamp()
        conditions = with_condition(pod, now, "PodScheduled", "False", "Unschedulable", message)
        self.patch_status("pods", pod, {"conditions": conditions})

    # --- volumes

    def _claims(self, pod: Object) -> list[Object | None]:
        return [self.cache.get("persistentvolumeclaims", pod["metadata"]["namespace"], name) for name in claims_of(pod)]

    def _volumes(self, pod: Object) -> tuple[list[Object], str]:
        """The node selectors of the pod's volumes that exist already; and what keeps it from being scheduled at all."""
        selectors = []
        for name, claim in zip(claims_of(pod), self._claims(pod)):
            if claim is None:
                return [], f'persistentvolumeclaim "{name}" not found'
            volume = self.cache.get("persistentvolumes", "", claim["spec"].get("volumeName") or "")
            required = ((volume or {}).get("spec", {}).get("nodeAffinity") or {}).get("required")
            if required:
                selectors.append(required)
        return selectors, ""

    def _selected_node(self, pod: Object) -> str:
        if not claims_of(pod):
            return ""
        found = (annotations_of(claim).get(SELECTED_NODE) for claim in self._claims(pod) if claim is not None)
        return next(filter(None, found), "")

    def _volumes_ready(self, pod: Object, info: NodeInfo) -> bool:
        """Are all claims bound? If not, ask for their volumes in that node's zone (WaitForFirstConsumer)."""
        unbound = [claim for claim in self._claims(pod) if claim is not None and not claim["spec"].get("volumeName")]
        for claim in unbound:
            if annotations_of(claim).get(SELECTED_NODE) != info.name:
                self.patch("persistentvolumeclaims", claim, {"metadata": {"annotations": {SELECTED_NODE: info.name}}})
        return not unbound


def _ours(pod: Object) -> bool:
    """No other scheduler has been asked for."""
    return pod["spec"].get("schedulerName", DEFAULT_SCHEDULER) == DEFAULT_SCHEDULER


def _has_rules(pod: Object) -> bool:
    return bool(affinity_terms(pod, "podAntiAffinity") or affinity_terms(pod, "podAffinity") or hard_spread(pod))


def _scheduling_changed(before: Object, after: Object) -> bool:
    """Has something changed that the scheduler looks at? (Conditions and heartbeats are not.)"""
    return (
        before.get("spec") != after.get("spec")
        or labels_of(before) != labels_of(after)
        or status_of(before).get("allocatable") != status_of(after).get("allocatable")
    )
