# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of the control plane, of nodes, and of their versions. Pure decisions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import ACTIVE
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version, furthest_for, parse_version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.gate import REPLACED_BY, object_of
from ansible_collections.evergreen.eks.plugins.module_utils.naming import short_name
from ansible_collections.evergreen.eks.plugins.module_utils.picture import NodeState
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import (
    ERROR,
    WARNING,
    Finding,
    NodeGroup,
    Scene,
    Wanted,
)

NAMED = 5
UNGROUPED = "Nodes outside of node groups"
# EKS is at work on it: what it is then passes by itself.
BUSY = ("CREATING", "UPDATING", "DELETING", "PENDING")


def control_plane(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """ACTIVE, of the version that is wanted, and without health issues."""
    cluster = scene.cloud.cluster
    name = f"EKS cluster {cluster.name}"

    def finding(message: str, remedy: str, passes: bool = False) -> Finding:
        return Finding("control_plane", ERROR, name, f"{name} {message}", remedy, passes)

    if cluster.version != wanted.version:
        yield finding(f"has version {cluster.version}, {wanted.version} is wanted", "Upgrade its control plane first")
    if cluster.status != ACTIVE:
        yield finding(f"is {cluster.status}", "Wait until EKS has finished", passes=cluster.status in BUSY)
    for issue in cluster.issues:
        yield finding(f"has a health issue, {issue}", "See 'Cluster health FAQs' in the Amazon EKS User Guide")


def managed_node_groups(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """EKS managed node groups: ACTIVE, of the version that is wanted, and without health issues."""
    auto_scaling = {one.managed: one.name for one in scene.cloud.groups if one.managed}
    for group in scene.cloud.managed:
        name = f"EKS node group {group.name}"
        meant = wanted.means(group.name, auto_scaling.get(group.name, ""))
        if group.version != wanted.version:
            yield Finding(
                "managed_node_groups",
                ERROR if meant else WARNING,
                name,
                f"{name} has version {group.version or 'unknown'}, {wanted.version} is wanted",
                f"aws eks update-nodegroup-version --cluster-name {scene.cloud.cluster.name} "
                f"--nodegroup-name {group.name}",
            )
        if group.status != ACTIVE:
            passes = group.status in BUSY
            yield Finding(
                "managed_node_groups",
                ERROR,
                name,
                f"{name} is {group.status}",
                "Wait until EKS has finished" if passes else "See its health issues",
                passes,
            )
        for issue in group.issues:
            yield Finding(
                "managed_node_groups",
                ERROR,
                name,
                f"{name} has a health issue, {issue}",
                "See 'Managed node group errors' in the Amazon EKS User Guide",
            )


def nodes_ready(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """Each node is Ready."""
    del wanted
    for node in scene.picture.nodes:
        if not node.ready:
            known = scene.nodes.get(node.name)
            why = f": {known.ready_message}" if known and known.ready_message else ""
            yield Finding(
                "nodes_ready",
                ERROR,
                f"Node {node.name}",
                f"Node {_title(node)} is not Ready since {node.since or 'it came'}{why}",
                "See why its kubelet is not well, or replace it",
                passes=True,
            )


def node_versions(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """Each node has the version that is wanted; those on Fargate are told by the workload that they were made for."""
    groups = scene.group_by_instance
    places: defaultdict[tuple[str, str], list[NodeState]] = defaultdict(list)
    for node in scene.picture.nodes:
        found = parse_version(node.version)
        if found is not None and found != wanted.version and not node.fargate:
            group = groups.get(node.instance_id)
            places[group.name if group else "", str(found)].append(node)
    for (name, version), nodes in sorted(places.items()):
        group = next((one for one in scene.cloud.groups if one.name == name), None)
        yield _of_another_version(scene, wanted, group, version, nodes)
    yield from _on_fargate(scene, wanted)


def _of_another_version(
    scene: Scene, wanted: Wanted, group: NodeGroup | None, text: str, nodes: Sequence[NodeState]
) -> Finding:
    """The nodes of one group, or of none, that have this version."""
    control_plane_version, version = scene.cloud.cluster.version, parse_version(text) or wanted.version
    meant = wanted.means(group.name, group.managed) if group else not wanted.node_groups
    out_of_skew = skew(version, control_plane_version)
    title = group.title if group else UNGROUPED
    remedy = "Roll it: its nodes are replaced by such as it launches now" if group else "Have them replaced"
    if group and group.problem:
        remedy = "Give it a launch template that it can launch from, then roll it"
    elif group and not group.managed and version == group.version:
        remedy = f"Give it an image for {wanted.version} (node_image), then roll it: it would launch {version} again"
    message = (
        f"{counted(len(nodes), 'node')} of {title}" if group else f"{counted(len(nodes), 'node')} in no node group"
    )
    verb = "has" if len(nodes) == 1 else "have"
    return Finding(
        "node_versions",
        ERROR if meant or out_of_skew else WARNING,
        f"{title} ({version})",
        f"{message} {verb} version {version}, {wanted.version} is wanted{out_of_skew}: {named(nodes)}",
        remedy,
    )


def _on_fargate(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """A pod on Fargate keeps its node for life. Where nobody would bring the pod back, it is only told."""
    nodes = {node.name: node for node in scene.picture.nodes if node.fargate}
    old: defaultdict[tuple[str, str], list[NodeState]] = defaultdict(list)
    owners: dict[str, str] = {}
    for pod in scene.picture.pods:
        version = parse_version(nodes[pod.node].version) if pod.node in nodes else None
        if version is not None and version != wanted.version and not pod.leaving:
            old[object_of(pod), str(version)].append(nodes[pod.node])
            owners[object_of(pod)] = pod.owner
    for (name, text), some in sorted(old.items()):
        version = parse_version(text) or wanted.version
        out_of_skew = skew(version, scene.cloud.cluster.version)
        comes_back = owners[name].startswith(REPLACED_BY)
        yield Finding(
            "node_versions",
            ERROR if comes_back or out_of_skew else WARNING,
            f"{name} ({version})",
            f"{name} runs on {counted(len(some), 'Fargate node')} of version {version}, {wanted.version} is wanted"
            f"{out_of_skew}: {named(some)}",
            (
                "Restart it (role fargate)"
                if comes_back
                else "Delete the pod, or wait until it ends: a restart would lose it"
            ),
        )


def skew(kubelet: Version, control_plane_version: Version) -> str:
    """In words, that Kubernetes supports no such kubelet beside this control plane; "" where it does."""
    if kubelet > control_plane_version:
        return f", and the control plane is older ({control_plane_version})"
    if furthest_for(kubelet) < control_plane_version:
        return f", which a control plane of {control_plane_version} does not support"
    return ""


def named(nodes: Sequence[NodeState]) -> str:
    """The first few, with short names."""
    names = sorted(short_name(node.name) for node in nodes)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _title(node: NodeState) -> str:
    return f"{node.name} ({node.instance_id})" if node.instance_id else node.name
