# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has become worse between two pictures of a cluster, and whether that is more than is allowed. Pure decisions.

One thing is named once: a node, a workload with all of its pods, or a pod that has none. What was bad in the first
picture is not held against anybody; a pod that moved is known by its workload, whatever it is called now.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.label_selector import LabelSelector
from ansible_collections.evergreen.eks.plugins.module_utils.picture import (
    NodeState,
    Picture,
    PodState,
    WorkloadState,
    moment_of,
    seconds_of,
)

# What may have become of a thing, the worst first, and how that is said.
KINDS = {
    "node_not_ready": "not Ready",
    "pod_crash_loop": "in a crash loop",
    "pod_image": "without image",
    "pod_config": "without configuration",
    "pod_error": "in error",
    "pod_restarts": "restarting again and again",
    "workload_short": "short of pods",
    "pod_pending": "Pending",
}
RANK = {kind: number for number, kind in enumerate(KINDS)}
# Reasons that the kubelet gives: pkg/kubelet/container/sync_result.go and pkg/kubelet/images/types.go; OOMKilled, Error
# and the like come from the container runtime. Any other reason of a pod that has not started is a matter of time.
KIND_OF_REASON = {
    **dict.fromkeys(["CrashLoopBackOff"], "pod_crash_loop"),
    **dict.fromkeys(["ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull"], "pod_image"),
    **dict.fromkeys(["InvalidImageName", "ImageInspectError", "SignatureValidationFailed"], "pod_image"),
    **dict.fromkeys(["CreateContainerConfigError", "CreateContainerError"], "pod_config"),
    **dict.fromkeys(["Error", "OOMKilled", "RunContainerError", "StartError", "ContainerCannotRun"], "pod_error"),
    **dict.fromkeys(["PostStartHookError", "PreStartHookError", "PreCreateHookError"], "pod_error"),
}
# Whose finished pods are replaced: what counts then is how many of them are Ready.
REPLACED_BY = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController")
# Pods that failed because their node went, or had no room: their Jobs make new ones (pkg/kubelet/eviction,
# pkg/kubelet/nodeshutdown, pkg/kubelet/preemption).
DISRUPTED = {"Evicted", "Terminated", "NodeShutdown", "NodeAffinity", "NodeLost", "Preempting"}
JOBS = ("Job ", "CronJob ")
# A container that crashes is restarted after five minutes at the latest, and is trusted again once it has run for ten
# (pkg/kubelet, MaxContainerBackOff and twice that): one that has ended within so many seconds is in a crash loop.
UNSTEADY_SECONDS = 600
# Restarts before are a rate only over a time that is long enough to tell.
SHORTEST_HISTORY_SECONDS = 3600
PODS_IN_MESSAGE = 3

Complaint = tuple[str, PodState]


@dataclass(frozen=True)
class Ignored:
    """What does not count: that of the namespaces of this pattern (`*` and `?`) which has these labels."""

    namespace: str = "*"
    selector: LabelSelector = LabelSelector()

    def covers(self, item: PodState | WorkloadState) -> bool:
        return fnmatchcase(item.namespace, self.namespace) and self.selector.matches(item.labels)


@dataclass(frozen=True)
class Terms:
    """What is allowed.

    `max_new_unhealthy` things may be worse, but none in a `critical` namespace. What has been bad for less than
    `settle_seconds` is not worse yet. `max_restarts`: by how many a pod's restarts may rise, beyond its pace before.
    """

    max_new_unhealthy: int = 0
    settle_seconds: float = 120.0
    max_restarts: int = 3
    critical: tuple[str, ...] = ("kube-system",)
    ignored: tuple[Ignored, ...] = ()

    def exceeded(self, worse: Sequence[Worsening]) -> bool:
        """Whether that is more than is allowed."""
        return any(item.critical for item in worse) or len(worse) > self.max_new_unhealthy


@dataclass(frozen=True)
class Worsening:
    """One thing that has become worse. `kind` is one of KINDS; `was` and `now` are words.

    `settled`: it has lasted for long enough to count. `marks`: by what it is known from one look to the next.
    """

    kind: str
    object: str
    namespace: str
    was: str
    now: str
    since: str
    message: str
    settled: bool
    marks: tuple[str, ...]
    critical: bool = False
    pods: tuple[str, ...] = field(default=())

    def as_data(self) -> dict[str, Any]:
        """For the result."""
        names = ("kind", "object", "namespace", "was", "since", "message", "settled", "critical")
        return {**{name: getattr(self, name) for name in names}, "is": self.now, "pods": list(self.pods)}


