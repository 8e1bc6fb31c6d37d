# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage gather: read everything, refuse what cannot be rolled, decide who goes in which waves. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from ansible_collections.evergreen.eks.plugins.module_utils import plan
from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import (
    SURPLUS,
    Checkpoint,
    CheckpointError,
    HostProgress,
    Marks,
    Obligations,
    rebuild,
)
from ansible_collections.evergreen.eks.plugins.module_utils.departure import ENDED
from ansible_collections.evergreen.eks.plugins.module_utils.errors import WaitTimeout, counted
from ansible_collections.evergreen.eks.plugins.module_utils.groups import describe_group, describe_instances
from ansible_collections.evergreen.eks.plugins.module_utils.orphans import Orphan, by_final_state, find_orphans
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Wave
from ansible_collections.evergreen.eks.plugins.module_utils.plan_file import (
    Followed,
    PlanUnusable,
    follow,
    read_planned,
    still_there,
)
from ansible_collections.evergreen.eks.plugins.module_utils.plan_time import former_history
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import (
    SHORT_FINGERPRINT,
    Rollout,
    bring_up_to_date,
    names,
    same_target,
)
from ansible_collections.evergreen.eks.plugins.module_utils.scene import (
    GroupRefused,
    Scene,
    describe_target,
    look,
    refuse,
    unsteady,
)
from ansible_collections.evergreen.eks.plugins.module_utils.stale import why_stale
from ansible_collections.evergreen.eks.plugins.module_utils.stragglers import planned, stragglers_of
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Deadline, wait_until

LEFTOVERS = "marks that nobody needs any more are to be taken off"


@dataclass(frozen=True)
class Gathered:
    """What a gather found: the checkpoint to go by (not yet saved), and how the run stands."""

    scene: Scene
    checkpoint: Checkpoint
    resumed: bool
    notes: tuple[str, ...] = ()
    stale: str = ""  # the run of a checkpoint that is not followed, to be set aside before this one is saved
    orphans: tuple[Orphan, ...] = ()
    swept: bool = True  # else marks that nobody needs are left on members, or the checkpoint of a run that has ended

    @property
    def nothing_to_roll(self) -> bool:
        """Nobody to replace, and no run to be brought to its end."""
        return not self.checkpoint.remaining and not self.resumed

    @property
    def nothing_to_do(self) -> bool:
        """Also nothing to sweep up."""
        return self.nothing_to_roll and self.swept and not self.orphans


def gather(rollout: Rollout, wait: bool = False) -> Gathered:
    """The state of the node group and the plan for it; with `wait`, once a group that nobody rolls yet is steady.

    Raises GroupRefused for a group that cannot be rolled now, CheckpointError and StoreError for a checkpoint that
    cannot be used, TargetChanged for a run that was started for another target, PlanDrift and PlanUnusable for one that
    does not follow its plan, InvalidInput for its settings.
    """
    scene = look(rollout.aws, rollout.client, rollout.asg_name)
    refuse(rollout.aws, scene, rollout.cluster_name)
    uid = cluster_uid(rollout)
    found = found_run(rollout, scene, uid)
    if found.checkpoint:
        return with_orphans(rollout, _resume(rollout, found.unfinished(scene), uid))
    scene = _steady(rollout, scene) if wait else scene
    checkpoint = _begin(rollout, scene, uid, scene.group.desired_capacity)
    checkpoint.history = former_history(rollout.store)
    notes = found.notes + _select(rollout, checkpoint, scene)
    gathered = Gathered(scene, checkpoint, resumed=False, notes=notes, stale=found.stale, swept=found.swept(scene))
    return with_orphans(rollout, _with_waves(rollout, gathered))


def cluster_uid(rollout: Rollout) -> str:
    """The UID of the namespace kube-system: the customary identity of a cluster."""
    return rollout.client.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]


@dataclass(frozen=True)
class Found:
    """The run that was not finished, if there is one; and the run whose checkpoint is not that one's, if there is."""

    checkpoint: Optional[Checkpoint]
    notes: tuple[str, ...] = ()
    stale: str = ""
    ended: bool = False  # a checkpoint says that its run has ended, and was not put aside any more

    def swept(self, scene: Scene) -> bool:
        """Whether nothing is left of what was killed: a run with its last steps, or a call before it detached."""
        return not (self.ended or scene.left_marked or scene.marked_in_vain or scene.out_of_balancers)

    def unfinished(self, scene: Scene) -> Gathered:
        return Gathered(scene, self.checkpoint, resumed=True, notes=self.notes, stale=self.stale)


