# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept, and told, of what the roles of an upgrade answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.course import (
    ADDONS,
    CONTROL_PLANE,
    FARGATE,
    NODES,
    VERIFY,
    Part,
)

#: facts worth keeping as they are, by the part that they are of
KEPT = {
    CONTROL_PLANE: ("version_before", "version", "rollback_until", "rollback_version", "ignored_insights"),
    VERIFY: ("checks", "numbers"),
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
    if part.name == CONTROL_PLANE:
        lines = _control_plane_lines(result)
    if part.name == FARGATE:
        lines = _restart_lines(result)
    if part.name == VERIFY:
        lines = _finding_lines(result)
    if part.name == ADDONS:
        facts["addons"], lines = _addon_versions(result), _addon_lines(result)
    if part.name == NODES:
        lines = [*_lines((result.get("image") or {}).get("summary")), *lines]
    return {**facts, "lines": lines[:MOST_LINES]}


def _control_plane_lines(result: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{step.get('from')} -> {step.get('to')} in {step.get('seconds')} s"
        f"{', begun before' if step.get('joined') else ''} (update {step.get('update_id')})"
        for step in _dicts(result.get("steps"))
    ]
    if result.get("rollback_until"):
        lines.append(f"EKS lets it be rolled back to {result.get('rollback_version')} until {result['rollback_until']}")
    if result.get("ignored_insights"):
        lines.append(f"insights in error that were passed over: {', '.join(map(str, result['ignored_insights']))}")
    return lines


def _restart_lines(result: Mapping[str, Any]) -> list[str]:
    """`Deployment batch/reports: restarted, 2 of 2 pods Ready`, and what was left alone."""
    done = [
        f"{one.get('kind')} {one.get('namespace')}/{one.get('name')}: {one.get('state')}, {one.get('ready')} of "
        f"{one.get('wanted')} pods Ready"
        for one in _dicts(result.get("workloads"))
    ]
    left = [f"{one.get('object')}: left alone ({one.get('reason')})" for one in _dicts(result.get("left"))]
    return [*done, *left]


def _finding_lines(result: Mapping[str, Any]) -> list[str]:
    """What was found and did not make it fail."""
    found = [f"{one.get('severity')}: {one.get('message')}" for one in _dicts(result.get("findings"))]
    passed = [name for name, state in (result.get("checks") or {}).items() if state in ("ok", "warning")]
    return [*found, f"{len(passed)} checks passed: {', '.join(passed)}"] if passed else found


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
    return [one for one in _dicts(result.get("addons")) if one.get("name")]


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _lines(said: Any) -> list[str]:
    if isinstance(said, str):
        return [line for line in said.splitlines() if line.strip()]
    return [str(line) for line in said] if isinstance(said, (list, tuple)) else []