def compare(before: Picture, now: Picture, terms: Terms, seen: Mapping[str, float] | None = None) -> list[Worsening]:
    """What is worse now than before, the worst first: critical namespaces, then by kind, then by name.

    `seen`: for how many seconds each mark has been among what was worse, for those who look again and again: the API
    does not say of everything since when it is as it is.
    """
    comparison = _Comparison(_without_ignored(before, terms), _without_ignored(now, terms), terms, seen or {})
    nodes = comparison.nodes()
    pods = {item.object: item for item in comparison.pods()}
    short = {item.object: item for item in comparison.workloads({name for item in nodes for name in item.marks})}
    # A workload whose pods are ill is short of pods for that reason: it is said once.
    both = {name: _merged(item, short[name]) for name, item in pods.items() if name in short}
    worse = [*nodes, *{**short, **pods, **both}.values()]
    return sorted(worse, key=lambda item: (not item.critical, RANK[item.kind], item.object))


def remembered(seen: Mapping[str, float], worse: Iterable[Worsening]) -> dict[str, float]:
    """What is to be kept of `seen` for the next look: the marks that are still there, and the new ones."""
    return {mark: seen.get(mark, 0.0) for item in worse for mark in item.marks}


class _Comparison:
    """Two pictures, looked at kind by kind."""

    def __init__(self, before: Picture, now: Picture, terms: Terms, seen: Mapping[str, float]) -> None:
        self.before = before
        self.now = now
        self.terms = terms
        self.seen = seen
        self.at = seconds_of(now.taken)
        # The API server's clock, as far as the picture tells it: never ahead of it, whatever our own says.
        self.newest = max((seconds_of(item.created) for item in (*now.pods, *now.nodes)), default=0)
        self.elapsed = max(0, self.at - seconds_of(before.taken))
        self.nodes_before = {node.name: node for node in before.nodes}

    def nodes(self) -> list[Worsening]:
        """Nodes that are not Ready and were, or are new. A cordoned one is being taken out: that is no surprise."""
        worse = []
        for node in self.now.nodes:
            known = self.nodes_before.get(node.name)
            if not (node.ready or node.cordoned) and (known is None or known.ready):
                worse.append(self._node(node, known))
        return worse

    def _node(self, node: NodeState, known: NodeState | None) -> Worsening:
        was = "Ready" if known else "not there"
        name = f"{node.name} ({node.instance_id})" if node.instance_id else node.name
        return Worsening(
            kind="node_not_ready",
            object=f"Node {node.name}",
            namespace="",
            was=was,
            now=KINDS["node_not_ready"],
            since=node.since,
            message=f"Node {name} is not Ready since {node.since}; it was {was} in the picture",
            settled=self._settled(node.since, node.name),
            marks=(node.name,),
        )

    def pods(self) -> list[Worsening]:
        """Workloads, and pods without one, of which more pods are ill than before."""
        then, current = self._by_object(self.before.pods), self._by_object(self.now.pods)
        worse = []
        for name, pods in current.items():
            siblings = then.get(name, [])
            ill = self._complaints_now(not_made_up_for(pods), siblings)
            was_ill = self._complaints_before(not_made_up_for(siblings)) if ill else []
            # What a Job has failed with stays, one pod for each attempt: one says as much as all of them.
            excused = name.startswith(JOBS) and bool(_split(was_ill)[0])
            added = [] if excused else newly_ill(ill, was_ill)
            if added:
                worse.append(self._pods(name, added, len(was_ill)))
        return worse

    @staticmethod
    def _by_object(pods: Iterable[PodState]) -> dict[str, list[PodState]]:
        groups: defaultdict[str, list[PodState]] = defaultdict(list)
        for pod in pods:
            groups[object_of(pod)].append(pod)
        return groups

    def _complaints_now(self, pods: Iterable[PodState], siblings: Sequence[PodState]) -> list[Complaint]:
        """What is wrong with each pod that something is wrong with."""
        restarts = {pod.uid: pod.restarts for pod in siblings}
        pace = max((self._pace(pod) for pod in siblings), default=0.0)
        tolerated = self.terms.max_restarts + pace * self.elapsed
        complaints = []
        for pod in pods:
            kind = ailment(pod)
            risen = pod.restarts - restarts.get(pod.uid, 0)
            if kind in ("", "pod_pending") and risen > tolerated and _lives(pod):
                kind = "pod_restarts"
            if kind:
                complaints.append((kind, pod))
        return complaints

    def _pace(self, pod: PodState) -> float:
        """Restarts a second, over its life until the first picture."""
        age = seconds_of(self.before.taken) - seconds_of(pod.created)
        return pod.restarts / max(age, SHORTEST_HISTORY_SECONDS)

    def _complaints_before(self, pods: Iterable[PodState]) -> list[Complaint]:
        """The same then. Between two crashes a container runs: that does not make it well."""
        since = moment_of(seconds_of(self.before.taken) - UNSTEADY_SECONDS)
        complaints = []
        for pod in pods:
            kind = ailment(pod)
            if kind in ("", "pod_pending") and pod.restarted > since and _lives(pod):
                kind = "pod_restarts"
            if kind:
                complaints.append((kind, pod))
        return complaints

    def _pods(self, name: str, added: Sequence[Complaint], was_ill: int) -> Worsening:
        kind = added[0][0]
        ill = [pod for _kind, pod in added]
        since = min(self._since(pod) for pod in ill)
        critical = ill[0].namespace in self.terms.critical
        was = f"{counted(was_ill, 'pod')} ill" if was_ill else "well"
        verb = "had" if was_ill else "was"
        reasons = list(dict.fromkeys(reason for pod in ill for reason in pod.reasons)) or [KINDS[kind]]
        if kind == "pod_restarts":
            reasons = [counted(max(pod.restarts for pod in ill), "restart")]
        told = self._told(name, kind, ill, reasons)
        return Worsening(
            kind=kind,
            object=name,
            namespace=ill[0].namespace,
            was=was,
            now=f"{counted(len(ill), 'pod')} more: {', '.join(reasons)}",
            since=since,
            message=f"{told} since {since}{self._where(ill)}; it {verb} {was} in the picture",
            settled=kind == "pod_restarts" or any(self._settled(self._since(pod), pod.uid) for pod in ill),
            marks=tuple(pod.uid for pod in ill),
            critical=critical,
            pods=tuple(f"{pod.namespace}/{pod.name}" for pod in ill),
        )

    @staticmethod
    def _told(name: str, kind: str, ill: Sequence[PodState], reasons: Sequence[str]) -> str:
        """Who is ill, and why."""
        details = next((pod.message for pod in ill if pod.message), "")
        why = f"{', '.join(reasons)}: {details}" if details else ", ".join(reasons)
        state = KINDS[kind] if KINDS[kind] in reasons else f"{KINDS[kind]} ({why})"
        if name.startswith("Pod "):
            return f"{name} is {state}"
        names = ", ".join(pod.name for pod in ill[:PODS_IN_MESSAGE])
        more = f" and {len(ill) - PODS_IN_MESSAGE} more" if len(ill) > PODS_IN_MESSAGE else ""
        return f"{name} has {counted(len(ill), 'pod')} ({names}{more}) {state}"

    def _where(self, ill: Sequence[PodState]) -> str:
        """That all of them are on new nodes is the first thing to know in a rollout."""
        nodes = {pod.node for pod in ill}
        return ", on new nodes" if "" not in nodes and not nodes & set(self.nodes_before) else ""

    def workloads(self, ill_nodes: set[str]) -> list[Worsening]:
        """Workloads that lack more pods than before, measured by what they want now.

        Pods on a node that is named itself do not count, and neither do as many as an update may take away.
        """
        then = {(item.owner, item.namespace): item for item in self.before.workloads}
        there = Counter((pod.owner, pod.namespace) for pod in self.now.pods if pod.node in ill_nodes and not pod.ready)
        worse = []
        for workload in self.now.workloads:
            known = then.get((workload.owner, workload.namespace))
            if known is None:
                continue
            allowance = workload.may_lack if workload.updating else 0
            excused = known.lacking + allowance + there[workload.owner, workload.namespace]
            if workload.lacking > excused:
                worse.append(self._workload(workload, known))
        return worse

    def _workload(self, workload: WorkloadState, known: WorkloadState) -> Worsening:
        name = f"{workload.kind} {workload.namespace}/{workload.name}"
        was, is_now = (f"{item.ready} of {item.wanted} Ready" for item in (known, workload))
        since = moment_of(self.at - self.seen.get(name, 0.0))
        return Worsening(
            kind="workload_short",
            object=name,
            namespace=workload.namespace,
            was=was,
            now=is_now,
            since=since,
            message=f"{name} has {is_now}; it had {was} in the picture",
            settled=self._settled(since, name),
            marks=(name,),
            critical=workload.namespace in self.terms.critical,
        )

    def _since(self, pod: PodState) -> str:
        """Since when the pod is ill, as far as anybody knows."""
        return pod.since or moment_of(self.at - self.seen.get(pod.uid, 0.0))

    def _settled(self, since: str, mark: str) -> bool:
        lasted = self.newest - seconds_of(since) if since else 0
        return max(lasted, self.seen.get(mark, 0.0)) >= self.terms.settle_seconds


