# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A picture of a cluster: how its nodes, pods and workloads are at one moment, small enough to be kept.

What is in it is what `kubectl get` shows. Nothing of what a container is told (its environment, its arguments) or says
(its logs, its last words) gets into it. Times are UTC, like `2026-11-21T01:02:03Z`, and "" where nothing is known.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from functools import partial
from typing import Any, Callable, TypeVar

from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import FARGATE, FARGATE_LABEL
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.moments import TIMESTAMP
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import controller_of, node_from, pod_is_ready

SCHEMA = 2  # since 2 with images, nodes' systems, Fargate and the version of the control plane
WORKLOADS = {
    "Deployment": "/apis/apps/v1/deployments",
    "StatefulSet": "/apis/apps/v1/statefulsets",
    "DaemonSet": "/apis/apps/v1/daemonsets",
}
# What the Deployment controller puts behind the Deployment's name in that of a ReplicaSet, and on its pods.
TEMPLATE_HASH = "pod-template-hash"
# A CronJob's Jobs are called by the minute for which they were scheduled, counted from 1970 (pkg/controller/cronjob,
# getJobName): eight digits until the year 2160.
OF_A_CRON_JOB = re.compile(r"-\d{8}$")
# The messages of reasons with these words are the kubelet's own, not a container's.
EXPLAINED = ("Image", "Config")
LONGEST_MESSAGE = 200

# How a field is kept: SHARED, once for all records that have the same; SERIES, the same for what comes before the last
# hyphen; MOMENT, as seconds before the picture was taken.
SHARED: Mapping[str, Any] = {"kept": "shared"}
SERIES: Mapping[str, Any] = {"kept": "series"}
MOMENT: Mapping[str, Any] = {"kept": "moment"}

Record = TypeVar("Record")


class PictureError(EvergreenError):
    """A picture that cannot be used; `reason` is picture_unreadable, picture_newer, picture_missing, picture_foreign
    or picture_unwritable."""


@dataclass(frozen=True)
class NodeState:
    """A Node. `since`: since when it has been Ready, or not Ready; `version`: the kubelet's, `system`: the OS image."""

    name: str
    instance_id: str
    ready: bool
    cordoned: bool
    version: str = field(metadata=SHARED)
    since: str = field(metadata=MOMENT)
    created: str = field(metadata=MOMENT)
    system: str = field(metadata=SHARED, default="")
    fargate: bool = False


@dataclass(frozen=True)
class PodState:
    """A Pod.

    `owner` is the workload that it belongs to, as `Deployment/web`, or "". `leaving`: it is being deleted. `reasons`
    are those for which its containers wait or have ended badly, and Unschedulable; `message` explains the first of
    them. `restarted`: when a container of it last ended. `since`: since when it has been Ready, or not Ready. `images`
    are those of its containers, in their order; of its init containers too, where these run on beside the others.
    """

    namespace: str = field(metadata=SHARED)
    name: str = field(metadata=SERIES)
    uid: str
    owner: str = field(metadata=SHARED)
    node: str = field(metadata=SHARED)
    phase: str = field(metadata=SHARED)
    ready: bool
    leaving: bool
    reasons: tuple[str, ...] = field(metadata=SHARED)
    message: str = field(metadata=SHARED)
    restarts: int
    restarted: str = field(metadata=MOMENT)
    created: str = field(metadata=MOMENT)
    since: str = field(metadata=MOMENT)
    labels: Mapping[str, str] = field(metadata=SHARED)
    images: tuple[str, ...] = field(metadata=SHARED, default=())


@dataclass(frozen=True)
class WorkloadState:
    """A Deployment, StatefulSet or DaemonSet: how many pods it wants, and how many of them are Ready, and up to date.

    `may_lack`: how many may be missing while it replaces its own pods by newer ones. `labels` are its own and those of
    its pods, `images` those that it is told to run: what an injector adds is found at the pods only.
    """

    kind: str = field(metadata=SHARED)
    namespace: str = field(metadata=SHARED)
    name: str
    wanted: int
    ready: int
    updated: int
    may_lack: int
    labels: Mapping[str, str] = field(metadata=SHARED)
    images: tuple[str, ...] = field(metadata=SHARED, default=())

    @property
    def owner(self) -> str:
        """As its pods name it."""
        return f"{self.kind}/{self.name}"

    @property
    def lacking(self) -> int:
        return max(0, self.wanted - self.ready)

    @property
    def updating(self) -> bool:
        """Whether somebody changed it, and not all of its pods are new yet."""
        return self.updated < self.wanted


