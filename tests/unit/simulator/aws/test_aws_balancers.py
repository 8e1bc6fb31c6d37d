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
    aws.later(30)
    assert health(aws, target_group) == dict.fromkeys(aws.ids(), "healthy")


def test_terminating_in_the_group_waits_for_the_draining(aws: Any, target_group: str) -> None:
    aws.later(30)
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
    aws.later(30)
    leaving = aws.ids()[0]
    aws.autoscaling.detach_instances(
        AutoScalingGroupName="shared", InstanceIds=[leaving], ShouldDecrementDesiredCapacity=True
    )
    assert health(aws, target_group)[leaving] == "draining"
    assert "Detaching" in aws.states()
    aws.later(110)
    assert leaving not in health(aws, target_group)
    assert leaving not in aws.ids()


def test_what_ends_fails_its_health_checks_and_is_let_go_once_it_has_ended(aws: Any) -> None:
    checks = {"healthcheck_interval_seconds": 6, "unhealthy_threshold_count": "2"}
    arn = aws.cloud.create_target_group("web", aws.network.vpc_id, **checks)
    aws.group(desired=2, TargetGroupARNs=[arn])
    aws.later(30)
    lost = aws.ids()[0]
    aws.cloud.terminate_outside(lost)
    assert health(aws, arn)[lost] == "healthy"
    aws.later(13)
    assert health(aws, arn)[lost] == "unhealthy"
    aws.later(13)
    assert lost not in health(aws, arn)


def test_targets_can_be_deregistered_by_hand_and_stay_out(aws: Any, target_group: str) -> None:
    aws.later(30)
    leaving, other = aws.ids()
    elbv2 = aws.client("elbv2")
    elbv2.deregister_targets(TargetGroupArn=target_group, Targets=[{"Id": leaving}])
    assert health(aws, target_group) == {leaving: "draining", other: "healthy"}
    aws.later(110)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    aws.later(10)
    assert health(aws, target_group) == {other: "healthy"}
    elbv2.deregister_targets(TargetGroupArn=target_group, Targets=[{"Id": leaving}])
    assert (health(aws, target_group), aws.states()) == ({other: "healthy"}, ["InService"] * 2)


def test_a_target_that_is_registered_again_is_checked_anew(aws: Any, target_group: str) -> None:
    aws.later(30)
    one, other = aws.ids()
    elbv2 = aws.client("elbv2")
    elbv2.deregister_targets(TargetGroupArn=target_group, Targets=[{"Id": one}])
    aws.later(50)
    elbv2.register_targets(TargetGroupArn=target_group, Targets=[{"Id": one}, {"Id": other}])
    assert health(aws, target_group) == {one: "initial", other: "healthy"}
    aws.later(100)
    assert health(aws, target_group) == {one: "healthy", other: "healthy"}


def test_each_port_of_an_instance_is_a_target_of_its_own(aws: Any, target_group: str) -> None:
    one = aws.ids()[0]
    elbv2 = aws.client("elbv2")
    elbv2.register_targets(TargetGroupArn=target_group, Targets=[{"Id": one, "Port": 8080}])
    elbv2.deregister_targets(TargetGroupArn=target_group, Targets=[{"Id": one}])
    found = elbv2.describe_target_health(TargetGroupArn=target_group)["TargetHealthDescriptions"]
    ports = {entry["Target"]["Port"]: entry["TargetHealth"]["State"] for entry in found if entry["Target"]["Id"] == one}
    assert ports == {80: "draining", 8080: "initial"}


def test_who_does_not_answer_becomes_unhealthy_and_healthy_again(aws: Any, target_group: str) -> None:
    aws.later(30)
    sick = aws.ids()[0]
    aws.cloud.balancers.answers = lambda instance_id: instance_id != sick
    aws.later(1)
    assert health(aws, target_group)[sick] == "healthy"
    aws.later(60)
    found = aws.client("elbv2").describe_target_health(TargetGroupArn=target_group, Targets=[{"Id": sick}])
    assert found["TargetHealthDescriptions"][0]["TargetHealth"] == {
        "State": "unhealthy",
        "Reason": "Target.FailedHealthChecks",
        "Description": "Health checks failed",
    }
    assert aws.cloud.balancers.pool(target_group).routable() == [aws.ids()[1]]
    aws.cloud.balancers.answers = lambda _instance_id: True
    aws.later(1)
    aws.later(30)
    assert health(aws, target_group)[sick] == "healthy"


def test_behind_no_load_balancer_a_target_is_unused(aws: Any) -> None:
    arn = aws.cloud.create_target_group("idle", aws.network.vpc_id, in_use=False)
    aws.group(desired=1, TargetGroupARNs=[arn])
    (found,) = aws.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    assert (found["TargetHealth"]["State"], found["TargetHealth"]["Reason"]) == ("unused", "Target.NotInUse")


