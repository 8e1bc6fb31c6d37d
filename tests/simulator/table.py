# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table at the end of a demonstration: what was replaced by what, in how long, and the sizes before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(groups: Sequence[dict[str, Any]], speed: float) -> str:
    """What ``summary.as_data`` gave, as text of some 100 columns."""
    lines = [f"{'node group':<11} {'replaced':<55} {'zone':<16} {'min/max/desired':<17}"]
    for group in groups:
        sizes = _sizes(group["before"])
        if tuple(group["before"]) != tuple(group["after"]):
            sizes += f" -> {_sizes(group['after'])}"
        rows = [(_replacement(one), one["zone"]) for one in group["replacements"]] or [("nothing", "")]
        for number, (text, zone) in enumerate(rows):
            first = number == 0
            lines.append(
                f"{group['name'] if first else '':<11} {text:<55} {zone:<16} {sizes if first else ''}".rstrip()
            )
        if group["replacements"]:
            lines.append(f"{'':<11} {_duration(group['seconds'])}, at this clock {group['seconds'] / speed:.0f} s")
    lost = sum(group["lost_pods"] for group in groups)
    lines.append(f"lost pods: {lost}")
    return "\n".join(lines)


def _sizes(sizes: Sequence[int]) -> str:
    return "/".join(str(size) for size in sizes)


def _replacement(one: dict[str, Any]) -> str:
    new = f"{one['new']} (v{one['new_version']})" if one["new"] else "nobody yet"
    by = f" by {one['by']}" if one["by"] else ""
    return f"{one['old']} (v{one['old_version']}) -> {new}{by}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"took {minutes} min {rest:02d} s of the cluster's time"
