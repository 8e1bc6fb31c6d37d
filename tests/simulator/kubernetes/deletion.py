# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an object goes: grace periods, finalizers, preconditions. Pure functions on copies.

Source: BeforeDelete and ShouldDeleteDuringUpdate in staging/src/k8s.io/apiserver/pkg/registry, CheckGracefulDelete in
pkg/registry/core/pod/strategy.go.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from simulator.clock import Clock
from simulator.kubernetes.errors import conflict
from simulator.kubernetes.resources import NAMESPACES, PODS, Resource
from simulator.kubernetes.selectors import dig

FINISHED = ("Succeeded", "Failed")
GC_FINALIZERS = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}


def seconds_of(timestamp: str) -> float:
    """``2026-11-21T01:02:03Z`` -> unix seconds."""
    return datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()


def is_terminating(item: dict[str, Any]) -> bool:
    """Somebody asked for its end, and it is still there."""
    return bool(item["metadata"].get("deletionTimestamp"))


def check_preconditions(resource: Resource, item: dict[str, Any], options: dict[str, Any]) -> None:
    """ApiError 409 when the caller means another object (uid) or another version (resourceVersion)."""
    wanted, metadata = options.get("preconditions") or {}, item["metadata"]
    for field, label, what in (
        ("uid", "UID", "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "modified"),
    ):
        if wanted.get(field) and wanted[field] != metadata[field]:
            why = (
                f"the {label} in the precondition ({wanted[field]}) does not match the {label} in record "
                f"({metadata[field]}). The object might have been {what}"
            )
            raise conflict(resource, metadata["name"], why)


def mark_deleted(resource: Resource, item: dict[str, Any], options: dict[str, Any], clock: Clock) -> None:
    """Write into ``item`` that it is to go: at once, after its grace, or earlier than said before (never later)."""
    metadata = item["metadata"]
    if resource is NAMESPACES:
        metadata.setdefault("deletionTimestamp", clock.timestamp())
        item.setdefault("status", {})["phase"] = "Terminating"
        return
    if resource is PODS:
        _mark_pod(item, options.get("gracePeriodSeconds"), clock)
    elif not is_terminating(item):
        metadata.update(deletionTimestamp=clock.timestamp(), deletionGracePeriodSeconds=0)
    finalizer = GC_FINALIZERS.get(options.get("propagationPolicy", ""))
    if finalizer and finalizer not in metadata.get("finalizers", []):
        metadata["finalizers"] = [*metadata.get("finalizers", []), finalizer]


def _mark_pod(pod: dict[str, Any], asked: int | None, clock: Clock) -> None:
    metadata = pod["metadata"]
    if not is_terminating(pod):
        grace = _grace_of(pod, asked)
        deletion = clock.timestamp(clock.now() + grace)
        metadata.update(deletionTimestamp=deletion, deletionGracePeriodSeconds=grace)
        metadata["generation"] = metadata.get("generation", 1) + 1
        return
    given = metadata.get("deletionGracePeriodSeconds", 0)
    shorter = None if asked is None else max(asked, 1) if asked < 0 else asked
    if shorter is not None and shorter < given:
        requested_at = seconds_of(metadata["deletionTimestamp"]) - given
        metadata["deletionTimestamp"] = clock.timestamp(requested_at + shorter)
        metadata["deletionGracePeriodSeconds"] = shorter


def _grace_of(pod: dict[str, Any], asked: int | None) -> int:
    """The pod's own unless asked otherwise; none for a pod that no kubelet has, or that has finished."""
    if not dig(pod, "spec.nodeName") or dig(pod, "status.phase") in FINISHED:
        return 0
    grace = dig(pod, "spec.terminationGracePeriodSeconds", 0) if asked is None else asked
    return 1 if grace < 0 else grace


def may_vanish(resource: Resource, item: dict[str, Any]) -> bool:
    """Marked, no grace left, and nobody holds it by a finalizer: it leaves the store."""
    metadata = item["metadata"]
    if not is_terminating(item) or metadata.get("finalizers"):
        return False
    if resource is NAMESPACES:
        return not dig(item, "spec.finalizers")
    return metadata.get("deletionGracePeriodSeconds", 0) == 0
