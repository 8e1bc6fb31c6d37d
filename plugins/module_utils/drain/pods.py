# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The few things about a pod that a drain needs to know; the rest of the object is not kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils import nodes


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
    terminating: bool = False
    grace_seconds: int = 30
    controller: Controller | None = None
    daemon: bool = False
    mirror: bool = False
    empty_dirs: tuple[str, ...] = ()
    finalizers: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

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
    owner = nodes.controller_of(manifest)
    grace = metadata.get("deletionGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        node_name=spec.get("nodeName") or "",
        phase=status.get("phase") or "Unknown",
        terminating=bool(metadata.get("deletionTimestamp")),
        grace_seconds=30 if grace is None else int(grace),
        controller=(
            Controller(owner.get("apiVersion", ""), owner.get("kind", ""), owner.get("name", ""), owner.get("uid", ""))
            if owner
            else None
        ),
        daemon=nodes.is_daemonset_pod(manifest),
        mirror=nodes.is_mirror_pod(manifest),
        empty_dirs=tuple(volume["name"] for volume in spec.get("volumes") or [] if "emptyDir" in volume),
        finalizers=tuple(metadata.get("finalizers") or ()),
        labels=metadata.get("labels") or {},
    )