def found_run(rollout: Rollout, scene: Scene, uid: str) -> Found:
    """The run that was not finished, brought up to date, from its checkpoint or else from its marks.

    Raises CheckpointError and StoreError for a checkpoint, or marks, that cannot be used.
    """
    known = rollout.store.load()
    ended = bool(known and known.ended)  # only not archived any more
    known = None if ended else known
    marks, notes, stale = scene.marks, [], ""
    if known and known.cluster["uid"] != uid:
        raise _of_another_cluster(rollout, f"checkpoint {rollout.store.place}", "the checkpoint")
    if marks and not uid.startswith(marks.cluster):
        raise _of_another_cluster(rollout, f"run {marks.run_id} of node group {rollout.asg_name}", "its tags")
    if known and (marks is None or marks.run_id != known.run_id):
        notes.append(why_stale(known, marks, scene.member_marks(known.run_id), rollout.store.place))
        known, stale = None, known.run_id
    if marks and known is None:
        notes.append(f"run {marks.run_id} has no checkpoint here: rebuilt from the marks on the group")
        known = _rebuilt(rollout, scene, marks, uid)
    if known:
        bring_up_to_date(rollout, known, scene)
    return Found(known, tuple(notes), stale, ended)


def _of_another_cluster(rollout: Rollout, what: str, where: str) -> CheckpointError:
    return CheckpointError(
        f"the {what} belongs to another cluster than {rollout.cluster_name} as you are connected to it",
        reason="checkpoint_foreign",
        remedy=f"Check which cluster you are connected to, or take {where} away",
    )


def _resume(rollout: Rollout, unfinished: Gathered, uid: str) -> Gathered:
    """The unfinished run, to be gone on with. Raises TargetChanged."""
    checkpoint, scene, notes = unfinished.checkpoint, unfinished.scene, unfinished.notes
    if rollout.settings.ignore_checkpoint:
        notes += ("the nodes are selected anew, as asked; what must be put back is kept",)
        notes += _select_anew(rollout, scene, checkpoint, uid)
    elif checkpoint.given_up:
        notes += (f"run {checkpoint.run_id} was given up, but not put back yet: the nodes are selected anew",)
        notes += _select_anew(rollout, scene, checkpoint, uid)
    if any(checkpoint.hosts[name].reason != SURPLUS for name in checkpoint.remaining):
        same_target(checkpoint, scene)  # where nobody is left to replace there is only to put back
    return _with_waves(rollout, replace(unfinished, notes=notes))


def _begin(rollout: Rollout, scene: Scene, uid: str, own_size: int) -> Checkpoint:
    """The checkpoint of a run that begins now; amounts become numbers of instances, once for the whole run."""
    settings = rollout.settings
    surge, unavailable = plan.limits(settings.max_surge, settings.max_unavailable, own_size)
    return Checkpoint(
        run_id=rollout.new_run_id(),
        started=rollout.call.clock.timestamp(),
        cluster={
            "name": rollout.cluster_name,
            "uid": uid,
            "account": rollout.place.account,
            "region": rollout.place.region,
        },
        group={"name": scene.group.name, "arn": scene.group.arn},
        target=scene.target.fingerprint[:SHORT_FINGERPRINT],
        target_text=describe_target(scene.target),
        surge=surge,
        unavailable=unavailable,
        sizes_before=scene.group.sizes,
        zones_before=scene.zones,
        members_before=[host.instance_id for host in scene.present],
        hosts={},
        waves=[],
    )


def _rebuilt(rollout: Rollout, scene: Scene, marks: Marks, uid: str) -> Checkpoint:
    """The checkpoint that was lost, from the marks: who is still to go, what is to be put back, what we hold.

    The mark to be replaced was put on every selected instance before the first change, so that nothing that was
    launched afterwards can be selected.
    """
    own = marks.ledger.own or max(1, scene.group.desired_capacity - marks.ledger.held)
    checkpoint = rebuild(marks, _begin(rollout, scene, uid, own))
    checkpoint.history = former_history(rollout.store)
    member_marks = scene.member_marks(marks.run_id)
    checkpoint.members_before = sorted(name for name, mark in member_marks.items() if not mark.launched)
    checkpoint.sizes_before = _sizes_before(scene, marks.obligations, own)
    checkpoint.hosts = {
        name: _progress(scene, name, SURPLUS if mark.launched else "selected")
        for name, mark in sorted(member_marks.items())
        if mark.replace
    }
    surplus = tuple(name for name, host in checkpoint.hosts.items() if host.reason == SURPLUS)
    begun = tuple(name for name in _cordoned(scene, checkpoint) if name not in surplus)
    known = [instances for instances in (begun, surplus) if instances]
    checkpoint.waves = [Wave(number, len(instances), instances) for number, instances in enumerate(known, 1)]
    return checkpoint


