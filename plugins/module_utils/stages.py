# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a rollout that record: each looks at reality, writes the intent, and answers what the verbs do next."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional, Sequence

from ansible_collections.evergreen.eks.plugins.module_utils import plan, zones
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import (
    ALL_INSTANCE_TAGS,
    DEPARTURE_TAG,
    MEMBER_TAG,
    SURPLUS,
    Checkpoint,
    DepartureMark,
    HostProgress,
    MemberMark,
    Obligation,
    Obligations,
)
from ansible_collections.evergreen.eks.plugins.module_utils.departure import LEAVING_TAG
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput, WaitTimeout, counted
from ansible_collections.evergreen.eks.plugins.module_utils.forced import note_forced
from ansible_collections.evergreen.eks.plugins.module_utils.gather import Gathered, as_plan, gather
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    newest_activity,
    tag_instances,
    untag_instances,
)
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import MARKS
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Departure, Ledger, Sizes, Wave
from ansible_collections.evergreen.eks.plugins.module_utils.resizing import Resize, resize
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import (
    Rollout,
    Standing,
    names,
    same_target,
    take_up,
)
from ansible_collections.evergreen.eks.plugins.module_utils.scene import Scene, look, refuse_refreshed
from ansible_collections.evergreen.eks.plugins.module_utils.stopping import heed, leftover
from ansible_collections.evergreen.eks.plugins.module_utils.stragglers import (
    carry,
    on_timeout,
    stragglers_last,
    with_stragglers,
)
from ansible_collections.evergreen.eks.plugins.module_utils.telling import tell_capacity, tell_newcomers
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Deadline, wait_until

PROVENANCE = ("operator", "awx_job_id")


def reserve(rollout: Rollout, provenance: Mapping[str, Optional[str]]) -> dict[str, Any]:
    """Hold the cluster, gather, and write down the way back: obligations, members, the run, who started it and how.

    The members' marks come first and the group's marks after them: where the group is marked, every member is.
    """
    hold = rollout.take_hold()
    forget_stop_request(rollout)
    archive_ended(rollout)
    gathered = gather(rollout, wait=True)
    if not gathered.swept:
        sweep(rollout, gathered.scene)
    checkpoint, scene = gathered.checkpoint, gathered.scene
    set_stale_aside(rollout, gathered)
    if gathered.nothing_to_roll:
        out = scene.out_of_balancers
        if gathered.orphans or out:
            open_journal(rollout)
        done = {**as_plan(gathered), "nothing_to_do": True, "outcome": "nothing_to_do"}  # no more than swept below
        answer = {"changed": not gathered.swept, "plan": done, "run_id": "", "lease": hold}
        return {**answer, "returning_instance_ids": out}
    if not gathered.resumed:  # else nodes may be in hand
        heed(rollout.store, f"wave 1 of {len(checkpoint.waves)}")
    checkpoint.obligations = _obligations(rollout, checkpoint, scene)
    checkpoint.provenance = {name: provenance[name] for name in PROVENANCE if provenance.get(name)}
    checkpoint.holder = rollout.holder.label
    # Where the checkpoint cannot be written nothing is changed. Without a stage it says that nothing was, yet.
    rollout.store.save(checkpoint)
    open_journal(rollout)
    checkpoint.stages.setdefault("reserve", rollout.call.clock.timestamp())
    checkpoint.endings = 0
    mark_members(rollout, checkpoint, scene, resumed=gathered.resumed)
    rollout.save(checkpoint, scene)
    begin_journal(rollout, gathered, "rollout", provenance)
    return {
        "changed": True,
        "plan": as_plan(gathered),
        "run_id": checkpoint.run_id,
        "lease": hold,
        "processes": list(checkpoint.obligations.processes),
        "instance_ids": [host.instance_id for host in scene.counting],
        "node_instance_ids": [host.instance_id for host in scene.counting if host.node],
        "uncordon_instance_ids": cordoned_in_vain(checkpoint, scene),
        "returning_instance_ids": taken_out_in_vain(checkpoint, scene),
    }


def archive_ended(rollout: Rollout) -> None:
    """Put the checkpoint of a run aside that was killed between its last mark and this."""
    ended = rollout.store.load()
    if ended and ended.ended:
        rollout.store.archive(ended.run_id)


