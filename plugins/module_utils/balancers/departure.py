# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking instances out of their load balancers, and staying until none of them is being drained any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.change import deregister
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.decisions import (
    ATTEMPTS,
    GONE,
    REGISTERED_AGAIN,
    SETTLED,
    TOO_FEW_HEALTHY,
    Leaving,
    Request,
    Standing,
    departing,
    fresh_marks,
    leaving,
    standing,
)
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.read import draining_seconds, find_balancers
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.records import (
    NOT_REGISTERED,
    Balancer,
    Pool,
    Target,
    in_order,
)
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.work import NAMED, Work
from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    Group,
    tag_instances,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call


class Departure(Work):
    """Take instances out of their load balancers, and stay until none of them is being drained any more."""

    nowhere = NOT_REGISTERED
    wanted = "out of their load balancers"

    def __init__(self, request: Request, aws: Aws, call: Call) -> None:
        super().__init__(request, aws, call)
        self._ids = request.instance_ids or ()
        self._places: dict[str, set[Balancer]] | None = None
        self._attempts: Counter[tuple[Balancer, str]] = Counter()
        self._tags: dict[str, dict[str, str]] = {}
        self._seconds: dict[Balancer, float] = {}
        self._foretold_targets: list[tuple[Balancer, Target]] = []

    def look(self) -> None:
        """One describe of the group and one a load balancer; then whoever may leave is marked and deregistered."""
        group = self._group()
        if self._places is None:
            self._find(group)
        else:
            self._read(self._all_places(), self._ids)
        plans = {balancer: self._plan(pool, group) for balancer, pool in self.pools.items() if pool}
        self.standings = {instance_id: self._standings(instance_id, plans) for instance_id in self._ids}
        self._take_out(plans)

    def grace(self) -> float:
        """The longest draining that one of them may have to stay for."""
        return max((self._drains_for(balancer) for balancer in self._all_places()), default=0.0)

    def hopeless(self) -> bool:
        """Somebody else wants what is still open to stay registered."""
        entries = [entry for standings in self.standings.values() for entry in standings.values()]
        still = [entry for entry in entries if entry.reason not in SETTLED[GONE]]
        return bool(still) and all(entry.reason == REGISTERED_AGAIN for entry in still)

    def foretell(self) -> dict[str, Any]:
        done = super().foretell()
        few = [line for one in self.open() for line in self._lines(one) if TOO_FEW_HEALTHY in line]
        return {**done, "warnings": [f"This would have to wait: {line}" for line in few]} if few else done

    def _find(self, group: Group) -> None:
        """Where these instances are targets, registered or being drained."""
        self._read(find_balancers(self._aws, group, self.request.cluster), self._ids)
        self._tags = {one: dict(known.tags) for one, known in self._instances(self._ids).items()}
        self._places = {one: {place for place, pool in self.pools.items() if _is_in(pool, one)} for one in self._ids}
        places = self._all_places()
        self.pools = {balancer: pool for balancer, pool in self.pools.items() if balancer in places}

    def _all_places(self) -> list[Balancer]:
        places = {balancer for found in (self._places or {}).values() for balancer in found}
        return in_order(places)

    def _plan(self, pool: Pool, group: Group) -> Leaving:
        members = {member.instance_id for member in group.members} if group.replaces_lost_targets else set()
        plan = leaving(pool, self._ids, self.request.min_healthy, members)
        stubborn = {
            target.instance_id: standing(REGISTERED_AGAIN, [target])
            for target in plan.targets
            if self._attempts[pool.balancer, target.instance_id] >= ATTEMPTS
        }
        going = tuple(target for target in plan.targets if target.instance_id not in stubborn)
        return Leaving(going, {**plan.held, **stubborn})

    def _standings(self, instance_id: str, plans: Mapping[Balancer, Leaving]) -> dict[Balancer, Standing]:
        return {
            balancer: departing(self.pools.get(balancer), instance_id, plans.get(balancer, Leaving()))
            for balancer in self._all_places()
            if balancer in (self._places or {})[instance_id]
        }

    def _take_out(self, plans: Mapping[Balancer, Leaving]) -> None:
        targets = [(balancer, target) for balancer, plan in plans.items() for target in plan.targets]
        if self._call.check_mode:
            self._foretold_targets = targets
            for balancer, target in targets:
                self.touched.add(target.instance_id)
                self.standings[target.instance_id][balancer] = Standing(GONE, description="it would be taken out")
            return
        marked = self._mark(targets)
        for balancer in dict.fromkeys(balancer for balancer, _target in targets):
            going = [target for place, target in targets if place == balancer and target.instance_id in marked]
            if going:
                self._deregister(balancer, going)

    def _mark(self, targets: list[tuple[Balancer, Target]]) -> set[str]:
        """Write on each instance from where it is taken, before it is; answers who carries it (not who has ended)."""
        wanted: dict[tuple[tuple[str, str], ...], list[str]] = {}
        by_instance: dict[str, list[tuple[Balancer, Target]]] = {}
        for balancer, target in targets:
            by_instance.setdefault(target.instance_id, []).append((balancer, target))
        for instance_id, mine in by_instance.items():
            fresh = fresh_marks(self._tags.get(instance_id, {}), self.request.run_id, mine)
            wanted.setdefault(tuple(sorted(fresh.items())), []).append(instance_id)
        marked: set[str] = set()
        for tags, ids in wanted.items():
            done = tag_instances(self._aws, ids, dict(tags)) if tags else ids
            for instance_id in done:
                self._tags.setdefault(instance_id, {}).update(tags)
            marked.update(done)
            self.touched.update(done if tags else ())
        return marked

    def _deregister(self, balancer: Balancer, targets: list[Target]) -> None:
        ids = sorted({target.instance_id for target in targets})
        self._call.journal.write("intent", verb="deregister", balancer=balancer.name, instances=ids)
        done = sorted({target.instance_id for target in deregister(self._aws, balancer, targets)})
        again = [instance_id for instance_id in done if self._attempts[balancer, instance_id]]
        self._attempts.update((balancer, instance_id) for instance_id in done)
        self.touched.update(done)
        if again:
            text = f"{balancer}: {', '.join(again)} still registered, or again: deregistered once more"
            self.say("deregistered", text, balancer=balancer.name, instances=again)
        elif done:
            seconds = self._drains_for(balancer)
            how = f"connections drain for up to {seconds:g} s" if seconds else "without draining"
            text = f"{balancer}: {counted(len(done), 'instance')} deregistered ({', '.join(done[:NAMED])}), {how}"
            self.say("deregistered", text, balancer=balancer.name, instances=done, seconds=seconds)

    def _drains_for(self, balancer: Balancer) -> float:
        if balancer not in self._seconds:
            self._seconds[balancer] = draining_seconds(self._aws, balancer)
        return self._seconds[balancer]

    def _foretold(self) -> dict[str, list[str]]:
        leaving_here = {(str(balancer), target.instance_id) for balancer, target in self._foretold_targets}
        return {name: [one for one in ids if (name, one) not in leaving_here] for name, ids in self._picture().items()}


def _is_in(pool: Pool | None, instance_id: str) -> bool:
    return pool is not None and any(target.state != NOT_REGISTERED for target in pool.of(instance_id))
