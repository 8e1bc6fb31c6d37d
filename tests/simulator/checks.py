# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seven invariants of a rollout, judged from the world's record and its state, never from what the tool says.

Pure functions. Each answers with a list of sentences, one a violation; an empty list means that it held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from simulator.identities import TOOL
from simulator.record import Call, Record
from simulator.snapshot import GroupState, NodeState, Snapshot
from simulator.witness import AWS

# What takes strength from a group, or what its pods need, by its kind of note.
WEAKENING = {
    "cordoned": "{node} was cordoned",
    "evicted": "{pod} was evicted from {node}",
    "pod_deleted": "{pod} was deleted on {node}",
    "instance_removed": "{instance} was removed",
}
UNSEEN = 30.0  # the world's seconds within which a loss that others caused need not be known: two polls, and a look
MARK = "evergreen.eks/"  # what the collection puts on things begins so
SCALE_DOWN_DISABLED = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
EXCLUDE_FROM_BALANCERS = "node.kubernetes.io/exclude-from-external-load-balancers"


@dataclass(frozen=True)
class Expected:
    """What a rollout was told to do.

    ``selected``: group -> the instances to be replaced. ``max_unavailable``: group -> count. ``shifted``: what others
    changed meanwhile: group -> {"desired": by how many, "max_size": ..., "min_size": ...}, and "lowest" where desired
    was lower by more for a while. ``gone_otherwise``: instances that went without our doing, so that Auto Scaling may
    have removed them. ``surplus``: how many Ready nodes that were launched since the beginning each group may have had
    too many, so that we took them out again (None: any number).
    """

    selected: Mapping[str, Collection[str]]
    max_unavailable: Mapping[str, int] = field(default_factory=dict)
    shifted: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    gone_otherwise: Collection[str] = ()
    surplus: int | None = None
    authors: Collection[str] = (TOOL,)


def broken_invariants(record: Record, before: Snapshot, after: Snapshot, expected: Expected) -> list[str]:
    """All seven, after a rollout that has come to its end."""
    return [
        *strength_kept(record, before, expected),
        *nothing_lost(record, expected),
        *budgets_kept(record, expected),
        *right_instances_removed(record, before, after, expected),
        *all_put_back(before, after, expected),
        *one_at_a_time(record, before, after, expected),
    ]


def strength_kept(record: Record, before: Snapshot, expected: Expected) -> list[str]:
    """1: at each cordon, eviction and removal of ours enough Ready schedulable nodes are left."""
    problems = []
    taken: dict[str, float] = {}  # group -> when others took the latest node from it
    for note in record.notes():
        if note.kind not in WEAKENING or note["group"] not in before.groups:
            continue
        group = note["group"]
        if note["author"] not in expected.authors:
            if note.kind == "instance_removed":
                taken[group] = note.at
            continue
        floor = _own_size(before.groups[group], expected) - expected.max_unavailable.get(group, 0)
        unseen = note.kind != "cordoned" and note.at - taken.get(group, -UNSEEN) < UNSEEN
        never_joined = note.kind == "instance_removed" and not note["node"]
        if note["ready"] < floor and not unseen and not never_joined:
            what = WEAKENING[note.kind].format(**note.fields)
            problems.append(f"after {what}, {group} had {note['ready']} nodes left, not {floor}")
    return problems


def _own_size(was: GroupState, expected: Expected) -> int:
    """The least that the group itself wanted at any time."""
    shifted = expected.shifted.get(was.name, {})
    return was.desired + min(0, shifted.get("desired", 0), shifted.get("lowest", 0))


def nothing_lost(record: Record, expected: Expected) -> list[str]:
    """2: no pod that should have been evicted ran on an instance when we, or Auto Scaling by itself, removed it.

    Where the machine was dead already nothing was lost by its removal.
    """
    return [
        f"{note['pod']} was still on {note['node']} when {note['author']} removed the instance"
        for note in record.notes("pod_lost")
        if note["alive"]
        and (
            note["author"] in expected.authors
            or (note["author"] == AWS and note["instance"] not in expected.gone_otherwise)
        )
    ]


def budgets_kept(record: Record, expected: Expected) -> list[str]:
    """3: no budget was violated by us."""
    return [
        f"{note['budget']} was left with {note['healthy']} healthy pods, it wants {note['wanted']}"
        for note in record.notes("budget_violated")
        if note["author"] in expected.authors
    ]


def right_instances_removed(record: Record, before: Snapshot, after: Snapshot, expected: Expected) -> list[str]:
    """4: in the end exactly the selected instances were removed by us, and none runs outside its group.

    Auto Scaling chose none itself. What the run had launched it took out again only where that was too many.
    """
    selected = {instance for instances in expected.selected.values() for instance in instances}
    removed = {note["instance"] for note in record.notes("instance_removed") if note["author"] in expected.authors}
    members = {instance for group in after.groups.values() for instance in group.instances}
    survivors = (selected & members) - removed
    there_before = {instance for group in before.groups.values() for instance in group.instances}
    strangers = (removed & there_before) - selected
    problems = [f"{one} was removed, but had not been selected" for one in sorted(strangers)]
    problems += [f"{one} was selected, but is still there" for one in sorted(survivors)]
    problems += [f"{one} runs outside its group" for one in sorted(set(after.running) - members)]
    return [*problems, *_chosen_by_aws(record, expected), *_taken_out_again(record, before, expected)]


