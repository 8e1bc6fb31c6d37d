# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding load balancers, looking at them, registering and deregistering: which requests, and what of their errors."""

from __future__ import annotations

from typing import Any

import pytest
from unit.scripted_aws import ScriptedAws, group_entry, instance_entry, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.change import deregister, register
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.read import (
    draining_seconds,
    find_balancers,
    read_pool,
)
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.records import CLASSIC, Balancer, Target
from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import Group, parse_group

PREFIX = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup"
IDS = [f"i-{number:017x}" for number in range(150)]
SHOP = Balancer("shop", CLASSIC)
INVALID_TARGET = ("InvalidTarget", "The following targets are not in a running state and cannot be registered")
GONE = ("TargetGroupNotFound", "One or more target groups not found")


def arn(name: str) -> str:
    return f"{PREFIX}/{name}/73e2d6bc24d8a067"


WEB = Balancer("web", arn=arn("web"))


def group(target_groups: tuple[str, ...] = (), classic: tuple[str, ...] = ()) -> Group:
    names = {"TargetGroupARNs": [arn(name) for name in target_groups], "LoadBalancerNames": list(classic)}
    return parse_group(group_entry(**names))


def expect_target_groups(script: ScriptedAws, *names: str, pods: tuple[str, ...] = ()) -> None:
    entries = [
        {"TargetGroupName": name, "TargetGroupArn": arn(name), "TargetType": "ip" if name in pods else "instance"}
        for name in names
    ]
    script.expect("elbv2", "describe_target_groups", {"TargetGroups": entries})


def expect_classic(script: ScriptedAws, *names: str) -> None:
    entries = [{"LoadBalancerName": name} for name in names]
    script.expect("elb", "describe_load_balancers", {"LoadBalancerDescriptions": entries})


