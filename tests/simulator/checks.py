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

MARK = "evergreen.eks/"  # what the collection puts on things begins so
SCALE_DOWN_DISABLED = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
EXCLUDE_FROM_BALANCERS = "node.kubernetes.io/exclude-from-external-load-balancers"


@dataclass(frozen=True)
class Expected:
    """What a rollout was told to do.

    ``selected``: group -> the instances to be replaced. ``max_unavailable``: group -> count. ``shifted``: what others
    changed meanwhile: group -> {"desired": by how many, "max_size": ..., "min_size": ...}, and "lowest" where desired
    was lower by more for a while. ``gone_otherwise``: instances that somebody else removed.
    """

    selected: Mapping[str, Collection[str]]
    max_unavailable: Mapping[str, int] = field(default_factory=dict)
    shifted: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    gone_otherwise: Collection[str] = ()
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
    """1: right after each cordon of ours enough Ready schedulable nodes are left."""
    problems = []
    for note in record.notes("cordoned"):
        if note["author"] not in expected.authors or note["group"] not in before.groups:
            continue
        group = note["group"]
        shifted = expected.shifted.get(group, {})
        own_size = before.groups[group].desired + min(0, shifted.get("desired", 0), shifted.get("lowest", 0))
        floor = own_size - expected.max_unavailable.get(group, 0)
        if note["ready"] < floor:
            problems.append(f"after {note['node']} was cordoned, {group} had {note['ready']} nodes left, not {floor}")
    return problems


def nothing_lost(record: Record, expected: Expected) -> list[str]:
    """2: no pod that should have been evicted was on an instance when we removed it."""
    return [
        f"{note['pod']} was still on {note['node']} when {note['author']} removed the instance"
        for note in record.notes("pod_lost")
        if note["author"] in expected.authors
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

    What the run itself had launched and took out again, because its zone had one too many, was never anybody else's.
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
    return problems


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
