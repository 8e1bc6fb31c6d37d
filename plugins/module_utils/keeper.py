# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a run's lock for as long as its playbook runs: a process of its own that renews it and gives it back.

Modules come and go, and between them an operator's own tasks run; the playbook itself runs no code of ours. So the
first module that takes the lock leaves a process behind, which lives as long as the playbook's process does.
"""

from __future__ import annotations

import fcntl
import gc
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote

from ansible_collections.evergreen.eks.plugins.module_utils.detached import run_detached
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.hold import Hold, HoldRecord, LockLost, boot_seconds
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.lease import Held, Lock, take
from ansible_collections.evergreen.eks.plugins.module_utils.private_file import disk_is_full
from ansible_collections.evergreen.eks.plugins.module_utils.process import EndOf, Process, modules_of
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Lifeline, patience

# A renewal each quarter of the duration: two may fail before any change has to wait.
RENEWALS = 4
# After one that failed, sooner.
ATTEMPTS = 12
# Short, because the clock that a sleep goes by stands still while the machine is suspended.
SLEEP_SECONDS = 1.0
# Modules end within a second of their playbook (Lifeline.watch).
MODULES_END_SECONDS = 2.0
HOLD_FILE = re.compile(r"^(?P<label>.+)\.hold(\.\w+)?$")


def take_and_keep(
    client: KubernetesClient,
    call: Call,
    holder: Holder,
    *,
    cluster: str,
    directory: str,
    seconds: float,
    wait: float,
    poll_seconds: float,
) -> str:
    """Take the cluster's lock for this playbook run and keep it as long as the run lives; answers the hold file.

    Called again by the same run it answers the same file. From here on every change of this ``call`` passes the guard.
    ``seconds``: how long the lock is good for after each renewal; ``wait``: seconds to wait for another run. Raises
    RunInProgress, LockLost, KubernetesError, and EvergreenError (lock_unwritable, kubernetes_forbidden).
    """
    path = hold_path(directory, holder)
    give_up = call.clock.now() + wait
    with _one_module_at_a_time(path):
        known = HoldRecord.read(path)
        if known is None or not known.kept() or known.lost:
            if known:
                Hold(path, patience=0).record()  # says so where it was lost
            sweep(directory, holder)
            lock = Lock(client, cluster, holder, seconds)
            left = max(0.0, give_up - call.clock.now())
            generation = known.generation if known else None
            held = take(lock, call, wait=left, poll_seconds=poll_seconds, generation=generation)
            keep(lock, held, path, call.lifeline.controller)
    call.hold = Hold(path, patience(poll_seconds))
    return path


def keep(lock: Lock, held: Held, path: str, controller: Process) -> None:
    """Leave a process behind that keeps the lock until ``controller`` has ended. Raises EvergreenError.

    Where that fails the Lease runs out by itself, or is taken over when the playbook has ended.
    """
    with _writing(path):
        Keeper(lock, held, path, controller).record(keeper=Process.of(os.getpid())).write(path)
    run_detached(lambda ready: _in_the_keeper(lock, held, path, controller, ready))


def hold_path(directory: str, holder: Holder) -> str:
    """The hold file of a run; its name says who it is, also where several machines share the directory."""
    return str(Path(directory).expanduser().absolute() / f"{quote(holder.label, safe='')}.hold")


def sweep(directory: str, here: Holder) -> None:
    """Remove what runs that have provably ended left behind."""
    for file in Path(directory).glob("*.hold*"):
        found = HOLD_FILE.match(file.name)
        holder = Holder.parse(unquote(found["label"])) if found else None
        if holder and holder.gone(here):
            with suppress(OSError):
                file.unlink()


@dataclass(frozen=True)
class Keeper:
    """The process that renews a lock. Nobody hears it but the hold file."""

    lock: Lock
    held: Held
    path: str
    controller: Process

    def record(self, keeper: Process, trouble: str = "", lost: str = "") -> HoldRecord:
        return HoldRecord(
            cluster=self.lock.cluster,
            holder=self.lock.holder.label,
            generation=self.held.lease.generation,
            renewed=self.held.renewed,
            seconds=self.lock.seconds,
            keeper=str(keeper),
            trouble=trouble,
            lost=lost,
        )

    def run(self) -> None:
        """Renew until the playbook has ended, or its hold file was taken away; then give the lock back."""
        keeper, me, end = self, Process.of(os.getpid()), EndOf(self.controller)
        due = self.held.renewed + self.lock.seconds / RENEWALS
        while keeper.wanted():
            if boot_seconds() >= due:
                trouble = ""
                try:
                    keeper = replace(keeper, held=keeper.lock.renew(keeper.held.lease))
                    due = keeper.held.renewed + self.lock.seconds / RENEWALS
                except LockLost as error:
                    keeper.say(keeper.record(me, lost=error.message))
                    return
                except Exception as error:  # whatever it is, the next attempt may do better
                    trouble = error.message if isinstance(error, EvergreenError) else f"{type(error).__name__}: {error}"
                    due = boot_seconds() + self.lock.seconds / ATTEMPTS
                keeper.say(keeper.record(me, trouble=trouble))
            end.wait(min(SLEEP_SECONDS, max(0.0, due - boot_seconds())))
        keeper.end()

    def wanted(self) -> bool:
        return self.controller.alive() and os.path.exists(self.path)

    def say(self, record: HoldRecord) -> None:
        """A file that cannot be written (a full disk) gets out of date, and so holds every change back."""
        with suppress(OSError):
            if os.path.exists(self.path):
                record.write(self.path)

    def end(self) -> None:
        """Give the lock back when nothing of the run changes anything any more; it runs out where that fails."""
        for name in (self.path, f"{self.path}.lock"):
            with suppress(OSError):
                os.unlink(name)
        self._await_modules()
        give_up = boot_seconds() + self.lock.seconds
        while boot_seconds() < give_up:
            try:
                self.lock.give_back(self.held.lease.generation)
                return
            except Exception:
                time.sleep(self.lock.seconds / ATTEMPTS)

    def _await_modules(self) -> None:
        """Mostly none is left, and then every moment counts: soon after a job its container is gone, and we with it."""
        give_up = boot_seconds() + MODULES_END_SECONDS
        while boot_seconds() < give_up and modules_of(self.controller) != []:
            time.sleep(SLEEP_SECONDS / 10)


class _Unbound(Lifeline):
    """The keeper outlives its controller, to give the lock back."""

    def check(self) -> None:
        pass


def _in_the_keeper(lock: Lock, held: Held, path: str, controller: Process, ready) -> None:
    _name_this_process("evergreen-lease")
    gc.freeze()  # the module's memory stays shared with it, for it is never gone through
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    call = Call(lifeline=_Unbound(controller))
    client = lock.client.after_fork(call, read_timeout=lock.seconds / RENEWALS)
    keeper = Keeper(replace(lock, client=client), held, path, controller)
    keeper.record(Process.of(os.getpid())).write(path)
    ready()
    keeper.run()


def _name_this_process(name: str) -> None:
    """What ps and top show, where the system allows it: else it looks like the module that it came from."""
    with suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(name)


@contextmanager
def _one_module_at_a_time(path: str) -> Iterator[None]:
    """The groups of one run may begin at the same moment; they share one keeper. Raises EvergreenError."""
    with _writing(path):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with _writing(path):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _writing(path: str) -> Iterator[None]:
    """Name what keeps the hold file from being written, and the remedy. Raises EvergreenError (lock_unwritable)."""
    try:
        yield
    except OSError as error:
        raise EvergreenError(
            f"The record of the run's lock {path} cannot be written: {error.strerror or error}",
            reason="lock_unwritable",
            remedy=(
                "Free the disk"
                if disk_is_full(error)
                else "Name a directory you may write to with state_dir (eks_state_dir)"
            ),
        ) from error
