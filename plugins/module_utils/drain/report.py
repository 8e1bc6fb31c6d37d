# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told of a drain: lines of the journal while it works, the entry of each node in the result, the failure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils import node_events
from ansible_collections.evergreen.eks.plugins.module_utils.drain.blocks import Blocks, Pair, named
from ansible_collections.evergreen.eks.plugins.module_utils.drain.diagnosis import Diagnosis
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import Departure, NodeDrain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.plan import NOT_CORDONED, REFUSED, Plan
from ansible_collections.evergreen.eks.plugins.module_utils.drain.waits import WAITING
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, counted
from ansible_collections.evergreen.eks.plugins.module_utils.journal import DRAINING, NOT_DRAINED
from ansible_collections.evergreen.eks.plugins.module_utils.node_events import NodeEvents
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import FloorView, instance_and_node
from ansible_collections.evergreen.eks.plugins.module_utils.progress import (
    HEARTBEAT_SECONDS,
    about,
    progress_bar,
    seconds_left,
)
from ansible_collections.evergreen.eks.plugins.module_utils.telling import tell_floor
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

# How a node's drain ended: the words of C(nodes[].reason).
DRAINED = "drained"
NODE_GONE = "node_gone"
UNCORDONED = "uncordoned"
BLOCKED = "blocked"
TIMEOUT = "timeout"
STOPPED = "stopped"
NOT_STARTED = "not_started"

PODS_NAMED = 3
REMEDIES_NAMED = 2
REMEDIES = {
    REFUSED: "Decide about these pods: delete_emptydir_data, evict_unmanaged, protected_pods, or remove them yourself",
    NOT_CORDONED: "Cordon the node first (evergreen.eks.node_cordon), so that its pods do not come back",
    UNCORDONED: "Find out who uncordoned it, then cordon it and drain it again",
    BLOCKED: "{advice}. Then run again: it goes on from here",
    TIMEOUT: "{advice}; or give more time. Then run again: it goes on from here",
}


