# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of instances that are to leave their group, and where each of them stands on its way out. No calls."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import TAG_VALUE_LENGTH, Group, Instance, Member
from ansible_collections.evergreen.eks.plugins.module_utils.progress import refuse_negative

# On every instance before it is detached: `<run id>/<final state>/<group>`. A run that is killed between the detachment
# and the end of the instance leaves it running outside its group; by this tag it is found and finished. It is taken off
# who is where it was to go, and who stays a member.
LEAVING_TAG = "evergreen.eks/leaving"

INSTANCE_ID = re.compile(r"i-[0-9a-f]{8,17}")
# DetachInstances refuses a whole call for one member in another state.
DETACHABLE = ("InService", "Standby")
# EC2 never brings an instance back from these.
ENDED = ("shutting-down", "terminated")

TERMINATED, STOPPED, DETACHED = "terminated", "stopped", "detached"
DETACH, TERMINATE_IN_GROUP = "detach", "terminate_in_group"


@dataclass(frozen=True)
class LeavingMark:
    """What the tag LEAVING_TAG says: who detached the instance, what was to become of it, and from which group."""

    run_id: str
    final_state: str
    asg_name: str

    @classmethod
    def parse(cls, text: str) -> LeavingMark:
        run_id, final_state, asg_name = (text.split("/", 2) + ["", ""])[:3]
        return cls(run_id, final_state, asg_name)

    def __str__(self) -> str:
        return f"{self.run_id}/{self.final_state}/{self.asg_name}"[:TAG_VALUE_LENGTH]

    def is_of(self, asg_name: str) -> bool:
        """A name that is too long for the tag is there with its beginning."""
        return str(LeavingMark(self.run_id, self.final_state, asg_name)) == str(self)


def is_leaving(instance: Instance, asg_name: str) -> bool:
    """Does its tag say that it was to leave this group?"""
    return LEAVING_TAG in instance.tags and LeavingMark.parse(instance.tags[LEAVING_TAG]).is_of(asg_name)


@dataclass(frozen=True)
class Request:
    """The options of `asg_detach_terminate`, checked; `method` is resolved."""

    asg_name: str
    instance_ids: tuple[str, ...]
    decrement: bool
    final_state: str
    method: str
    verify_drained: bool
    allow_unjoined: bool
    dead_node_timeout: float
    min_ready: int | None
    run_id: str
    wait: bool
    timeout: float
    poll_seconds: float

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Request:
        """Raises InvalidInput."""
        ids = tuple(dict.fromkeys(params["instance_ids"]))
        wrong = [item for item in ids if not INSTANCE_ID.fullmatch(item)]
        if wrong:
            raise InvalidInput(
                f"{', '.join(wrong[:3])}: no instance id", remedy="Give ids of EC2 instances, like i-0123456789abcdef0"
            )
        final_state, method = params["final_state"], params["method"]
        if method == TERMINATE_IN_GROUP and final_state != TERMINATED:
            raise InvalidInput(
                f"method terminate_in_group cannot leave an instance {final_state}",
                remedy="Use method detach, or leave the method to auto",
            )
        refuse_negative(params, "min_ready", "timeout", "dead_node_timeout")
        if method == "auto":
            method = TERMINATE_IN_GROUP if final_state == TERMINATED else DETACH
        return cls(
            asg_name=params["asg_name"],
            instance_ids=ids,
            decrement=params["decrement"],
            final_state=final_state,
            method=method,
            verify_drained=params["verify_drained"],
            allow_unjoined=params["allow_unjoined"],
            dead_node_timeout=params["dead_node_timeout"],
            min_ready=params["min_ready"],
            run_id=params["run_id"] or "",
            wait=params["wait"],
            timeout=params["timeout"],
            poll_seconds=params["poll_seconds"],
        )

    @property
    def tag(self) -> dict[str, str]:
        return {LEAVING_TAG: str(LeavingMark(self.run_id, self.final_state, self.asg_name))}


def asks_kubernetes(params: Mapping[str, Any]) -> bool:
    """Whether a connection to the cluster is needed at all."""
    return params["verify_drained"] or params["min_ready"] is not None


# --- where one instance stands ---------------------------------------------------------------------------------------

# What is to be done next about an instance.
REMOVE, LEAVING, FINISH, DONE, REFUSE = "remove", "leaving", "finish", "done", "refuse"


@dataclass(frozen=True)
class Position:
    """The next step for one instance; `result` and `reason` are those of the module's answer."""

    step: str
    result: str
    reason: str
    message: str


def position(member: Member | None, instance: Instance | None, request: Request) -> Position:
    """Where an instance stands, from its membership and from EC2's view of it (None: EC2 no longer knows it)."""
    if member:
        return _inside(member, request)
    return _outside(instance, request)


