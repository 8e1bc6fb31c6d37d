# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from unit.pictures import pod
from unit.verifications import NEW, OLD, WANTED, a_cluster, a_group, a_ready_node, a_scene, only, told

from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import Issue
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version
from ansible_collections.evergreen.eks.plugins.module_utils.verify.nodes import (
    control_plane,
    managed_node_groups,
    node_versions,
    nodes_ready,
    skew,
)
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import (
    ERROR,
    MANAGED_TAG,
    WARNING,
    ManagedGroup,
    Wanted,
)

V = Version
ISTIO = Wanted(NEW, frozenset({"istio"}))


@pytest.mark.parametrize(
    ("cluster", "words", "passes"),
    [
        (a_cluster(), [], []),
        (a_cluster(OLD), ["has version 1.31, 1.33 is wanted"], [False]),
        (a_cluster(NEW, "UPDATING"), ["is UPDATING"], [True]),
        (a_cluster(NEW, "FAILED"), ["is FAILED"], [False]),
        (
            a_cluster(NEW, "ACTIVE", Issue("SubnetNotFound", "it is gone.", ("subnet-1",))),
            ["has a health issue, SubnetNotFound: it is gone. [subnet-1]"],
            [False],
        ),
    ],
)
def test_the_control_plane(cluster: Any, words: list[str], passes: list[bool]) -> None:
    found = list(control_plane(a_scene(cluster=cluster), WANTED))
    assert [one.message for one in found] == [f"EKS cluster production {text}" for text in words]
    assert [one.passes for one in found] == passes and all(one.remedy for one in found)


def test_each_node_is_ready() -> None:
    scene = a_scene(
        a_ready_node("a"),
        a_ready_node("b", ready=False),
        manifests={"b": {"ready": "Unknown", "message": "Kubelet stopped posting node status."}},
    )
    found = only(nodes_ready(scene, WANTED))
    assert (found.severity, found.object, found.passes) == (ERROR, "Node b", True)
    assert found.message == (
        "Node b (i-b) is not Ready since 2026-11-21T01:30:00Z: Kubelet stopped posting node status."
    )


@pytest.mark.parametrize(
    ("version", "wanted", "severity"),
    [
        (NEW, WANTED, None),
        (OLD, WANTED, ERROR),  # without names all groups are meant
        (OLD, ISTIO, WARNING),
        (OLD, Wanted(NEW, frozenset({"shared"})), ERROR),
        (V(1, 30), ISTIO, WARNING),
        (V(1, 29), ISTIO, ERROR),  # the control plane does not support it
        (V(1, 34), ISTIO, ERROR),
    ],
)
def test_nodes_have_the_version_that_is_wanted_as_far_as_they_are_meant(
    version: Version, wanted: Wanted, severity: str | None
) -> None:
    scene = a_scene(a_ready_node("a", version), groups=(a_group("shared", "i-a"),))
    expected = [(severity, f"Auto Scaling group shared ({version})")] if severity else []
    assert told(node_versions(scene, wanted)) == expected


def test_nodes_of_one_group_are_one_finding_and_the_first_few_are_named() -> None:
    nodes = [a_ready_node(f"n{number}", OLD) for number in range(7)]
    found = only(node_versions(a_scene(*nodes, groups=(a_group("shared", *(f"i-n{n}" for n in range(7))),)), WANTED))
    assert found.message == (
        "7 nodes of Auto Scaling group shared have version 1.31, 1.33 is wanted: n0, n1, n2, n3, n4 and 2 more"
    )
    assert "Roll it" in found.remedy


def test_nodes_of_no_group_are_meant_where_no_group_is_named() -> None:
    scene = a_scene(a_ready_node("a", OLD))
    assert told(node_versions(scene, WANTED)) == [(ERROR, "Nodes outside of node groups (1.31)")]
    assert told(node_versions(scene, ISTIO)) == [(WARNING, "Nodes outside of node groups (1.31)")]


def test_a_group_that_would_launch_the_same_again_needs_an_image_first() -> None:
    scene = a_scene(a_ready_node("a", OLD), groups=(a_group("shared", "i-a", version=OLD, image="eks-1.31"),))
    assert "Give it an image for 1.33" in only(node_versions(scene, WANTED)).remedy
    broken = a_scene(a_ready_node("a", OLD), groups=(a_group("shared", "i-a", problem="no template"),))
    assert "launch template" in only(node_versions(broken, WANTED)).remedy


