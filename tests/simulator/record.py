# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened in the rehearsal world, and what is made to go wrong in it.

``Record`` is the list of all requests, each with its author, and of the world's own observations (``Note``): tests
judge by it, never by what the tool says about itself. ``Faults`` makes chosen requests fail, stall, lose their
connection, or call back (to kill the caller, or to let another actor do something at just that moment).

A server treats each request like this::

    call = record.begin(author=..., service=..., operation=..., target=..., mutating=..., params=...)
    effect = faults.take(call)
    effect.begin(call, clock)                     # callbacks "before", then the stall
    if effect.reset == "before": drop the connection
    answer = effect.error or the real thing       # Failure(status, code, message, headers, details)
    record.end(call, status, error_code)
    effect.finish(call)                           # callbacks "after": the deed is done, the answer not yet sent
    if effect.reset == "after": drop the connection
    if effect.stream: a watch goes wrong in its middle
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulator.clock import Clock

# How a watch may go wrong, in place of its first event: it ends in order; half of the event comes, and then the end;
# nothing comes any more, and the connection stays; an ERROR event says that its version is too old.
STREAMS = ("end", "half", "silence", "expired")
READS = re.compile(r"^(Describe|Get|List|Head|BatchGet|Search|Check|Lookup|Validate|AssumeRole)")


@dataclass
class Call:
    """One request that reached a server of the world.

    ``operation`` is ``SetDesiredCapacity`` for AWS, and verb and resource for Kubernetes: ``GET nodes``,
    ``PATCH nodes``, ``POST pods/eviction``, ``WATCH pods``. ``target`` names the object: the Auto Scaling group, the
    instance ids joined by commas, ``namespace/name`` or ``name``; empty for a whole collection. ``status`` is the HTTP
    status, None while the request runs and 0 when the connection was dropped before an answer.
    """

    number: int
    at: float
    author: str
    service: str
    operation: str
    target: str = ""
    mutating: bool = False
    dry_run: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    error: str = ""

    @property
    def succeeded(self) -> bool:
        """It was answered, and not with an error."""
        return self.status is not None and 200 <= self.status < 400

    def __str__(self) -> str:
        outcome = "running" if self.status is None else f"{self.status} {self.error}".strip()
        dry = " (dry run)" if self.dry_run else ""
        return f"#{self.number} {self.author}: {self.service} {self.operation} {self.target}{dry} -> {outcome}"


@dataclass(frozen=True)
class Note:
    """Something the world itself saw, such as a lost pod: ``kind`` from a fixed list, the rest in ``fields``."""

    at: float
    kind: str
    fields: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


class Record:
    """All requests and observations since the world began, in order. Safe to use from any thread."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._notes: list[Note] = []
        self._observers: list[Callable[[Call], None]] = []

    def observe(self, observer: Callable[[Call], None]) -> None:
        """Call ``observer`` with each Call once it is decided, in the thread that serves it, before its answer."""
        self._observers.append(observer)

    def begin(
        self,
        *,
        author: str,
        service: str,
        operation: str,
        target: str = "",
        mutating: bool,
        dry_run: bool = False,
        params: dict[str, Any] | None = None,
    ) -> Call:
        """A request has arrived. ``mutating`` must be False for reads and for requests that are a dry run."""
        with self._lock:
            call = Call(
                number=len(self._calls) + 1,
                at=self._clock.now(),
                author=author,
                service=service,
                operation=operation,
                target=target,
                mutating=mutating and not dry_run,
                dry_run=dry_run,
                params=params or {},
            )
            self._calls.append(call)
            return call

    def end(self, call: Call, status: int, error: str = "") -> None:
        """It has been decided: HTTP status, and AWS's error code or Kubernetes' reason where it failed."""
        with self._lock:
            call.status, call.error = status, error
        for observer in self._observers:
            observer(call)

    def calls(
        self,
        author: str | None = None,
        service: str | None = None,
        operation: str | None = None,
        mutating: bool | None = None,
        since: int = 0,
    ) -> list[Call]:
        """The requests that match everything given, oldest first; ``operation`` exactly, ``since`` a call's number."""
        with self._lock:
            found = self._calls[since:]
        return [
            call
            for call in found
            if (author is None or call.author == author)
            and (service is None or call.service == service)
            and (operation is None or call.operation == operation)
            and (mutating is None or call.mutating == mutating)
        ]

    def note(self, kind: str, **fields: Any) -> Note:
        """The world observes something."""
        note = Note(at=self._clock.now(), kind=kind, fields=fields)
        with self._lock:
            self._notes.append(note)
        return note

    def notes(self, kind: str | None = None) -> list[Note]:
        """The world's observations, oldest first."""
        with self._lock:
            return [note for note in self._notes if kind is None or note.kind == kind]

    def clear(self) -> None:
        """Forget everything, for instance between the preparation of a test and its deed."""
        with self._lock:
            self._calls.clear()
            self._notes.clear()


@dataclass(frozen=True)
class Failure:
    """The answer that a fault gives instead of the real one. ``code`` is AWS's error code or Kubernetes' reason.

    Of Kubernetes' Status ``details`` are its details; ``plain`` answers come from something in front of it, as text.
    """

    status: int
    code: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    plain: bool = False