@dataclass(frozen=True)
class Picture:
    """A cluster at one moment. `cluster` is the UID of its namespace kube-system, `run` the run it was taken for.

    `version` is what its API server said of itself, such as `v1.33.1-eks-...`; "" where nobody asked it.
    """

    cluster: str
    taken: str
    nodes: tuple[NodeState, ...]
    pods: tuple[PodState, ...]
    workloads: tuple[WorkloadState, ...]
    run: str = ""
    version: str = ""

    @property
    def numbers(self) -> dict[str, int]:
        """How many there are, and how many of them are as they should be."""
        running = [pod for pod in self.pods if pod.phase not in ("Succeeded", "Failed") and not pod.leaving]
        return {
            "nodes": len(self.nodes),
            "nodes_ready": sum(node.ready for node in self.nodes),
            "pods": len(running),
            "pods_ready": sum(pod.ready for pod in running),
            "workloads": len(self.workloads),
            "workloads_whole": sum(not workload.lacking for workload in self.workloads),
        }

    def as_data(self) -> dict[str, Any]:
        """For people and expressions: `taken`, and the lists `nodes`, `pods` and `workloads` of dictionaries."""
        records = {name: [_plain(record) for record in getattr(self, name)] for name in RECORDS}
        return {"taken": self.taken, **records}

    def to_json(self) -> str:
        """Compact: a row for each record, and what many of them have in common only once."""
        shared: dict[str, int] = {}
        taken = seconds_of(self.taken)
        rows = {name: [_row(record, shared, taken) for record in getattr(self, name)] for name in RECORDS}
        head = {"schema": SCHEMA, "cluster": self.cluster, "run": self.run, "taken": self.taken}
        head |= {"version": self.version} if self.version else {}
        document = {**head, **rows, "shared": [json.loads(text) for text in shared]}
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False) + "\n"


RECORDS: Mapping[str, type] = {"nodes": NodeState, "pods": PodState, "workloads": WorkloadState}


def read_picture(content: str | bytes, place: str) -> Picture:
    """The picture that `content`, from `place`, holds. Raises PictureError."""
    remedy = f"Take {place} away, so that a new picture is taken"
    try:
        document = json.loads(content)
        schema = document["schema"]
        if isinstance(schema, int) and schema > SCHEMA:
            raise PictureError(
                f"{place} has schema {schema}; this release of evergreen.eks reads up to {SCHEMA}",
                reason="picture_newer",
                remedy=f"Go on with the release that wrote it. Or: {remedy[0].lower()}{remedy[1:]}",
            )
        shared, taken = document["shared"], seconds_of(document["taken"])
        records = {
            name: tuple(_record(cls, row, shared, taken) for row in document[name]) for name, cls in RECORDS.items()
        }
        head = {name: document[name] for name in ("cluster", "taken", "run")}
        return Picture(**head, version=document.get("version", ""), **records)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise PictureError(
            f"{place} is not a picture of a cluster ({type(error).__name__}: {error})",
            reason="picture_unreadable",
            remedy=remedy,
        ) from error


# --- reading a cluster -----------------------------------------------------------------------------------------------


def cluster_uid(client: KubernetesClient) -> str:
    """The UID of the namespace kube-system: the customary identity of a cluster. Needs the verb get on namespaces."""
    return client.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]


def nobody(manifest: Mapping[str, Any]) -> None:
    """Whom nothing is shown to."""


def take_picture(
    client: KubernetesClient,
    *,
    cluster: str,
    taken: str,
    run: str = "",
    version: str = "",
    show_pod: Callable[[Mapping[str, Any]], None] = nobody,
    show_node: Callable[[Mapping[str, Any]], None] = nobody,
) -> Picture:
    """Look at the cluster now; one list each, read in pages of which only the records are kept.

    `show_pod` and `show_node` are for those who need more of the objects than the records have. An object may be shown
    twice, where a list had to be begun again.

    Needs the verb list on nodes, pods, deployments.apps, statefulsets.apps and daemonsets.apps.
    """

    def listed(
        path: str, record: Callable[[dict[str, Any]], Record], show: Callable[[Mapping[str, Any]], None] = nobody
    ) -> tuple[Record, ...]:
        def keep(manifest: dict[str, Any]) -> Record:
            show(manifest)
            return record(manifest)

        records, _version = client.list(path, keep=keep)
        return tuple(records)

    # Workloads first: a pod that comes meanwhile is then no surplus, and one that goes is missed at the next look.
    workloads = [listed(path, partial(workload_from, kind)) for kind, path in WORKLOADS.items()]
    return Picture(
        cluster=cluster,
        taken=taken,
        run=run,
        version=version,
        workloads=tuple(workload for some in workloads for workload in some),
        pods=listed("/api/v1/pods", pod_from, show_pod),
        nodes=listed("/api/v1/nodes", node_state_from, show_node),
    )


