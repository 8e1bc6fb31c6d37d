# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fargate: pods that a profile takes get a node each, made for them and gone with them.

What the pods and nodes look like: "Simplify compute management with AWS Fargate" of the Amazon EKS User Guide, and the
nodes that its users show. EKS's webhook gives such a pod another scheduler when it is created; that scheduler makes the
node, of the version that the control plane has then. A pod keeps its node for life: only a new pod gets a newer one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator.aws import eks_fargate
from simulator.clock import Clock
from simulator.kubernetes.client import ApiClient
from simulator.kubernetes.errors import ApiError
from simulator.kubernetes.resources import PODS, Resource
from simulator.kubernetes.store import Store
from simulator.nodes import NODES, node_conditions, node_info
from simulator.scenarios.model import Scenario

Object = dict[str, Any]

SCHEDULER = "fargate-scheduler"
PROFILE_LABEL = "eks.amazonaws.com/fargate-profile"
COMPUTE_TYPE = "eks.amazonaws.com/compute-type"
SYSTEM = "Amazon Linux 2023"


@dataclass
class MicroMachine:
    """One Fargate node and the pod that it was made for."""

    node: str
    pod: tuple[str, str]  # namespace and name
    uid: str


class Fargate:
    """EKS's webhook (``admit``), its scheduler and its machines (``step``) for the profiles of one cluster."""

    def __init__(
        self,
        scenario: Scenario,
        clock: Clock,
        cluster: Callable[[], Any],
        version: Callable[[], str],
        api: ApiClient,
        store: Store,
    ):
        """``cluster`` gives moto's cluster with its profiles (None: not built yet), ``version`` the control plane's."""
        self._scenario = scenario
        self._clock = clock
        self._cluster = cluster
        self._version = version
        self._api = api
        self._store = store
        self._seen: dict[str, float] = {}  # uid of a pod that waits -> since when
        self._machines: dict[str, MicroMachine] = {}
        self._count = 0
        self.working = True  # a test may let Fargate have no capacity

    def admit(self, resource: Resource, pod: Object) -> None:
        """The webhook: a new pod that a profile takes is Fargate's (not those of DaemonSets)."""
        if resource is not PODS or pod["spec"].get("nodeName"):
            return
        cluster, metadata = self._cluster(), pod["metadata"]
        owners = metadata.get("ownerReferences") or []
        if cluster is None or not cluster.fargate_profiles or any(owner["kind"] == "DaemonSet" for owner in owners):
            return
        profile = eks_fargate.matching(cluster, metadata["namespace"], metadata.get("labels") or {})
        if profile:
            metadata["labels"] = {**(metadata.get("labels") or {}), PROFILE_LABEL: profile}
            pod["spec"]["schedulerName"] = SCHEDULER

    def machine_is_up(self, node_name: str) -> bool:
        """It is one of ours, and runs."""
        return node_name in self._machines

    def step(self) -> None:
        """Give nodes to pods that have waited long enough; take away those whose pod is gone."""
        cluster = self._cluster()
        if cluster is None or not (cluster.fargate_profiles or self._machines):
            return
        waiting = {}
        for stored in self._store.all(PODS):
            pod = stored.object
            ours = pod["spec"].get("schedulerName") == SCHEDULER and not pod["spec"].get("nodeName")
            if ours and not pod["metadata"].get("deletionTimestamp"):
                waiting[pod["metadata"]["uid"]] = pod
        self._seen = {uid: self._seen.get(uid, self._clock.now()) for uid in waiting}
        for uid, pod in waiting.items():
            if self.working and self._clock.now() - self._seen[uid] >= self._scenario.times.fargate:
                self._run(pod)
        for machine in list(self._machines.values()):
            stored = self._store.get(PODS, *machine.pod)
            if stored is None or stored.object["metadata"]["uid"] != machine.uid:
                self._remove(machine)

    def _run(self, pod: Object) -> None:
        metadata = pod["metadata"]
        self._count += 1
        address = f"10.20.{240 + self._count // 250}.{self._count % 250 + 4}"
        name = f"fargate-ip-{address.replace('.', '-')}.{self._scenario.region}.compute.internal"
        zone = self._scenario.zones[self._count % len(self._scenario.zones)]
        self._machines[name] = MicroMachine(name, (metadata["namespace"], metadata["name"]), metadata["uid"])
        self._api.create(NODES, fargate_node(name, address, zone, self._version(), self._clock.timestamp()))
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": name},
        }
        try:
            self._api.create(f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding", binding)
        except ApiError as error:
            if error.code not in (404, 409):  # the pod has just gone: so will its node
                raise

    def _remove(self, machine: MicroMachine) -> None:
        self._machines.pop(machine.node, None)
        try:
            self._api.delete(f"{NODES}/{machine.node}")
        except ApiError as error:
            if error.code != 404:
                raise


def fargate_node(name: str, address: str, zone: str, version: str, now: str) -> Object:
    """A Node of Fargate: no instance behind it, room for one pod, and a taint that keeps all others away."""
    region = zone.rstrip("abcdef")
    resources = {"cpu": "2", "memory": "4Gi", "pods": "1"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name.partition(".")[0].removeprefix("fargate-"),
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/region": region,
                "topology.kubernetes.io/zone": zone,
                COMPUTE_TYPE: "fargate",
            },
        },
        "spec": {
            "providerID": f"aws:///{zone}/fa80a30ea9-6a2c0e0c771e4e8caa80f702f9821271/{name}",
            "taints": [{"key": COMPUTE_TYPE, "value": "fargate", "effect": "NoSchedule"}],
        },
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "conditions": node_conditions(True, now),
            "nodeInfo": node_info(version, SYSTEM),
        },
    }