def sweep(rollout: Rollout, scene: Scene) -> None:
    """Take off members what a run has left on them that was killed after it had taken its marks off the group, and
    what a call that was killed before it detached them."""
    left, in_vain = scene.left_marked, scene.marked_in_vain
    untag_instances(rollout.aws, left, list(ALL_INSTANCE_TAGS))
    untag_instances(rollout.aws, in_vain, [LEAVING_TAG])
    if left or in_vain:
        number = counted(len({*left, *in_vain}), "instance")
        text = f"marks that nobody needs any more are taken off {number}"
        rollout.say("swept", text, instances=sorted({*left, *in_vain}))


def set_stale_aside(rollout: Rollout, gathered: Gathered) -> None:
    """Make room for the checkpoint of this run where that of a run lies that was finished from elsewhere."""
    if gathered.stale:
        rollout.store.archive(gathered.stale)


def open_journal(rollout: Rollout) -> None:
    """Write into the group's own journal from now on, whose place is known only now. Raises InvalidInput where it
    cannot be written."""
    make_folder_of(rollout.journal)
    rollout.call.journal.about(group=rollout.asg_name)
    if not rollout.call.check_mode:
        rollout.call.journal.also(str(rollout.journal))


def make_folder_of(journal: Path) -> None:
    """The folder that a journal is to be in. Raises InvalidInput where it cannot be made."""
    try:
        journal.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InvalidInput(
            f"the folder {journal.parent} of the journal cannot be made: {error.strerror}",
            remedy="Name a directory you may write to with state.dir (eks_state_dir)",
        ) from error


def begin_journal(rollout: Rollout, found: Gathered, purpose: str, provenance: Mapping[str, Optional[str]]) -> None:
    """The first line of a run: who takes the group in hand, and what for."""
    checkpoint, journal = found.checkpoint, rollout.call.journal
    journal.about(run=checkpoint.run_id)
    own = checkpoint.sizes_before["desired_capacity"]
    open_ones = len(checkpoint.remaining)
    text = f"run {checkpoint.run_id} goes on" if found.resumed else f"run {checkpoint.run_id} begins"
    text += f": {counted(open_ones, 'node')} to replace" if purpose == "rollout" else ": the group is put back"
    journal.write(
        "run_begun",
        text=text,
        resumed=found.resumed,
        purpose=purpose,
        operator=provenance.get("operator") or "",
        awx_job_id=provenance.get("awx_job_id") or "",
        command=provenance.get("resume_command") or "",
        cluster=rollout.cluster_name,
        target=checkpoint.target_text or checkpoint.target,
        selected=[
            {"instance": name, "node": host.node, "zone": host.zone, "reason": host.reason, "finished": host.finished}
            for name, host in checkpoint.hosts.items()
        ],
        surge=checkpoint.surge,
        unavailable=checkpoint.unavailable,
        floor=max(0, own - checkpoint.unavailable),
    )


def forget_stop_request(rollout: Rollout) -> None:
    """A request to stop is for the run before, unless it was made since this one holds the cluster."""
    request = leftover(rollout.store, rollout.holder.label)
    if request is not None:
        text = f"the request to stop ({request}) was for an earlier run and is taken off"
        rollout.say("stop_cleared", text, request=request)


def scale_up(rollout: Rollout, number: int) -> dict[str, Any]:
    """Give the group the sizes that this wave needs, from reality; the change is announced before it is made."""
    standing = take_up(rollout)
    checkpoint = standing.checkpoint
    wave = checkpoint.wave(number)
    if not left_in(checkpoint, wave):
        checkpoint.replace_wave(replace(wave, finished=True))
        rollout.save(checkpoint, standing.scene)
        return {"changed": False, "finished": True, **_wave_facts(checkpoint, wave)}
    heed_stop_request(rollout, checkpoint, wave)
    if not _begun(checkpoint, wave) and not checkpoint.is_surplus(wave):
        refuse_refreshed(rollout.aws, standing.scene)
    _same_target_for(standing, wave)
    _begin_wave(rollout, checkpoint, wave)
    standing = resize(rollout, standing, lambda now: _resize(now, number), only_raise=True)
    checkpoint, sizes = standing.checkpoint, sizes_of(standing, number)
    ready = sum(host.schedulable for host in standing.scene.counting)
    wanted = {"desired": sizes.desired_capacity, "max": max(sizes.max_size, standing.scene.group.max_size)}
    tell_capacity(rollout.call.journal, standing.scene.group, ready, sizes.floor, **wanted)
    return {
        "changed": True,
        "finished": False,
        "desired_capacity": sizes.desired_capacity,
        "expected_desired": sizes.desired_capacity,
        "min_ready": sizes.min_ready,
        "floor": sizes.floor,
        "old_instance_ids": not_new(checkpoint),
        **_wave_facts(checkpoint, checkpoint.wave(number)),
    }


