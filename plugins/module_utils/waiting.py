# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time, deadlines, and the life of the process that started us: what every module call is made of."""

from __future__ import annotations

import math
import os
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Callable, TypeVar

from ansible.module_utils.basic import env_fallback

from ansible_collections.evergreen.eks.plugins.module_utils.errors import (
    EvergreenError,
    InvalidInput,
    ParentGone,
    WaitTimeout,
)
from ansible_collections.evergreen.eks.plugins.module_utils.hold import Hold
from ansible_collections.evergreen.eks.plugins.module_utils.journal import ABOUT_VARIABLE, QUIET_VARIABLE, Journal
from ansible_collections.evergreen.eks.plugins.module_utils.moments import TIMESTAMP
from ansible_collections.evergreen.eks.plugins.module_utils.process import Process, controller_process

# How many polls an idempotent request that fails for a passing reason is repeated for: 300 s at the default of 5 s,
# longer than an EKS control plane is away in an update, and than AWS throttles in a busy hour.
PATIENCE_POLLS = 60
# The same inside a look of a wait: the wait looks again anyway, and has an end of its own.
LOOK_POLLS = 4
# The same for last words, which must come promptly, whoever answers or not.
HURRY_POLLS = 3
LEASE_VARIABLE = "EVERGREEN_LEASE"
ESTABLISHED_VARIABLE = "EVERGREEN_ESTABLISHED"

Look = TypeVar("Look")


def waiting_argument_spec(**own: Any) -> dict[str, Any]:
    """The options of every module that waits or changes something (doc fragment C(evergreen.eks._waiting))."""
    return {
        "poll_seconds": {"type": "float", "default": 5.0},
        "journal": {"type": "path"},
        "about": {
            "type": "dict",
            "fallback": (env_fallback, [ABOUT_VARIABLE]),
            "options": {
                **{name: {"type": "str"} for name in ("run", "group", "stage")},
                **{name: {"type": "int"} for name in ("wave", "waves")},
            },
        },
        "quiet": {"type": "bool", "default": False, "fallback": (env_fallback, [QUIET_VARIABLE])},
        "lease": {"type": "path", "fallback": (env_fallback, [LEASE_VARIABLE])},
        "established": {
            "type": "bool",
            "default": False,
            "fallback": (env_fallback, [ESTABLISHED_VARIABLE]),
        },
        **own,
    }


def patience(poll_seconds: float) -> float:
    """Seconds for which an idempotent request is repeated while it fails for a passing reason."""
    return PATIENCE_POLLS * poll_seconds


class Clock:
    """Where time comes from; tests pass a clock of the same shape that nobody has to wait for."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def timestamp(self) -> str:
        """UTC, like C(2026-11-21T01:02:03Z)."""
        return time.strftime(TIMESTAMP, time.gmtime())

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Deadline:
    """A moment that lies ``seconds`` ahead; 0 or None means never."""

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self._clock = clock
        self._at = clock.now() + seconds if seconds else math.inf

    def remaining(self) -> float:
        """Seconds that are left: 0 when expired, infinite when there is no end."""
        return max(0.0, self._at - self._clock.now())

    def expired(self) -> bool:
        return self.remaining() <= 0


class Lifeline:
    """Ends the work when the playbook has ended: a killed run must not leave a worker that goes on evicting."""

    def __init__(self, controller: Process | None = None) -> None:
        self.controller = controller or controller_process()

    def check(self) -> None:
        """Raise ParentGone when the controller has ended. Called before every change."""
        if not self.controller.alive():
            raise ParentGone(
                f"The process {self.controller.pid} that started this module has ended, so nothing more is changed",
                remedy="Run the playbook again: it goes on from here",
            )

    def watch(self, seconds: float = 1.0) -> None:
        """End this process within a second of the controller's end, whatever it is waiting for."""
        threading.Thread(target=self._watch, args=(seconds,), name="lifeline", daemon=True).start()

    def _watch(self, seconds: float) -> None:
        while self.controller.alive():
            time.sleep(seconds)
        os._exit(1)


