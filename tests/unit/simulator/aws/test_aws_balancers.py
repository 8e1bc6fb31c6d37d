# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load balancers: who is registered, healthy, draining; and that leaving the group waits for the draining."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def target_group(aws: Any) -> str:
    arn = aws.cloud.create_target_group("web", aws.network.vpc_id, deregistration_delay=100)
    aws.group(desired=2, TargetGroupARNs=[arn])
    return arn


def health(aws: Any, arn: str, *ids: str) -> dict[str, str]:
    asked = {"Targets": [{"Id": one} for one in ids]} if ids else {}
    answer = aws.client("elbv2").describe_target_health(TargetGroupArn=arn, **asked)
    return {one["Target"]["Id"]: one["TargetHealth"]["State"] for one in answer["TargetHealthDescriptions"]}


def test_members_in_service_are_registered_and_become_healthy(aws: Any, target_group: str) -> None:
    assert health(aws, target_group) == dict.fromkeys(aws.ids(), "initial")
    aws.later(20)
    assert health(aws, target_group) == dict.fromkeys(aws.ids(), "healthy")


def test_terminating_in_the_group_waits_for_the_draining(aws: Any, target_group: str) -> None:
    aws.later(20)
    victim, other = aws.ids()
    aws.autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=victim, ShouldDecrementDesiredCapacity=True)
    assert health(aws, target_group) == {victim: "draining", other: "healthy"}
    assert aws.activities()[0]["StatusCode"] == "WaitingForELBConnectionDraining"
    aws.later(90)
    assert (aws.states(), aws.instance_state(victim)) == (["InService", "Terminating"], "running")
    aws.later(60)
    assert aws.states() == ["InService"]
    assert health(aws, target_group, victim, other) == {victim: "unused", other: "healthy"}


def test_a_detached_member_is_deregistered(aws: Any, target_group: str) -> None:
    aws.later(20)
    leaving = aws.ids()[0]
    aws.autoscaling.detach_instances(
        AutoScalingGroupName="shared", InstanceIds=[leaving], ShouldDecrementDesiredCapacity=True
    )
    assert health(aws, target_group)[leaving] == "draining"
    assert "Detaching" in aws.states()
    aws.later(110)
    assert leaving not in health(aws, target_group)
    assert leaving not in aws.ids()


def test_what_ends_is_deregistered_at_once(aws: Any, target_group: str) -> None:
    aws.later(20)
    lost = aws.ids()[0]
    aws.cloud.terminate_outside(lost)
    assert health(aws, target_group)[lost] == "unused"
    aws.later(30)
    assert lost not in health(aws, target_group)


def test_targets_can_be_deregistered_by_hand_and_stay_out(aws: Any, target_group: str) -> None:
    aws.later(20)
    leaving, other = aws.ids()
    elbv2 = aws.client("elbv2")
    elbv2.deregister_targets(TargetGroupArn=target_group, Targets=[{"Id": leaving}])
    aws.later(110)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    aws.later(10)
    assert health(aws, target_group) == {other: "healthy"}
    with pytest.raises(ClientError, match="InvalidTarget"):
        elbv2.deregister_targets(TargetGroupArn=target_group, Targets=[{"Id": leaving}])


def test_addtoloadbalancer_suspended_means_not_registered(aws: Any, target_group: str) -> None:
    aws.autoscaling.suspend_processes(AutoScalingGroupName="shared", ScalingProcesses=["AddToLoadBalancer"])
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=3)
    aws.later(60)
    assert aws.states() == ["InService"] * 3
    assert len(health(aws, target_group)) == 2


def test_classic_load_balancers_follow_their_group(aws: Any) -> None:
    elb = aws.client("elb")
    elb.create_load_balancer(
        LoadBalancerName="classic",
        Listeners=[{"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 80}],
        AvailabilityZones=["eu-central-1a"],
    )
    aws.group(desired=2, LoadBalancerNames=["classic"])
    leaving, other = aws.ids()
    states = elb.describe_instance_health(LoadBalancerName="classic")["InstanceStates"]
    assert {one["InstanceId"]: one["State"] for one in states} == {leaving: "InService", other: "InService"}
    aws.autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=leaving, ShouldDecrementDesiredCapacity=True)
    aws.later(60)
    states = elb.describe_instance_health(LoadBalancerName="classic")["InstanceStates"]
    assert [one["InstanceId"] for one in states] == [other]
