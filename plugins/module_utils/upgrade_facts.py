# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept, and told, of what the roles of an upgrade answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.course import ADDONS, CONTROL_PLANE, NODES, Part

#: facts worth keeping as they are, by the part that they are of
KEPT = {
    CONTROL_PLANE: ("version_before", "version", "rollback_until", "updates"),
    NODES: ("reports", "run_id", "journal", "outcome"),
}
MOST_LINES = 40


def facts_of(part: Part, result: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a part, from what its role has answered: C(lines) are for people.

    For node groups that is of two roles, C(rollout) and C(image).
    """
    told = result
    if part.name == NODES:
        told = result.get("rollout") or {}
    facts = {name: told[name] for name in KEPT.get(part.name, ()) if told.get(name)}
    lines = _lines(told.get("summary"))
    if part.name == ADDONS:
        facts["addons"], lines = _addon_versions(result), _addon_lines(result)
    if part.name == NODES:
        lines = [*_lines((result.get("image") or {}).get("summary")), *lines]
    return {**facts, "lines": lines[:MOST_LINES]}


def _addon_versions(result: Mapping[str, Any]) -> dict[str, str]:
    """The version of each managed add-on, by name: whether they still have it is what proves the part done."""
    return {
        str(one["name"]): str(one["version"]) for one in _addons(result) if one.get("managed") and one.get("version")
    }


def _addon_lines(result: Mapping[str, Any]) -> list[str]:
    """`vpc-cni v1.19.2-eksbuild.1 -> v1.20.4-eksbuild.2`, one line each."""
    lines = []
    for one in _addons(result):
        before, now = one.get("version_before") or "", one.get("version") or ""
        way = f"{before} -> {now}" if one.get("changed") and before != now else now or before
        rest = [way, "" if one.get("managed") else "self-managed", str(one.get("note") or "")]
        lines.append(f"{one['name']} {', '.join(filter(None, rest))}")
    return lines


def _addons(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = result.get("addons")
    entries = found if isinstance(found, list) else []
    return [one for one in entries if isinstance(one, Mapping) and one.get("name")]


def _lines(said: Any) -> list[str]:
    if isinstance(said, str):
        return [line for line in said.splitlines() if line.strip()]
    return [str(line) for line in said] if isinstance(said, (list, tuple)) else []
