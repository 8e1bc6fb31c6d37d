# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until instances are healthy in their load balancers. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.decisions import (
    BALANCER_GONE,
    INSTANCE_GONE,
    MARK,
    TAKEN_OUT,
    Request,
    Standing,
    arriving,
    read_marks,
)
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.read import find_balancers
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.records import (
    NOT_REGISTERED,
    STOPPED,
    Balancer,
    Pool,
)
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.work import Work
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group, Instance
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

GONE_STATES = ("shutting-down", "terminated")


class Arrival(Work):
    """Wait until each instance is healthy wherever members of its group are targets. Changes nothing."""

    wanted = "healthy in their load balancers"

    def __init__(self, request: Request, aws: Aws, call: Call) -> None:
        super().__init__(request, aws, call)
        self._balancers: tuple[Balancer, ...] | None = None

    def look(self) -> None:
        """One describe a load balancer; of the group only while its members are asked for."""
        group = None
        if self._balancers is None or self.request.instance_ids is None:
            group = self._group()
        ids = self._ids(group)
        if self._balancers is None and group:
            self._choose(group, ids)
        else:
            self._read(self._balancers or ())
        self.standings = {one: {place: _arrival(pool, one) for place, pool in self.pools.items()} for one in ids}
        self._forgive()

    def _ids(self, group: Group | None) -> list[str]:
        ids = self.request.instance_ids
        if ids is None and group:
            ids = tuple(member.instance_id for member in group.in_service)
        return [instance_id for instance_id in ids or () if instance_id not in self.request.excluded]

    def _choose(self, group: Group, ids: Iterable[str]) -> None:
        """Those of the group, and of the cluster's those that have members of the group among their targets."""
        self._read(find_balancers(self._aws, group, self.request.cluster))
        ours = {member.instance_id for member in group.members} | set(ids)
        self.pools = {
            balancer: pool
            for balancer, pool in self.pools.items()
            if balancer.attached or (pool and pool.registered & ours)
        }
        self._balancers = tuple(self.pools)

    def _forgive(self) -> None:
        """Who has ended, or was taken out by an operator, does not get healthy, and is not waited for: EC2 knows."""
        doubtful = [
            one
            for one, entries in self.standings.items()
            if any(entry.reason in (NOT_REGISTERED, STOPPED) for entry in entries.values())
        ]
        if not doubtful:
            return
        instances = self._instances(doubtful)
        for instance_id in doubtful:
            instance = instances.get(instance_id)
            # EC2 does not know an instance yet in the first seconds after its launch: that is no end.
            if instance and instance.state in GONE_STATES:
                gone = Standing(INSTANCE_GONE, description=f"the instance is {instance.state}")
                self.standings[instance_id] = dict.fromkeys(self.standings[instance_id], gone)
            elif instance:
                self._forgive_places(instance)

    def _forgive_places(self, instance: Instance) -> None:
        """A mark that names no run is of an operator, who has used this module to take the instance out."""
        by_operator = {mark.key for mark in read_marks(instance.tags) if not mark.run_id}
        entries = self.standings[instance.instance_id]
        for balancer, entry in entries.items():
            if entry.reason == NOT_REGISTERED and balancer.key in by_operator:
                entries[balancer] = Standing(TAKEN_OUT, description=f"see its tag {MARK}{balancer.key}")


def _arrival(pool: Pool | None, instance_id: str) -> Standing:
    return arriving(pool, instance_id) if pool else Standing(BALANCER_GONE)
