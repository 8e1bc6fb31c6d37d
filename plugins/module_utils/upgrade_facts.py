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
    NODES: ("reports", "run_id", "journal", "outcome", "image"),
}
MOST_LINES = 40


def facts_of(part: Part, result: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a part, from what its role has answered: C(lines) are for people."""
    facts = {name: result[name] for name in KEPT.get(part.name, ()) if result.get(name)}
    if part.name == ADDONS:
        facts["addons"] = _addon_versions(result)
    return {**facts, "lines": _lines(result.get("summary"))[:MOST_LINES]}


def _addon_versions(result: Mapping[str, Any]) -> dict[str, str]:
    """The version of each managed add-on, by name: whether they still have it is what proves the part done."""
    found = result.get("addons")
    entries = found if isinstance(found, list) else []
    return {
        str(entry["name"]): str(entry["version"])
        for entry in entries
        if isinstance(entry, Mapping) and entry.get("name") and entry.get("version")
    }


def _lines(said: Any) -> list[str]:
    if isinstance(said, str):
        return [line for line in said.splitlines() if line.strip()]
    return [str(line) for line in said] if isinstance(said, (list, tuple)) else []