def object_of(pod: PodState) -> str:
    """What a pod counts for: its workload, `Deployment shop/web`, or itself, `Pod shop/web`."""
    kind, _slash, name = pod.owner.partition("/")
    return f"{kind} {pod.namespace}/{name}" if name else f"Pod {pod.namespace}/{pod.name}"


def ailment(pod: PodState) -> str:
    """What is wrong with a pod, one of KINDS; "" where nothing is, or where it is on its way out anyway."""
    if pod.leaving or pod.phase == "Succeeded":
        return ""
    kinds = [KIND_OF_REASON[reason] for reason in pod.reasons if reason in KIND_OF_REASON]
    if pod.phase == "Failed":
        excused = pod.owner.startswith(REPLACED_BY) or DISRUPTED.intersection(pod.reasons)
        return "pod_error" if kinds and not excused else ""
    if kinds:
        return min(kinds, key=RANK.__getitem__)
    return "pod_pending" if pod.phase == "Pending" else ""


def not_made_up_for(pods: Sequence[PodState]) -> list[PodState]:
    """The pods of one object, without those that failed and were followed by one that did better."""
    better = max((pod.created for pod in pods if pod.phase == "Succeeded" or pod.ready), default="")
    return [pod for pod in pods if pod.phase != "Failed" or pod.created >= better]


