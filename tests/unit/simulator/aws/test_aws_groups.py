# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auto Scaling groups: sizes, what is refused, what is launched, whom a scale-in takes, and what is told about it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError


def test_raising_desired_launches_instances_that_become_pending_and_then_in_service(aws: Any) -> None:
    aws.group(desired=3)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=5)
    assert aws.states() == ["InService"] * 3
    aws.later(5)
    assert aws.states() == ["InService"] * 3 + ["Pending"] * 2
    aws.later(60)
    assert aws.states() == ["InService"] * 5


def test_activities_say_why_in_the_words_of_aws(aws: Any) -> None:
    aws.group(desired=6)
    asked = aws.clock.timestamp()
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=8)
    aws.later(3)
    launched = aws.clock.timestamp()
    latest = aws.activities()[0]
    assert latest["Cause"] == (
        f"At {asked} a user request explicitly set group desired capacity changing the desired capacity from 6 to 8.  "
        f"At {launched} an instance was started in response to a difference between desired and actual capacity, "
        "increasing the capacity from 6 to 8."
    )
    assert latest["StatusCode"] == "PreInService"
    assert latest["Description"] == f"Launching a new EC2 instance: {aws.ids()[-1]}"
    aws.later(60)
    assert aws.activities()[0]["StatusCode"] == "Successful"


def test_each_instance_remembers_the_template_version_it_was_launched_from(aws: Any) -> None:
    aws.group(desired=2)
    aws.cloud.new_template_version("shared", ImageId=aws.cloud.create_image("new"))
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=3)
    aws.later(60)
    assert [member["LaunchTemplate"]["Version"] for member in aws.members()] == ["1", "1", "2"]


@pytest.mark.parametrize(
    ("desired", "says"),
    [
        (11, "New SetDesiredCapacity value 11 is above max value 10 for the AutoScalingGroup."),
        (1, "New SetDesiredCapacity value 1 is below min value 2 for the AutoScalingGroup."),
    ],
)
def test_desired_stays_within_the_bounds(aws: Any, desired: int, says: str) -> None:
    aws.group(desired=3, min_size=2)
    with pytest.raises(ClientError, match=says):
        aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=desired)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"MinSize": 11}, "Max bound, 10, must be greater than or equal to min bound, 11"),
        ({"DesiredCapacity": 12}, "Desired capacity:12 must be between the specified min size:0 and max size:10"),
        ({"MaxSize": -1}, "Member must have value greater than or equal to 0"),
    ],
)
def test_contradicting_sizes_are_refused_and_change_nothing(aws: Any, sizes: dict[str, int], says: str) -> None:
    aws.group(desired=3)
    before = aws.describe()
    with pytest.raises(ClientError, match=says):
        aws.autoscaling.update_auto_scaling_group(AutoScalingGroupName="shared", **sizes)
    assert aws.describe() == before


def test_an_unknown_group_is_an_empty_list_or_a_refusal(aws: Any) -> None:
    assert aws.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["nobody"])["AutoScalingGroups"] == []
    with pytest.raises(ClientError, match="AutoScalingGroup name not found") as caught:
        aws.autoscaling.set_desired_capacity(AutoScalingGroupName="nobody", DesiredCapacity=1)
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_a_maximum_under_desired_lowers_desired_and_terminates(aws: Any) -> None:
    aws.group(desired=6)
    aws.autoscaling.update_auto_scaling_group(AutoScalingGroupName="shared", MaxSize=4)
    assert aws.describe()["DesiredCapacity"] == 4
    aws.later(120)
    assert aws.states() == ["InService"] * 4
    assert "constraints to min: 0, max: 4, desired: 4 changing the desired capacity from 6 to 4" in (
        aws.activities()[0]["Cause"]
    )


def test_scale_in_keeps_zones_balanced_and_takes_the_oldest_template_first(aws: Any) -> None:
    aws.group(desired=3)
    old = set(aws.ids())
    aws.cloud.new_template_version("shared", InstanceType="m5.xlarge")
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=6)
    aws.later(60)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=3)
    aws.later(120)
    assert not old & set(aws.ids())
    assert aws.zones() == {"a": 1, "b": 1, "c": 1}


