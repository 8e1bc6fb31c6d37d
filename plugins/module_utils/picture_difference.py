# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is different between two pictures of a cluster, as data and as text for a ticket. Pure decisions.

A node is the same only where its instance is: names are made of addresses, which are used again. Where pods went is
told for each workload, since a pod that moves gets another name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.gate import Terms, Worsening, compare, object_of
from ansible_collections.evergreen.eks.plugins.module_utils.naming import short_name
from ansible_collections.evergreen.eks.plugins.module_utils.picture import (
    NodeState,
    Picture,
    PodState,
    WorkloadState,
    seconds_of,
)

NAMED = 50  # so many lines of one kind a ticket takes, and so many names a line
# A pod of it is on each node that there is: it moves with the nodes.
EVERYWHERE = "DaemonSet "


@dataclass(frozen=True)
class Change:
    """One property of one thing, before and after, in words."""

    object: str
    what: str
    was: str
    now: str

    def as_data(self) -> dict[str, str]:
        return {"object": self.object, "what": self.what, "was": self.was, "is": self.now}


@dataclass(frozen=True)
class Move:
    """The nodes that the pods of one workload were on, and are on."""

    object: str
    was: tuple[str, ...]
    now: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        return {"object": self.object, "was": list(self.was), "is": list(self.now)}


@dataclass(frozen=True)
class Difference:
    """All that is different. `versions`: nodes of each version of the kubelet, (before, after)."""

    before: Picture
    after: Picture
    versions: dict[str, tuple[int, int]]
    nodes_gone: tuple[NodeState, ...]
    nodes_new: tuple[NodeState, ...]
    nodes: tuple[Change, ...]
    workloads_gone: tuple[WorkloadState, ...]
    workloads_new: tuple[WorkloadState, ...]
    workloads: tuple[Change, ...]
    moved: tuple[Move, ...]
    restarts: tuple[tuple[str, int], ...]
    worse: tuple[Worsening, ...]
    better: tuple[Worsening, ...]

    @property
    def nothing(self) -> bool:
        """Whether nothing is different, apart from what comes and goes by itself: Ready or not, restarts."""
        same_version = self.before.version == self.after.version
        lists = (self.nodes_gone, self.nodes_new, self.workloads_gone, self.workloads_new, self.workloads, self.moved)
        return same_version and not any((*lists, self.nodes, self.worse, self.better))

    def as_data(self) -> dict[str, Any]:
        """For the result."""
        return {
            "taken": {"was": self.before.taken, "is": self.after.taken},
            "version": {"was": self.before.version, "is": self.after.version},
            "numbers": {"was": self.before.numbers, "is": self.after.numbers},
            "node_versions": {name: {"was": was, "is": now} for name, (was, now) in self.versions.items()},
            "nodes_gone": [node.name for node in self.nodes_gone],
            "nodes_new": [node.name for node in self.nodes_new],
            "nodes": [change.as_data() for change in self.nodes],
            "workloads_gone": [name_of(workload) for workload in self.workloads_gone],
            "workloads_new": [name_of(workload) for workload in self.workloads_new],
            "workloads": [change.as_data() for change in self.workloads],
            "moved": [move.as_data() for move in self.moved],
            "restarts": [{"object": name, "more": more} for name, more in self.restarts],
            "worse": [item.as_data() for item in self.worse],
            "better": [{"kind": item.kind, "object": item.object, "was": item.now} for item in self.better],
        }

    def as_text(self, cluster: str) -> str:
        """For a ticket: plain lines, which a reader of Markdown shows well, too."""
        was, now = self.before.numbers, self.after.numbers
        minutes = max(0, seconds_of(self.after.taken) - seconds_of(self.before.taken)) // 60
        sections = [
            [f"Cluster {cluster}: {self.before.taken} -> {self.after.taken} ({minutes} min)"],
            [f"Control plane: {_arrow(self.before.version, self.after.version)}"] if self.after.version else [],
            [
                f"Nodes ready: {_of(was, 'nodes', 'ready')} -> {_of(now, 'nodes', 'ready')}",
                *_listed(self._node_lines()),
            ],
            [f"Workloads whole: {_of(was, 'workloads', 'whole')} -> {_of(now, 'workloads', 'whole')}"],
            _listed(self._workload_lines()),
            [f"Pods ready: {_of(was, 'pods', 'ready')} -> {_of(now, 'pods', 'ready')}", *_listed(self._move_lines())],
            _titled("Restarts", [f"{name}: {more} more" for name, more in self.restarts]),
            _titled("Better", [f"{item.object}: it was {item.now}" for item in self.better]),
            _titled("Worse", [item.message for item in self.worse]) or ["Worse: nothing"],
        ]
        return "".join(f"{line}\n" for section in sections for line in section)

    def _node_lines(self) -> list[str]:
        lines = [f"{version or 'unknown version'}: {was} -> {now}" for version, (was, now) in self.versions.items()]
        for title, nodes in (("gone", self.nodes_gone), ("new", self.nodes_new)):
            lines += [f"{title}: {_names(node.name for node in nodes)}"] if nodes else []
        return lines + [_told(change) for change in self.nodes]

    def _workload_lines(self) -> list[str]:
        lines = []
        for title, workloads in (("gone", self.workloads_gone), ("new", self.workloads_new)):
            lines += [f"{title}: {name_of(workload)}" for workload in workloads]
        return lines + [_told(change) for change in self.workloads]

    def _move_lines(self) -> list[str]:
        return [
            f"{move.object}: {_names(move.was) or 'nowhere'} -> {_names(move.now) or 'nowhere'}" for move in self.moved
        ]


