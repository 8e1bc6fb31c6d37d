# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizes of a group: what may be set, setting it, and waiting until that many instances are in service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, WaitTimeout
from ansible_collections.evergreen.eks.plugins.module_utils.groups.change import set_sizes
from ansible_collections.evergreen.eks.plugins.module_utils.groups.read import living_group, scaling_activities
from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import Activity, Group
from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat, Stand, wait_patiently
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

SIZES = ("min_size", "max_size", "desired_capacity")
IN_WORDS = {"min_size": "minimum size", "max_size": "maximum size", "desired_capacity": "desired capacity"}
ACTIVITIES_LOOKED_AT = 20


class Refused(EvergreenError):
    """A request that AWS would refuse, or that would let AWS choose which instances to terminate."""

    default_reason = "refused"


class CapacityTimeout(WaitTimeout):
    """The group did not reach the wanted number of instances in service."""

    default_reason = "capacity_timeout"


@dataclass(frozen=True)
class Sizing:
    """What a request did to a group's sizes: as described right before and right after it (in check mode predicted)."""

    before: dict[str, int]
    after: dict[str, int]
    in_service: int
    as_expected: bool = True  # else some size was not the expected one, and nothing was sent any more
    sent: bool = True  # whether a request was sent before, which may have been carried out

    @property
    def changed(self) -> bool:
        return self.before != self.after


def planned_sizes(group: Group, asked: Mapping[str, int | None], only_raise: bool = False) -> dict[str, int]:
    """The sizes that differ from the group's and are to be sent; empty when there is nothing to do.

    `asked` maps the names in SIZES to numbers, or None for those that stay. With `only_raise` a size that would fall
    stays as it is. Raises Refused for what is impossible, and for what makes AWS choose instances to terminate.
    """
    given = {name: size for name, size in asked.items() if size is not None}
    for name, size in given.items():
        if size < 0:
            raise Refused(
                f"Auto Scaling group {group.name} cannot have a {name} of {size}", remedy="Give a number of 0 or more"
            )
    if only_raise:
        given = {name: max(size, group.sizes[name]) for name, size in given.items()}
    changes = {name: size for name, size in given.items() if size != group.sizes[name]}
    if changes:
        _refuse_impossible(group, {**group.sizes, **changes}, changes)
        _refuse_victims(group, changes)
    return changes


def ensure_sizes(
    aws: Aws,
    call: Call,
    name: str,
    asked: Mapping[str, int | None],
    *,
    only_raise: bool = False,
    counted: bool = False,
    expected: Mapping[str, int] | None = None,
) -> Sizing:
    """Bring the group to these sizes, in one call, with only those that change. Check mode predicts.

    While that call fails for a passing reason, or its answer is lost, the group is looked at before another attempt.
    `counted` says that somebody is about to wait for the instances: a group that does not count in instances is then
    refused before anything is changed. `expected` are sizes from which what is asked was computed: nothing is sent once
    somebody else has changed one of them.
    """
    deadline = Deadline(call.clock, call.patience(aws.poll_seconds))
    heartbeat = Heartbeat(call)
    before: Group | None = None
    sent = False
    while True:
        group = living_group(aws, name)
        before = before or group
        if counted:
            _countable(group)
        if not _as_expected(group, expected or {}, asked if sent else {}):
            return Sizing(before.sizes, group.sizes, len(group.in_service), as_expected=False, sent=sent)
        changes = planned_sizes(group, asked, only_raise)
        if not changes or call.check_mode:
            return Sizing(before.sizes, {**group.sizes, **changes}, len(group.in_service))
        texts = [f"{IN_WORDS[each]} {group.sizes[each]} -> {size}" for each, size in reversed(changes.items())]
        call.journal.write("resize", text=", ".join(texts), sizes=changes)
        sent = True
        try:
            set_sizes(aws, name, **changes)
            break
        except AwsError as error:
            if not error.transient or deadline.expired():
                raise
            heartbeat.trouble(error.message)
        call.clock.sleep(min(aws.poll_seconds, deadline.remaining()))
    after = living_group(aws, name)
    return Sizing(before.sizes, after.sizes, len(after.in_service))


def _as_expected(group: Group, expected: Mapping[str, int], sent: Mapping[str, int | None]) -> bool:
    """Whether the sizes are as they were, or as we may have made them ourselves."""
    return all(group.sizes[name] in (size, sent.get(name)) for name, size in expected.items())


def wait_in_service(aws: Aws, call: Call, name: str, wanted: int, timeout: float, poll_seconds: float) -> int:
    """Wait until `wanted` instances are InService; answers how many are.

    Where somebody lowers the desired capacity meanwhile, that many are enough. One describe a poll; `timeout` is in
    seconds, 0 waits for ever; throttling and lost connections are waited out. Raises CapacityTimeout with the members'
    states and the scaling activity's own text.
    """
    try:
        group = wait_patiently(
            lambda: living_group(aws, name),
            lambda group: len(group.in_service) >= still_wanted(group, wanted),
            call=call,
            deadline=Deadline(call.clock, timeout),
            interval=poll_seconds,
            heartbeat=Heartbeat(call),
            describe=lambda group: Stand(_progress(group, wanted), len(group.in_service), still_wanted(group, wanted)),
        )
    except WaitTimeout as error:
        raise _timed_out(aws, error.last, wanted, timeout) from error
    return len(group.in_service)


