# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What scheduling decides, as pure functions: does this pod fit on that node, and if not, why not.

The words are those of the real scheduler's messages, because people (and tools) read them in
``0/6 nodes are available: 3 Insufficient cpu, 3 node(s) were unschedulable.``
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.kubernetes.controllers.objects import ZONE, Object, labels_of, node_of, quantity
from simulator.kubernetes.selectors import selects

UNSCHEDULABLE_TAINT = "node.kubernetes.io/unschedulable"
NOT_READY_TAINT = "node.kubernetes.io/not-ready"
UNREACHABLE_TAINT = "node.kubernetes.io/unreachable"
OUT_OF_SERVICE_TAINT = "node.kubernetes.io/out-of-service"

TOO_MANY_PODS = "Too many pods"
UNSCHEDULABLE = "node(s) were unschedulable"
AFFINITY = "node(s) didn't match Pod's node affinity/selector"
VOLUME = "node(s) had volume node affinity conflict"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
POD_AFFINITY = "node(s) didn't match pod affinity rules"
SPREAD = "node(s) didn't match pod topology spread constraints"


@dataclass(frozen=True)
class Requests:
    """What a pod asks of a node: cores, bytes."""

    cpu: float
    memory: float


class NodeInfo:
    """A node with what the pods bound to it have taken."""

    def __init__(self, node: Object):
        self.pods: dict[str, Requests] = {}  # by UID
        self.cpu = 0.0
        self.memory = 0.0
        self.look_at(node)

    def look_at(self, node: Object) -> None:
        """The node as it is now. What it offers is read once, since every pod will be compared with it."""
        self.node = node
        self.name: str = node["metadata"]["name"]
        self.zone = labels_of(node).get(ZONE, "")
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        self.most_pods = quantity(allocatable.get("pods", 110))
        # A hair of tolerance: sums of 0.1 cores are not exact in floating point.
        self.most_cpu = quantity(allocatable["cpu"]) + 1e-6 if "cpu" in allocatable else math.inf
        self.most_memory = quantity(allocatable["memory"]) + 1e-6 if "memory" in allocatable else math.inf

    def add(self, uid: str, requests: Requests) -> None:
        if uid not in self.pods:
            self.pods[uid] = requests
            self.cpu += requests.cpu
            self.memory += requests.memory

    def remove(self, uid: str) -> None:
        requests = self.pods.pop(uid, None)
        if requests is not None:
            self.cpu -= requests.cpu
            self.memory -= requests.memory


def requests_of(pod: Object) -> Requests:
    """The sum over the containers (init containers and overhead play no part in the rehearsal)."""
    cpu = memory = 0.0
    for container in pod["spec"].get("containers") or []:
        wanted = (container.get("resources") or {}).get("requests") or {}
        cpu += quantity(wanted.get("cpu"))
        memory += quantity(wanted.get("memory"))
    return Requests(cpu, memory)


def tolerates(tolerations: Iterable[Object], taint: Object) -> bool:
    """v1.Toleration.ToleratesTaint: no effect = all effects, no key with Exists = all taints."""
    for toleration in tolerations:
        if toleration.get("effect") and toleration["effect"] != taint["effect"]:
            continue
        if toleration.get("key") and toleration["key"] != taint["key"]:
            continue
        operator = toleration.get("operator") or "Equal"
        if operator == "Exists":
            return True
        if toleration.get("key") and (toleration.get("value") or "") == (taint.get("value") or ""):
            return True
    return False


def untolerated(pod_spec: Object, taints: Iterable[Object] | None, effects: tuple[str, ...]) -> Object | None:
    """The first taint with one of these effects that the pod does not tolerate."""
    tolerations = pod_spec.get("tolerations") or []
    for taint in taints or []:
        if taint["effect"] in effects and not tolerates(tolerations, taint):
            return taint
    return None


def matches_expression(expression: Object, values: Mapping[str, str]) -> bool:
    """One requirement of a node selector: In, NotIn, Exists, DoesNotExist, Gt, Lt."""
    key, operator, wanted = expression["key"], expression["operator"], expression.get("values") or []
    actual = values.get(key)
    if operator == "In":
        return actual in wanted
    if operator == "NotIn":
        return actual not in wanted
    if operator == "Exists":
        return actual is not None
    if operator == "DoesNotExist":
        return actual is None
    if actual is None or not actual.lstrip("-").isdigit():
        return False
    return int(actual) > int(wanted[0]) if operator == "Gt" else int(actual) < int(wanted[0])


def matches_node_selector(selector: Object, node: Object) -> bool:
    """A NodeSelector (of a pod's affinity, of a volume): one of its terms must hold; an empty term never does."""
    fields = {"metadata.name": node["metadata"]["name"]}
    for term in selector.get("nodeSelectorTerms") or []:
        expressions, by_field = term.get("matchExpressions") or [], term.get("matchFields") or []
        if not expressions and not by_field:
            continue
        if all(matches_expression(item, labels_of(node)) for item in expressions) and all(
            matches_expression(item, fields) for item in by_field
        ):
            return True
    return False