def test_protected_members_are_never_chosen_until_protection_is_taken_off(aws: Any) -> None:
    aws.group(desired=3)
    first, *others = aws.ids()
    protect = {"AutoScalingGroupName": "shared", "InstanceIds": [first, *others]}
    aws.autoscaling.set_instance_protection(ProtectedFromScaleIn=True, **protect)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    aws.later(300)
    assert aws.describe()["DesiredCapacity"] == 2
    assert aws.ids() == [first, *others]
    stuck = aws.activities()[0]
    assert stuck["StatusCode"] == "Cancelled"
    assert stuck["Description"] == (
        "Could not scale to desired capacity because all remaining instances are protected from scale-in."
    )
    aws.autoscaling.set_instance_protection(
        AutoScalingGroupName="shared", InstanceIds=[first], ProtectedFromScaleIn=False
    )
    aws.later(120)
    assert aws.ids() == others


def test_new_members_are_protected_when_the_group_says_so(aws: Any) -> None:
    aws.group(desired=1)
    aws.autoscaling.update_auto_scaling_group(AutoScalingGroupName="shared", NewInstancesProtectedFromScaleIn=True)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    aws.later(60)
    assert [member["ProtectedFromScaleIn"] for member in aws.members()] == [False, True]


def test_a_mixed_instances_policy_survives_an_update_that_does_not_name_it(aws: Any) -> None:
    template = aws.cloud.create_template("mixed", aws.image)
    policy = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": template.id, "Version": "$Latest"},
            "Overrides": [
                {"InstanceType": "m5.xlarge", "WeightedCapacity": "2"},
                {"InstanceType": "m5.large", "WeightedCapacity": "1"},
            ],
        }
    }
    subnets = list(aws.network.subnets.values())
    aws.cloud.create_group("mixed", None, subnets, 4, max_size=8, MixedInstancesPolicy=policy)
    aws.autoscaling.update_auto_scaling_group(AutoScalingGroupName="mixed", MaxSize=9)
    described = aws.describe("mixed")["MixedInstancesPolicy"]
    assert described["LaunchTemplate"]["Overrides"] == policy["LaunchTemplate"]["Overrides"]
    assert [(one["InstanceType"], one["WeightedCapacity"]) for one in aws.members("mixed")] == [("m5.xlarge", "2")] * 2


def test_launches_that_fail_are_failed_activities_and_are_tried_again(aws: Any) -> None:
    aws.group(desired=1, zones=1)
    aws.cloud.fail_launches("shared")
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    aws.later(5)
    failed = aws.activities()[0]
    assert failed["StatusCode"] == "Failed"
    assert failed["StatusMessage"].startswith(
        "We currently do not have sufficient m5.large capacity in the Availability Zone you requested (eu-central-1a)."
    )
    assert failed["Description"].startswith("Launching a new EC2 instance.  Status Reason: We currently do not have")
    assert aws.states() == ["InService"]
    aws.cloud.allow_launches()
    aws.later(120)
    assert aws.states() == ["InService"] * 2


def test_a_zone_without_capacity_is_passed_over(aws: Any) -> None:
    aws.group(desired=0)
    aws.cloud.fail_launches("shared", zone="eu-central-1a")
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=4)
    aws.later(40)
    assert aws.zones() == {"b": 2, "c": 2}


def test_an_image_that_does_not_exist_fails_the_launch(aws: Any) -> None:
    aws.group(desired=0)
    aws.cloud.new_template_version("shared", ImageId="ami-00000000000000bad")
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=1)
    aws.later(5)
    assert aws.activities()[0]["StatusMessage"] == (
        "The image id '[ami-00000000000000bad]' does not exist. Launching EC2 instance failed."
    )
    assert aws.members() == []


def test_a_template_that_was_deleted_fails_the_launch(aws: Any) -> None:
    aws.group(desired=1)
    template = aws.describe()["LaunchTemplate"]["LaunchTemplateId"]
    aws.ec2.delete_launch_template(LaunchTemplateId=template)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    aws.later(5)
    assert aws.activities()[0]["StatusCode"] == "Failed"
    assert template in aws.activities()[0]["StatusMessage"]
    assert aws.states() == ["InService"]


