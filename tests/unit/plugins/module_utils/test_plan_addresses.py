# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that new nodes take, and whether their subnets have them."""

from __future__ import annotations

import pytest
from unit.scripted_aws import scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.plan_addresses import (
    PerNode,
    _environment,
    free_addresses,
    needs,
    per_node,
    record,
)

SUBNETS = ["subnet-0aaaaaaa", "subnet-0bbbbbbb"]


@pytest.mark.parametrize(
    ("settings", "pods", "places", "addresses", "says"),
    [
        (None, 20, 58, 1, "no DaemonSet kube-system/aws-node"),
        ({"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "true"}, 20, 58, 1, "custom networking"),
        ({"ENABLE_IPv6": "true"}, 20, 58, 1, "IPv6"),
        ({}, 20, 58, 59, "places for 58 pods"),
        ({"WARM_ENI_TARGET": "1"}, 20, 58, 59, "places for 58 pods"),
        ({}, 20, 0, 21, "20 pods, no spares counted"),
        ({"WARM_IP_TARGET": "5"}, 20, 58, 26, "WARM_IP_TARGET 5, MINIMUM_IP_TARGET 0"),
        ({"WARM_IP_TARGET": "2", "MINIMUM_IP_TARGET": "30"}, 20, 58, 31, "MINIMUM_IP_TARGET 30"),
        ({"ENABLE_PREFIX_DELEGATION": "true"}, 20, 110, 49, "WARM_PREFIX_TARGET 1"),  # 2 prefixes and a spare one
        ({"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "0"}, 20, 110, 33, "WARM_PREFIX_TARGET 0"),
        ({"ENABLE_PREFIX_DELEGATION": "true", "WARM_IP_TARGET": "5"}, 10, 110, 17, "WARM_IP_TARGET 5"),
        ({"ENABLE_PREFIX_DELEGATION": "false", "WARM_IP_TARGET": "many"}, 20, 58, 59, "places"),
    ],
)
def test_what_a_node_takes_and_by_which_assumption(settings, pods, places, addresses, says):
    found = per_node(settings, pods, places)
    assert found.addresses == addresses
    assert says in found.assumption


@pytest.mark.parametrize(
    ("free", "enough", "all_of_them"),
    [
        ({"a": 20, "b": 100}, [True, True], True),
        ({"a": 19, "b": 100}, [False, True], False),
        ({"b": 100}, [False, True], False),  # no subnet of the group is in that zone
        (None, [None, None], None),
    ],
)
def test_whether_they_are_enough(free, enough, all_of_them):
    zones = needs({"a": 2, "b": 0}, 10, free)
    assert [(zone.zone, zone.extra_instances, zone.addresses_needed) for zone in zones] == [("a", 2, 20), ("b", 0, 0)]
    assert [zone.enough for zone in zones] == enough
    recorded = record(PerNode(10, "ten"), zones, SUBNETS)
    assert (recorded["enough"], recorded["subnets"]) == (all_of_them, SUBNETS)


def test_free_addresses_are_those_of_all_subnets_of_a_zone():
    subnets = [
        {"SubnetId": name, "AvailabilityZone": zone, "AvailableIpAddressCount": number}
        for name, zone, number in (("s-1", "a", 5), ("s-2", "a", 6), ("s-3", "b", 7))
    ]
    with scripted_aws() as script:
        script.expect("ec2", "describe_subnets", {"Subnets": subnets}, SubnetIds=SUBNETS)
        assert free_addresses(script.aws, SUBNETS) == {"a": 11, "b": 7}


def test_who_must_not_see_subnets_does_not_fail_for_it():
    with scripted_aws() as script:
        script.fail("ec2", "describe_subnets", "UnauthorizedOperation", "You are not authorized", SubnetIds=SUBNETS)
        assert free_addresses(script.aws, SUBNETS) is None
        assert free_addresses(script.aws, []) is None, "a group without subnets of its own"


def test_the_settings_are_those_of_the_plugins_own_container():
    containers = [
        {"name": "aws-eks-nodeagent", "env": [{"name": "WARM_IP_TARGET", "value": "9"}]},
        {"name": "aws-node", "env": [{"name": "WARM_IP_TARGET", "value": "2"}, {"name": "NODE", "valueFrom": {}}]},
    ]
    manifest = {"spec": {"template": {"spec": {"containers": containers}}}}
    assert _environment(manifest) == {"WARM_IP_TARGET": "2", "NODE": ""}
