# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups and their instances as plain data, for the answer of a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.groups.launch import (
    LaunchLookup,
    Target,
    launch_target,
    outdated_reason,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups.read import (
    GroupNotFound,
    describe_groups,
    describe_instances,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import Group, Instance, LaunchSource, Member


def groups_info(aws: Aws, names: Sequence[str] | None, cluster: str | None) -> list[dict[str, Any]]:
    """These groups, or those of the cluster, as `group_record` shows them; GroupNotFound where there is none."""
    groups = describe_groups(aws, names, cluster, with_hooks=True)
    if not groups and names is None:
        raise GroupNotFound(
            f"No Auto Scaling group in region {aws.region} carries the tag kubernetes.io/cluster/{cluster}",
            remedy="Check the cluster's name, the region and the account",
        )
    lookup = LaunchLookup(aws)
    targets = {group.name: launch_target(aws, group, lookup) for group in groups}
    instances = describe_instances(aws, [member.instance_id for group in groups for member in group.members])
    return [group_record(group, targets[group.name], instances) for group in groups]


def group_record(group: Group, target: Target, instances: Mapping[str, Instance]) -> dict[str, Any]:
    """One group with its launch source, its target and its instances."""
    return {
        "name": group.name,
        "arn": group.arn,
        **group.sizes,
        "suspended_processes": sorted(group.suspended),
        "protects_new_instances": group.protects_new,
        "hooks": [asdict(hook) for hook in group.hooks or ()],
        "target_group_arns": list(group.target_group_arns),
        "load_balancers": list(group.load_balancers),
        "zones": list(group.zones),
        "weighted": group.weighted,
        "warm_pool": group.warm_pool,
        "status": group.status,
        "tags": dict(group.tags),
        "launch": launch_record(group.launch),
        "target": target_record(target),
        "instances": [instance_record(member, instances.get(member.instance_id), target) for member in group.members],
    }


def launch_record(launch: LaunchSource) -> dict[str, Any]:
    """The launch source as configured."""
    return {**asdict(launch), "overrides": [asdict(override) for override in launch.overrides]}


def target_record(target: Target) -> dict[str, Any]:
    """What the group would launch now."""
    return {
        "kind": target.kind,
        "template_id": target.template_id,
        "version": target.version,
        "image_id": target.image_id,
        "instance_types": list(target.instance_types),
        "configuration": target.configuration,
        "fingerprint": target.fingerprint,
    }


def instance_record(member: Member, instance: Instance | None, target: Target) -> dict[str, Any]:
    """One member, and in what it differs from the target. EC2's fields are empty when EC2 no longer knows it."""
    reason = outdated_reason(member, instance, target)
    launched = instance.launch_time if instance else None
    return {
        "instance_id": member.instance_id,
        "lifecycle_state": member.lifecycle_state,
        "health_status": member.health_status,
        "zone": member.zone,
        "instance_type": member.instance_type,
        "launch_template_id": member.launch_template_id,
        "launch_version": member.launch_template_version,
        "launch_configuration": member.launch_configuration,
        "image_id": instance.image_id if instance else "",
        "state": instance.state if instance else "",
        "launch_time": f"{launched:%Y-%m-%dT%H:%M:%SZ}" if launched else "",
        "protected": member.protected,
        "outdated": reason is not None,
        "reason": reason,
    }
