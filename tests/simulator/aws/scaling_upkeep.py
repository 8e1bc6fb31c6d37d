# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an Auto Scaling group does of its own accord: replace the unhealthy, balance the zones, refresh instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.aws import scaling_rules as rules
from simulator.aws import scaling_texts as texts
from simulator.aws.scaling_model import PENDING, Group, Member, Refresh

if TYPE_CHECKING:
    from simulator.aws.autoscaling import AutoScaling

DEAD = ("stopping", "stopped", "shutting-down", "terminated")
REFRESH_UNDER_WAY = ("Pending", "InProgress", "Cancelling")


class Upkeep:
    """The processes HealthCheck, ReplaceUnhealthy, AZRebalance and InstanceRefresh."""

    def __init__(self, scaling: AutoScaling):
        self._scaling = scaling

    # ---- health

    def check_health(self, group: Group) -> None:
        """Whoever is stopped or terminated is unhealthy, and what is unhealthy is replaced.

        With ELB health checks, once the grace period is over, so is whoever its load balancers have lost.
        """
        if not group.runs("HealthCheck"):
            return
        for member in list(group.members.values()):
            instance = self._scaling.compute.find(member.instance_id)
            dead = instance is None or instance.state in DEAD or self._lost_to_traffic(group, member)
            if dead and member.state in ("InService", *PENDING):
                member.healthy = False
        self.replace_unhealthy(group, "ec2")

    def _lost_to_traffic(self, group: Group, member: Member) -> bool:
        old_enough = self._scaling.agenda.now() >= member.launched_at + group.health_check_grace
        asks = rules.asks_load_balancers(group) and old_enough
        return asks and self._scaling.balancers.has_lost(group, member.instance_id)

    def replace_unhealthy(self, group: Group, why: str) -> None:
        """Terminate unhealthy members, so that others are launched in their place."""
        if not group.runs("ReplaceUnhealthy") or not group.runs("Terminate"):
            return
        for member in list(group.members.values()):
            if not member.healthy and member.counts:
                self._scaling.terminate(group, member, texts.unhealthy(self._scaling.agenda.timestamp(), why))
                group.to_replace += 1
                self._scaling.soon(group)

    # ---- zones

    def rebalance_soon(self, group: Group) -> None:
        """Look at the zones a while after the group last changed."""
        if group.rebalance_due is not None:
            group.rebalance_due.cancel()
        scaling = self._scaling
        group.rebalance_due = scaling.agenda.after(scaling.timings.rebalance, lambda: self._rebalance(group))

    def _rebalance(self, group: Group) -> None:
        """Launch into the emptiest zone; once that is in service, one of the fullest zone goes: drained or not."""
        group.rebalance_due = None
        scaling = self._scaling
        if scaling.groups.get(group.name) is not group or group.deleting:
            return
        zone = rules.overfull_zone(group)
        if zone is None or not all(group.runs(process) for process in ("AZRebalance", "Launch", "Terminate")):
            return
        if group.balancing or any(member.state in PENDING for member in group.members.values()):
            self.rebalance_soon(group)
            return
        if not rules.victims(group, 1, zone):
            return
        for _unused in range(rules.balancing_margin(group)):
            zone = rules.overfull_zone(group)
            if zone is None or not rules.victims(group, 1, zone):
                break
            counts = {name: len(members) for name, members in group.by_zone().items()}
            member = scaling.launch(group, texts.balanced(scaling.agenda.timestamp(), counts))
            if member is None:
                break
            group.balancing.add(member.instance_id)
        self.rebalance_soon(group)

    def in_service(self, group: Group, member: Member) -> None:
        """A new member serves: if it came to balance the zones, another one goes now."""
        scaling = self._scaling
        if member.instance_id in group.balancing:
            group.balancing.discard(member.instance_id)
            zone = self._fullest(group)
            for victim in rules.victims(group, 1, zone):
                at = scaling.agenda.timestamp()
                scaling.terminate(group, victim, texts.surplus_after_balancing(at, victim.zone, victim.instance_id))
            scaling.soon(group)
        self._go_on_refreshing(group)

    @staticmethod
    def _fullest(group: Group) -> str:
        counts = {zone: len(members) for zone, members in group.by_zone().items()}
        outside = [zone for zone, count in counts.items() if zone not in group.zones and count]
        return outside[0] if outside else max(counts, key=lambda zone: counts[zone])

    # ---- instance refresh

    def start_refresh(self, group: Group, refresh: Refresh) -> None:
        """All members of now are to be replaced, one after the other."""
        refresh.old = {member.instance_id for member in group.counting()}
        refresh.to_update = len(refresh.old)
        group.refreshes.insert(0, refresh)
        self._scaling.agenda.after(self._scaling.timings.reaction, lambda: self._begin_refresh(group, refresh))

    def _begin_refresh(self, group: Group, refresh: Refresh) -> None:
        if refresh.status == "Pending":
            refresh.status = "InProgress"
            self._refresh_next(group, refresh)

    def end_cancelled(self, refresh: Refresh) -> None:
        """Cancelling has come to its end."""
        if refresh.status == "Cancelling":
            refresh.status, refresh.ended = "Cancelled", self._scaling.agenda.datetime()

    def _go_on_refreshing(self, group: Group) -> None:
        for refresh in group.refreshes:
            if refresh.status == "InProgress":
                warmup = float(refresh.preferences.get("InstanceWarmup") or self._scaling.timings.refresh_warmup)
                self._scaling.agenda.after(warmup, lambda one=refresh: self._refresh_next(group, one))

    def _refresh_next(self, group: Group, refresh: Refresh) -> None:
        scaling = self._scaling
        if refresh.status != "InProgress" or not group.runs("InstanceRefresh"):
            return
        left = [member for member in group.counting() if member.instance_id in refresh.old]
        refresh.to_update = len(left)
        refresh.percentage = 100 - round(100 * len(left) / max(1, len(refresh.old)))
        with_protected = refresh.preferences.get("ScaleInProtectedInstances") or "Wait"
        open_to_it = [member for member in left if with_protected == "Refresh" or not member.protected]
        if not left or (not open_to_it and with_protected == "Ignore"):
            refresh.status, refresh.ended = "Successful", scaling.agenda.datetime()
            return
        if not open_to_it:  # AWS waits an hour for somebody to take the protection off
            scaling.agenda.after(scaling.timings.refresh_warmup, lambda: self._refresh_next(group, refresh))
            return
        cause = texts.refreshed(scaling.agenda.timestamp(), open_to_it[0].instance_id)
        scaling.terminate(group, open_to_it[0], cause)
        scaling.soon(group)


def refresh_under_way(group: Group) -> Refresh | None:
    """The instance refresh that is not at its end."""
    return next((refresh for refresh in group.refreshes if refresh.status in REFRESH_UNDER_WAY), None)
