# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The few things about a pod that a drain needs to know; the rest of the object is not kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils import nodes

DRAIN_TIMEOUT = "evergreen.eks/drain-timeout"
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
HEEDED = (DRAIN_TIMEOUT, SAFE_TO_EVICT, DO_NOT_DISRUPT)  # the annotations that are kept


@dataclass(frozen=True)
class Controller:
    """The owner reference that controls a pod."""

    api_version: str
    kind: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Pod:
    """One pod, by its UID: a pod of the same name with another UID is another pod."""

    namespace: str
    name: str
    uid: str
    node_name: str
    phase: str = "Running"
    ready: bool = True
    terminating: bool = False
    deleted_at: str = ""  # when it has to be gone: the request plus its grace (RFC 3339)
    grace_seconds: int = 30
    controller: Controller | None = None
    daemon: bool = False
    mirror: bool = False
    empty_dirs: tuple[str, ...] = ()  # in words: C(tmp (in memory)), C(cache (at most 1Gi))
    host_paths: tuple[str, ...] = ()  # of the node's own disk
    claims: tuple[str, ...] = ()  # its PersistentVolumeClaims
    finalizers: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)  # of those the HEEDED
    drain_wish: str = ""  # see nodes.drain_wish
    priority_class: str = ""
    started: str = ""  # when its kubelet took it on (status.startTime)
    eviction_responders: tuple[str, ...] = ()  # who wants to be asked before it is evicted (Kubernetes 1.37)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def finished(self) -> bool:
        """Nothing of it runs any more, and nothing ever will."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


def pod_from(manifest: Mapping[str, Any]) -> Pod:
    """The record of one pod as the API answers it."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    volumes, owner = spec.get("volumes") or [], nodes.controller_of(manifest)
    grace = metadata.get("deletionGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        node_name=spec.get("nodeName") or "",
        phase=status.get("phase") or "Unknown",
        ready=nodes.condition_holds(status, "Ready"),
        terminating=bool(metadata.get("deletionTimestamp")),
        deleted_at=metadata.get("deletionTimestamp") or "",
        grace_seconds=30 if grace is None else int(grace),
        controller=(
            Controller(owner.get("apiVersion", ""), owner.get("kind", ""), owner.get("name", ""), owner.get("uid", ""))
            if owner
            else None
        ),
        daemon=nodes.is_daemonset_pod(manifest),
        mirror=nodes.is_mirror_pod(manifest),
        empty_dirs=tuple(_empty_dir(volume) for volume in volumes if "emptyDir" in volume),
        host_paths=tuple(volume["hostPath"].get("path", "") for volume in volumes if "hostPath" in volume),
        claims=tuple(filter(None, (claim_of(metadata["name"], volume) for volume in volumes))),
        finalizers=tuple(metadata.get("finalizers") or ()),
        labels=metadata.get("labels") or {},
        annotations={key: text for key, text in (metadata.get("annotations") or {}).items() if key in HEEDED},
        drain_wish=nodes.drain_wish(manifest),
        priority_class=spec.get("priorityClassName") or "",
        started=status.get("startTime") or "",
        eviction_responders=tuple(str(item.get("name", "")) for item in spec.get("evictionResponders") or ()),
    )


def _empty_dir(volume: Mapping[str, Any]) -> str:
    """The volume's name, and what tells how much would be lost: whether it is memory, and its limit."""
    spec = volume["emptyDir"] or {}
    details = ["in memory"] if spec.get("medium") == "Memory" else []
    details += [f"at most {spec['sizeLimit']}"] if spec.get("sizeLimit") else []
    return f"{volume['name']} ({', '.join(details)})" if details else volume["name"]


def claim_of(pod_name: str, volume: Mapping[str, Any]) -> str:
    """The PersistentVolumeClaim behind a volume of a pod, "" for other volumes. That of a generic ephemeral volume is
    named after both (https://kubernetes.io/docs/concepts/storage/ephemeral-volumes)."""
    if "ephemeral" in volume:
        return f"{pod_name}-{volume['name']}"
    return (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
