# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How well a pod is, and what keeps it from being Ready: what explains a budget, read from one list of pods. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils import nodes
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node

# What keeps a pod from being Ready, worst first: the words of C(blocked[].unready[].reason).
NODE_NOT_READY = "node_not_ready"  # the Node of the pod is silent or gone, so nobody vouches for it
UNSCHEDULABLE = "unschedulable"  # no node takes it
CRASHING = "crashing"  # a container ends again and again
IMAGE_PULL = "image_pull"
CONFIGURATION = "configuration"  # a container cannot be made, for example of a Secret that is missing
NOT_READY = "not_ready"  # it runs, and its readiness probe or gate says no
STARTING = "starting"
STOPPING = "stopping"  # it was asked to stop: a drain's own work, mostly
TROUBLES = (NODE_NOT_READY, UNSCHEDULABLE, CRASHING, IMAGE_PULL, CONFIGURATION, NOT_READY, STARTING, STOPPING)

# What a waiting container calls it (pkg/kubelet/images/types.go, pkg/kubelet/kuberuntime/kuberuntime_container.go).
WAITING = {
    "CrashLoopBackOff": CRASHING,
    "ErrImagePull": IMAGE_PULL,
    "ImagePullBackOff": IMAGE_PULL,
    "InvalidImageName": IMAGE_PULL,
    "ErrImageNeverPull": IMAGE_PULL,
    "ImageInspectError": IMAGE_PULL,
    "RegistryUnavailable": IMAGE_PULL,
    "CreateContainerConfigError": CONFIGURATION,
    "CreateContainerError": CONFIGURATION,
    "RunContainerError": CONFIGURATION,
}
SCALABLE = ("Deployment", "ReplicaSet", "StatefulSet", "ReplicationController")
# Put on the pods of a Deployment, and the last part of its ReplicaSet's name (pkg/controller/deployment/sync.go).
TEMPLATE_HASH = "pod-template-hash"


@dataclass(frozen=True)
class Owner:
    """Whoever decides how many of these pods there are: the Deployment rather than its ReplicaSet."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def scalable(self) -> bool:
        return self.kind in SCALABLE


@dataclass(frozen=True)
class PodHealth:
    """One pod of a namespace. ``trouble`` is one of TROUBLES, empty when it is Ready or finished."""

    namespace: str
    name: str
    uid: str = ""
    node_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    phase: str = "Running"
    ready: bool = True
    deleted_at: str = ""  # when it has to be gone: the request plus its grace (RFC 3339)
    trouble: str = ""
    message: str = ""
    since: str = ""  # of the trouble
    owner: Owner | None = None
    stays: bool = False  # of a DaemonSet, static, or opted out: no drain evicts it

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def under_budget(self) -> bool:
        """Whether its eviction asks for a budget: not that of a finished, pending or terminating pod (rule 4)."""
        return self.phase not in ("Succeeded", "Failed", "Pending") and not self.deleted_at


def owner_of(namespace: str, kind: str, name: str, labels: Mapping[str, str]) -> Owner:
    """Whoever stands behind the controller of a pod. The Deployment's name needs no further read: its ReplicaSet is
    called after it and after the hash that the pod carries as a label."""
    ending = f"-{labels.get(TEMPLATE_HASH, '')}"
    if kind == "ReplicaSet" and len(ending) > 1 and name.endswith(ending):
        return Owner("Deployment", namespace, name[: -len(ending)])
    return Owner(kind, namespace, name)


def health_from(manifest: Mapping[str, Any]) -> PodHealth:
    """What is kept of one pod as the API answers it."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    labels = metadata.get("labels") or {}
    controller = nodes.controller_of(manifest)
    trouble, message, since = _trouble(metadata, status)
    return PodHealth(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        node_name=spec.get("nodeName") or "",
        labels=labels,
        phase=status.get("phase") or "Unknown",
        ready=nodes.pod_is_ready(manifest),
        deleted_at=metadata.get("deletionTimestamp") or "",
        trouble=trouble,
        message=message,
        since=since,
        owner=(
            owner_of(metadata["namespace"], controller.get("kind", ""), controller.get("name", ""), labels)
            if controller
            else None
        ),
        stays=nodes.stays_put(manifest),
    )


def trouble_on(pod: PodHealth, node: Node | None, *, nodes_known: bool) -> tuple[str, str]:
    """The trouble of a pod that is not Ready and its message, seen together with its Node.

    An unreachable Node makes its pods unready without a word about why (node lifecycle controller, MarkPodsNotReady).
    """
    if pod.trouble and pod.node_name and nodes_known:
        if node is None:
            return NODE_NOT_READY, "its Node is gone"
        if not node.is_ready:
            return NODE_NOT_READY, f"Ready of its Node is {node.ready}: {node.ready_message}"
    return pod.trouble, pod.message


def _trouble(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[str, str, str]:
    """Word, message and since of what keeps the pod from being Ready."""
    conditions = {item.get("type"): item for item in status.get("conditions") or []}
    ready = conditions.get("Ready", {})
    since = ready.get("lastTransitionTime") or metadata.get("creationTimestamp") or ""
    if status.get("phase") in ("Succeeded", "Failed"):
        return "", "", ""
    if metadata.get("deletionTimestamp"):
        return STOPPING, f"it has to be gone by {metadata['deletionTimestamp']}", since
    if ready.get("status") == "True":
        return "", "", ""
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        message = scheduled.get("message") or scheduled.get("reason") or "no node was found for it"
        return UNSCHEDULABLE, message, scheduled.get("lastTransitionTime") or since
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in WAITING:
            return WAITING[waiting["reason"]], _waiting_message(container, waiting), since
    if status.get("phase") in ("Pending", None):
        return STARTING, "its containers have not started yet", since
    if any(container.get("restartCount") and not container.get("ready") for container in containers):
        restarts = max(container.get("restartCount", 0) for container in containers)
        return NOT_READY, f"it is not Ready, after {restarts} restarts", since
    return NOT_READY, ready.get("message") or "it is not Ready", since


def _waiting_message(container: Mapping[str, Any], waiting: Mapping[str, Any]) -> str:
    restarts = container.get("restartCount")
    after = f" after {restarts} restarts" if restarts else ""
    said = f": {waiting['message']}" if waiting.get("message") else ""
    return f"{waiting['reason']} of container {container.get('name', '')}{after}{said}"
