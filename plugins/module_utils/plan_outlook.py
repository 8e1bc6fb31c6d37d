# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outlook of a rollout: the gathered plan with its course, times, addresses, and what a drain would meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.evergreen.eks.plugins.module_utils import plan_addresses
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.drain.plan import Request, plan_patiently
from ansible_collections.evergreen.eks.plugins.module_utils.drain.rehearsal import rehearse
from ansible_collections.evergreen.eks.plugins.module_utils.drain.run import DRAIN_OPTIONS
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.foresight import with_impossible_budgets
from ansible_collections.evergreen.eks.plugins.module_utils.gather import Gathered, as_plan
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Target
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.moments import parse_timestamp, timestamp_of
from ansible_collections.evergreen.eks.plugins.module_utils.plan_course import Course, Step, by_wave, course_of
from ansible_collections.evergreen.eks.plugins.module_utils.plan_table import table
from ansible_collections.evergreen.eks.plugins.module_utils.plan_time import Pace, pace_of, wave_seconds
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import SHORT_FINGERPRINT, Rollout
from ansible_collections.evergreen.eks.plugins.module_utils.scene import Scene

SHORT_IMAGE = 5  # last digits of an image's id, enough to tell two apart
CAUSES = ("pod", "uid", "node", "reason", "class", "message", "cause", "remedy", "owner", "budget", "budgets")


@dataclass(frozen=True)
class Rehearsal:
    """What a drain would meet: per node the pods that leave and how many stay, and who is in the way."""

    leaving: Mapping[str, list[str]] = field(default_factory=dict)
    staying: Mapping[str, int] = field(default_factory=dict)
    blocked: tuple[dict[str, Any], ...] = ()

    @property
    def most_pods(self) -> int:
        """Pods of the busiest node, those that stay included: each new node has such ones, too."""
        return max((len(pods) + self.staying.get(name, 0) for name, pods in self.leaving.items()), default=0)


def outlook(
    rollout: Rollout,
    gathered: Gathered,
    drain: Optional[Mapping[str, Any]],
    max_parallel: Optional[int] = None,
    needed: bool = True,
) -> dict[str, Any]:
    """The plan as data. With `drain`, the options of C(node_drain), it is asked what a drain would meet, and how many
    addresses are free; without, nothing more is asked of AWS than was gathered. `max_parallel`: drains at a time, else
    that of `drain`.

    Where the outlook is not `needed`, as by a run that is to go on, a mistake in it is only noted.
    """
    plan = as_plan(gathered)
    if plan["remaining"]:
        plan = with_impossible_budgets(plan, rollout.client)
    parallel = max_parallel or (drain or {}).get("max_parallel") or DRAIN_OPTIONS["max_parallel"]["default"]
    try:
        return _looked_ahead(rollout, gathered, plan, drain, int(parallel))
    except Exception as error:
        if needed or isinstance(error, EvergreenError):
            raise
        note = f"how it would go on is not known, please report this: {type(error).__name__} {error}"
        return {**plan, "notes": [*plan["notes"], note], "summary": [*plan["summary"], f"{plan['asg_name']}: {note}"]}


def _looked_ahead(
    rollout: Rollout, gathered: Gathered, known: Mapping[str, Any], drain: Optional[Mapping[str, Any]], parallel: int
) -> dict[str, Any]:
    plan = dict(known)
    rehearsal, notes = _rehearsed(rollout, plan["remaining"], drain)
    course = course_of(gathered.checkpoint, gathered.scene)
    pace = pace_of(gathered.checkpoint.history)
    now = rollout.client.time.now()
    plan.update(
        made=timestamp_of(now),
        fingerprint=gathered.scene.target.fingerprint[:SHORT_FINGERPRINT],
        settings=rollout.settings.decisive,
        launches=launched_from(gathered.scene.target),
        notes=[*plan["notes"], *notes],
        summary=[*plan["summary"], *(f"{plan['asg_name']}: {note}" for note in notes)],
        rehearsed=rehearsal is not None,
        blocked=[dict(entry) for entry in rehearsal.blocked] if rehearsal else [],
        skips=skipped(gathered.checkpoint) if gathered.resumed else {"waves": [], "instance_ids": []},
        max_size_after=_max_size_after(gathered.checkpoint, plan),
    )
    _tell_nodes(plan, gathered.scene, course, rehearsal, now)
    _tell_waves(
        plan, course, pace, parallel, baking_left(gathered.checkpoint, rollout.settings.canary_bake_seconds, now)
    )
    if drain and plan["remaining"]:
        plan["addresses"] = _addresses(rollout, gathered.scene, course, rehearsal)
        plan["summary"] += _too_few(plan)
    return {**plan, "table": table(plan)}


