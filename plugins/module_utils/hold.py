# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local word on a run's lock: a small file that says until when the lock is known to be held, and its guard.

Only the keeper (module_utils/keeper.py) speaks with the Kubernetes API about the lock; every other process of the run
reads this file before each change. The file holds no secret.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any, Callable

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.process import Process

# Others take over after the whole duration; the rest is for a request that is already on its way.
FRESH_SHARE = 2 / 3
RUN_AGAIN = "Run the playbook again: it takes the lock anew and goes on from here"


class LockLost(EvergreenError):
    """The run does not hold its lock any more, or cannot know it; nothing more may be changed."""

    default_reason = "lock_lost"

    def __init__(self, message: str, *, remedy: str = RUN_AGAIN, **rest: Any) -> None:
        super().__init__(message, remedy=remedy, **rest)


def boot_seconds() -> float:
    """Seconds of a clock that all processes of this machine share, and that goes on while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class HoldRecord:
    """What the keeper knows of the lock.

    ``holder`` is the label of the run, ``generation`` that of the lock, ``renewed`` the moment (of ``boot_seconds``)
    at which the last renewal that succeeded was sent, ``seconds`` how long it is good for. ``keeper`` is the process
    that renews. ``trouble`` says why the last renewal failed, ``lost`` how the lock was lost ("" while it is held).
    """

    cluster: str
    holder: str
    generation: int
    renewed: float
    seconds: float
    keeper: str = ""
    trouble: str = ""
    lost: str = ""

    @classmethod
    def read(cls, path: str) -> HoldRecord | None:
        """The record, None where there is none. Raises LockLost for a file that cannot be read."""
        try:
            with open(path, encoding="utf-8") as file:
                return cls(**json.load(file))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise LockLost(f"The record of the run's lock {path} cannot be read: {error}") from error

    def write(self, path: str) -> None:
        """Replace the file as one step, readable by its owner only. Raises OSError."""
        temporary = f"{path}.{os.getpid()}"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        os.replace(temporary, path)

    def fresh(self, now: float) -> bool:
        """Whether nobody can have taken the lock over; a moment ahead of us is one before the machine's last start."""
        return 0 <= now - self.renewed < FRESH_SHARE * self.seconds

    def kept(self) -> bool:
        """Whether the process that renews the lock still runs."""
        return bool(self.keeper) and Process.parse(self.keeper).alive()


class Hold:
    """The guard of a run's lock. Safe for threads.

    ``patience``: seconds for which a change waits for a lock that could not be renewed in time.
    """

    def __init__(self, path: str, patience: float, now: Callable[[], float] = boot_seconds) -> None:
        self.path = path
        self._patience = patience
        self._now = now
        self._telling = threading.Lock()
        self._told = False

    def within(self, share: float) -> Hold:
        """The same guard with that share of its patience."""
        return Hold(self.path, share * self._patience, self._now)

    def record(self) -> HoldRecord:
        """The record. Raises LockLost where the lock is lost, or given back."""
        record = HoldRecord.read(self.path)
        if record is None:
            raise LockLost(f"The run has given its lock back, or its record {self.path} was deleted")
        if record.lost:
            raise LockLost(record.lost)
        return record

    def certain(self) -> bool:
        """Whether the lock is held for certain at this moment."""
        try:
            return self.record().fresh(self._now())
        except LockLost:
            return False

    def check(self, clock: Any, journal: Any) -> None:
        """Return when the lock is held for certain; wait while it could not be renewed. Raises LockLost."""
        give_up = clock.now() + self._patience
        while True:
            record = self.record()
            if record.fresh(self._now()):
                self._told = False
                return
            if not record.kept():
                raise LockLost(
                    f"The process {record.keeper.partition(':')[0]} that renewed the lock of cluster {record.cluster} "
                    "has ended"
                )
            if clock.now() >= give_up:
                raise LockLost(f"{self._stale(record)}; after {self._patience:g} s this run gives up")
            self._tell(record, journal)
            clock.sleep(min(1.0, record.seconds / 8, give_up - clock.now()))

    def _stale(self, record: HoldRecord) -> str:
        age = max(0.0, self._now() - record.renewed)
        why = f": {record.trouble.rstrip('.')}" if record.trouble else ""
        return f"The lock of cluster {record.cluster} has not been renewed for {age:.0f} s{why}"

    def _tell(self, record: HoldRecord, journal: Any) -> None:
        """One line for each time the lock goes out of date, however many threads wait for it."""
        with self._telling:
            if not self._told:
                self._told = True
                journal.write("lock", text=f"{self._stale(record)}; nothing is changed until it is held again")
