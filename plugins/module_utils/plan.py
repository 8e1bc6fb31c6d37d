# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure decisions of a rollout: who goes, in which waves, and the sizes of each step. No input or output here."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Collection, Iterable, Mapping, Optional, Sequence

from ansible_collections.evergreen.eks.plugins.module_utils import zones
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import INSTANCE_ID, Activity
from ansible_collections.evergreen.eks.plugins.module_utils.moments import parse_duration

LEAVING = ("Terminating", "Detaching")  # how the description of an activity begins that takes an instance out
SELECT_FORMS = (
    "'outdated', 'all', {older_than: '7d'}, {instances: [i-...]} or {expression: <JMESPath over the instance records>}"
)


@dataclass(frozen=True)
class Host:
    """One member of the group as the decisions see it: the EC2 instance and its Kubernetes node."""

    instance_id: str
    zone: str
    lifecycle_state: str
    counts: bool  # part of the group's strength: not Standby, Detaching, Terminating
    launched: Optional[datetime] = None
    node: Optional[str] = None
    ready: bool = False
    schedulable: bool = False  # Ready and not cordoned
    ours: bool = False  # cordoned by us
    outdated: Optional[str] = None  # a reason of groups.outdated_reason, or None
    protected: bool = False
    record: Mapping[str, Any] = field(default_factory=dict)  # what a JMESPath selection looks at


@dataclass(frozen=True)
class Selection:
    """What `rollout_select` asks for: `kind` is outdated, all, older_than, instances or expression."""

    kind: str
    value: Any = None


@dataclass(frozen=True)
class Wave:
    """The old nodes that leave together. `instances` is settled once the wave's new nodes are Ready."""

    number: int
    size: int
    instances: tuple[str, ...] = ()
    finished: bool = False

    def facts(self, of: int) -> dict[str, Any]:
        """What is told of it to whoever works on it; `of`: how many waves there are."""
        return {"number": self.number, "of": of, "instance_ids": list(self.instances)}

    def as_dict(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "size": self.size,
            "instances": list(self.instances),
            "finished": self.finished,
        }


@dataclass(frozen=True)
class CapacityChange:
    """A change of desired capacity that was announced before it was made: from, to, and held if it happens."""

    was: int
    to: int
    becomes: int
    after: str = ""  # the newest scaling activity when it was announced; "" = there was none


@dataclass(frozen=True)
class Departure:
    """How many instances were announced to leave with a decrement of desired capacity. EC2 forgets them, with the
    marks that they carry, an hour after their end."""

    number: int
    after: str = ""  # the newest scaling activity when they were announced; "" = there was none


@dataclass(frozen=True)
class Ledger:
    """How many instances of desired capacity are our surge, and the change or the departure under way, if any.

    `turn` counts the changes: a departure mark counts only while its turn is the ledger's. `own` is the group's own
    size when this was written, to be used only where desired capacity can no longer tell it; `most` is the maximum size
    that the group had then, or was about to get.
    """

    held: int = 0
    turn: int = 0
    change: Optional[CapacityChange] = None
    own: int = 0
    departure: Optional[Departure] = None
    most: int = 0

    @property
    def after(self) -> str:
        """The newest scaling activity when what is under way was announced."""
        announced = self.change or self.departure
        return announced.after if announced else ""

    def written(self, desired: int, most: int) -> Ledger:
        """This ledger with the group's own size, as it is written down while desired capacity is `desired`."""
        own = self.change.to - self.change.becomes if self.change else desired - self.held
        return replace(self, own=own, most=most)


@dataclass(frozen=True)
class Sizes:
    """What one wave needs: instances, not percent."""

    own: int
    surge: int
    desired_capacity: int
    max_size: int
    min_ready: int  # Ready schedulable members to wait for before the wave is cordoned
    floor: int  # Ready schedulable members that must remain after each cordon


# --- input -----------------------------------------------------------------------------------------------------


def parse_selection(raw: Any) -> Selection:
    """The selection that `rollout_select` names. Raises InvalidInput for anything else."""
    if isinstance(raw, str) and raw in ("outdated", "all"):
        return Selection(raw)
    if isinstance(raw, Mapping) and len(raw) == 1:
        kind, value = next(iter(raw.items()))
        if kind == "older_than":
            return Selection(kind, parse_duration(value))
        if kind == "instances" and _are_instance_ids(value):
            return Selection(kind, tuple(value))
        if kind == "expression" and isinstance(value, str) and value.strip():
            return Selection(kind, value)
    raise InvalidInput(f"select cannot be {raw!r}", remedy=f"Give {SELECT_FORMS}")


def _are_instance_ids(value: Any) -> bool:
    """A list, not empty, of what can be ids of EC2 instances."""
    return isinstance(value, (list, tuple)) and bool(value) and all(INSTANCE_ID.fullmatch(str(item)) for item in value)


