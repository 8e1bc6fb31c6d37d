# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods of an add-on: its Deployments and DaemonSets, whether they are rolled out, and who is in the way.

EKS waits for them as well, but it also calls an add-on ACTIVE whose pods come and go, and knows nothing of those that
it does not manage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.naming import short_name
from ansible_collections.evergreen.eks.plugins.module_utils.picture import pod_from

COLLECTIONS = {"DaemonSet": "daemonsets", "Deployment": "deployments"}
# How the workloads of add-ons are called that do not bear the add-on's name on a label.
NAMES = {
    "vpc-cni": ("aws-node",),
    "kube-proxy": ("kube-proxy",),
    "coredns": ("coredns",),
    "aws-ebs-csi-driver": ("ebs-csi-controller", "ebs-csi-node", "ebs-csi-node-windows"),
    "aws-efs-csi-driver": ("efs-csi-controller", "efs-csi-node"),
    "aws-fsx-csi-driver": ("fsx-csi-controller", "fsx-csi-node"),
    "aws-mountpoint-s3-csi-driver": ("s3-csi-controller", "s3-csi-node"),
    "eks-pod-identity-agent": ("eks-pod-identity-agent",),
    "eks-node-monitoring-agent": ("eks-node-monitoring-agent",),
    "snapshot-controller": ("snapshot-controller",),
}
LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "eks.amazonaws.com/component")
NAMED_PODS = 4


@dataclass(frozen=True)
class Workload:
    """A Deployment or DaemonSet: how many pods it wants, how many are of the newest template, and how many are up.

    `seen`: its controller has seen its newest template. `total`: all its pods, old and new.
    """

    kind: str
    namespace: str
    name: str
    seen: bool
    wanted: int
    updated: int
    available: int
    total: int
    selector: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def rolled_out(self) -> bool:
        """What C(kubectl rollout status) waits for."""
        old = self.total > self.updated
        return self.seen and self.updated >= self.wanted and self.available >= self.wanted and not old

    @property
    def standing(self) -> str:
        """C(DaemonSet kube-system/aws-node: 3 of 7 pods are new, 6 are available)."""
        new = min(self.updated, self.wanted)
        return f"{self}: {new} of {self.wanted} pods are new, {self.available} are available"


def workload_from(kind: str, manifest: Mapping[str, Any]) -> Workload:
    """One object as the API lists it. A DaemonSet that is updated by deletion only (OnDelete) is never out of date."""
    metadata, spec, status = manifest["metadata"], manifest["spec"], manifest.get("status") or {}
    seen = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    selector = (spec.get("selector") or {}).get("matchLabels") or {}
    where = {"kind": kind, "namespace": metadata["namespace"], "name": metadata["name"]}
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        by_hand = (spec.get("updateStrategy") or {}).get("type") == "OnDelete"
        updated = wanted if by_hand else status.get("updatedNumberScheduled", 0)
        available = status.get("numberAvailable", 0)
        return Workload(
            **where, seen=seen, wanted=wanted, updated=updated, available=available, total=0, selector=selector
        )
    wanted = spec.get("replicas", 1)
    return Workload(
        **where,
        seen=seen,
        wanted=wanted,
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        total=status.get("replicas", 0),
        selector=selector,
    )


def belongs_to(addon: str, metadata: Mapping[str, Any]) -> bool:
    """Whether that is an object of the add-on, by its name or a label."""
    labels = metadata.get("labels") or {}
    return metadata["name"] in NAMES.get(addon, ()) or addon in (labels.get(label) for label in LABELS)


def read_workloads(client: KubernetesClient, addon: str, namespace: str) -> list[Workload]:
    """Those of the add-on, by kind and name. Needs the verb list on daemonsets.apps and deployments.apps."""
    found = []
    for kind, collection in COLLECTIONS.items():
        items, _version = client.list(f"/apis/apps/v1/namespaces/{namespace}/{collection}")
        found += [workload_from(kind, item) for item in items if belongs_to(addon, item["metadata"])]
    return sorted(found, key=lambda workload: (workload.kind, workload.name))


def read_obstacles(client: KubernetesClient, workloads: Iterable[Workload]) -> list[str]:
    """The pods of these that are not Ready, each with its reason, for a message. Needs the verb list on pods."""
    found = []
    for workload in workloads:
        if not workload.selector:
            continue
        selector = ",".join(f"{name}={value}" for name, value in sorted(workload.selector.items()))
        items, _version = client.list(f"/api/v1/namespaces/{workload.namespace}/pods", label_selector=selector)
        found += [text for item in items if (text := obstacle(item))]
    return found


def obstacle(manifest: Mapping[str, Any]) -> str:
    """Why this pod is not Ready: C(kube-system/kube-proxy-x2x7k on ip-10-20-0-4: ImagePullBackOff); "" where it is."""
    pod = pod_from(manifest)
    if pod.ready and not pod.leaving:
        return ""
    place = f" on {short_name(pod.node)}" if pod.node else ""
    stage = "is not Ready" if pod.phase == "Running" else pod.phase
    reason = "is leaving" if pod.leaving else ", ".join(pod.reasons) or stage
    return f"{pod.namespace}/{pod.name}{place}: {reason}{f' ({pod.message})' if pod.message else ''}"


def some_pods(obstacles: list[str]) -> str:
    """The first of them."""
    more = f" and {len(obstacles) - NAMED_PODS} more" if len(obstacles) > NAMED_PODS else ""
    return f"{'; '.join(obstacles[:NAMED_PODS])}{more}"