def test_many_calls_in_a_row_do_not_put_a_launch_off(aws: Any) -> None:
    aws.group(desired=1)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    for _unused in range(4):
        aws.later(1)
        aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    assert aws.states() == ["InService", "Pending"]


def test_a_group_may_launch_from_a_launch_configuration(aws: Any) -> None:
    aws.autoscaling.create_launch_configuration(
        LaunchConfigurationName="lc-1", ImageId=aws.image, InstanceType="m4.large"
    )
    subnets = list(aws.network.subnets.values())
    aws.cloud.create_group("legacy", None, subnets, 1, max_size=2, LaunchConfigurationName="lc-1")
    assert aws.describe("legacy")["LaunchConfigurationName"] == "lc-1"
    (member,) = aws.members("legacy")
    assert (member["LaunchConfigurationName"], member["InstanceType"]) == ("lc-1", "m4.large")
    assert "LaunchTemplate" not in member


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"SecurityGroupIds": ["sg-0gone"]}, "The security group 'sg-0gone' does not exist"),
        ({"ImageId": "resolve:ssm:/nowhere"}, "The image id '[resolve:ssm:/nowhere]' does not exist"),
    ],
)
def test_what_ec2_refuses_is_a_failed_activity(aws: Any, content: dict[str, Any], says: str) -> None:
    aws.group(desired=1)
    aws.cloud.new_template_version("shared", **content)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    aws.later(5)
    assert aws.activities()[0]["StatusCode"] == "Failed"
    assert says in aws.activities()[0]["StatusMessage"]
    assert aws.states() == ["InService"]


def test_a_group_can_be_created_through_the_api(aws: Any) -> None:
    template = aws.cloud.create_template("made", aws.image)
    subnets = ",".join(aws.network.subnets.values())
    request = {
        "AutoScalingGroupName": "made",
        "MinSize": 1,
        "MaxSize": 3,
        "VPCZoneIdentifier": subnets,
        "LaunchTemplate": {"LaunchTemplateName": template.name},
    }
    aws.autoscaling.create_auto_scaling_group(**request)
    aws.later(60)
    assert aws.states("made") == ["InService"]
    assert "a user request created an AutoScalingGroup changing the desired capacity from 0 to 1." in (
        aws.activities("made")[0]["Cause"]
    )
    with pytest.raises(ClientError) as caught:
        aws.autoscaling.create_auto_scaling_group(**request)
    assert caught.value.response["Error"]["Code"] == "AlreadyExists"


def test_groups_come_in_pages_of_fifty_and_can_be_found_by_tag(aws: Any) -> None:
    template = aws.cloud.create_template("many", aws.image)
    subnets = list(aws.network.subnets.values())
    for number in range(51):
        aws.cloud.create_group(f"group-{number:02}", template, subnets, 0, cluster="demo" if number < 2 else "other")
    first = aws.autoscaling.describe_auto_scaling_groups()
    rest = aws.autoscaling.describe_auto_scaling_groups(NextToken=first["NextToken"])
    assert [len(page["AutoScalingGroups"]) for page in (first, rest)] == [50, 1]
    assert "NextToken" not in rest
    ours = aws.autoscaling.describe_auto_scaling_groups(
        Filters=[{"Name": "tag-key", "Values": ["kubernetes.io/cluster/demo"]}]
    )
    assert [group["AutoScalingGroupName"] for group in ours["AutoScalingGroups"]] == ["group-00", "group-01"]


