# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the two halves of the world meet: EC2 instances become Nodes, and Nodes of ended instances go.

``Machines`` plays the machine itself (it boots, its kubelet registers the Node and after a while reports it Ready) and
the cloud controller manager of AWS: it initialises new Nodes (provider id, zone, instance type, and it takes the taint
``node.cloudprovider.kubernetes.io/uninitialized`` off), taints those of stopped instances, and deletes those of ended
ones. Like the real one (k8s.io/cloud-provider, node lifecycle controller) it only looks at Nodes that are not Ready,
every five seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.aws.ec2 import InstanceView
from simulator.aws.images import Image
from simulator.clock import Clock
from simulator.kubernetes import resources
from simulator.kubernetes.client import ApiClient
from simulator.kubernetes.errors import ApiError
from simulator.kubernetes.store import Store
from simulator.scenarios.model import GROUP_LABEL, VERSION_LABEL, NodeGroup, Scenario

Node = dict[str, Any]

NODES = "/api/v1/nodes"
UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
NOT_READY = "node.kubernetes.io/not-ready"
GONE_STATES = ("terminated",)
STOPPED_STATES = ("stopping", "stopped")
LOOK_EVERY = 5.0  # seconds of the world: --node-monitor-period

# vCPUs and GiB of the types that scenarios use; anything else counts as large.
SIZES = {"medium": (2, 4), "large": (2, 8), "xlarge": (4, 16), "2xlarge": (8, 32), "4xlarge": (16, 64)}


@dataclass
class Machine:
    """One instance as a computer: it runs or not, and its kubelet has got so far."""

    view: InstanceView
    group: str  # where it was launched; a detached instance keeps running
    boot: float  # seconds from its start until its kubelet registers the Node
    running: bool = False
    registered: bool = False
    ready: bool = False
    broken: bool = False  # boots, but its kubelet never gets Ready


class Machines:
    """All machines of the cluster's node groups. ``step`` is cheap when nothing changes."""

    def __init__(
        self,
        scenario: Scenario,
        clock: Clock,
        views: Callable[[], list[InstanceView]],
        api: ApiClient,
        store: Store,
        image: Callable[[str], Image] = lambda image_id: Image(),
    ):
        """``image`` tells what an image (by its id) makes of the machines that start from it."""
        self._groups = {group.name: group for group in scenario.groups}
        self._times = scenario.times
        self._version = scenario.version
        self._clock = clock
        self._views = views
        self._image = image
        self._api = api
        self._store = store  # looked at directly, as through a watch: a LIST every few seconds would drown the record
        self._machines: dict[str, Machine] = {}
        self._by_node: dict[str, Machine] = {}
        self._next_look = 0.0
        self.broken_groups: set[str] = set()  # node groups whose new machines never get Ready (a bad image)
        self.frozen: set[str] = set()  # instances that hang: they run, but nothing on them answers or ends
        self.boot_seconds: dict[str, float] = {}  # node group -> boot time of its new machines, where it differs

    def machine_is_up(self, node_name: str) -> bool:
        """Whether the computer behind the Node of that name runs (asked by the simulated kubelets)."""
        machine = self._by_node.get(node_name)
        if machine is None or machine.view.instance_id in self.frozen:
            return False
        return machine.running and machine.registered

    def answers(self, instance_id: str) -> bool:
        """Whether the machine takes requests from outside: it runs, and its node has come up (kube-proxy with it)."""
        machine = self._machines.get(instance_id)
        return machine is not None and machine.running and machine.ready

    def instance_of(self, node_name: str) -> str | None:
        """The instance id behind the Node of that name."""
        for instance_id, machine in list(self._machines.items()):
            if machine.view.private_dns_name == node_name:
                return instance_id
        return None

    def group_of(self, instance_id: str) -> str:
        """The node group that launched the instance; empty when no group did."""
        machine = self._machines.get(instance_id)
        return machine.group if machine else ""

    def step(self) -> None:
        """Let the machines and the cloud controller do what is due."""
        for view in self._views():
            if view.group in self._groups or view.instance_id in self._machines:
                self._follow(view)
        if self._clock.now() >= self._next_look:
            self._next_look = self._clock.now() + LOOK_EVERY
            self._look_after_nodes()

    def _follow(self, view: InstanceView) -> None:
        machine = self._machines.get(view.instance_id)
        if machine is None:
            broken = view.group in self.broken_groups
            boot = self.boot_seconds.get(view.group, self._times.boot)
            machine = self._machines[view.instance_id] = Machine(view, view.group, boot, broken=broken)
        machine.view = view
        machine.running = view.state == "running"
        if machine.running:
            self._by_node[view.private_dns_name] = machine
        if not machine.running or view.running_since is None:
            machine.ready = machine.registered = False  # after a stop the kubelet has to come up again
            return
        if machine.ready or machine.broken and machine.registered:
            return
        group = self._groups[machine.group]
        up_for = self._clock.now() - view.running_since
        if not machine.registered and up_for >= machine.boot:
            self._register(machine, group)
        if not machine.broken and machine.registered and up_for >= machine.boot + self._times.ready:
            self._become_ready(machine)

    def _register(self, machine: Machine, group: NodeGroup) -> None:
        """The kubelet creates its Node, and the cloud controller initialises it."""
        machine.registered = True
        try:
            image = self._image(machine.view.image_id)
            node = new_node(machine.view, group, image.version or self._version, self._clock.timestamp(), image)
            self._api.create(NODES, node)
        except ApiError as error:
            if error.code != 409:  # it was stopped and started: the Node is still there
                raise

    def _become_ready(self, machine: Machine) -> None:
        machine.ready = True
        name = machine.view.private_dns_name
        try:
            node = self._api.get(f"{NODES}/{name}")
        except ApiError as error:
            if error.code != 404:
                raise
            machine.ready = machine.registered = False  # somebody deleted the Node: the kubelet registers again
            return
        if not self._take_taints_off(node, UNINITIALIZED, SHUTDOWN):
            machine.ready = False  # somebody else was faster: at the next step again
            return
        conditions = node_conditions(True, self._clock.timestamp())
        self._api.patch(f"{NODES}/{name}/status", {"status": {"conditions": conditions}})

    def _look_after_nodes(self) -> None:
        for stored in self._store.all(resources.NODES):
            node = stored.object
            instance_id = node["spec"].get("providerID", "").rpartition("/")[2]
            machine = self._machines.get(instance_id)
            if machine is None or is_ready(node):
                continue
            if machine.view.state in GONE_STATES:
                self._delete(node)
            elif machine.view.state in STOPPED_STATES and not has_taint(node, SHUTDOWN):
                self._taint_shut_down(node)

    def _take_taints_off(self, node: Node, *keys: str) -> bool:
        if not any(has_taint(node, key) for key in keys):
            return True
        taints = [taint for taint in node["spec"]["taints"] if taint["key"] not in keys]
        version = {"resourceVersion": node["metadata"]["resourceVersion"]}
        try:
            self._api.patch(f"{NODES}/{name_of(node)}", {"metadata": version, "spec": {"taints": taints or None}})
        except ApiError as error:
            if error.code not in (404, 409):
                raise
            return False
        return True

    def _taint_shut_down(self, node: Node) -> None:
        taints = [*node["spec"].get("taints", []), {"key": SHUTDOWN, "effect": "NoSchedule"}]
        version = {"resourceVersion": node["metadata"]["resourceVersion"]}
        try:
            self._api.patch(f"{NODES}/{name_of(node)}", {"metadata": version, "spec": {"taints": taints}})
        except ApiError as error:
            if error.code not in (404, 409):  # the next look tries again
                raise

    def _delete(self, node: Node) -> None:
        try:
            self._api.delete(f"{NODES}/{name_of(node)}")
        except ApiError as error:
            if error.code != 404:
                raise


