# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The time of the rehearsal world: it may run faster than ours, and a test may push it ahead."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone


class Clock:
    """World time in unix seconds. It starts at the real time and then runs ``speed`` times as fast.

    Everything in the world that takes time (booting, terminating, settling) is due at a moment of this clock, and
    nothing in the world sleeps for long, so that ``advance`` makes it happen at once.
    """

    def __init__(self, speed: float = 1.0, start: float | None = None):
        if speed < 0:
            raise ValueError("the speed of the world's clock must be zero (only advance() moves it) or more")
        self.speed = speed
        self._began_real = time.monotonic()
        self._began_world = time.time() if start is None else start
        self._lock = threading.Lock()

    def now(self) -> float:
        """World time in unix seconds."""
        with self._lock:
            return self._began_world + (time.monotonic() - self._began_real) * self.speed

    def timestamp(self, at: float | None = None) -> str:
        """``at`` (unix seconds of the world; default now) the way Kubernetes writes it: ``2026-11-21T01:02:03Z``."""
        moment = datetime.fromtimestamp(self.now() if at is None else at, timezone.utc)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def datetime(self, at: float | None = None) -> datetime:
        """The same moment as a datetime in UTC, the way AWS's answers carry it."""
        return datetime.fromtimestamp(self.now() if at is None else at, timezone.utc)

    def real(self, world_seconds: float) -> float:
        """How many of our seconds that many seconds of the world take (infinity when the clock stands still)."""
        return world_seconds / self.speed if self.speed else float("inf")

    def advance(self, world_seconds: float) -> None:
        """Push the world's time ahead."""
        if world_seconds < 0:
            raise ValueError("the world's time cannot run backwards")
        with self._lock:
            self._began_world += world_seconds

    def set_speed(self, speed: float) -> None:
        """Go on from now at another speed."""
        with self._lock:
            now_real = time.monotonic()
            self._began_world += (now_real - self._began_real) * self.speed
            self._began_real = now_real
            self.speed = speed
