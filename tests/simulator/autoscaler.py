# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster autoscaler, as far as a rollout meets it.

It raises a group when pods cannot be scheduled, and removes a node that has hardly anything to do: taints it, evicts
its pods and terminates the instance with a decrement. It leaves nodes alone that are annotated
``cluster-autoscaler.kubernetes.io/scale-down-disabled: "true"``, and respects minimal and maximal sizes.
"""

from __future__ import annotations

from typing import Any

from simulator.clock import Clock
from simulator.identities import AwsClients
from simulator.kubernetes.client import ApiClient
from simulator.kubernetes.controllers.predicates import requests_of
from simulator.kubernetes.errors import ApiError
from simulator.nodes import has_taint, is_ready
from simulator.scenarios.model import GROUP_LABEL
from simulator.witness import group_of as node_group
from simulator.witness import name_of, schedulable_and_ready, should_be_evicted

DISABLED = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
TAINT = "ToBeDeletedByClusterAutoscaler"
Object = dict[str, Any]


class ClusterAutoscaler:
    """Looks every ``scan`` seconds of the world; removes nodes that were unneeded for ``unneeded`` seconds."""

    def __init__(
        self,
        groups: list[str],
        clock: Clock,
        aws: AwsClients,
        api: ApiClient,
        *,
        up: bool = True,
        down: bool = True,
        scan: float = 10.0,
        unneeded: float = 60.0,
        idle_pods: int = 0,
    ):
        self._groups = groups
        self._clock = clock
        self._autoscaling = aws("autoscaling")
        self._api = api
        self._up, self._down = up, down
        self._scan, self._unneeded, self._idle_pods = scan, unneeded, idle_pods
        self._next = clock.now() + scan
        self._idle_since: dict[str, float] = {}
        self._removed: set[str] = set()

    def step(self) -> None:
        """One look, when it is time for one."""
        if self._clock.now() < self._next:
            return
        self._next = self._clock.now() + self._scan
        nodes = self._api.list("/api/v1/nodes")[0]
        pods = self._api.list("/api/v1/pods")[0]
        if self._up:
            self._scale_up(nodes, pods)
        if self._down:
            self._scale_down(nodes, pods)

    def _sizes(self, group: str) -> Object:
        found = self._autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        return found[0]

    def _scale_up(self, nodes: list[Object], pods: list[Object]) -> None:
        waiting = {wanted_group(pod) or self._groups[0] for pod in pods if is_unschedulable(pod)}
        for group in sorted(waiting & set(self._groups)):
            sizes = self._sizes(group)
            ready = sum(1 for node in nodes if node_group(node) == group and is_ready(node))
            if ready >= sizes["DesiredCapacity"] and sizes["DesiredCapacity"] < sizes["MaxSize"]:
                self._autoscaling.set_desired_capacity(
                    AutoScalingGroupName=group, DesiredCapacity=sizes["DesiredCapacity"] + 1
                )

    def _scale_down(self, nodes: list[Object], pods: list[Object]) -> None:
        now = self._clock.now()
        idle = {name_of(node): node for node in nodes if self._may_go(node) and self._is_idle(node, pods)}
        self._idle_since = {name: self._idle_since.get(name, now) for name in idle}
        for name, since in self._idle_since.items():
            if now - since >= self._unneeded:
                self._remove(idle[name], pods)
                return  # one at a time

    def _may_go(self, node: Object) -> bool:
        disabled = (node["metadata"].get("annotations") or {}).get(DISABLED) == "true"
        return schedulable_and_ready(node) and not disabled and name_of(node) not in self._removed

    def _is_idle(self, node: Object, pods: list[Object]) -> bool:
        movable = [pod for pod in pods if pod["spec"].get("nodeName") == name_of(node) and should_be_evicted(pod)]
        return len(movable) <= self._idle_pods and sum(requests_of(pod).cpu for pod in movable) < 0.5

    def _remove(self, node: Object, pods: list[Object]) -> None:
        group = node_group(node)
        sizes = self._sizes(group)
        if sizes["DesiredCapacity"] <= sizes["MinSize"]:
            return
        if not has_taint(node, TAINT):
            taints = [*node["spec"].get("taints", []), {"key": TAINT, "value": "1", "effect": "NoSchedule"}]
            self._api.patch(f"/api/v1/nodes/{name_of(node)}", {"spec": {"taints": taints}})
        left = [pod for pod in pods if pod["spec"].get("nodeName") == name_of(node) and should_be_evicted(pod)]
        if left:  # the pods first; the next look finds the node empty
            for pod in left:
                self._evict(pod)
            return
        self._removed.add(name_of(node))
        instance_id = node["spec"]["providerID"].rpartition("/")[2]
        self._autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=True
        )

    def _evict(self, pod: Object) -> None:
        namespace, name = pod["metadata"]["namespace"], name_of(pod)
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
        try:
            self._api.create(f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", eviction)
        except ApiError as error:
            if error.code not in (404, 429):
                raise


def wanted_group(pod: Object) -> str | None:
    """The node group that the pod's node selector asks for."""
    return (pod["spec"].get("nodeSelector") or {}).get(GROUP_LABEL)


def is_unschedulable(pod: Object) -> bool:
    """The scheduler has found no node for it."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return not pod["spec"].get("nodeName") and any(
        condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable" for condition in conditions
    )