def new_node(view: InstanceView, group: NodeGroup, version: str, now: str, image: Image | None = None) -> Node:
    """The Node that a machine of that group registers: labelled, not Ready, not yet to be scheduled on."""
    image = image or Image()
    region = view.zone.rstrip("abcdef")
    cpu, memory = SIZES.get(view.instance_type.partition(".")[2], SIZES["large"])
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": view.private_dns_name,
            "labels": {
                "kubernetes.io/hostname": view.private_dns_name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": image.node_architecture,
                "node.kubernetes.io/instance-type": view.instance_type,
                "topology.kubernetes.io/region": region,
                "topology.kubernetes.io/zone": view.zone,
                GROUP_LABEL: group.name,
                **({VERSION_LABEL: view.version} if view.version else {}),
                **({"eks.amazonaws.com/nodegroup": group.managed} if group.managed else {}),
                **group.labels,
            },
        },
        "spec": {
            "providerID": f"aws:///{view.zone}/{view.instance_id}",
            "taints": [
                *[dict(taint) for taint in group.taints],
                {"key": NOT_READY, "effect": "NoSchedule"},
                {"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"},
            ],
        },
        "status": {
            "capacity": {"cpu": str(cpu), "memory": f"{memory}Gi", "pods": "58"},
            "allocatable": {"cpu": f"{cpu * 1000 - 70}m", "memory": f"{memory * 1024 - 700}Mi", "pods": "58"},
            "addresses": [
                {"type": "InternalIP", "address": view.private_ip},
                {"type": "Hostname", "address": view.private_dns_name},
            ],
            "conditions": node_conditions(False, now),
            "nodeInfo": node_info(version, image.system, image.node_architecture),
        },
    }


def node_info(version: str, system: str = "", architecture: str = "amd64") -> Mapping[str, str]:
    """What a kubelet tells about itself; strict clients want every field."""
    return {
        "kubeletVersion": f"v{version}.0-eks-rehearsal",
        "kubeProxyVersion": "",
        "osImage": system or "Rehearsal Linux 2023",
        "kernelVersion": "6.12.0",
        "containerRuntimeVersion": "containerd://2.1.0",
        "operatingSystem": "linux",
        "architecture": architecture,
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }


def node_conditions(ready: bool, now: str) -> list[dict[str, str]]:
    """The condition Ready as a kubelet reports it."""
    if ready:
        reason, message = "KubeletReady", "kubelet is posting ready status"
    else:
        reason = "KubeletNotReady"
        message = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady"
    condition = {"type": "Ready", "status": "True" if ready else "False", "reason": reason, "message": message}
    return [{**condition, "lastHeartbeatTime": now, "lastTransitionTime": now}]


def name_of(node: Node) -> str:
    """Its name."""
    return node["metadata"]["name"]


def is_ready(node: Node) -> bool:
    """Its condition Ready is True (Unknown is not)."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def has_taint(node: Node, key: str) -> bool:
    """It carries a taint with that key."""
    return any(taint["key"] == key for taint in node["spec"].get("taints", []))
