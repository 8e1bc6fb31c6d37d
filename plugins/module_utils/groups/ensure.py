# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a group's processes and its scale-in protection into a state: look, change what differs, answer per item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput, counted
from ansible_collections.evergreen.eks.plugins.module_utils.groups.change import (
    resume_processes,
    set_protection,
    set_protects_new,
    suspend_processes,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups.read import describe_group
from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import INSTANCE_ID, Group, Member
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

PROCESSES = (
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "Launch",
    "ReplaceUnhealthy",
    "ScheduledActions",
    "Terminate",
)


@dataclass(frozen=True)
class ProcessesOutcome:
    """Suspended processes before and after, and the ones that this call changed; all sorted."""

    before: list[str]
    after: list[str]
    changed: list[str]


@dataclass(frozen=True)
class ProtectionOutcome:
    """Per instance `{before, after, reason, lifecycle_state}`, and the setting for new instances before and after.

    Reasons: changed, unchanged, wrong_state (AWS takes no change in this lifecycle state), not_a_member, left (it left
    the group, or began to, while we worked), too_many_members (without it AWS would terminate one at once).
    """

    instances: dict[str, dict[str, Any]] = field(default_factory=dict)
    new_before: bool = False
    new_after: bool = False

    @property
    def changed_instances(self) -> list[str]:
        return [instance_id for instance_id, entry in self.instances.items() if entry["reason"] == "changed"]

    @property
    def changed(self) -> bool:
        return bool(self.changed_instances) or self.new_before != self.new_after


def ensure_processes(aws: Aws, call: Call, name: str, processes: Sequence[str], suspended: bool) -> ProcessesOutcome:
    """Suspend these processes, or let them run; only those that are not yet so are sent. Check mode predicts."""
    before = set(describe_group(aws, name).suspended)
    differing = sorted(set(processes) - before if suspended else set(processes) & before)
    after = before | set(differing) if suspended else before - set(differing)
    if differing and not call.check_mode:
        text = f"{', '.join(differing)} {'suspended' if suspended else 'resumed'}"
        call.journal.write("processes_changed", text=text, suspended=suspended, processes=differing)
        (suspend_processes if suspended else resume_processes)(aws, name, differing)
        after = set(describe_group(aws, name).suspended)
    return ProcessesOutcome(sorted(before), sorted(after), differing)


def ensure_protection(
    aws: Aws,
    call: Call,
    name: str,
    ids: Sequence[str] | None,
    protected: bool,
    new_instances: bool | None = None,
    unless_too_many: bool = False,
) -> ProtectionOutcome:
    """Protect these members (None: all) from scale-in, or no longer; and the instances that come, where asked.

    The setting for new instances goes first, so that none is launched between the two without it. With
    `unless_too_many` no protection is taken off while the group has more members than its desired capacity.
    """
    _check_ids(ids)
    group = describe_group(aws, name)
    new_before = group.protects_new
    new_after = new_before if new_instances is None else new_instances
    if new_after != new_before and not call.check_mode:
        set_protects_new(aws, name, new_after)
        group = describe_group(aws, name)
    planned = planned_protection(group, ids, protected)
    if unless_too_many and not protected and len(group.strength) > group.desired_capacity:
        for entry in planned.values():
            if entry["reason"] == "changed":
                entry.update(after=True, reason="too_many_members")
    differing = [instance_id for instance_id, entry in planned.items() if entry["reason"] == "changed"]
    if differing and not call.check_mode:
        text = f"scale-in protection {'put on' if protected else 'taken off'} {counted(len(differing), 'instance')}"
        call.journal.write("protection_changed", text=text, protected=protected, instances=differing)
        done = set(set_protection(aws, name, differing, protected))
        for instance_id in differing:
            if instance_id not in done:
                planned[instance_id].update(after=None, reason="left")
    return ProtectionOutcome(planned, new_before, new_after)


def planned_protection(group: Group, ids: Sequence[str] | None, protected: bool) -> dict[str, dict[str, Any]]:
    """What is to happen to each of these members (None: all), by id; see ProtectionOutcome."""
    wanted = [member.instance_id for member in group.members] if ids is None else sorted(set(ids))
    return {instance_id: _planned(group.member(instance_id), protected) for instance_id in wanted}


def _planned(member: Member | None, protected: bool) -> dict[str, Any]:
    if member is None:
        return {"before": None, "after": None, "reason": "not_a_member", "lifecycle_state": ""}
    if member.protected == protected:
        reason, after = "unchanged", protected
    elif member.protectable:
        reason, after = "changed", protected
    else:
        reason, after = "wrong_state", member.protected
    return {
        "before": member.protected,
        "after": after,
        "reason": reason,
        "lifecycle_state": member.lifecycle_state,
    }


def _check_ids(ids: Sequence[str] | None) -> None:
    wrong = [instance_id for instance_id in ids or [] if not INSTANCE_ID.fullmatch(instance_id)]
    if wrong:
        raise InvalidInput(
            f"{', '.join(wrong)} cannot be the id of an EC2 instance",
            remedy="Give ids like i-0123456789abcdef0",
        )
