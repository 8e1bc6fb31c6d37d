# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said in a report, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from functools import lru_cache
from typing import Optional

from ansible_collections.evergreen.eks.plugins.module_utils import naming
from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted, sentence
from ansible_collections.evergreen.eks.plugins.module_utils.report import records
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Blocked, NodeStory, Phase, Report

OUTCOMES = {
    records.FINISHED: "Finished",
    records.FAILED: "Failed",
    records.STOPPED: "Stopped on request",
    records.PUT_BACK: "Put back",
    records.RUNNING: "Running",
    records.INTERRUPTED: "Interrupted",
}
WHY_PUT_BACK = "Why it was put back"
STAGES = {
    "reserve": "preparing",
    "gate": "waiting at gates",
    "bake": "letting the canary stand",
    "scale_up": "scaling up",
    "wait_ready": "waiting for new nodes to be Ready",
    "traffic": "waiting until new nodes get traffic",
    "cordon": "cordoning old nodes",
    "deregister": "taking old nodes out of load balancers",
    "drain": "draining",
    "detach": "settling who leaves",
    "terminate": "terminating old instances",
    "surplus": "removing nodes that were too many",
    "restore": "putting settings back",
    "put_back": "going back",
    "hook": "the operator's own tasks",
}
NODE_STAGES = {
    records.SERVING: "serving",
    records.LAUNCHED: "starting",
    records.READY: "Ready",
    records.CORDONED: "cordoned",
    records.DEREGISTERED: "traffic runs out",
    records.DRAINING: "draining",
    records.DRAINED: "empty",
    records.NOT_DRAINED: "not drained in time",
    records.CARRIED: "left to a later wave",
    records.TERMINATING: "terminating",
    records.TERMINATED: "gone",
}
NODE_OUTCOMES = {
    records.REPLACED: "replaced",
    records.VANISHED: "vanished by itself",
    records.IN_HAND: "half done",
    records.UNTOUCHED: "untouched",
    records.KEPT: "kept",
    records.NEW: "in service",
    records.STARTING: "not Ready yet",
    records.REMOVED: "removed again",
}
REASONS = {
    "template_version": "older launch template version",
    "template": "other launch template",
    "configuration": "other launch configuration",
    "image": "older image",
    "instance_type": "other instance type",
    "selected": "selected",
    "surplus": "one too many",
}
ACTIONS = {
    "delete": "deleted",
    "delete_grace_1": "deleted with 1 s to stop",
    "force": "deleted without waiting for it to stop",
}
NUMBERS = {
    "nodes": "Nodes",
    "nodes_ready": "Nodes that are Ready",
    "pods": "Pods",
    "pods_ready": "Pods that are Ready",
    "workloads": "Workloads",
    "workloads_whole": "Workloads with all their pods",
}


def duration(seconds: Optional[float]) -> str:
    """C(45 s), C(3 min 5 s), C(2 h 14 min), C(3 d 4 h)."""
    if seconds is None:
        return ""
    whole = int(round(seconds))
    for size, unit, below, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


@lru_cache(maxsize=16384)  # many nodes of a large rollout share their seconds
def clock(at: Optional[float], *, with_seconds: bool = True) -> str:
    """The time of day, UTC."""
    return "" if at is None else _utc(at).strftime("%H:%M:%S" if with_seconds else "%H:%M")


def day(at: Optional[float]) -> str:
    return "" if at is None else _utc(at).strftime("%Y-%m-%d")


def moment(at: Optional[float]) -> str:
    """C(2026-11-21 01:02:03 UTC)."""
    return "" if at is None else f"{day(at)} {clock(at)} UTC"


def period(began: float, ended: float) -> str:
    """C(2026-11-21, 01:02 to 02:10 UTC), or with two dates."""
    first = f"{day(began)}, {clock(began, with_seconds=False)}"
    last = clock(ended, with_seconds=False) if day(began) == day(ended) else f"{day(ended)}, {clock(ended)[:5]}"
    return f"{first} to {last} UTC"


def several_days(report: Report) -> bool:
    return day(report.began) != day(report.ended)


def short_names(nodes: Iterable[NodeStory]) -> dict[str, str]:
    """A name for each instance: its node's up to the first dot, where that is nobody else's too."""
    stories = list(nodes)
    names = naming.short_names(story.name for story in stories)
    return {story.instance: names.get(story.name, "") for story in stories}


def stage_name(stage: str) -> str:
    return STAGES.get(stage, stage.replace("_", " "))


def reason_name(reason: str) -> str:
    return REASONS.get(reason, reason.replace("_", " "))


def who(report: Report) -> str:
    """Everybody who ran it, with the AWX job."""
    names = []
    for attempt in report.attempts:
        job = f"AWX job {attempt.awx_job_id}" if attempt.awx_job_id else ""
        name = f"{attempt.operator} ({job})" if attempt.operator and job else attempt.operator or job
        if name and name not in names:
            names.append(name)
    return ", ".join(names)


def limits(report: Report) -> str:
    """C(up to 3 extra, none missing)."""
    if report.surge is None:
        return ""
    return f"up to {report.surge} extra, {report.unavailable or 'none'} missing"


