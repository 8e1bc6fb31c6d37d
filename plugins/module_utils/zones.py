# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From which zones the old hosts of a wave go, so that the zones end as even as they began. Pure.

Auto Scaling launches a successor in the zone with the fewest instances, in any of them where several are equal
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-availability-zone-balanced.html). In the end
as many old hosts as we hold leave without a successor; they have to be in the crowded zones by then. Uneven zones
would make AZRebalance terminate nodes that nobody has drained.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations_with_replacement
from typing import Iterator, Mapping, Sequence

Counts = tuple[int, ...]

# Beyond this many old hosts or zones the course is not looked ahead to its end; there is time to make up for it later.
FORESEEN_HOSTS = 8
FORESEEN_ZONES = 4


def gap(counts: Sequence[int]) -> int:
    """Instances in the most crowded zone minus those in the emptiest; 0 or 1 is as even as it can be."""
    return max(counts, default=0) - min(counts, default=0)


def worse(before: Mapping[str, int], now: Mapping[str, int]) -> bool:
    """Is the group spread less evenly over its zones than before, and less evenly than it could be?"""
    names = sorted(set(before) | set(now))
    was, is_now = ([counts.get(name, 0) for name in names] for counts in (before, now))
    return gap(is_now) > max(1, gap(was))


def releases(held: int, remaining: int, leaving: int) -> int:
    """How many of those that leave have to leave without a successor: what `remaining` could not make up for later."""
    return max(0, min(leaving, held - remaining))


def settled(total: Counts, launched: int) -> Counts:
    """One of the ways in which `launched` successors may come up; in all of them the gap is the same."""
    counts = list(total)
    for _unused in range(launched):
        counts[counts.index(min(counts))] += 1
    return tuple(counts)


def take(old: Counts, total: Counts, fresh: Counts, held: int, waves: Sequence[int], forced: Counts) -> Counts:
    """How many old hosts of each zone go in the first of `waves`; at least the `forced` ones.

    `old`, `total` and `fresh` are, per zone, the old hosts that are left, all instances, and the new Ready nodes. Near
    the end the whole course is looked ahead. Among courses that end alike: where new nodes are Ready, spread widely,
    and where most old hosts are left.
    """
    size = min(waves[0], sum(old))
    foreseen = sum(old) <= FORESEEN_HOSTS and len(old) <= FORESEEN_ZONES
    if not foreseen:
        return _one_by_one(old, total, fresh, size, forced)

    def cost(counts: Counts) -> tuple[int, int, int, Counts]:
        end = _worst_end_after(old, total, held, tuple(waves), counts)
        ready = sum(map(min, counts, fresh))
        left = tuple(-(have - taken) for have, taken in zip(old, counts))
        return max(1, end), -ready, max(counts), left

    return min((counts for counts in _ways(old, size) if _covers(counts, forced)), key=cost)


def _one_by_one(old: Counts, total: Counts, fresh: Counts, size: int, forced: Counts) -> Counts:
    """One host after the other: the zone with most old hosts, then one with a Ready new node, then the emptiest."""
    taken = list(forced)
    while sum(taken) < size:
        open_zones = [zone for zone, have in enumerate(old) if taken[zone] < have]
        best = min(open_zones, key=lambda z: (taken[z] - old[z], fresh[z] <= taken[z], total[z] - taken[z]))
        taken[best] += 1
    return tuple(taken)


@cache
def _worst_end(old: Counts, total: Counts, held: int, waves: tuple[int, ...]) -> int:
    """The gap at the end, when we choose well and successors come up where it is worst for us."""
    if not waves or not sum(old):
        return gap(total)
    ways = _ways(old, min(waves[0], sum(old)))
    return min(_worst_end_after(old, total, held, waves, counts) for counts in ways)


def _worst_end_after(old: Counts, total: Counts, held: int, waves: tuple[int, ...], taken: Counts) -> int:
    left, standing = _minus(old, taken), _minus(total, taken)
    released = releases(held, sum(left), sum(taken))
    outcomes = _outcomes(standing, sum(taken) - released)
    return max(_worst_end(left, after, held - released, waves[1:]) for after in outcomes)


def _ways(old: Counts, size: int) -> Iterator[Counts]:
    """All ways to take `size` hosts from the zones."""
    for zones in combinations_with_replacement(range(len(old)), size):
        counts = tuple(zones.count(zone) for zone in range(len(old)))
        if _covers(old, counts):
            yield counts


def _outcomes(total: Counts, launched: int) -> set[Counts]:
    """All ways in which so many launches can come up, each where the fewest are."""
    found = {total}
    for _unused in range(launched):
        found = {
            (*counts[:zone], count + 1, *counts[zone + 1 :])
            for counts in found
            for zone, count in enumerate(counts)
            if count == min(counts)
        }
    return found


def _covers(larger: Counts, smaller: Counts) -> bool:
    return all(most >= least for most, least in zip(larger, smaller))


def _minus(counts: Counts, others: Counts) -> Counts:
    return tuple(count - other for count, other in zip(counts, others))
