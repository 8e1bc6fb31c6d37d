# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What waiting for instances at load balancers, taking them out, and putting them back have in common.

Each is a loop of looks that may end at any moment and begin anew: what is to be done follows from what AWS says now,
and from the tags that stand on an instance since before it was first deregistered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.decisions import (
    LEAST_FAR_FIRST,
    NO_BALANCER,
    REMEDIES,
    SETTLED,
    Request,
    Standing,
    instance_answer,
)
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.read import read_pool
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.records import Balancer, Pool, in_order
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, WaitTimeout, counted
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    Group,
    Instance,
    describe_group,
    describe_instances,
)
from ansible_collections.evergreen.eks.plugins.module_utils.journal import DEREGISTERED, SERVING
from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat, Stand, wait_patiently
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

NAMED = 5
# What is told of an instance that has come to be where it is to be: the stage in the journal, and the words.
ARRIVED = {"healthy": (SERVING, "gets traffic"), "gone": (DEREGISTERED, "out of load balancers")}


class Work:
    """What the three have in common: look until every instance is settled, then answer."""

    nowhere = NO_BALANCER
    wanted = ""  # what the instances are to be, for a person

    def __init__(self, request: Request, aws: Aws, call: Call) -> None:
        self.request = request
        self.standings: dict[str, dict[Balancer, Standing]] = {}
        self.pools: dict[Balancer, Pool | None] = {}
        self.touched: set[str] = set()
        self.before: dict[str, list[str]] = {}
        self._aws = aws
        self._call = call
        self._looked = False
        self._open_since: dict[str, float] = {}  # since when it was seen not to be where it is to be
        self._answered = False  # AWS has answered something: silence is an outage now, not a wrong address

    def look(self) -> None:
        """See how far everybody is, and do what can be done now. In check mode nothing is done."""
        raise NotImplementedError

    def run(self) -> dict[str, Any]:
        """Raises EvergreenError where it does not come to its end, in time or at all; with the answer so far."""
        try:
            self._see_to_it()
        except EvergreenError as error:
            if self.standings:
                error.details = {**self.answer(), **error.details}
            raise
        return self.answer()

    def _see_to_it(self) -> None:
        self._wait(lambda: True, self.request.timeout)
        if self.open() and not self.hopeless():
            seconds = self.request.timeout and self.request.timeout + self.grace()
            self._call.clock.sleep(self.request.poll_seconds)
            try:
                self._wait(lambda: not self.open() or self.hopeless(), seconds)
            except WaitTimeout:
                raise self.failure(f"within {seconds:g} s") from None
        if self.open():
            raise self.failure("and waiting on does not help")

    def foretell(self) -> dict[str, Any]:
        """Check mode: one look, and no failure for what it sees."""
        self.look()
        return self.answer()

    def grace(self) -> float:
        """Seconds that AWS needs in any case, beside the time that is given for everything else."""
        return 0.0

    def hopeless(self) -> bool:
        """Whether waiting on is of no use."""
        return False

    def open(self) -> list[str]:
        """The instances that are not where they are to be."""
        settled = SETTLED[self.request.state]
        return [
            instance_id
            for instance_id, standings in self.standings.items()
            if any(entry.reason not in settled for entry in standings.values())
        ]

    def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        wait_patiently(
            self._look_once,
            lambda _seen: done(),
            call=self._call,
            deadline=Deadline(self._call.clock, seconds),
            interval=self.request.poll_seconds,
            heartbeat=Heartbeat(self._call),
            describe=lambda _seen: self._stand(),
            connected=lambda: self._answered or self._call.established,
        )

    def _look_once(self) -> None:
        self._call.before_look()
        self.look()
        if not self._looked:
            self.before = self._picture()
        self._looked = True
        self._tell_arrived()

    def _tell_arrived(self) -> None:
        """Who has come to be where it is to be since the look before; who was there from the first is no news."""
        still_open, now = set(self.open()), self._call.clock.now()
        for instance_id in self.standings:
            if instance_id in still_open:
                self._open_since.setdefault(instance_id, now)
            elif instance_id in self._open_since and self.request.state in ARRIVED:
                seconds = round(now - self._open_since.pop(instance_id))
                stage, text = ARRIVED[self.request.state]
                self.say("node_stage", f"{text} after {seconds} s", to=stage, instance=instance_id, seconds=seconds)

    def _group(self) -> Group:
        """The group as it is now."""
        group = describe_group(self._aws, self.request.asg_name)
        self._answered = True
        return group

    def _instances(self, ids: Iterable[str]) -> dict[str, Instance]:
        """EC2's view of these instances."""
        instances = describe_instances(self._aws, ids)
        self._answered = True
        return instances

    def _read(self, balancers: Iterable[Balancer], also: Iterable[str] = ()) -> None:
        """Look at the targets of these load balancers."""
        wanted = sorted(also)
        self.pools = {balancer: read_pool(self._aws, balancer, wanted) for balancer in in_order(balancers)}

    # --- telling ---

    def _stand(self) -> Stand:
        total = len(self.standings)
        return Stand(self.story(), total - len(self.open()), total)

    def story(self) -> str:
        """`2 of 3 instances of shared are not healthy in their load balancers: i-1 in target group web: initial`"""
        missing = self.open()
        text = f"{len(missing)} of {counted(len(self.standings), 'instance')} of {self.request.asg_name}"
        lines = [line for instance_id in missing for line in self._lines(instance_id)]
        more = f"; and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
        return f"{text} are not {self.wanted}: {'; '.join(lines[:NAMED])}{more}"

    def _lines(self, instance_id: str) -> list[str]:
        settled = SETTLED[self.request.state]
        return [
            f"{instance_id} in {balancer}: {entry}"
            for balancer, entry in self.standings[instance_id].items()
            if entry.reason not in settled
        ]

    def say(self, kind: str, text: str, **fields: Any) -> None:
        """A line of the journal about this group."""
        self._call.journal.write(kind, text=text, **fields)

    # --- the answer ---

    def answer(self) -> dict[str, Any]:
        """The module's result."""
        changed = sorted(self.touched)
        after = self._foretold() if self._call.check_mode else self._picture()
        return {
            "changed": bool(changed),
            "changed_instances": changed,
            "instances": {one: instance_answer(self.standings[one], self.nowhere) for one in sorted(self.standings)},
            "balancers": [
                {
                    "balancer": balancer.name,
                    "kind": balancer.kind,
                    "arn": balancer.arn,
                    "healthy": len(pool.healthy) if pool else 0,
                    "registered": len(pool.registered) if pool else 0,
                    "exists": pool is not None,
                }
                for balancer, pool in ((one, self.pools[one]) for one in in_order(self.pools))
            ],
            "diff": {"before": {"registered": self.before or self._picture()}, "after": {"registered": after}},
        }

    def _picture(self) -> dict[str, list[str]]:
        """Which of the instances are registered where."""
        pools = {str(balancer): pool.registered for balancer, pool in self.pools.items() if pool}
        return {name: sorted(registered & set(self.standings)) for name, registered in sorted(pools.items())}

    def _foretold(self) -> dict[str, list[str]]:
        return self._picture()

    def failure(self, when: str) -> EvergreenError:
        """Why it did not come to its end: the reason that is worst, with its remedy."""
        settled = SETTLED[self.request.state]
        reasons = {entry.reason for entries in self.standings.values() for entry in entries.values()} - settled
        reason = next(one for one in LEAST_FAR_FIRST if one in reasons)
        return EvergreenError(f"{self.story()}, {when}", reason=reason, remedy=REMEDIES.get(reason, ""))
