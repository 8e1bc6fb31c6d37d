# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deployments, StatefulSets and DaemonSets as they are while they replace their pods. Parsing only, no requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.nodes import (
    controller_of,
    is_finished,
    is_mirror_pod,
)
from ansible_collections.evergreen.eks.plugins.module_utils.picture import (
    WORKLOADS,
    PodState,
    WorkloadState,
    pod_from,
    seconds_of,
    workload_from,
)
from ansible_collections.evergreen.eks.plugins.module_utils.verify.read import injections_of
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import MISSING, Sidecar

# What `kubectl rollout restart` writes into the pod template (kubectl, pkg/polymorphichelpers/objectrestarter.go).
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
DEPLOYMENT, STATEFUL_SET, DAEMON_SET = KINDS = tuple(WORKLOADS)
ON_DELETE = "OnDelete"


@dataclass(frozen=True)
class Workload:
    """One workload. `state` holds its numbers; `total`: all its pods, `available`: those that count as up.

    `restarted_at` is when somebody asked for its last restart, in UNIX seconds, 0 for never. `trouble` is what its
    controller says to be wrong; `template_labels` are those of its pods, `owner` what controls the workload itself.
    """

    state: WorkloadState
    uid: str
    generation: int
    observed: int
    total: int
    available: int
    strategy: str
    partition: int = 0
    paused: bool = False
    restarted_at: int = 0
    trouble: str = ""
    owner: str = ""
    template_labels: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.state.kind} {self.state.namespace}/{self.state.name}"

    @property
    def namespace(self) -> str:
        return self.state.namespace

    @property
    def key(self) -> tuple[str, str, str]:
        return self.state.kind, self.state.namespace, self.state.name

    @property
    def path(self) -> str:
        """Of the object in the API."""
        root, _slash, plural = WORKLOADS[self.state.kind].rpartition("/")
        return f"{root}/namespaces/{self.state.namespace}/{plural}/{self.state.name}"

    @property
    def new_and_ready(self) -> int:
        """How many of its pods are of the newest template and up, as far as the numbers tell."""
        old = max(0, self.total - self.state.updated) if self.state.kind == DEPLOYMENT else 0
        return max(0, min(self.state.updated, self.available - old))

    @property
    def complete(self) -> bool:
        """Whether its update is over, by the rules of `kubectl rollout status` (pkg/polymorphichelpers/rollout_status).

        A StatefulSet with a partition replaces only the pods from there on; the others stay as they are.
        """
        wanted, updated = self.state.wanted, self.state.updated
        if self.observed < self.generation:
            return False
        if self.state.kind == DEPLOYMENT:
            return updated >= wanted and self.total <= updated and self.available >= updated
        if self.state.kind == STATEFUL_SET:
            return self.state.ready >= wanted and updated >= wanted - self.partition
        return updated >= wanted and self.available >= wanted

    def restarted_since(self, moment: str) -> bool:
        """Whether somebody has asked for a restart at that moment or later."""
        return bool(moment) and self.restarted_at >= seconds_of(moment)


@dataclass(frozen=True)
class Pod:
    """A pod that runs, or is to. `asks`: for a sidecar that is looked for; `lacks`: one of these is not there."""

    state: PodState
    asks: bool = False
    lacks: bool = False
    controller: str = ""  # as Kind/name, what its own reference says

    def __str__(self) -> str:
        return f"{self.state.namespace}/{self.state.name}"


def restartable_from(kind: str, manifest: Mapping[str, Any]) -> Workload:
    """The record of one Deployment, StatefulSet or DaemonSet as the API answers it."""
    metadata, spec, status = manifest["metadata"], manifest["spec"], manifest.get("status") or {}
    template = (spec.get("template") or {}).get("metadata") or {}
    strategy = spec.get("strategy" if kind == DEPLOYMENT else "updateStrategy") or {}
    owner = controller_of(manifest)
    daemons = kind == DAEMON_SET
    return Workload(
        state=workload_from(kind, manifest),
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 1),
        observed=status.get("observedGeneration", 0),
        total=status.get("currentNumberScheduled" if daemons else "replicas", 0),
        available=status.get("numberAvailable" if daemons else "availableReplicas", 0),
        strategy=strategy.get("type") or "RollingUpdate",
        partition=(strategy.get("rollingUpdate") or {}).get("partition", 0) if kind == STATEFUL_SET else 0,
        paused=bool(spec.get("paused")),
        restarted_at=seconds_of((template.get("annotations") or {}).get(RESTARTED_AT) or ""),
        trouble=_trouble(status.get("conditions") or []),
        owner=f"{owner['kind']}/{owner['name']}" if owner else "",
        template_labels=template.get("labels") or {},
    )


def pod_of(manifest: Mapping[str, Any], sidecars: Iterable[Sidecar] = ()) -> Pod | None:
    """The record of one Pod as the API answers it; None for one that has ended, is going, or is the node's own."""
    if is_finished(manifest) or is_mirror_pod(manifest) or manifest["metadata"].get("deletionTimestamp"):
        return None
    injections = injections_of(manifest, sidecars)
    owner = controller_of(manifest)
    return Pod(
        pod_from(manifest),
        asks=bool(injections),
        lacks=any(injection.state == MISSING for injection in injections),
        controller=f"{owner['kind']}/{owner['name']}" if owner else "",
    )


def _trouble(conditions: Iterable[Mapping[str, Any]]) -> str:
    """What a Deployment's controller complains of: pods that it may not create, or an update that does not move."""
    for item in conditions:
        stuck = item.get("type") == "Progressing" and item.get("status") == "False"
        if stuck or (item.get("type") == "ReplicaFailure" and item.get("status") == "True"):
            return item.get("message") or item.get("reason") or item["type"]
    return ""