def test_deleting_needs_force_while_there_are_members(aws: Any) -> None:
    aws.group(desired=2)
    with pytest.raises(ClientError, match="You cannot delete an AutoScalingGroup while there are instances"):
        aws.autoscaling.delete_auto_scaling_group(AutoScalingGroupName="shared")
    aws.autoscaling.delete_auto_scaling_group(AutoScalingGroupName="shared", ForceDelete=True)
    assert aws.describe()["Status"] == "Delete in progress"
    aws.later(120)
    assert aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_tags_are_written_read_and_removed(aws: Any) -> None:
    aws.group(desired=0, cluster="demo")
    mark = {"ResourceId": "shared", "ResourceType": "auto-scaling-group", "Key": "evergreen/max", "Value": "10>12"}
    aws.autoscaling.create_or_update_tags(Tags=[mark | {"PropagateAtLaunch": False}])
    tags = {tag["Key"]: tag["Value"] for tag in aws.describe()["Tags"]}
    assert tags == {"kubernetes.io/cluster/demo": "owned", "evergreen/max": "10>12"}
    aws.autoscaling.delete_tags(Tags=[mark])
    assert [tag["Key"] for tag in aws.describe()["Tags"]] == ["kubernetes.io/cluster/demo"]


def test_a_warm_pool_and_a_refresh_under_way_can_be_seen(aws: Any) -> None:
    aws.group(desired=2)
    aws.autoscaling.put_warm_pool(AutoScalingGroupName="shared", MinSize=1)
    assert aws.describe()["WarmPoolConfiguration"]["MinSize"] == 1
    started = aws.autoscaling.start_instance_refresh(AutoScalingGroupName="shared")
    with pytest.raises(ClientError, match="An Instance Refresh is already in progress") as caught:
        aws.autoscaling.start_instance_refresh(AutoScalingGroupName="shared")
    assert caught.value.response["Error"]["Code"] == "InstanceRefreshInProgress"
    aws.later(5)
    refreshes = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName="shared")["InstanceRefreshes"]
    assert [(one["InstanceRefreshId"], one["Status"]) for one in refreshes] == [
        (started["InstanceRefreshId"], "InProgress")
    ]
    aws.autoscaling.cancel_instance_refresh(AutoScalingGroupName="shared")
    aws.later(5)
    refreshes = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName="shared")["InstanceRefreshes"]
    assert refreshes[0]["Status"] == "Cancelled"


def test_a_refresh_that_is_left_alone_replaces_everybody(aws: Any) -> None:
    aws.group(desired=2)
    old = set(aws.ids())
    aws.autoscaling.start_instance_refresh(AutoScalingGroupName="shared")
    aws.later(900)
    assert not old & set(aws.ids())
    refreshes = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName="shared")["InstanceRefreshes"]
    assert refreshes[0]["Status"] == "Successful"


@pytest.mark.parametrize(
    ("preference", "replaced", "status"),
    [("Wait", 0, "InProgress"), ("Ignore", 0, "Successful"), ("Refresh", 2, "Successful")],
)
def test_a_refresh_and_protected_members(aws: Any, preference: str, replaced: int, status: str) -> None:
    aws.group(desired=2)
    old = set(aws.ids())
    aws.autoscaling.set_instance_protection(
        AutoScalingGroupName="shared", InstanceIds=sorted(old), ProtectedFromScaleIn=True
    )
    aws.autoscaling.start_instance_refresh(
        AutoScalingGroupName="shared", Preferences={"ScaleInProtectedInstances": preference}
    )
    aws.later(900)
    assert len(old - set(aws.ids())) == replaced
    refreshes = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName="shared")["InstanceRefreshes"]
    assert refreshes[0]["Status"] == status


def test_activities_in_progress_are_described_first(aws: Any) -> None:
    aws.group(desired=2)
    first, second = aws.ids()
    hook = {"AutoScalingGroupName": "shared", "LifecycleHookName": "goodbye"}
    aws.autoscaling.put_lifecycle_hook(
        **hook, LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING", HeartbeatTimeout=3600
    )
    for instance in (first, second):
        aws.autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance, ShouldDecrementDesiredCapacity=True
        )
        aws.later(60)
    aws.autoscaling.complete_lifecycle_action(**hook, InstanceId=second, LifecycleActionResult="CONTINUE")
    aws.later(120)
    held, ended, *_launches = aws.activities()
    assert first in held["Description"] and held["StatusCode"] != "Successful"
    assert second in ended["Description"] and ended["StatusCode"] == "Successful"
    assert held["StartTime"] < ended["StartTime"]
