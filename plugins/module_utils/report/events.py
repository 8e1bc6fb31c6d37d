# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal, read: the events of one run, whatever else stands in the file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Mapping, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.cleaning import without_secrets
from ansible_collections.evergreen.eks.plugins.module_utils.journal import event_in
from ansible_collections.evergreen.eks.plugins.module_utils.moments import TIMESTAMP, parse_timestamp

NEWEST_SCHEMA = 2  # newer lines are read as far as they go
# The first lines of a run, and its last ones, in journals of schema 1.
BEGUN_BEFORE = ("reserve", "abandon")
ENDED_BEFORE = {"finished": "finished", "failed": "failed"}


@dataclass(frozen=True)
class Event:
    """One line of a journal. C(at): seconds since 1970. Fields of an unexpected type are answered as if they were not
    there, for the writer may be of another release."""

    at: float
    kind: str
    run: str
    fields: Mapping[str, Any]

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        return without_secrets(value) if isinstance(value, str) else str(value) if isinstance(value, int) else ""

    def number(self, name: str) -> Optional[int]:
        value = self.seconds(name)
        return None if value is None else int(value)

    def seconds(self, name: str) -> Optional[float]:
        value = self.fields.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return None
        with suppress(OverflowError):  # JSON's numbers have no end
            value = float(value)
            return value if math.isfinite(value) else None
        return None

    def flag(self, name: str) -> bool:
        return self.fields.get(name) is True

    def names(self, name: str) -> tuple[str, ...]:
        """A list of texts; of records, what each says or is about."""
        value = self.fields.get(name)
        if not isinstance(value, (list, tuple)):
            return ()
        words = [
            (
                next((item[key] for key in ("message", "object", "instance") if item.get(key)), "")
                if isinstance(item, Mapping)
                else item
            )
            for item in value
        ]
        return tuple(without_secrets(str(word)) for word in words if word)

    def numbers(self, name: str) -> dict[str, int]:
        value = self.fields.get(name)
        if not isinstance(value, Mapping):
            return {}
        return {str(key): one for key, one in value.items() if isinstance(one, int) and not isinstance(one, bool)}


def each_event(lines: Iterable[str]) -> Iterator[Event]:
    """The events of these lines, in their order. What is torn, or no event, is passed over.

    An event that names no run belongs to the one that was named last.
    """
    run = ""
    for line in lines:
        event = as_event(line, run)
        if event is not None:
            run = event.run
            yield event


def read_events(lines: Iterable[str]) -> list[Event]:
    """All of them at once: of a journal that is small."""
    return list(each_event(lines))


def events_of(lines: Iterable[str], run: str) -> list[Event]:
    """The events of this run. A journal holds all runs of its group: the lines of others are not even decoded."""
    return [event for event in each_event(_about(lines, run)) if event.run == run]


def _about(lines: Iterable[str], run: str) -> Iterator[str]:
    """The lines that name the run, and those behind them up to the first that names another one."""
    name = json.dumps(run)
    ours = False
    for line in lines:
        if name in line:
            ours = True
            yield line
        elif ours:
            yield line
            event = as_event(line, run)
            ours = event is None or event.run == run


def as_event(line: str, run: str = "") -> Optional[Event]:
    fields = event_in(line)
    if fields is None or not isinstance(fields.get("kind"), str):
        return None
    at = seconds_of(fields.get("time"))
    if at is None:
        return None
    own = fields.get("run")
    event = Event(at, fields["kind"], own if isinstance(own, str) and own else run, fields)
    return event if fields.get("schema", 1) != 1 else of_schema_1(event)


def of_schema_1(event: Event) -> Event:
    """The event as schema 2 would have it, where it is one of those that begin or end a run."""
    if event.kind in BEGUN_BEFORE:
        return replace(event, kind="run_begun")
    if event.kind in ENDED_BEFORE:
        return replace(event, kind="run_ended", fields={**event.fields, "outcome": ENDED_BEFORE[event.kind]})
    if event.kind == "picture":
        numbers = {name: value for name, value in event.fields.items() if isinstance(value, int) and name != "schema"}
        return replace(event, kind="picture_taken", fields={**event.fields, "numbers": numbers})
    return event


def last_run(events: Iterable[Event]) -> str:
    """The run that began last, "" where none did."""
    run = ""
    for event in events:
        if event.kind == "run_begun":
            run = event.run
    return run


def seconds_of(timestamp: Any) -> Optional[float]:
    """Seconds since 1970 of C(2026-11-21T01:02:03Z); None for anything else."""
    return _seconds_of(timestamp) if isinstance(timestamp, str) else None


@lru_cache(maxsize=4096)  # many events of a large rollout share their second
def _seconds_of(timestamp: str) -> Optional[float]:
    moment = parse_timestamp(timestamp)
    return None if moment is None else moment.timestamp()


def timestamp_of(seconds: Optional[float]) -> str:
    """The other way round; "" for None."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime(TIMESTAMP)
