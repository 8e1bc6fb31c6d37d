# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changing Auto Scaling groups and EC2 instances: one function a verb, no decisions.

Everything here but terminate_in_group and detach is absolute, and repeated while it fails for a passing reason
(aws_repeats). Those two count, so they are sent exactly once; read the membership again before another attempt. So are
sizes: between two attempts somebody else may have changed them, and what was harmless may cost an instance then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Callable

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError, aws_errors
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups.read import (
    GroupNotFound,
    chunks,
    describe_group,
    describe_instances,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import Activity, parse_activity

PROTECT_A_CALL = 50  # SetInstanceProtection
DETACH_A_CALL = 20  # DetachInstances
TAG_A_CALL = 500  # CreateTags and DeleteTags take 1,000 resources
END_A_CALL = 100  # TerminateInstances takes 1,000; one stale id fails the whole call, so keep it small

TAG_KEY_LENGTH = 128
TAG_VALUE_LENGTH = 256

UNKNOWN_INSTANCE = ("InvalidInstanceID.NotFound", "InvalidID")


def set_sizes(
    aws: Aws,
    name: str,
    *,
    min_size: int | None = None,
    max_size: int | None = None,
    desired_capacity: int | None = None,
) -> None:
    """Set those sizes that are given, in one call that is sent once; the others are not sent.

    AWS moves the desired capacity by itself where a new minimum or maximum leaves it outside; `capacity.planned_sizes`
    refuses such a request.
    """
    sizes = {"MinSize": min_size, "MaxSize": max_size, "DesiredCapacity": desired_capacity}
    given = {key: value for key, value in sizes.items() if value is not None}
    if given:
        send = aws.client_once("autoscaling").update_auto_scaling_group
        _send(name, send, "UpdateAutoScalingGroup", AutoScalingGroupName=name, **given)


def set_protects_new(aws: Aws, name: str, protects: bool) -> None:
    """Whether instances that the group launches from now on are protected from scale-in."""
    send = _autoscaling(aws).update_auto_scaling_group
    request = {"AutoScalingGroupName": name, "NewInstancesProtectedFromScaleIn": protects}
    _send(name, send, "UpdateAutoScalingGroup", **request)


def set_protection(aws: Aws, name: str, ids: Iterable[str], protected: bool) -> list[str]:
    """Protect these members from scale-in, or no longer; answers the ids for which that is now so.

    A member that meanwhile left, or is leaving, is left out: AWS fails the whole call because of one such id.
    """
    done: list[str] = []
    for chunk in chunks(sorted(set(ids)), PROTECT_A_CALL):
        done += _protect(aws, name, chunk, protected)
    return done


def suspend_processes(aws: Aws, name: str, processes: Sequence[str]) -> None:
    """Suspend these scaling processes. None given means none (AWS would take it for all)."""
    if processes:
        send = _autoscaling(aws).suspend_processes
        _send(name, send, "SuspendProcesses", AutoScalingGroupName=name, ScalingProcesses=list(processes))


def resume_processes(aws: Aws, name: str, processes: Sequence[str]) -> None:
    """Resume these scaling processes. None given means none (AWS would take it for all)."""
    if processes:
        send = _autoscaling(aws).resume_processes
        _send(name, send, "ResumeProcesses", AutoScalingGroupName=name, ScalingProcesses=list(processes))


def tag_group(aws: Aws, name: str, tags: Mapping[str, str]) -> None:
    """Put these tags on the group, not on the instances that it launches. Raises InvalidInput for one too long."""
    _check_lengths(tags, f"Auto Scaling group {name}")
    entries = [{**_group_tag(name, key), "Value": value, "PropagateAtLaunch": False} for key, value in tags.items()]
    if entries:
        _send(name, _autoscaling(aws).create_or_update_tags, "CreateOrUpdateTags", Tags=entries)


def untag_group(aws: Aws, name: str, keys: Iterable[str]) -> None:
    """Take these tags off the group; those that it does not have are no error."""
    entries = [_group_tag(name, key) for key in keys]
    if entries:
        _send(name, _autoscaling(aws).delete_tags, "DeleteTags", Tags=entries)


def tag_instances(aws: Aws, ids: Iterable[str], tags: Mapping[str, str]) -> list[str]:
    """Put these tags on the instances; answers those that have them now. Instances that are gone are no error."""
    _check_lengths(tags, "the instances")
    entries = [{"Key": key, "Value": value} for key, value in tags.items()]
    return _on_existing(
        aws,
        "ec2:CreateTags",
        sorted(set(ids)) if entries else [],
        TAG_A_CALL,
        lambda chunk: aws.client("ec2").create_tags(Resources=chunk, Tags=entries),
    )


def untag_instances(aws: Aws, ids: Iterable[str], keys: Iterable[str]) -> list[str]:
    """Take these tags off the instances, whatever their values; instances that are gone are no error."""
    entries = [{"Key": key} for key in keys]
    return _on_existing(
        aws,
        "ec2:DeleteTags",
        sorted(set(ids)) if entries else [],  # without keys EC2 would take off all tags
        TAG_A_CALL,
        lambda chunk: aws.client("ec2").delete_tags(Resources=chunk, Tags=entries),
    )


def terminate_in_group(aws: Aws, instance_id: str, decrement: bool) -> Activity:
    """Terminate this member through its group, which honours lifecycle hooks and load balancers.

    With `decrement` the desired capacity falls by one, else the group launches a replacement. Sent exactly once.
    """
    with aws_errors("autoscaling:TerminateInstanceInAutoScalingGroup", f"instance {instance_id}"):
        answer = aws.client_once("autoscaling").terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=decrement
        )
    return parse_activity(answer["Activity"])