@dataclass
class Call:
    """One call of a module: its clock and journal, who it works for, whether it may change anything, its patience.

    ``hold`` is the run's lock on the cluster, None where the run works without one. ``established`` says whether the
    APIs are known to answer at these addresses, so that silence is an outage from the first request on.
    """

    clock: Clock = field(default_factory=Clock)
    journal: Journal = field(default_factory=lambda: Journal(None, Clock()))
    lifeline: Lifeline = field(default_factory=Lifeline)
    check_mode: bool = False
    hold: Hold | None = None
    established: bool = False
    hurried: bool = False  # last words: whoever does not answer is not waited for
    looking: bool = field(default=False, init=False)  # inside a look of a wait

    @classmethod
    def of(cls, module: Any) -> Call:
        """The call of an AnsibleModule. In check mode nothing is written, not even the journal."""
        poll_seconds = module.params.get("poll_seconds", 1)
        if poll_seconds <= 0:
            raise InvalidInput("poll_seconds must be above 0", remedy="Give a number of seconds, for example 5")
        clock = Clock()
        journal = Journal.of(module, clock)
        lifeline = Lifeline()
        lifeline.watch()
        path = module.params.get("lease")
        hold = Hold(path, patience(poll_seconds)) if path else None
        return cls(clock, journal, lifeline, module.check_mode, hold, module.params.get("established", False))

    def patience(self, poll_seconds: float) -> float:
        """Seconds for which a request that may be repeated is repeated while it fails for a passing reason."""
        if self.hurried:
            return HURRY_POLLS * poll_seconds
        return LOOK_POLLS * poll_seconds if self.looking else patience(poll_seconds)

    def in_a_hurry(self) -> Call:
        """The same call with little patience: for what must be said promptly, whoever answers or not."""
        hold = self.hold.within(HURRY_POLLS / PATIENCE_POLLS) if self.hold else None
        return replace(self, hurried=True, hold=hold)

    @property
    def briefly(self) -> Call:
        """The same call as if all of it were one look of a wait."""
        call = replace(self)
        call.looking = True
        return call

    @contextmanager
    def look(self) -> Iterator[None]:
        """Around one look of a wait: what fails in it for a passing reason is soon left to the wait's next look."""
        outer, self.looking = self.looking, True
        try:
            yield
        finally:
            self.looking = outer

    def before_change(self, request: str) -> None:
        """The guard that every mutating request passes, AWS and Kubernetes alike.

        Raises ParentGone, and LockLost when the run's lock is lost; waits while it is merely out of date.
        """
        if self.check_mode:
            raise RuntimeError(f"{request} would have been sent in check mode")
        self.before_look()
        self.lifeline.check()

    def may_announce(self) -> bool:
        """Whether others may be told of our doings now: they are ours as far as anybody knows. Waits for nothing."""
        return not self.check_mode and self.lifeline.controller.alive() and (self.hold is None or self.hold.certain())

    def before_look(self) -> None:
        """The same before a look that a change will rest on: had the change to wait, the look would have become old."""
        if self.hold and not self.check_mode:
            self.hold.check(self.clock, self.journal)


def wait_until(
    look: Callable[[], Look],
    done: Callable[[Look], bool],
    *,
    clock: Clock,
    deadline: Deadline,
    interval: float,
    on_wait: Callable[[Look], None] | None = None,
) -> Look:
    """Look, every ``interval`` seconds, until ``done`` says yes of what was seen; answers the last look.

    Looks at least once, and once more at the deadline itself. Raises WaitTimeout with the last look as ``last``.
    """
    while True:
        seen = look()
        if done(seen):
            return seen
        if deadline.expired():
            raise WaitTimeout("The time for this wait is over", last=seen)
        if on_wait:
            on_wait(seen)
        clock.sleep(min(interval, deadline.remaining()))


def end_with(module: Any, result: Mapping[str, Any]) -> None:
    """End the module with this result; its C(warnings) become the module's own, as C(exit_json) takes none."""
    module.exit_json(**_without_warnings(module, result))


def _without_warnings(module: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    for warning in result.get("warnings", ()):
        module.warn(warning)
    return {name: value for name, value in result.items() if name != "warnings"}


@contextmanager
def failures_reported(module: Any) -> Iterator[None]:
    """Turn what goes wrong inside into one clear failure of the module: the only place that calls C(fail_json)."""
    try:
        yield
    except EvergreenError as error:
        module.fail_json(**_without_warnings(module, error.as_failure()))
    except Exception as error:
        failure = {"msg": f"Unexpected {type(error).__name__}: {error}; please report this.", "reason": "unexpected"}
        if module._verbosity >= 3:
            failure["exception"] = traceback.format_exc()
        module.fail_json(**failure)