def drain_options(raw: Optional[Mapping[str, Any]]) -> Optional[dict[str, Any]]:
    """The options of C(node_drain) for a rehearsal, checked as that module checks them. Raises InvalidInput."""
    if not raw:
        return None
    checked = ArgumentSpecValidator(DRAIN_OPTIONS).validate(dict(raw))
    if checked.error_messages:
        raise InvalidInput(
            f"rehearse: {'; '.join(checked.error_messages)}", remedy="Give it the options of evergreen.eks.node_drain"
        )
    return dict(checked.validated_parameters)


def launched_from(target: Target) -> dict[str, Any]:
    """What new instances are launched from."""
    return {
        "launch_template_id": target.template_id,
        "launch_version": target.version,
        "launch_configuration": target.configuration,
        "image_id": target.image_id,
        "instance_types": list(target.instance_types),
    }


def came_from(scene: Scene, instance_id: str) -> dict[str, str]:
    """What one of the members was launched from; empty for one that has left."""
    member, instance = scene.group.member(instance_id), scene.instances.get(instance_id)
    return {
        "launch_template_id": member.launch_template_id if member else "",
        "launch_version": member.launch_template_version if member else "",
        "launch_configuration": member.launch_configuration if member else "",
        "image_id": instance.image_id if instance else "",
        "instance_type": member.instance_type if member else "",
    }


def why(reason: str, was: Mapping[str, str], now: Mapping[str, Any]) -> str:
    """Why an instance goes, in a few words: the old and the new, or why it was selected."""
    if not any(was.values()):  # it has left, and nobody knows any more
        return reason
    if reason == "template_version":
        return f"version {was['launch_version']} -> {now['launch_version']}"
    if reason == "image":
        return f"image ..{was['image_id'][-SHORT_IMAGE:]} -> ..{now['image_id'][-SHORT_IMAGE:]}"
    if reason == "template":
        return "another launch template" if was["launch_template_id"] else "no launch template"
    if reason == "configuration":
        return f"{was['launch_configuration'] or 'none'} -> {now['launch_configuration']}"
    return {
        "instance_type": f"type {was['instance_type']}",
        "all": "all are selected",
        "older_than": "older than asked",
        "instances": "named",
        "expression": "by expression",
        "surplus": "one too many",
    }.get(reason, reason)


def skipped(checkpoint: Checkpoint) -> dict[str, list[Any]]:
    """What a run that goes on has behind it."""
    return {
        "waves": [wave.number for wave in checkpoint.waves if wave.finished],
        "instance_ids": [name for name, host in checkpoint.hosts.items() if host.finished],
    }


def baking_left(checkpoint: Checkpoint, seconds: float, now: datetime) -> float:
    """How long the canary is still to stand before the second wave."""
    if "baked" in checkpoint.stages:
        return 0
    begun = parse_timestamp(checkpoint.stages.get("baking", ""))
    return max(0.0, seconds - (now - begun).total_seconds()) if begun else seconds


# --- the parts -----------------------------------------------------------------------------------------------------


def _rehearsed(
    rollout: Rollout, instance_ids: list[str], drain: Optional[Mapping[str, Any]]
) -> tuple[Optional[Rehearsal], tuple[str, ...]]:
    """Dry-run evictions of these instances' pods, and notes; None where it was not asked for or is not allowed."""
    if not drain or not instance_ids:
        return None, ()
    request = Request.of(
        {**drain, "nodes": None, "instance_ids": instance_ids, "poll_seconds": rollout.settings.poll_seconds}
    )
    try:
        plan = plan_patiently(request, rollout.client, rollout.call)
        nodes = rehearse(request, plan, rollout.client, rollout.call)
    except KubernetesError as error:
        if error.status != 403:
            raise
        return None, (f"what would block is not known: {error.message}",)
    leaving = {one.node.name: sorted(str(pod.pod) for pod in one.departures.values()) for one in plan.drains}
    blocked = [
        {name: value for name, value in entry.items() if name in CAUSES} | {"node": node}
        for node, result in nodes.items()
        for entry in result["blocked"]
    ]
    staying = {name: len(result["skipped"]) for name, result in nodes.items()}
    return Rehearsal(leaving, staying, tuple(blocked)), ()