def test_with_elb_health_checks_a_member_taken_out_by_hand_is_replaced(aws: Any) -> None:
    arn = aws.cloud.create_target_group("web", aws.network.vpc_id, deregistration_delay=0)
    aws.group(desired=2, TargetGroupARNs=[arn], HealthCheckType="ELB", HealthCheckGracePeriod=60)
    aws.later(90)
    taken, other = aws.ids()
    aws.client("elbv2").deregister_targets(TargetGroupArn=arn, Targets=[{"Id": taken}])
    aws.later(20)
    assert aws.instance_state(taken) == "shutting-down"
    aws.later(120)
    assert other in aws.ids() and taken not in aws.ids()
    assert aws.states() == ["InService"] * 2


def test_addtoloadbalancer_suspended_means_not_registered(aws: Any, target_group: str) -> None:
    aws.autoscaling.suspend_processes(AutoScalingGroupName="shared", ScalingProcesses=["AddToLoadBalancer"])
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=3)
    aws.later(60)
    assert aws.states() == ["InService"] * 3
    assert len(health(aws, target_group)) == 2


@pytest.fixture
def classic(aws: Any) -> Any:
    elb = aws.client("elb")
    elb.create_load_balancer(
        LoadBalancerName="classic",
        Listeners=[{"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 80}],
        AvailabilityZones=["eu-central-1a"],
    )
    check = {"Target": "TCP:80", "Interval": 10, "Timeout": 5, "HealthyThreshold": 2, "UnhealthyThreshold": 6}
    elb.configure_health_check(LoadBalancerName="classic", HealthCheck=check)
    aws.group(desired=2, LoadBalancerNames=["classic"])
    return elb


def classic_health(elb: Any, *ids: str) -> dict[str, tuple[str, str]]:
    asked = {"Instances": [{"InstanceId": one} for one in ids]} if ids else {}
    states = elb.describe_instance_health(LoadBalancerName="classic", **asked)["InstanceStates"]
    return {one["InstanceId"]: (one["State"], one["Description"]) for one in states}


IN_SERVICE = ("InService", "N/A")
STARTING = ("OutOfService", "Instance registration is still in progress.")
DRAINING = ("InService", "Instance deregistration currently in progress.")
OUT = ("OutOfService", "Instance is not currently registered with the LoadBalancer.")


def test_classic_load_balancers_follow_their_group(aws: Any, classic: Any) -> None:
    leaving, other = aws.ids()
    assert classic_health(classic) == {leaving: STARTING, other: STARTING}
    aws.later(30)
    assert classic_health(classic) == {leaving: IN_SERVICE, other: IN_SERVICE}
    aws.autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=leaving, ShouldDecrementDesiredCapacity=True)
    aws.later(60)
    assert classic_health(classic) == {other: IN_SERVICE}


def test_a_classic_load_balancer_drains_connections_where_that_is_switched_on(aws: Any, classic: Any) -> None:
    draining = {"ConnectionDraining": {"Enabled": True, "Timeout": 60}}
    classic.modify_load_balancer_attributes(LoadBalancerName="classic", LoadBalancerAttributes=draining)
    aws.later(30)
    leaving, other = aws.ids()
    classic.deregister_instances_from_load_balancer(LoadBalancerName="classic", Instances=[{"InstanceId": leaving}])
    described = classic.describe_load_balancers(LoadBalancerNames=["classic"])["LoadBalancerDescriptions"][0]
    assert described["Instances"] == [{"InstanceId": other}]
    assert classic_health(classic) == {other: IN_SERVICE}
    assert classic_health(classic, leaving) == {leaving: DRAINING}
    aws.later(61)
    assert classic_health(classic, leaving) == {leaving: OUT}
    classic.register_instances_with_load_balancer(LoadBalancerName="classic", Instances=[{"InstanceId": leaving}])
    aws.later(30)
    assert classic_health(classic, leaving) == {leaving: IN_SERVICE}


def test_a_classic_load_balancer_knows_no_stranger_and_nothing_of_the_dead(aws: Any, classic: Any) -> None:
    aws.later(30)
    dead, other = aws.ids()
    aws.cloud.terminate_outside(dead)
    aws.later(30)
    assert aws.instance_state(dead) == "terminated"
    assert classic_health(classic, dead, other) == {other: IN_SERVICE}
    with pytest.raises(ClientError, match="InvalidInstance"):
        classic_health(classic, "i-0123456789abcdef0")
    for operation in ("describe_instance_health", "describe_load_balancer_attributes"):
        with pytest.raises(ClientError, match="LoadBalancerNotFound"):
            getattr(classic, operation)(LoadBalancerName="nowhere")