def detach(aws: Aws, name: str, ids: Sequence[str], decrement: bool) -> list[Activity]:
    """Detach these members, at most 20; they go on running outside the group. Sent exactly once.

    AWS refuses the whole call when one of them is no member, or is neither InService nor Standby.
    """
    if len(ids) > DETACH_A_CALL:
        raise ValueError(f"DetachInstances takes at most {DETACH_A_CALL} instances, not {len(ids)}")
    with group_errors("autoscaling:DetachInstances", name):
        answer = aws.client_once("autoscaling").detach_instances(
            AutoScalingGroupName=name, InstanceIds=list(ids), ShouldDecrementDesiredCapacity=decrement
        )
    return [parse_activity(raw) for raw in answer["Activities"]]


def terminate_instances(aws: Aws, ids: Iterable[str]) -> list[str]:
    """Terminate these instances through EC2; answers those that EC2 accepted, without the ones already gone."""
    return _on_existing(
        aws,
        "ec2:TerminateInstances",
        sorted(set(ids)),
        END_A_CALL,
        lambda chunk: aws.client("ec2").terminate_instances(InstanceIds=chunk),
    )


def stop_instances(aws: Aws, ids: Iterable[str]) -> list[str]:
    """Stop these instances through EC2; answers those that EC2 accepted, without the ones already gone."""
    return _on_existing(
        aws,
        "ec2:StopInstances",
        sorted(set(ids)),
        END_A_CALL,
        lambda chunk: aws.client("ec2").stop_instances(InstanceIds=chunk),
    )


@contextmanager
def group_errors(action: str, name: str) -> Iterator[None]:
    """As aws_errors, and GroupNotFound where the group has been deleted (a ValidationError in AWS's words)."""
    try:
        with aws_errors(action, f"Auto Scaling group {name}"):
            yield
    except AwsError as error:
        if error.code == "ValidationError" and "AutoScalingGroup name not found" in error.message:
            raise GroupNotFound(
                f"Auto Scaling group {name} no longer exists ({action})",
                remedy="Check whether somebody deleted it",
                missing=[name],
            ) from error
        raise


def _autoscaling(aws: Aws) -> Any:
    return aws.client("autoscaling")


def _send(name: str, send: Callable[..., Any], operation: str, **request: Any) -> None:
    """Send a request about a group."""
    with group_errors(f"autoscaling:{operation}", name):
        send(**request)


def _protect(aws: Aws, name: str, ids: list[str], protected: bool) -> list[str]:
    while ids:
        try:
            _set_protection(aws, name, ids, protected)
            return ids
        except AwsError as error:
            if error.code != "ValidationError":
                raise
            group = describe_group(aws, name)
            able = {member.instance_id for member in group.members if member.protectable}
            remaining = [instance_id for instance_id in ids if instance_id in able]
            if remaining == ids:
                raise
            ids = remaining
    return []


def _set_protection(aws: Aws, name: str, ids: list[str], protected: bool) -> None:
    send = _autoscaling(aws).set_instance_protection
    request = {"AutoScalingGroupName": name, "InstanceIds": ids, "ProtectedFromScaleIn": protected}
    _send(name, send, "SetInstanceProtection", **request)


def _on_existing(aws: Aws, action: str, ids: list[str], size: int, send: Callable[[list[str]], Any]) -> list[str]:
    """Send an EC2 request in chunks, without the instances that EC2 no longer knows: it fails whole because of one."""
    done: list[str] = []
    for chunk in chunks(ids, size):
        while chunk:
            try:
                with aws_errors(action, f"instances {', '.join(chunk[:3])}{' ...' if len(chunk) > 3 else ''}"):
                    send(chunk)
                done += chunk
                break
            except AwsError as error:
                known = describe_instances(aws, chunk) if error.code in UNKNOWN_INSTANCE else chunk
                remaining = [instance_id for instance_id in chunk if instance_id in known]
                if remaining == chunk:
                    raise
                chunk = remaining
    return done


def _group_tag(name: str, key: str) -> dict[str, str]:
    return {"ResourceId": name, "ResourceType": "auto-scaling-group", "Key": key}


def _check_lengths(tags: Mapping[str, str], subject: str) -> None:
    for key, value in tags.items():
        if len(key) > TAG_KEY_LENGTH or len(value) > TAG_VALUE_LENGTH:
            raise InvalidInput(
                f"The tag {key} of {subject} is too long ({len(key)} and {len(value)} characters)",
                remedy=f"AWS takes {TAG_KEY_LENGTH} characters for the key and {TAG_VALUE_LENGTH} for the value",
            )