def headline(report: Report) -> str:
    """One sentence: how many nodes, in how long."""
    done, of = len(report.replaced), report.selected
    took = duration(report.seconds)
    if report.outcome == records.FINISHED:
        return f"{counted(done, 'node')} replaced in {took}"
    if report.outcome == records.PUT_BACK:
        return f"Put back after {took}; {done} of {of} nodes had been replaced"
    if report.outcome == records.RUNNING:
        return f"{done} of {of} nodes replaced so far, for {took}"
    return f"{done} of {of} nodes replaced, then {OUTCOMES.get(report.outcome, report.outcome).lower()}"


def story(report: Report) -> list[str]:
    """What was done, and why it took that long, in a few sentences."""
    said = [_what(report), _how_long(report), _longest_block(report), _floor(report), _forced(report), _cluster(report)]
    return [text for text in said if text]


def promised(report: Report) -> str:
    """How many nodes were to be Ready: C(6), or C(4 to 6) where the group's size changed; "" where nobody said."""
    floors = {report.floor_at(one) for one in report.capacity} - {None} or {report.floor} - {None}
    if not floors:
        return ""
    return f"{min(floors)}" if len(floors) == 1 else f"{min(floors)} to {max(floors)}"


def longest(phases: Iterable[Phase]) -> Optional[Phase]:
    return max(phases, key=lambda phase: phase.seconds, default=None)


def blocked_by(blocked: Blocked) -> str:
    """C(budget web/web-pdb), or the obstacle in a word."""
    return f"budget {blocked.budget}" if blocked.budget else blocked.reason.replace("_", " ")


# --- the parts ---------------------------------------------------------------------------------------------------


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, timezone.utc)


def _what(report: Report) -> str:
    waves = [wave for wave in report.waves if wave.began is not None]
    done, of = len(report.replaced), max(report.selected, len(report.replaced))
    if not done:
        return f"No old node of {report.group} has been replaced, of {of} that {'was' if of == 1 else 'were'} selected."
    how_many = f"{done} of {of}" if done != of else f"All {of}" if of != 1 else "The one"
    noun, have = ("node", "has") if of == 1 else ("nodes", "have")
    text = f"{how_many} old {noun} of {report.group} {have} been replaced"
    if waves:
        text += f", in {counted(len(waves), 'wave')}"
    vanished = sum(node.outcome == records.VANISHED for node in report.old)
    if vanished:
        text += f"; {vanished} of them had gone by themselves"
    return sentence(text)


def _how_long(report: Report) -> str:
    text = f"It took {duration(report.seconds)}"
    idle = sum(gap.seconds for gap in report.gaps)
    if report.gaps:
        text += f", of which {duration(idle)} passed between {counted(len(report.attempts), 'run')}"
    phases = sorted(report.phases, key=lambda phase: -phase.seconds)
    worked = sum(phase.seconds for phase in phases)
    if phases and worked > 0:
        most = phases[0]
        text += f". Most of the work was {stage_name(most.stage)} ({duration(most.seconds)}"
        text += f", {100 * most.seconds / worked:.0f} %)"
        if len(phases) > 1 and phases[1].seconds >= 0.1 * worked:
            text += f", then {stage_name(phases[1].stage)} ({duration(phases[1].seconds)})"
    return sentence(text)


def briefly(report: Report) -> str:
    """How many pods are not listed among those that were held up."""
    short = len(report.blocked) - len(report.held_up)
    if not short:
        return ""
    was = "was" if short == 1 else "were"
    return f"{counted(short, 'pod')} {was} held up for less than {records.BRIEFLY:g} s."


def _longest_block(report: Report) -> str:
    if not report.held_up:
        return ""
    first = report.held_up[0]
    by = blocked_by(first)
    text = f"The longest to be held up was pod {first.pod}, for {duration(first.seconds)}"
    text += f", by {by}" if by else ""
    return sentence(text + (", and it still is" if first.until is None and report.unfinished else ""))


def _floor(report: Report) -> str:
    """Each moment is held against what was promised then."""
    seen = [one for one in report.capacity if one.ready is not None and report.floor_at(one) is not None]
    if not seen:
        return ""
    if report.below_floor:
        worst = report.below_floor[0]
        at_worst = f"{worst.ready} of {report.floor_at(worst)} at the worst"
        return f"Fewer nodes were Ready than were promised: {at_worst}, {clock(worst.at)}."
    return (
        f"There were never fewer than {min(one.ready for one in seen)} nodes Ready; {promised(report)} were promised."
    )


def _forced(report: Report) -> str:
    if not report.forced:
        return "No pod was forced." if report.old and report.whole and not report.missing else ""
    pods = len({one["uid"] for one in report.forced})
    return f"{counted(pods, 'pod')} {'was' if pods == 1 else 'were'} forced, as the escalation was written."


def _cluster(report: Report) -> str:
    if report.cluster.after_at is None:
        return ""
    worse = report.cluster.worse
    if not worse:
        return "When the last gate looked, nothing in the cluster was worse than at the beginning."
    return sentence(f"When the last gate looked, {counted(len(worse), 'thing')} in the cluster was worse than before")