def _chosen_by_aws(record: Record, expected: Expected) -> Iterable[str]:
    """A scale-in, or a balancing of zones that we should have let rest."""
    for note in record.notes("instance_removed"):
        if note["author"] == AWS and note["instance"] not in expected.gone_otherwise:
            yield f"{note['instance']} was removed by Auto Scaling itself: {note['cause']}"


def _taken_out_again(record: Record, before: Snapshot, expected: Expected) -> Iterable[str]:
    """Launched since the beginning, Ready, and removed by us: more than the group can have had too many."""
    for name, was in before.groups.items() if expected.surplus is not None else ():
        ours = [
            note["instance"]
            for note in record.notes("instance_removed")
            if note["group"] == name and note["author"] in expected.authors and note["was_ready"]
        ]
        again = sorted(set(ours) - set(was.instances))
        if len(again) > expected.surplus:
            yield f"{name}: {', '.join(again)} were launched, Ready and removed again; {expected.surplus} were too many"


def all_put_back(before: Snapshot, after: Snapshot, expected: Expected) -> list[str]:
    """5: sizes, processes, protection and marks are as they were, but for what others changed."""
    problems = []
    for name, group in before.groups.items():
        if name not in after.groups:
            continue
        problems += _group_differences(group, after.groups[name], expected.shifted.get(name, {}))
    for node in after.nodes.values():
        problems += _left_on(node, before.nodes.get(node.instance_id))
    for instance, tags in after.running.items():
        left = sorted(key for key in set(tags) - set(before.running.get(instance, ())) if key.startswith(MARK))
        problems += [f"{instance}: the tag {key} was left on it" for key in left]
    return problems


def _group_differences(was: GroupState, now: GroupState, shifted: Mapping[str, int]) -> Iterable[str]:
    for size in ("min_size", "max_size", "desired"):
        should_be = getattr(was, size) + shifted.get(size, 0)
        if getattr(now, size) != should_be:
            yield f"{now.name}: {size} is {getattr(now, size)}, not {should_be}"
    if now.suspended != was.suspended:
        yield f"{now.name}: suspended are {sorted(now.suspended)}, not {sorted(was.suspended)}"
    if now.protects_new != was.protects_new:
        yield f"{now.name}: protection of new instances is {now.protects_new}, not {was.protects_new}"
    if now.tags != was.tags:
        yield f"{now.name}: tags are {now.tags}, not {was.tags}"
    for instance in now.instances.values():
        before = was.instances.get(instance.instance_id)
        wanted = before.protected if before else was.protects_new
        if instance.protected != wanted:
            yield f"{now.name}: {instance.instance_id} has scale-in protection {instance.protected}, not {wanted}"
    counting = [one for one in now.instances.values() if one.lifecycle == "InService"]
    if len(counting) != now.desired:
        yield f"{now.name}: {len(counting)} instances are in service, {now.desired} are desired"


def _left_on(node: NodeState, before: NodeState | None) -> Iterable[str]:
    names = {*node.annotations, *node.labels, *node.taints}
    had = {*before.annotations, *before.labels, *before.taints} if before else set()
    ours = {
        name for name in names - had if name.startswith(MARK) or name in (SCALE_DOWN_DISABLED, EXCLUDE_FROM_BALANCERS)
    }
    for name in sorted(ours):
        yield f"{node.name}: {name} was left on it"
    if before and before.annotations.get(SCALE_DOWN_DISABLED) not in (None, node.annotations.get(SCALE_DOWN_DISABLED)):
        yield f"{node.name}: {SCALE_DOWN_DISABLED}, which its user had set, is not as it was"
    if node.unschedulable and not (before and before.unschedulable):
        yield f"{node.name} was left cordoned"


def one_at_a_time(record: Record, before: Snapshot, after: Snapshot, expected: Expected) -> list[str]:
    """6: no two runs changed one group at the same time. Give concurrent runs access keys of their own."""
    places = _places(record, before, after)
    spans: dict[str, list[tuple[str, int, int]]] = {}
    for author in expected.authors:
        for group, calls in _changes_by_group(record.calls(author=author, mutating=True), places).items():
            spans.setdefault(group, []).append((author, calls[0].number, calls[-1].number))
    problems = []
    for group, listed in spans.items():
        listed.sort(key=lambda span: span[1])
        for (one, _unused, ended), (other, began, _unused) in zip(listed, listed[1:], strict=False):
            if began < ended:
                problems.append(f"{group} was changed by {one} and {other} at the same time")
    return problems


def _places(record: Record, before: Snapshot, after: Snapshot) -> dict[str, str]:
    """The group that a request is about, by what it names: the group itself, an instance or a Node."""
    found = {}
    for snapshot in (before, after):
        for name, group in snapshot.groups.items():
            found.update({name: name, **dict.fromkeys(group.instances, name)})
        found.update({node.name: node.group for node in snapshot.nodes.values()})
    for note in record.notes("instance_removed"):
        found.update({note["instance"]: note["group"], note["node"]: note["group"]})
    return found


def _changes_by_group(calls: Iterable[Call], places: Mapping[str, str]) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = {}
    for call in calls:
        for group in {places[name] for name in call.target.split(",") if name in places} if call.succeeded else ():
            found.setdefault(group, []).append(call)
    return found


def nothing_changed(record: Record, since: int = 0, authors: Collection[str] = (TOOL,)) -> list[str]:
    """7, and check mode: not one mutating request by us after call number ``since``.

    The lock of an earlier run is no change: its keeper renews it, and gives it back, when the run has ended.
    """
    changes = record.calls(mutating=True, since=since)
    return [str(call) for call in changes if call.author in authors and call.operation != "PUT leases"]
