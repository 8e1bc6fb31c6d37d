# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups as the plain data that asg_info answers."""

from __future__ import annotations

import json

import pytest
from unit.scripted_aws import (
    NEW_IMAGE,
    OLD_IMAGE,
    TEMPLATE,
    group_entry,
    instance_entry,
    member_entry,
    scripted_aws,
    template_answer,
)

from ansible_collections.evergreen.eks.plugins.module_utils.groups import GroupNotFound, groups_info

OLD, NEW, GONE = "i-0aaaaaaaaaaaaaaaa", "i-0bbbbbbbbbbbbbbbb", "i-0cccccccccccccccc"


def test_a_group_with_its_target_and_its_outdated_members() -> None:
    members = [member_entry(OLD, version="1"), member_entry(NEW), member_entry(GONE, state="Terminating")]
    instances = [instance_entry(OLD, ImageId=OLD_IMAGE), instance_entry(NEW)]
    with scripted_aws() as script:
        script.expect_group(*members, SuspendedProcesses=[{"ProcessName": "AZRebalance"}])
        hooks = {"LifecycleHooks": []}
        script.expect("autoscaling", "describe_lifecycle_hooks", hooks, AutoScalingGroupName="shared")
        request = {"LaunchTemplateId": TEMPLATE, "Versions": ["$Latest"], "ResolveAlias": True}
        script.expect("ec2", "describe_launch_template_versions", template_answer(2), **request)
        request = {"Filters": [{"Name": "instance-id", "Values": [OLD, NEW, GONE]}]}
        script.expect("ec2", "describe_instances", {"Reservations": [{"Instances": instances}]}, **request)

        (group,) = groups_info(script.aws, ["shared"], None)

    assert json.loads(json.dumps(group)) == group  # plain data only
    assert group["suspended_processes"] == ["AZRebalance"]
    assert group["launch"]["version"] == "$Latest"
    assert (group["target"]["version"], group["target"]["image_id"]) == ("2", NEW_IMAGE)
    assert {entry["instance_id"]: (entry["outdated"], entry["reason"]) for entry in group["instances"]} == {
        OLD: (True, "template_version"),
        NEW: (False, None),
        GONE: (False, None),
    }
    assert group["instances"][0]["launch_time"] == "2026-11-20T09:30:00Z"
    assert (group["instances"][2]["image_id"], group["instances"][2]["state"]) == ("", "")


def test_a_cluster_of_which_there_is_no_group() -> None:
    request = {"Filters": [{"Name": "tag-key", "Values": ["kubernetes.io/cluster/prodution"]}], "MaxRecords": 100}
    with scripted_aws() as script:
        script.expect("autoscaling", "describe_auto_scaling_groups", {"AutoScalingGroups": []}, **request)

        with pytest.raises(GroupNotFound, match="in region eu-west-1 carries the tag kubernetes.io/cluster/prodution"):
            groups_info(script.aws, None, "prodution")


def test_an_empty_list_of_names_is_an_empty_answer() -> None:
    with scripted_aws() as script:
        assert groups_info(script.aws, [], None) == []


def test_groups_with_the_same_template_ask_for_it_once() -> None:
    entries = [group_entry(name="istio"), group_entry(name="shared")]
    with scripted_aws() as script:
        names = ["istio", "shared"]
        answer = {"AutoScalingGroups": entries}
        script.expect("autoscaling", "describe_auto_scaling_groups", answer, AutoScalingGroupNames=names)
        for name in names:
            script.expect("autoscaling", "describe_lifecycle_hooks", {"LifecycleHooks": []}, AutoScalingGroupName=name)
        request = {"LaunchTemplateId": TEMPLATE, "Versions": ["$Latest"], "ResolveAlias": True}
        script.expect("ec2", "describe_launch_template_versions", template_answer(2), **request)

        groups = groups_info(script.aws, names, None)

    assert groups[0]["target"]["fingerprint"] == groups[1]["target"]["fingerprint"]