def _inside(member: Member, request: Request) -> Position:
    state = member.lifecycle_state
    if state.startswith("Terminat"):
        return Position(LEAVING, "leaving", "terminating", f"it is {state}")
    if state.startswith("Detach"):
        return Position(LEAVING, "leaving", "detaching", f"it is {state}")
    if state.startswith("Warmed"):
        return Position(REFUSE, "refused", "warm_pool", f"it is {state}, in the warm pool, not in the group")
    if request.method == DETACH and state not in DETACHABLE:
        return Position(REFUSE, "refused", "not_in_service", f"it is {state}, and AWS detaches only {DETACHABLE[0]}")
    return Position(REMOVE, request.final_state, "planned", f"it is {state}")


def _outside(instance: Instance | None, request: Request) -> Position:
    if instance is None or instance.state in ENDED:
        return Position(DONE, "already_gone", "gone", f"it is {instance.state if instance else 'unknown to EC2'}")
    if request.final_state == DETACHED:
        return Position(DONE, DETACHED, "gone", f"it is {instance.state}, outside {request.asg_name}")
    if request.final_state == STOPPED and instance.state == "stopped":
        return Position(DONE, STOPPED, "gone", "it is stopped")
    if request.final_state == STOPPED and instance.state == "stopping":
        return Position(LEAVING, "leaving", "stopping", "it is stopping")
    if is_leaving(instance, request.asg_name):
        return Position(FINISH, "leaving", "detached", f"it is detached by us and {instance.state}")
    message = f"it is {instance.state}, but no member of {request.asg_name}, and not detached by us"
    return Position(REFUSE, "refused", "not_a_member", message)


# --- sizes -----------------------------------------------------------------------------------------------------------


def refuse_below_min(group: Group, leaving: Iterable[str]) -> None:
    """Raise EvergreenError (below_min_size) where so many decrements would bring the group under its own minimum."""
    count = sum(member.instance_id in set(leaving) for member in group.strength)
    if group.desired_capacity - count < group.min_size:
        raise EvergreenError(
            f"Removing {count} instances from Auto Scaling group {group.name} would lower its desired capacity from "
            f"{group.desired_capacity} to {group.desired_capacity - count}, below its min_size {group.min_size}",
            reason="below_min_size",
            remedy="Lower min_size first, name fewer instances, or set decrement to false",
            changed=False,
            **group.sizes,
        )


# --- the answer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fate:
    """What became of one instance, as the module answers it."""

    result: str
    reason: str
    message: str
    node: str = ""

    @property
    def failed(self) -> bool:
        return self.result in ("refused", "failed")


def answer(fates: Mapping[str, Fate], touched: Iterable[str], before: Group, after: Group) -> dict[str, Any]:
    """The module's result; `touched` are the instances that this call changed."""
    changed = sorted(touched)
    return {
        "changed": bool(changed),
        "changed_instances": changed,
        "instances": {instance_id: vars(fates[instance_id]) for instance_id in sorted(fates)},
        "diff": {"before": _picture(before, fates), "after": _picture(after, fates)},
    }


def _picture(group: Group, fates: Iterable[str]) -> dict[str, Any]:
    members = {member.instance_id: member.lifecycle_state for member in group.members}
    return {
        "desired_capacity": group.desired_capacity,
        "instances": {item: members.get(item, "no member") for item in sorted(fates)},
    }


def failure(asg_name: str, fates: Mapping[str, Fate], done: Mapping[str, Any]) -> EvergreenError:
    """The failure of a call some of whose instances did not go; `done` is the whole answer."""
    failed = {instance_id: fate for instance_id, fate in sorted(fates.items()) if fate.failed}
    reasons = Counter(fate.reason for fate in failed.values())
    named = [f"{item}{f' ({fate.node})' if fate.node else ''}: {fate.message}" for item, fate in failed.items()]
    more = f"; and {len(named) - 5} more" if len(named) > 5 else ""
    return EvergreenError(
        f"{len(failed)} of {len(fates)} instances were not removed from Auto Scaling group {asg_name}: "
        f"{'; '.join(named[:5])}{more}",
        reason=reasons.most_common(1)[0][0],
        remedy=REMEDIES.get(reasons.most_common(1)[0][0], "Put the cause right and run again: what is gone stays gone"),
        **done,
    )


REMEDIES = {
    "not_drained": "Drain these nodes (evergreen.eks.node_drain), then run again",
    "node_unknown": "See which Node the instance is (spec.providerID) or whether this is the right cluster; "
    "allow_unjoined=true removes one that never became a Node",
    "not_a_member": "Check the instance ids and the group's name",
    "floor": "Get more members Ready, or lower min_ready, then run again",
    "warm_pool": "Name instances of the group itself",
    "not_in_service": "Wait until they are InService, or use final_state terminated",
}
