# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How things stand at one moment: groups, instances and nodes, as the APIs tell it to an operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulator.identities import AwsClients
from simulator.kubernetes.resources import NODES, PODS
from simulator.kubernetes.store import Store
from simulator.nodes import is_ready
from simulator.witness import group_of, name_of, should_be_evicted


@dataclass(frozen=True)
class InstanceState:
    """One member of a group."""

    instance_id: str
    zone: str
    lifecycle: str
    protected: bool
    version: str  # of the launch template, or the launch configuration


@dataclass(frozen=True)
class GroupState:
    """One Auto Scaling group."""

    name: str
    min_size: int
    max_size: int
    desired: int
    protects_new: bool
    suspended: frozenset[str]
    tags: dict[str, str]
    instances: dict[str, InstanceState]


@dataclass(frozen=True)
class NodeState:
    """One Node."""

    name: str
    instance_id: str
    group: str
    ready: bool
    unschedulable: bool
    taints: frozenset[str]
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(frozen=True)
class Snapshot:
    """The whole cluster. ``running``: every instance of the cluster that runs, in a group or not."""

    at: float
    groups: dict[str, GroupState]
    nodes: dict[str, NodeState]  # by instance id
    running: dict[str, dict[str, str]]  # instance id -> its tags
    pods: dict[str, str]  # namespace/name -> node, of those that should be evicted before an instance goes
    pods_not_ready: tuple[str, ...]


def take_snapshot(at: float, aws: AwsClients, store: Store) -> Snapshot:
    """Ask for everything."""
    pods = [stored.object for stored in store.all(PODS)]
    return Snapshot(
        at=at,
        groups={group.name: group for group in _groups(aws)},
        nodes={node.instance_id: node for node in map(_node, (stored.object for stored in store.all(NODES)))},
        running=_running(aws),
        pods={_named(pod): pod["spec"].get("nodeName", "") for pod in pods if should_be_evicted(pod)},
        pods_not_ready=tuple(_named(pod) for pod in pods if not _settled(pod)),
    )


def _groups(aws: AwsClients) -> list[GroupState]:
    pages = aws("autoscaling").get_paginator("describe_auto_scaling_groups").paginate()
    return [_group(found) for page in pages for found in page["AutoScalingGroups"]]


def _group(found: dict[str, Any]) -> GroupState:
    return GroupState(
        name=found["AutoScalingGroupName"],
        min_size=found["MinSize"],
        max_size=found["MaxSize"],
        desired=found["DesiredCapacity"],
        protects_new=found.get("NewInstancesProtectedFromScaleIn", False),
        suspended=frozenset(process["ProcessName"] for process in found.get("SuspendedProcesses", [])),
        tags={tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
        instances={member["InstanceId"]: _instance(member) for member in found["Instances"]},
    )


def _instance(member: dict[str, Any]) -> InstanceState:
    return InstanceState(
        instance_id=member["InstanceId"],
        zone=member["AvailabilityZone"],
        lifecycle=member["LifecycleState"],
        protected=member["ProtectedFromScaleIn"],
        version=member.get("LaunchTemplate", {}).get("Version") or member.get("LaunchConfigurationName", ""),
    )


def _running(aws: AwsClients) -> dict[str, dict[str, str]]:
    states = {"Name": "instance-state-name", "Values": ["pending", "running"]}
    pages = aws("ec2").get_paginator("describe_instances").paginate(Filters=[states])
    return {
        instance["InstanceId"]: {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
    }


def _node(node: dict[str, Any]) -> NodeState:
    metadata, spec = node["metadata"], node["spec"]
    return NodeState(
        name=name_of(node),
        instance_id=spec.get("providerID", "").rpartition("/")[2],
        group=group_of(node),
        ready=is_ready(node),
        unschedulable=bool(spec.get("unschedulable")),
        taints=frozenset(taint["key"] for taint in spec.get("taints") or []),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
    )


def _named(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _settled(pod: dict[str, Any]) -> bool:
    """Ready, or finished; and not on its way out."""
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return True
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions") or [])
    return ready and not pod["metadata"].get("deletionTimestamp")
