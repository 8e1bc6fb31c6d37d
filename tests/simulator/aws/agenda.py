# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cloud is going to do later: actions, each due at a moment of the world's clock.

No thread waits for them. Whoever looks at the cloud (a request, the world's ticker, a test) first lets everything
happen that is due by now, in the order of its due times and, as it were, at those times.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from simulator.clock import Clock


@dataclass(order=True)
class Due:
    """One thing to do; ``cancel`` it when it no longer applies."""

    at: float
    number: int
    action: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """It must not happen any more."""
        self.cancelled = True


class Agenda:
    """A list of things that are due later. Not locked: the cloud's own lock protects it."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._heap: list[Due] = []
        self._numbers = itertools.count()
        self._moment: float | None = None

    def now(self) -> float:
        """The world's time; while something overdue happens, the time at which it was due."""
        return self._clock.now() if self._moment is None else self._moment

    def datetime(self) -> datetime:
        """The same, as AWS's answers carry it."""
        return self._clock.datetime(self.now())

    def timestamp(self) -> str:
        """The same, as AWS's texts carry it."""
        return self._clock.timestamp(self.now())

    def after(self, seconds: float, action: Callable[[], None]) -> Due:
        """Do this in so many seconds of the world."""
        due = Due(self.now() + seconds, next(self._numbers), action)
        heapq.heappush(self._heap, due)
        return due

    def run(self) -> int:
        """Let happen what is due, and what follows from it if that is due as well. Returns how much happened."""
        happened = 0
        now = self._clock.now()
        while self._heap and self._heap[0].at <= now:
            due = heapq.heappop(self._heap)
            if due.cancelled:
                continue
            self._moment = due.at
            try:
                due.action()
            finally:
                self._moment = None
            happened += 1
        return happened