def _select_anew(rollout: Rollout, scene: Scene, known: Checkpoint, uid: str) -> tuple[str, ...]:
    """A new selection under the old obligations; answers what an operator should know about it."""
    fresh = _begin(rollout, scene, uid, max(1, scene.group.desired_capacity - known.ledger.held))
    known.hosts, known.waves, known.given_up = {}, [], False
    known.target, known.target_text = fresh.target, fresh.target_text
    known.surge, known.unavailable = fresh.surge, fresh.unavailable
    notes = _select(rollout, known, scene)
    begun = _cordoned(scene, known)
    known.waves = [Wave(1, len(begun), begun)] if begun else []
    return notes


def _cordoned(scene: Scene, checkpoint: Checkpoint) -> tuple[str, ...]:
    """The selected instances that we cordoned already."""
    return tuple(host.instance_id for host in scene.hosts if host.ours and host.instance_id in checkpoint.hosts)


def _select(rollout: Rollout, checkpoint: Checkpoint, scene: Scene) -> tuple[str, ...]:
    """Select the hosts; answers what an operator should know about it."""
    selection = rollout.settings.selection
    gone = already_gone(rollout.aws, scene, selection.value) if selection.kind == "instances" else []
    chosen = plan.select(scene.hosts, selection, datetime.now(timezone.utc), gone)
    notes = (f"{names(gone)} named to be replaced, and gone already",) if gone else ()
    if rollout.settings.plan_file:
        followed = _followed(rollout, checkpoint, scene, chosen)
        chosen, notes = followed.selected, notes + followed.notes
    checkpoint.hosts = {name: _progress(scene, name, reason) for name, reason in sorted(chosen.items())}
    return notes


def _followed(rollout: Rollout, checkpoint: Checkpoint, scene: Scene, chosen: Mapping[str, str]) -> Followed:
    """The selection as it was planned. Raises PlanDrift and PlanUnusable.

    Where nobody is selected, a plan is only asked whether somebody should be: a run that is repeated needs none.
    """
    try:
        planned = read_planned(Path(rollout.settings.plan_file), checkpoint.cluster, scene.group.name)
    except PlanUnusable as error:
        if chosen:
            raise
        return Followed({}, (f"nobody is selected, and the plan does not say whether somebody should be: {error}",))
    if not chosen and not still_there(planned, scene.hosts):
        return Followed({})
    target = scene.target.fingerprint[:SHORT_FINGERPRINT], describe_target(scene.target)
    return follow(planned, rollout.settings.decisive, target, chosen, scene.hosts)


def already_gone(aws: Aws, scene: Scene, instance_ids: Sequence[str]) -> list[str]:
    """Those that are on their way out of the group, or have ended; EC2 knows an instance for an hour after its end."""
    left = [name for name in instance_ids if scene.has_left(name)]
    outside = describe_instances(aws, [name for name in left if not scene.group.member(name)])
    return [name for name in left if name not in outside or outside[name].state in ENDED]


def _progress(scene: Scene, instance_id: str, reason: str) -> HostProgress:
    host = next(host for host in scene.hosts if host.instance_id == instance_id)
    return HostProgress(reason=host.outdated or reason, node=host.node or "", zone=host.zone)


def _sizes_before(scene: Scene, obligations: Obligations, own: int) -> dict[str, int]:
    most = obligations.max_size.was if obligations.max_size else scene.group.max_size
    return {"min_size": scene.group.min_size, "max_size": most, "desired_capacity": own}


def _with_waves(rollout: Rollout, gathered: Gathered) -> Gathered:
    checkpoint = gathered.checkpoint
    checkpoint.waves = planned(checkpoint, checkpoint.remaining, rollout.settings.canary)
    return gathered


def with_orphans(rollout: Rollout, gathered: Gathered) -> Gathered:
    """What was detached from this group and not ended is named, whether or not this run comes to end it."""
    orphans = find_orphans(rollout.aws, gathered.scene.group)
    return replace(gathered, orphans=tuple(orphans), notes=(*gathered.notes, *map(str, orphans)))


def leftovers(scene: Scene) -> list[str]:
    """What is left of runs that have ended, in words."""
    out = scene.out_of_balancers
    return [LEFTOVERS, *([f"{names(out)} to be put back into load balancers"] if out else [])]


def _steady(rollout: Rollout, scene: Scene) -> Scene:
    """The scene once members are as many as desired and all in service."""
    if not unsteady(scene.group):
        return scene
    settings = rollout.settings
    try:
        wait_until(
            lambda: describe_group(rollout.aws, rollout.asg_name),
            lambda group: not unsteady(group),
            clock=rollout.call.clock,
            deadline=Deadline(rollout.call.clock, settings.ready_timeout),
            interval=settings.poll_seconds,
        )
    except WaitTimeout as error:
        raise GroupRefused(
            f"Auto Scaling group {rollout.asg_name} {unsteady(error.last)}, for {settings.ready_timeout:g} s now",
            reason="not_steady",
            remedy="See its scaling activities for the cause",
        ) from error
    return look(rollout.aws, rollout.client, rollout.asg_name)


