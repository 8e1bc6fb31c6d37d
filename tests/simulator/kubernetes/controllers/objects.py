# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading Kubernetes objects as plain JSON: the small questions that every controller asks."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str]  # namespace ("" for what has none) and name

MIRROR = "kubernetes.io/config.mirror"
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


def key_of(obj: Object) -> Key:
    """The namespace and name by which caches and queues know the object."""
    return obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def uid_of(obj: Object) -> str:
    return obj["metadata"]["uid"]


def labels_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def status_of(obj: Object) -> Object:
    return obj.get("status") or {}


def controller_of(obj: Object) -> Object | None:
    """The owner reference with ``controller: true``; an object has at most one."""
    for reference in obj["metadata"].get("ownerReferences") or []:
        if reference.get("controller"):
            return reference
    return None


def owned_by(obj: Object, owner: Object) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == uid_of(owner)


def reference_to(owner: Object) -> Object:
    """The owner reference that a controller puts on what it makes."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def condition(obj: Object, kind: str) -> Object | None:
    """The condition of that type in the object's status."""
    for found in status_of(obj).get("conditions") or []:
        if found["type"] == kind:
            return found
    return None


def condition_is(obj: Object, kind: str, value: str = "True") -> bool:
    found = condition(obj, kind)
    return found is not None and found["status"] == value


def with_condition(obj: Object, now: str, kind: str, value: str, reason: str = "", message: str = "") -> list[Object]:
    """The object's conditions with this one set; ``lastTransitionTime`` moves only when the value changes."""
    before = condition(obj, kind)
    since = before.get("lastTransitionTime", now) if before is not None and before["status"] == value else now
    new = {"type": kind, "status": value, "lastTransitionTime": since}
    if reason:
        new["reason"] = reason
    if message:
        new["message"] = message
    known = status_of(obj).get("conditions") or []
    if before is None:
        return [*known, new]
    return [new if found is before else found for found in known]


def is_terminating(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def phase_of(pod: Object) -> str:
    return status_of(pod).get("phase") or "Pending"


def is_finished(pod: Object) -> bool:
    """The pod ended, well or badly: it runs no more and never again."""
    return phase_of(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """What the workload controllers count: neither finished nor on its way out."""
    return not is_finished(pod) and not is_terminating(pod)


def is_ready(pod: Object) -> bool:
    return condition_is(pod, "Ready")


def node_of(pod: Object) -> str:
    """The name of the node that the pod is bound to; empty while it waits for the scheduler."""
    return pod["spec"].get("nodeName") or ""


def seconds_of(timestamp: str) -> float:
    """Unix seconds of ``2026-11-21T01:02:03Z``, with or without a fraction."""
    text = timestamp.rstrip("Z").split(".")[0]
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc).timestamp()


BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
DECIMAL = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


def quantity(value: str | int | float | None) -> float:
    """``100m``, ``1.5``, ``512Mi`` or a number as a float in base units (cores, bytes)."""
    if value is None:
        return 0.0
    if isinstance(value, (int, float)):
        return float(value)
    if value[-2:] in BINARY:
        return float(value[:-2]) * BINARY[value[-2:]]
    if value[-1:] in DECIMAL:
        return float(value[:-1]) * DECIMAL[value[-1]]
    return float(value)


def scaled(value: int | str, total: int) -> int:
    """A count, or a percentage of ``total`` rounded up (intstr.GetScaledValueFromIntOrPercent)."""
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError(f'invalid value for IntOrString: invalid type: string is not a percentage: "{value}"')
    return -(-total * int(value[:-1]) // 100)
