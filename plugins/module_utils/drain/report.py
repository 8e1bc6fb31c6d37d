# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told of a drain: lines of the journal while it works, the entry of each node in the result, the failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain.diagnosis import Diagnosis
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import Departure, NodeDrain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.plan import NOT_CORDONED, REFUSED, Plan
from ansible_collections.evergreen.eks.plugins.module_utils.drain.waits import WAITING
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, counted
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import FloorView, instance_and_node
from ansible_collections.evergreen.eks.plugins.module_utils.progress import HEARTBEAT_SECONDS
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

    def __init__(self, plan: Plan, call: Call) -> None:
        self._plan, self._call = plan, call
        self._begun: dict[str, float] = {}
        self._outcomes: dict[str, str] = {}  # UID -> the last that was told of a pod that is waited for
        self._ended: dict[str, tuple[str, float]] = {}
        self._spared: set[tuple[str, str]] = set()
        self._next_heartbeat = call.clock.now() + HEARTBEAT_SECONDS
        self.changed = False

    # --- while it works

    def began(self) -> None:
        pods = sum(len(drain.leaving) for drain in self._plan.drains)
        count = len(self._plan.drains)
        if count:
            text = f"draining {count} node{'s' if count > 1 else ''}: {pods} pods are to leave"
            self._write("drain_began", text, nodes=[drain.node.name for drain in self._plan.drains])

    def taken_in_hand(self, drain: NodeDrain, now: float) -> None:
        self._begun[drain.node.name] = now

    def blocked(self, drain: NodeDrain, departure: Departure) -> None:
        record = departure.brief(self._call.clock.timestamp())
        text = f"{departure.pod} cannot leave {drain.node.name} now: {_obstacle(record)}"
        self._write("pod_blocked", text, node=drain.node.name, **record)

    def diagnosed(self, departures: Sequence[tuple[NodeDrain, Departure, Diagnosis]]) -> None:
        """Why pods have not left for a while. One event each, and one line for all that are blocked by the same."""
        alike = Counter((diagnosis.kind, diagnosis.remedy) for _drain, _departure, diagnosis in departures)
        for drain, departure, diagnosis in departures:
            others = alike.pop((diagnosis.kind, diagnosis.remedy), 0) - 1
            text = {"text": diagnosis.line(others)} if others >= 0 else {}
            record = departure.record(self._call.clock.timestamp())
            self._call.journal.write("pod_diagnosed", **{**record, **text, "node": drain.node.name})

    def waited(self, drain: NodeDrain) -> None:
        """Who is waited for instead of being evicted, and later what came of that; each is told once."""
        for wait in drain.waits:
            if self._outcomes.get(wait.pod.uid) == wait.outcome:
                continue
            self._outcomes[wait.pod.uid] = wait.outcome
            text = wait.outcome.replace("_", " ") if wait.outcome else wait.hold.message
            self._write(
                "pod_waited_for",
                f"{wait.pod} on {drain.node.name}: {text}",
                node=drain.node.name,
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
            fields = {"node": drain.node.name, "pod": str(departure.pod), "uid": departure.pod.uid, "action": action}
            self._write("pod_spared", f"{departure.pod} is not forced ({action}): {why}", **fields)

    def out_of_sight(self, drain: NodeDrain, why: str) -> None:
        text = f"the pods of {drain.node.name} are out of sight, nothing is evicted there for now: {why}"
        self._write("out_of_sight", text, node=drain.node.name)

    def in_sight_again(self, drain: NodeDrain) -> None:
        self._write("in_sight", f"the pods of {drain.node.name} are in sight again", node=drain.node.name)

    def floor(self, before: FloorView | None, now: FloorView) -> None:
        """The floor began to hold us back, or ceased to."""
        held_before, held = before is not None and before.slack < 0, now.slack < 0
        if held and not held_before:
            self._write("floor", f"no further evictions for now: {now.explain()}")
        elif held_before and not held:
            self._write("floor", "Enough nodes are Ready again, evictions go on")

    def finished(self, drain: NodeDrain, reason: str, seconds: float) -> None:
        name = drain.node.name
        self.waited(drain)
        self._ended[name] = (reason, seconds)
        if reason == DRAINED:
            text = f"drained {name}: {len(drain.evicted)} pods in {seconds:.0f} s"
        elif reason == NODE_GONE:
            text = f"{name} is gone, nothing is left to drain"
        else:
            text = f"not drained: {_sentence(name, self._entry(drain))}"
        ended = f" ({len(self._ended)} of {len(self._plan.drains)} nodes)" if len(self._plan.drains) > 1 else ""
        if drain.abandoned:
            why = "there is no Node any more" if reason == NODE_GONE else drain.vitals.explain()
            told = f"{counted(len(drain.abandoned), 'pod')} of {name} given up: {why}"
            self._write("pods_abandoned", told, node=name, pods=drain.abandoned)
        if drain.volumes:
            self._write(
                "volumes_pending", f"{name}: {volumes_pending(drain.volumes)}", node=name, volumes=drain.volumes
            )
        self._write("node_drained" if reason in (DRAINED, NODE_GONE) else "node_not_drained", text + ended, node=name)

    def heartbeat(self, drains: Sequence[NodeDrain]) -> None:
        """Now and then: how much is left, who is in the way or waited for, and what cannot be seen."""
        now = self._call.clock.now()
        for drain in drains:
            self.waited(drain)
        if now < self._next_heartbeat:
            return
        self._next_heartbeat = now + HEARTBEAT_SECONDS
        leaving = [(drain, departure) for drain in drains for departure in drain.leaving]
        timestamp = self._call.clock.timestamp()
        blocked = [
            {"node": drain.node.name, **departure.brief(timestamp)}
            for drain, departure in leaving
            if departure.obstacle and not departure.accepted
        ]
        deadlines = [one.verdict.hold.deadline for _drain, one in leaving if one.on_hold and one.verdict.hold]
        text = (
            f"{len(self._ended)} of {len(self._plan.drains)} nodes are drained, {len(leaving)} pods are still leaving"
        )
        text += "".join(
            f"; {entry['pod']}: {_obstacle(entry)} since {entry['since']}" for entry in blocked[:PODS_NAMED]
        )
        if deadlines:
            last = f", the last until {max(deadlines)}" if all(deadlines) else ""
            text += f"; {counted(len(deadlines), 'pod')} of these are left to end by themselves{last}"
        volumes = [volume for drain in drains for volume in drain.volumes]
        text += f"; {counted(len(volumes), 'volume')} of pods that are gone are still attached" if volumes else ""
        unseen = [drain for drain in drains if drain.out_of_sight]
        if unseen:
            text += f"; the pods of {len(unseen)} nodes are out of sight, trying on: {unseen[0].out_of_sight}"
        self._write("draining", text, blocked=blocked)

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
    """One node that is not drained, and the first of the pods that are in the way."""
    node = instance_and_node(entry["instance_id"], name) if entry["instance_id"] else name
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
