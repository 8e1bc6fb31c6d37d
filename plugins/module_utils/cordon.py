# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cordon, mark and release a list of Nodes, never below the number of Ready members that the group must keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.evergreen.eks.plugins.module_utils import node_events
from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.errors import (
    EvergreenError,
    InvalidInput,
    WaitTimeout,
    counted,
)
from ansible_collections.evergreen.eks.plugins.module_utils.journal import CORDONED, UNCORDONED, Journal
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.marks import (
    ATTEMPTS,
    Change,
    NodeMoved,
    Wish,
    credited,
    decide_marked,
    decide_unmarked,
    fought_over,
    send,
    settle,
)
from ansible_collections.evergreen.eks.plugins.module_utils.node_events import NodeEvents
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import (
    EXCLUDE_FROM_LOAD_BALANCERS,
    MARKS,
    SCALE_DOWN_DISABLED,
    FloorView,
    Node,
    ReadyFloor,
    by_instance,
    list_nodes,
)
from ansible_collections.evergreen.eks.plugins.module_utils.progress import (
    Heartbeat,
    Stand,
    refuse_negative,
    wait_patiently,
)
from ansible_collections.evergreen.eks.plugins.module_utils.telling import tell_floor
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

PARALLEL_WRITES = 16
# What people are told of the keys that this collection itself puts on Nodes: taken off, put on.
IN_WORDS = {
    SCALE_DOWN_DISABLED: ("free for the autoscaler again", "kept from the autoscaler"),
    EXCLUDE_FROM_LOAD_BALANCERS: ("free for load balancers again", "kept from load balancers"),
}

Decide = Callable[[Node], Change]


@dataclass(frozen=True)
class Chosen:
    """The Nodes that are meant, and the instance ids that no Node belongs to."""

    nodes: tuple[Node, ...]
    without_node: tuple[str, ...]


def settle_nodes(params: Mapping[str, Any], aws: Aws, client: KubernetesClient, call: Call) -> dict[str, Any]:
    """Do what the options of `node_cordon` say; answers the module's result.

    Raises InvalidInput, EvergreenError with reason floor, and what the connections raise; failures that come after
    the first change carry `changed` and `nodes`.
    """
    refuse_negative(params, "min_ready", "timeout")
    state = params["state"]
    wish = wish_of(params)
    chosen = choose(list_nodes(client), params["nodes"], params["instance_ids"], gone_is_fine=state == "uncordoned")
    decide: Decide = (
        decide_unmarked
        if state == "uncordoned"
        else lambda node: decide_marked(node, wish, params["run_id"] or "", client.time.timestamp())
    )
    results = {instance_id: _absent(instance_id) for instance_id in chosen.without_node}
    events = NodeEvents(client if params["node_events"] else None, call)
    work = Work(client, call, decide, results, events)
    try:
        if state == "cordoned" and params["asg_name"]:
            # Each cordon is decided on a look and sent once: repeated it would come too late for what was seen.
            work.client = client.once
            floor = ReadyFloor(aws, client, params["asg_name"], params["min_ready"])
            keep_floor(work, chosen.nodes, floor, timeout=params["timeout"], interval=params["poll_seconds"])
        else:
            work.all_at_once(chosen.nodes)
    finally:
        events.close()
    return outcome(results, chosen.without_node)


def wish_of(params: Mapping[str, Any]) -> Wish:
    """What the Nodes shall carry, from the module's options. Raises InvalidInput."""
    labels = {key: text_of(value) for key, value in (params["labels"] or {}).items()}
    annotations = {key: text_of(value) for key, value in (params["annotations"] or {}).items()}
    if MARKS in annotations:
        raise InvalidInput(
            f"The annotation {MARKS} is this collection's own record", remedy="Leave it out of the annotations"
        )
    if params["exclude_from_load_balancers"]:
        # Any value but "false" excludes; "true" is what people write.
        labels[EXCLUDE_FROM_LOAD_BALANCERS] = "true"
    if params["scale_down_disabled"]:
        annotations[SCALE_DOWN_DISABLED] = "true"
    taints = {f"{taint['key']}:{taint['effect']}": taint["value"] or "" for taint in params["taints"] or []}
    return Wish(cordon=params["state"] == "cordoned", labels=labels, annotations=annotations, taints=taints)


