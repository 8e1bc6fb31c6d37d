# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From events of the journal to lines for people: short names, one line for many that are alike, colours. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.journal import KINDS
from ansible_collections.evergreen.eks.plugins.module_utils.naming import short_name

# Seconds for which an event waits for others that are alike: with the pause between two looks less than a second.
TOGETHER_SECONDS = 0.5
NAMED = 4
LONGEST = 240
# What colour an event has, where Ansible shows any; the names are those of Ansible's settings COLOR_*.
GOOD, WARNING, BAD = "COLOR_OK", "COLOR_WARN", "COLOR_ERROR"
COLOURS = {
    **dict.fromkeys(("in_sight", "better", "pods_unblocked", "finding_over"), GOOD),
    **dict.fromkeys(("trouble", "lock", "pods_blocked", "pod_forced", "pod_spared", "pods_abandoned"), WARNING),
    **dict.fromkeys(("out_of_sight", "worse", "carried", "volumes_pending", "still_open", "finding"), WARNING),
    **dict.fromkeys(("restart_blocked", "not_restarted"), WARNING),
    **dict.fromkeys(("gate_closed", "last_words"), BAD),
}
OUTCOMES = {"finished": GOOD, "put_back": WARNING, "stopped": WARNING, "failed": BAD}
# A node's name with the domain that AWS gives it, in the middle of a text.
LONG_NAME = re.compile(r"\b(?:ip-\d+(?:-\d+){3}|i-[0-9a-f]{8,17})(?:\.[\w-]+)*\.internal\b")


@dataclass(frozen=True)
class Line:
    """What is shown, and the name of the setting that holds its colour, "" for none."""

    text: str
    colour: str = ""


@dataclass
class Batch:
    """Events that are told in one line."""

    key: tuple[Any, ...]
    arrived: float
    events: list[Mapping[str, Any]] = field(default_factory=list)


class Lines:
    """Collects events, and answers the lines that are due. ``group`` is named where an event names none."""

    def __init__(self, group: str, *, quiet: bool = False) -> None:
        self._group = group
        self._quiet = quiet
        self._pending: list[Batch] = []

    def take(self, event: Mapping[str, Any], now: float) -> None:
        """An event has come; one without text is for machines only."""
        kind = str(event.get("kind", ""))
        if not words(event.get("text")) or (self._quiet and not is_loud(event)):
            return
        if kind == "progress":  # how far it is now is all that counts
            self._pending = [batch for batch in self._pending if batch.key[:2] != (kind, event.get("group"))]
        key = likeness(event)
        alike = next((batch for batch in self._pending if batch.key == key), None) if key[-1] is not None else None
        if alike is None:
            alike = Batch(key, now)
            self._pending.append(alike)
        alike.events.append(event)

    def due(self, now: float, *, last: bool = False) -> list[Line]:
        """The lines to show now: all, in their order, once the first of them has waited for its like."""
        if not self._pending or not (last or now - self._pending[0].arrived >= TOGETHER_SECONDS):
            return []
        ready, self._pending = self._pending, []
        return [line_of(batch.events, self._group) for batch in ready]


def is_loud(event: Mapping[str, Any]) -> bool:
    """Whether it is shown also where people want it quiet."""
    kind = KINDS.get(str(event.get("kind", "")))
    return (kind is not None and kind.loud) or event.get("to") == "not_drained"


def likeness(event: Mapping[str, Any]) -> tuple[Any, ...]:
    """What events about nodes have in common that are told in one line; it ends with None for what stands alone."""
    place = event.get("kind"), event.get("group"), event.get("wave")
    if not subject(event):
        return (*place, None)
    if event.get("kind") == "node_stage":
        return (*place, event.get("to"), event.get("how") or "")
    return (*place, event["text"])


def subject(event: Mapping[str, Any]) -> str:
    """The node, or else the instance, that an event is about; "" for none."""
    return short_name(str(event.get("node") or "")) or str(event.get("instance") or "")


def line_of(events: list[Mapping[str, Any]], group: str = "") -> Line:
    """One line: time of day (UTC), group, wave, node, and what happened."""
    event, many = events[-1], len({subject(event) for event in events}) > 1
    time_of_day = str(event.get("time", "")).partition("T")[2]
    wave = f"wave {event['wave']}/{event['waves']}" if event.get("wave") and event.get("waves") else ""
    head = " ".join(part for part in (time_of_day, f"[{event.get('group') or group}]", wave) if part)
    what = told_together(events) if many else "  ".join(part for part in (subject(event), words(event["text"])) if part)
    text = f"   {head}{'  ' if wave or subject(event) else ' '}{what}{so_far(event)}"
    return Line(text if len(text) <= LONGEST else f"{text[: LONGEST - 3].rstrip()}...", colour_of(event))


def told_together(events: list[Mapping[str, Any]]) -> str:
    """C(12 nodes drained: ip-10-20-0-4, ip-10-20-0-5 and 10 more)."""
    names = sorted({subject(event) for event in events})
    texts = {words(event["text"]) for event in events}
    what = texts.pop() if len(texts) == 1 else str(events[0].get("to", "")).replace("_", " ")
    things = "nodes" if all(event.get("node") for event in events) else "instances"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} {things} {what}: {', '.join(names[:NAMED])}{more}"


def so_far(event: Mapping[str, Any]) -> str:
    """C( (7/12 nodes, 96/140 pods)) behind what happened to one of several nodes."""
    nodes, pods = event.get("nodes"), event.get("pods_total")
    if event.get("kind") != "node_stage" or not isinstance(nodes, int) or nodes < 2:
        return ""
    more = f", {event.get('pods_done')}/{pods} pods" if pods else ""
    return f" ({event.get('nodes_done')}/{nodes} nodes{more})"


def words(text: Optional[object]) -> str:
    """A text of others on one line, with short names, and nothing in it that a terminal would obey."""
    plain = "".join(letter if letter.isprintable() else " " for letter in str(text or ""))
    return LONG_NAME.sub(lambda name: short_name(name[0]), " ".join(plain.split()))


def colour_of(event: Mapping[str, Any]) -> str:
    kind = str(event.get("kind", ""))
    if kind == "run_ended":
        return OUTCOMES.get(str(event.get("outcome")), "")
    if kind == "floor":
        return GOOD if event.get("holds") else WARNING
    if kind == "verified":
        return GOOD if event.get("healthy") else BAD
    return WARNING if event.get("to") == "not_drained" else COLOURS.get(kind, "")
