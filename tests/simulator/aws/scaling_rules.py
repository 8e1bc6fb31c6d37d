# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auto Scaling's rules, without time and without I/O: what it refuses, where it launches, whom it terminates.

The wording of refusals is AWS's own, as users quote it; the tool under rehearsal must be able to live with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from moto.autoscaling.exceptions import AutoscalingClientError

from simulator.aws.scaling_model import PROCESSES, Group, Member

DETACH_LIMIT = 20
STANDBY_LIMIT = 20
PROTECTION_LIMIT = 50
PAGE_LIMIT = 100
DEFAULT_PAGE = 50


def refusal(message: str, code: str = "ValidationError") -> AutoscalingClientError:
    """An error as Auto Scaling answers it."""
    return AutoscalingClientError(code, message)


def group_not_found(name: str) -> AutoscalingClientError:
    """The answer to a call that names an unknown group."""
    return refusal(f"AutoScalingGroup name not found - AutoScalingGroup {name} not found")


def check_ids(ids: Sequence[str], limit: int) -> None:
    """Refuse a list of instance ids that is longer than the API allows."""
    if len(ids) > limit:
        raise refusal(
            f"1 validation error detected: Value '[{', '.join(ids)}]' at 'instanceIds' failed to satisfy constraint: "
            f"Member must have length less than or equal to {limit}"
        )


def check_members(group: Group, ids: Iterable[str]) -> list[Member]:
    """The members with these ids; one stale id fails the whole call."""
    for instance_id in ids:
        if instance_id not in group.members:
            raise refusal(f"The instance {instance_id} is not part of Auto Scaling group {group.name}.")
    return [group.members[instance_id] for instance_id in ids]


def check_states(members: Iterable[Member], allowed: Sequence[str]) -> None:
    """Each member must be in one of these lifecycle states."""
    for member in members:
        if member.state not in allowed:
            raise refusal(f"The instance {member.instance_id} is not in {' or '.join(allowed)}.")


def check_sizes(minimum: int, maximum: int, desired: int | None) -> None:
    """Refuse sizes that contradict each other."""
    for name, value in (("minSize", minimum), ("maxSize", maximum), ("desiredCapacity", desired)):
        if value is not None and value < 0:
            raise refusal(
                f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: "
                "Member must have value greater than or equal to 0"
            )
    if minimum > maximum:
        raise refusal(f"Max bound, {maximum}, must be greater than or equal to min bound, {minimum}")
    if desired is not None and not minimum <= desired <= maximum:
        raise refusal(
            f"Desired capacity:{desired} must be between the specified min size:{minimum} and max size:{maximum}"
        )


def check_desired(group: Group, desired: int) -> None:
    """SetDesiredCapacity stays within the group's bounds."""
    if desired > group.max_size:
        raise refusal(
            f"New SetDesiredCapacity value {desired} is above max value {group.max_size} for the AutoScalingGroup."
        )
    if desired < group.min_size:
        raise refusal(
            f"New SetDesiredCapacity value {desired} is below min value {group.min_size} for the AutoScalingGroup."
        )


def check_can_shrink(group: Group, count: int, verb: str) -> None:
    """Detaching or placing into standby with decrement must not lower desired under the minimum."""
    if group.desired - count < group.min_size:
        raise refusal(
            f"AutoScalingGroup {group.name} has min-size={group.min_size}, max-size={group.max_size}, and "
            f"desired-size={group.desired}. To {verb} {count} instance(s), update min size accordingly."
        )


def check_can_grow(group: Group, count: int, verb: str) -> None:
    """Attaching or leaving standby must not raise desired over the maximum."""
    if group.desired + count > group.max_size:
        raise refusal(
            f"AutoScalingGroup {group.name} has min-size={group.min_size}, max-size={group.max_size}, and "
            f"desired-size={group.desired}. To {verb} {count} more instance(s), please update the AutoScalingGroup "
            "sizes appropriately."
        )