def parse_amount(raw: Any, name: str) -> tuple[int, bool]:
    """(number, is it a percentage) of 2, "2" or "25%". Raises InvalidInput."""
    found = re.fullmatch(r"(\d+)(%?)", str(raw).strip())
    if not found:
        raise InvalidInput(f"{name} cannot be {raw!r}", remedy="Give a number of instances or a percentage such as 25%")
    number, percent = int(found[1]), bool(found[2])
    if percent and number > 100:
        raise InvalidInput(f"{name} cannot be {raw!r}", remedy="A percentage is at most 100%")
    return number, percent


def surge_count(raw: Any, own_size: int) -> int:
    """Extra instances that may be launched; a percentage of the group's own size is rounded up."""
    number, percent = parse_amount(raw, "max_surge")
    return math.ceil(own_size * number / 100) if percent else number


def unavailable_count(raw: Any, own_size: int) -> int:
    """Instances that may be missing; a percentage of the group's own size is rounded down."""
    number, percent = parse_amount(raw, "max_unavailable")
    return min(own_size, own_size * number // 100 if percent else number)


def limits(max_surge: Any, max_unavailable: Any, own_size: int) -> tuple[int, int]:
    """(surge, unavailable) in instances. Raises InvalidInput where no node could ever be replaced."""
    surge, unavailable = surge_count(max_surge, own_size), unavailable_count(max_unavailable, own_size)
    if surge == 0 and unavailable == 0:
        raise InvalidInput(
            f"max_surge {max_surge} and max_unavailable {max_unavailable} are both 0 for a group of {own_size}",
            remedy="Allow at least one extra or one missing instance",
        )
    return surge, unavailable


# --- who goes --------------------------------------------------------------------------------------------------


def select(
    hosts: Sequence[Host], selection: Selection, now: Optional[datetime] = None, gone: Collection[str] = ()
) -> dict[str, str]:
    """instance id -> why it is to be replaced. Only hosts that count can be selected.

    `now` is needed for older_than only, `gone` (named, and replaced already or lost) for instances only. Raises
    InvalidInput for another instance that is not a member and for an expression that is not JMESPath or does not answer
    with records or ids.
    """
    counting = {host.instance_id: host for host in hosts if host.counts}
    if selection.kind == "outdated":
        return {name: host.outdated for name, host in counting.items() if host.outdated}
    if selection.kind == "all":
        return {name: host.outdated or "all" for name, host in counting.items()}
    if selection.kind == "older_than":
        born_before = now - timedelta(seconds=selection.value)
        return {name: "older_than" for name, host in counting.items() if host.launched and host.launched < born_before}
    if selection.kind == "instances":
        wanted = sorted(set(selection.value) - set(gone))
        unknown = [name for name in wanted if name not in counting]
        if unknown:
            raise InvalidInput(
                f"select names {', '.join(unknown)}, not in service in this group",
                remedy=f"Its instances are {', '.join(sorted(counting)) or 'none'}",
            )
        return dict.fromkeys(wanted, "instances")
    return dict.fromkeys(_expression_ids(counting, selection.value), "expression")


def _expression_ids(counting: Mapping[str, Host], expression: str) -> list[str]:
    import jmespath
    from jmespath.exceptions import JMESPathError

    records = [dict(counting[name].record) for name in sorted(counting)]
    try:
        found = jmespath.search(expression, records)
    except JMESPathError as error:
        raise InvalidInput(
            f"select expression '{expression}' is not JMESPath: {error}", remedy="See https://jmespath.org"
        ) from error
    items = [] if found is None else found if isinstance(found, list) else [found]
    ids = [item.get("instance_id") if isinstance(item, Mapping) else item for item in items]
    if any(not isinstance(item, str) or item not in counting for item in ids):
        raise InvalidInput(
            f"select expression '{expression}' answers {found!r}",
            remedy="It must answer a list of instance records or ids, such as [?zone=='eu-central-1a']",
        )
    return sorted(set(ids))


# --- waves -----------------------------------------------------------------------------------------------------


def wave_sizes(remaining: int, surge: int, unavailable: int, canary: int) -> list[int]:
    """Sizes of the waves for `remaining` hosts: the canary (0 = none), full waves, what is left over, a full wave.

    A full wave is surge + unavailable. The last one is full so that all that we hold can leave in it; the odd one
    before it makes room for the zones to come out even.
    """
    step = surge + unavailable
    first = [min(canary, step, remaining)] if canary and remaining else []
    full, odd = divmod(remaining - sum(first), step)
    return first + [step] * (full - 1) + ([odd] if odd else []) + [step] * min(full, 1)


def plan_waves(
    known: Sequence[Wave],
    remaining: Iterable[str],
    surge: int,
    unavailable: int,
    canary: int,
    carried: Collection[str] = (),
) -> list[Wave]:
    """The waves of this run: the finished ones of `known`, the interrupted one with who is left of it, then new ones.

    The canary is only the first wave ever: once a wave has finished, the new configuration is proven. Those that were
    `carried` go along with the new waves; they have one of their own only where nobody else is left.
    """
    left = set(remaining)
    finished = [wave for wave in known if wave.finished]
    interrupted = [wave for wave in known if not wave.finished and left & set(wave.instances)]
    kept = [
        Wave(wave.number, len(left & set(wave.instances)), tuple(i for i in wave.instances if i in left))
        for wave in interrupted
    ]
    free = left - {instance for wave in kept for instance in wave.instances}
    stragglers = free & set(carried)
    start = max([wave.number for wave in finished + kept], default=0)
    sizes = wave_sizes(len(free - stragglers), surge, unavailable, 0 if finished or kept else canary)
    if stragglers and not sizes:
        sizes = [len(stragglers)]
    return finished + kept + [Wave(start + index, size) for index, size in enumerate(sizes, 1)]


def size_with_stragglers(size: int, stragglers: int, others: int, step: int) -> int:
    """How many are in a wave that was planned for `size`: all that were carried into it, and of the `others` as many as
    there is room for. A carried node is cordoned: it takes one of the `step` places of surge and unavailable."""
    return stragglers + max(0, min(size, others, step - stragglers))


def wave_needs(
    hosts: Sequence[Host],
    wave: Wave,
    selected: Iterable[str],
    ledger: Ledger,
    desired: int,
    max_size: int,
    surge: int,
    unavailable: int,
) -> Sizes:
    """The sizes of one wave, computed from what is there now; one of which nobody is left needs nothing.

    All the surge comes with the first wave, while every zone still has old hosts: wherever Auto Scaling puts it, they
    can make up for it in the end. Later waves live on the successors of the hosts that left.
    """
    own = desired - ledger.held
    wanted = set(selected)
    left = [host for host in hosts if host.counts and host.instance_id in wanted]
    size = min(wave.size, len(left))
    extra = max(surge, ledger.held) if size else ledger.held
    idle = sum(1 for host in left if not host.schedulable)  # cordoned already or sick: taking them costs nothing
    floor = max(0, own - unavailable)
    target = own + extra
    return Sizes(own, extra, target, max(max_size, target), floor + max(0, size - idle), floor)


def choose(
    hosts: Sequence[Host], selected: Iterable[str], held: int, waves: Sequence[int], group_zones: Iterable[str] = ()
) -> list[str]:
    """The old hosts of the first of `waves`: those that we cordoned already, then sick ones, then by zone and age.

    `waves` are the sizes of this wave and of those to come; `group_zones` also such without an instance.
    """
    wanted = set(selected)
    counting = [host for host in hosts if host.counts]
    old = sorted(
        (host for host in counting if host.instance_id in wanted),
        key=lambda host: (not host.ours, host.schedulable, _age(host)),
    )
    size = min(waves[0], len(old))
    names = sorted({*group_zones, *(host.zone for host in counting)})

    def per_zone(some: Iterable[Host]) -> tuple[int, ...]:
        counts = Counter(host.zone for host in some)
        return tuple(counts[name] for name in names)

    counts = zones.take(
        old=per_zone(old),
        total=per_zone(counting),
        fresh=per_zone(host for host in counting if host.schedulable and host.instance_id not in wanted),
        held=held,
        waves=waves,
        forced=per_zone([host for host in old if host.ours or not host.schedulable][:size]),
    )
    quota = dict(zip(names, counts))
    chosen = []
    for host in old:
        if quota[host.zone] > 0:
            quota[host.zone] -= 1
            chosen.append(host.instance_id)
    return chosen


def split_departure(
    hosts: Sequence[Host], victims: Sequence[str], held: int, remaining: int, before: Mapping[str, int]
) -> tuple[list[str], list[str]]:
    """(leave with a decrement of desired capacity, leave with a successor).

    As many leave with a decrement as could not do so later: `remaining` old hosts are left after this wave, and in the
    end all that we hold has to be gone. Where the last ones would leave the zones less even than `before`, they get
    successors, and what we then still hold goes as named surplus from the crowded zones; without `before` the zones
    do not matter.
    """
    number = zones.releases(held, remaining, len(victims))
    leaving = Counter(host.zone for host in hosts if host.instance_id in set(victims))
    staying = {**dict.fromkeys(before, 0), **Counter(host.zone for host in hosts if host.counts)}
    for zone, count in leaving.items():
        staying[zone] -= count
    names = list(staying)
    while number and before and not remaining:
        after = zones.settled(tuple(staying[name] for name in names), len(victims) - number)
        if not zones.worse(before, dict(zip(names, after))):
            break
        number -= 1
    return list(victims[:number]), list(victims[number:])


def newest(
    hosts: Sequence[Host], counts: Mapping[str, int], number: int, before: Optional[Mapping[str, int]] = None
) -> list[Host]:
    """That many of the hosts: those that are not Ready, then by crowded zone (`counts`: instances), then the newest.

    With `before`, the instances per zone at the start, the zones come first: who leaves them less even than before is
    spared, even where he is not Ready yet. So it is with a successor that is still coming up to even the zones out.
    """
    total = dict(counts)
    chosen: list[Host] = []

    def preference(host: Host) -> tuple[int, bool, int, tuple[float, str]]:
        after = {**total, host.zone: total[host.zone] - 1}
        unevenness = max(1, zones.gap(list(before.values())), zones.gap(list(after.values()))) if before else 0
        return -unevenness, not host.schedulable, total[host.zone], _age(host)

    while len(chosen) < min(number, len(hosts)):
        best = max((host for host in hosts if host not in chosen), key=preference)
        total[best.zone] -= 1
        chosen.append(best)
    return chosen


def _age(host: Host) -> tuple[float, str]:
    return (host.launched.timestamp() if host.launched else 0.0, host.instance_id)


# --- what happened to what we announced --------------------------------------------------------------------------


def settle(ledger: Ledger, desired: int, activities: Sequence[Activity], shrunk: int) -> Ledger:
    """The ledger as reality has it: was the announced change made, and how many of our surplus have left.

    `activities` are the group's scaling activities begun since the announcement, newest first; `shrunk` is the number
    of instances marked to leave with decrement at this turn whose departure lowered desired capacity.
    The wording is that of Auto Scaling: "a user request explicitly set group desired capacity changing the desired
    capacity from 6 to 8." or "a user request update of AutoScalingGroup constraints to min: 1, max: 8, desired: 8
    changing the desired capacity from 6 to 8." (https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scaling-activities.html)
    """
    held = ledger.held
    change = ledger.change
    if change is not None and change.was != change.to:
        made = desired == change.to or _was_made(change, activities)
        held = change.becomes if made else held
    return Ledger(max(0, held - shrunk), ledger.turn, own=ledger.own, most=ledger.most)


def shrunk_by_departures(
    ledger: Ledger, announced: Collection[str], left: Collection[str], activities: Sequence[Activity]
) -> int:
    """How many of the instances announced to leave with a decrement have taken desired capacity down with them.

    `announced` are those that are still known by a mark or a checkpoint, `left` those of them that are no members any
    more. For those that nobody knows any more the `activities` speak, begun since their announcement.
    """
    # An activity that nobody can find does not speak against our own call.
    shrunk = sum(1 for name in left if left_by_request(name, activities) is not False)
    forgotten = ledger.departure.number - len(announced) if ledger.departure else 0
    if forgotten <= 0:
        return shrunk
    others = [one for one in activities if _shrinks(one) and one.instance_id not in announced]
    return shrunk + min(forgotten, len(others))


def after_reset(ledger: Ledger, desired: int, max_size: int) -> Ledger:
    """The ledger after somebody lowered maximum size, and desired capacity with it.

    Auto Scaling then lowers desired capacity to the new maximum; that takes away what we held first, not the group's
    own size. Our instances are still there, protected.
    """
    clamped = max_size < ledger.most and desired == max_size and desired < ledger.own + ledger.held
    return replace(ledger, held=max(0, desired - ledger.own)) if clamped else ledger


def above_minimum(ledger: Ledger, desired: int, min_size: int) -> Ledger:
    """The ledger after somebody lowered desired capacity, or raised the minimum size.

    What others take from desired capacity they take from the group's own size, which they see together with ours. Only
    below its minimum the own size cannot be: what desired capacity has above that is the most that we can hold.
    """
    return replace(ledger, held=min(ledger.held, max(0, desired - min_size)))


def left_by_request(instance_id: str, activities: Iterable[Activity]) -> Optional[bool]:
    """Did the group shrink for this instance at a user's request? None where no activity tells.

    The wording is that of Auto Scaling: "instance i-1 was taken out of service in response to a user request,
    shrinking the capacity from 8 to 7.", with the description "Terminating EC2 instance: i-1". After a failed health
    check the cause does not name the instance.
    """
    for activity in activities:
        if activity.instance_id == instance_id and activity.description.startswith(LEAVING):
            return _shrinks(activity)
    return None


def _was_made(change: CapacityChange, activities: Iterable[Activity]) -> bool:
    wording = re.compile(rf"changing the desired capacity from {change.was} to {change.to}\b")
    return any("user request" in activity.cause and wording.search(activity.cause) for activity in activities)


def _shrinks(activity: Activity) -> bool:
    return "user request" in activity.cause and "shrinking the capacity" in activity.cause