def tagged(name: str, tags: dict[str, str]) -> dict[str, Any]:
    return {"ResourceArn": arn(name), "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def test_without_a_cluster_only_what_is_attached_is_asked_about() -> None:
    with scripted_aws() as script:
        expect_target_groups(script, "own", "other")

        found = find_balancers(script.aws, group(target_groups=("own", "deleted")))

    assert found == (Balancer("own", arn=arn("own"), attached=True),)


def test_the_clusters_are_known_by_either_tag_and_pods_are_left_out() -> None:
    with scripted_aws() as script:
        expect_target_groups(script, "old", "own", "controller", "pods", "foreign", "bare", pods=("pods",))
        asked = [arn(name) for name in ("bare", "controller", "foreign", "old")]
        descriptions = [
            tagged("bare", {"team": "shop"}),
            tagged("controller", {"elbv2.k8s.aws/cluster": "prod"}),
            tagged("foreign", {"elbv2.k8s.aws/cluster": "prod-2", "kubernetes.io/cluster/prod-2": "owned"}),
            tagged("old", {"kubernetes.io/cluster/prod": "owned"}),
        ]
        script.expect("elbv2", "describe_tags", {"TagDescriptions": descriptions}, ResourceArns=asked)
        expect_classic(script, "shop", "mine", "foreign")
        classic_tags = [
            {"LoadBalancerName": "shop", "Tags": [{"Key": "kubernetes.io/cluster/prod", "Value": "owned"}]},
            {"LoadBalancerName": "foreign", "Tags": [{"Key": "team", "Value": "shop"}]},
        ]
        script.expect("elb", "describe_tags", {"TagDescriptions": classic_tags}, LoadBalancerNames=["shop", "foreign"])

        found = find_balancers(script.aws, group(("own",), ("mine",)), "prod")

    assert [(one.name, one.kind, one.attached) for one in found] == [
        ("controller", "target_group", False),
        ("old", "target_group", False),
        ("own", "target_group", True),
        ("mine", "classic", True),
        ("shop", "classic", False),
    ]


def test_tags_are_asked_for_in_twenties_and_one_that_has_just_gone_spoils_nothing() -> None:
    names = [f"tg-{number:02}" for number in range(21)]
    arns = [arn(name) for name in names]
    with scripted_aws() as script:
        expect_target_groups(script, *names)
        script.fail("elbv2", "describe_tags", *GONE, ResourceArns=arns[:20])
        for number in range(20):
            if number == 7:
                script.fail("elbv2", "describe_tags", *GONE, ResourceArns=[arns[number]])
            else:
                answer = {"TagDescriptions": [tagged(names[number], {"elbv2.k8s.aws/cluster": "prod"})]}
                script.expect("elbv2", "describe_tags", answer, ResourceArns=[arns[number]])
        script.expect("elbv2", "describe_tags", {"TagDescriptions": []}, ResourceArns=arns[20:])
        expect_classic(script)

        found = find_balancers(script.aws, group(), "prod")

    assert [one.name for one in found] == [name for name in names[:20] if name != "tg-07"]


def expect_health(script: ScriptedAws, states: dict[str, str]) -> None:
    entries = [{"Target": {"Id": one, "Port": 80}, "TargetHealth": {"State": state}} for one, state in states.items()]
    script.expect("elbv2", "describe_target_health", {"TargetHealthDescriptions": entries}, TargetGroupArn=WEB.arn)


def test_a_look_at_a_target_group_is_one_request() -> None:
    with scripted_aws() as script:
        expect_health(script, {IDS[0]: "healthy", IDS[1]: "draining"})

        pool = read_pool(script.aws, WEB, IDS)

    assert pool is not None and pool.healthy == {IDS[0]} == pool.registered


@pytest.mark.parametrize("read", [read_pool, draining_seconds])
def test_what_has_been_deleted_is_no_error(read: Any) -> None:
    operation = "describe_target_health" if read is read_pool else "describe_target_group_attributes"
    classic = "describe_instance_health" if read is read_pool else "describe_load_balancer_attributes"
    with scripted_aws() as script:
        script.fail("elbv2", operation, *GONE, TargetGroupArn=WEB.arn)
        script.fail("elb", classic, "LoadBalancerNotFound", "There is no ACTIVE Load Balancer", LoadBalancerName="shop")

        assert not read(script.aws, WEB)
        assert not read(script.aws, SHOP)


def test_a_missing_permission_is_an_error() -> None:
    with scripted_aws() as script, pytest.raises(AwsError, match="elasticloadbalancing:DescribeTargetHealth") as caught:
        script.fail("elbv2", "describe_target_health", "AccessDenied", "not authorized", TargetGroupArn=WEB.arn)

        read_pool(script.aws, WEB)

    assert caught.value.reason == "access_denied"


def state_of(instance_id: str, state: str, description: str) -> dict[str, str]:
    return {"InstanceId": instance_id, "State": state, "ReasonCode": "N/A", "Description": description}


def test_who_has_left_a_classic_load_balancer_must_be_asked_for_by_name() -> None:
    draining = "Instance deregistration currently in progress."
    with scripted_aws() as script:
        registered = {"InstanceStates": [state_of(IDS[0], "InService", "N/A")]}
        script.expect("elb", "describe_instance_health", registered, LoadBalancerName="shop")
        both = [{"InstanceId": IDS[1]}, {"InstanceId": IDS[2]}]
        unknown = ("InvalidInstance", "Could not find EC2 instance.")
        script.fail("elb", "describe_instance_health", *unknown, LoadBalancerName="shop", Instances=both)
        answer = {"InstanceStates": [state_of(IDS[1], "InService", draining)]}
        script.expect("elb", "describe_instance_health", answer, LoadBalancerName="shop", Instances=both[:1])
        script.fail("elb", "describe_instance_health", *unknown, LoadBalancerName="shop", Instances=both[1:])

        pool = read_pool(script.aws, SHOP, IDS[:3])

    assert pool is not None
    assert {target.instance_id: target.state for target in pool.targets} == {IDS[0]: "healthy", IDS[1]: "draining"}


@pytest.mark.parametrize(
    ("attributes", "seconds"),
    [
        ({"ConnectionDraining": {"Enabled": True, "Timeout": 120}}, 120),
        ({"ConnectionDraining": {"Enabled": False, "Timeout": 300}}, 0),
        ({}, 0),
    ],
)
def test_how_long_a_classic_load_balancer_drains(attributes: dict[str, Any], seconds: float) -> None:
    with scripted_aws() as script:
        answer = {"LoadBalancerAttributes": attributes}
        script.expect("elb", "describe_load_balancer_attributes", answer, LoadBalancerName="shop")

        assert draining_seconds(script.aws, SHOP) == seconds


@pytest.mark.parametrize("value", ["0", "300"])
def test_how_long_a_target_group_drains(value: str) -> None:
    with scripted_aws() as script:
        attributes = [
            {"Key": "stickiness.enabled", "Value": "false"},
            {"Key": "deregistration_delay.timeout_seconds", "Value": value},
        ]
        script.expect("elbv2", "describe_target_group_attributes", {"Attributes": attributes}, TargetGroupArn=WEB.arn)

        assert draining_seconds(script.aws, WEB) == float(value)


# ---- changing


def named(*ids: str) -> list[dict[str, Any]]:
    return [{"Id": instance_id, "Port": 80} for instance_id in ids]


def test_many_targets_go_in_hundreds_each_on_its_port() -> None:
    targets = [Target(instance_id, 80, "healthy") for instance_id in IDS]
    with scripted_aws() as script:
        script.expect("elbv2", "deregister_targets", {}, TargetGroupArn=WEB.arn, Targets=named(*IDS[:100]))
        script.expect("elbv2", "deregister_targets", {}, TargetGroupArn=WEB.arn, Targets=named(*IDS[100:]))

        assert deregister(script.aws, WEB, targets) == targets


def test_a_classic_load_balancer_knows_no_ports() -> None:
    instances = [{"InstanceId": IDS[0]}, {"InstanceId": IDS[1]}]
    targets = [Target(instance_id, 0, "healthy") for instance_id in IDS[:2]]
    with scripted_aws() as script:
        for operation in ("deregister_instances_from_load_balancer", "register_instances_with_load_balancer"):
            script.expect("elb", operation, {}, LoadBalancerName="shop", Instances=instances)

        assert deregister(script.aws, SHOP, targets) == register(script.aws, SHOP, targets) == targets


def test_who_does_not_run_any_more_is_left_out_and_the_others_come_back() -> None:
    targets = [Target(instance_id, 80, "") for instance_id in IDS[:3]]
    with scripted_aws() as script:
        script.fail("elbv2", "register_targets", *INVALID_TARGET, TargetGroupArn=WEB.arn, Targets=named(*IDS[:3]))
        entries = [instance_entry(IDS[0]), instance_entry(IDS[1], State={"Code": 32, "Name": "shutting-down"})]
        filters = [{"Name": "instance-id", "Values": IDS[:3]}]
        answer = {"Reservations": [{"Instances": entries}]}
        script.expect("ec2", "describe_instances", answer, Filters=filters)
        script.expect("elbv2", "register_targets", {}, TargetGroupArn=WEB.arn, Targets=named(IDS[0]))

        assert register(script.aws, WEB, targets) == targets[:1]


def test_a_refusal_that_no_dead_instance_explains_is_an_error() -> None:
    targets = [Target(IDS[0], 80, "")]
    with scripted_aws() as script, pytest.raises(AwsError, match="target group web"):
        script.fail("elbv2", "register_targets", *INVALID_TARGET, TargetGroupArn=WEB.arn, Targets=named(IDS[0]))
        answer = {"Reservations": [{"Instances": [instance_entry(IDS[0])]}]}
        script.expect("ec2", "describe_instances", answer, Filters=[{"Name": "instance-id", "Values": [IDS[0]]}])

        register(script.aws, WEB, targets)


def test_a_target_group_that_has_been_deleted_has_nobody_to_take_out() -> None:
    with scripted_aws() as script:
        script.fail("elbv2", "deregister_targets", *GONE, TargetGroupArn=WEB.arn, Targets=named(IDS[0]))

        assert deregister(script.aws, WEB, [Target(IDS[0], 80, "healthy")]) == []


def test_nobody_costs_no_request() -> None:
    with scripted_aws() as script:
        assert deregister(script.aws, WEB, []) == register(script.aws, SHOP, []) == []
