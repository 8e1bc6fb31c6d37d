# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ending a run of Ansible as crashes end it: with SIGKILL, which no process hears.

Since ansible-core 2.19 each worker leads a session of its own, so that a signal to the process group reaches only
``ansible-playbook`` itself. A whole run is therefore found by its process tree, and what has left that tree (the keeper
of the lock, on purpose) by the mark that everything a run starts inherits in its environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

MARK = "SIMULATOR_RUN"  # environment variable: its value is this run's, and no other's
PROC = Path("/proc")


def kill_tree(root: int) -> None:
    """SIGKILL to a process and all its descendants; first they are stopped, so that none can start another one."""
    stopped: set[int] = set()
    while found := (_descendants(root) | {root}) - stopped:
        _signal(found, signal.SIGSTOP)
        stopped |= found
    _signal(stopped, signal.SIGKILL)


def kill_marked(mark: str) -> None:
    """SIGKILL to everything that ever came of a run, as when its machine is lost."""
    while found := marked(mark):
        _signal(found, signal.SIGKILL)
        time.sleep(0.01)


def marked(mark: str) -> set[int]:
    """The living processes that carry this run's mark. Where there is no /proc (macOS), none."""
    wanted = f"{MARK}={mark}".encode()
    found = set()
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # A process that has ended, but nobody has asked for yet, has no environment any more.
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
    return found


def _descendants(root: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    ahead = [root]
    while ahead:
        more = [pid for pid in children.get(ahead.pop(), []) if pid not in found]
        found.update(more)
        ahead += more
    return found


def _parents() -> Iterable[tuple[int, int]]:
    """(process, its parent) of every process."""
    if not PROC.exists():
        listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        yield from ((int(pid), int(parent)) for pid, parent in map(str.split, listed.splitlines()))
        return
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # "pid (command) state parent ...": the command may itself hold spaces and parentheses
            yield int(folder.name), int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
