# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods that a run has forced by its escalation, from the group's journal: there each stands before it is touched.

The checkpoint keeps what was found, because the journal of a run that goes on elsewhere (AWX) is another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.drain.forcing import FORCED, NOT_FORCED
from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.journal import event_in

# What is kept of an event.
FIELDS = ("time", "node", "pod", "uid", "action", "after", "budgets")
NAMED = 3


def note_forced(checkpoint: Checkpoint, journal: Path) -> None:
    """Have the checkpoint know whom its run has forced by now."""
    checkpoint.forced = merged(checkpoint.forced, read_forced(journal, checkpoint.started))


def read_forced(journal: Path, since: str) -> list[dict[str, Any]]:
    """Who was forced since then; nobody where there is no journal. What is torn or not ours in it is passed over."""
    try:
        with journal.open(encoding="utf-8", errors="replace") as lines:
            events = [_event(line) for line in lines if FORCED in line or NOT_FORCED in line]
    except OSError:
        return []
    return happened(event for event in events if event and event["time"] >= since)


def happened(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was announced and not taken back, one entry for each pod and action."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events:
        key = event["uid"], event["action"]
        if event["kind"] == FORCED:
            found.setdefault(key, {name: event.get(name) for name in FIELDS})
        else:
            found.pop(key, None)
    return list(found.values())


def merged(known: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Both, each pod and action once, by time."""
    every = {(one["uid"], one["action"]): dict(one) for one in (*found, *known)}
    return sorted(every.values(), key=lambda one: (one["time"], one["pod"]))


def in_words(forced: Sequence[Mapping[str, Any]]) -> str:
    """`2 pods were forced: shop/web-1 (delete), shop/web-2 (force)`; empty where none was."""
    if not forced:
        return ""
    pods = len({one["uid"] for one in forced})
    named = ", ".join(f"{one['pod']} ({one['action']})" for one in forced[:NAMED])
    more = f" and {len(forced) - NAMED} more" if len(forced) > NAMED else ""
    return f"{counted(pods, 'pod')} {'was' if pods == 1 else 'were'} forced: {named}{more}"


def _event(line: str) -> dict[str, Any] | None:
    event = event_in(line)
    ours = event is not None and event.get("kind") in (FORCED, NOT_FORCED)
    return event if ours and all(name in event for name in ("time", "uid", "action")) else None
