# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2: states over time, filters, templates that inherit, images behind parameters."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError


def found(aws: Any, **query: Any) -> list[str]:
    reservations = aws.ec2.describe_instances(**query)["Reservations"]
    return sorted(one["InstanceId"] for reservation in reservations for one in reservation["Instances"])


def test_a_terminated_instance_shuts_down_ends_keeps_its_tags_and_is_forgotten(aws: Any) -> None:
    aws.group(desired=1, tags={"team": "blue"})
    victim = aws.ids()[0]
    aws.cloud.terminate_outside(victim)
    assert aws.instance_state(victim) == "shutting-down"
    aws.later(30)
    ended = aws.ec2.describe_instances(InstanceIds=[victim])["Reservations"][0]["Instances"][0]
    assert ended["State"]["Name"] == "terminated"
    assert (ended["PrivateDnsName"], ended.get("PrivateIpAddress")) == ("", None)
    tags = {tag["Key"]: tag["Value"] for tag in aws.ec2.describe_tags()["Tags"] if tag["ResourceId"] == victim}
    assert tags["team"] == "blue"
    assert tags["aws:autoscaling:groupName"] == "shared"
    aws.later(4000)
    with pytest.raises(ClientError, match="InvalidInstanceID.NotFound"):
        aws.instance_state(victim)


def test_terminating_twice_is_no_error(aws: Any) -> None:
    aws.group(desired=1)
    victim = aws.ids()[0]
    aws.ec2.terminate_instances(InstanceIds=[victim])
    aws.later(60)
    again = aws.ec2.terminate_instances(InstanceIds=[victim])["TerminatingInstances"][0]
    assert (again["PreviousState"]["Name"], again["CurrentState"]["Name"]) == ("terminated", "terminated")


def test_stopping_takes_its_time(aws: Any) -> None:
    aws.group(desired=1)
    instance_id = aws.ids()[0]
    aws.autoscaling.detach_instances(
        AutoScalingGroupName="shared", InstanceIds=[instance_id], ShouldDecrementDesiredCapacity=True
    )
    aws.later(10)
    aws.ec2.stop_instances(InstanceIds=[instance_id])
    assert aws.instance_state(instance_id) == "stopping"
    aws.later(30)
    assert aws.instance_state(instance_id) == "stopped"
    aws.ec2.start_instances(InstanceIds=[instance_id])
    assert aws.instance_state(instance_id) == "pending"
    aws.later(30)
    assert aws.instance_state(instance_id) == "running"


def test_an_unknown_id_fails_a_describe_by_id_and_is_absent_from_one_by_filter(aws: Any) -> None:
    aws.group(desired=2)
    known = aws.ids()
    with pytest.raises(ClientError, match="InvalidInstanceID.NotFound"):
        aws.ec2.describe_instances(InstanceIds=[known[0], "i-00000000000000000"])
    by_filter = [{"Name": "instance-id", "Values": [known[0], "i-00000000000000000"]}]
    assert found(aws, Filters=by_filter) == [known[0]]


def test_filters_work_together(aws: Any) -> None:
    aws.group(desired=3, tags={"team": "blue"})
    first, second, third = aws.ids()
    aws.ec2.create_tags(Resources=[second], Tags=[{"Key": "victim", "Value": "run-1"}])
    assert found(aws, Filters=[{"Name": "tag:victim", "Values": ["run-1"]}]) == [second]
    assert found(aws, Filters=[{"Name": "tag:team", "Values": ["blue"]}]) == sorted([first, second, third])
    aws.cloud.terminate_outside(third)
    running = {"Name": "instance-state-name", "Values": ["running"]}
    by_id = {"Name": "instance-id", "Values": [second, third]}
    assert found(aws, Filters=[running, by_id]) == [second]


def test_a_dry_run_changes_nothing(aws: Any) -> None:
    aws.group(desired=1)
    victim = aws.ids()[0]
    with pytest.raises(ClientError, match="DryRunOperation"):
        aws.ec2.terminate_instances(InstanceIds=[victim], DryRun=True)
    assert aws.instance_state(victim) == "running"
    call = aws.record.calls(operation="TerminateInstances")[0]
    assert (call.dry_run, call.mutating, call.target) == (True, False, victim)


def test_a_new_template_version_inherits_from_its_source(aws: Any) -> None:
    template = aws.cloud.create_template("shared", aws.image, "m5.2xlarge")
    aws.ec2.create_launch_template_version(
        LaunchTemplateId=template.id, SourceVersion="1", LaunchTemplateData={"ImageId": "ami-new"}
    )
    aws.ec2.create_launch_template_version(LaunchTemplateId=template.id, LaunchTemplateData={"ImageId": "ami-alone"})
    versions = aws.ec2.describe_launch_template_versions(LaunchTemplateId=template.id)["LaunchTemplateVersions"]
    assert [(one["VersionNumber"], one["LaunchTemplateData"].get("InstanceType")) for one in versions] == [
        (1, "m5.2xlarge"),
        (2, "m5.2xlarge"),
        (3, None),
    ]


def test_latest_and_default_are_resolved_by_ec2(aws: Any) -> None:
    template = aws.cloud.create_template("shared", aws.image)
    aws.cloud.new_template_version("shared", InstanceType="m5.xlarge", default=True)
    aws.cloud.new_template_version("shared", InstanceType="m5.4xlarge")
    versions = aws.ec2.describe_launch_template_versions(
        LaunchTemplateId=template.id, Versions=["$Latest", "$Default"]
    )["LaunchTemplateVersions"]
    assert [one["VersionNumber"] for one in versions] == [3, 2]


def test_an_image_behind_a_parameter_is_resolved_at_launch_and_on_request(aws: Any) -> None:
    parameter = aws.cloud.publish_eks_image("1.35", aws.image)
    template = aws.cloud.create_template("shared", f"resolve:ssm:{parameter}")
    subnets = list(aws.network.subnets.values())
    aws.cloud.create_group("shared", template, subnets, 1, max_size=2)
    newer = aws.cloud.create_image("newer")
    aws.cloud.publish_eks_image("1.35", newer)
    assert aws.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"] == newer
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    aws.later(60)
    assert [view.image_id for view in aws.cloud.instances()] == [aws.image, newer]
    for resolve, image in ((True, newer), (False, f"resolve:ssm:{parameter}")):
        version = aws.ec2.describe_launch_template_versions(
            LaunchTemplateId=template.id, Versions=["$Latest"], ResolveAlias=resolve
        )["LaunchTemplateVersions"][0]
        assert version["LaunchTemplateData"]["ImageId"] == image


def test_the_world_sees_its_instances_with_their_times(aws: Any) -> None:
    aws.group(desired=1)
    began = aws.clock.now()
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    before = aws.cloud.generation
    aws.later(5)
    newcomer = aws.cloud.instances()[-1]
    assert aws.cloud.generation > before
    assert (newcomer.group, newcomer.state, newcomer.running_since) == ("shared", "pending", None)
    assert newcomer.launched_at == pytest.approx(began + 3)
    aws.later(60)
    assert aws.cloud.instances()[-1].running_since == pytest.approx(began + 18)
    assert newcomer.private_dns_name.endswith(".eu-central-1.compute.internal")