class Report:
    """Collects how each node ended, and writes the journal."""

    def __init__(self, plan: Plan, call: Call, events: NodeEvents | None = None) -> None:
        self._plan, self._call = plan, call
        self._events = events or NodeEvents(None, call)
        self._begun: dict[str, float] = {}
        self._outcomes: dict[str, str] = {}  # UID -> the last that was told of a pod that is waited for
        self._ended: dict[str, tuple[str, float]] = {}
        self._spared: set[tuple[str, str]] = set()
        self._blocks = Blocks(call)
        self._pods = 0  # that were to leave
        self._began_at = self._heartbeat_at = call.clock.now()
        self.changed = False

    # --- while it works

    def began(self) -> None:
        pods, count = self._left(), len(self._plan.drains)
        self._pods = pods
        if count:
            names = [drain.node.name for drain in self._plan.drains]
            where = self._plan.drains[0].where if count == 1 else {}
            what = "draining" if count == 1 else f"draining {count} nodes"
            text = f"{what}, {counted(pods, 'pod')} to leave"
            self._call.journal.write("drain_begun", text=text, nodes=names, pods=pods, **where)

    def taken_in_hand(self, drain: NodeDrain, now: float) -> None:
        self._begun[drain.node.name] = now
        self._stage(drain, DRAINING, pods=len(drain.leaving))
        text = f"{counted(len(drain.leaving), 'pod')} to leave, within their disruption budgets"
        self._events.tell(node_events.DRAINING, drain.node, text)

    def blocked(self, drain: NodeDrain, departure: Departure) -> None:
        self._blocks.met(drain, departure)

    def diagnosed(self, departures: Sequence[tuple[NodeDrain, Departure, Diagnosis]]) -> None:
        """Why pods have not left for a while."""
        for drain, departure, _diagnosis in departures:
            record = departure.record(self._call.clock.timestamp())
            self._call.journal.write("pod_diagnosed", **{**record, **drain.where})

    def ended(self) -> None:
        """All that could be done was done."""
        self._blocks.ended(self.undrained)

    def still_blocked(self, drains: Iterable[NodeDrain]) -> None:
        """At the end: what is in the way, however long it has been."""
        self._blocks.tell([(drain, one) for drain in drains for one in drain.leaving], 0.0)

    def waited(self, drain: NodeDrain) -> None:
        """Who is waited for instead of being evicted, and later what came of that; each is told once."""
        for wait in drain.waits:
            if self._outcomes.get(wait.pod.uid) == wait.outcome:
                continue
            self._outcomes[wait.pod.uid] = wait.outcome
            text = wait.outcome.replace("_", " ") if wait.outcome else wait.hold.message
            self._write(
                "pod_waited_for",
                f"{wait.pod}: {text}",
                **drain.where,
                pod=str(wait.pod),
                uid=wait.pod.uid,
                reason=wait.hold.reason,
                until=wait.hold.deadline,
                outcome=wait.outcome or WAITING,
            )

    def spared(self, drain: NodeDrain, departure: Departure, action: str, why: str) -> None:
        """A step of the escalation was due for a pod, and was not taken; said once."""
        if (departure.pod.uid, action) not in self._spared:
            self._spared.add((departure.pod.uid, action))
            fields = {**drain.where, "pod": str(departure.pod), "uid": departure.pod.uid, "action": action}
            self._write("pod_spared", f"{departure.pod} is not forced ({action}): {why}", **fields)

    def out_of_sight(self, drain: NodeDrain, why: str) -> None:
        text = f"its pods are out of sight, nothing is evicted there for now: {why}"
        self._write("out_of_sight", text, **drain.where)

    def in_sight_again(self, drain: NodeDrain) -> None:
        self._write("in_sight", "its pods are in sight again", **drain.where)

    def floor(self, before: FloorView | None, now: FloorView) -> None:
        """The floor began to hold us back, or ceased to."""
        tell_floor(self._call.journal, now)
        held_before, held = before is not None and before.slack < 0, now.slack < 0
        if held and not held_before:
            self._write("floor", f"no further evictions for now: {now.explain()}", holds=False)
        elif held_before and not held:
            self._write("floor", "enough nodes are Ready again, evictions go on", holds=True)

    def finished(self, drain: NodeDrain, reason: str, seconds: float) -> None:
        self.waited(drain)
        self._ended[drain.node.name] = (reason, seconds)
        drained = reason in (DRAINED, NODE_GONE)
        pods = counted(len(drain.evicted), "pod")
        if reason == DRAINED:
            text = f"drained, {pods} in {seconds:.0f} s"
        elif reason == NODE_GONE:
            text = "is gone, nothing is left to drain"
        else:
            text = f"not drained{_sentence('', self._entry(drain))}"
        if drain.abandoned:
            why = "there is no Node any more" if reason == NODE_GONE else drain.vitals.explain()
            told = f"{counted(len(drain.abandoned), 'pod')} given up: {why}"
            self._write("pods_abandoned", told, **drain.where, pods=drain.abandoned)
        if drain.volumes:
            self._write("volumes_pending", volumes_pending(drain.volumes), **drain.where, volumes=drain.volumes)
        facts = {"pods": len(drain.evicted), "seconds": round(seconds), "reason": reason, "text": text}
        far = self._so_far()
        self._stage(drain, DRAINED if drained else NOT_DRAINED, **facts, **far, pods_total=self._pods)
        if reason == DRAINED:
            self._events.tell(node_events.DRAINED, drain.node, f"{pods} were evicted in {seconds:.0f} s")

    def heartbeat(self, drains: Sequence[NodeDrain]) -> None:
        """Who has been in the way for a while; and now and then, when nothing else is told, how much is left."""
        for drain in drains:
            self.waited(drain)
        for pairs in self._blocks.look(drains):
            self._announce(pairs)
        clock, journal = self._call.clock, self._call.journal
        if clock.now() - max(journal.told_at, self._heartbeat_at) < HEARTBEAT_SECONDS:
            return
        self._heartbeat_at = clock.now()
        leaving = [(drain, departure) for drain in drains for departure in drain.leaving]
        far = self._so_far()
        blocked, why = self._blocks.summary(leaving)
        left = seconds_left(0, far["pods_done"], self._pods, clock.now() - self._began_at)
        parts = [f"{progress_bar(far['pods_done'], self._pods)} drained {far['nodes_done']}/{far['nodes']} nodes"]
        parts += [f"{far['pods_done']}/{self._pods} pods", why, *self._waits(drains, leaving)]
        parts += [f"{about(left)} left"] if left is not None else []
        estimate = {} if left is None else {"seconds_left": round(left)}
        text = ", ".join(part for part in parts if part)
        self._write("progress", text, **far, pods=self._pods, blocked=blocked, **estimate)

    def _announce(self, pairs: Sequence[Pair]) -> None:
        """On each Node: which of its pods are in the way, and why."""
        for drain in dict.fromkeys(drain for drain, _departure in pairs):
            mine = [(each, departure) for each, departure in pairs if each is drain]
            first = mine[0][1]
            diagnosis = first.diagnosis if first.explained else None
            why = f"{diagnosis.cause}; {diagnosis.remedy}" if diagnosis else first.brief("")["message"]
            self._events.tell(node_events.BLOCKED, drain.node, f"{named(mine)} cannot leave: {why}")

    def _waits(self, drains: Sequence[NodeDrain], leaving: Sequence[tuple[NodeDrain, Departure]]) -> list[str]:
        """What is waited for besides pods that are blocked."""
        found = []
        deadlines = [one.verdict.hold.deadline for _drain, one in leaving if one.on_hold and one.verdict.hold]
        stopping = [one for _drain, one in leaving if one.accepted or one.terminating_since is not None]
        if stopping:
            more = f" and {len(stopping) - 1} more" if len(stopping) > 1 else ""
            found.append(f"{stopping[0].pod}{more} stopping")
        if deadlines:
            last = f" until {max(deadlines)}" if all(deadlines) else ""
            found.append(f"{counted(len(deadlines), 'pod')} left to end by themselves{last}")
        volumes = sum(len(drain.volumes) for drain in drains)
        found += [f"{counted(volumes, 'volume')} of pods that are gone still attached"] if volumes else []
        unseen = [drain for drain in drains if drain.out_of_sight]
        if unseen:
            number = counted(len(unseen), "node")
            found.append(f"the pods of {number} out of sight, trying on: {unseen[0].out_of_sight}")
        return found

    def _left(self) -> int:
        """Pods that are still to leave, on all nodes of the call."""
        return sum(len(drain.leaving) for drain in self._plan.drains if drain.node.name not in self._ended)

    def _so_far(self) -> dict[str, int]:
        """How far the whole call is; pods that have landed since it began are more to leave."""
        left = self._left()
        self._pods = max(self._pods, left)
        return {"nodes_done": len(self._ended), "nodes": len(self._plan.drains), "pods_done": self._pods - left}

    def _stage(self, drain: NodeDrain, stage: str, **facts: Any) -> None:
        self._call.journal.write("node_stage", to=stage, zone=drain.node.zone, **drain.where, **facts)

    @property
    def undrained(self) -> list[NodeDrain]:
        """The nodes that were given up with pods on them."""
        return [
            drain for drain in self._plan.drains if self._ended.get(drain.node.name, ("",))[0] in (BLOCKED, TIMEOUT)
        ]

    # --- the end

    def results(self) -> dict[str, dict[str, Any]]:
        """The entry of every node that was named."""
        entries = {drain.node.name: self._entry(drain) for drain in self._plan.drains}
        return {**entries, **self._plan.missing}

    def refused(self) -> dict[str, dict[str, Any]]:
        """The entries when nothing was begun, because some nodes must not be drained."""
        for drain in self._plan.refused:
            self._ended[drain.node.name] = (REFUSED, 0.0)
        for drain in self._plan.not_cordoned:
            self._ended.setdefault(drain.node.name, (NOT_CORDONED, 0.0))
        return self.results()

    def _entry(self, drain: NodeDrain) -> dict[str, Any]:
        now, name = self._call.clock.now(), drain.node.name
        unfinished = (STOPPED, now - self._begun[name]) if name in self._begun else (NOT_STARTED, 0.0)
        reason, seconds = self._ended.get(name, unfinished)
        result = drain.result(self._call.clock.timestamp())
        drained = reason in (DRAINED, NODE_GONE)
        if reason == REFUSED:
            result["blocked"] = [entry.record(self._call.clock.timestamp()) for entry in drain.refused]
        elif drained or reason in (NOT_STARTED, NOT_CORDONED):
            result["blocked"] = []
        message = {NODE_GONE: "the Node is gone", NOT_CORDONED: "the node is not cordoned"}.get(reason, "")
        if reason == DRAINED and drain.abandoned:
            message = f"nobody tells what becomes of the pods that were given up: {drain.vitals.explain()}"
        if reason == TIMEOUT and drain.out_of_sight:
            message = f"its pods were out of sight in the end: {drain.out_of_sight}"
        return {**result, "drained": drained, "reason": reason, "message": message, "seconds": round(seconds, 1)}

    def _write(self, kind: str, text: str, **fields: Any) -> None:
        self._call.journal.write(kind, text=text, **fields)


