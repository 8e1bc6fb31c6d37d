# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One verb, one kind of call: in chunks, repeated only where that is safe, and not stopped by what is already gone."""

from __future__ import annotations

import pytest
from unit.scripted_aws import activity_entry, instance_entry, member_entry, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    GroupNotFound,
    detach,
    resume_processes,
    set_protection,
    set_sizes,
    stop_instances,
    suspend_processes,
    tag_group,
    tag_instances,
    terminate_in_group,
    terminate_instances,
    untag_group,
    untag_instances,
)

IDS = [f"i-{number:017x}" for number in range(600)]
WRONG_STATE = f"The instance {IDS[1]} is not in InService or EnteringStandby or Standby."
UNKNOWN = f"The instance IDs '{IDS[1]}' do not exist"


def reservations(*ids: str) -> dict:
    return {"Reservations": [{"Instances": [instance_entry(instance_id) for instance_id in ids]}]}


@pytest.mark.parametrize(
    ("sizes", "request_"),
    [
        ({"max_size": 8}, {"MaxSize": 8}),
        ({"desired_capacity": 0}, {"DesiredCapacity": 0}),
        ({"max_size": 8, "desired_capacity": 8}, {"MaxSize": 8, "DesiredCapacity": 8}),
        ({"min_size": 0, "max_size": 1, "desired_capacity": 1}, {"MinSize": 0, "MaxSize": 1, "DesiredCapacity": 1}),
    ],
)
def test_sizes_go_in_one_call_that_carries_only_what_is_given(sizes: dict, request_: dict) -> None:
    with scripted_aws() as script:
        script.expect(
            "autoscaling", "update_auto_scaling_group", {}, once=True, AutoScalingGroupName="shared", **request_
        )

        set_sizes(script.aws, "shared", **sizes)

    assert script.clock.sleeps == []


def test_nothing_given_nothing_sent() -> None:
    with scripted_aws() as script:
        set_sizes(script.aws, "shared")
        suspend_processes(script.aws, "shared", [])
        resume_processes(script.aws, "shared", [])
        tag_group(script.aws, "shared", {})
        untag_group(script.aws, "shared", [])

        assert set_protection(script.aws, "shared", [], True) == []
        assert tag_instances(script.aws, [], {"a": "b"}) == []
        assert untag_instances(script.aws, IDS[:1], []) == []
        assert terminate_instances(script.aws, []) == []


def test_a_group_that_was_deleted_meanwhile() -> None:
    with scripted_aws() as script:
        text = "AutoScalingGroup name not found - AutoScalingGroup shared not found"
        request = {"AutoScalingGroupName": "shared", "MaxSize": 8}
        script.fail("autoscaling", "update_auto_scaling_group", "ValidationError", text, once=True, **request)

        with pytest.raises(GroupNotFound, match="Auto Scaling group shared no longer exists"):
            set_sizes(script.aws, "shared", max_size=8)


def test_fifty_members_a_call() -> None:
    with scripted_aws() as script:
        for part in (IDS[:50], IDS[50:70]):
            script.expect(
                "autoscaling",
                "set_instance_protection",
                {},
                AutoScalingGroupName="shared",
                InstanceIds=part,
                ProtectedFromScaleIn=True,
            )

        assert set_protection(script.aws, "shared", IDS[:70], True) == IDS[:70]


@pytest.mark.parametrize("left", [[], [member_entry(IDS[1], state="Terminating")]])
def test_a_member_that_leaves_meanwhile_does_not_keep_the_others_unprotected(left: list) -> None:
    request = {"AutoScalingGroupName": "shared", "ProtectedFromScaleIn": True}
    with scripted_aws() as script:
        script.fail(
            "autoscaling", "set_instance_protection", "ValidationError", WRONG_STATE, InstanceIds=IDS[:3], **request
        )
        script.expect_group(member_entry(IDS[0]), member_entry(IDS[2]), *left)
        script.expect("autoscaling", "set_instance_protection", {}, InstanceIds=[IDS[0], IDS[2]], **request)

        assert set_protection(script.aws, "shared", IDS[:3], True) == [IDS[0], IDS[2]]


def test_a_refusal_that_no_member_explains_is_an_error() -> None:
    with scripted_aws() as script:
        script.fail(
            "autoscaling",
            "set_instance_protection",
            "ValidationError",
            "something else",
            AutoScalingGroupName="shared",
            InstanceIds=IDS[:1],
            ProtectedFromScaleIn=False,
        )
        script.expect_group(member_entry(IDS[0]))

        with pytest.raises(AwsError, match="something else"):
            set_protection(script.aws, "shared", IDS[:1], False)


def test_processes_by_name() -> None:
    request = {"AutoScalingGroupName": "shared", "ScalingProcesses": ["AZRebalance", "AlarmNotification"]}
    with scripted_aws() as script:
        script.expect("autoscaling", "suspend_processes", {}, **request)
        script.expect("autoscaling", "resume_processes", {}, **request)

        suspend_processes(script.aws, "shared", ["AZRebalance", "AlarmNotification"])
        resume_processes(script.aws, "shared", ["AZRebalance", "AlarmNotification"])

    assert script.clock.sleeps == []


