# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that a module leaves behind.

It is forked and not started afresh, because the archive from which Ansible runs a module is deleted when the module
ends, and because what the module knows (credentials) must not be written anywhere.
"""

from __future__ import annotations

import os
import select
import warnings
from contextlib import suppress
from typing import Callable

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError

START_SECONDS = 60.0


def run_detached(work: Callable[[Callable[[], None]], None]) -> None:
    """Run ``work`` in a process that outlives this one and belongs to no terminal; returns once it calls ``ready``.

    The process may use only what is imported already, and shares no file with this one: who waits for the end of our
    output does not wait for it. Raises EvergreenError when it cannot be started, or never gets ready.
    """
    try:
        ready = _started(work)
    except OSError as error:
        raise _not_started(f": {error.strerror or error}") from error
    if not ready:
        raise _not_started()


def _started(work: Callable[[Callable[[], None]], None]) -> bool:
    """Start it, and tell whether it got ready. Raises OSError; a child never comes back from here."""
    listening, telling = os.pipe()
    try:
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns of forks beside threads; ours (the lifeline) only reads /proc and sleeps.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                _go(work, telling)
        finally:
            os.close(telling)
        os.waitpid(child, 0)
        return bool(select.select([listening], [], [], START_SECONDS)[0] and os.read(listening, 1))
    finally:
        os.close(listening)


def _not_started(why: str = "") -> EvergreenError:
    return EvergreenError(
        f"The process that keeps the lock could not be started{why}",
        reason="lock_unwritable",
        remedy="Look whether this machine is out of memory or of processes, then run again",
    )


def _go(work: Callable[[Callable[[], None]], None], telling: int) -> None:
    """The child: a session of its own, a second fork so that nobody has to reap it, and no way back."""
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        _let_go_of_files(keep=telling)

        def ready() -> None:
            os.write(telling, b"1")
            os.close(telling)

        work(ready)
    finally:
        # Neither our caller's clean-up nor that of Ansible's wrapper may run twice.
        os._exit(0)


def _let_go_of_files(keep: int) -> None:
    """Point every inherited descriptor to nowhere.

    They are not closed: an object of the parent that still knows a number would close what got that number next.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in _open_files():
        if number != keep:
            with suppress(OSError):
                os.dup2(nowhere, number, inheritable=number < 3)


def _open_files() -> list[int]:
    try:
        return sorted({0, 1, 2, *(int(name) for name in os.listdir("/dev/fd"))})
    except (OSError, ValueError):
        return list(range(1024))
