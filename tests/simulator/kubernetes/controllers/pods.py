# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods as the workload controllers make them."""

from __future__ import annotations

import copy
import hashlib
import json

from simulator.kubernetes.controllers.objects import (
    Object,
    is_ready,
    is_terminating,
    labels_of,
    node_of,
    phase_of,
    reference_to,
    seconds_of,
)

REVISION = "controller-revision-hash"  # label of the pods of DaemonSets and StatefulSets: the template they are of


def pod_from(template: Object, owner: Object, *, name: str = "", labels: dict[str, str] | None = None) -> Object:
    """A pod of this template, owned by ``owner``; without a name the server makes one up (``owner-x7k2p``)."""
    metadata = copy.deepcopy(template.get("metadata") or {})
    metadata = {key: metadata[key] for key in ("labels", "annotations", "finalizers") if metadata.get(key)}
    if name:
        metadata["name"] = name
    else:
        metadata["generateName"] = f"{owner['metadata']['name']}-"
    metadata["labels"] = {**metadata.get("labels", {}), **(labels or {})}
    metadata["ownerReferences"] = [reference_to(owner)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}


def template_hash(template: Object) -> str:
    """A short name for a template, so that a changed one is known as such (``pod-template-hash``)."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def is_of_revision(pod: Object, revision: str) -> bool:
    """The pod was made of the template with that hash (or put into place by a test, without saying)."""
    return labels_of(pod).get(REVISION, revision) == revision


def first_to_go(pod: Object) -> tuple[bool, bool, bool, float]:
    """Sort key: which pods a workload gives up first (controller.ActivePods): unbound, not running, unready, young."""
    age = -seconds_of(pod["metadata"]["creationTimestamp"])
    return bool(node_of(pod)), phase_of(pod) == "Running", is_ready(pod), age


def count_ready(pods: list[Object]) -> int:
    """How many of these pods are Ready and not on their way out."""
    return sum(1 for pod in pods if is_ready(pod) and not is_terminating(pod))