def test_a_node_that_has_not_reported_its_version_is_passed_over() -> None:
    assert list(node_versions(a_scene(a_ready_node("a"), a_ready_node("b")), WANTED)) == []
    unknown = a_ready_node("a", NEW)
    assert list(node_versions(a_scene(type(unknown)(**{**vars(unknown), "version": ""})), WANTED)) == []


@pytest.mark.parametrize(
    ("owner", "severity", "name"),
    [
        ("Deployment/web", ERROR, "Deployment shop/web (1.31)"),
        ("StatefulSet/db", ERROR, "StatefulSet shop/db (1.31)"),
        ("Job/report", WARNING, "Job shop/report (1.31)"),
        ("", WARNING, "Pod shop/x-1 (1.31)"),
    ],
)
def test_what_runs_on_old_fargate_nodes_is_told_by_its_workload(owner: str, severity: str, name: str) -> None:
    node = a_ready_node("fargate-ip-10-0-0-1.eu-central-1.compute.internal", OLD, fargate=True, instance_id="")
    found = only(node_versions(a_scene(node, pod("x-1", owner=owner, node=node.name)), ISTIO))
    assert (found.severity, found.object) == (severity, name)
    assert "1 Fargate node of version 1.31" in found.message and found.message.endswith(": fargate-ip-10-0-0-1")
    assert ("Restart it" in found.remedy) == (severity == ERROR)


def test_a_pod_that_is_leaving_its_fargate_node_is_no_trouble_any_more() -> None:
    node = a_ready_node("fargate-1", OLD, fargate=True, instance_id="")
    assert list(node_versions(a_scene(node, pod(node=node.name, leaving=True)), WANTED)) == []


@pytest.mark.parametrize(
    ("kubelet", "control", "supported"),
    [
        (V(1, 33), V(1, 33), True),
        (V(1, 30), V(1, 33), True),
        (V(1, 29), V(1, 33), False),
        (V(1, 34), V(1, 33), False),
        (V(1, 24), V(1, 26), True),
        (V(1, 24), V(1, 27), False),
    ],
)
def test_which_kubelets_a_control_plane_supports(kubelet: Version, control: Version, supported: bool) -> None:
    assert (skew(kubelet, control) == "") is supported


@pytest.mark.parametrize(
    ("group", "wanted", "expected"),
    [
        (ManagedGroup("web", NEW, "ACTIVE"), WANTED, []),
        (ManagedGroup("web", OLD, "ACTIVE"), WANTED, [(ERROR, False)]),
        (ManagedGroup("web", OLD, "ACTIVE"), ISTIO, [(WARNING, False)]),
        (ManagedGroup("web", OLD, "ACTIVE"), Wanted(NEW, frozenset({"eks-web"})), [(ERROR, False)]),
        (ManagedGroup("web", OLD, "ACTIVE"), Wanted(NEW, frozenset({"web"})), [(ERROR, False)]),
        (ManagedGroup("web", NEW, "UPDATING"), WANTED, [(ERROR, True)]),
        (ManagedGroup("web", NEW, "DEGRADED", ("AccessDenied: no",)), WANTED, [(ERROR, False), (ERROR, False)]),
    ],
)
def test_managed_node_groups(group: ManagedGroup, wanted: Wanted, expected: list[tuple[str, bool]]) -> None:
    scene = a_scene(groups=(a_group("eks-web", tags={MANAGED_TAG: "web"}),), managed=(group,))
    found = list(managed_node_groups(scene, wanted))
    assert [(one.severity, one.passes) for one in found] == expected
    assert all(one.object == "EKS node group web" for one in found)


def test_nodes_of_a_managed_group_are_told_by_its_own_name() -> None:
    group = a_group("eks-web-0a1b", "i-a", tags={MANAGED_TAG: "web"})
    found = node_versions(a_scene(a_ready_node("a", OLD), groups=(group,)), Wanted(NEW, frozenset({"web"})))
    assert told(found) == [(ERROR, "EKS node group web (1.31)")]
