# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits as a person meets them: the numbers that are given for them, and what is waited for, now and then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, Optional, TypeVar

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput, WaitTimeout
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline, wait_until

HEARTBEAT_SECONDS = 30.0

Look = TypeVar("Look")


class Heartbeat:
    """Journal lines of a wait: the first at once, then at most one each `every` seconds."""

    def __init__(self, call: Call, every: float = HEARTBEAT_SECONDS) -> None:
        self._call = call
        self._every = every
        self._next = call.clock.now()

    def due(self) -> bool:
        """Whether the next line may be written: asked before something costly is read for it."""
        return self._call.clock.now() >= self._next

    def beat(self, text: str, **fields: Any) -> None:
        """Write what is waited for, unless that was said only a moment ago."""
        if self.due():
            self._call.journal.write("waiting", text=text, **fields)
            self._next = self._call.clock.now() + self._every


def wait_patiently(
    look: Callable[[], Look],
    done: Callable[[Look], bool],
    *,
    call: Call,
    deadline: Deadline,
    interval: float,
    heartbeat: Heartbeat,
    describe: Callable[[Look], str],
    connected: Callable[[], bool] = lambda: True,
) -> Look:
    """`wait_until` that waits out throttling and outages of AWS and Kubernetes, too.

    A look that fails for such a reason is no look: nothing is decided on what was seen before it. Its error is raised
    once the deadline is over, or at once when nothing was ever seen and `connected` says that nobody has answered yet:
    then the address is wrong. `describe` says in the journal what is waited for.
    Raises WaitTimeout with the last look as `last`.
    """
    answered = False

    def attempt() -> tuple[Optional[Look], Optional[EvergreenError]]:
        nonlocal answered
        try:
            with call.look():
                seen = look()
        except EvergreenError as error:
            if not getattr(error, "transient", False) or deadline.expired() or not (answered or connected()):
                raise
            return None, error
        answered = True
        return seen, None

    def tell(attempted: tuple[Optional[Look], Optional[EvergreenError]]) -> None:
        seen, error = attempted
        if not heartbeat.due():
            return
        try:
            heartbeat.beat(f"no answer for now, trying on: {error.message}" if error else describe(seen))
        except EvergreenError as trouble:
            # Something more was to be read only to be told: that ends no wait.
            if not getattr(trouble, "transient", False):
                raise
            heartbeat.beat(f"no answer for now, trying on: {trouble.message}")

    try:
        seen, _error = wait_until(
            attempt,
            lambda attempted: attempted[1] is None and done(attempted[0]),
            clock=call.clock,
            deadline=deadline,
            interval=interval,
            on_wait=tell,
        )
    except WaitTimeout as late:
        seen, error = late.last
        raise error or WaitTimeout(late.message, last=seen) from None
    return seen


def refuse_negative(params: Mapping[str, Any], *names: str) -> None:
    """Raise InvalidInput for the first of these options that is below 0; one that is not given is fine."""
    for name in names:
        if params[name] is not None and params[name] < 0:
            raise InvalidInput(f"{name} is {params[name]:g}", remedy="Give a number of 0 or more, or leave it out")
