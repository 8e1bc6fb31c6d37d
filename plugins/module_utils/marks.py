# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What we put on a Node, and how it comes off again.

One annotation on the Node holds, as JSON, exactly what we changed: the cordon if it is ours, and for each label,
annotation and taint what was there before (`was`, null for nothing) and what we made of it (`set_to`). It is written in
the same request as the change, so that a run that was killed, and lost everything else, still finds its way back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Callable

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import (
    MARKS,
    Node,
    NodeMarks,
    get_node,
    read_node_marks,
)

CONFLICT, NOT_FOUND = 409, 404
# A Node is written every few seconds at most (status, taints of the lifecycle controller); more is a fight.
ATTEMPTS = 10

# Values of one kind by key: labels, annotations, or taints as {"key:Effect": value}.
Values = Mapping[str, str]


@dataclass(frozen=True)
class Wish:
    """What a Node shall carry. Taints are `{"key:Effect": value}`."""

    cordon: bool = False
    labels: Values = field(default_factory=dict)
    annotations: Values = field(default_factory=dict)
    taints: Values = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """A decision about one Node: the patch to send (None: nothing is to be done), and the Node before and after it.

    `reason`: changed, unchanged, foreign_cordon (cordoned by somebody else), kept (what somebody changed after us stays
    as it is), gone (there is no such Node any more).
    """

    node: Node
    reason: str
    patch: dict[str, Any] | None = None
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    kept: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.patch is not None

    @property
    def cordons(self) -> bool:
        """Whether this change makes the Node unschedulable."""
        return bool(self.patch and self.patch.get("spec", {}).get("unschedulable"))


# --- decisions -------------------------------------------------------------------------------------------------------


def decide_marked(node: Node, wish: Wish, run: str = "", now: str = "") -> Change:
    """How the Node gets what is wished. Marks of an earlier run are adopted: what was there before it stays known, and
    so does since when it is cordoned, unless somebody has uncordoned it. `now` is a timestamp."""
    marks = read_node_marks(node)
    cordons = wish.cordon and not node.unschedulable
    labels, label_records = _put_on(node.labels, wish.labels, marks.labels)
    annotations, annotation_records = _put_on(node.annotations, wish.annotations, marks.annotations)
    taints, taint_records = _put_on(_taint_values(node), wish.taints, marks.taints)
    ours = NodeMarks(
        run=run or marks.run,
        cordoned=marks.cordoned or cordons,
        since=now if cordons else marks.since or (now if wish.cordon else ""),
        drained_since="" if cordons else marks.drained_since,
        labels=label_records,
        annotations=annotation_records,
        taints=taint_records,
    )
    foreign = wish.cordon and node.unschedulable and not marks.cordoned
    if not ours.empty and ours != marks:
        annotations = {**annotations, MARKS: ours.dump()}
    change = _change(
        node,
        unschedulable=True if cordons else node.unschedulable,
        labels=labels,
        annotations=annotations,
        taints=taints,
        unchanged="unchanged",
    )
    return replace(change, reason="foreign_cordon") if foreign else change


def decide_taken_in_hand(node: Node, now: str) -> Change:
    """How the Node remembers since when it is being drained, where it carries our marks: they come off with the cordon,
    so that the next cordon begins anew. `now` is a timestamp."""
    marks = read_node_marks(node)
    known = marks.empty or marks.drained_since
    annotations = {} if known else {MARKS: replace(marks, drained_since=now).dump()}
    return _change(
        node,
        unschedulable=node.unschedulable,
        labels={},
        annotations=annotations,
        taints={},
        unchanged="unchanged",
    )


def decide_unmarked(node: Node) -> Change:
    """How the Node gets rid of what we put on, and of nothing else."""
    marks = read_node_marks(node)
    labels, labels_kept = _take_off(node.labels, marks.labels)
    annotations, annotations_kept = _take_off(node.annotations, marks.annotations)
    taints, taints_kept = _take_off(_taint_values(node), marks.taints)
    kept = (
        *(f"label {key}" for key in labels_kept),
        *(f"annotation {key}" for key in annotations_kept),
        *(f"taint {key}" for key in taints_kept),
    )
    unschedulable = node.unschedulable and not marks.cordoned
    if MARKS in node.annotations:
        annotations = {**annotations, MARKS: None}
    change = _change(
        node, unschedulable=unschedulable, labels=labels, annotations=annotations, taints=taints, unchanged="unchanged"
    )
    if unschedulable:
        return replace(change, reason="foreign_cordon", kept=kept)
    return replace(change, reason="kept" if kept else change.reason, kept=kept)


def _put_on(
    current: Values, wished: Values, records: Mapping[str, Any]
) -> tuple[dict[str, str | None], dict[str, Any]]:
    """The values to set, and the records of all that is ours then. What is there already stays whose it was."""
    values: dict[str, str | None] = {}
    ours = dict(records)
    for key, value in wished.items():
        if current.get(key) == value:
            continue
        values[key] = value
        untouched = key in ours and current.get(key) == ours[key]["set_to"]
        ours[key] = {"was": ours[key]["was"] if untouched else current.get(key), "set_to": value}
    return values, ours


def _take_off(current: Values, records: Mapping[str, Any]) -> tuple[dict[str, str | None], list[str]]:
    """The values to put back (None: remove), and the keys that somebody else has set to something else since."""
    values = {key: record["was"] for key, record in records.items() if current.get(key) == record["set_to"]}
    kept = [
        key for key, record in records.items() if key not in values and current.get(key) not in (None, record["was"])
    ]
    return values, sorted(kept)


