# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scale subresource of Deployments, ReplicaSets and StatefulSets: replicas without the rest."""

from __future__ import annotations

from typing import Any

from simulator.kubernetes.errors import bad_request
from simulator.kubernetes.selectors import dig

KEPT = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(workload: dict[str, Any]) -> dict[str, Any]:
    """The autoscaling/v1 Scale of a workload."""
    labels = dig(workload, "spec.selector.matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: workload["metadata"][name] for name in KEPT if name in workload["metadata"]},
        "spec": {"replicas": dig(workload, "spec.replicas", 0)},
        "status": {
            "replicas": dig(workload, "status.replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def change_scale(workload: dict[str, Any], scale: Any) -> dict[str, Any]:
    """The workload with the replicas of that Scale; its resourceVersion, if any, is a precondition. ApiError 400."""
    replicas = dig(scale, "spec.replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        raise bad_request("spec.replicas must be a number that is not negative")
    workload["spec"]["replicas"] = replicas
    version = dig(scale, "metadata.resourceVersion")
    if version:
        workload["metadata"]["resourceVersion"] = version
    return workload
