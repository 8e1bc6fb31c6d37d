# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes and Pods: read them, tie them to instances, judge how far an instance has come, and keep a group's floor."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group, Member, living_group
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError

# Put on by the kubelet, the cloud controller and the agents while a node starts; each of them takes its own off again.
# Sources: kubernetes.io/docs/reference/labels-annotations-taints, aws-ebs-csi-driver docs/install.md, cilium taints.
STARTUP_TAINTS = (
    "node.cloudprovider.kubernetes.io/uninitialized",
    "node.kubernetes.io/not-ready",
    "ebs.csi.aws.com/agent-not-ready",
    "node.cilium.io/agent-not-ready",
)
SCALE_DOWN_DISABLED = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
EXCLUDE_FROM_LOAD_BALANCERS = "node.kubernetes.io/exclude-from-external-load-balancers"
MARKS = "evergreen.eks/marks"
MIRROR_POD = "kubernetes.io/config.mirror"
# How a pod says what a drain is to do with it: ours as an annotation or a label, Cluster API's as a label
# (api/core/v1beta1, PodDrainLabel).
DRAIN, CLUSTER_API_DRAIN = "evergreen.eks/drain", "cluster.x-k8s.io/drain"
SKIP_DRAIN, WAIT_COMPLETED = "skip", "wait-completed"
INSTANCE_ID = re.compile(r"i-[0-9a-f]+")