def cordon(rollout: Rollout, number: int) -> dict[str, Any]:
    """Settle who is in this wave, now that its new nodes are Ready, and record it."""
    standing = take_up(rollout)
    checkpoint, scene = standing.checkpoint, standing.scene
    wave = checkpoint.wave(number)
    heed_stop_request(rollout, checkpoint, wave)
    _same_target_for(standing, wave)
    if not wave.instances:
        wave = settled_wave(checkpoint, scene, wave)
        checkpoint.replace_wave(wave)
    victims = stragglers_last(checkpoint, victims_of(checkpoint, wave))
    rollout.call.journal.write("wave_settled", instances=victims, **_place(checkpoint, number))
    for name in victims:
        checkpoint.hosts[name].wave = number
    _reached(rollout, checkpoint, victims, "cordon")
    rollout.save(checkpoint, scene)
    newcomers = _unmarked_newcomers(checkpoint, scene)
    arrived = [host for host in scene.counting if host.instance_id in newcomers]
    tell_newcomers(rollout.call.journal, arrived, scene.nodes, rollout.call.clock.timestamp())
    too_many = checkpoint.is_surplus(wave)
    return {
        "changed": True,
        "instance_ids": victims,
        "new_instance_ids": newcomers,
        "floor": _floor(standing),
        "min_healthy": min(1, _floor(standing)),
        "surplus": too_many,
        "on_timeout": on_timeout(rollout.settings.drain_on_timeout, checkpoint, victims, too_many),
        **_wave_facts(checkpoint, wave),
    }


def detach(rollout: Rollout, number: int, carried: Sequence[str] = ()) -> dict[str, Any]:
    """Mark who leaves the group, and whether desired capacity goes down with it: in the end as many as we hold.

    Those that were not drained in time are `carried` into the next wave."""
    standing = take_up(rollout)
    checkpoint, scene = standing.checkpoint, standing.scene
    wave = carry(rollout, checkpoint, checkpoint.wave(number), carried)
    note_forced(checkpoint, rollout.journal)
    victims = victims_of(checkpoint, wave)
    decrement, successors = departure(checkpoint, scene, wave)
    unjoined = never_joined(checkpoint, scene, victims)
    turn = checkpoint.ledger.turn + 1
    for leaving, shrinks in ((decrement, True), (successors, False)):
        if leaving:
            tag_instances(rollout.aws, leaving, {DEPARTURE_TAG: str(DepartureMark(checkpoint.run_id, turn, shrinks))})
    newest = newest_activity(rollout.aws, rollout.asg_name)
    checkpoint.ledger = Ledger(checkpoint.ledger.held, turn, departure=Departure(len(decrement), newest))
    checkpoint.departing, checkpoint.departing_turn = decrement, turn
    _reached(rollout, checkpoint, victims, "detach")
    rollout.save(checkpoint, scene)
    return {
        "changed": True,
        "instance_ids": victims,
        "decrement_instance_ids": [name for name in decrement if name not in unjoined],
        "replace_instance_ids": [name for name in successors if name not in unjoined],
        "unjoined_decrement_instance_ids": [name for name in decrement if name in unjoined],
        "unjoined_replace_instance_ids": [name for name in successors if name in unjoined],
        "floor": _floor(standing),
        **_wave_facts(checkpoint, wave),
    }


def surplus(rollout: Rollout) -> dict[str, Any]:
    """One more wave for what we still hold when no old node is left to leave with it: named surplus instances.

    That happens where an old instance vanished by itself (spot) and the group replaced it, and where somebody lowered
    desired capacity meanwhile: all members are protected, so that Auto Scaling itself took none out.
    """
    standing = _with_successors(rollout, take_up(rollout))
    checkpoint, scene = standing.checkpoint, standing.scene
    known = next((wave for wave in checkpoint.waves if not wave.finished and checkpoint.is_surplus(wave)), None)
    if known is None and not checkpoint.remaining:
        known = _surplus_wave(rollout, checkpoint, scene)
    rollout.save(checkpoint, scene)
    return {"changed": known is not None, "number": known.number if known else 0}


