# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the variables of a playbook to its node groups, as AWS knows them."""

from __future__ import annotations

import pytest
from unit.scripted_aws import ScriptedAws, group_entry, member_entry, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import GroupNotFound
from ansible_collections.evergreen.eks.plugins.module_utils.settings import Request, Surroundings, read_request
from ansible_collections.evergreen.eks.plugins.modules.rollout_groups_info import answer, cluster_groups, named_groups

OF_CLUSTER = {"Filters": [{"Name": "tag-key", "Values": ["kubernetes.io/cluster/production"]}], "MaxRecords": 100}


def request_for(groups: object) -> Request:
    return read_request({"eks_cluster_name": "production", "eks_node_groups": groups}, Surroundings())


def expect_groups(script: ScriptedAws, *entries: dict, **request: object) -> None:
    script.expect("autoscaling", "describe_auto_scaling_groups", {"AutoScalingGroups": list(entries)}, **request)


def test_named_groups_keep_their_order_and_get_their_own_variables() -> None:
    with scripted_aws() as script:
        istio, shared = group_entry(member_entry("i-1"), name="istio"), group_entry(name="team:shared")
        expect_groups(script, istio, shared, AutoScalingGroupNames=["team:shared", "istio"])
        request = request_for([{"name": "team:shared", "canary": 2}, "istio"])

        result = answer(request, named_groups(script.aws, request), "eu-west-1")

    assert [(group["name"], group["host"]) for group in result["groups"]] == [
        ("team:shared", "team%3Ashared"),
        ("istio", "istio"),
    ]
    assert [group["variables"]["rollout_canary"] for group in result["groups"]] == [2, 1]
    assert result["summary"] == [
        "2 node groups of cluster production in eu-west-1, 1 at a time:",
        "  team:shared: 0 instances, surge 25%, unavailable 0",
        "  istio: 1 instance, surge 25%, unavailable 0",
    ]


def test_names_that_do_not_exist_are_all_named_with_the_groups_of_the_cluster() -> None:
    with scripted_aws() as script:
        shared = group_entry(name="shared")
        expect_groups(script, shared, AutoScalingGroupNames=["nope", "shared", "neither"])
        expect_groups(script, shared, MaxRecords=100)  # groups of the region, for similar names
        expect_groups(script, group_entry(name="istio"), shared, **OF_CLUSTER)

        with pytest.raises(GroupNotFound) as caught:
            named_groups(script.aws, request_for("nope,shared,neither"))

    assert str(caught.value) == (
        "Auto Scaling groups nope, neither not found in region eu-west-1. "
        "The groups of cluster production are istio, shared."
    )


def test_all_takes_the_groups_of_the_cluster_by_name_and_leaves_out_empty_ones() -> None:
    with scripted_aws() as script:
        entries = [group_entry(member_entry(f"i-{name}"), name=name) for name in ("shared", "istio")]
        expect_groups(script, *entries, group_entry(name="gpu"), **OF_CLUSTER)
        request = request_for("all")

        result = answer(request, cluster_groups(script.aws, request), "eu-west-1")

    assert [group["name"] for group in result["groups"]] == ["istio", "shared"]
    assert result["left_out"] == ["gpu"]
    assert "  gpu: left out, it has no instances" in result["summary"]


def test_all_without_any_group_says_which_tag_was_looked_for() -> None:
    with scripted_aws() as script:
        expect_groups(script, **OF_CLUSTER)

        with pytest.raises(
            GroupNotFound, match=r"No Auto Scaling group in eu-west-1 is tagged kubernetes\.io/cluster/prod"
        ):
            cluster_groups(script.aws, request_for("all"))


def test_all_refuses_managed_node_groups_before_any_group_is_touched() -> None:
    with scripted_aws() as script:
        tag = {"Key": "eks:nodegroup-name", "Value": "managed", "ResourceId": "eks-managed"}
        expect_groups(script, group_entry(name="eks-managed", Tags=[tag]), group_entry(name="shared"), **OF_CLUSTER)

        with pytest.raises(InvalidInput, match="eks-managed belong"):
            cluster_groups(script.aws, request_for("all"))