def as_plan(gathered: Gathered) -> dict[str, Any]:
    """The plan as data: what a playbook shows, and what a person decides on."""
    checkpoint, scene = gathered.checkpoint, gathered.scene
    return {
        "asg_name": scene.group.name,
        "cluster": checkpoint.cluster["name"],
        "outcome": "nothing_to_do" if gathered.nothing_to_do else "planned",
        "changed": False,
        "nothing_to_do": gathered.nothing_to_do,
        "resumed": gathered.resumed,
        "run_id": checkpoint.run_id if gathered.resumed else "",
        "target": describe_target(scene.target),
        "sizes": scene.group.sizes,
        "own_size": scene.group.desired_capacity - checkpoint.ledger.held,
        "held": checkpoint.ledger.held,
        "surge": checkpoint.surge,
        "unavailable": checkpoint.unavailable,
        "max_size_needed": max_needed(checkpoint, scene),
        "selected": [
            {"instance_id": name, **{key: getattr(host, key) for key in ("node", "zone", "reason", "wave", "finished")}}
            for name, host in checkpoint.hosts.items()
        ],
        "remaining": checkpoint.remaining,
        "waves": [wave.as_dict() for wave in checkpoint.waves],
        "ahead": [wave.number for wave in checkpoint.waves if not wave.finished],
        "in_hand": [wave.number for wave in _in_hand(checkpoint)],
        "surplus_waves": [wave.number for wave in checkpoint.waves if checkpoint.is_surplus(wave)],
        "finished_last": finished_last(checkpoint),
        "orphans": by_final_state(gathered.orphans),
        "notes": list(gathered.notes),
        "summary": summary(gathered),
    }


def _in_hand(checkpoint: Checkpoint) -> list[Wave]:
    return [wave for wave in checkpoint.waves if wave.instances and not wave.finished]


def finished_last(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """The wave that was finished last, where no other was begun since: a run that failed, or was killed, may have done
    so before the operator's own tasks after that wave had come to their end."""
    old = [wave for wave in checkpoint.waves if wave.finished and wave.instances and not checkpoint.is_surplus(wave)]
    return [wave.facts(len(checkpoint.waves)) for wave in old[-1:]] if not _in_hand(checkpoint) else []


def max_needed(checkpoint: Checkpoint, scene: Scene) -> int:
    """The maximum size that the waves need at least."""
    own = scene.group.desired_capacity - checkpoint.ledger.held
    ahead = [min(checkpoint.surge, wave.size) for wave in checkpoint.waves if not wave.finished]
    return own + max([checkpoint.ledger.held, *ahead])


def summary(gathered: Gathered) -> list[str]:
    """The plan in a few lines."""
    checkpoint, scene = gathered.checkpoint, gathered.scene
    group = scene.group
    notes = [f"{group.name}: {note}" for note in gathered.notes]
    where = f"{group.name}: {counted(len(scene.counting), 'instance')}, target {describe_target(scene.target)}"
    if gathered.nothing_to_do:
        return [where, f"{group.name}: nothing to do, no instance is selected", *notes]
    if gathered.nothing_to_roll:
        sweeping = [] if gathered.swept else [f"{group.name}: {line}" for line in leftovers(scene)]
        return [where, f"{group.name}: no instance is selected", *sweeping, *notes]
    done = [name for name, host in checkpoint.hosts.items() if host.finished]
    ahead = [wave.size for wave in checkpoint.waves if not wave.finished]
    lines = [where]
    if gathered.resumed:
        lines.append(f"{group.name}: goes on with run {checkpoint.run_id}, {len(done)} of {len(checkpoint.hosts)} gone")
    lines += [
        f"{group.name}: wave {wave.number} is finished, skipped ({names(list(wave.instances))})"
        for wave in checkpoint.waves
        if wave.finished
    ]
    lines.append(
        f"{group.name}: {len(checkpoint.remaining)} to replace in {counted(len(ahead), 'wave')} of "
        f"{'+'.join(map(str, ahead)) or 'none'}, up to {checkpoint.surge} extra and {checkpoint.unavailable} missing"
    )
    carried = stragglers_of(checkpoint, checkpoint.remaining)
    if carried:
        lines.append(f"{group.name}: not drained in time before, and tried again with the next wave: {names(carried)}")
    return lines + notes
