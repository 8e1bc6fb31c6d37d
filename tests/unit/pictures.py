# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pictures of small clusters, with only what a test is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.picture import (
    NodeState,
    Picture,
    PodState,
    WorkloadState,
)

CLUSTER = "uid-of-kube-system"
THEN, NOW = "2026-11-21T01:00:00Z", "2026-11-21T02:00:00Z"
LONG_AGO, JUST_NOW = "2026-11-20T00:00:00Z", "2026-11-21T01:59:50Z"


def node(name: str = "n1", ready: bool = True, **changes: Any) -> NodeState:
    values = {
        "instance_id": f"i-{name}",
        "cordoned": False,
        "version": "v1.34.0",
        "since": "2026-11-21T01:30:00Z",
        "created": LONG_AGO,
    }
    return NodeState(name=name, ready=ready, **{**values, **changes})


def pod(name: str = "web-1", *reasons: str, owner: str = "Deployment/web", **changes: Any) -> PodState:
    """A pod that is Ready, or that has these reasons not to be, for half an hour."""
    values = {
        "namespace": "shop",
        "uid": f"uid-of-{name}",
        "node": "n1",
        "phase": "Running",
        "ready": not reasons and changes.get("phase", "Running") == "Running",
        "leaving": False,
        "message": "",
        "restarts": 0,
        "restarted": "",
        "created": LONG_AGO,
        "since": "2026-11-21T01:30:00Z",
        "labels": {"app": owner.partition("/")[2]},
    }
    return PodState(name=name, owner=owner, reasons=reasons, **{**values, **changes})


def workload(name: str = "web", ready: int = 3, wanted: int = 3, **changes: Any) -> WorkloadState:
    values = {
        "kind": "Deployment",
        "namespace": "shop",
        "updated": wanted,
        "may_lack": 0,
        "labels": {"app": name},
    }
    return WorkloadState(name=name, ready=ready, wanted=wanted, **{**values, **changes})


def picture(*items: NodeState | PodState | WorkloadState, taken: str = THEN, **changes: Any) -> Picture:
    """Of these, whatever they are."""

    def of(kind: type) -> Sequence[Any]:
        return tuple(item for item in items if isinstance(item, kind))

    values = {"nodes": of(NodeState), "pods": of(PodState), "workloads": of(WorkloadState)}
    return Picture(cluster=CLUSTER, taken=taken, **{**values, **changes})