def still_wanted(group: Group, wanted: int) -> int:
    """How many instances are waited for, as things are now."""
    return min(wanted, group.desired_capacity)


def blocking_activity(activities: Sequence[Activity]) -> Activity | None:
    """Of the activities, newest first, the one that says why launches do not come: the newest launch that failed since
    one succeeded, else the newest that has not ended."""
    launches = [activity for activity in activities if activity.description.startswith("Launching")]
    since = []
    for activity in launches:
        if activity.status == "Successful":
            break
        since.append(activity)
    return next((activity for activity in since if activity.failed), since[0] if since else None)


def _refuse_impossible(group: Group, sizes: Mapping[str, int], changes: Mapping[str, int]) -> None:
    low, high, desired = sizes["min_size"], sizes["max_size"], sizes["desired_capacity"]
    if low > high:
        raise _refusal(
            group,
            f"min_size {low} would be above max_size {high}",
            f"Set max_size to at least {low}, or min_size to at most {high}, in the same task",
        )
    if desired > high and "desired_capacity" not in changes:
        raise _refusal(
            group,
            f"max_size {high} would be below desired_capacity {desired}, and AWS would terminate what it chooses",
            "First remove instances by name (evergreen.eks.asg_detach_terminate with decrement=true)",
        )
    if desired > high:
        raise _refusal(
            group,
            f"desired_capacity {desired} would be above max_size {high}",
            f"Set max_size to at least {desired} in the same task",
        )
    if desired < low:
        raise _refusal(
            group,
            f"desired_capacity {desired} would be below min_size {low}",
            f"Set desired_capacity to at least {low}, or min_size to at most {desired}, in the same task",
        )


def _refuse_victims(group: Group, changes: Mapping[str, int]) -> None:
    """Lowering the desired capacity under the number of members lets AWS choose who is terminated."""
    desired = changes.get("desired_capacity", group.desired_capacity)
    if desired >= group.desired_capacity:
        return
    if group.weighted:
        raise _refusal(
            group,
            f"desired_capacity {desired} would lower its capacity, which is not counted in instances",
            "First remove instances by name, or lower it yourself",
        )
    members = len(group.strength)
    if desired < members:
        raise _refusal(
            group,
            f"desired_capacity {desired} would be below its {members} members, and AWS would terminate "
            f"{members - desired} of its choice",
            "Remove instances by name (evergreen.eks.asg_detach_terminate with decrement=true), which lowers it too",
        )


def _refusal(group: Group, what: str, remedy: str) -> Refused:
    now = f"now min_size {group.min_size}, max_size {group.max_size}, desired_capacity {group.desired_capacity}"
    return Refused(f"Auto Scaling group {group.name}: {what} ({now})", remedy=remedy, asg_name=group.name)


def _countable(group: Group) -> None:
    if group.weighted:
        raise _refusal(
            group,
            "its capacity is not counted in instances, so there is no number of them to wait for",
            "Leave out the option wait",
        )


def _states(group: Group) -> str:
    """`3 InService, 2 Pending`."""
    counted = Counter(member.lifecycle_state for member in group.members)
    return ", ".join(f"{count} {state}" for state, count in sorted(counted.items())) or "no members"


def _progress(group: Group, wanted: int) -> str:
    return f"{len(group.in_service)} of {still_wanted(group, wanted)} instances InService ({_states(group)})"


def _timed_out(aws: Aws, group: Group, wanted: int, timeout: float) -> CapacityTimeout:
    number = still_wanted(group, wanted)
    count = f"{len(group.in_service)} of {number} instances InService after {timeout:g} s"
    parts = [f"Auto Scaling group {group.name} has {count} ({_states(group)})"]
    if "Launch" in group.suspended:
        parts.append(f"Its process Launch is suspended ({group.suspended['Launch'] or 'no reason given'})")
    activity = _ask_blocking_activity(aws, group.name)
    if activity:
        parts.append(f"AWS says: {activity_text(activity)}")
    details: dict[str, Any] = {
        "asg_name": group.name,
        "wanted": number,
        "in_service": len(group.in_service),
        "members": {member.instance_id: member.lifecycle_state for member in group.members},
        "activity": activity_text(activity) if activity else "",
    }
    return CapacityTimeout(
        ". ".join(part.rstrip(".") for part in parts),
        last=group,
        remedy="Mend the cause and run again: it goes on from here",
        **details,
    )


def _ask_blocking_activity(aws: Aws, name: str) -> Activity | None:
    try:
        return blocking_activity(scaling_activities(aws, name, limit=ACTIVITIES_LOOKED_AT))
    except EvergreenError:  # it is only the explanation of a failure
        return None


def activity_text(activity: Activity) -> str:
    """An activity as one line in AWS's own words, with its status and the time of its start."""
    said = activity.status_message or activity.description
    if activity.status_message and activity.status_message not in activity.description:
        said = f"{activity.description.rstrip('. ')}: {activity.status_message}"
    elif activity.status_message:
        said = activity.description
    started = f" {activity.started:%Y-%m-%dT%H:%M:%SZ}" if activity.started else ""
    return f"{activity.status}{started} {said}"