def _tell_nodes(plan: dict[str, Any], scene: Scene, course: Course, rehearsal: Optional[Rehearsal], now: Any) -> None:
    """Each selected instance: its age, what it came from, the wave in which it should go, the pods that move."""
    expected = by_wave(course.steps)
    hosts = {host.instance_id: host for host in scene.hosts}
    for entry in plan["selected"]:
        host = hosts.get(entry["instance_id"])
        launched = host.launched if host else None
        was = came_from(scene, entry["instance_id"])
        leaving = rehearsal.leaving.get(entry["node"]) if rehearsal else None
        entry.update(
            launched=timestamp_of(launched) if launched else "",
            age_seconds=max(0, int((now - launched).total_seconds())) if launched else None,
            came_from=was,
            why=why(entry["reason"], was, plan["launches"]),
            expected_wave=expected.get(entry["instance_id"], 0) if not entry["finished"] else entry["wave"],
            moves=list(leaving) if leaving is not None and not entry["finished"] else None,
        )


def _tell_waves(plan: dict[str, Any], course: Course, pace: Pace, parallel: int, bake: float) -> None:
    """Each wave: who is expected in it, the sizes while it lasts, and how long that takes; and the whole run.

    `bake`: how long the canary stands, once one wave is finished.
    """
    steps = {step.number: step for step in course.steps}
    finished = sum(wave["finished"] for wave in plan["waves"])
    awaited, total, begun = False, 0.0, 0
    for wave in plan["waves"]:
        step = steps.get(wave["number"])
        if step is None:
            wave.update(_no_step(wave))
            continue
        launches = awaited or step.launches > 0
        seconds = wave_seconds(
            pace,
            len(step.instances),
            launches,
            parallel,
            first=begun == 0,
            bake=bake if finished + begun == 1 else 0,
        )
        awaited, total, begun = bool(step.successors), total + seconds, begun + 1
        wave.update(_told(step), seconds=round(seconds))
    total += pace.ready_seconds if awaited else 0
    total += pace.drain_seconds + pace.terminate_seconds if course.surplus else 0
    plan.update(expected_seconds=round(total), pace=pace.record(), surplus=course.surplus)


def _told(step: Step) -> dict[str, Any]:
    return {
        "expected": list(step.instances),
        "settled": step.settled,
        "desired_capacity": step.desired_capacity,
        "max_size": step.max_size,
        "extra": step.extra,
        "floor": step.floor,
        "launches": sum(step.launched.values()),
        "successors": sum(step.successors.values()),
        "desired_after": step.desired_after,
    }


def _no_step(wave: Mapping[str, Any]) -> dict[str, Any]:
    """A wave that is finished, or of which nobody is left."""
    sizes = dict.fromkeys(("desired_capacity", "max_size", "extra", "floor", "launches", "successors"), 0)
    return {"expected": [], "settled": bool(wave["instances"]), **sizes, "desired_after": 0, "seconds": 0}


def _addresses(rollout: Rollout, scene: Scene, course: Course, rehearsal: Optional[Rehearsal]) -> dict[str, Any]:
    places = max((scene.nodes[host.instance_id].max_pods for host in scene.counting if host.node), default=0)
    node = plan_addresses.per_node(
        plan_addresses.cni_settings(rollout.client.briefly), rehearsal.most_pods if rehearsal else 0, places
    )
    free = plan_addresses.free_addresses(rollout.aws.briefly, scene.group.subnets)
    zones = plan_addresses.needs(course.extra_by_zone, node.addresses, free)
    return plan_addresses.record(node, zones, scene.group.subnets)


def _too_few(plan: Mapping[str, Any]) -> list[str]:
    """A line for each zone whose subnets may not have the addresses that the extra instances take."""
    return [
        f"{plan['asg_name']}: the subnets in {zone['zone']} have {zone['addresses_free']} free addresses, "
        f"{zone['extra_instances']} extra instances may take {zone['addresses_needed']}"
        for zone in plan["addresses"]["zones"]
        if zone["enough"] is False
    ]


def _max_size_after(checkpoint: Checkpoint, plan: Mapping[str, Any]) -> int:
    owed = checkpoint.obligations.max_size
    return max(owed.was if owed else plan["sizes"]["max_size"], plan["own_size"])
