# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Durations and timestamps as people and Kubernetes write them, and what time it is at the API server."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
TIMESTAMP = "%Y-%m-%dT%H:%M:%SZ"
RUN_TIMESTAMP = "%Y%m%dT%H%M%S"


def parse_duration(text: Any) -> int:
    """Seconds of "90s", "30m", "12h", "7d", "1d12h" or a plain number of seconds. Raises InvalidInput."""
    value = str(text).strip().lower()
    if re.fullmatch(r"\d+", value):
        return int(value)
    if not re.fullmatch(r"(\d+[smhdw])+", value):
        raise InvalidInput(f"'{text}' is not a duration", remedy="Give one such as 90s, 30m, 12h, 7d or 1d12h")
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", value))


def parse_go_duration(text: str) -> Optional[float]:
    """Seconds of what Go's C(time.ParseDuration) reads, such as C(1h30m) or C(1.5h), where it is more than 0."""
    if not re.fullmatch(r"\+?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+", text):
        return None
    parts = re.findall(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)", text)
    return sum(float(number) * GO_UNITS[unit] for number, unit in parts) or None


def parse_timestamp(text: str) -> Optional[datetime]:
    """The moment of C(2026-11-21T01:02:03Z), in UTC; None for anything else."""
    try:
        return datetime.strptime(text, TIMESTAMP).replace(tzinfo=timezone.utc)
    except (TypeError, ValueError):
        return None


def timestamp_of(moment: datetime) -> str:
    """The same the other way round."""
    return moment.astimezone(timezone.utc).strftime(TIMESTAMP)


def time_of(clock: Any) -> datetime:
    """What time it is by this clock, in UTC, to the second."""
    return parse_timestamp(clock.timestamp()) or datetime.now(timezone.utc)


def run_began(run_id: str) -> Optional[datetime]:
    """The moment in the id of a run, C(20261121T010203-4f2a9c), in UTC; None where there is none in it."""
    try:
        return datetime.strptime(run_id.partition("-")[0], RUN_TIMESTAMP).replace(tzinfo=timezone.utc)
    except ValueError:
        return None


class ServerTime:
    """What time it is at an API server, by the C(Date) of its latest answer (every answer of Go's net/http has one).

    What stands on objects, such as C(creationTimestamp), is of that clock, and so is what we write on them: whoever
    goes on with it may be another controller with another clock. Until the server has answered it is our own clock.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._heard: Optional[tuple[datetime, float]] = None

    def hear(self, date: Optional[str]) -> None:
        """An answer has come, with this header C(Date)."""
        try:
            self._heard = (parsedate_to_datetime(date or ""), self._clock.now())
        except (TypeError, ValueError):
            return

    def now(self) -> datetime:
        """In UTC, to the second."""
        heard = self._heard
        if heard is None:
            return parse_timestamp(self._clock.timestamp()) or datetime.now(timezone.utc)
        date, at = heard
        return date.astimezone(timezone.utc) + timedelta(seconds=self._clock.now() - at)

    def timestamp(self) -> str:
        """The same as C(2026-11-21T01:02:03Z)."""
        return timestamp_of(self.now())

    def seconds_until(self, moment: datetime) -> float:
        """Seconds from now until that moment; negative where it has passed."""
        return (moment - self.now()).total_seconds()
