# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back from a run that nobody wants to finish: old nodes stay, surplus goes, everything is put back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Mapping, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import SURPLUS
from ansible_collections.evergreen.eks.plugins.module_utils.ending import to_put_back
from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.gather import (
    Gathered,
    cluster_uid,
    found_run,
    leftovers,
    with_orphans,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import instance_and_node
from ansible_collections.evergreen.eks.plugins.module_utils.orphans import Orphan, by_final_state, find_orphans
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Rollout, Standing, names
from ansible_collections.evergreen.eks.plugins.module_utils.scene import Scene, look, refuse_to_put_back
from ansible_collections.evergreen.eks.plugins.module_utils.stages import (
    archive_ended,
    begin_journal,
    cordoned_in_vain,
    forget_stop_request,
    mark_members,
    open_journal,
    set_stale_aside,
    surplus_hosts,
    sweep,
    taken_out_in_vain,
)


@dataclass(frozen=True)
class Abandoned:
    """What there is to go back from: an unfinished run, if there is one, with nobody selected any more."""

    scene: Scene
    run: Optional[Gathered]
    swept: bool  # else marks that nobody needs are left on members, or the checkpoint of a run that has ended
    orphans: tuple[Orphan, ...] = ()

    @property
    def nothing_to_do(self) -> bool:
        return self.run is None and self.swept and not self.orphans


def gather_abandoned(rollout: Rollout) -> Abandoned:
    """The unfinished run of the node group. Saves nothing.

    Raises GroupRefused for a group that others are changing, CheckpointError and StoreError for a checkpoint that
    cannot be used.
    """
    scene = look(rollout.aws, rollout.client, rollout.asg_name)
    found = found_run(rollout, scene, cluster_uid(rollout))
    if found.checkpoint is None:
        return Abandoned(scene, None, found.swept(scene), tuple(find_orphans(rollout.aws, scene.group)))
    refuse_to_put_back(rollout.aws, scene)
    found.checkpoint.keep_the_rest()
    run = with_orphans(rollout, found.unfinished(scene))
    return Abandoned(scene, run, swept=True, orphans=run.orphans)


def abandon(rollout: Rollout, provenance: Mapping[str, Optional[str]]) -> dict[str, Any]:
    """Hold the cluster and select nobody any more; answers whose cordon is to be taken off first."""
    hold = rollout.take_hold()
    forget_stop_request(rollout)
    archive_ended(rollout)
    abandoned = gather_abandoned(rollout)
    found = abandoned.run
    if found is None:
        sweep(rollout, abandoned.scene)
        open_journal(rollout)
        done = {**way_back(rollout, replace(abandoned, swept=True)), "nothing_to_do": True}
        answer = {"changed": not abandoned.swept, "plan": done, "run_id": "", "lease": hold, "instance_ids": []}
        return {**answer, "returning_instance_ids": abandoned.scene.out_of_balancers}
    checkpoint, scene = found.checkpoint, found.scene
    set_stale_aside(rollout, found)
    checkpoint.stages.setdefault("abandon", rollout.call.clock.timestamp())
    checkpoint.endings = 0
    checkpoint.holder = rollout.holder.label
    rollout.store.save(checkpoint)  # first: where it cannot be written nothing is changed
    open_journal(rollout)
    # The group's mark first: members that are marked to stay would otherwise look as if all were done.
    rollout.save(checkpoint, scene)
    mark_members(rollout, checkpoint, scene, resumed=True)
    begin_journal(rollout, found, "restore", provenance)
    return {
        "changed": True,
        "plan": way_back(rollout, abandoned),
        "run_id": checkpoint.run_id,
        "lease": hold,
        "instance_ids": cordoned_in_vain(checkpoint, scene),
        "returning_instance_ids": taken_out_in_vain(checkpoint, scene),
    }


def way_back(rollout: Rollout, abandoned: Abandoned) -> dict[str, Any]:
    """What putting the group back would do, as data and in lines for a person."""
    found = abandoned.run
    if found is None:
        lines = [] if abandoned.swept else leftovers(abandoned.scene)
        lines += [str(orphan) for orphan in abandoned.orphans]
        lines = lines or ["nothing to put back, no run is unfinished here"]
        return {
            "asg_name": rollout.asg_name,
            "outcome": "nothing_to_do" if abandoned.nothing_to_do else "planned",
            "changed": False,
            "nothing_to_do": abandoned.nothing_to_do,
            "run_id": "",
            "orphans": by_final_state(abandoned.orphans),
            "notes": [],
            "summary": [f"{rollout.asg_name}: {line}" for line in lines],
        }
    checkpoint, scene = found.checkpoint, found.scene
    own = scene.group.desired_capacity - checkpoint.ledger.held
    leaving = [host.instance_id for host in surplus_hosts(checkpoint, scene)]
    back = to_put_back(Standing(checkpoint, scene), own)
    for what in ("unprotect_instance_ids", "node_instance_ids", "returning_instance_ids"):
        back[what] = [name for name in back[what] if name not in leaving]
    plan = {
        "asg_name": rollout.asg_name,
        "outcome": "planned",
        "changed": False,
        "nothing_to_do": False,
        "run_id": checkpoint.run_id,
        "uncordon_instance_ids": cordoned_in_vain(checkpoint, scene),
        "remove_instance_ids": leaving,
        "desired_capacity": own,
        "orphans": by_final_state(abandoned.orphans),
        "notes": list(found.notes),
        **back,
    }
    return {**plan, "summary": [f"{rollout.asg_name}: {line}" for line in _summary(plan, found)]}


def _summary(plan: dict[str, Any], found: Gathered) -> list[str]:
    """The way back in lines, the first names the run."""
    lines = [_given_up(found), *plan["notes"]]
    if plan["uncordon_instance_ids"]:
        lines.append(f"uncordon {_named(found, plan['uncordon_instance_ids'])}")
    if plan["returning_instance_ids"]:
        lines.append(f"put {_named(found, plan['returning_instance_ids'])} back into load balancers")
    if plan["remove_instance_ids"]:
        lines.append(f"drain and remove what the run launched: {_named(found, plan['remove_instance_ids'])}")
    lines += _size_lines(plan, found.scene.group)
    if plan["processes"]:
        lines.append(f"resume {', '.join(plan['processes'])}")
    unprotected, marked = len(plan["unprotect_instance_ids"]), len(plan["node_instance_ids"])
    if unprotected:
        lines.append(f"take our protection from scale-in off {counted(unprotected, 'instance')}")
    if marked:
        lines.append(f"take our marks off {counted(marked, 'node')}")
    return lines


def _given_up(found: Gathered) -> str:
    """Which run it is, how many of the instances of its beginning stay, and how many it has replaced."""
    checkpoint = found.checkpoint
    replaced = sum(1 for host in checkpoint.hosts.values() if host.finished and host.reason != SURPLUS)
    staying = sum(1 for host in found.scene.present if host.instance_id in checkpoint.members_before)
    gone = f", {counted(replaced, 'instance')} that it replaced will not come back" if replaced else ""
    run = f"run {checkpoint.run_id}, started {checkpoint.started}, is given up"
    return f"{run}: {counted(staying, 'old instance')} {'stays' if staying == 1 else 'stay'}{gone}"


def _named(found: Gathered, instance_ids: list[str]) -> str:
    """The first few of them, with their nodes."""
    nodes = {host.instance_id: host.node or "" for host in found.scene.hosts}
    return names([instance_and_node(name, nodes.get(name, "")) for name in instance_ids])


def _size_lines(plan: dict[str, Any], group: Group) -> list[str]:
    sizes = [
        ("desired capacity", group.desired_capacity, plan["desired_capacity"]),
        ("maximum size", group.max_size, plan["max_size"]),
    ]
    return [f"{what} {now} -> {then}" for what, now, then in sizes if now != then]
