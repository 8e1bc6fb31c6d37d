# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every stage of a rollout shares: the settings, the look at where it stands, and the record of the next step."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.evergreen.eks.plugins.module_utils import plan
from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import (
    DEPARTURE_TAG,
    Checkpoint,
    CheckpointError,
    DepartureMark,
    HostProgress,
    Marks,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.escalation import FAIL, read_steps
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    GroupNotFound,
    tag_group,
    tagged_instances,
)
from ansible_collections.evergreen.eks.plugins.module_utils.hold import Hold
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder, RunInProgress
from ansible_collections.evergreen.eks.plugins.module_utils.journal import Journal
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.lease import confirm
from ansible_collections.evergreen.eks.plugins.module_utils.moments import TIMESTAMP
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Ledger, Selection
from ansible_collections.evergreen.eks.plugins.module_utils.report.files import Wish
from ansible_collections.evergreen.eks.plugins.module_utils.scene import (
    GroupRefused,
    Scene,
    activities_since,
    describe_target,
    look,
    refuse_deleted,
)
from ansible_collections.evergreen.eks.plugins.module_utils.store import Place, Store
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

SHORT_UID = 8  # digits of a cluster's UID: enough to tell clusters apart, short enough for a tag
SHORT_FINGERPRINT = 23  # "sha256:" and 16 digits: enough to tell targets apart, short enough for a tag


class TargetChanged(EvergreenError):
    """The group would launch something else than the run was started for."""

    default_reason = "target_changed"


@dataclass(frozen=True)
class Settings:
    """What a rollout was asked for, typed. Times are seconds."""

    selection: Selection
    max_surge: Any
    max_unavailable: Any
    canary: int
    canary_bake_seconds: float
    suspend_processes: tuple[str, ...]
    ready_timeout: float
    poll_seconds: float
    ignore_checkpoint: bool = False
    lock: bool = True
    lock_seconds: float = 60
    lock_wait: float = 90
    drain_on_timeout: str = FAIL
    plan_file: str = ""  # the plan to follow

    @classmethod
    def of(cls, raw: Mapping[str, Any], poll_seconds: float) -> Settings:
        """From the option `settings`. Raises InvalidInput for what cannot be meant, before anything is asked."""
        plan.parse_amount(raw["max_surge"], "max_surge")
        plan.parse_amount(raw["max_unavailable"], "max_unavailable")
        read_steps(raw["drain_on_timeout"], raw["drain_escalation"])
        return cls(
            selection=plan.parse_selection(raw["select"]),
            max_surge=raw["max_surge"],
            max_unavailable=raw["max_unavailable"],
            canary=raw["canary"],
            canary_bake_seconds=raw["canary_bake_seconds"],
            suspend_processes=tuple(raw["suspend_processes"]),
            ready_timeout=raw["ready_timeout"],
            poll_seconds=poll_seconds,
            ignore_checkpoint=raw["ignore_checkpoint"],
            lock=raw["lock"],
            lock_seconds=raw["lock_seconds"],
            lock_wait=raw["lock_wait"],
            drain_on_timeout=raw["drain_on_timeout"],
            plan_file=raw.get("plan_file") or "",
        )

    @property
    def decisive(self) -> dict[str, Any]:
        """What of it decides who is replaced, and in which waves; as it would be read back from a file."""
        value = list(self.selection.value) if isinstance(self.selection.value, tuple) else self.selection.value
        return {
            "select": self.selection.kind if value is None else {self.selection.kind: value},
            "max_surge": str(self.max_surge),
            "max_unavailable": str(self.max_unavailable),
            "canary": self.canary,
        }