def test_tags_of_a_group_do_not_reach_its_instances() -> None:
    tag = {"ResourceId": "shared", "ResourceType": "auto-scaling-group", "Key": "evergreen.eks/run"}
    with scripted_aws() as script:
        tags = [{**tag, "Value": "r1", "PropagateAtLaunch": False}]
        script.expect("autoscaling", "create_or_update_tags", {}, Tags=tags)
        script.expect("autoscaling", "delete_tags", {}, Tags=[tag])

        tag_group(script.aws, "shared", {"evergreen.eks/run": "r1"})
        untag_group(script.aws, "shared", ["evergreen.eks/run"])

    assert script.clock.sleeps == []


@pytest.mark.parametrize("tags", [{"key": "v" * 257}, {"k" * 129: "value"}])
def test_a_tag_that_is_too_long_is_not_sent(tags: dict[str, str]) -> None:
    with scripted_aws() as script:
        with pytest.raises(InvalidInput, match="too long .* 256 for the value"):
            tag_group(script.aws, "shared", tags)
        with pytest.raises(InvalidInput, match="too long"):
            tag_instances(script.aws, IDS[:1], tags)


def test_five_hundred_instances_a_tagging_call() -> None:
    tags = [{"Key": "evergreen.eks/departing", "Value": "r1"}]
    with scripted_aws() as script:
        for part in (IDS[:500], IDS[500:]):
            script.expect("ec2", "create_tags", {}, Resources=part, Tags=tags)

        assert tag_instances(script.aws, IDS, {"evergreen.eks/departing": "r1"}) == IDS


def test_an_instance_that_is_gone_does_not_keep_the_others_from_their_tag() -> None:
    tags = [{"Key": "evergreen.eks/departing", "Value": "r1"}]
    with scripted_aws() as script:
        script.fail("ec2", "create_tags", "InvalidInstanceID.NotFound", UNKNOWN, Resources=IDS[:3], Tags=tags)
        request = {"Filters": [{"Name": "instance-id", "Values": IDS[:3]}]}
        script.expect("ec2", "describe_instances", reservations(IDS[0], IDS[2]), **request)
        script.expect("ec2", "create_tags", {}, Resources=[IDS[0], IDS[2]], Tags=tags)

        assert tag_instances(script.aws, IDS[:3], {"evergreen.eks/departing": "r1"}) == [IDS[0], IDS[2]]


def test_when_all_are_gone_nothing_more_is_sent() -> None:
    with scripted_aws() as script:
        script.fail("ec2", "terminate_instances", "InvalidInstanceID.NotFound", UNKNOWN, InstanceIds=[IDS[1]])
        request = {"Filters": [{"Name": "instance-id", "Values": [IDS[1]]}]}
        script.expect("ec2", "describe_instances", reservations(), **request)

        assert terminate_instances(script.aws, [IDS[1]]) == []


def test_tags_are_taken_off_by_key_whatever_their_value() -> None:
    with scripted_aws() as script:
        request = {"Resources": IDS[:1], "Tags": [{"Key": "evergreen.eks/departing"}]}
        script.expect("ec2", "delete_tags", {}, **request)

        assert untag_instances(script.aws, IDS[:1], ["evergreen.eks/departing"]) == IDS[:1]


def test_termination_protection_is_an_error_that_names_the_action() -> None:
    with scripted_aws() as script:
        text = f"The instance '{IDS[0]}' may not be terminated. Modify its 'disableApiTermination' instance attribute"
        script.fail("ec2", "terminate_instances", "OperationNotPermitted", text, InstanceIds=[IDS[0]])

        with pytest.raises(AwsError, match="ec2:TerminateInstances .*'disableApiTermination'"):
            terminate_instances(script.aws, [IDS[0]])


def test_stopping() -> None:
    with scripted_aws() as script:
        script.expect("ec2", "stop_instances", {}, InstanceIds=IDS[:2])

        assert stop_instances(script.aws, IDS[:2]) == IDS[:2]


def test_a_termination_that_counts_is_sent_by_the_client_that_never_repeats() -> None:
    with scripted_aws() as script:
        script.expect(
            "autoscaling",
            "terminate_instance_in_auto_scaling_group",
            {"Activity": activity_entry(f"Terminating EC2 instance: {IDS[0]}", status="InProgress")},
            once=True,
            InstanceId=IDS[0],
            ShouldDecrementDesiredCapacity=True,
        )

        activity = terminate_in_group(script.aws, IDS[0], decrement=True)

    assert (activity.instance_id, activity.status) == (IDS[0], "InProgress")


def test_contention_does_not_repeat_a_detach() -> None:
    with scripted_aws() as script:
        script.fail(
            "autoscaling",
            "detach_instances",
            "ResourceContention",
            "busy",
            once=True,
            AutoScalingGroupName="shared",
            InstanceIds=IDS[:2],
            ShouldDecrementDesiredCapacity=True,
        )

        with pytest.raises(AwsError, match="autoscaling:DetachInstances"):
            detach(script.aws, "shared", IDS[:2], decrement=True)

    assert script.clock.sleeps == []


def test_twenty_instances_a_detach() -> None:
    with scripted_aws() as script, pytest.raises(ValueError, match="at most 20"):
        detach(script.aws, "shared", IDS[:21], decrement=False)