def check_can_terminate(group: Group) -> None:
    """Terminating one member with decrement must not lower desired under the minimum."""
    if group.desired - 1 < group.min_size:
        raise refusal(
            f"Currently, desiredSize equals minSize ({group.min_size}). Terminating instance without replacement "
            "will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or "
            "lower group's min size."
        )


def check_processes(names: Sequence[str]) -> list[str]:
    """The processes meant (none named: all of them); bogus names are refused."""
    unknown = [name for name in names if name not in PROCESSES]
    if unknown:
        raise refusal(f"The specified process types [{', '.join(unknown)}] are invalid.")
    return list(names) or list(PROCESSES)


def emptiest_zone(group: Group, closed: Iterable[str] = ()) -> str | None:
    """Where the next instance goes: the zone with the fewest members, in the order of the group's subnets.

    ``closed`` zones have no capacity. None when no zone is open.
    """
    counts = {zone: len(members) for zone, members in group.by_zone().items() if zone in group.zones}
    open_zones = [zone for zone in group.zones if zone not in set(closed)]
    return min(open_zones, key=lambda zone: counts[zone]) if open_zones else None


def subnet_for(group: Group, zone: str) -> str:
    """The subnet of that zone with the fewest members."""
    used = [member.subnet for member in group.members.values()]
    return min((subnet for subnet, where in group.subnets.items() if where == zone), key=used.count)


def victims(group: Group, count: int, zone: str | None = None, current_version: str = "") -> list[Member]:
    """Whom a scale-in terminates: never a protected member; one after the other, so that zones stay balanced.

    The zone with the most members first; within it the group's termination policies in their order. The default
    policy takes what was launched from a launch configuration, then from the oldest template version, then the
    oldest instance (AWS: the one next to its billing hour).
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html
    """
    chosen: list[Member] = []
    counts = {name: len(members) for name, members in group.by_zone().items()}
    for _unused in range(count):
        candidates = [
            member
            for member in group.counting()
            if not member.protected and member not in chosen and (zone is None or member.zone == zone)
        ]
        if not candidates:
            break
        fullest = max(counts[member.zone] for member in candidates)
        in_fullest = [member for member in candidates if counts[member.zone] == fullest]
        victim = min(in_fullest, key=lambda member: _rank(group, member))
        counts[victim.zone] -= 1
        chosen.append(victim)
    return chosen


def _rank(group: Group, member: Member) -> tuple[float, ...]:
    """The smallest goes first, by the group's termination policies."""
    rank: list[float] = [0.0 if not member.healthy else 1.0]
    for policy in [*group.termination_policies, "Default"]:
        if policy == "OldestInstance":
            rank.append(member.launched_at)
        elif policy == "NewestInstance":
            rank.append(-member.launched_at)
        elif policy in ("OldestLaunchTemplate", "OldestLaunchConfiguration", "Default"):
            rank.append(0.0 if member.configuration else 1.0)
            rank.append(float(member.template.version) if member.template else 0.0)
            if policy == "Default":
                rank.append(member.launched_at)
    return tuple(rank)


def asks_load_balancers(group: Group) -> bool:
    """What its load balancers say of a member's health counts (ELB among the types of its health check)."""
    return "ELB" in group.health_check_type.split(",")


def overfull_zone(group: Group) -> str | None:
    """The zone that AZRebalance would take an instance from: it has two more than the emptiest. None: balanced."""
    counts = {zone: len(members) for zone, members in group.by_zone().items()}
    inside = {zone: count for zone, count in counts.items() if zone in group.zones}
    if not inside:
        return None
    outside = [zone for zone, count in counts.items() if zone not in group.zones and count]
    if outside:
        return outside[0]
    fullest = max(inside, key=lambda zone: inside[zone])
    return fullest if inside[fullest] - min(inside.values()) >= 2 else None


def balancing_margin(group: Group) -> int:
    """By how many AZRebalance may exceed the group's capacity: ten percent, at least one (also over its maximum)."""
    return max(1, math.floor(group.desired / 10))