@dataclass(frozen=True)
class Rollout:
    """The rollout of one node group: the doors to AWS and Kubernetes, its checkpoint, its journal and its lock.

    C(take_hold) takes the lock of the cluster for this playbook run, or does nothing where none is wanted. C(hold) is
    the file by which the run knows that it has it, "" before or without that. C(wish) says which reports it leaves.
    """

    aws: Aws
    client: KubernetesClient
    call: Call
    store: Store
    place: Place
    journal: Path
    settings: Settings
    holder: Holder
    take_hold: Callable[[], str]
    hold: str = ""
    wish: Wish = Wish()

    @property
    def asg_name(self) -> str:
        return self.place.group

    @property
    def cluster_name(self) -> str:
        return self.place.cluster

    def new_run_id(self) -> str:
        """Sortable and unique: `20261121T010203-4f2a9c`."""
        started = self.call.clock.timestamp().replace("-", "").replace(":", "").rstrip("Z")
        return f"{started}-{secrets.token_hex(3)}"

    def save(self, checkpoint: Checkpoint, scene: Scene) -> None:
        """Write the marks, then the checkpoint: of two that differ after a kill, the marks are the later word."""
        owed, most = checkpoint.obligations.max_size, scene.group.max_size
        about_to_get = owed.set_to if owed and owed.ours(most) else most
        checkpoint.ledger = checkpoint.ledger.written(scene.group.desired_capacity, max(most, about_to_get))
        checkpoint.holder = self.holder.label
        tags = marks_of(checkpoint).as_tags()
        changed = {key: value for key, value in tags.items() if scene.group.tags.get(key) != value}
        if changed:
            tag_group(self.aws, self.asg_name, changed)
        self.store.save(checkpoint)

    def say(self, kind: str, text: str, **fields: Any) -> None:
        """One line for those who watch, and the same as data."""
        self.call.journal.write(kind, text=text, **fields)


@dataclass(frozen=True)
class Standing:
    """Where an unfinished run stands: its checkpoint brought up to date with one look at reality."""

    checkpoint: Checkpoint
    scene: Scene


def take_up(rollout: Rollout) -> Standing:
    """Read the checkpoint and reality for the next stage of a run that holds the group.

    Raises LockLost or RunInProgress when another run holds the cluster, or the group, by now, CheckpointError when the
    run's record is gone, and GroupRefused when the group is, or goes.
    """
    if rollout.hold:
        confirm_hold(rollout)
    checkpoint = rollout.store.load()
    if checkpoint:
        rollout.call.journal.about(run=checkpoint.run_id, group=rollout.asg_name)
    try:
        scene = look(rollout.aws, rollout.client, rollout.asg_name)
    except GroupNotFound as error:
        raise GroupRefused(
            f"node group {rollout.asg_name} was deleted while it was under way",
            reason="group_not_found",
            remedy=f"There is nothing left to put back; leave the group out, and move {rollout.store.place} away",
        ) from error
    refuse_deleted(scene)
    if checkpoint is None or scene.marks is None or scene.marks.run_id != checkpoint.run_id:
        raise CheckpointError(
            f"the record of the run on node group {rollout.asg_name} disappeared while it was under way",
            reason="checkpoint_foreign",
            remedy="Somebody else worked on this group; look at it, then run the rollout again from its beginning",
        )
    if scene.marks.holder != rollout.holder.label:
        raise RunInProgress(
            f"node group {rollout.asg_name} was taken up by another run ({scene.marks.holder or 'unknown'}) meanwhile",
            reason="locked",
            remedy="Let that run come to its end",
        )
    bring_up_to_date(rollout, checkpoint, scene)
    return Standing(checkpoint, scene)


def confirm_hold(rollout: Rollout) -> None:
    """Make sure that the cluster's lock is still this run's; a process that kept it and was killed is replaced.

    Raises LockLost, KubernetesError, EvergreenError.
    """
    if not Hold(rollout.hold, patience=0).record().kept():
        rollout.take_hold()
    confirm(rollout.client, rollout.hold)


def bring_up_to_date(rollout: Rollout, checkpoint: Checkpoint, scene: Scene) -> None:
    """Settle what the last step announced, and finish the hosts that have left. Saves nothing."""
    if scene.marks:
        checkpoint.obligations, checkpoint.ledger = scene.marks.obligations, scene.marks.ledger
    checkpoint.ledger = settled(rollout, checkpoint, scene)
    now = rollout.call.clock.timestamp()
    for name in checkpoint.remaining:
        host = checkpoint.hosts[name]
        if not host.node and name in scene.nodes:
            host.node = scene.nodes[name].name  # it has joined since it was selected
        if scene.has_left(name):
            host.finished, host.how = True, "removed" if "detach" in host.times else "vanished"
            host.times["gone"] = now
            tell_gone(rollout.call.journal, name, host, old=name in checkpoint.members_before)
    for wave in checkpoint.waves:
        if not wave.finished and wave.instances and all(checkpoint.hosts[name].finished for name in wave.instances):
            checkpoint.replace_wave(replace(wave, finished=True))
            of = len(checkpoint.waves)
            rollout.call.journal.write("wave_ended", wave=wave.number, waves=of, instances=list(wave.instances))