def node_state_from(manifest: Mapping[str, Any]) -> NodeState:
    """The record of one Node object as the API answers it."""
    node = node_from(manifest)
    return NodeState(
        name=node.name,
        instance_id=node.instance_id,
        ready=node.is_ready,
        cordoned=node.unschedulable,
        version=node.kubelet_version,
        since=_condition(manifest, "Ready").get("lastTransitionTime") or node.created,
        created=node.created,
        system=((manifest.get("status") or {}).get("nodeInfo") or {}).get("osImage", ""),
        fargate=node.labels.get(FARGATE_LABEL) == FARGATE,
    )


def pod_from(manifest: Mapping[str, Any]) -> PodState:
    """The record of one Pod object as the API answers it."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    created = metadata.get("creationTimestamp") or ""
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    troubles = [*_container_troubles(containers), *_scheduling_trouble(manifest)]
    phase = status.get("phase") or "Unknown"
    return PodState(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        owner=owner_of(manifest),
        node=(manifest.get("spec") or {}).get("nodeName") or "",
        phase=phase,
        ready=pod_is_ready(manifest),
        leaving=bool(metadata.get("deletionTimestamp")),
        reasons=tuple(dict.fromkeys(filter(None, [status.get("reason"), *(reason for reason, _text in troubles)]))),
        message=next((text for _reason, text in troubles if text), ""),
        restarts=sum(container.get("restartCount", 0) for container in containers),
        restarted=max((_last_end(container) for container in containers), default=""),
        created=created,
        since=created if phase == "Pending" else _condition(manifest, "Ready").get("lastTransitionTime") or created,
        labels=metadata.get("labels") or {},
        images=images_of(manifest.get("spec") or {}),
    )


def images_of(pod_spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The images of the containers of a pod, or of a template, that run for as long as it does."""
    return tuple(container.get("image", "") for container in lasting_containers(pod_spec))


