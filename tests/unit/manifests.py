# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kubernetes objects as the API answers them, with only what a test is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def a_node(
    name: str,
    instance_id: str,
    *,
    ready: str = "True",
    message: str = "kubelet is posting ready status",
    unschedulable: bool = False,
    taints: Sequence[str | Mapping[str, str]] = (),
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    created: str = "2026-11-21T00:00:00Z",
    version: str = "1",
) -> dict[str, Any]:
    """A Node of an EC2 instance. A taint given as a word has the effect NoSchedule."""
    taint_objects = [{"key": item, "effect": "NoSchedule"} if isinstance(item, str) else dict(item) for item in taints]
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "resourceVersion": version,
            "creationTimestamp": created,
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "providerID": f"aws:///eu-central-1a/{instance_id}",
            **({"unschedulable": True} if unschedulable else {}),
            **({"taints": taint_objects} if taint_objects else {}),
        },
        "status": {"conditions": [{"type": "Ready", "status": ready, "message": message}]},
    }


def a_pod(
    name: str,
    *,
    phase: str = "Running",
    owner: tuple[str, str] | None = ("apps/v1", "ReplicaSet"),
    owner_uid: str = "uid-of-owner",
    ready: bool = True,
    annotations: Mapping[str, str] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """A pod in the namespace default, controlled by `owner` (API version, kind)."""
    owners = (
        [{"apiVersion": owner[0], "kind": owner[1], "name": "o", "uid": owner_uid, "controller": True}] if owner else []
    )
    return {
        "metadata": {
            "namespace": "default",
            "name": name,
            "annotations": dict(annotations or {}),
            "ownerReferences": owners,
            **metadata,
        },
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }
