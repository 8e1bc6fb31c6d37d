# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How things stand at one moment: groups, instances and nodes, as they really are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulator.aws.scaling_model import Group, Member
from simulator.aws.server import Cloud
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
    kubelet: str = ""  # its version, 1.31


@dataclass(frozen=True)
class Snapshot:
    """The whole cluster. ``running``: every instance of the cluster that runs, in a group or not."""

    at: float
    groups: dict[str, GroupState]
    nodes: dict[str, NodeState]  # by instance id; those of Fargate by name
    running: dict[str, dict[str, str]]  # instance id -> its tags
    pods: dict[str, str]  # namespace/name -> node, of those that should be evicted before an instance goes
    pods_not_ready: tuple[str, ...]
    pods_finished: tuple[str, ...] = ()


def take_snapshot(at: float, cloud: Cloud, store: Store) -> Snapshot:
    """Look at everything from inside; no request is made for it."""
    pods = [stored.object for stored in store.all(PODS)]
    with cloud.lock:
        cloud.settle()
        groups = {name: _group(group) for name, group in cloud.scaling.groups.items()}
        running = {
            view.instance_id: dict(cloud.compute.backend.tags.get(view.instance_id, {}))
            for view in cloud.compute.views()
            if view.state in ("pending", "running")
        }
    return Snapshot(
        at=at,
        groups=groups,
        nodes={node.instance_id: node for node in map(_node, (stored.object for stored in store.all(NODES)))},
        running=running,
        pods={_named(pod): pod["spec"].get("nodeName", "") for pod in pods if should_be_evicted(pod)},
        pods_not_ready=tuple(_named(pod) for pod in pods if not _settled(pod)),
        pods_finished=tuple(_named(pod) for pod in pods if _finished(pod)),
    )


def _group(group: Group) -> GroupState:
    return GroupState(
        name=group.name,
        min_size=group.min_size,
        max_size=group.max_size,
        desired=group.desired,
        protects_new=group.protects_new,
        suspended=frozenset(group.suspended),
        tags={key: str(tag.get("Value", "")) for key, tag in group.tags.items()},
        instances={member.instance_id: _instance(member) for member in group.members.values()},
    )


def _instance(member: Member) -> InstanceState:
    return InstanceState(
        instance_id=member.instance_id,
        zone=member.zone,
        lifecycle=member.state,
        protected=member.protected,
        version=member.template.version if member.template else member.configuration,
    )


def _node(node: dict[str, Any]) -> NodeState:
    metadata, spec = node["metadata"], node["spec"]
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return NodeState(
        name=name_of(node),
        instance_id=spec.get("providerID", "").rpartition("/")[2],
        group=group_of(node),
        ready=is_ready(node),
        unschedulable=bool(spec.get("unschedulable")),
        taints=frozenset(taint["key"] for taint in spec.get("taints") or []),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        kubelet=".".join(info.get("kubeletVersion", "").lstrip("v").split(".")[:2]),
    )


def _named(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _settled(pod: dict[str, Any]) -> bool:
    """Ready, or finished; and not on its way out."""
    status = pod.get("status") or {}
    if _finished(pod):
        return True
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions") or [])
    return ready and not pod["metadata"].get("deletionTimestamp")


def _finished(pod: dict[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") == "Succeeded"
