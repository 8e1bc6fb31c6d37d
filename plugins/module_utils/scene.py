# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a node group: what Auto Scaling, EC2 and Kubernetes say of it, joined by instance id."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Mapping, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_errors
from ansible_collections.evergreen.eks.plugins.module_utils.balancers import read_marks as read_balancer_marks
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import (
    ALL_INSTANCE_TAGS,
    Marks,
    MemberMark,
    read_marks,
    read_member_mark,
)
from ansible_collections.evergreen.eks.plugins.module_utils.departure import DETACHABLE, is_leaving
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    ACTIVITIES_READ,
    Activity,
    Group,
    Instance,
    Target,
    describe_group,
    describe_instances,
    launch_target,
    outdated_reason,
    scaling_activities,
)
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import (
    Node,
    by_instance,
    list_nodes,
    read_node_marks,
    standing,
)
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Host

MANAGED_NODE_GROUP_TAG = "eks:nodegroup-name"
NEEDED_PROCESSES = ("Launch", "Terminate", "HealthCheck", "AddToLoadBalancer")
REFRESH_ACTIVE = ("Pending", "InProgress", "Cancelling", "RollbackInProgress", "Baking")


class GroupRefused(EvergreenError):
    """The node group is not one that can be rolled now; `reason` says why, as one word."""


@dataclass(frozen=True)
class Scene:
    """The group, its instances, their nodes and what would be launched now, as seen in one look."""

    group: Group
    instances: Mapping[str, Instance]
    nodes: Mapping[str, Node]
    target: Target
    hosts: tuple[Host, ...]
    marks: Optional[Marks]

    @property
    def counting(self) -> list[Host]:
        return [host for host in self.hosts if host.counts]

    @property
    def zones(self) -> dict[str, int]:
        """Members that count, per zone; a zone of the group without any is there with 0."""
        return {**dict.fromkeys(self.group.zones, 0), **Counter(host.zone for host in self.counting)}

    @property
    def present(self) -> list[Host]:
        """Members that have not left, also those in Standby."""
        return [host for host in self.hosts if not self.has_left(host.instance_id)]

    def member_marks(self, run_id: str) -> dict[str, MemberMark]:
        """The marks that this run left on its members."""
        found = {name: read_member_mark(instance.tags) for name, instance in self.instances.items()}
        return {name: mark for name, mark in found.items() if mark and mark.run_id == run_id}

    @property
    def left_marked(self) -> list[str]:
        """Instances with marks of a run that the group knows nothing of: it was killed while it took them off."""
        ours = set(ALL_INSTANCE_TAGS)
        return [] if self.marks else [name for name, instance in self.instances.items() if ours & set(instance.tags)]

    @property
    def marked_in_vain(self) -> list[str]:
        """Members that a call of asg_detach_terminate meant to detach, and never did."""
        staying = {member.instance_id for member in self.group.members if member.lifecycle_state in DETACHABLE}
        marked = [name for name, instance in self.instances.items() if is_leaving(instance, self.group.name)]
        return [name for name in marked if name in staying]

    @property
    def out_of_balancers(self) -> list[str]:
        """Members that a run has taken out of load balancers. Where a mark names no run an operator did, on purpose."""
        marks = {name: read_balancer_marks(instance.tags) for name, instance in self.instances.items()}
        return [host.instance_id for host in self.counting if any(m.run_id for m in marks.get(host.instance_id, ()))]

    def has_left(self, instance_id: str) -> bool:
        """Is this instance no member any more, or on its way out? Standby and Detaching are not out."""
        member = self.group.member(instance_id)
        return member is None or member.lifecycle_state.startswith("Terminat")


def look(aws: Aws, client: KubernetesClient, asg_name: str) -> Scene:
    """Read the group, its instances, the launch target and the cluster's nodes. Raises GroupNotFound and API errors."""
    group = describe_group(aws, asg_name)
    instances = describe_instances(aws, [member.instance_id for member in group.members])
    target = launch_target(aws, group)
    return seen(group, instances, by_instance(list_nodes(client)), target)


def seen(group: Group, instances: Mapping[str, Instance], nodes: Mapping[str, Node], target: Target) -> Scene:
    """The scene that these answers make up. Raises CheckpointError for marks that somebody mangled."""
    hosts = tuple(_host(group, member.instance_id, instances, nodes, target) for member in group.members)
    return Scene(group, instances, nodes, target, hosts, read_marks(group.tags))


def refuse(aws: Aws, scene: Scene, cluster_name: Optional[str]) -> None:
    """Raise GroupRefused, with the remedy, where this group cannot be rolled."""
    _raise(scene, refusal(scene, cluster_name) or _refresh(aws, scene.group))


def refuse_refreshed(aws: Aws, scene: Scene) -> None:
    """Raise GroupRefused where somebody has begun an instance refresh since the run did."""
    _raise(scene, _refresh(aws, scene.group))


def refuse_to_put_back(aws: Aws, scene: Scene) -> None:
    """Raise GroupRefused where a run's changes cannot be taken back, because others are changing more."""
    _raise(scene, _deletion(scene.group) or _refresh(aws, scene.group))


def refuse_deleted(scene: Scene) -> None:
    """Raise GroupRefused where somebody has begun to delete the group."""
    _raise(scene, _deletion(scene.group))