def volumes_pending(volumes: Sequence[str]) -> str:
    """`2 volumes are still attached, so pods that need them elsewhere wait: pvc-1, pvc-2`"""
    are, them = ("volume is", "it") if len(volumes) == 1 else ("volumes are", "them")
    more = f" and {len(volumes) - PODS_NAMED} more" if len(volumes) > PODS_NAMED else ""
    named = f"{', '.join(volumes[:PODS_NAMED])}{more}"
    return f"{len(volumes)} {are} still attached, so pods that need {them} elsewhere wait: {named}"


def warnings_of(nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is not as it should be with nodes that count as drained."""
    return [
        f"{name}: {volumes_pending(entry['volumes_pending'])}"
        for name, entry in nodes.items()
        if entry["volumes_pending"]
    ]


def carried(nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The nodes that were tried and are not empty: with C(on_timeout=carry) somebody else goes on with them."""
    return [name for name, entry in nodes.items() if entry["reason"] in (BLOCKED, TIMEOUT)]


def failure(
    nodes: Mapping[str, Mapping[str, Any]], changed: bool, passed_on: Sequence[str] = ()
) -> EvergreenError | None:
    """The error for results in which a node is not drained, nor ``passed_on``; None when there is none."""
    undrained = {name: entry for name, entry in nodes.items() if not entry["drained"] and name not in passed_on}
    if not undrained:
        return None
    reasons = [entry["reason"] for entry in undrained.values()]
    reason = next((word for word in REMEDIES if word in reasons), BLOCKED)
    named = {name: entry for name, entry in undrained.items() if entry["reason"] != NOT_STARTED}
    message = "; ".join(_sentence(name, entry) for name, entry in list(named.items())[:PODS_NAMED])
    more = len(named) - PODS_NAMED
    return EvergreenError(
        f"{len(undrained)} of {len(nodes)} nodes are not drained: {message}"
        + (f"; and {more} more" if more > 0 else ""),
        reason=reason,
        remedy=REMEDIES[reason].replace("{advice}", _advice(undrained.values())),
        nodes=dict(nodes),
        changed=changed,
    )


def _sentence(name: str, entry: Mapping[str, Any]) -> str:
    """One node that is not drained, and the first of the pods that are in the way; of no name, what follows it."""
    node = instance_and_node(entry["instance_id"], name) if entry["instance_id"] and name else name
    if entry["reason"] == NOT_CORDONED:
        return f"{node} is not cordoned"
    if entry["reason"] == UNCORDONED:
        return f"{node} was uncordoned by somebody while it was drained"
    after = f" after {entry['seconds']:.0f} s" if entry["seconds"] else ""
    blocked = entry["blocked"]
    pods = ", ".join(f"{item['pod']} ({_obstacle(item)})" for item in blocked[:PODS_NAMED])
    more = f" and {len(blocked) - PODS_NAMED} more" if len(blocked) > PODS_NAMED else ""
    reasons = [text for text in (f"{pods}{more}", entry["message"].rstrip(".")) if text]
    return f"{node}{after}: {'; '.join(reasons) or 'it could not be seen whether it is empty'}"


def _advice(entries: Iterable[Mapping[str, Any]]) -> str:
    """What an operator would do about the first few of the pods that are in the way, everything once: first what has to
    be done, then what has only to be waited for."""
    every = dict.fromkeys(item["remedy"] for entry in entries for item in entry["blocked"])
    remedies = sorted(every, key=lambda remedy: remedy.startswith("wait"))
    if not remedies:
        return "Find out what is in the way"
    named, more = "; ".join(remedies[:REMEDIES_NAMED]), len(remedies) - REMEDIES_NAMED
    return named[:1].upper() + named[1:] + (f"; and {more} more (blocked[].remedy)" if more > 0 else "")


def _obstacle(record: Mapping[str, Any]) -> str:
    budget = f"budget {record['budget']}: " if record["budget"] and record["budget"] not in record["message"] else ""
    return budget + record["message"].rstrip(".")
