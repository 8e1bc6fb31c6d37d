# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as lines of at most 100 characters (ASCII), for a terminal, a log and AWX. Pure."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.naming import short_names

WIDTH = 100
MARGIN = "   "
GAP = "  "
NODES_SHOWN = 200  # of more only the first of each wave: the data has them all
FIRST_OF_A_WAVE = 3
WAVES_SHOWN = 40
BLOCKED_SHOWN = 10


def table(plan: Mapping[str, Any]) -> list[str]:
    """The lines; none where nobody is to be replaced."""
    if not plan.get("remaining"):
        return []
    blocks = [
        _nodes(plan),
        _sizes(plan),
        _addresses(plan.get("addresses") or {}),
        _pods(plan),
        _duration(plan),
    ]
    return [line for block in blocks if block for line in (*(_margin(block)), "")]


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 5 min`, `2 d 4 h`."""
    whole = int(round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes = (whole + 30) // 60
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def age(seconds: float | None) -> str:
    """`41d`, `5h`, `12m`, or `-`."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or (unit == "m"):
            return f"{int(seconds // size)}{unit}"
    return "-"


def grid(header: Sequence[str], rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """The rows under their header, in columns as wide as they need; those in `right` stand to the right."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    to_the_right = set(right)
    return [
        GAP.join(
            text.rjust(width) if column in to_the_right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in (header, *rows)
    ]


# --- the blocks ----------------------------------------------------------------------------------------------------


def _nodes(plan: Mapping[str, Any]) -> list[str]:
    """Who goes, in which wave, and why."""
    ahead = [entry for entry in plan["selected"] if not entry["finished"]]
    order = {name: place for place, name in enumerate(name for wave in plan["waves"] for name in wave["expected"])}
    ahead.sort(key=lambda entry: (order.get(entry["instance_id"], len(order)), entry["instance_id"]))
    shown, hidden = _shown(ahead)
    nodes = short_names(entry["node"] for entry in ahead)
    rows = [
        [
            str(entry["expected_wave"] or "-"),
            nodes.get(entry["node"], "(no node)"),
            entry["zone"],
            age(entry["age_seconds"]),
            "-" if entry["moves"] is None else str(len(entry["moves"])),
            entry["instance_id"],
            entry["why"],
        ]
        for entry in shown
    ]
    header, right = ["wave", "node", "zone", "age", "pods", "instance", "why"], (0, 3, 4)
    if not plan.get("rehearsed"):  # nobody has counted pods
        rows, header, right = [[*row[:4], *row[5:]] for row in rows], [*header[:4], *header[5:]], (0, 3)
    lines = grid(header, rows, right)
    room = WIDTH - len(MARGIN)
    lines = [line if len(line) <= room else f"{line[: room - 2]}.." for line in lines]
    if hidden:
        lines.append(f"and {hidden} more: the variable rollout_result has them all, and a plan file (eks_plan_file)")
    return lines


def _shown(entries: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], int]:
    """Those of a small group; of a large one the first few of each wave."""
    if len(entries) <= NODES_SHOWN:
        return list(entries), 0
    seen: Counter[int] = Counter()
    shown = []
    for entry in entries:
        seen[entry["expected_wave"]] += 1
        if seen[entry["expected_wave"]] <= FIRST_OF_A_WAVE and len(shown) < NODES_SHOWN:
            shown.append(entry)
    return shown, len(entries) - len(shown)


def _sizes(plan: Mapping[str, Any]) -> list[str]:
    """The group at every step."""
    sizes, own = plan["sizes"], plan["own_size"]
    rows = [["now", "", str(sizes["desired_capacity"]), str(sizes["max_size"]), str(plan["held"] or ""), "", ""]]
    ahead = [wave for wave in plan["waves"] if not wave["finished"] and wave["expected"]]
    for wave in ahead[:WAVES_SHOWN]:
        label = f"wave {wave['number']} of {len(plan['waves'])}"
        begun = ", in hand" if wave["number"] in plan["in_hand"] else ""
        rows.append(
            [
                label + begun,
                str(len(wave["expected"])),
                str(wave["desired_capacity"]),
                str(wave["max_size"]),
                str(wave["extra"]),
                str(wave["floor"]),
                duration(wave["seconds"]),
            ]
        )
    if len(ahead) > WAVES_SHOWN:
        rows.append([f"and {len(ahead) - WAVES_SHOWN} more", "", "", "", "", "", ""])
    rows.append(["end", "", str(own), str(plan["max_size_after"]), "", "", ""])
    header = ["step", "leave", "desired", "max", "extra", "Ready at least", "about"]
    return grid(header, rows, right=(1, 2, 3, 4, 5, 6))


def _addresses(addresses: Mapping[str, Any]) -> list[str]:
    """What the extra instances take, against what there is."""
    if not addresses:
        return []
    rows = [
        [
            zone["zone"],
            str(zone["extra_instances"]),
            str(zone["addresses_needed"]),
            "unknown" if zone["addresses_free"] is None else str(zone["addresses_free"]),
            {None: "", True: "", False: "TOO FEW"}[zone["enough"]],
        ]
        for zone in addresses["zones"]
    ]
    lines = grid(["zone", "extra at most", "addresses needed", "free", ""], rows, right=(1, 2, 3))
    lines += _wrapped(f"Addresses are estimated: {addresses['assumption']}.")
    if addresses["enough"] is None and addresses["subnets"]:
        lines += _wrapped("Free addresses are unknown: allow ec2:DescribeSubnets to see them.")
    elif addresses["enough"] is None:
        lines += _wrapped("Free addresses are unknown: the group names no subnets.")
    return lines


def _pods(plan: Mapping[str, Any]) -> list[str]:
    """How many pods move, who is in the way, and what to do about that."""
    if not plan.get("rehearsed"):
        return []
    moves = sum(len(entry["moves"] or ()) for entry in plan["selected"] if not entry["finished"])
    blocked = plan["blocked"]
    if not blocked:
        return [f"{counted(moves, 'pod')} would move, and nothing would block them now"]
    lines = [f"{counted(moves, 'pod')} would move; as things are now {len(blocked)} would be blocked:"]
    alike: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in blocked:
        key = _nameless(entry, entry["cause"] or entry["message"]), _nameless(entry, entry["remedy"])
        alike.setdefault(key, []).append(entry)
    for (cause, remedy), entries in list(alike.items())[:BLOCKED_SHOWN]:
        more = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
        lines += _wrapped(f"{entries[0]['pod']}{more}: {cause}", first="  ", rest="    ")
        lines += _wrapped(f"to do: {remedy}", first="    ", rest="    ") if remedy else []
    if len(alike) > BLOCKED_SHOWN:
        lines.append(f"  and {len(alike) - BLOCKED_SHOWN} other causes: rollout_result.blocked has them all")
    return lines


def _nameless(entry: Mapping[str, Any], text: str) -> str:
    """The same for all pods that are alike: a pod's own name stands before it anyway."""
    return text.replace(f"pod {entry['pod']}", "the pod").replace(entry["pod"], "the pod")


def _duration(plan: Mapping[str, Any]) -> list[str]:
    return _wrapped(f"Expected to take about {duration(plan['expected_seconds'])} ({plan['pace']['text']}).")


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH - len(MARGIN),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=True,
        break_on_hyphens=False,
    )


def _margin(lines: Iterable[str]) -> list[str]:
    return [f"{MARGIN}{_printable(line)}"[:WIDTH].rstrip() for line in lines]


def _printable(text: str) -> str:
    """In ASCII, without what a terminal would obey to: names and messages are others' words."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)
