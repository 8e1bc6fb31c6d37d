# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back from a run that nobody wants to finish: old nodes stay, surplus goes, everything is put back."""

from __future__ import annotations

from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.ending import to_put_back
from ansible_collections.evergreen.eks.plugins.module_utils.gather import Gathered, gather_abandoned
from ansible_collections.evergreen.eks.plugins.module_utils.orphans import by_final_state
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Rollout, Standing, names
from ansible_collections.evergreen.eks.plugins.module_utils.stages import (
    archive_ended,
    begin_journal,
    cordoned_in_vain,
    forget_stop_request,
    mark_members,
    open_journal,
    set_stale_aside,
    surplus_hosts,
)


def abandon(rollout: Rollout) -> dict[str, Any]:
    """Hold the cluster and select nobody any more; answers whose cordon is to be taken off first."""
    hold = rollout.take_hold()
    archive_ended(rollout)
    found = gather_abandoned(rollout)
    if found is None:
        return {"changed": False, "plan": way_back(rollout, None), "lease": hold, "instance_ids": []}
    checkpoint, scene = found.checkpoint, found.scene
    set_stale_aside(rollout, found)
    forget_stop_request(rollout)
    checkpoint.stages.setdefault("abandon", rollout.call.clock.timestamp())
    checkpoint.endings = 0
    rollout.store.save(checkpoint)  # first: where it cannot be written nothing is changed
    journal = open_journal(rollout)
    mark_members(rollout, checkpoint, scene, resumed=True)
    rollout.save(checkpoint, scene)
    begin_journal(rollout, journal, "abandon", f"run {checkpoint.run_id} is given up: the group is put back", found)
    return {
        "changed": True,
        "plan": way_back(rollout, found),
        "run_id": checkpoint.run_id,
        "lease": hold,
        "instance_ids": cordoned_in_vain(checkpoint, scene),
    }


def way_back(rollout: Rollout, found: Optional[Gathered]) -> dict[str, Any]:
    """What putting the group back would do, as data and in lines for a person."""
    if found is None:
        return {
            "asg_name": rollout.asg_name,
            "outcome": "nothing_to_do",
            "changed": False,
            "nothing_to_do": True,
            "run_id": "",
            "notes": [],
            "summary": [f"{rollout.asg_name}: nothing to put back, no run is unfinished here"],
        }
    checkpoint, scene = found.checkpoint, found.scene
    group = scene.group
    own = group.desired_capacity - checkpoint.ledger.held
    back = to_put_back(Standing(checkpoint, scene), own)
    plan = {
        "asg_name": rollout.asg_name,
        "outcome": "planned",
        "changed": False,
        "nothing_to_do": False,
        "run_id": checkpoint.run_id,
        "uncordon_instance_ids": cordoned_in_vain(checkpoint, scene),
        "remove_instance_ids": [host.instance_id for host in surplus_hosts(checkpoint, scene)],
        "desired_capacity": own,
        "orphans": by_final_state(found.orphans),
        "notes": list(found.notes),
        **back,
    }
    return {**plan, "summary": [f"{rollout.asg_name}: {line}" for line in _summary(plan, found)]}


def _summary(plan: dict[str, Any], found: Gathered) -> list[str]:
    """The way back in lines, the first names the run."""
    group, checkpoint = found.scene.group, found.checkpoint
    lines = [f"run {checkpoint.run_id} of {checkpoint.started} is given up, its old nodes stay", *plan["notes"]]
    if plan["uncordon_instance_ids"]:
        lines.append(f"uncordon {names(plan['uncordon_instance_ids'])}")
    if plan["remove_instance_ids"]:
        lines.append(f"drain and remove what the run launched: {names(plan['remove_instance_ids'])}")
    lines += _size_lines(plan, group)
    if plan["processes"]:
        lines.append(f"resume {', '.join(plan['processes'])}")
    if plan["unprotect_instance_ids"]:
        lines.append(f"take our protection from scale-in off {len(plan['unprotect_instance_ids'])} instances")
    if plan["node_instance_ids"]:
        lines.append(f"take our marks off {len(plan['node_instance_ids'])} nodes")
    return lines


def _size_lines(plan: dict[str, Any], group: Any) -> list[str]:
    sizes = [
        ("desired capacity", group.desired_capacity, plan["desired_capacity"]),
        ("maximum size", group.max_size, plan["max_size"]),
    ]
    return [f"{what} {now} -> {then}" for what, now, then in sizes if now != then]
