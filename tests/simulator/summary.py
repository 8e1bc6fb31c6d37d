# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each node group, told from the world's own record (``table`` shows it)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from simulator.identities import TOOL
from simulator.record import Note, Record
from simulator.snapshot import GroupState, Snapshot


@dataclass(frozen=True)
class Replacement:
    """One instance that went, and the one that came for it in its zone (empty while there is none)."""

    old: str
    old_version: str
    new: str
    new_version: str
    zone: str
    by: str


@dataclass(frozen=True)
class GroupSummary:
    """One node group. Sizes are (min, max, desired); ``seconds`` of the world from the first launch or cordon until
    the last instance was removed."""

    name: str
    before: tuple[int, int, int]
    after: tuple[int, int, int]
    seconds: float
    lost_pods: int
    replacements: tuple[Replacement, ...] = field(default=())


def summarize(record: Record, before: Snapshot, after: Snapshot) -> list[GroupSummary]:
    """One entry a node group that was there at the beginning, in that order."""
    return [_summary(record, group, before, after) for group in before.groups.values()]


def _summary(record: Record, group: GroupState, before: Snapshot, after: Snapshot) -> GroupSummary:
    removed = [note for note in record.notes("instance_removed") if note["group"] == group.name]
    now = after.groups.get(group.name, group)
    launched = [note for note in record.notes("instance_launched") if note["instance"] in now.instances]
    moments = [note.at for note in [*removed, *launched]]
    return GroupSummary(
        name=group.name,
        before=(group.min_size, group.max_size, group.desired),
        after=(now.min_size, now.max_size, now.desired),
        seconds=max(moments) - min(moments) if removed else 0.0,
        lost_pods=sum(len(note["pods"]) for note in removed),
        replacements=tuple(_pair(removed, launched, group, now)),
    )


def _pair(removed: Sequence[Note], launched: Sequence[Note], was: GroupState, now: GroupState) -> list[Replacement]:
    """Who came for whom: in the same zone if possible, else whoever came first."""
    new = list(launched)
    pairs = []
    for note in removed:
        old = was.instances.get(note["instance"])
        if old is None:
            continue  # it came and went within the rollout
        successor = next((one for one in new if one["zone"] == old.zone), new[0] if new else None)
        if successor is not None:
            new.remove(successor)
        heir = now.instances[successor["instance"]] if successor is not None else None
        pairs.append(
            Replacement(
                old=old.instance_id,
                old_version=old.version,
                new=heir.instance_id if heir else "",
                new_version=heir.version if heir else "",
                zone=old.zone,
                by="" if note["author"] == TOOL else note["author"],
            )
        )
    return pairs


def as_data(summaries: Sequence[GroupSummary]) -> list[dict[str, Any]]:
    """The same as plain data, for JSON."""
    return [asdict(summary) for summary in summaries]
