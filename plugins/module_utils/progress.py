# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits as a person meets them: the numbers that are given for them, and what is waited for, now and then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar, Union

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput, WaitTimeout
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline, wait_until

HEARTBEAT_SECONDS = 30.0
FIRST_SECONDS = 5.0  # most waits are over by then, and need no words
BAR_WIDTH = 10

Look = TypeVar("Look")


@dataclass(frozen=True)
class Stand:
    """How far a wait has come: in words what it waits for, and how many of how many nodes are there already."""

    text: str
    done: int = 0
    total: int = 0


def progress_bar(done: int, total: int) -> str:
    """C([######....]): full only when all is done."""
    filled = BAR_WIDTH * done // total if total else 0
    return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}]"


def seconds_left(done_before: int, done: int, total: int, seconds: float) -> float | None:
    """An estimate from what was done in so many seconds; None where that tells nothing yet."""
    made = done - done_before
    return (total - done) * seconds / made if made > 0 and seconds > 0 else None


def about(seconds: float) -> str:
    """C(about 40 s), C(about 6 min), C(about 3 h)."""
    if seconds < 90:
        return f"about {max(10, round(seconds / 10) * 10)} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.0f} h"


def bar_line(done: int, total: int, left: float | None, more: str = "") -> str:
    """C([######....] 7/12 nodes, about 6 min left)."""
    ahead = "" if left is None else f", {about(left)} left"
    return f"{progress_bar(done, total)} {done}/{total} nodes{more}{ahead}"


class Heartbeat:
    """Lines of a wait in which nothing moves: what it waits for, after a moment, and then whenever nobody was told
    anything for `every` seconds. Who does not answer is told of at once."""

    def __init__(self, call: Call, every: float = HEARTBEAT_SECONDS) -> None:
        self._call = call
        self._every = every
        self._beaten = False
        self._began = call.clock.now()
        self._first: Optional[tuple[float, int]] = None  # when the wait was first told of, and what was done then

    def due(self) -> bool:
        """Whether the next line may be written: asked before something costly is read for it."""
        least = self._every if self._beaten else min(self._every, FIRST_SECONDS)
        return self._call.clock.now() - max(self._began, self._call.journal.told_at) >= least

    def beat(self, told: Union[str, Stand]) -> None:
        """Write what is waited for, unless something was said only a moment ago."""
        if not self.due():
            return
        stand = Stand(told) if isinstance(told, str) else told
        fields: dict[str, Any] = {}
        text = stand.text
        if stand.total:
            now = self._call.clock.now()
            since, done_before = self._first = self._first or (now, stand.done)
            left = seconds_left(done_before, stand.done, stand.total, now - since)
            fields = {"nodes_done": stand.done, "nodes": stand.total}
            fields |= {} if left is None else {"seconds_left": round(left)}
            if stand.total > 1:
                text = f"{bar_line(stand.done, stand.total, left)}: {text}"
        self._call.journal.write("progress", text=text, **fields)
        self._beaten = True

    def trouble(self, message: str, **fields: Any) -> None:
        """Write that somebody does not answer, unless something was said only a moment ago."""
        if self.due() or not self._beaten:
            text = f"no answer for now, trying on: {message}"
            self._call.journal.write("trouble", text=text, trouble=message, **fields)
            self._beaten = True


def wait_patiently(
    look: Callable[[], Look],
    done: Callable[[Look], bool],
    *,
    call: Call,
    deadline: Deadline,
    interval: float,
    heartbeat: Heartbeat,
    describe: Callable[[Look], Union[str, Stand]],
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
        if error:
            heartbeat.trouble(error.message)
        if error or not heartbeat.due():
            return
        try:
            heartbeat.beat(describe(seen))
        except EvergreenError as trouble:
            # Something more was to be read only to be told: that ends no wait.
            if not getattr(trouble, "transient", False):
                raise
            heartbeat.trouble(trouble.message)

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