def _taint_values(node: Node) -> dict[str, str]:
    return {f"{taint['key']}:{taint['effect']}": taint.get("value", "") for taint in node.taints}


def _change(
    node: Node,
    *,
    unschedulable: bool,
    labels: Mapping[str, str | None],
    annotations: Mapping[str, str | None],
    taints: Mapping[str, str | None],
    unchanged: str,
) -> Change:
    """The patch that sets these values, guarded by the resourceVersion that the decision was made on."""
    metadata: dict[str, Any] = {}
    spec: dict[str, Any] = {}
    if labels:
        metadata["labels"] = dict(labels)
    if annotations:
        metadata["annotations"] = dict(annotations)
    if unschedulable != node.unschedulable:
        spec["unschedulable"] = unschedulable or None
    if taints:
        # A merge patch replaces the whole list: it is safe only together with the resourceVersion.
        spec["taints"] = _tainted(node, taints) or None
    before = _picture(node.unschedulable, node.labels, node.annotations, node.taints, labels, annotations)
    if not (metadata or spec):
        return Change(node, unchanged, None, before, before)
    metadata["resourceVersion"] = node.resource_version
    after = _picture(
        unschedulable,
        {**node.labels, **labels},
        {**node.annotations, **annotations},
        _tainted(node, taints),
        labels,
        annotations,
    )
    patch = {"metadata": metadata, **({"spec": spec} if spec else {})}
    return Change(node, "changed", patch, before, after)


def _tainted(node: Node, values: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """The Node's taints with these values: others' objects stay as they are, in their order."""
    result: list[dict[str, Any]] = []
    for taint in node.taints:
        name = f"{taint['key']}:{taint['effect']}"
        if name not in values:
            result.append(taint)
        elif values[name] is not None:
            result.append(_taint(name, values[name]))
    present = _taint_values(node)
    result += [_taint(name, value) for name, value in values.items() if name not in present and value is not None]
    return result


def _taint(name: str, value: str | None) -> dict[str, Any]:
    key, _separator, effect = name.rpartition(":")
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def _picture(
    unschedulable: bool,
    labels: Mapping[str, str | None],
    annotations: Mapping[str, str | None],
    taints: Iterable[Mapping[str, Any]],
    touched_labels: Iterable[str],
    touched_annotations: Iterable[str],
) -> dict[str, Any]:
    """A Node as results and diffs show it: the cordon, all taints, and of the rest only what is touched."""
    return {
        "unschedulable": unschedulable,
        "taints": sorted(f"{item['key']}={item.get('value', '')}:{item['effect']}" for item in taints),
        "labels": _only(labels, touched_labels),
        "annotations": _only(annotations, touched_annotations),
    }


def _only(values: Mapping[str, str | None], keys: Iterable[str]) -> dict[str, str]:
    return {key: value for key, value in sorted(values.items()) if key in keys and value is not None}


# --- the deed --------------------------------------------------------------------------------------------------------


class NodeMoved(EvergreenError):
    """The Node changed between our look and our patch; decide again on a fresh look."""

    default_reason = "kubernetes_conflict"


def send(client: KubernetesClient, change: Change) -> None:
    """Send one decided change. Raises NodeMoved when the Node is no longer as the decision saw it.

    The API server compares a resourceVersion inside a patch and answers 409 when it is not the current one.
    Needs the verb patch on nodes.
    """
    try:
        client.patch(f"/api/v1/nodes/{change.node.name}", change.patch)
    except KubernetesError as error:
        if error.status in (CONFLICT, NOT_FOUND):
            raise NodeMoved(f"Node {change.node.name} changed while it was being written") from error
        raise


def settle(client: KubernetesClient, node: Node, decide: Callable[[Node], Change], *, check_mode: bool) -> Change:
    """Decide and send, again on a fresh look whenever somebody else was faster.

    A Node of the same name with another UID is another machine (names are made of addresses, which are used again):
    ours is gone then. A patch whose answer was lost shows as a conflict with our own change: that is still our change.
    """
    sent: Change | None = None
    for _attempt in range(ATTEMPTS):
        change = decide(node)
        if not change.changed:
            return credited(sent, change)
        if check_mode:
            return change
        try:
            send(client, change)
            return replace(change, before=sent.before) if sent else change
        except NodeMoved:
            sent = sent or change
        fresh = get_node(client, node.name)
        if fresh is None or fresh.uid != node.uid:
            return Change(node, "gone", None, change.before, change.before)
        node = fresh
    raise fought_over(node.name)


def credited(sent: Change | None, seen: Change) -> Change:
    """Where nothing is left to be done: the change that we `sent` and got no answer to, if that is what is seen now."""
    return replace(sent, after=seen.after) if sent and not seen.changed and _took_effect(sent, seen.node) else seen


def fought_over(name: str) -> EvergreenError:
    """Somebody else writes to this Node all the time."""
    return EvergreenError(
        f"Node {name} was changed by somebody else {ATTEMPTS} times in a row while we tried to write it",
        reason="kubernetes_conflict",
        remedy="See who writes to it (kubectl get node -o yaml --show-managed-fields), then run again",
    )


def _took_effect(sent: Change, node: Node) -> bool:
    """Whether a patch that we know no answer to is what made the Node as it is now."""
    wrote = sent.patch["metadata"].get("annotations", {}) if sent.patch else {}
    return MARKS in wrote and wrote[MARKS] == node.annotations.get(MARKS)