@dataclass
class Fault:
    """One order to disturb requests: which ones, how often, and how. Made by ``Faults.add``."""

    service: str | None
    operation: re.Pattern[str] | None
    target: re.Pattern[str] | None
    author: str | None
    mutating: bool | None
    times: int | None
    skip: int
    error: Failure | None
    stall: float
    reset: str
    stream: str
    before: Callable[[Call], Any] | None
    after: Callable[[Call], Any] | None
    until: float | None
    chosen: Callable[[Call], bool] | None = None
    seen: int = 0
    hits: int = 0

    def matches(self, call: Call) -> bool:
        """Whether this order is about such a request (however often it has already been carried out)."""
        return (
            (self.service is None or self.service == call.service)
            and (self.author is None or self.author == call.author)
            and (self.mutating is None or self.mutating == call.mutating)
            and (self.operation is None or bool(self.operation.search(call.operation)))
            and (self.target is None or bool(self.target.search(call.target)))
            and (self.chosen is None or self.chosen(call))
        )


@dataclass(frozen=True)
class Effect:
    """What the faults do to one request; most often nothing."""

    faults: tuple[Fault, ...] = ()

    @property
    def error(self) -> Failure | None:
        """The answer to give instead of doing what was asked."""
        return next((fault.error for fault in self.faults if fault.error), None)

    @property
    def reset(self) -> str:
        """``before``: drop the connection, nothing done; ``after``: drop it when all is done; else empty."""
        return next((fault.reset for fault in self.faults if fault.reset), "")

    @property
    def stream(self) -> str:
        """How the watch goes wrong that this request begins: one of STREAMS, or empty."""
        return next((fault.stream for fault in self.faults if fault.stream), "")

    def begin(self, call: Call, clock: Clock) -> None:
        """Carry out what comes before the deed: the callbacks, then the stall."""
        for fault in self.faults:
            if fault.before:
                fault.before(call)
        stall = sum(fault.stall for fault in self.faults)
        if stall:
            _sleep_until(clock, clock.now() + stall)

    def finish(self, call: Call) -> None:
        """Carry out what comes after the deed and before its answer."""
        for fault in self.faults:
            if fault.after:
                fault.after(call)


NOTHING = Effect()


class Faults:
    """The orders in force. Safe to use from any thread; without orders it costs nothing."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._lock = threading.Lock()
        self._orders: list[Fault] = []

    def add(
        self,
        service: str | None = None,
        operation: str | None = None,
        *,
        target: str | None = None,
        author: str | None = None,
        mutating: bool | None = None,
        chosen: Callable[[Call], bool] | None = None,
        times: int | None = 1,
        skip: int = 0,
        seconds: float | None = None,
        error: tuple[Any, ...] | Failure | None = None,
        stall: float = 0.0,
        reset: bool | str = False,
        stream: str = "",
        before: Callable[[Call], Any] | None = None,
        after: Callable[[Call], Any] | None = None,
    ) -> Fault:
        """Disturb the requests that match.

        ``operation`` and ``target`` are regular expressions that are searched for; the other selectors are exact.
        ``chosen`` is asked last, once a request that all the others match, one request at a time.
        The first ``skip`` matches are left alone, then ``times`` are disturbed (None: all), if ``seconds`` is given
        only within that many seconds of the world. ``error`` is ``(status, code, message[, headers dict])`` or a
        Failure; ``stall`` is in seconds of the world; ``reset`` drops the connection before the deed (True or "before")
        or after it ("after"); ``stream`` lets a watch of Kubernetes go wrong in place of its first event (STREAMS);
        ``before`` and ``after`` are called with the Call. Returns the order: ``.hits`` counts.
        """
        if reset not in (False, True, "before", "after"):
            raise ValueError("reset must be True, 'before' or 'after'")
        if stream not in ("", *STREAMS):
            raise ValueError(f"stream must be one of {', '.join(STREAMS)}")
        fault = Fault(
            service=service,
            operation=re.compile(operation) if operation else None,
            target=re.compile(target) if target else None,
            author=author,
            mutating=mutating,
            times=times,
            skip=skip,
            error=_failure(error) if isinstance(error, tuple) else error,
            stall=stall,
            reset="before" if reset is True else (reset or ""),
            stream=stream,
            before=before,
            after=after,
            until=None if seconds is None else self._clock.now() + seconds,
            chosen=chosen,
        )
        with self._lock:
            self._orders.append(fault)
        return fault

    def take(self, call: Call) -> Effect:
        """What happens to this request; each match counts, so ask exactly once a request."""
        if not self._orders:
            return NOTHING
        now = self._clock.now()
        taken = []
        with self._lock:
            for fault in self._orders:
                if (fault.until is not None and now > fault.until) or not fault.matches(call):
                    continue
                fault.seen += 1
                if fault.seen > fault.skip and (fault.times is None or fault.hits < fault.times):
                    fault.hits += 1
                    taken.append(fault)
        return Effect(tuple(taken)) if taken else NOTHING

    def remove(self, fault: Fault) -> None:
        """Take one order back."""
        with self._lock:
            if fault in self._orders:
                self._orders.remove(fault)

    def clear(self) -> None:
        """Take all orders back."""
        with self._lock:
            self._orders.clear()


def _failure(given: tuple[Any, ...]) -> Failure:
    status, code, message, *rest = given
    headers = tuple((rest[0] if rest else {}).items())
    return Failure(int(status), str(code), str(message), headers, plain=not code)


def _sleep_until(clock: Clock, moment: float) -> None:
    """Sleep until the world's clock shows that, in short pieces, because a test may push the clock ahead."""
    while (left := moment - clock.now()) > 0:
        time.sleep(min(0.05, clock.real(left)))
