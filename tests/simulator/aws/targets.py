# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is registered with one target group or one classic load balancer, and how each of them fares over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulator.aws.agenda import Agenda, Due

Key = tuple[str, int]  # target id, port (0 with a classic load balancer)


@dataclass(frozen=True)
class Rules:
    """How targets are treated, in seconds of the world: health checks (interval x threshold) and draining."""

    healthy_after: float
    unhealthy_after: float
    drains_for: float


@dataclass
class Target:
    """One target: "initial", "healthy", "unhealthy" or "draining". ``since`` then it answers, or does not."""

    target_id: str
    port: int
    registered: float
    answers: bool
    since: float
    state: str = "initial"
    due: Due | None = None


class Pool:
    """The targets of one load balancer. ``rules`` are asked for each time, because they may be changed meanwhile."""

    def __init__(self, agenda: Agenda, rules: Callable[[], Rules], answers: Callable[[str], bool]):
        self._agenda = agenda
        self.rules = rules
        self.answers = answers
        self.targets: dict[Key, Target] = {}
        #: whoever was registered and is not any more
        self.left: set[str] = set()

    def of(self, target_id: str) -> list[Target]:
        """All registrations of one instance: there may be one a port."""
        return [target for target in self.targets.values() if target.target_id == target_id]

    def registered(self) -> set[str]:
        """The ids of the targets, without those that are being drained."""
        return {target.target_id for target in self.targets.values() if target.state != "draining"}

    def routable(self) -> list[str]:
        """Where new requests go: to the healthy; where nobody is healthy, to all that are not being drained."""
        open_to_it = [target for target in self.targets.values() if target.state != "draining"]
        healthy = [target for target in open_to_it if target.state == "healthy"]
        return sorted({target.target_id for target in healthy or open_to_it})

    def register(self, target_id: str, port: int) -> None:
        """A new target; one that is being drained comes back, one that is registered stays as it is."""
        known = self.targets.get((target_id, port))
        if known is not None and known.state != "draining":
            return
        if known is not None and known.due:
            known.due.cancel()
        now = self._agenda.now()
        self.left.discard(target_id)
        self.targets[target_id, port] = Target(target_id, port, now, self.answers(target_id), now)

    def deregister(self, target_id: str, port: int | None = None) -> float:
        """Begin to drain its registrations; answers how many seconds that still takes (0: it is out)."""
        leaving = [target for target in self.of(target_id) if port in (None, target.port)]
        delay = self.rules().drains_for
        for target in leaving:
            self.left.add(target_id)
            if target.state == "draining":
                continue
            target.state = "draining"
            if delay:
                target.due = self._agenda.after(delay, lambda one=target: self._drop(one))
            else:
                self._drop(target)
        return max((target.due.at - self._agenda.now() for target in leaving if target.due), default=0.0)

    def drop(self, target_id: str) -> None:
        """It is out at once: its instance has ended."""
        for target in self.of(target_id):
            if target.due:
                target.due.cancel()
            self._drop(target)
            self.left.add(target_id)

    def check(self) -> list[str]:
        """Look at the health of all targets; answers who has become unhealthy."""
        rules, now, fallen = self.rules(), self._agenda.now(), []
        for target in self.targets.values():
            if target.state == "draining":
                continue
            answers = self.answers(target.target_id)
            if answers != target.answers:
                target.answers, target.since = answers, now
            for_so_long = now - target.since
            if answers and for_so_long >= rules.healthy_after:
                target.state = "healthy"
            elif not answers and for_so_long >= rules.unhealthy_after and target.state != "unhealthy":
                target.state = "unhealthy"
                fallen.append(target.target_id)
        return fallen

    def _drop(self, target: Target) -> None:
        if self.targets.get((target.target_id, target.port)) is target:
            del self.targets[target.target_id, target.port]
