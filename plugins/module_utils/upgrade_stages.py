# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stages of a cluster's upgrade: it begins, its parts begin and end, it stands a while, it ends."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.course import (
    ADDONS,
    BAKE,
    CONTROL_PLANE,
    FARGATE,
    KEEP,
    NODES,
    Course,
    Part,
    summary,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import (
    node_groups,
    offered_versions,
    read_cluster,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.decisions import check_node_groups, check_offered
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import asked_version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput, counted
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.report.leave import shown
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import FINISHED, Ending
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_files import leave_upgrade_report, told_later
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_forms import headline
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_records import PARTIAL, stories
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import elapsed
from ansible_collections.evergreen.eks.plugins.module_utils.stages import make_folder_of
from ansible_collections.evergreen.eks.plugins.module_utils.stopping import heed, leftover
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade import (
    Upgrade,
    View,
    taken_up,
    unfinished_upgrade,
    view,
)
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_checkpoint import UpgradeCheckpoint
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_proof import disproof, left_behind, rolled, settled
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Deadline, wait_until

PURPOSE = "upgrade"


class NotYet(EvergreenError):
    """A part cannot be done before another one."""

    default_reason = "not_yet"


@dataclass(frozen=True)
class Look:
    """The cluster and what is recorded of its upgrade, at one moment. C(stale) is the run of a checkpoint that is to be
    put aside, "" where there is none."""

    seen: View
    checkpoint: UpgradeCheckpoint
    course: Course
    resumed: bool
    stale: str


def begin(upgrade: Upgrade, who_and_how: Mapping[str, Any]) -> dict[str, Any]:
    """Take the cluster in hand, for the first time or again, and record the course. In check mode only look."""
    if not upgrade.settings.version:
        raise InvalidInput("No Kubernetes version is named", remedy="Name it with version (eks_version)")
    first = _look(upgrade)
    if upgrade.call.check_mode:
        return _begun(upgrade, first, lease="")
    make_folder_of(upgrade.journal)
    lease = upgrade.take_hold()
    now = _look(upgrade)  # another run may have come to its end while this one waited for the lock
    checkpoint, course, resumed, stale = now.checkpoint, now.course, now.resumed, now.stale
    checkpoint.course, checkpoint.holder = course, upgrade.holder.label
    checkpoint.provenance = {name: who_and_how.get(name) or "" for name in ("operator", "awx_job_id")}
    if stale:
        upgrade.store.archive(stale)
    upgrade.store.save(checkpoint)
    upgrade.call.journal.about(run=checkpoint.run_id)
    upgrade.call.journal.also(str(upgrade.journal))
    asked = leftover(upgrade.store)
    if asked:
        upgrade.say("stop_cleared", f"the request to stop was for an earlier run ({asked})", request=asked)
    upgrade.say(
        "run_begun",
        f"{'goes on with' if resumed else 'begins'} the upgrade from {checkpoint.was} to {course.target}",
        resumed=resumed,
        purpose=PURPOSE,
        cluster=checkpoint.cluster,
        target=course.target,
        operator=who_and_how.get("operator") or "",
        awx_job_id=who_and_how.get("awx_job_id") or "",
        command=who_and_how.get("resume_command") or "",
    )
    return {**_begun(upgrade, now, lease), "changed": True}


def part_begun(upgrade: Upgrade, part: Part) -> dict[str, Any]:
    """Note that a part begins, unless it is finished, and one read proves that it still is so."""
    if upgrade.call.check_mode:
        return {
            "changed": False,
            "skip": part.name == BAKE,
            "finished_before": False,
            "settled": False,
            "part_began": "",
        }
    heed(upgrade.store, part.title)
    checkpoint = taken_up(upgrade)
    _refuse_unplanned(checkpoint, part)
    record = checkpoint.record(part)
    finished_before = bool(record.finished)
    if finished_before:
        why = disproof(upgrade, part, record)
        if not why:
            upgrade.say("part_skipped", f"{part.title}: done before, at {record.finished}", **_named(part))
            return {
                "changed": False,
                "skip": True,
                "finished_before": True,
                "settled": True,
                "part_began": record.began,
            }
        upgrade.say("part_undone", f"{part.title}: done before, but {why}: once more", **_named(part), reason=why)
    if left_behind(upgrade, part):
        text = f"{part.title}: left behind, the control plane is newer by now"
        now = upgrade.call.clock.timestamp()
        record = upgrade.amend(lambda known: known.finish(part, now, {"lines": [text]})).record(part)
        upgrade.say("part_skipped", text, **_named(part))
        return {"changed": True, "skip": True, "finished_before": False, "settled": True, "part_began": record.began}
    _refuse_out_of_order(upgrade, part)
    finished_before = finished_before or rolled(upgrade, part, record)
    in_hand = settled(upgrade, part, record)
    record = upgrade.amend(lambda known: known.begin(part, upgrade.call.clock.timestamp())).record(part)
    upgrade.say("part_begun", part.title, **_named(part), attempt=record.attempts)
    return {
        "changed": True,
        "skip": False,
        "finished_before": finished_before,
        "settled": in_hand,
        "part_began": record.began,
    }


def part_finished(upgrade: Upgrade, part: Part, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Note that a part is done, with what is to be told of it."""
    if upgrade.call.check_mode:
        return {"changed": False}
    now = upgrade.call.clock.timestamp()
    record = upgrade.amend(lambda known: known.finish(part, now, facts)).record(part)
    seconds = elapsed(record.began, now)
    text = f"{part.title}: done in {seconds} s"
    upgrade.say("part_ended", text, **_named(part), seconds=seconds, facts=record.facts)
    return {"changed": True}


def bake(upgrade: Upgrade, part: Part) -> dict[str, Any]:
    """Let the new control plane stand for its time before the nodes follow; a killed run's time counts."""
    seconds, clock = upgrade.settings.bake_seconds, upgrade.call.clock
    if upgrade.call.check_mode:
        return {"changed": False}
    heed(upgrade.store, part.title)
    checkpoint = taken_up(upgrade)
    _refuse_unplanned(checkpoint, part)
    _refuse_out_of_order(upgrade, part)
    since, stood = checkpoint.control_plane_done(part.version), checkpoint.record(part).finished
    if stood and stood >= since:
        return {"changed": False}
    record = upgrade.amend(lambda known: known.begin(part, clock.timestamp())).record(part)
    left = seconds - elapsed(since or record.began, clock.timestamp())
    if left > 0:
        upgrade.say("bake", f"the control plane stands for {left:g} s before the nodes follow", seconds=left)
        end = clock.now() + left
        wait_until(
            lambda: heed(upgrade.store, "the nodes"),
            lambda _seen: clock.now() >= end,
            clock=clock,
            deadline=Deadline(clock, 0),
            interval=min(upgrade.settings.poll_seconds, left),
        )
    upgrade.amend(lambda known: known.finish(part, clock.timestamp(), {"seconds": seconds}))
    return {"changed": True}


def end(upgrade: Upgrade, resume_command: str, difference: str) -> dict[str, Any]:
    """Close the checkpoint where every part is done; a run of some parts only leaves it open."""
    if upgrade.call.check_mode:
        return {"changed": False, "result": {}}
    checkpoint = taken_up(upgrade)
    left = checkpoint.open
    now = upgrade.call.clock.timestamp()
    place = upgrade.store.place
    if not left:
        checkpoint.ended = now
        upgrade.store.save(checkpoint)
        place = upgrade.store.archive(checkpoint.run_id)
        leftover(upgrade.store)
    result = outcome(checkpoint, now)
    ending = Ending(outcome=result["outcome"], resume_command=resume_command if left else "")
    upgrade.say("run_ended", result["summary"], outcome=result["outcome"], seconds=result["seconds"], **_resume(ending))
    reports = leave_upgrade_report(upgrade.wish, upgrade.journal, checkpoint, ending, upgrade.call, place, difference)
    if reports:
        upgrade.say("report_written", shown(reports), reports=reports)
    places = {"checkpoint": place, "journal": str(upgrade.journal), "reports": reports}
    return {"changed": True, "result": {**result, **places, "resume_command": ending.resume_command}}


def ask_to_stop(upgrade: Upgrade, who_and_how: Mapping[str, Any]) -> dict[str, Any]:
    """Leave a request for the upgrade that is under way: it ends after the part in hand."""
    checkpoint = upgrade.store.load()
    if checkpoint is None or checkpoint.ended:
        text = f"no upgrade of cluster {upgrade.cluster_name} is unfinished, so there is nothing to stop"
        return {"changed": False, "request": "", "summary": [text]}
    before = upgrade.store.stop_request() or ""
    job = f" in AWX job {who_and_how['awx_job_id']}" if who_and_how.get("awx_job_id") else ""
    request = before or f"{who_and_how.get('operator') or 'somebody'}{job} at {upgrade.call.clock.timestamp()}"
    if not before and not upgrade.call.check_mode:
        upgrade.store.request_stop(request)
    text = f"the upgrade of cluster {upgrade.cluster_name} is asked to stop after the part in hand ({request})"
    return {"changed": not before, "request": request, "summary": [text]}


def report(upgrade: Upgrade) -> dict[str, Any]:
    """Tell what the last upgrade has done, also one that was killed or still runs."""
    checkpoint = upgrade.store.load() or upgrade.store.former()
    if checkpoint is None:
        return {
            "changed": False,
            "reports": {},
            "summary": [f"no upgrade of cluster {upgrade.cluster_name} is known here"],
        }
    holder = Holder.parse(checkpoint.holder)
    alive = holder is not None and holder.gone(upgrade.holder) is False
    try:
        told, reports = told_later(upgrade.wish, upgrade.journal, checkpoint, alive, upgrade.call, upgrade.store.place)
    except OSError as error:
        raise EvergreenError(
            f"the report of the upgrade of cluster {upgrade.cluster_name} cannot be written: {error.strerror or error}",
            reason="report_unwritable",
            remedy="Name a folder that you may write to (eks_report_dir)",
        ) from error
    lines = [f"Upgrade of cluster {upgrade.cluster_name}: {headline(told)}", *filter(None, [shown(reports)])]
    return {"changed": bool(reports), "reports": reports, "summary": lines}


def outcome(checkpoint: UpgradeCheckpoint, now: str) -> dict[str, Any]:
    """What an upgrade has done so far, as data: `upgrade_result` of the role."""
    left = [part.title for part in checkpoint.open]
    seconds = elapsed(checkpoint.started, now)
    name, way = checkpoint.cluster["name"], f"from {checkpoint.was} to {checkpoint.version}"
    if left:
        text = f"upgrade of cluster {name} {way}: {counted(len(left), 'part')} left: {', '.join(left)}"
    else:
        text = f"cluster {name} is upgraded {way}, in {seconds} s"
    return {
        "outcome": PARTIAL if left else FINISHED,
        "cluster_name": name,
        "run_id": checkpoint.run_id,
        "version_before": checkpoint.was,
        "version": checkpoint.version,
        "seconds": seconds,
        "parts": [story.as_dict() for story in stories(checkpoint)],
        "open": left,
        "summary": text,
    }


# --- the parts ---------------------------------------------------------------------------------------------------


def _look(upgrade: Upgrade) -> Look:
    """Look at the cluster and at the checkpoint; without one that is to be gone on with, plan the upgrade."""
    seen = view(upgrade)
    known, stale = unfinished_upgrade(upgrade, seen)
    course = _course(upgrade, known, seen)
    return Look(seen, known or _fresh(upgrade, seen, course), course, known is not None, stale)


def _course(upgrade: Upgrade, checkpoint: UpgradeCheckpoint | None, seen: View) -> Course:
    """The recorded course, or a new one.

    Raises InvalidInput, and Refused for a version that EKS does not offer, or that managed node groups forbid for now.
    """
    if checkpoint is None:
        wanted = asked_version(upgrade.settings.version)
        if wanted > seen.cluster.version:
            check_offered(wanted.later(-1), wanted, offered_versions(upgrade.aws))
            check_node_groups(seen.cluster, wanted, node_groups(upgrade.aws, upgrade.cluster_name))
        return seen.course(upgrade.settings.version)
    return checkpoint.course.with_groups(list(upgrade.settings.images))


def _fresh(upgrade: Upgrade, seen: View, course: Course) -> UpgradeCheckpoint:
    now = upgrade.call.clock.timestamp()
    return UpgradeCheckpoint(
        run_id=f"{now.replace('-', '').replace(':', '').rstrip('Z')}-{secrets.token_hex(3)}",
        started=now,
        cluster={
            "name": upgrade.cluster_name,
            "uid": seen.uid,
            "account": upgrade.place.account,
            "region": upgrade.place.region,
        },
        was=str(seen.cluster.version),
        course=course,
    )


def _begun(upgrade: Upgrade, look: Look, lease: str) -> dict[str, Any]:
    """What the rest of the playbook goes by."""
    checkpoint, course, resumed = look.checkpoint, look.course, look.resumed
    now = str(look.seen.cluster.version)
    done = f", {counted(len(checkpoint.done), 'part')} done before" if resumed else ""
    head = f"Cluster {upgrade.cluster_name} from {checkpoint.was} to {course.target}{done}:"
    return {
        "changed": False,
        "run_id": checkpoint.run_id,
        "resumed": resumed,
        "started": checkpoint.started,
        "version_before": checkpoint.was,
        "legs": course.as_list(),
        "parts": [part.key for part in course.parts],
        "lease": lease,
        "backup_dir": str(upgrade.journal.parent),
        "journal": str(upgrade.journal),
        "checkpoint": upgrade.store.place,
        "summary": [head, *summary(course, checkpoint.was if resumed else now), *_kept(upgrade.settings.images)],
    }


def _kept(images: Mapping[str, str]) -> list[str]:
    """Which groups are to keep what they launch: nobody should learn that only from the verification."""
    kept = [name for name, image in images.items() if image == KEEP]
    what = "the version that their launch template says; with eks_image=recommended they follow"
    return [f"  {', '.join(kept)} keep their image: new nodes have {what}"] if kept else []


def _refuse_unplanned(checkpoint: UpgradeCheckpoint, part: Part) -> None:
    keys = [known.key for known in checkpoint.course.parts]
    if part.key not in keys:
        raise InvalidInput(f"The upgrade has no part '{part.key}'", remedy=f"Its parts are: {', '.join(keys)}")


def _refuse_out_of_order(upgrade: Upgrade, part: Part) -> None:
    """Raise NotYet where the control plane is older than what would follow it: newer nodes do not work with it."""
    if part.name not in (ADDONS, BAKE, NODES, FARGATE):
        return
    now = read_cluster(upgrade.aws, upgrade.cluster_name).version
    if now < asked_version(part.version):
        raise NotYet(
            f"The control plane of cluster {upgrade.cluster_name} is at {now}; {part.title} can only follow it",
            remedy=f"Let the part {CONTROL_PLANE} run first (without --tags all parts run in order), or ask for "
            f"eks_version={now}",
        )


def _named(part: Part) -> dict[str, str]:
    """A part in an event."""
    return {"part": part.name, "version": part.version, **({"group": part.group} if part.group else {})}


def _resume(ending: Ending) -> dict[str, str]:
    return {"resume_command": ending.resume_command} if ending.resume_command else {}
