# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a run, by which a crash is timed: its mutating requests, counted so that each run counts the same.

A refused request that is sent again (an eviction that a budget holds up, a patch on an outdated version) is one step,
and renewals of a Lease, which come by the clock, are none; creating, taking and giving back a Lease are.

    steps = Steps(world)
    with steps.strike(Strike("evergreen", 17, "before", deed=lambda call: kill_group(process))) as strike:
        process.wait()
    strike.call          # the request at which it happened; None when the run ended before
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.record import Call

if TYPE_CHECKING:
    from simulator.world import World

BEFORE, AFTER = "before", "after"
MOMENTS = (BEFORE, AFTER)


@dataclass(frozen=True)
class Step:
    """A kind of step: service, operation, and by a regular expression over the parameters (as JSON) what for."""

    service: str
    operation: str
    what_for: str = ""

    def matches(self, call: Call) -> bool:
        """Whether this request is such a step."""
        return (call.service, call.operation) == (self.service, self.operation) and re.search(
            self.what_for, json.dumps(call.params, default=str)
        ) is not None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.service, self.operation, self.what_for)))


@dataclass
class Strike:
    """What is done at a step of an author's: the `number`-th, from 1, of those that are of the kind `step`, if given.

    `moment` is ``before`` (the request never reaches the server) or ``after`` (it is done, its answer not yet sent).
    """

    author: str
    number: int
    moment: str
    deed: Callable[[Call], Any]
    step: Step | None = None
    seen: int = 0
    call: Call | None = None

    def due(self, call: Call) -> bool:
        """Count one more step; is it the one?"""
        if call.author != self.author or (self.step is not None and not self.step.matches(call)):
            return False
        self.seen += 1
        return self.seen == self.number

    def carry_out(self, call: Call) -> None:
        """Do it."""
        self.call = call
        self.deed(call)


class Steps:
    """Tells the steps in a world from repetitions and renewals; one for a whole world."""

    def __init__(self, world: World):
        self._faults = world.faults
        self._lock = threading.Lock()
        self._refused: set[tuple[str, str, str, str]] = set()
        self._leases: dict[str, Any] = {}  # who holds each, and in which generation
        self._renewals: set[int] = set()  # numbers of calls
        world.record.observe(self._note)

    @contextmanager
    def strike(self, strike: Strike) -> Iterator[Strike]:
        """While this lasts, the deed is done when its step comes."""
        with self._lock:
            self._refused.clear()  # another run begins

        def is_due_before(call: Call) -> bool:
            with self._lock:
                return _kind(call) not in self._refused and not self._renews(call) and strike.due(call)

        def look_after(call: Call) -> None:
            with self._lock:
                hit = call.succeeded and call.number not in self._renewals and strike.due(call)
            if hit:
                strike.carry_out(call)

        if strike.moment == BEFORE:
            fault = self._faults.add(mutating=True, chosen=is_due_before, before=strike.carry_out, reset=BEFORE)
        else:
            fault = self._faults.add(mutating=True, times=None, after=look_after)
        try:
            yield strike
        finally:
            self._faults.remove(fault)

    def _note(self, call: Call) -> None:
        """A request has been decided."""
        if not call.mutating:
            return
        with self._lock:
            if not call.succeeded:
                self._refused.add(_kind(call))
                return
            self._refused.discard(_kind(call))
            if self._renews(call):
                self._renewals.add(call.number)
            elif is_about_a_lease(call):
                self._leases[_name(call)] = _holding(call)

    def _renews(self, call: Call) -> bool:
        return is_about_a_lease(call) and self._leases.get(_name(call)) == _holding(call)


def _kind(call: Call) -> tuple[str, str, str, str]:
    return call.author, call.service, call.operation, call.target


def is_about_a_lease(call: Call) -> bool:
    """Whether this request creates or writes a Lease."""
    return call.service == "kubernetes" and call.operation.endswith(" leases")


def _name(call: Call) -> str:
    return ((call.params.get("body") or {}).get("metadata") or {}).get("name", "")


def _holding(call: Call) -> tuple[Any, Any]:
    """Who holds it after this request, and in which generation."""
    spec = (call.params.get("body") or {}).get("spec") or {}
    return spec.get("holderIdentity"), spec.get("leaseTransitions")
