# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is in the way of a drain, told so that it can be read: each pod as data, one line for all of the same.

Budgets say no all the time, and that is how they work: a line comes when somebody has waited for half a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import Departure, NodeDrain
from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

PATIENT_SECONDS = 30.0
LOOK_SECONDS = 1.0
# Seconds after which a line comes without a diagnosis: it should have been made by then.
UNDIAGNOSED_SECONDS = 15.0

Pair = tuple[NodeDrain, Departure]


@dataclass(frozen=True)
class Obstacle:
    """What several pods may be blocked by: a budget, or else the word for it, and what helps."""

    budget: str
    kind: str
    remedy: str = ""

    def __str__(self) -> str:
        return self.budget or self.kind.replace("_", " ")


def obstacle_of(departure: Departure, since: str) -> Obstacle:
    """By its diagnosis, where that is of what is in its way now."""
    brief = departure.brief(since)
    budget = _qualified(brief["budget"], departure.pod.namespace)
    if departure.diagnosis is not None and departure.explained:
        budget = budget or ", ".join(str(one) for one in departure.diagnosis.budgets)
        return Obstacle(budget, departure.diagnosis.kind, departure.diagnosis.remedy)
    return Obstacle(budget, brief["reason"])


def _qualified(budgets: str, namespace: str) -> str:
    """C(shop/web) of C(web): the server names a budget of the pod's namespace without it."""
    return ", ".join(name if "/" in name else f"{namespace}/{name}" for name in budgets.split(", ") if name)


class Blocks:
    """What was told of the pods that do not leave. One thread."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._known: dict[str, tuple[str, str, str, float]] = {}  # by UID: pod, budget, reason, since when
        self._told: dict[str, float] = {}  # obstacles, since when
        self._look_at = 0.0

    def met(self, drain: NodeDrain, departure: Departure) -> None:
        """A pod was not let go: data for the report."""
        record = departure.brief(self._call.clock.timestamp())
        since = self._call.clock.now() if departure.blocked_at is None else departure.blocked_at
        self._known[departure.pod.uid] = (record["pod"], record["budget"], record["reason"], since)
        self._call.journal.write("pod_blocked", **drain.where, **record)

    def look(self, drains: Iterable[NodeDrain]) -> list[Sequence[Pair]]:
        """Tell what has lasted, and what is over; answers the pods that were told of, all of one obstacle together."""
        now = self._call.clock.now()
        if now < self._look_at:
            return []
        self._look_at = now + LOOK_SECONDS
        leaving = [(drain, departure) for drain in drains for departure in drain.leaving]
        self._over({departure.pod.uid for _drain, departure in leaving if in_the_way(departure)})
        return self.tell(leaving, PATIENT_SECONDS)

    def ended(self, drains: Iterable[NodeDrain]) -> None:
        """The drain is over; who is still there was given up."""
        self._over({uid for drain in drains for uid in drain.departures})

    def tell(self, leaving: Iterable[Pair], least: float) -> list[Sequence[Pair]]:
        """One line for each obstacle that is not told yet and that somebody has waited for so long."""
        now = self._call.clock.now()
        stuck = [(drain, departure) for drain, departure in leaving if departure.stuck(now, least)]
        groups: dict[Obstacle, list[Pair]] = {}
        for drain, departure in stuck:
            late = departure.stuck(now, least + UNDIAGNOSED_SECONDS)
            if departure.explained or late or not least:
                found = obstacle_of(departure, self._call.clock.timestamp())
                groups.setdefault(found, []).append((drain, departure))
        fresh = {obstacle: pairs for obstacle, pairs in groups.items() if str(obstacle) not in self._told}
        for obstacle, pairs in fresh.items():
            if str(obstacle) not in self._told:
                self._tell(obstacle, pairs, now)
        present = {str(obstacle) for obstacle in groups} if least else set(self._told)
        for name in self._told.keys() - present - _possible(stuck):
            seconds = round(now - self._told.pop(name))
            text = f"no pod is held up by {name} any more, after {seconds} s"
            self._call.journal.write("pods_unblocked", budget=name, seconds=seconds, text=text)
        return list(fresh.values())

    def _tell(self, obstacle: Obstacle, pairs: Sequence[Pair], now: float) -> None:
        drain, departure = pairs[0]
        since = min(now if one.blocked_at is None else one.blocked_at for _drain, one in pairs)
        self._told[str(obstacle)] = since
        nodes = sorted({each.node.name for each, _departure in pairs})
        if departure.diagnosis is not None and departure.explained:
            text = departure.diagnosis.line(len(pairs) - 1)
        else:
            others = f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
            text = f"{departure.pod}{others}: {departure.brief('')['message']}"
        self._call.journal.write(
            "pods_blocked",
            text=text,
            pods=[str(one.pod) for _drain, one in pairs],
            nodes=nodes,
            budget=obstacle.budget,
            reason=departure.brief("")["reason"],
            seconds=round(now - since),
            remedy=obstacle.remedy,
            **{"class": obstacle.kind},
        )

    def _over(self, still: set[str]) -> None:
        """Who was blocked and is so no more."""
        now = self._call.clock.now()
        for uid in [uid for uid in self._known if uid not in still]:
            pod, budget, reason, since = self._known.pop(uid)
            seconds = round(now - since)
            self._call.journal.write("pod_unblocked", pod=pod, uid=uid, budget=budget, reason=reason, seconds=seconds)

    def summary(self, leaving: Iterable[Pair]) -> tuple[int, str]:
        """How many pods are blocked, and by what most of them are: C(3 blocked by web/web-pdb for 40 s)."""
        blocked = [departure for _drain, departure in leaving if in_the_way(departure)]
        if not blocked:
            return 0, ""
        now = self._call.clock.now()
        names = {departure.pod.uid: str(obstacle_of(departure, "")) for departure in blocked}
        (most, number), *others = Counter(names.values()).most_common()
        since = min(departure.blocked_at or now for departure in blocked if names[departure.pod.uid] == most)
        text = f"{number} blocked by {most} for {now - since:.0f} s"
        rest = sum(count for _name, count in others)
        return len(blocked), text + (f", {rest} by others" if rest else "")


def _possible(stuck: Iterable[Pair]) -> set[str]:
    """What those who are stuck may have been told of as blocked by, also where the diagnosis is being renewed."""
    found: set[str] = set()
    for _drain, departure in stuck:
        brief = departure.brief("")
        kind = departure.diagnosis.kind if departure.diagnosis else brief["reason"]
        budget = _qualified(brief["budget"], departure.pod.namespace)
        found |= {str(Obstacle(budget, kind)), str(Obstacle("", kind)), str(Obstacle("", brief["reason"]))}
    return found


def in_the_way(departure: Departure) -> bool:
    """Whether it was refused, and not let go since."""
    return departure.obstacle is not None and not departure.accepted


def named(pairs: Sequence[Pair]) -> str:
    """C(2 pods, among them shop/web-1)."""
    return f"{counted(len(pairs), 'pod')}, among them {pairs[0][1].pod}" if len(pairs) > 1 else str(pairs[0][1].pod)
