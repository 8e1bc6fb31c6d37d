# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One node on its way to being empty: what was seen of its pods, what was asked, what is in the way. No I/O.

The engine tells it what the watch saw and what the server answered, and asks it which pods to evict next. All times
are seconds of the engine's clock.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain import answers
from ansible_collections.evergreen.eks.plugins.module_utils.drain.answers import Answer
from ansible_collections.evergreen.eks.plugins.module_utils.drain.case import (
    BELOW_FLOOR,
    KEEPS_RETURNING,
    NOT_COMPLETED,
    NOT_ITS_TURN,
    NOT_SENT,
    PASSING_KINDS,
    TERMINATING,
    Blocked,
    Picture,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.dead import Vitals
from ansible_collections.evergreen.eks.plugins.module_utils.drain.diagnosis import Diagnosis, diagnose
from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import (
    DELETE,
    EVICT,
    REFUSE,
    SKIP,
    WAIT,
    Verdict,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.order import BY_PRIORITY, Order, Turns
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.drain.waits import Waits
from ansible_collections.evergreen.eks.plugins.module_utils.moments import ServerTime
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node

# In looks (poll_seconds): how long an accepted eviction may stay without effect before it is asked again.
PATIENCE_LOOKS = 12
# How many looks after an outage what is seen may still be of before it.
SETTLE_LOOKS = 2
# A controller that has put its pods back on the cordoned node this often will go on doing so.
RETURNS = 5


@dataclass
class Departure:
    """One pod that is to leave, or was seen leaving."""

    pod: Pod
    verdict: Verdict
    landed: bool = False  # after the drain began
    rank: int = 0  # the wave that it is in
    on_hold: bool = False  # it is not evicted yet: it is to leave by itself, or to be left alone for a while
    behind: str = ""  # who of an earlier wave is still there
    attempts: int = 0
    sending: bool = False
    accepted: bool = False
    not_before: float = 0.0
    terminating_since: float | None = None
    obstacle: Answer | None = None
    blocked_since: str = ""
    blocked_at: float | None = None
    met_at: float = 0.0
    diagnosis: Diagnosis | None = None
    told_kind: str = ""
    told_reason: str = ""
    abandoned: bool = False  # given up with its node, see C(dead)

    @property
    def by_us(self) -> bool:
        """Whether it was our eviction that made it go; also when the answer to it was lost."""
        return self.accepted or (self.obstacle is not None and self.obstacle.reason == answers.API_ERROR)

    @property
    def asked(self) -> bool:
        """Whether all was done that can be done to make it leave: on a dead node it is given up then."""
        if self.verdict.action in (EVICT, DELETE) and not self.on_hold:
            return self.accepted or (self.obstacle is not None and not self.sending)
        # Whether one that was to complete still would, after its time, nobody can tell either.
        return not self.refused or self.verdict.reasons[0].reason == NOT_COMPLETED

    @property
    def ends_by_itself(self) -> bool:
        """It is waited for, and that has an end of its own."""
        return self.on_hold and self.verdict.hold is not None and self.verdict.hold.until is not None

    @property
    def refused(self) -> bool:
        """It must not be evicted, and nothing is waited for (any more) that would change that."""
        return self.verdict.action == REFUSE and not self.on_hold

    @property
    def hopeless(self) -> bool:
        """No attempt will succeed while things are as they are."""
        return self.refused or (
            self.obstacle is not None
            and self.obstacle.next == answers.PERMANENT
            and not self.sending
            and not self.on_hold
        )

    def record(self, since: str) -> dict[str, Any]:
        """The entry of C(blocked) in the result. ``since`` serves where nothing was in the way until now."""
        return {**self.brief(since), **self._diagnosis(since).record()}

    def brief(self, since: str) -> dict[str, Any]:
        """The same without the diagnosis, for what is told often."""
        reason, message, budget = self._explanation()
        return {
            "pod": str(self.pod),
            "uid": self.pod.uid,
            "budget": budget,
            "reason": reason,
            "message": message,
            "since": self.blocked_since or since,
            "attempts": self.attempts,
        }

    @property
    def in_the_way_since(self) -> float | None:
        """When it was first seen stopping, or else refused; None where nothing was asked of it."""
        return self.blocked_at if self.terminating_since is None else self.terminating_since

    def stuck(self, now: float, seconds: float) -> bool:
        """Whether it has not left for so long although it should. A pod that was asked to stop has its grace first."""
        since = self.blocked_at if self.obstacle else None
        if self.on_hold:
            since = None
        elif self.terminating_since is not None:
            since = self.terminating_since + self.pod.grace_seconds
        elif self.refused:
            hold = self.verdict.hold
            since = max(self.met_at, hold.until or 0.0) if hold else self.met_at
        return since is not None and now - since >= seconds

    @property
    def explained(self) -> bool:
        """Whether there is a diagnosis, and it is of what is in the way now."""
        return self.diagnosis is not None and self.diagnosis.reason == self._explanation()[0]

    def blocked(self, since: str, node: Node | None = None, now: float = 0.0) -> Blocked:
        """What a diagnosis is made of."""
        reason, message, budget = self._explanation()
        return Blocked(
            pod=self.pod,
            reason=reason,
            message=message,
            budget=budget,
            since=self.blocked_since or since,
            node=node,
            overdue=self.terminating_since is not None and now > self.terminating_since + self.pod.grace_seconds,
        )

    def meet(self, obstacle: Answer, now: float, timestamp: str) -> None:
        """Something is in its way."""
        self.obstacle = obstacle
        self.blocked_since = self.blocked_since or timestamp
        self.blocked_at = now if self.blocked_at is None else self.blocked_at

    def tells(self, obstacle: Answer) -> bool:
        """Whether this was not told before; it counts as told from here on."""
        former, self.told_reason = self.told_reason, obstacle.reason
        return former != obstacle.reason

    def learn(self, diagnosis: Diagnosis) -> bool:
        """Note why it does not leave. True when that is worth telling: for the first time, or it is of another kind."""
        former = self.diagnosis
        if diagnosis.reason != self._explanation()[0]:
            return False  # it is something else by now
        if former and former.reason == diagnosis.reason and former.budgets and not diagnosis.budgets:
            return False  # this time the budgets could not be read
        self.diagnosis = diagnosis
        if diagnosis.kind == self.told_kind or (self.told_kind and diagnosis.kind in PASSING_KINDS):
            return False
        self.told_kind = diagnosis.kind
        return True

    def _diagnosis(self, since: str) -> Diagnosis:
        """The diagnosis; where none was made yet, what can be said without having read anything."""
        if self.diagnosis is not None and self.explained:
            return self.diagnosis
        return diagnose(self.blocked(since), Picture())

    def _explanation(self) -> tuple[str, str, str]:
        if self.on_hold and self.verdict.hold:
            return self.verdict.hold.reason, self.verdict.hold.message, ""
        if self.refused:
            return self.verdict.reasons[0].reason, "; ".join(why.message for why in self.verdict.reasons), ""
        if self.verdict.action == WAIT or self.accepted:
            held = f"; its finalizers are {', '.join(self.pod.finalizers)}" if self.pod.finalizers else ""
            return TERMINATING, f"it was asked to stop and has not stopped yet{held}", ""
        if self.obstacle:
            return self.obstacle.reason, self.obstacle.message, self.obstacle.budget
        if self.behind:
            return NOT_ITS_TURN, f"its turn comes when those before it are gone: {self.behind}", ""
        return NOT_SENT, "its eviction has not been sent yet", ""


class NodeDrain:
    """The state of one node's drain."""

    def __init__(self, node: Node, poll_seconds: float, order: Order = BY_PRIORITY) -> None:
        self.vitals = Vitals(node)
        self.poll_seconds = poll_seconds
        self.order = order
        self.waits = Waits()
        self.departures: dict[str, Departure] = {}
        self.skipped: dict[str, tuple[Pod, Verdict]] = {}
        self.warnings: dict[tuple[str, str], dict[str, str]] = {}
        self.evicted: list[str] = []
        self.volumes: list[str] = []  # that are still attached, of pods that are gone
        self.forced: dict[tuple[str, str], dict[str, Any]] = {}  # by UID and action
        self.fresh = False  # whether what is known of the pods is being kept up to date
        self.fresh_since = 0.0
        self.out_of_sight = ""  # why it is not, where an API in trouble is the reason
        self._turns = Turns(order)
        self._returns: Counter[str] = Counter()
        self._begun = False

    @property
    def node(self) -> Node:
        """As it was seen last."""
        return self.vitals.node

    @property
    def where(self) -> dict[str, str]:
        """The fields by which events of the journal name it."""
        return {"node": self.node.name, "instance": self.node.instance_id}

    # --- what the watch saw

    def see_all(self, seen: Iterable[tuple[Pod, Verdict]], now: float) -> None:
        """All pods of the node, as of now: those that are missing are gone."""
        seen = list(seen)
        present = {pod.uid for pod, _verdict in seen}
        for uid in [uid for uid in (*self.departures, *self.skipped) if uid not in present]:
            self.see_gone(uid)
        for pod, verdict in seen:
            self.see(pod, verdict, now)
        self._begun = True
        self.fresh_since = self.fresh_since if self.fresh else now
        self.fresh, self.out_of_sight = True, ""

    def lose_sight(self, why: str) -> None:
        """What is known of the pods is of yesterday from now on: nothing is decided on it."""
        self.fresh = False
        self.out_of_sight = why or self.out_of_sight

    def see(self, pod: Pod, verdict: Verdict, now: float) -> None:
        """One pod as it is now."""
        for warning in verdict.warnings:
            entry = {"pod": str(pod), "reason": warning.reason, "message": warning.message}
            self.warnings[(pod.uid, warning.reason)] = entry
        if verdict.action == SKIP:
            self.waits.ended(pod)
            self.departures.pop(pod.uid, None)
            self.skipped[pod.uid] = (pod, verdict)
            return
        self.skipped.pop(pod.uid, None)
        departure = self.departures.get(pod.uid)
        if departure is None:
            departure = self.departures[pod.uid] = Departure(pod, verdict, landed=self._begun, met_at=now)
            self._suspect_return(departure)
        if departure.verdict.action == DELETE and departure.attempts:
            verdict = departure.verdict  # it had ended when it was deleted: whatever finalizers hold, nothing runs
        departure.pod, departure.verdict, departure.rank = pod, verdict, self.order.rank(pod)
        departure.on_hold = verdict.hold is not None and verdict.hold.lasts(now)
        if departure.on_hold and verdict.hold:
            self.waits.began(pod, verdict.hold)
        if verdict.action == WAIT and departure.terminating_since is None:
            departure.terminating_since = now
            departure.accepted = departure.by_us
            departure.obstacle = None

    def see_gone(self, uid: str) -> None:
        """A pod is not there any more."""
        self.skipped.pop(uid, None)
        departure = self.departures.pop(uid, None)
        self.waits.gone(uid, evicted=departure is not None and departure.by_us)
        if departure and departure.by_us:
            self._count_evicted(departure)

    def tell_time(self, now: float) -> None:
        """Whose hold is over by now, and whose turn it is."""
        for departure in self.departures.values():
            departure.on_hold = departure.verdict.hold is not None and departure.verdict.hold.lasts(now)
        leaving = self.leaving
        turn = self._turns.open((departure.rank for departure in leaving), now)
        before = [str(departure.pod) for departure in leaving if departure.rank <= turn]
        more = f" and {len(before) - 1} more" if len(before) > 1 else ""
        for departure in leaving:
            waits = departure.rank > turn and departure.verdict.action == EVICT
            departure.behind = f"{min(before)}{more}" if waits else ""

    def settled(self, now: float) -> bool:
        """Whether the pods have been in sight for a few looks: after an outage kubelets first tell what has ended."""
        return self.fresh and now - self.fresh_since >= SETTLE_LOOKS * self.poll_seconds

    # --- what the server answered

    def due(self, now: float, *, in_order: bool = True) -> list[Departure]:
        """The pods for which an eviction is to be sent now, of the wave whose turn it is, or of all."""
        self.tell_time(now)
        ready = self._unsent() if self.fresh else []
        return [one for one in ready if one.not_before <= now and not (in_order and one.behind)]

    def next_due(self) -> float | None:
        """When the next eviction will be due, or somebody is waited for no more; None when there is none to send."""
        if not self.fresh:
            return None
        moments = [departure.not_before for departure in self._unsent() if not departure.behind]
        holds = [one.verdict.hold for one in self.departures.values() if one.on_hold]
        moments += [hold.until for hold in holds if hold and hold.until is not None]
        moments += [self._turns.next_at] if self._turns.next_at is not None else []
        return min(moments, default=None)

    def sent(self, departure: Departure) -> None:
        departure.sending = True
        departure.attempts += 1

    def answered(self, departure: Departure, answer: Answer, now: float, timestamp: str) -> bool:
        """Note the answer to an eviction. True when the obstacle is worth telling: it stands after a second try."""
        departure.sending = False
        still_here = departure.pod.uid in self.departures
        if answer.next == answers.GONE:
            self.see_gone(departure.pod.uid)
            return False
        if answer.next == answers.ACCEPTED:
            departure.accepted = True
            departure.obstacle = None
            departure.not_before = now + PATIENCE_LOOKS * self.poll_seconds
            if not still_here:
                self._count_evicted(departure)
            return False
        former = departure.obstacle
        departure.meet(answer, now, timestamp)
        departure.not_before = now + self._pause(departure, answer)
        if answer.next == answers.PERMANENT:
            return departure.tells(answer)
        if former is None or (former.reason == answer.reason and departure.attempts < 2):
            return False
        return departure.tells(answer)

    def held(self, departure: Departure, answer: Answer, now: float, timestamp: str) -> bool:
        """A budget does not let it go now, so nothing was sent. True when that is worth telling: it has lasted."""
        if departure.obstacle is None or departure.obstacle.reason != answers.API_ERROR:
            departure.meet(answer, now, timestamp)
        lasts = departure.blocked_at is not None and now - departure.blocked_at >= self.poll_seconds
        return lasts and departure.tells(answer)

    def look_at(self, vitals: Vitals, time: ServerTime, patience: float, *, in_doubt: bool = False) -> None:
        """The Node itself; on a dead one there is nobody to tell that a pod has ended, so it is given up. ``in_doubt``
        whether it is dead only those are whose eviction was sent."""
        self.vitals = vitals
        for departure in self.departures.values():
            holds = vitals.holds(departure.pod.deleted_at, time, patience)
            tried = departure.attempts > 0 or departure.verdict.action == WAIT or not in_doubt
            departure.abandoned = departure.asked and tried and not holds

    def node_gone(self) -> None:
        """The Node is no more, and with it whoever could tell what becomes of its pods."""
        for departure in self.departures.values():
            departure.abandoned = True

    def held_back(self, message: str) -> None:
        """Whatever has not even been tried was held back by the floor."""
        for departure in self.leaving:
            if departure.verdict.action == EVICT and not departure.attempts and departure.obstacle is None:
                departure.obstacle = Answer(answers.RETRY, BELOW_FLOOR, message)

    # --- how far it is

    @property
    def leaving(self) -> list[Departure]:
        """The pods for which the node is not empty yet. A finished pod does not count once its eviction was tried."""
        return [
            departure
            for departure in self.departures.values()
            if (departure.verdict.action != DELETE or departure.sending or not departure.attempts)
            and not departure.abandoned
        ]

    @property
    def abandoned(self) -> list[str]:
        """The pods that were given up, as ``namespace/name``."""
        return sorted(str(departure.pod) for departure in self.departures.values() if departure.abandoned)

    @property
    def staying(self) -> list[Pod]:
        """The pods that stay until the node is gone."""
        return [pod for pod, _verdict in self.skipped.values()]

    @property
    def refused(self) -> list[Departure]:
        """The pods that forbid that the node is drained at all; not those that have been waited for in vain."""
        return [one for one in self.departures.values() if one.refused and one.verdict.hold is None]

    @property
    def hopeless(self) -> bool:
        """Pods remain, and none of them will leave by what we may do; nor will those whose turn then never comes. On a
        dead node whoever was asked is given up in a while."""
        last = [one for one in self.leaving if self.order.timeout or not one.behind]
        given_up = [one for one in last if self.vitals.dead and one.asked]
        return self.fresh and bool(last) and not given_up and all(departure.hopeless for departure in last)

    @property
    def only_waits(self) -> bool:
        """Nothing is left to be done here but to wait for pods that have a deadline of their own, and for whose turn
        comes after them."""
        leaving = self.leaving
        return any(one.ends_by_itself for one in leaving) and all(one.ends_by_itself or one.behind for one in leaving)

    def result(self, timestamp: str) -> dict[str, Any]:
        """The lists of this node's entry in the module's result."""
        leaving = sorted(self.leaving, key=lambda departure: str(departure.pod))
        return {
            "instance_id": self.node.instance_id,
            "evicted": sorted(self.evicted),
            "skipped": sorted(
                ({"pod": str(pod), "reason": verdict.reasons[0].reason} for pod, verdict in self.skipped.values()),
                key=lambda entry: entry["pod"],
            ),
            "waited": self.waits.records(
                on_hold={uid for uid, departure in self.departures.items() if departure.on_hold},
                abandoned={uid for uid, departure in self.departures.items() if departure.abandoned},
            ),
            "blocked": [departure.record(timestamp) for departure in leaving],
            "abandoned": self.abandoned,
            "volumes_pending": self.volumes,
            "forced": list(self.forced.values()),
            "warnings": sorted(self.warnings.values(), key=lambda entry: (entry["pod"], entry["reason"])),
        }

    def _unsent(self) -> list[Departure]:
        return [
            departure
            for departure in self.departures.values()
            if departure.verdict.action in (EVICT, DELETE)
            and not departure.sending
            and not departure.abandoned
            and not departure.on_hold
            and not departure.hopeless
            and not (departure.verdict.action == DELETE and departure.attempts)
        ]

    def _pause(self, departure: Departure, answer: Answer) -> float:
        """Seconds until the next try: one look at first, up to three, a quarter of it by chance; or as told."""
        if answer.pause is not None:
            return answer.pause
        return self.poll_seconds * min(1 + 0.5 * (departure.attempts - 1), 3) * random.uniform(0.75, 1.0)

    def _suspect_return(self, departure: Departure) -> None:
        """A pod that landed while we drain: the scheduler was late, or somebody does not heed the cordon."""
        controller = departure.pod.controller
        if departure.landed and controller and self._returns[controller.uid] >= RETURNS:
            message = f"its {controller} has put pods back on this node {RETURNS} times, although it is cordoned"
            departure.obstacle = Answer(answers.PERMANENT, KEEPS_RETURNING, message)

    def _count_evicted(self, departure: Departure) -> None:
        self.evicted.append(str(departure.pod))
        if departure.landed and departure.pod.controller:
            self._returns[departure.pod.controller.uid] += 1