def newly_ill(ill: Sequence[Complaint], was_ill: Sequence[Complaint]) -> list[Complaint]:
    """Those that have been added, the worst first.

    One that was broken before excuses any that is ill now; one that was Pending excuses only one that is Pending.
    """
    broken, pending = _split(ill)
    broken_before, pending_before = _split(was_ill)
    spare = max(0, len(broken_before) - len(broken))
    known = {pod.uid for _kind, pod in was_ill}

    def added(complaints: Sequence[Complaint], number: int) -> list[Complaint]:
        # Which of them were added nobody can tell: those that nobody knows from before are likelier.
        ordered = sorted(complaints, key=lambda item: (item[1].uid in known, RANK[item[0]], item[1].name))
        return sorted(ordered[: max(0, number)], key=lambda item: RANK[item[0]])

    return [
        *added(broken, len(broken) - len(broken_before)),
        *added(pending, len(pending) - len(pending_before) - spare),
    ]


def _lives(pod: PodState) -> bool:
    return pod.phase not in ("Succeeded", "Failed") and not pod.leaving


def _split(complaints: Iterable[Complaint]) -> tuple[list[Complaint], list[Complaint]]:
    """(broken, Pending)"""
    broken: list[Complaint] = []
    pending: list[Complaint] = []
    for complaint in complaints:
        (pending if complaint[0] == "pod_pending" else broken).append(complaint)
    return broken, pending


def _merged(pods: Worsening, short: Worsening) -> Worsening:
    """The pods' worsening, which lasts for as long as the workload has been short for it."""
    return replace(
        pods,
        settled=pods.settled or short.settled,
        since=min(pods.since, short.since),
        message=f"{pods.message} (now it has {short.now})",
        marks=(*pods.marks, *short.marks),
    )


def _without_ignored(picture: Picture, terms: Terms) -> Picture:
    def counts(item: PodState | WorkloadState) -> bool:
        return not any(ignored.covers(item) for ignored in terms.ignored)

    if not terms.ignored:
        return picture
    return replace(
        picture, pods=tuple(filter(counts, picture.pods)), workloads=tuple(filter(counts, picture.workloads))
    )