def give_up(rollout: Rollout) -> dict[str, Any]:
    """Keep the old nodes that are still there: they are selected no more, and their cordons are to be taken off.

    Raises Stopped where that was asked for meanwhile: then all stays for the next run, whatever went wrong.
    """
    heed(rollout.store, "it was put back")
    standing = take_up(rollout)
    checkpoint, scene = standing.checkpoint, standing.scene
    kept = checkpoint.keep_the_rest()
    # The group's mark first: members that are marked to stay would otherwise look as if all were done.
    rollout.save(checkpoint, scene)
    mark_members(rollout, checkpoint, scene, resumed=True)
    if kept:
        rollout.say("kept", f"{counted(len(kept), 'old instance')} kept: {names(kept)}", instances=kept)
    return {
        "changed": bool(kept),
        "instance_ids": cordoned_in_vain(checkpoint, scene),
        "returning_instance_ids": taken_out_in_vain(checkpoint, scene),
    }


# --- the parts ---------------------------------------------------------------------------------------------------


def _obligations(rollout: Rollout, checkpoint: Checkpoint, scene: Scene) -> Obligations:
    """What this run will have to put back; what an earlier part of it took is not recorded anew."""
    old, group = checkpoint.obligations, scene.group
    asked = [name for name in rollout.settings.suspend_processes if name not in group.suspended]
    return Obligations(
        max_size=old.max_size,
        protects_new=old.protects_new or (None if group.protects_new else Obligation(False, True)),
        processes=tuple(dict.fromkeys([*old.processes, *asked])),
    )


def mark_members(rollout: Rollout, checkpoint: Checkpoint, scene: Scene, resumed: bool) -> None:
    """Tag every member of the start, and whoever else goes: is it to go, had its user protected it from scale-in."""
    existing = scene.member_marks(checkpoint.run_id)
    wanted: dict[str, list[str]] = {}
    for host in scene.present:
        mark = existing.get(host.instance_id)
        if mark is None and resumed and host.instance_id not in checkpoint.hosts:
            continue  # launched by this run, to stay
        was_protected = mark.protected if mark else _protected_before(host.protected, checkpoint, resumed)
        launched = mark.launched if mark else host.instance_id not in checkpoint.members_before
        fresh = MemberMark(checkpoint.run_id, host.instance_id in checkpoint.remaining, was_protected, launched)
        if fresh != mark:
            wanted.setdefault(str(fresh), []).append(host.instance_id)
    for text, instances in wanted.items():
        tag_instances(rollout.aws, instances, {MEMBER_TAG: text})


def _protected_before(protected: bool, checkpoint: Checkpoint, resumed: bool) -> bool:
    """Later members without a mark were launched by this run: they are protected as their group protects new ones."""
    return protected and (not resumed or checkpoint.obligations.protects_new is None)


def left_in(checkpoint: Checkpoint, wave: Wave) -> list[str]:
    """The instances of this wave that are still to go; before it is settled, all that are in no wave."""
    if wave.instances:
        return victims_of(checkpoint, wave)
    return checkpoint.free_for(wave.number)


def victims_of(checkpoint: Checkpoint, wave: Wave) -> list[str]:
    """The instances that are settled to be in this wave and have not left yet."""
    return [name for name in wave.instances if not checkpoint.hosts[name].finished]


def settled_wave(checkpoint: Checkpoint, scene: Scene, wave: Wave) -> Wave:
    """The wave with who is in it, chosen among those that are free."""
    size = with_stragglers(checkpoint, wave).size
    ahead = [later.size for later in checkpoint.waves if not later.finished and later.number > wave.number]
    free = checkpoint.free_for(wave.number)
    chosen = plan.choose(scene.hosts, free, checkpoint.ledger.held, [size, *ahead], scene.group.zones)
    return replace(wave, size=size, instances=tuple(chosen))