def text_of(value: Any) -> str:
    """A YAML value as Kubernetes wants it: text, and `true` for a boolean."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def choose(
    nodes: Sequence[Node], names: Sequence[str] | None, instance_ids: Sequence[str] | None, *, gone_is_fine: bool
) -> Chosen:
    """The Nodes with these names, or of these instances.

    A name that does not exist is a mistake of the caller, except when it should be released: then it is done.
    An instance without a Node is not: instances go away by themselves, and whoever removes one looks again.
    """
    if names is not None:
        known = {node.name: node for node in nodes}
        unknown = [name for name in dict.fromkeys(names) if name not in known]
        if unknown and not gone_is_fine:
            raise EvergreenError(
                f"There is no node {', '.join(unknown)} in this cluster",
                reason="node_not_found",
                remedy="Check the names and that this is the right cluster; nothing has been changed",
            )
        return Chosen(tuple(known[name] for name in dict.fromkeys(names) if name in known), tuple(unknown))
    known = by_instance(nodes)
    ids = tuple(dict.fromkeys(instance_ids or ()))
    return Chosen(tuple(known[item] for item in ids if item in known), tuple(item for item in ids if item not in known))


class Work:
    """The Nodes' changes as they happen: decided, sent, told to the journal, and kept as results by name."""

    def __init__(
        self,
        client: KubernetesClient,
        call: Call,
        decide: Decide,
        results: dict[str, Any],
        events: NodeEvents | None = None,
    ) -> None:
        self.client = client
        self.events = events or NodeEvents(None, call)
        self.call = call
        self.decide = decide
        self.results = results

    def all_at_once(self, nodes: Sequence[Node]) -> None:
        """Change every Node, several at a time. The first error ends it, after those under way."""
        with ThreadPoolExecutor(max_workers=PARALLEL_WRITES) as pool:
            pending = [pool.submit(self._settle, node) for node in nodes]
            wait(pending, return_when=FIRST_EXCEPTION)
            pool.shutdown(cancel_futures=True)
        errors = [future.exception() for future in pending if not future.cancelled()]
        for error in filter(None, errors):
            raise self.failed(error)

    def _settle(self, node: Node) -> None:
        self.done(settle(self.client, node, self.decide, check_mode=self.call.check_mode))

    def done(self, change: Change) -> None:
        self.results[change.node.name] = {
            "instance_id": change.node.instance_id,
            "changed": change.changed,
            "reason": change.reason,
            "before": dict(change.before),
            "after": dict(change.after),
            "kept": list(change.kept),
        }
        if change.changed:
            tell(self.call.journal, change)
            if change.cordons:
                self.events.tell(node_events.CORDONED, change.node, _announcement(self.call.journal))

    def failed(self, error: BaseException) -> BaseException:
        """The error, with what has been done so far."""
        if isinstance(error, EvergreenError):
            error.details.update(outcome(self.results, ()))
        return error


def keep_floor(work: Work, nodes: Sequence[Node], floor: ReadyFloor, *, timeout: float, interval: float) -> None:
    """Cordon these Nodes, each only while the group keeps `floor.min_ready` Ready, schedulable members without it.

    The group and its Nodes are read again after each cordon that takes a Ready member away, or, where many members are
    to spare, once half of them are spent (see `allowed`); a cordon is bound to the Node as it was read. Those that take
    nothing away (not Ready, cordoned already) come first.
    `timeout` seconds bound each wait for a free place, 0 is for ever.
    """
    remaining = {node.name: node for node in nodes}
    heartbeat = Heartbeat(work.call)
    if work.call.check_mode:
        foretell(work, remaining, floor.look())
        return
    tries = Tries(work.call, heartbeat, interval)
    while remaining:
        view = _free_place(work, remaining, floor, heartbeat, timeout, interval)
        for change in allowed(view, _decisions(work, view, remaining)):
            try:
                if change.changed:
                    send(work.client, change)
            except EvergreenError as error:
                try:
                    tries.failed(change, error)
                except EvergreenError as last:
                    raise work.failed(last) from None
                continue
            del remaining[change.node.name]
            work.done(credited(tries.sent.get(change.node.name), change))


class Tries:
    """The changes that were sent and not confirmed: how often, since when, and what the first of them was."""

    def __init__(self, call: Call, heartbeat: Heartbeat, interval: float) -> None:
        self.sent: dict[str, Change] = {}
        self._call, self._heartbeat, self._interval = call, heartbeat, interval
        self._conflicts: Counter[str] = Counter()
        self._troubles: dict[str, tuple[float, float]] = {}  # since when, and when last

    def failed(self, change: Change, error: EvergreenError) -> None:
        """Return when it is worth another look at the Node. Raises the error, or that somebody else fights for it.

        A conflict is worth one at once, some times over; an API in trouble a poll later, for the patience of the call.
        """
        name, now = change.node.name, self._call.clock.now()
        self.sent.setdefault(name, change)
        if isinstance(error, NodeMoved):
            self._conflicts[name] += 1
            if self._conflicts[name] >= ATTEMPTS:
                raise fought_over(name) from None
            return
        patience = self._call.patience(self._interval)
        since, last = self._troubles.get(name, (now, now))
        # What was long ago, before a wait for a free place, is another trouble.
        since = now if now - last >= patience else since
        self._troubles[name] = (since, now)
        if not getattr(error, "transient", False) or now - since >= patience:
            raise error
        self._heartbeat.trouble(f"node {name} could not be written: {error.message}")
        self._call.clock.sleep(self._interval)


