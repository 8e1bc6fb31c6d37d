# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of this machine: does one still run, and for which one do we work."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from dataclasses import dataclass

CONTROLLER_VARIABLE = "EVERGREEN_CONTROLLER"
LOOK_SECONDS = 0.25
SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"}


@dataclass(frozen=True)
class Process:
    """A process, told from a later one with the same number by the time of its start ("" where unknown)."""

    pid: int
    started: str = ""

    @classmethod
    def parse(cls, text: str) -> Process:
        """From the C(pid:starttime) that the action plugin hands over in the environment."""
        pid, _separator, started = text.partition(":")
        return cls(int(pid), started)

    @classmethod
    def of(cls, pid: int) -> Process:
        stat = _stat(pid)
        return cls(pid, stat.started if stat else "")

    def __str__(self) -> str:
        return f"{self.pid}:{self.started}"

    def alive(self) -> bool:
        """Whether it runs. Where another user's processes are hidden (hidepid), only its number can be judged by."""
        stat = _stat(self.pid)
        if stat:
            return stat.state not in ("Z", "X") and self.started in ("", stat.started)
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True


class EndOf:
    """Sleeps, but no longer than a process lives."""

    def __init__(self, process: Process) -> None:
        self._handle: int | None = None
        with suppress(AttributeError, OSError):
            self._handle = os.pidfd_open(process.pid)  # Linux 5.3 and later

    def wait(self, seconds: float) -> None:
        """Return after that time, or when the process ends; where the system does not tell, somewhat earlier."""
        if self._handle is None:
            time.sleep(min(seconds, LOOK_SECONDS))
        else:
            select.select([self._handle], [], [], seconds)


def work_for(controller: Process) -> None:
    """Let ``modules_of`` find this process, whose environment, being a fork's, is that of its parent to all others.

    What says so is the name of an open file, in memory, that lasts as long as the process. Linux only.
    """
    if hasattr(os, "memfd_create"):
        os.memfd_create(f"{CONTROLLER_VARIABLE}={controller}")


def modules_of(controller: Process) -> list[int] | None:
    """The processes, but for this one, that work on its behalf here; None where the system does not tell."""
    wanted = f"{CONTROLLER_VARIABLE}={controller}"
    try:
        numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return None
    return [number for number in numbers if number != os.getpid() and _says(number, wanted)]


def _says(pid: int, mark: str) -> bool:
    """Whether the process has it in its environment or in the name of an open file."""
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        if mark.encode() in file.read().split(b"\0"):
            return True
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as files:
        return any(_target(file.path).startswith(f"/memfd:{mark} ") for file in files)
    return False


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


@dataclass(frozen=True)
class _Stat:
    command: str
    state: str
    parent: int
    started: str


def _stat(pid: int) -> _Stat | None:
    """What Linux tells about a process (proc(5)); None when it does not exist, or on another system."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    # The command stands in parentheses and may itself hold spaces and parentheses.
    head, _separator, tail = text.rpartition(")")
    fields = tail.split()
    return _Stat(command=head.partition("(")[2], state=fields[0], parent=int(fields[1]), started=fields[19])


def controller_process() -> Process:
    """The process on whose behalf we run: named by the action plugin, else the nearest ancestor that is no shell.

    Ansible starts a module through one or two shells, which outlive a killed worker.
    """
    handed_over = os.environ.get(CONTROLLER_VARIABLE, "")
    if handed_over:
        try:
            return Process.parse(handed_over)
        except ValueError:
            pass
    parent = os.getppid()
    stat = _stat(parent)
    while stat and stat.command in SHELLS and stat.parent > 1:
        parent, stat = stat.parent, _stat(stat.parent)
    return Process.of(parent)
