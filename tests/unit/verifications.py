# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a verification sees of small clusters, with only what a test is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unit.manifests import a_node
from unit.pictures import NOW, node, picture
from unit.scenes import a_member

from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import Cluster, Issue
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import node_from
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import (
    CloudFacts,
    Finding,
    ManagedGroup,
    NodeGroup,
    Scene,
    Wanted,
)

OLD, NEW = Version(1, 31), Version(1, 33)
WANTED = Wanted(NEW)


def a_cluster(version: Version = NEW, status: str = "ACTIVE", *issues: Issue) -> Cluster:
    return Cluster("production", "arn", version, "eks.1", status, issues)


def a_group(name: str = "shared", *members: str, **changes: Any) -> NodeGroup:
    """A node group with these members; `version` is what its image says, the rest is the Auto Scaling group's."""
    own = {key: changes.pop(key) for key in ("version", "image", "problem") if key in changes}
    values = {"min_size": 0, "max_size": 9, "desired_capacity": len(members), **changes}
    members_now = tuple(one if not isinstance(one, str) else a_member(one) for one in members)
    return NodeGroup(Group(name=name, arn=f"arn-of-{name}", members=members_now, **values), **own)


def a_scene(
    *items: Any,
    groups: tuple[NodeGroup, ...] = (),
    managed: tuple[ManagedGroup, ...] = (),
    cluster: Cluster | None = None,
    marked: tuple[Any, ...] = (),
    manifests: Mapping[str, Mapping[str, Any]] | None = None,
    **changes: Any,
) -> Scene:
    """Of these nodes, pods and workloads. `manifests`: what the Node of that name has besides, as for `a_node`."""
    now = picture(*items, taken=NOW)
    nodes = {
        one.name: node_from(
            a_node(one.name, one.instance_id, **{"unschedulable": one.cordoned, **(manifests or {}).get(one.name, {})})
        )
        for one in now.nodes
    }
    return Scene(now, CloudFacts(cluster or a_cluster(), groups, managed, marked), nodes, **changes)


def a_ready_node(name: str = "a", version: Version = NEW, **changes: Any) -> Any:
    """The node of the instance `i-<name>`."""
    return node(name, version=f"v{version}.4-eks-99d6cc0", **changes)


def told(findings: Any) -> list[tuple[str, str]]:
    """(severity, object) of each."""
    return [(finding.severity, finding.object) for finding in findings]


def only(findings: Any) -> Finding:
    (finding,) = findings
    return finding
