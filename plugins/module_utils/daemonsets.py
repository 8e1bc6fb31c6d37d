# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which DaemonSets a Node should run, and which of them do not run there yet.

The rules are those of the DaemonSet controller (pkg/controller/daemon, NodeShouldRunDaemonPod): the pod template's node
selector, its required node affinity, and its tolerations together with those that every DaemonSet pod is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node, controller_of, pod_is_ready

# Every DaemonSet pod tolerates these (pkg/controller/daemon/util, AddOrUpdateDaemonPodTolerations).
ALWAYS_TOLERATED = (
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/disk-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/pid-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"},
)
TOLERATED_BY_HOST_NETWORK = (
    {"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"},
)


def list_daemonsets(client: KubernetesClient) -> list[dict[str, Any]]:
    """All DaemonSets that are not being deleted. Needs the verb list on daemonsets.apps."""
    items, _version = client.list("/apis/apps/v1/daemonsets")
    return [item for item in items if not item["metadata"].get("deletionTimestamp")]


def pending_daemonsets(
    daemonsets: Iterable[Mapping[str, Any]], node: Node, pods: Sequence[Mapping[str, Any]]
) -> list[str]:
    """`namespace/name` of the DaemonSets that should run on this Node and have no Ready pod among its `pods`."""
    running = {controller_of(pod).get("uid") for pod in pods if pod_is_ready(pod)}
    return sorted(
        f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        for item in daemonsets
        if item["metadata"]["uid"] not in running and should_run(item, node)
    )


def should_run(daemonset: Mapping[str, Any], node: Node) -> bool:
    """Whether the DaemonSet controller wants a pod of it on this Node."""
    spec = daemonset["spec"]["template"].get("spec") or {}
    return _selected(spec, node) and _affine(spec, node) and _tolerates_all(spec, node)


def _selected(spec: Mapping[str, Any], node: Node) -> bool:
    wanted = spec.get("nodeSelector") or {}
    return all(node.labels.get(key) == value for key, value in wanted.items())


def _affine(spec: Mapping[str, Any], node: Node) -> bool:
    """Required node affinity: any of the terms, all of a term's requirements; a term without any matches nothing."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or [])


def _term_matches(term: Mapping[str, Any], node: Node) -> bool:
    labels = [(item, node.labels.get(item["key"])) for item in term.get("matchExpressions") or []]
    fields = [(item, node.name) for item in term.get("matchFields") or []]
    return bool(labels or fields) and all(_requirement_met(item, value) for item, value in labels + fields)


def _requirement_met(requirement: Mapping[str, Any], value: str | None) -> bool:
    return OPERATORS[requirement["operator"]](value, requirement.get("values") or [])


def _greater(value: str | None, bounds: Sequence[str]) -> bool:
    return _is_number(value) and int(value or 0) > int(bounds[0])


def _less(value: str | None, bounds: Sequence[str]) -> bool:
    return _is_number(value) and int(value or 0) < int(bounds[0])


def _is_number(value: str | None) -> bool:
    return value is not None and value.lstrip("-").isdigit()


OPERATORS: dict[str, Callable[[str | None, Sequence[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, values: value is not None,
    "DoesNotExist": lambda value, values: value is None,
    "Gt": _greater,
    "Lt": _less,
}


def _tolerates_all(spec: Mapping[str, Any], node: Node) -> bool:
    tolerations = [*ALWAYS_TOLERATED, *(spec.get("tolerations") or [])]
    if spec.get("hostNetwork"):
        tolerations += TOLERATED_BY_HOST_NETWORK
    binding = [taint for taint in node.taints if taint["effect"] in ("NoSchedule", "NoExecute")]
    return all(any(_tolerates(item, taint) for item in tolerations) for taint in binding)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """An empty key with Exists tolerates everything; an empty effect tolerates every effect."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")