def departure(checkpoint: Checkpoint, scene: Scene, wave: Wave) -> tuple[list[str], list[str]]:
    """Who of this wave leaves with a decrement of desired capacity, and who with a successor."""
    victims = victims_of(checkpoint, wave)
    counting = {host.instance_id for host in scene.counting}
    strong = [name for name in victims if name in counting]
    # What is too many goes whatever the zones are like; who is in Standby by now is no part of desired capacity.
    before = {} if checkpoint.is_surplus(wave) else checkpoint.zones_before
    remaining = len(checkpoint.remaining) - len(victims)
    decrement, successors = plan.split_departure(scene.hosts, strong, checkpoint.ledger.held, remaining, before)
    return decrement, successors + [name for name in victims if name not in counting]


def _begun(checkpoint: Checkpoint, wave: Wave) -> bool:
    """Were nodes of this wave touched already? They are brought to their end, whatever is asked meanwhile."""
    return any(checkpoint.hosts[name].times for name in wave.instances)


def heed_stop_request(rollout: Rollout, checkpoint: Checkpoint, wave: Wave) -> None:
    """Raise Stopped where somebody asked for that, unless nodes of this wave are in hand already, or are too many."""
    if not _begun(checkpoint, wave) and not checkpoint.is_surplus(wave):
        heed(rollout.store, f"wave {wave.number} of {len(checkpoint.waves)}")


def _resize(standing: Standing, number: int) -> Resize:
    sizes = sizes_of(standing, number)
    return Resize(sizes.desired_capacity, sizes.max_size, sizes.surge)


def sizes_of(standing: Standing, number: int) -> Sizes:
    """What this wave needs, as things are now."""
    checkpoint, group = standing.checkpoint, standing.scene.group
    wave = with_stragglers(checkpoint, checkpoint.wave(number))
    return plan.wave_needs(
        standing.scene.hosts,
        wave,
        left_in(checkpoint, wave),
        checkpoint.ledger,
        desired=group.desired_capacity,
        max_size=group.max_size,
        surge=0 if checkpoint.is_surplus(wave) else min(checkpoint.surge, max(wave.size, _last_size(checkpoint))),
        unavailable=may_be_missing(standing),
    )


def _last_size(checkpoint: Checkpoint) -> int:
    """The size of the last wave: no more surge than that can leave with it, unless a larger wave needs it before."""
    return checkpoint.waves[-1].size


def _floor(standing: Standing) -> int:
    own = standing.scene.group.desired_capacity - standing.checkpoint.ledger.held
    return max(0, own - may_be_missing(standing))


def may_be_missing(standing: Standing) -> int:
    """How many of the own size need not be Ready; a run that is given up replaces none of those that are sick."""
    checkpoint = standing.checkpoint
    sick = absent_before(checkpoint, standing.scene) if checkpoint.given_up else []
    return checkpoint.unavailable + len(sick)


def absent_before(checkpoint: Checkpoint, scene: Scene) -> list[str]:
    """Members of the start that stay and are not Ready: sick before us, not ours to wait for."""
    return [
        host.instance_id
        for host in scene.counting
        if host.instance_id in checkpoint.members_before and not host.schedulable and not host.ours
    ]


def _reached(rollout: Rollout, checkpoint: Checkpoint, instances: Iterable[str], stage: str) -> None:
    now = rollout.call.clock.timestamp()
    for name in instances:
        checkpoint.hosts[name].times.setdefault(stage, now)


def _unmarked_newcomers(checkpoint: Checkpoint, scene: Scene) -> list[str]:
    return [
        host.instance_id
        for host in scene.counting
        if host.node and host.instance_id not in checkpoint.members_before
        if MARKS not in scene.nodes[host.instance_id].annotations
    ]


def _same_target_for(standing: Standing, wave: Wave) -> None:
    """What goes because it is too many goes whatever the group would launch by now."""
    if not standing.checkpoint.is_surplus(wave):
        same_target(standing.checkpoint, standing.scene)


def cordoned_in_vain(checkpoint: Checkpoint, scene: Scene) -> list[str]:
    """Members that carry our cordon and are to stay: of a selection that is given up, or was made anew."""
    return [host.instance_id for host in scene.counting if host.ours and host.instance_id not in checkpoint.remaining]


def not_new(checkpoint: Checkpoint) -> list[str]:
    """Whose traffic nobody waits for: members of the start, whatever others have done with them, and who is to go."""
    return sorted({*checkpoint.members_before, *checkpoint.remaining})


