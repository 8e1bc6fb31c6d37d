# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server says about itself: version, health, and which resources it serves."""

from __future__ import annotations

from typing import Any

from simulator.kubernetes.errors import no_such_path
from simulator.kubernetes.resources import PODS, RESOURCES, VERBS, Resource

HEALTH = ("/readyz", "/livez", "/healthz")
# Open to everybody, also without a token (ClusterRole system:public-info-viewer).
PUBLIC = ("/version", *HEALTH)
# Subresources that are of another kind than their object.
KINDS = {
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
    "scale": ("autoscaling", "v1", "Scale"),
}
SUBRESOURCE_VERBS = {"eviction": ("create",), "binding": ("create",), "finalize": ("update",)}


def version_info(version: str) -> dict[str, str]:
    """/version for a server of that minor version (``1.33``): all fields, since typed clients insist on them."""
    major, minor = version.split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": f"v{major}.{minor}.0-eks-rehearsal",
        "gitCommit": "0" * 40,
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "go1.25",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


def answer(path: str, version: str) -> dict[str, Any] | bytes:
    """The answer to a path that is not a resource; ApiError 404 for one that is not served."""
    path = path.rstrip("/")
    if path in HEALTH:
        return b"ok"
    if path == "/version":
        return version_info(version)
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in _groups()]}
    if path == "/api/v1":
        return _resource_list("v1")
    parts = path.split("/")[1:]
    if parts[0] == "apis" and len(parts) == 2 and parts[1] in _groups():
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1])}
    if parts[0] == "apis" and len(parts) == 3:
        return _resource_list(f"{parts[1]}/{parts[2]}")
    raise no_such_path()


def _groups() -> list[str]:
    served = [resource.group for resource in RESOURCES if resource.group]
    return list(dict.fromkeys([*served, "authorization.k8s.io"]))


def _group(name: str) -> dict[str, Any]:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resource_list(group_version: str) -> dict[str, Any]:
    entries = [entry for resource in RESOURCES if resource.api_version == group_version for entry in _entries(resource)]
    if group_version == "authorization.k8s.io/v1":
        entries = [_entry("selfsubjectaccessreviews", "SelfSubjectAccessReview", False, ("create",))]
    if not entries:
        raise no_such_path()
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def _entries(resource: Resource) -> list[dict[str, Any]]:
    main = _entry(resource.plural, resource.kind, resource.namespaced, VERBS)
    main["singularName"] = resource.kind.lower()
    if resource.short:
        main["shortNames"] = list(resource.short)
    if resource is PODS:
        main["categories"] = ["all"]
    entries = [main]
    for name in resource.subresources:
        verbs = SUBRESOURCE_VERBS.get(name, ("get", "patch", "update"))
        entry = _entry(f"{resource.plural}/{name}", resource.kind, resource.namespaced, verbs)
        if name in KINDS:
            entry["group"], entry["version"], entry["kind"] = KINDS[name]
        entries.append(entry)
    return entries


def _entry(name: str, kind: str, namespaced: bool, verbs: tuple[str, ...]) -> dict[str, Any]:
    return {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": list(verbs)}
