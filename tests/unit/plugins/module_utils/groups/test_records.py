# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS's answers become records: nothing lost, nothing guessed."""

from __future__ import annotations

import pytest
from unit.scripted_aws import LAUNCHED, TEMPLATE, activity_entry, group_entry, instance_entry, member_entry

from ansible_collections.evergreen.eks.plugins.module_utils.groups import Hook, LaunchSource, Member, Override
from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import (
    parse_activity,
    parse_group,
    parse_hook,
    parse_instance,
)

STATES = {  # lifecycle state: (counts, in service, protectable)
    "Pending": (True, False, False),
    "Pending:Wait": (True, False, False),
    "Pending:Proceed": (True, False, False),
    "InService": (True, True, True),
    "ReplacingRootVolume": (True, False, False),
    "EnteringStandby": (False, False, True),
    "Standby": (False, False, True),
    "Detaching": (False, False, False),
    "Detached": (False, False, False),
    "Terminating": (False, False, False),
    "Terminating:Wait": (False, False, False),
    "Terminating:Proceed": (False, False, False),
    "Terminating:Retained": (False, False, False),
    "Terminated": (False, False, False),
    "Warmed:Stopped": (False, False, False),
}


@pytest.mark.parametrize(("state", "expected"), STATES.items())
def test_the_lifecycle_state_says_what_a_member_counts_for(state: str, expected: tuple[bool, bool, bool]) -> None:
    member = Member("i-0123456789abcdef0", "eu-west-1a", state)

    assert (member.counts, member.in_service, member.protectable) == expected


def test_a_group_with_everything() -> None:
    group = parse_group(
        group_entry(
            member_entry("i-0bbbbbbbbbbbbbbbb", state="Terminating:Wait"),
            member_entry("i-0aaaaaaaaaaaaaaaa", ProtectedFromScaleIn=True),
            DesiredCapacity=1,
            SuspendedProcesses=[{"ProcessName": "AZRebalance", "SuspensionReason": "User suspended at 2026-11-20"}],
            NewInstancesProtectedFromScaleIn=True,
            Tags=[{"Key": "kubernetes.io/cluster/production", "Value": "owned"}],
            TargetGroupARNs=["arn:tg-b"],
            TrafficSources=[
                {"Identifier": "arn:tg-a", "Type": "elbv2"},
                {"Identifier": "arn:tg-b", "Type": "elbv2"},
                {"Identifier": "classic", "Type": "elb"},
            ],
            WarmPoolConfiguration={"MinSize": 0, "PoolState": "Stopped"},
            Status="Delete in progress",
        ),
        hooks=(Hook("drain", "terminating", 300, "CONTINUE"),),
    )

    assert group.sizes == {"min_size": 1, "max_size": 10, "desired_capacity": 1}
    assert [member.instance_id for member in group.members] == ["i-0aaaaaaaaaaaaaaaa", "i-0bbbbbbbbbbbbbbbb"]
    assert [member.instance_id for member in group.strength] == ["i-0aaaaaaaaaaaaaaaa"]
    assert group.member("i-0aaaaaaaaaaaaaaaa").protected
    assert group.member("i-0cccccccccccccccc") is None
    assert group.suspended == {"AZRebalance": "User suspended at 2026-11-20"}
    assert group.protects_new
    assert group.tags == {"kubernetes.io/cluster/production": "owned"}
    assert group.target_group_arns == ("arn:tg-a", "arn:tg-b")
    assert group.load_balancers == ("classic",)
    assert group.zones == ("eu-west-1a", "eu-west-1b")
    assert group.subnets == ("subnet-0aaaaaaa", "subnet-0bbbbbbb")
    assert group.launch == LaunchSource("template", TEMPLATE, "shared", "$Latest")
    assert group.warm_pool
    assert group.status == "Delete in progress"
    assert not group.weighted


def test_a_new_group_without_anything() -> None:
    group = parse_group(group_entry())

    assert group.members == ()
    assert group.hooks is None
    assert not group.warm_pool
    assert group.status == ""


def test_a_template_without_a_version_means_its_default_version() -> None:
    entry = group_entry(LaunchTemplate={"LaunchTemplateId": TEMPLATE, "LaunchTemplateName": "shared"})

    assert parse_group(entry).launch.version == "$Default"


def test_a_launch_configuration() -> None:
    entry = group_entry(
        member_entry("i-0aaaaaaaaaaaaaaaa", LaunchTemplate=None, LaunchConfigurationName="shared-1"),
        LaunchTemplate=None,
        LaunchConfigurationName="shared-2",
    )

    group = parse_group(entry)

    assert group.launch == LaunchSource("configuration", configuration="shared-2")
    assert group.members[0].launch_configuration == "shared-1"
    assert group.members[0].launch_template_id == ""


def mixed(*overrides: dict, **changes: object) -> dict:
    policy = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": TEMPLATE, "Version": "3"},
            "Overrides": list(overrides),
        }
    }
    return group_entry(LaunchTemplate=None, MixedInstancesPolicy=policy, **changes)


def test_a_mixed_instances_policy_with_overrides() -> None:
    arm = {"LaunchTemplateId": "lt-0arm", "LaunchTemplateName": "shared-arm", "Version": "$Latest"}

    group = parse_group(
        mixed({"InstanceType": "m5.large"}, {"InstanceType": "m6g.large", "LaunchTemplateSpecification": arm})
    )

    assert group.launch.kind == "mixed"
    assert (group.launch.template_id, group.launch.version) == (TEMPLATE, "3")
    assert group.launch.overrides == (
        Override("m5.large"),
        Override("m6g.large", template_id="lt-0arm", template_name="shared-arm", version="$Latest"),
    )
    assert not group.weighted


@pytest.mark.parametrize(
    "entry",
    [
        mixed({"InstanceType": "m5.large", "WeightedCapacity": "2"}),
        mixed({"InstanceType": "m5.large"}, DesiredCapacityType="vcpu"),
        group_entry(DesiredCapacityType="memory-mib"),
    ],
)
def test_sizes_that_are_no_numbers_of_instances(entry: dict) -> None:
    assert parse_group(entry).weighted


def test_units_are_instances() -> None:
    assert not parse_group(group_entry(DesiredCapacityType="units")).weighted


def test_a_lifecycle_hook() -> None:
    raw = {
        "LifecycleHookName": "drain",
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
        "HeartbeatTimeout": 300,
        "DefaultResult": "CONTINUE",
    }

    assert parse_hook(raw) == Hook("drain", "terminating", 300, "CONTINUE")
    assert parse_hook({**raw, "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}).transition == "launching"


def test_an_instance() -> None:
    instance = parse_instance(instance_entry("i-0aaaaaaaaaaaaaaaa"))

    assert (instance.state, instance.zone, instance.launch_time) == ("running", "eu-west-1a", LAUNCHED)
    assert instance.tags == {"Name": "shared"}


@pytest.mark.parametrize(
    ("description", "instance_id"),
    [
        ("Launching a new EC2 instance: i-0123456789abcdef0", "i-0123456789abcdef0"),
        ("Terminating EC2 instance: i-0a1b2c3d - Waiting for ELB Connection Draining.", "i-0a1b2c3d"),
        ("Launching a new EC2 instance.  Status Reason: We currently do not have sufficient m5.large capacity", ""),
    ],
)
def test_an_activity_names_its_instance_in_its_description(description: str, instance_id: str) -> None:
    assert parse_activity(activity_entry(description)).instance_id == instance_id