def taken_out_in_vain(checkpoint: Checkpoint, scene: Scene) -> list[str]:
    """Members that a run has taken out of load balancers, and that are to stay after all."""
    return [name for name in scene.out_of_balancers if name not in checkpoint.remaining]


def never_joined(checkpoint: Checkpoint, scene: Scene, leaving: Iterable[str]) -> list[str]:
    """Those launched since the run began that never became a node: there is no list of pods to prove them empty by.

    They go because they are too many, or because the nodes were selected anew for a newer target.
    """
    return [
        name
        for name in leaving
        if name not in checkpoint.members_before and not checkpoint.hosts[name].node and name not in scene.nodes
    ]


def surplus_hosts(checkpoint: Checkpoint, scene: Scene) -> list[plan.Host]:
    """The instances launched by this run that the group has too many, once no old one is left to go."""
    own = scene.group.desired_capacity - checkpoint.ledger.held
    too_many = len(scene.group.strength) - own
    ours = [host for host in scene.counting if host.instance_id not in checkpoint.members_before]
    # On the way back strength is more than evenness.
    before = None if checkpoint.given_up else checkpoint.zones_before
    return plan.newest(ours, scene.zones, too_many, before) if too_many > 0 else []


def successors_due(checkpoint: Checkpoint, scene: Scene) -> bool:
    """Is somebody still to be launched without whom the zones would be less even than before?"""
    missing = len(scene.group.strength) < scene.group.desired_capacity
    return missing and zones.worse(checkpoint.zones_before, scene.zones)


def _with_successors(rollout: Rollout, standing: Standing) -> Standing:
    """How the run stands once Auto Scaling, which takes a moment for that, has launched those that are due.

    Where it cannot, the run goes on without: what never came is no surplus.
    """
    checkpoint, clock = standing.checkpoint, rollout.call.clock
    ends = not checkpoint.given_up and not checkpoint.remaining and checkpoint.ledger.held
    if not ends or not successors_due(checkpoint, standing.scene):
        return standing
    rollout.say("successors", "waiting for the launch of the last successors, which even the zones out")
    with suppress(WaitTimeout):
        wait_until(
            lambda: look(rollout.aws, rollout.client, rollout.asg_name),
            lambda scene: not successors_due(checkpoint, scene),
            clock=clock,
            deadline=Deadline(clock, rollout.settings.ready_timeout),
            interval=rollout.settings.poll_seconds,
        )
    return take_up(rollout)


def _surplus_wave(rollout: Rollout, checkpoint: Checkpoint, scene: Scene) -> Optional[Wave]:
    """A wave of them; None where there are none."""
    chosen = surplus_hosts(checkpoint, scene)
    if not chosen:
        return None
    number = max([wave.number for wave in checkpoint.waves], default=0) + 1
    for host in chosen:
        checkpoint.hosts[host.instance_id] = HostProgress(SURPLUS, host.node or "", host.zone, number)
    wave = Wave(number, len(chosen), tuple(host.instance_id for host in chosen))
    checkpoint.waves.append(wave)
    mark_members(rollout, checkpoint, scene, resumed=True)
    text = f"{counted(len(chosen), 'instance')} too many, to be removed: {names(list(wave.instances))}"
    rollout.say("surplus", text, instances=list(wave.instances), wave=number, waves=len(checkpoint.waves))
    return wave


def _begin_wave(rollout: Rollout, checkpoint: Checkpoint, wave: Wave) -> None:
    """Say that a wave begins, or goes on with those of it that are still there."""
    left = len(victims_of(checkpoint, wave)) if wave.instances else with_stragglers(checkpoint, wave).size
    surplus = checkpoint.is_surplus(wave)
    text = f"{'goes on' if _begun(checkpoint, wave) else 'begins'}: {counted(left, 'node')} to "
    text += "remove, launched by this run and too many" if surplus else "replace"
    facts = {"instances": list(wave.instances), "size": left, "surplus": surplus}
    rollout.say("wave_begun", text, **facts, **_place(checkpoint, wave.number))


def _place(checkpoint: Checkpoint, number: int) -> dict[str, int]:
    """Where an event of this wave belongs."""
    return {"wave": number, "waves": len(checkpoint.waves)}


def _wave_facts(checkpoint: Checkpoint, wave: Wave) -> dict[str, Any]:
    return {"wave": wave.facts(len(checkpoint.waves))}