def _free_place(
    work: Work,
    remaining: Mapping[str, Node],
    floor: ReadyFloor,
    heartbeat: Heartbeat,
    timeout: float,
    interval: float,
) -> FloorView:
    """Wait for a look at which at least one of the Nodes may be changed. Raises EvergreenError, reason floor."""

    def look() -> FloorView:
        work.call.before_look()
        view = floor.look()
        tell_floor(work.call.journal, view)
        return view

    try:
        return wait_patiently(
            look,
            lambda view: bool(allowed(view, _decisions(work, view, remaining))),
            call=work.call,
            deadline=Deadline(work.call.clock, timeout),
            interval=interval,
            heartbeat=heartbeat,
            describe=lambda view: Stand(
                f"{counted(len(remaining), 'node')} to cordon: {view.explain()}",
                len(work.results),
                len(work.results) + len(remaining),
            ),
        )
    except WaitTimeout as late:
        view = late.last
        for node in remaining.values():
            work.results[node.name] = _stopped(node, view)
        raise work.failed(
            EvergreenError(
                f"{len(remaining)} nodes ({', '.join(sorted(remaining)[:5])}) were not cordoned in time: "
                f"{view.explain()}",
                reason="floor",
                remedy="Get the missing members Ready, or lower min_ready, and run again",
                missing=view.missing,
            )
        ) from None
    except EvergreenError as error:
        raise work.failed(error) from None


def _decisions(work: Work, view: FloorView, remaining: Mapping[str, Node]) -> list[Change]:
    """What is to be done about each remaining Node as this look sees it."""
    seen = {node.uid: node for node in view.nodes}
    return [work.decide(seen[node.uid]) if node.uid in seen else Change(node, "gone") for node in remaining.values()]


def allowed(view: FloorView, changes: Sequence[Change]) -> list[Change]:
    """What may be sent on this one look: all that takes nothing away from the group, or else some cordons that do.

    Those are half of what the group has to spare: others may take as many away before the next look, and the floor is
    still kept. So a wave of n costs log n looks at all Nodes, and the last members to spare go one by one.
    """
    free = [
        change
        for change in changes
        if not change.cordons or (view.cost_of(change.node.instance_id) == 0 and view.slack >= 0)
    ]
    return free or [change for change in changes if view.allows(change.node.instance_id)][: max(1, view.slack // 2)]


def foretell(work: Work, remaining: Mapping[str, Node], view: FloorView) -> None:
    """Check mode: who would be cordoned on this look, and who would have to wait for the floor."""
    places = view.slack
    for change in sorted(_decisions(work, view, remaining), key=lambda item: view.cost_of(item.node.instance_id)):
        cost = view.cost_of(change.node.instance_id) if change.cordons else 0
        if change.cordons and places < cost:
            work.results[change.node.name] = _stopped(change.node, view)
            continue
        places -= cost
        work.done(change)


def _stopped(node: Node, view: FloorView) -> dict[str, Any]:
    return {
        "instance_id": node.instance_id,
        "changed": False,
        "reason": "floor",
        "before": {},
        "after": {},
        "kept": [],
        "message": view.explain(),
    }


def _absent(name: str) -> dict[str, Any]:
    return {"instance_id": name, "changed": False, "reason": "no_node", "before": {}, "after": {}, "kept": []}


def _announcement(journal: Journal) -> str:
    """What an Event on the Node says of its cordon."""
    run = f" by run {journal.run}{f', {journal.place}' if journal.place else ''}" if journal.run else ""
    return f"Cordoned{run}: no new pods are scheduled here, as the node is to be drained"


def tell(journal: Journal, change: Change) -> None:
    """What became of the Node."""
    before, after = change.before["unschedulable"], change.after["unschedulable"]
    where = {"node": change.node.name, "instance": change.node.instance_id, "text": describe(change)}
    if before == after:
        journal.write("node_marked", reason=change.reason, **where)
    else:
        journal.write("node_stage", to=CORDONED if after else UNCORDONED, zone=change.node.zone, **where)


def describe(change: Change) -> str:
    """What became of the Node, in words that several Nodes may share."""
    before, after = change.before, change.after
    words = []
    if before["unschedulable"] != after["unschedulable"]:
        words.append("cordoned" if after["unschedulable"] else "uncordoned")
    for kind in ("labels", "annotations"):
        keys = [key for key in {**before[kind], **after[kind]} if key != MARKS]
        words += [IN_WORDS[key][key in after[kind]] for key in sorted(keys) if key in IN_WORDS]
        keys = [key for key in keys if key not in IN_WORDS]
        words += [f"{key}={after[kind][key]}" if key in after[kind] else f"{key} removed" for key in sorted(keys)]
    words += [f"taint {taint}" for taint in after["taints"] if taint not in before["taints"]]
    words += [f"taint {taint} removed" for taint in before["taints"] if taint not in after["taints"]]
    return ", ".join(words) or "marks updated"


def outcome(results: Mapping[str, Any], without_node: Sequence[str]) -> dict[str, Any]:
    """The module's result: `changed`, `nodes`, the diff, and a warning for instances that no Node belongs to."""
    changed = {name: item for name, item in sorted(results.items()) if item["changed"]}
    answer: dict[str, Any] = {
        "changed": bool(changed),
        "nodes": {name: results[name] for name in sorted(results)},
        "diff": {
            "before": {name: item["before"] for name, item in changed.items()},
            "after": {name: item["after"] for name, item in changed.items()},
        },
    }
    if without_node:
        answer["warnings"] = [f"No Node in this cluster belongs to {', '.join(sorted(without_node))}"]
    return answer
