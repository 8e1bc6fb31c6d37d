# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three ways to patch an object: JSON merge patch, strategic merge patch, JSON patch.

All three are pure: they return the patched object and leave both arguments alone. Sources: RFC 7386, RFC 6902, and for
the strategic one the ``patchStrategy`` and ``patchMergeKey`` marks of k8s.io/api.
"""

from __future__ import annotations

import copy
from typing import Any

from simulator.kubernetes.errors import ApiError, bad_request

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"

# Lists that a strategic patch merges, and by which key. All others are replaced as a whole: note that spec.taints and
# tolerations are among those, since they never got a merge key.
MERGE_KEYS = {
    "addresses": "type",
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
MERGED_PRIMITIVES = ("finalizers",)


def apply_patch(kind: str, current: dict[str, Any], patch: Any) -> dict[str, Any]:
    """``current`` with ``patch`` applied; ``kind`` is the content type. ApiError 400, 415 or 422."""
    if kind == JSON:
        if not isinstance(patch, list):
            raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type Patch")
        return json_patch(current, patch)
    if kind not in (MERGE, STRATEGIC):
        supported = ", ".join((JSON, MERGE, STRATEGIC))
        message = f"the body of the request was in an unknown format - accepted media types include: {supported}"
        raise ApiError(415, "UnsupportedMediaType", message)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: the patch must be an object")
    return merge_patch(current, patch) if kind == MERGE else strategic_patch(current, patch)


def merge_patch(current: Any, patch: Any) -> Any:
    """RFC 7386: objects merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def strategic_patch(current: Any, patch: Any) -> Any:
    """Kubernetes' own merge: like a merge patch, but lists with a merge key are merged item by item."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    result = copy.deepcopy(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.split("/", 1)[1]
            result[name] = [item for item in result.get(name) or [] if item not in value]
        elif key == "$retainKeys":
            result = {name: kept for name, kept in result.items() if name in value}
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, list):
            result[key] = _strategic_list(key, result.get(key) or [], value)
        else:
            result[key] = strategic_patch(result.get(key), value)
    return result


def _strategic_list(name: str, current: list[Any], patch: list[Any]) -> list[Any]:
    if name in MERGED_PRIMITIVES:
        return current + [item for item in patch if item not in current]
    merge_key = _merge_key(name, patch)
    if merge_key is None or any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [copy.deepcopy(item) for item in patch if not (isinstance(item, dict) and "$patch" in item)]
    merged = {item.get(merge_key): item for item in current}
    for item in patch:
        if merge_key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {merge_key}")
        if item.get("$patch") == "delete":
            merged.pop(item[merge_key], None)
        else:
            merged[item[merge_key]] = strategic_patch(merged.get(item[merge_key]), item)
    return list(merged.values())


def _merge_key(name: str, patch: list[Any]) -> str | None:
    key = MERGE_KEYS.get(name)
    if key is None or not all(isinstance(item, dict) for item in patch):
        return None
    # The ports of a Service merge by "port", those of a container by "containerPort".
    return "port" if name == "ports" and any("port" in item for item in patch) else key


def json_patch(current: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """RFC 6902. A failing test or a path that is not there refuses the whole patch: ApiError 422."""
    result = copy.deepcopy(current)
    for operation in operations:
        try:
            _apply_operation(result, operation)
        except (KeyError, IndexError, TypeError, ValueError):
            message = "the server rejected our request due to an error in our request"
            raise ApiError(422, "Invalid", message) from None
    return result


def _apply_operation(result: Any, operation: dict[str, Any]) -> None:
    kind, path = operation["op"], _pointer(operation["path"])
    if kind == "test":
        if _at(result, path) != operation["value"]:
            raise ValueError(path)
    elif kind == "add":
        _add(result, path, copy.deepcopy(operation["value"]))
    elif kind == "replace":
        _at(result, path)
        _remove(result, path)
        _add(result, path, copy.deepcopy(operation["value"]))
    elif kind == "remove":
        _remove(result, path)
    elif kind in ("copy", "move"):
        source = _pointer(operation["from"])
        value = copy.deepcopy(_at(result, source))
        if kind == "move":
            _remove(result, source)
        _add(result, path, value)
    else:
        raise ValueError(kind)


def _pointer(path: str) -> list[str]:
    if not path.startswith("/"):
        raise ValueError(path)
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _at(value: Any, path: list[str]) -> Any:
    for part in path:
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def _add(result: Any, path: list[str], value: Any) -> None:
    parent, last = _at(result, path[:-1]), path[-1]
    if not isinstance(parent, list):
        parent[last] = value
        return
    position = len(parent) if last == "-" else int(last)
    if position > len(parent):
        raise IndexError(last)
    parent.insert(position, value)


def _remove(result: Any, path: list[str]) -> None:
    parent, last = _at(result, path[:-1]), path[-1]
    del parent[int(last) if isinstance(parent, list) else last]