def tell_gone(journal: Journal, instance_id: str, host: HostProgress, old: bool) -> None:
    """That an instance has left by now: people are told where nobody took it out."""
    text = {"text": "has gone by itself"} if host.how == "vanished" else {}
    facts = {"node": host.node, "instance": instance_id, "old": old, "zone": host.zone, "how": host.how}
    journal.write("node_stage", to="terminated", **facts, **text)


def settled(rollout: Rollout, checkpoint: Checkpoint, scene: Scene) -> Ledger:
    """The ledger after what the last announced step has really done, and after what others did to the sizes."""
    group = scene.group
    ledger = _step_settled(rollout, checkpoint, scene)
    ledger = plan.after_reset(ledger, group.desired_capacity, group.max_size)
    return plan.above_minimum(ledger, group.desired_capacity, group.min_size)


def _step_settled(rollout: Rollout, checkpoint: Checkpoint, scene: Scene) -> Ledger:
    """A new turn begins where departures were counted: they must not be counted again."""
    ledger = checkpoint.ledger
    if ledger.change is not None:
        activities = activities_since(rollout.aws, rollout.asg_name, ledger.after)
        return plan.settle(ledger, scene.group.desired_capacity, activities, 0)
    if ledger.held == 0:
        return ledger
    mark = DepartureMark(checkpoint.run_id, ledger.turn, decrement=True)
    announced = set(tagged_instances(rollout.aws, DEPARTURE_TAG, str(mark)))
    if checkpoint.departing_turn == ledger.turn:
        announced |= set(checkpoint.departing)
    left = [name for name in announced if scene.has_left(name)]
    forgotten = ledger.departure is not None and ledger.departure.number > len(announced)
    if not left and not forgotten:
        return ledger
    activities = activities_since(rollout.aws, rollout.asg_name, ledger.after)
    shrunk = plan.shrunk_by_departures(ledger, announced, left, activities)
    return replace(plan.settle(ledger, scene.group.desired_capacity, activities, shrunk), turn=ledger.turn + 1)


def same_target(checkpoint: Checkpoint, scene: Scene) -> None:
    """Raise TargetChanged where the group would by now launch something else than this run is for."""
    if scene.target.fingerprint[:SHORT_FINGERPRINT] == checkpoint.target:
        return
    now = describe_target(scene.target)
    raise TargetChanged(
        f"node group {scene.group.name} now launches {now}; its unfinished run {checkpoint.run_id} was started for "
        f"{checkpoint.target_text or checkpoint.target}",
        was=checkpoint.target_text or checkpoint.target,
        now=now,
        remedy="Put the launch source back and run again to finish what was begun, or run with ignore_checkpoint "
        "(eks_ignore_checkpoint=true) to select anew: nodes of both older kinds are then replaced",
    )


def marks_of(checkpoint: Checkpoint) -> Marks:
    """The marks that say, on the group itself, what this checkpoint says of obligations and surplus."""
    return Marks(
        run_id=checkpoint.run_id,
        target=checkpoint.target,
        started=checkpoint.started,
        obligations=checkpoint.obligations,
        ledger=checkpoint.ledger,
        surge=checkpoint.surge,
        unavailable=checkpoint.unavailable,
        zones=checkpoint.zones_before,
        holder=checkpoint.holder,
        cluster=checkpoint.cluster["uid"][:SHORT_UID],
        given_up=checkpoint.given_up,
    )


def elapsed(start: str, end: str) -> int:
    """Whole seconds between two timestamps of the clock."""
    return int((datetime.strptime(end, TIMESTAMP) - datetime.strptime(start, TIMESTAMP)).total_seconds())


def names(instances: Sequence[str], most: int = 4) -> str:
    """The first few of a list, in words."""
    rest = f" and {len(instances) - most} more" if len(instances) > most else ""
    return ", ".join(instances[:most]) + rest