@dataclass(frozen=True)
class Node:
    """What we need of a Kubernetes Node; `taints` are the API's own objects, so that nothing in them is lost.

    `troubles` are its conditions besides Ready that hold, such as MemoryPressure: all of them are bad news.
    `ready_since`: when the condition Ready became what it is, by the API server's clock.
    """

    name: str
    uid: str
    instance_id: str
    zone: str
    ready: str
    ready_message: str
    troubles: tuple[str, ...]
    unschedulable: bool
    taints: tuple[dict[str, Any], ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    created: str
    kubelet_version: str
    resource_version: str
    ready_since: str = ""
    max_pods: int = 0  # places for pods; 0 = its kubelet has not said

    @property
    def is_ready(self) -> bool:
        """The condition Ready is True; Unknown (the kubelet is silent) is not Ready."""
        return self.ready == "True"

    def startup_taints(self, extra: Iterable[str] = ()) -> list[str]:
        """Keys of the taints that say: not initialised yet."""
        keys = {*STARTUP_TAINTS, *extra}
        return sorted({taint["key"] for taint in self.taints if taint["key"] in keys})


def node_from(manifest: Mapping[str, Any]) -> Node:
    """The record of one Node object as the API answers it."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    labels = metadata.get("labels") or {}
    provider_id = spec.get("providerID") or ""
    conditions = status.get("conditions") or []
    ready = next((item for item in conditions if item.get("type") == "Ready"), {})
    return Node(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        instance_id=instance_id_of(provider_id),
        zone=labels.get("topology.kubernetes.io/zone", ""),
        ready=ready.get("status", "Unknown"),
        ready_message=ready.get("message") or ready.get("reason") or "the kubelet has not reported yet",
        troubles=tuple(sorted(c["type"] for c in conditions if c.get("status") == "True" and c["type"] != "Ready")),
        unschedulable=bool(spec.get("unschedulable")),
        taints=tuple(spec.get("taints") or ()),
        labels=labels,
        annotations=metadata.get("annotations") or {},
        created=metadata.get("creationTimestamp") or "",
        kubelet_version=(status.get("nodeInfo") or {}).get("kubeletVersion", ""),
        resource_version=metadata.get("resourceVersion", ""),
        ready_since=ready.get("lastTransitionTime") or "",
        max_pods=_whole((status.get("allocatable") or {}).get("pods")),
    )


def _whole(quantity: Any) -> int:
    """A quantity of Kubernetes that is a whole number; 0 for anything else."""
    return int(quantity) if str(quantity).isdigit() else 0


def instance_id_of(provider_id: str) -> str:
    """`aws:///eu-central-1a/i-0123` -> `i-0123`; `""` for all that is no EC2 instance (Fargate, other clouds)."""
    last = provider_id.rsplit("/", 1)[-1]
    return last if provider_id.startswith("aws://") and INSTANCE_ID.fullmatch(last) else ""


def list_nodes(client: KubernetesClient) -> list[Node]:
    """All Nodes of the cluster. Needs the verb list on nodes."""
    items, _version = client.list("/api/v1/nodes")
    return [node_from(item) for item in items]


def get_node(client: KubernetesClient, name: str) -> Node | None:
    """One Node, None when there is none of that name. Needs the verb get on nodes."""
    try:
        return node_from(client.get(f"/api/v1/nodes/{name}"))
    except KubernetesError as error:
        if error.status == 404:
            return None
        raise


def by_instance(nodes: Iterable[Node]) -> dict[str, Node]:
    """Nodes by EC2 instance id (spec.providerID, never a DNS name); of two for one instance the younger."""
    known = [node for node in nodes if node.instance_id]
    return {node.instance_id: node for node in sorted(known, key=lambda node: node.created)}


# --- what we put on a Node --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NodeMarks:
    """What we put on one Node. The three maps are `{key: {"was": value or None, "set_to": value}}`.

    `since`: when it was cordoned for us, by the API server's clock; whatever is waited for on it counts from then.
    `drained_since`: when a drain with an escalation took it in hand; the steps count from then.
    """

    run: str = ""
    cordoned: bool = False
    since: str = ""
    drained_since: str = ""
    labels: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)
    taints: Mapping[str, Any] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not (self.cordoned or self.labels or self.annotations or self.taints)

    def dump(self) -> str:
        """The annotation's value: compact, sorted, without what is empty."""
        content = {
            "run": self.run,
            "cordoned": self.cordoned,
            "since": self.since,
            "drained_since": self.drained_since,
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "taints": dict(self.taints),
        }
        return json.dumps({key: value for key, value in content.items() if value}, sort_keys=True)


def read_node_marks(node: Node) -> NodeMarks:
    """Our marks on a Node, empty ones when it carries none. An annotation that is not ours to read is an error."""
    text = node.annotations.get(MARKS)
    if not text:
        return NodeMarks()
    try:
        content = json.loads(text)
        return NodeMarks(
            run=str(content.get("run", "")),
            cordoned=bool(content.get("cordoned", False)),
            since=str(content.get("since", "")),
            drained_since=str(content.get("drained_since", "")),
            labels=_records(content.get("labels", {})),
            annotations=_records(content.get("annotations", {})),
            taints=_records(content.get("taints", {})),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EvergreenError(
            f"The annotation {MARKS} of node {node.name} cannot be read: {text[:200]}",
            reason="marks_unreadable",
            remedy="Put the node's cordon, labels and taints right by hand, remove the annotation, and run again",
        ) from error


def _records(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: {"was": record["was"], "set_to": record["set_to"]} for key, record in content.items()}


# --- pods ------------------------------------------------------------------------------------------------------------


def list_pods(client: KubernetesClient, node_name: str | None = None) -> list[dict[str, Any]]:
    """Pods as the API answers them, of one node or of the whole cluster. Needs the verb list on pods."""
    selector = f"spec.nodeName={node_name}" if node_name else None
    items, _version = client.list("/api/v1/pods", field_selector=selector)
    return items


def pod_name(pod: Mapping[str, Any]) -> str:
    """`namespace/name`, the way people write it."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def controller_of(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """The owner reference that controls the pod, empty when none does."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), {})


def is_daemonset_pod(pod: Mapping[str, Any]) -> bool:
    """Controlled by a DaemonSet of group apps, as kubectl drain decides it; other APIs' "DaemonSets" do not count."""
    owner = controller_of(pod)
    return owner.get("kind") == "DaemonSet" and str(owner.get("apiVersion", "")).startswith("apps/")


def is_mirror_pod(pod: Mapping[str, Any]) -> bool:
    """The API's picture of a static pod: the kubelet runs it from a file, nobody can evict it."""
    return MIRROR_POD in (pod["metadata"].get("annotations") or {}) or any(
        owner.get("kind") == "Node" for owner in pod["metadata"].get("ownerReferences") or []
    )


def drain_wish(pod: Mapping[str, Any]) -> str:
    """What the pod asks of a drain: SKIP_DRAIN, WAIT_COMPLETED, or nothing. Ours beats Cluster API's."""
    metadata = pod["metadata"]
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    wish = annotations.get(DRAIN) or labels.get(DRAIN) or labels.get(CLUSTER_API_DRAIN) or ""
    return wish.lower() if wish.lower() in (SKIP_DRAIN, WAIT_COMPLETED) else ""


def stays_put(pod: Mapping[str, Any]) -> bool:
    """No drain evicts it: its DaemonSet would put it back, the kubelet runs it from a file, or it has opted out."""
    return is_daemonset_pod(pod) or is_mirror_pod(pod) or drain_wish(pod) == SKIP_DRAIN


def is_finished(pod: Mapping[str, Any]) -> bool:
    """Succeeded or Failed: nothing of it runs any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def pod_is_ready(pod: Mapping[str, Any]) -> bool:
    """The pod's condition Ready is True and it is not on its way out."""
    return condition_holds(pod.get("status") or {}, "Ready") and not pod["metadata"].get("deletionTimestamp")


def condition_holds(status: Mapping[str, Any], kind: str) -> bool:
    """Whether the condition of that type is True in the status of an object."""
    return any(item.get("type") == kind and item.get("status") == "True" for item in status.get("conditions") or [])


def pods_that_must_leave(pods: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the pods whose node must not be removed under them."""
    return sorted(pod_name(pod) for pod in pods if must_leave(pod))


def must_leave(pod: Mapping[str, Any]) -> bool:
    """Whether its node must not be removed under it: all but those that stay and finished ones."""
    return not (stays_put(pod) or is_finished(pod))


# --- how far an instance has come ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """How far one instance has come on the way to a node that takes pods.

    `reason` is one of ready, terminated, not_in_service, no_node, not_ready, not_initialized, unschedulable,
    daemonset_pending; `message` says it in words.
    """

    instance_id: str
    node: str
    reason: str
    message: str

    @property
    def ready(self) -> bool:
        return self.reason == "ready"


def standing(
    instance_id: str, node: Node | None, *, member: Member | None = None, startup_taints: Iterable[str] = ()
) -> Standing:
    """Judge an instance by its Node and, when given, by its membership in the group; the first obstacle is named."""

    def so_far(reason: str, message: str) -> Standing:
        return Standing(instance_id, node.name if node else "", reason, message)

    if member and not member.in_service:
        return so_far("not_in_service", f"it is {member.lifecycle_state} in its group, not InService")
    if member and member.health_status.lower() != "healthy":
        return so_far("not_in_service", f"its group holds it for {member.health_status} and is about to replace it")
    if node is None:
        return so_far("no_node", "no Node has its provider ID: the instance has not joined this cluster")
    if not node.is_ready:
        troubles = f"; {', '.join(node.troubles)}" if node.troubles else ""
        return so_far("not_ready", f"Ready is {node.ready}: {node.ready_message}{troubles}")
    pending = node.startup_taints(startup_taints)
    if pending:
        return so_far("not_initialized", f"start-up taints are still on it: {', '.join(pending)}")
    if node.unschedulable:
        return so_far("unschedulable", "it is cordoned")
    return so_far("ready", f"{node.name} is Ready and takes pods")


# --- the floor -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FloorView:
    """One look at a group and its Nodes; only members that count (Pending and InService) have a standing."""

    group: Group
    min_ready: int
    standings: tuple[Standing, ...]
    nodes: tuple[Node, ...]

    @property
    def ready_schedulable(self) -> int:
        return sum(item.ready for item in self.standings)

    @property
    def slack(self) -> int:
        """How many Ready, schedulable members may be taken away now; negative when the floor is already broken."""
        return self.ready_schedulable - self.min_ready

    @property
    def missing(self) -> list[dict[str, str]]:
        """The members that do not count towards the floor, and why."""
        return [
            {"instance_id": item.instance_id, "node": item.node, "reason": item.reason, "message": item.message}
            for item in self.standings
            if not item.ready
        ]

    def cost_of(self, instance_id: str) -> int:
        """1 when the instance is a Ready, schedulable member, else 0: a cordoned or broken one takes nothing away."""
        return int(any(item.ready and item.instance_id == instance_id for item in self.standings))

    def allows(self, instance_id: str) -> bool:
        """May this instance be cordoned or removed: will the floor still hold without it?"""
        return self.slack >= self.cost_of(instance_id)

    def explain(self) -> str:
        """One sentence: the numbers, and who is missing and why (the first five)."""
        numbers = (
            f"{self.ready_schedulable} of {len(self.standings)} members of {self.group.name} are Ready and "
            f"schedulable, at least {self.min_ready} must remain"
        )
        return numbers + "".join(f"; {line}" for line in summary(self.missing))


class ReadyFloor:
    """The number of Ready, schedulable members that a group must keep. One describe and one node list a look."""

    def __init__(self, aws: Aws, client: KubernetesClient, asg_name: str, min_ready: int) -> None:
        self._aws = aws
        self._client = client
        self.asg_name = asg_name
        self.min_ready = min_ready

    def look(self) -> FloorView:
        group = living_group(self._aws, self.asg_name)
        nodes = list_nodes(self._client)
        return floor_view(group, nodes, self.min_ready)


def floor_view(group: Group, nodes: Sequence[Node], min_ready: int) -> FloorView:
    """The pure half of a look: every member that counts, judged."""
    known = by_instance(nodes)
    counting = [member for member in group.members if member.counts]
    standings = tuple(standing(item.instance_id, known.get(item.instance_id), member=item) for item in counting)
    return FloorView(group=group, min_ready=min_ready, standings=standings, nodes=tuple(nodes))


def summary(missing: Sequence[Mapping[str, str]], most: int = 5) -> list[str]:
    """`instance (node): message` for the first few, and how many more there are."""
    lines = [f"{instance_and_node(item['instance_id'], item['node'])}: {item['message']}" for item in missing[:most]]
    return lines + ([f"and {len(missing) - most} more"] if len(missing) > most else [])


def instance_and_node(instance_id: str, node: str) -> str:
    return f"{instance_id} ({node})" if node else instance_id