def refusal(scene: Scene, cluster_name: Optional[str]) -> Optional[tuple[str, str, str]]:
    """(reason, what is the matter, remedy), or None for a group that can be rolled."""
    group = scene.group
    deletion = _deletion(group)
    if deletion:
        return deletion
    if MANAGED_NODE_GROUP_TAG in group.tags:
        name = group.tags[MANAGED_NODE_GROUP_TAG]
        return "managed", f"belongs to the EKS managed node group {name}", "Update that node group through EKS"
    if group.weighted:
        remedy = "Give its instance types no weights, and count capacity in units"
        return "weighted", "has weighted capacity or counts capacity in vCPU or memory", remedy
    if group.warm_pool:
        return "warm_pool", "has a warm pool, from which old instances would come back", "Delete the warm pool first"
    ours = scene.marks.obligations.processes if scene.marks else ()
    stopped = [name for name in NEEDED_PROCESSES if name in group.suspended and name not in ours]
    if stopped:
        return "suspended", f"has {', '.join(stopped)} suspended", "Resume these processes, or ask who suspended them"
    if group.desired_capacity == 0 and not scene.marks:
        return "empty", "has a desired capacity of 0, so there is nothing to roll", "Leave it out"
    return None if scene.marks else _strangers(scene, cluster_name)


def activities_since(aws: Aws, asg_name: str, after: str) -> list[Activity]:
    """The scaling activities begun after that one, newest first; without one the latest."""
    return scaling_activities(aws, asg_name, limit=ACTIVITIES_READ if after else 100, since=after)


def unsteady(group: Group) -> str:
    """Why the group is not steady, in words, or "" where its members are as many as desired and all in service."""
    strength = group.strength
    if len(strength) != group.desired_capacity:
        return f"has {len(strength)} instances and a desired capacity of {group.desired_capacity}"
    waiting = [f"{m.instance_id} is {m.lifecycle_state}" for m in strength if not m.in_service]
    return f"is not steady: {', '.join(waiting[:3])}" if waiting else ""


def describe_target(target: Target) -> str:
    """What the group launches, in words."""
    if target.kind == "configuration":
        return f"launch configuration {target.configuration} (image {target.image_id})"
    kinds = f", {len(target.instance_types)} instance types" if target.kind == "mixed" else ""
    return f"launch template {target.template_id} version {target.version} (image {target.image_id}{kinds})"


def _host(
    group: Group, instance_id: str, instances: Mapping[str, Instance], nodes: Mapping[str, Node], target: Target
) -> Host:
    member = group.member(instance_id)
    instance, node = instances.get(instance_id), nodes.get(instance_id)
    outdated = outdated_reason(member, instance, target) if instance else None
    return Host(
        instance_id=instance_id,
        zone=member.zone,
        lifecycle_state=member.lifecycle_state,
        counts=member.counts,
        launched=instance.launch_time if instance else None,
        node=node.name if node else None,
        ready=bool(node and node.is_ready),
        schedulable=standing(instance_id, node, member=member).ready,
        ours=bool(node and read_node_marks(node).cordoned),
        outdated=outdated,
        protected=member.protected,
        record=_record(member, instance, node, outdated),
    )


def _record(member: Any, instance: Optional[Instance], node: Optional[Node], outdated: Optional[str]) -> dict[str, Any]:
    """The record that a JMESPath selection looks at; documented with the option `select`."""
    return {
        "instance_id": member.instance_id,
        "zone": member.zone,
        "lifecycle_state": member.lifecycle_state,
        "instance_type": member.instance_type,
        "launch_version": member.launch_template_version,
        "image_id": instance.image_id if instance else "",
        "launch_time": instance.launch_time.isoformat() if instance and instance.launch_time else "",
        "tags": dict(instance.tags) if instance else {},
        "outdated": outdated is not None,
        "node": node.name if node else "",
        "ready": bool(node and node.is_ready),
        "kubelet_version": node.kubelet_version if node else "",
        "labels": dict(node.labels) if node else {},
    }


def _strangers(scene: Scene, cluster_name: Optional[str]) -> Optional[tuple[str, str, str]]:
    serving = [host for host in scene.counting if host.lifecycle_state == "InService"]
    unknown = [host.instance_id for host in serving if not host.node]
    if len(unknown) * 2 <= len(serving):
        return None
    where = f"cluster {cluster_name}" if cluster_name else "this Kubernetes API"
    message = (
        f"has {len(unknown)} of {len(serving)} instances that {where} does not know as nodes ({', '.join(unknown[:3])})"
    )
    return "wrong_cluster", message, "Check cluster_name, or the kubeconfig's context, or let the instances join first"


def _raise(scene: Scene, finding: Optional[tuple[str, str, str]]) -> None:
    if finding:
        reason, message, remedy = finding
        raise GroupRefused(f"Auto Scaling group {scene.group.name} {message}", reason=reason, remedy=remedy)


def _deletion(group: Group) -> Optional[tuple[str, str, str]]:
    return ("deleting", f"is being deleted ({group.status})", "Leave it out") if group.status else None


def _refresh(aws: Aws, group: Group) -> Optional[tuple[str, str, str]]:
    with aws_errors("autoscaling:DescribeInstanceRefreshes", f"Auto Scaling group {group.name}"):
        answer = aws.client("autoscaling").describe_instance_refreshes(AutoScalingGroupName=group.name, MaxRecords=10)
    active = [refresh for refresh in answer.get("InstanceRefreshes", []) if refresh["Status"] in REFRESH_ACTIVE]
    if not active:
        return None
    message = f"has an instance refresh under way ({active[0]['InstanceRefreshId']}, {active[0]['Status']})"
    return "refreshing", message, "Wait for it to end, or cancel it, and run again"