def matches_node(pod_spec: Object, node: Object) -> bool:
    """nodeSelector and required node affinity."""
    labels = labels_of(node)
    if any(labels.get(name) != value for name, value in (pod_spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or matches_node_selector(required, node)


def misfit(pod: Object, wanted: Requests, info: NodeInfo) -> str | None:
    """Why the pod cannot run on the node, looking at these two alone; None when it can."""
    spec, node = pod["spec"], info.node
    node_spec = node.get("spec") or {}
    unschedulable = {"key": UNSCHEDULABLE_TAINT, "effect": "NoSchedule"}
    if node_spec.get("unschedulable") and not tolerates(spec.get("tolerations") or [], unschedulable):
        return UNSCHEDULABLE
    taint = untolerated(spec, node_spec.get("taints"), ("NoSchedule", "NoExecute"))
    if taint is not None:
        return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
    if not matches_node(spec, node):
        return AFFINITY
    if len(info.pods) + 1 > info.most_pods:
        return TOO_MANY_PODS
    if info.cpu + wanted.cpu > info.most_cpu:
        return "Insufficient cpu"
    if info.memory + wanted.memory > info.most_memory:
        return "Insufficient memory"
    return None


def soft_taints(pod: Object, node: Object) -> int:
    """How many PreferNoSchedule taints of the node the pod does not tolerate."""
    tolerations = pod["spec"].get("tolerations") or []
    taints = (node.get("spec") or {}).get("taints") or []
    return sum(1 for taint in taints if taint["effect"] == "PreferNoSchedule" and not tolerates(tolerations, taint))


# --- rules between pods: affinity, anti-affinity, topology spread -----------------------------------------------------


def affinity_terms(pod: Object, kind: str) -> list[Object]:
    """The required terms of ``podAffinity`` or ``podAntiAffinity``."""
    affinity = (pod["spec"].get("affinity") or {}).get(kind) or {}
    return affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or []


def hard_spread(pod: Object) -> list[Object]:
    """The topology spread constraints that forbid, not those that only prefer."""
    constraints = pod["spec"].get("topologySpreadConstraints") or []
    return [item for item in constraints if item.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"]


def term_selects(term: Object, of: Object, pod: Object) -> bool:
    """Is ``pod`` one that this (anti-)affinity term of the pod ``of`` speaks about?"""
    namespaces = term.get("namespaces") or [of["metadata"].get("namespace")]
    return pod["metadata"].get("namespace") in namespaces and selects(term.get("labelSelector"), pod)


@dataclass(frozen=True)
class Topology:
    """What the rules between pods leave open for one pod: which domains are closed, open or too full."""

    closed: tuple[tuple[str, frozenset[str], str], ...] = ()  # topology key, domains, reason
    wanted: tuple[tuple[str, frozenset[str]], ...] = ()  # topology key, the only domains allowed
    full: tuple[tuple[str, frozenset[str]], ...] = ()  # topology key, domains at their maximal skew

    def misfit(self, node: Object) -> str | None:
        labels = labels_of(node)
        for key, domains, reason in self.closed:
            if labels.get(key) in domains:
                return reason
        for key, domains in self.wanted:
            if labels.get(key) not in domains:
                return POD_AFFINITY
        for key, domains in self.full:
            # A node without the label cannot satisfy the constraint.
            if key not in labels or labels[key] in domains:
                return SPREAD
        return None


def topology_for(
    pod: Object, neighbours: Iterable[Object], anti_affine: Iterable[Object], nodes: Mapping[str, Object]
) -> Topology:
    """The rules between pods, worked out once for all nodes.

    ``neighbours``: the bound, unfinished pods that terms of this pod may select. ``anti_affine``: those bound pods
    that have anti-affinity of their own, which also keeps this pod away. ``nodes``: by name.
    """
    neighbours = list(neighbours)

    def domains(key: str, pods: Iterable[Object]) -> list[str]:
        found = (labels_of(nodes[node_of(item)]).get(key) for item in pods if node_of(item) in nodes)
        return [value for value in found if value is not None]

    closed = []
    for term in affinity_terms(pod, "podAntiAffinity"):
        taken = domains(term["topologyKey"], (item for item in neighbours if term_selects(term, pod, item)))
        closed.append((term["topologyKey"], frozenset(taken), ANTI_AFFINITY))
    for other in anti_affine:
        for term in affinity_terms(other, "podAntiAffinity"):
            if term_selects(term, other, pod):
                closed.append((term["topologyKey"], frozenset(domains(term["topologyKey"], [other])), ANTI_AFFINITY))

    wanted = []
    for term in affinity_terms(pod, "podAffinity"):
        found = frozenset(domains(term["topologyKey"], (item for item in neighbours if term_selects(term, pod, item))))
        # The first pod of a group that wants to be with itself may go anywhere.
        if found or not term_selects(term, pod, pod):
            wanted.append((term["topologyKey"], found))

    full = []
    for constraint in hard_spread(pod):
        key, selector = constraint["topologyKey"], constraint.get("labelSelector")
        same = (
            item
            for item in neighbours
            if item["metadata"].get("namespace") == pod["metadata"].get("namespace") and selects(selector, item)
        )
        eligible = {
            labels_of(node)[key]
            for node in nodes.values()
            if key in labels_of(node) and matches_node(pod["spec"], node)
        }
        counts = Counter(dict.fromkeys(eligible, 0))
        counts.update(domain for domain in domains(key, same) if domain in eligible)
        least = min(counts.values(), default=0)
        own = 1 if selects(selector, pod) else 0
        too_full = (domain for domain, count in counts.items() if count + own - least > constraint.get("maxSkew", 1))
        full.append((key, frozenset(too_full)))
    return Topology(tuple(closed), tuple(wanted), tuple(full))


def explain(reasons: Counter[str], total: int) -> str:
    """The message of the condition PodScheduled, as the real scheduler words it."""
    if not total:
        return "no nodes available to schedule pods"
    parts = sorted(f"{count} {reason}" for reason, count in reasons.items())
    return f"0/{total} nodes are available: {', '.join(parts)}."


def claims_of(pod: Object) -> list[str]:
    """The names of the PersistentVolumeClaims that the pod mounts."""
    volumes: list[dict[str, Any]] = pod["spec"].get("volumes") or []
    return [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if volume.get("persistentVolumeClaim")]
