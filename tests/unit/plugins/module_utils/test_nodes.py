# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from unit.manifests import a_node, a_pod

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group, Member
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import (
    by_instance,
    floor_view,
    instance_id_of,
    node_from,
    pods_that_must_leave,
    read_node_marks,
    standing,
)

ONE, TWO, THREE = "i-00000000000000001", "i-00000000000000002", "i-00000000000000003"


@pytest.mark.parametrize(
    ("provider_id", "instance_id"),
    [
        ("aws:///eu-central-1a/i-0123456789abcdef0", "i-0123456789abcdef0"),
        ("aws:///eu-central-1a/1a2b3c/fargate-ip-10-0-0-1.eu-central-1.compute.internal", ""),
        ("gce://project/zone/i-0123456789abcdef0", ""),
        ("", ""),
    ],
)
def test_only_the_provider_id_of_an_ec2_instance_names_an_instance(provider_id: str, instance_id: str) -> None:
    assert instance_id_of(provider_id) == instance_id


def test_a_node_that_joined_again_under_another_name_is_found_under_its_younger_one() -> None:
    old = node_from(a_node("old", ONE, created="2026-11-20T00:00:00Z"))
    young = node_from(a_node("young", ONE, created="2026-11-21T00:00:00Z"))
    assert by_instance([young, old])[ONE].name == "young"


def test_a_node_whose_kubelet_is_silent_is_not_ready() -> None:
    node = node_from(a_node("n", ONE, ready="Unknown", message="Kubelet stopped posting node status."))
    assert not node.is_ready
    assert standing(ONE, node).reason == "not_ready"
    assert "Kubelet stopped posting" in standing(ONE, node).message


def test_a_new_node_without_conditions_is_not_ready() -> None:
    manifest = a_node("n", ONE)
    del manifest["status"]
    assert node_from(manifest).ready == "Unknown"


def member(instance_id: str, state: str = "InService", health: str = "Healthy") -> Member:
    return Member(instance_id=instance_id, zone="eu-central-1a", lifecycle_state=state, health_status=health)


@pytest.mark.parametrize(
    ("node", "of_group", "reason"),
    [
        ({}, member(ONE), "ready"),
        ({}, None, "ready"),
        ({}, member(ONE, "Pending:Wait"), "not_in_service"),
        ({}, member(ONE, health="Unhealthy"), "not_in_service"),
        (None, member(ONE), "no_node"),
        ({"ready": "False"}, member(ONE), "not_ready"),
        ({"taints": ["node.cloudprovider.kubernetes.io/uninitialized"]}, member(ONE), "not_initialized"),
        ({"taints": ["ebs.csi.aws.com/agent-not-ready"]}, member(ONE), "not_initialized"),
        ({"taints": ["example.com/not-attested"]}, member(ONE), "not_initialized"),
        ({"taints": ["dedicated"]}, member(ONE), "ready"),
        ({"unschedulable": True}, member(ONE), "unschedulable"),
    ],
)
def test_the_first_obstacle_on_the_way_is_named(
    node: dict[str, Any] | None, of_group: Member | None, reason: str
) -> None:
    judged = node_from(a_node("n", ONE, **node)) if node is not None else None
    assert standing(ONE, judged, member=of_group, startup_taints=["example.com/not-attested"]).reason == reason


def test_the_floor_counts_ready_members_in_service_and_names_the_others() -> None:
    group = Group("shared", "arn", 0, 9, 3, members=(member(ONE), member(TWO), member(THREE), member("i-4", "Standby")))
    nodes = [node_from(a_node("a", ONE)), node_from(a_node("b", TWO, ready="False", message="no CNI"))]
    view = floor_view(group, nodes, min_ready=1)
    assert (view.ready_schedulable, view.slack) == (1, 0)
    assert [(item["instance_id"], item["reason"]) for item in view.missing] == [(TWO, "not_ready"), (THREE, "no_node")]
    assert not view.allows(ONE), "the only Ready one must stay"
    assert view.allows(TWO), "one that is not Ready takes nothing away"
    assert "no CNI" in view.explain()


def test_nothing_more_is_taken_away_while_the_floor_is_broken() -> None:
    group = Group("shared", "arn", 0, 9, 2, members=(member(ONE), member(TWO)))
    nodes = [node_from(a_node("a", ONE)), node_from(a_node("b", TWO, ready="False"))]
    view = floor_view(group, nodes, min_ready=2)
    assert not view.allows(TWO)


@pytest.mark.parametrize(
    ("pod", "stays"),
    [
        (a_pod("web"), True),
        (a_pod("terminating", deletionTimestamp="2026-11-21T01:00:00Z"), True),
        (a_pod("agent", owner=("apps/v1", "DaemonSet")), False),
        (a_pod("kruise", owner=("apps.kruise.io/v1alpha1", "DaemonSet")), True),
        (a_pod("static", owner=("v1", "Node")), False),
        (a_pod("mirror", annotations={"kubernetes.io/config.mirror": "x"}), False),
        (a_pod("done", phase="Succeeded"), False),
        (a_pod("crashed", phase="Failed"), False),
        (a_pod("starting", phase="Pending"), True),
        (a_pod("skipped", annotations={"evergreen.eks/drain": "skip"}), False),
        (a_pod("labelled", labels={"cluster.x-k8s.io/drain": "skip"}), False),
        (a_pod("completing", annotations={"evergreen.eks/drain": "wait-completed"}), True),
    ],
)
def test_what_must_have_left_a_node_before_it_goes(pod: dict[str, Any], stays: bool) -> None:
    assert pods_that_must_leave([pod]) == ([f"default/{pod['metadata']['name']}"] if stays else [])


def test_a_cordon_is_ours_only_when_our_marks_say_so() -> None:
    ours = a_node("n", ONE, unschedulable=True, annotations={"evergreen.eks/marks": '{"cordoned": true, "run": "r"}'})
    foreign = a_node("n", ONE, unschedulable=True)
    unreadable = a_node("n", ONE, unschedulable=True, annotations={"evergreen.eks/marks": "["})
    assert [read_node_marks(node_from(item)).cordoned for item in (ours, foreign)] == [True, False]
    with pytest.raises(EvergreenError):
        read_node_marks(node_from(unreadable))
