# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last stages of a rollout: what is to be put back, and the proof that all is."""

from __future__ import annotations

from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils import zones
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import (
    ALL_GROUP_TAGS,
    ALL_INSTANCE_TAGS,
    SURPLUS,
    Checkpoint,
    Obligation,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.forced import in_words, note_forced
from ansible_collections.evergreen.eks.plugins.module_utils.groups import untag_group, untag_instances
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import MARKS
from ansible_collections.evergreen.eks.plugins.module_utils.plan_time import note_pace
from ansible_collections.evergreen.eks.plugins.module_utils.report.leave import leave_report, shown
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Ending
from ansible_collections.evergreen.eks.plugins.module_utils.resizing import Resize, resize
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import (
    Rollout,
    Standing,
    elapsed,
    names,
    take_up,
)
from ansible_collections.evergreen.eks.plugins.module_utils.scene import Scene, describe_target
from ansible_collections.evergreen.eks.plugins.module_utils.stages import absent_before, not_new, taken_out_in_vain
from ansible_collections.evergreen.eks.plugins.module_utils.stopping import leftover
from ansible_collections.evergreen.eks.plugins.module_utils.unfinished import Unfinished

REBALANCE = "AZRebalance"
# How often a run tries to come to its end: a spot loss or an autoscaler may always come in between.
ENDINGS = 3


def restore(rollout: Rollout) -> dict[str, Any]:
    """How many members are to be Ready before anything is put back."""
    standing = take_up(rollout)
    checkpoint, scene = standing.checkpoint, standing.scene
    checkpoint.stages.setdefault("restore", rollout.call.clock.timestamp())
    rollout.save(checkpoint, scene)
    own = scene.group.desired_capacity - checkpoint.ledger.held
    return {
        "changed": True,
        "min_ready": max(0, own - len(absent_before(checkpoint, scene))),
        "expected_desired": scene.group.desired_capacity,
        "old_instance_ids": not_new(checkpoint),
    }


def sizes_back(rollout: Rollout) -> dict[str, Any]:
    """Put the sizes back, and answer what else is: each obligation that is still as we left it, where it does no harm.

    Desired capacity falls only by the surplus that never came: no member is lost by that.
    """
    standing = resize(rollout, take_up(rollout), _size_before, only_raise=False)
    return {"changed": True, **to_put_back(standing, _size_before(standing).desired_capacity)}


def to_put_back(standing: Standing, desired: int) -> dict[str, Any]:
    """What of maximum size, processes, protection, node marks and load balancers is still as we left it, once `desired`
    is so."""
    checkpoint, scene = standing.checkpoint, standing.scene
    group, owed = scene.group, checkpoint.obligations
    return {
        "max_size": _max_size(owed.max_size, group.max_size, desired),
        "processes": [name for name in owed.processes if name in group.suspended and not _stays(name, standing)],
        "unprotect_instance_ids": _to_unprotect(checkpoint, scene),
        "protects_new": (
            owed.protects_new.was if _as_left(owed.protects_new, group.protects_new) else group.protects_new
        ),
        "node_instance_ids": _marked(scene),
        "returning_instance_ids": taken_out_in_vain(checkpoint, scene),
    }


def finish(rollout: Rollout) -> dict[str, Any]:
    """Prove that everything is as it should be, take our marks off and archive the checkpoint.

    What somebody has brought about while we put things back may be put right at once: then it answers C(again).
    Raises Unfinished, naming what is still open, and leaves the marks where they are.
    """
    standing = take_up(rollout)
    checkpoint, scene = standing.checkpoint, standing.scene
    left_over = still_open(standing)
    if left_over:
        checkpoint.endings += 1
        rollout.save(checkpoint, scene)
        if checkpoint.endings < ENDINGS and _can_be_put_right(standing):
            rollout.say("still_open", f"still open, once more: {'; '.join(left_over)}", open=left_over)
            return {"changed": True, "again": True, "open": left_over}
        deed = "given up" if checkpoint.given_up else "rolled"
        raise Unfinished(
            f"node group {rollout.asg_name} is {deed} but not all is put back: {'; '.join(left_over)}",
            remedy=_advice(standing),
            open=left_over,
        )
    shifted = _shifted(standing)
    note_forced(checkpoint, rollout.journal)
    checkpoint.ended = rollout.call.clock.timestamp()
    note_pace(checkpoint, scene, rollout.journal)
    rollout.store.save(checkpoint)
    # The group's marks first: without them those of the instances mean nothing to anybody.
    untag_group(rollout.aws, rollout.asg_name, list(ALL_GROUP_TAGS))
    untag_instances(rollout.aws, [member.instance_id for member in scene.group.members], list(ALL_INSTANCE_TAGS))
    archive = rollout.store.archive(checkpoint.run_id)
    result = outcome(checkpoint, scene, shifted)
    ended = {"outcome": result["outcome"], "seconds": result["seconds"], "replaced": len(result["replaced"])}
    rollout.say("run_ended", f"finished: {result['summary']}", **ended)
    asked = leftover(rollout.store) or ""  # too late for this group, in time for those that have not begun
    ending = Ending(outcome=result["outcome"])
    reports = leave_report(rollout.wish, rollout.asg_name, rollout.journal, checkpoint, ending, rollout.call, archive)
    if reports:
        rollout.say("report_written", shown(reports), reports=reports)
    places = {"checkpoint": archive, "journal": str(rollout.journal), "reports": reports}
    return {"changed": True, "again": False, "result": {**result, **places, "stop_request": asked}}


def outcome(checkpoint: Checkpoint, scene: Scene, shifted: list[str]) -> dict[str, Any]:
    """What a run did that has come to its end, or was put back, as data: `rollout_result` of the role."""
    new = sorted(
        (h for h in scene.counting if h.instance_id not in checkpoint.members_before), key=lambda h: h.instance_id
    )
    gone = {name: host for name, host in checkpoint.hosts.items() if host.finished and host.reason != SURPLUS}
    began = checkpoint.stages.get("abandon", checkpoint.started) if checkpoint.given_up else checkpoint.started
    seconds = elapsed(began, checkpoint.ended)
    return {
        "outcome": "put_back" if checkpoint.given_up else "finished",
        "asg_name": scene.group.name,
        "run_id": checkpoint.run_id,
        "changed": True,
        "replaced": [
            {
                "instance_id": name,
                "node": host.node,
                "zone": host.zone,
                "reason": host.reason,
                "how": host.how,
                "wave": host.wave,
            }
            for name, host in gone.items()
        ],
        "kept": sorted(host.instance_id for host in scene.counting if host.instance_id in checkpoint.members_before),
        "new": [{"instance_id": host.instance_id, "node": host.node or "", "zone": host.zone} for host in new],
        "target": describe_target(scene.target),
        "sizes_before": checkpoint.sizes_before,
        "sizes_after": scene.group.sizes,
        "forced": checkpoint.forced,
        "shifted": shifted,
        "seconds": seconds,
        "summary": f"{_deeds(checkpoint, len(gone))} in {seconds} s, desired capacity "
        f"{checkpoint.sizes_before['desired_capacity']} -> {scene.group.desired_capacity}"
        f"{', ' if checkpoint.forced else ''}{in_words(checkpoint.forced)}",
    }


def _deeds(checkpoint: Checkpoint, gone: int) -> str:
    """What was done, in words."""
    if not checkpoint.given_up:
        return f"{counted(gone, 'instance')} replaced"
    surplus = sum(1 for host in checkpoint.hosts.values() if host.finished and host.reason == SURPLUS)
    before = f"{counted(gone, 'old instance')} had been replaced before, " if gone else ""
    return f"put back: {before}{counted(surplus, 'instance')} of the run's own removed"


# --- the parts ---------------------------------------------------------------------------------------------------


def _size_before(standing: Standing) -> Resize:
    """The group's own size as it is now, and the maximum that is to be put back."""
    checkpoint, group = standing.checkpoint, standing.scene.group
    held = checkpoint.ledger.held
    ghosts = min(held, max(0, group.desired_capacity - len(group.strength)))
    desired = group.desired_capacity - ghosts
    return Resize(desired, _max_size(checkpoint.obligations.max_size, group.max_size, desired), held - ghosts)


def _as_left(owed: Optional[Obligation], now: Any) -> bool:
    return owed is not None and owed.ours(now)


def _max_size(owed: Optional[Obligation], now: int, desired: int) -> int:
    return max(owed.was, desired) if _as_left(owed, now) else now


def _stays(process: str, standing: Standing) -> bool:
    """AZRebalance stays suspended while the zones are worse than before: resumed, it would kill undrained nodes."""
    return process == REBALANCE and zones.worse(standing.checkpoint.zones_before, standing.scene.zones)


def _to_unprotect(checkpoint: Checkpoint, scene: Scene) -> list[str]:
    """Members whose protection is ours; none while the group has more members than desired: it would kill one."""
    if len(scene.group.strength) > scene.group.desired_capacity:
        return []
    marks = scene.member_marks(checkpoint.run_id)
    new_ones = checkpoint.obligations.protects_new is not None
    return [
        member.instance_id
        for member in scene.group.members
        if member.protected
        and not member.leaving
        and (not marks[member.instance_id].protected if member.instance_id in marks else new_ones)
    ]


def _marked(scene: Scene) -> list[str]:
    """Members whose nodes carry our marks; the node of who is on its way out stays cordoned and goes with it."""
    return [
        host.instance_id for host in scene.present if host.node and MARKS in scene.nodes[host.instance_id].annotations
    ]


def still_open(standing: Standing) -> list[str]:
    """What keeps the run from its end, in words."""
    checkpoint, scene = standing.checkpoint, standing.scene
    group, owed = scene.group, checkpoint.obligations
    found = []
    if checkpoint.remaining:
        found.append(f"{names([f'{n} is {_state(scene, n)}' for n in checkpoint.remaining])}")
    if checkpoint.ledger.held:
        found.append(f"desired capacity {group.desired_capacity} still holds {checkpoint.ledger.held} of our surplus")
    if _max_size(owed.max_size, group.max_size, group.desired_capacity) != group.max_size:
        found.append(f"maximum size is {group.max_size}, was {owed.max_size.was}")
    for process in owed.processes:
        if process in group.suspended:
            why = ", because the zones are less even than before" if _stays(process, standing) else ""
            found.append(f"process {process} is still suspended{why}")
    if _as_left(owed.protects_new, group.protects_new):
        found.append("new instances are still protected from scale-in")
    if len(group.strength) > group.desired_capacity:
        count = counted(len(group.strength), "instance")
        found.append(f"{count} for a desired capacity of {group.desired_capacity}")
    elif _to_unprotect(checkpoint, scene):
        found.append(f"{names(_to_unprotect(checkpoint, scene))} still protected from scale-in")
    marked = [scene.nodes[name].name for name in _marked(scene)]
    if marked:
        found.append(f"our marks are still on {names(marked)}")
    out = taken_out_in_vain(checkpoint, scene)
    if out:
        found.append(f"{names(out)} still out of load balancers")
    return found


def _can_be_put_right(standing: Standing) -> bool:
    """Whether one more round of the last stages may help: nobody is waited for whom somebody else has set aside."""
    checkpoint, suspended = standing.checkpoint, standing.scene.group.suspended
    stays = any(name in suspended and _stays(name, standing) for name in checkpoint.obligations.processes)
    return not checkpoint.remaining and not stays


def _advice(standing: Standing) -> str:
    """What helps where running it again would find the same."""
    group, owed = standing.scene.group, standing.checkpoint.obligations
    launched = [host for host in standing.scene.counting if host.instance_id not in standing.checkpoint.members_before]
    if len(group.strength) > group.desired_capacity and not launched:
        return (
            "Somebody lowered desired capacity meanwhile, and a run removes only what it was told to: drain and "
            f"terminate the others yourself, or raise desired capacity to {len(group.strength)}; then run it again."
        )
    if REBALANCE in owed.processes and REBALANCE in group.suspended and _stays(REBALANCE, standing):
        return (
            f"A rebalance by AWS evicts nobody before it terminates. Even the zones out, or resume {REBALANCE} "
            "yourself where that does no harm; then run it again."
        )
    return "Running it again tries again."


def _shifted(standing: Standing) -> list[str]:
    """What others changed meanwhile and we therefore left."""
    group, owed = standing.scene.group, standing.checkpoint.obligations
    found = []
    if owed.max_size and group.max_size != owed.max_size.was:
        found.append(f"maximum size is {group.max_size}: somebody changed it, or desired capacity grew to it")
    if owed.protects_new and group.protects_new != owed.protects_new.was:
        found.append("protection of new instances was changed by somebody else")
    return found


def _state(scene: Scene, instance_id: str) -> str:
    member = scene.group.member(instance_id)
    return member.lifecycle_state if member else "gone"