def difference(before: Picture, after: Picture, terms: Terms | None = None) -> Difference:
    """What is different in `after`. `terms` say what counts as worse; what has just begun counts, too, without them."""
    terms = terms or Terms(settle_seconds=0)
    nodes_then, nodes_now = ({(node.name, node.instance_id): node for node in one.nodes} for one in (before, after))
    work_then, work_now = ({name_of(one): one for one in picture.workloads} for picture in (before, after))
    return Difference(
        before=before,
        after=after,
        versions=_versions(before, after),
        nodes_gone=_without(nodes_then, nodes_now),
        nodes_new=_without(nodes_now, nodes_then),
        nodes=tuple(
            change
            for key, node in sorted(nodes_now.items())
            if key in nodes_then
            for change in _node(nodes_then[key], node)
        ),
        workloads_gone=_without(work_then, work_now),
        workloads_new=_without(work_now, work_then),
        workloads=tuple(
            change
            for key, one in sorted(work_now.items())
            if key in work_then
            for change in _workload(work_then[key], one)
        ),
        moved=_moves(before, after),
        restarts=_restarts(before, after),
        worse=tuple(compare(before, after, terms)),
        better=tuple(compare(after, before, terms)),
    )


def name_of(workload: WorkloadState) -> str:
    """As its pods' `object_of`: `Deployment shop/web`."""
    return f"{workload.kind} {workload.namespace}/{workload.name}"


def short_image(image: str) -> str:
    """An image without its registry and path: `kube-proxy:v1.33.0-eksbuild.2`."""
    return image.rpartition("/")[2]


# --- the parts -------------------------------------------------------------------------------------------------------


def _versions(before: Picture, after: Picture) -> dict[str, tuple[int, int]]:
    was, now = (Counter(node.version for node in picture.nodes) for picture in (before, after))
    return {version: (was[version], now[version]) for version in sorted({*was, *now})}


def _without(some: dict[Any, Any], others: dict[Any, Any]) -> tuple[Any, ...]:
    return tuple(some[key] for key in sorted(some.keys() - others.keys()))


def _node(then: NodeState, now: NodeState) -> Iterable[Change]:
    properties: list[tuple[str, Callable[[NodeState], str]]] = [
        ("state", lambda node: "Ready" if node.ready else "not Ready"),
        ("scheduling", lambda node: "cordoned" if node.cordoned else "schedulable"),
        ("version", lambda node: node.version),
        ("system", lambda node: node.system),
    ]
    return _changes(f"Node {now.name}", properties, then, now)


def _workload(then: WorkloadState, now: WorkloadState) -> Iterable[Change]:
    properties: list[tuple[str, Callable[[WorkloadState], str]]] = [
        ("pods", lambda one: f"{one.ready} of {one.wanted} Ready"),
        ("images", lambda one: ", ".join(map(short_image, one.images))),
    ]
    return _changes(name_of(now), properties, then, now)


def _changes(
    name: str, properties: Sequence[tuple[str, Callable[[Any], str]]], then: Any, now: Any
) -> Iterable[Change]:
    """What a picture of the first schema did not hold is no change."""
    for what, read in properties:
        was, current = read(then), read(now)
        if was and was != current:
            yield Change(name, what, was, current)


def _by_object(picture: Picture) -> dict[str, list[PodState]]:
    """The pods that run, or are to run, of each workload; alone, each by itself."""
    found: defaultdict[str, list[PodState]] = defaultdict(list)
    for pod in picture.pods:
        if pod.phase not in ("Succeeded", "Failed") and not pod.leaving:
            found[object_of(pod)].append(pod)
    return found


def _moves(before: Picture, after: Picture) -> tuple[Move, ...]:
    then, now = _by_object(before), _by_object(after)
    moves = []
    for name in sorted(then.keys() & now.keys()):
        was, current = (tuple(sorted(pod.node for pod in pods[name] if pod.node)) for pods in (then, now))
        if set(was) != set(current) and not name.startswith(EVERYWHERE):
            moves.append(Move(name, was, current))
    return tuple(moves)


def _restarts(before: Picture, after: Picture) -> tuple[tuple[str, int], ...]:
    known = {pod.uid: pod.restarts for pod in before.pods}
    risen: Counter[str] = Counter()
    for pod in after.pods:
        risen[object_of(pod)] += max(0, pod.restarts - known.get(pod.uid, 0))
    return tuple(sorted((name, more) for name, more in risen.items() if more))


# --- words -----------------------------------------------------------------------------------------------------------


def _arrow(was: str, now: str) -> str:
    return now if was == now else f"{was or 'unknown'} -> {now}"


def _of(numbers: dict[str, int], kind: str, good: str) -> str:
    return f"{numbers[f'{kind}_{good}']} of {numbers[kind]}"


def _told(change: Change) -> str:
    name = change.object
    if name.startswith("Node "):
        name = short_name(name.removeprefix("Node "))
    return f"{name}: {change.was} -> {change.now or 'nothing'}"


def _names(nodes: Iterable[str]) -> str:
    """Each once, and how many times where that is more than once."""
    count = Counter(map(short_name, nodes))
    names = [name if number == 1 else f"{name} ({number})" for name, number in sorted(count.items())]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _listed(lines: Sequence[str]) -> list[str]:
    shown = [f"- {line}" for line in lines[:NAMED]]
    return shown + ([f"- and {counted(len(lines) - NAMED, 'more line')}"] if len(lines) > NAMED else [])


def _titled(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title}:", *_listed(lines)] if lines else []
