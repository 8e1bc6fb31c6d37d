# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of a node that is not empty in time: it fails, it is carried on, or what the user has written is done.

An escalation is a list of steps. Each is taken for one pod at a time: for those that its selector selects, that should
leave, and that evicting does not move. No I/O; times are seconds of the engine's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain.case import KEEPS_RETURNING, PASSING_KINDS
from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import EVICT, WAIT
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import PATIENCE_LOOKS, Departure
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.label_selector import LabelSelector, parse_selector
from ansible_collections.evergreen.eks.plugins.module_utils.moments import parse_duration
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import PATIENCE_POLLS

# What becomes of a node whose time is over.
FAIL, CARRY, ESCALATE = "fail", "carry", "escalate"
ON_TIMEOUT = (FAIL, CARRY, ESCALATE)

# What a step does, and the seconds that it gives a pod to stop (None: its own). With 0 the API server forgets the pod
# at once, while it may still run: the same pod of a StatefulSet may then run twice.
DELETE, DELETE_GRACE_1, FORCE = "delete", "delete_grace_1", "force"
GRACE_PERIODS = {DELETE: None, DELETE_GRACE_1: 1, FORCE: 0}
KEEP, OVERRULE = "keep", "overrule"

ESCALATION_OPTION = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "after": {"type": "str", "required": True},
        "action": {"type": "str", "required": True, "choices": list(GRACE_PERIODS)},
        "selector": {"type": "str", "default": ""},
        "budgets": {"type": "str", "default": KEEP, "choices": [KEEP, OVERRULE]},
    },
}
# Why an eviction was not granted, without anybody having said no to it.
NO_REFUSALS = (*PASSING_KINDS, KEEPS_RETURNING)
# A pod that a step must not touch is looked at again after so many looks: its budget may have gone.
SPARED_LOOKS = 6
# Only who has been in the way for so many looks is: a budget lets the next one go in a moment, and most pods stop in
# time. It matters where the steps are due already: in a run that goes on, and for pods whose turn comes late.
IN_THE_WAY_LOOKS = 6


@dataclass(frozen=True)
class Step:
    """One step: so many seconds after the node was taken in hand, for the pods that the selector selects."""

    after: int
    action: str
    selector: LabelSelector = LabelSelector()
    budgets: str = KEEP

    @property
    def grace_period(self) -> int | None:
        return GRACE_PERIODS[self.action]

    @property
    def overrules(self) -> bool:
        """Whether it is taken for a pod that a disruption budget selects, too."""
        return self.budgets == OVERRULE

    def prepares(self, later: Step) -> bool:
        """Whether whoever the later step is for was asked to stop by this one."""
        return self.action != FORCE and self.selector.text in ("", later.selector.text)

    def selects(self, departure: Departure) -> bool:
        """Those that must not be evicted, or not yet, are never selected, whoever has asked them to stop."""
        verdict = departure.verdict
        leaves = verdict.action in (EVICT, WAIT) and not verdict.reasons and not departure.on_hold
        return leaves and self.selector.matches(departure.pod.labels)

    def fits(self, departure: Departure, asked: float | None, now: float, patience: float) -> bool:
        """Whether it would do anything about the pod as it is now. ``asked``: when a former step was taken for it;
        ``patience``: seconds beyond its grace after which it is held not to have stopped."""
        since = departure.terminating_since
        if since is None:
            # The API server removes whatever it is told to with grace 0: only who had the time to stop is forced.
            refused = departure.obstacle is not None and departure.obstacle.reason not in NO_REFUSALS
            return self.action != FORCE and refused and asked is None
        if self.action == FORCE:
            return now - max(since, asked or since) >= departure.pod.grace_seconds + patience
        return self.grace_period is not None and self.grace_period < departure.pod.grace_seconds


