# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks for node groups that somebody forgot. Pure decisions."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import (
    ERROR,
    WARNING,
    Finding,
    NodeGroup,
    Scene,
    Wanted,
)

CHECK = "leftover_groups"


def leftover_groups(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """No Auto Scaling group of the cluster is left over: one that launches old nodes, or none, or has cordoned ones
    only. What EKS manages is EKS's."""
    for group in scene.cloud.groups:
        if not group.managed:
            yield from _left_over(scene, wanted, group)


def _left_over(scene: Scene, wanted: Wanted, group: NodeGroup) -> Iterator[Finding]:
    named = group.name in wanted.node_groups
    meant = ERROR if wanted.means(group.name) else WARNING
    title = group.title
    if group.problem:
        yield Finding(
            CHECK, meant, title, f"{title} can launch nothing: {group.problem}", "Give it what it lacks, or delete it"
        )
    elif group.version is not None and group.version < wanted.version:
        yield Finding(
            CHECK,
            meant,
            title,
            f"{title} would launch nodes of version {group.version} ({group.image}), {wanted.version} is wanted",
            f"Give it an image for {wanted.version} (node_image), or delete it if nobody needs it",
        )
    if not group.group.members and not group.group.desired_capacity:
        if not named:
            message = f"{title} has no instances, and wants none"
            yield Finding(CHECK, WARNING, title, message, "Delete it if nobody needs it")
        return
    nodes = scene.nodes_of(group.group)
    if nodes and all(node.unschedulable for node in nodes):
        only = "node, which is cordoned" if len(nodes) == 1 else "nodes, all of them cordoned"
        yield Finding(
            CHECK,
            ERROR,
            title,
            f"{title} has {len(nodes)} {only}",
            "Uncordon them, or drain them and delete the group: they cost, and take no pods",
        )
    # With weights, or sizes in vCPU or memory, they are no numbers of instances.
    missing = 0 if group.group.weighted else group.group.desired_capacity - len(nodes)
    if missing > 0:
        yield Finding(
            CHECK,
            ERROR if named else WARNING,
            f"{title} (size)",
            f"{title} wants {counted(group.group.desired_capacity, 'instance')}, {len(nodes)} of them are nodes here",
            "See its scaling activities, and whether its instances join this cluster",
            passes=True,
        )
