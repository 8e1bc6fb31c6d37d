# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens between a crash and the rerun: to the checkpoint, or to the group that was in hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.checks import MARK
from simulator.snapshot import GroupState, Snapshot

if TYPE_CHECKING:
    from simulator.world import World


@dataclass
class Shift:
    """What others changed: by how much which size of which group differs in the end, and who is gone because of it."""

    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


Deed = Callable[["World"], Shift]


def checkpoints(world: World) -> list[Path]:
    """The checkpoint files of unfinished runs."""
    return [
        path
        for path in (world.home / "state").rglob("*.json")
        if not path.name.endswith((".done.json", ".report.json"))
    ]


def leave_half_a_file(world: World) -> Shift:
    """A crash while the next checkpoint was written: half of a temporary file is left beside the whole one."""
    for path in checkpoints(world):
        whole = path.read_bytes()
        path.with_name(f"{path.name}.k1ll3d00").write_bytes(whole[: len(whole) // 2])
    return Shift()


def cut(world: World) -> Shift:
    """A disk that lost its second half."""
    for path in checkpoints(world):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    return Shift()


def empty(world: World) -> Shift:
    """A file system that wrote the name, but not what is in the file."""
    for path in checkpoints(world):
        path.write_bytes(b"")
    return Shift()


def delete(world: World) -> Shift:
    """As when an AWX job's container is gone."""
    for path in checkpoints(world):
        path.unlink()
    return Shift()


def scale_up(world: World) -> Shift:
    """A node more, and room for it."""
    group, was = in_hand(world)
    most = was.desired + 1  # the least maximum that the group needs in the end
    if group.desired == group.max_size:
        most = group.desired + 1
        world.actors.reset_max(group.name, most)
    world.actors.set_desired(group.name, group.desired + 1)
    return Shift({group.name: {"desired": 1, "max_size": max(most, was.max_size) - was.max_size}})


def scale_down(world: World) -> Shift:
    """A node less. Who is not protected yet may be terminated for it."""
    group, _unused = in_hand(world)
    world.actors.set_desired(group.name, group.desired - 1)
    return Shift({group.name: {"desired": -1}})


def reset_max(world: World) -> Shift:
    """Somebody's Terraform puts maximum size back to what it wrote down."""
    group, was = in_hand(world)
    world.actors.reset_max(group.name, was.max_size)
    return Shift()


def lose_an_old_instance(world: World) -> Shift:
    """The spot market takes one of those that were there at the start."""
    group, was = in_hand(world)
    return lose(world, min(set(group.instances) & set(was.instances)))


def lose_a_new_instance(world: World) -> Shift:
    """The spot market takes one of those that were launched since."""
    group, was = in_hand(world)
    return lose(world, min(set(group.instances) - set(was.instances)))


def lose(world: World, instance: str) -> Shift:
    """One instance goes by itself."""
    world.actors.spot_loss(instance)
    return Shift(gone={instance})


def in_hand(world: World) -> tuple[GroupState, GroupState]:
    """The group that a run holds marks on, else the first one; as it is now, and as it was at the start."""
    now: Snapshot = world.snapshot()
    marked = [group for group in now.groups.values() if any(key.startswith(MARK) for key in group.tags)]
    group = (marked or list(now.groups.values()))[0]
    return group, world.beginning.groups[group.name]


DEEDS: dict[str, Deed] = {
    "a half temporary file beside the checkpoint": leave_half_a_file,
    "the checkpoint cut in half": cut,
    "the checkpoint emptied": empty,
    "the checkpoint deleted": delete,
    "an autoscaler adds a node": scale_up,
    "an autoscaler takes a node away": scale_down,
    "somebody resets the maximum size": reset_max,
    "an old instance is lost": lose_an_old_instance,
    "a new instance is lost": lose_a_new_instance,
}