def read_steps(on_timeout: str, raw: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    """The steps of the option C(escalation), the first one first. Raises InvalidInput for what cannot be meant."""
    distinct = dict.fromkeys(_read_step(entry) for entry in raw)
    steps = tuple(sorted(distinct, key=lambda step: step.after))
    if steps and on_timeout != ESCALATE:
        raise InvalidInput(
            f"there is an escalation, but on_timeout is {on_timeout}, so none of its steps would ever be taken",
            remedy=f"Set on_timeout (drain_on_timeout) to {ESCALATE}, or leave the escalation out",
        )
    if on_timeout == ESCALATE and not steps:
        raise InvalidInput(
            f"on_timeout is {ESCALATE}, but there is no escalation: nothing is forced that nobody has written down",
            remedy="Write the steps into escalation, for example [{after: 30m, action: delete, selector: tier=batch}]",
        )
    for number, step in enumerate(steps):
        if step.action == FORCE and not any(former.prepares(step) for former in steps[:number]):
            raise InvalidInput(
                f"the escalation forces '{step.selector.text}' after {step.after} s without a delete before",
                remedy=f"Add an earlier step {DELETE} or {DELETE_GRACE_1} with the same selector, or with none",
            )
    return steps


def normal_step(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One step with all its parts, as text; for variables that nobody has typed. Raises InvalidInput."""
    known = ESCALATION_OPTION["options"]
    unknown = sorted(str(key) for key in entry if key not in known)
    given = {key: value for key, value in entry.items() if value not in (None, "")}
    missing = [key for key, option in known.items() if option.get("required") and key not in given]
    if unknown:
        raise InvalidInput(f"a step has {', '.join(known)}, not {', '.join(unknown)}")
    if missing:
        raise InvalidInput(f"a step lacks {missing[0]}")
    step = {key: str(given.get(key, option.get("default", ""))) for key, option in known.items()}
    for key in ("action", "budgets"):
        if step[key] not in known[key]["choices"]:
            raise InvalidInput(f"{key} is one of {', '.join(known[key]['choices'])}, not {step[key]}")
    _read_step(step)
    return step


def _read_step(entry: Mapping[str, Any]) -> Step:
    return Step(
        after=parse_duration(entry["after"]),
        action=entry["action"],
        selector=parse_selector(entry.get("selector") or ""),
        budgets=entry.get("budgets") or KEEP,
    )


@dataclass
class Climb:
    """How far one pod has been escalated: the number of the last step taken, and when; and when a step was last sent
    that may have had effect, whatever the answer."""

    last: int = -1
    at: float | None = None
    touched_at: float | None = None
    rests: dict[int, float] = field(default_factory=dict)  # number of a step -> until when it need not be tried
    troubles: int = 0  # how often the API could not take the next one
    not_before: float = 0.0


class Ladder:
    """The escalation of one node: which step is due for which of its pods.

    Of several that are due for a pod the last counts: who goes on with a drain does not begin at its first step. None
    is taken twice.
    """

    def __init__(self, steps: Sequence[Step], began: float, poll_seconds: float) -> None:
        self.began = began
        self._steps, self._poll_seconds = tuple(steps), poll_seconds
        self._climbs: dict[str, Climb] = {}

    def due(self, departures: Iterable[Departure], now: float) -> list[tuple[Departure, Step]]:
        """The steps to be taken now."""
        found = ((departure, self._due(departure, now)) for departure in departures)
        return [(departure, step) for departure, step in found if step is not None]

    def taken(self, departure: Departure, step: Step, now: float) -> None:
        """The API server has accepted it."""
        climb = self._climb(departure)
        climb.last, climb.at, climb.touched_at, climb.troubles = self._steps.index(step), now, now, 0

    def spared(self, departure: Departure, step: Step, now: float) -> None:
        """It must not be taken as things are, for example because of a budget that it does not overrule."""
        self._climb(departure).rests[self._steps.index(step)] = now + SPARED_LOOKS * self._poll_seconds

    def troubled(self, departure: Departure, step: Step, now: float, *, perhaps: bool = False) -> None:
        """The API could not take it for now, or ``perhaps`` it has: it is tried again, as long as we are patient."""
        climb = self._climb(departure)
        climb.touched_at = now if perhaps else climb.touched_at
        climb.troubles += 1
        climb.not_before = now + self._poll_seconds
        if climb.troubles >= PATIENCE_POLLS:
            self.spared(departure, step, now)

    def helps(self, departures: Iterable[Departure], now: float) -> bool:
        """Whether there is hope: a step that is being taken, is to come, or may yet have effect."""
        return any(self._hopes(departure, now) for departure in departures)

    def _hopes(self, departure: Departure, now: float) -> bool:
        climb = self._climb(departure)
        if departure.sending:
            return True
        patience = departure.pod.grace_seconds + PATIENCE_LOOKS * self._poll_seconds
        if climb.touched_at is not None and now - climb.touched_at < patience:
            return True
        ahead = [step for number, step in self._ahead(departure) if climb.rests.get(number, now) <= now]
        stopping = departure.terminating_since is not None
        return any(
            now < self.began + step.after
            or step.fits(departure, climb.at, now, self._poll_seconds)
            or (step.action == FORCE and stopping)  # once its grace is over
            for step in ahead
        )

    def _due(self, departure: Departure, now: float) -> Step | None:
        climb, since = self._climb(departure), departure.in_the_way_since
        if departure.sending or now < climb.not_before:
            return None
        if since is not None and now - since < IN_THE_WAY_LOOKS * self._poll_seconds:
            return None
        due = [
            step
            for number, step in self._ahead(departure)
            if now >= self.began + step.after
            and climb.rests.get(number, now) <= now
            and step.fits(departure, climb.at, now, self._poll_seconds)
        ]
        return due[-1] if due else None

    def _ahead(self, departure: Departure) -> list[tuple[int, Step]]:
        """The steps that were not taken for this pod, with their numbers."""
        last = self._climb(departure).last
        return [item for item in enumerate(self._steps) if item[0] > last and item[1].selects(departure)]

    def _climb(self, departure: Departure) -> Climb:
        return self._climbs.setdefault(departure.pod.uid, Climb())
