# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at node group shared to test with, in which every instance and its node is as it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unit.manifests import a_node

from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group, Instance, Member, Target
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import by_instance, node_from
from ansible_collections.evergreen.eks.plugins.module_utils.scene import Scene, seen

ZONE = "eu-central-1a"
TARGET = Target("template", "lt-1", "2", "ami-2")


def a_member(instance_id: str, lifecycle_state: str = "InService", **rest: Any) -> Member:
    """A member that was launched from the group's target."""
    of_target = {"launch_template_id": TARGET.template_id, "launch_template_version": TARGET.version}
    return Member(instance_id, lifecycle_state=lifecycle_state, **{"zone": ZONE, **of_target, **rest})


def a_scene(
    members: Sequence[Member],
    nodes: Sequence[dict[str, Any]] | None = None,
    tags: Mapping[str, Mapping[str, str]] | None = None,
    **sizes: int,
) -> Scene:
    """These members with these Nodes; without `nodes` each has one that is Ready. `sizes` are those of the group.

    C(tags): those of the instances that have any.
    """
    if nodes is None:
        nodes = [a_node(f"ip-{member.instance_id}", member.instance_id) for member in members]
    values = {"min_size": 0, "max_size": len(members), "desired_capacity": len(members), **sizes}
    zones = tuple(sorted({member.zone for member in members}))
    group = Group("shared", "arn:aws:autoscaling:x", members=tuple(members), zones=zones, **values)
    own = tags or {}
    instances = {
        one.instance_id: Instance(
            one.instance_id, "running", TARGET.image_id, zone=ZONE, tags=own.get(one.instance_id, {})
        )
        for one in members
    }
    return seen(group, instances, by_instance(map(node_from, nodes)), TARGET)