def lasting_containers(pod_spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The containers that run for as long as the pod: also those init containers that are sidecars.

    A sidecar is an init container with restartPolicy Always (Kubernetes documentation, "Sidecar Containers").
    """
    sidecars = [one for one in pod_spec.get("initContainers") or [] if one.get("restartPolicy") == "Always"]
    return [*(pod_spec.get("containers") or []), *sidecars]


def owner_of(pod: Mapping[str, Any]) -> str:
    """The workload that a pod belongs to, as `Deployment/web`; "" where nothing controls it, or only its node does.

    Of a Deployment's pod the label tells what its ReplicaSet's name ends with, of a CronJob's pod the name of its Job.
    """
    owner = controller_of(pod)
    kind, name = owner.get("kind", ""), owner.get("name", "")
    suffix = f"-{(pod['metadata'].get('labels') or {}).get(TEMPLATE_HASH, '')}"
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        return f"Deployment/{name[: -len(suffix)]}"
    if kind == "Job" and OF_A_CRON_JOB.search(name):
        return f"CronJob/{OF_A_CRON_JOB.sub('', name)}"
    return f"{kind}/{name}" if kind and kind != "Node" else ""


def workload_from(kind: str, manifest: Mapping[str, Any]) -> WorkloadState:
    """The record of one Deployment, StatefulSet or DaemonSet as the API answers it."""
    metadata, spec, status = manifest["metadata"], manifest["spec"], manifest.get("status") or {}
    if kind == "DaemonSet":
        names = ("desiredNumberScheduled", "numberReady", "updatedNumberScheduled")
        wanted, ready, updated = (status.get(name, 0) for name in names)
    else:
        wanted = spec.get("replicas", 1)
        ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    template = spec.get("template") or {}
    return WorkloadState(
        kind=kind,
        namespace=metadata["namespace"],
        name=metadata["name"],
        wanted=wanted,
        ready=ready,
        updated=updated,
        may_lack=_may_lack(kind, spec, wanted),
        labels={**((template.get("metadata") or {}).get("labels") or {}), **(metadata.get("labels") or {})},
        images=images_of(template.get("spec") or {}),
    )


def _may_lack(kind: str, spec: Mapping[str, Any], wanted: int) -> int:
    """How many pods an update of the workload may take away at a time (its strategy's maxUnavailable).

    The defaults are those of the API: 25 % of a Deployment, rounded down, and one pod of the others. A Deployment that
    may neither lack nor exceed anything may lack one (pkg/controller/deployment/util, ResolveFenceposts).
    """
    strategy = spec.get("strategy" if kind == "Deployment" else "updateStrategy") or {}
    if strategy.get("type") == "Recreate":
        return wanted
    if strategy.get("type") == "OnDelete":
        return 0
    rolling = strategy.get("rollingUpdate") or {}
    limit = str(rolling.get("maxUnavailable", "25%" if kind == "Deployment" else 1))
    number = wanted * int(limit[:-1]) // 100 if limit.endswith("%") else int(limit)
    return max(number, 0 if kind == "Deployment" and str(rolling.get("maxSurge", "25%")) not in ("0", "0%") else 1)


def _container_troubles(containers: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(reason, message) of each container that waits, or that has ended and not well.

    What a container itself said when it ended stays out of the picture: nobody knows what is in that.
    """
    troubles = []
    for container in containers:
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason"):
            told = waiting.get("message", "") if any(word in waiting["reason"] for word in EXPLAINED) else ""
            troubles.append((waiting["reason"], told[:LONGEST_MESSAGE]))
        elif ended.get("exitCode"):
            troubles.append((ended.get("reason") or "Error", ""))
    return troubles


def _scheduling_trouble(pod: Mapping[str, Any]) -> list[tuple[str, str]]:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") != "False":
        return []
    return [(scheduled.get("reason") or "Unschedulable", (scheduled.get("message") or "")[:LONGEST_MESSAGE])]


def _last_end(container: Mapping[str, Any]) -> str:
    return ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""


def _condition(manifest: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = (manifest.get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item.get("type") == kind), {})


# --- keeping it ------------------------------------------------------------------------------------------------------


def seconds_of(moment: str) -> int:
    """UNIX seconds of a time like `2026-11-21T01:02:03Z`, 0 for what is none."""
    try:
        return int(datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp())
    except ValueError:
        return 0


def moment_of(seconds: float) -> str:
    """The other way round."""
    return time.strftime(TIMESTAMP, time.gmtime(seconds)) if seconds else ""


def _plain(record: Any) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(record).items()}


def _row(record: Any, shared: dict[str, int], taken: int) -> list[Any]:
    """The values of a record in the order of its fields; `shared` collects what several records have in common."""

    def once(value: Any) -> int:
        return shared.setdefault(json.dumps(value, sort_keys=True), len(shared))

    row: list[Any] = []
    for item in fields(record):
        value, kept = getattr(record, item.name), item.metadata.get("kept")
        if kept == "shared":
            row.append(once(value))
        elif kept == "series":
            series, hyphen, rest = value.rpartition("-")
            row.append([once(series + hyphen), rest])
        elif kept == "moment":
            row.append(taken - seconds_of(value) if value else None)
        else:
            row.append(int(value) if isinstance(value, bool) else value)
    return row


def _record(cls: type, row: list[Any], shared: list[Any], taken: int) -> Any:
    """The record that a row holds. Raises ValueError, IndexError, TypeError."""
    # What has a default came with a later schema: rows of before end earlier.
    needed = [item for item in fields(cls) if item.default is MISSING]
    if not len(needed) <= len(row) <= len(fields(cls)):
        raise ValueError(f"{len(row)} values for a {cls.__name__}")
    values: dict[str, Any] = {}
    for item, value in zip(fields(cls), row):
        kept = item.metadata.get("kept")
        if kept == "shared":
            common = shared[value]
            values[item.name] = tuple(common) if isinstance(common, list) else common
        elif kept == "series":
            values[item.name] = shared[value[0]] + value[1]
        elif kept == "moment":
            values[item.name] = "" if value is None else moment_of(taken - value)
        else:
            values[item.name] = bool(value) if item.type == "bool" else value
    return cls(**values)
