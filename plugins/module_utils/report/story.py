# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fold: from the events of a run and its checkpoint to the report. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.forced import happened, merged
from ansible_collections.evergreen.eks.plugins.module_utils.report import records
from ansible_collections.evergreen.eks.plugins.module_utils.report.blocks import BlockBook
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import Event, seconds_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.nodes import NodeBook, selected_by
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import (
    ENDED_WELL,
    Attempt,
    Capacity,
    Cluster,
    Ending,
    Gap,
    GateStory,
    Line,
    Phase,
    Report,
    WaveStory,
)

# A run of which nothing was heard for so long, in seconds, is taken for dead where its process cannot be asked:
# ten heartbeats.
SILENCE = 300.0
# The same where the operator's own tasks are at work, which write nothing.
HOOK_SILENCE = 3600.0
BLOCKS = ("pod_blocked", "pod_diagnosed", "pod_unblocked")
FORCED_FIELDS = ("time", "uid", "action")


def tell(
    group: str,
    run: str,
    events: Sequence[Event],
    checkpoint: Optional[Checkpoint],
    now: float,
    *,
    alive: Optional[bool] = None,
    ending: Optional[Ending] = None,
) -> Report:
    """The report of this run of a group, from the events of its journal and its checkpoint, where there are any.

    ``now`` is seconds since 1970, ``alive`` whether the process of the run lives, None where nobody can know it, and
    ``ending`` what is known of the end by the run itself, beside the journal.
    """
    events = with_ending(events, run, now, ending)
    attempts = attempts_of(events, now, alive)
    if not attempts and checkpoint:
        attempts = [_attempt_of(checkpoint, now, alive)]
    began = attempts[0].began if attempts else now
    ended = attempts[-1].ended if attempts else now
    waves = waves_of(events, checkpoint)
    report = Report(
        group=group,
        run=run,
        outcome=_outcome(attempts, checkpoint),
        written=now,
        attempts=attempts,
        gaps=gaps_of(attempts),
        phases=phases_of(events),
        waves=waves,
        capacity=capacity_of(events),
        gates=gates_of(events),
        cluster=cluster_of(events),
        forced=forced_of(events, checkpoint),
        whole=any(event.kind == "run_begun" and not event.flag("resumed") for event in events),
        lines=[Line(event.at, event.text("text")) for event in events if event.text("text")],
    )
    _add_nodes(report, events, checkpoint, began, ended)
    _add_facts(report, events, checkpoint, ending)
    return report


def with_ending(events: Sequence[Event], run: str, now: float, ending: Optional[Ending]) -> list[Event]:
    """The events with the end that the journal does not tell yet."""
    last = next((event.kind for event in reversed(events) if event.kind in ("run_begun", "run_ended")), "")
    if ending is None or last != "run_begun":
        return list(events)
    return [*events, Event(now, "run_ended", run, asdict(ending))]


def attempts_of(events: Sequence[Event], now: float, alive: Optional[bool]) -> list[Attempt]:
    """Each from its C(run_begun) to its C(run_ended); one that was killed, to the last that was heard of it."""
    attempts: list[Attempt] = []
    heard, silence = 0.0, SILENCE
    open_one = False
    heralds = Heralds(events)
    for event in events:
        if event.kind == "run_begun":
            if open_one:
                attempts[-1] = replace(attempts[-1], ended=heard, outcome=records.INTERRUPTED)
            attempts.append(_begun(event))
            open_one = True
        elif event.kind == "run_ended" and attempts:
            # A run that goes back by itself ends twice, and the last word counts. Journals of schema 1 end with
            # several lines; the first says why.
            outcome, known = event.text("outcome") or records.FAILED, attempts[-1]
            cause = event.text("cause") or known.cause or ("" if outcome in ENDED_WELL else event.text("text"))
            attempts[-1] = replace(known, ended=event.at, outcome=outcome, cause=cause)
            open_one = False
        if event not in heralds:
            heard, silence = event.at, HOOK_SILENCE if event.kind == "hook_begun" else SILENCE
    if open_one:
        lives = now - heard <= silence if alive is None else alive
        outcome = records.RUNNING if lives else records.INTERRUPTED
        attempts[-1] = replace(attempts[-1], ended=max(now, heard) if lives else heard, outcome=outcome)
    return attempts


class Heralds:
    """The events that an attempt tells before it begins: what it met when it looked.

    By their place they are the last of the attempt before, and by their stage they are not.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self._found: set[int] = set()
        for place, event in enumerate(events):
            if event.kind == "run_begun":
                self._add(events, place)

    def __contains__(self, event: Event) -> bool:
        return id(event) in self._found

    def _add(self, events: Sequence[Event], place: int) -> None:
        stage = events[place].text("stage")
        for event in reversed(events[:place]):
            if event.kind in ("run_begun", "run_ended") or event.text("stage") not in ("", stage):
                return
            self._found.add(id(event))


def gaps_of(attempts: Sequence[Attempt]) -> list[Gap]:
    return [
        Gap(before.ended, after.began, before.outcome)
        for before, after in zip(attempts, attempts[1:])
        if after.began > before.ended
    ]


def phases_of(events: Sequence[Event]) -> list[Phase]:
    """How long the run was at each stage, in the order in which they first came.

    The time between two events belongs to the stage of the second: that is what was waited for.
    """
    seconds: dict[str, float] = {}
    before: Optional[float] = None
    at_stage = ""
    heralds = Heralds(events)
    for event in events:
        if event.kind == "run_begun":
            before, at_stage = event.at, ""
            continue
        if event in heralds:
            continue
        # A run that ends did so in the stage that it was at.
        at_stage = at_stage if event.kind == "run_ended" and at_stage else event.text("stage") or at_stage
        if before is not None and at_stage:
            seconds[at_stage] = seconds.get(at_stage, 0.0) + max(0.0, event.at - before)
            before = max(before, event.at)
    return [Phase(stage, spent) for stage, spent in seconds.items()]


def waves_of(events: Sequence[Event], checkpoint: Optional[Checkpoint]) -> list[WaveStory]:
    """Each wave from its first C(wave_begun) to its last C(wave_ended), with who the checkpoint says was in it."""
    waves: dict[int, WaveStory] = {}
    for event in events:
        number = event.number("wave")
        if event.kind not in ("wave_begun", "wave_settled", "wave_ended") or not number:
            continue
        wave = waves.setdefault(number, WaveStory(number))
        wave.instances = event.names("instances") or wave.instances
        wave.began = event.at if wave.began is None else wave.began
        wave.ended = event.at if event.kind == "wave_ended" else None
    for known in checkpoint.waves if checkpoint else ():
        wave = waves.setdefault(known.number, WaveStory(known.number))
        wave.instances = known.instances or wave.instances
        hosts = [checkpoint.hosts[name] for name in known.instances if name in checkpoint.hosts]
        times = sorted(filter(None, (seconds_of(at) for host in hosts for at in host.times.values())))
        if times and wave.began is None:
            wave.began, wave.ended = times[0], times[-1] if known.finished else None
    return sorted(waves.values(), key=lambda wave: wave.number)


def capacity_of(events: Sequence[Event]) -> list[Capacity]:
    """Every change; a size that an event does not name is as it was."""
    found: list[Capacity] = []
    last = Capacity(0.0)
    for event in events:
        if event.kind != "capacity":
            continue
        given = {name: event.number(name) for name in ("desired", "max", "members", "ready", "floor")}
        now = replace(last, at=event.at, **{name: value for name, value in given.items() if value is not None})
        if replace(now, at=last.at) != last:
            found.append(now)
        last = now
    return found


def gates_of(events: Sequence[Event]) -> list[GateStory]:
    return [
        GateStory(event.at, event.kind == "gate_passed", event.text("text"), event.number("wave") or 0)
        for event in events
        if event.kind in ("gate_passed", "gate_closed")
    ]


def cluster_of(events: Sequence[Event]) -> Cluster:
    """The first picture and the last comparison with it."""
    taken = next((event for event in events if event.kind == "picture_taken"), None)
    compared = next((event for event in reversed(events) if event.kind == "picture_compared"), None)
    cluster = Cluster()
    if taken:
        cluster = replace(cluster, before=taken.numbers("numbers"), before_at=taken.at)
    if compared:
        cluster = replace(
            cluster,
            before=cluster.before or compared.numbers("numbers_before"),
            after=compared.numbers("numbers"),
            after_at=compared.at,
            worse=compared.names("worse"),
            better=compared.names("better"),
        )
    return cluster


def forced_of(events: Sequence[Event], checkpoint: Optional[Checkpoint]) -> list[dict]:
    """Who was forced, by time: the checkpoint keeps what the journals of other machines said."""
    told = [
        {**event.fields, "policy": event.text("policy")}
        for event in events
        if event.kind in ("pod_forced", "pod_not_forced") and all(name in event.fields for name in FORCED_FIELDS)
    ]
    policies = {(one["uid"], one["action"]): one["policy"] for one in told if one["policy"]}
    found = merged(checkpoint.forced if checkpoint else [], happened(told))
    return [{**one, "policy": policies.get((one["uid"], one["action"]), "")} for one in found]


# --- the parts ---------------------------------------------------------------------------------------------------


def _add_nodes(
    report: Report, events: Sequence[Event], checkpoint: Optional[Checkpoint], began: float, ended: float
) -> None:
    book, blocks = NodeBook(), BlockBook()
    wave = 0
    for event in events:
        if event.kind == "wave_begun":
            wave = event.number("wave") or wave
        elif event.kind == "run_begun":
            book.add_selected(event)
        elif event.kind == "node_stage":
            book.note(event, wave)
            if event.text("to") in (records.DRAINED, records.TERMINATED):
                blocks.node_left(event.text("node"), event.at)
        elif event.kind in BLOCKS:
            blocks.note(event)
        elif event.kind == "run_ended":
            blocks.all_left(event.at)
    if checkpoint:
        book.add_checkpoint(checkpoint)
        if checkpoint.given_up:
            book.drop_kept(checkpoint)
    of_wave = {name: story.number for story in report.waves for name in story.instances}
    report.nodes = book.stories(began, ended, report.gaps)
    for story in report.nodes:
        story.wave = of_wave.get(story.instance, story.wave)
    for wave in report.waves:
        gone = [node.times.get(records.TERMINATED) for node in report.nodes if node.instance in wave.instances]
        if wave.ended is not None and gone and None not in gone:
            wave.ended = max(gone)  # the journal tells the end with what came next
    report.blocked = blocks.stories(ended)


def _add_facts(
    report: Report, events: Sequence[Event], checkpoint: Optional[Checkpoint], ending: Optional[Ending]
) -> None:
    begun = [event for event in events if event.kind == "run_begun"]
    ends = [event for event in events if event.kind == "run_ended"]
    for event in begun:
        report.cluster_name = event.text("cluster") or report.cluster_name
        report.target = event.text("target") or report.target
        report.selected = max(report.selected, len(selected_by(event)))
        for name in ("surge", "unavailable", "floor"):
            if event.number(name) is not None:
                setattr(report, name, event.number(name))
    if checkpoint:
        report.cluster_name = checkpoint.cluster.get("name", "") or report.cluster_name
        report.account, report.region = (checkpoint.cluster.get(name, "") for name in ("account", "region"))
        report.target = checkpoint.target_text or report.target
        report.surge, report.unavailable = checkpoint.surge, checkpoint.unavailable
        if report.floor is None:
            report.floor = max(0, checkpoint.sizes_before.get("desired_capacity", 0) - checkpoint.unavailable)
    report.selected = max(report.selected, len(report.old))
    causes = [attempt.cause for attempt in report.attempts]
    if report.outcome == records.PUT_BACK:  # the way back does not know why, where somebody else has begun it
        report.cause = next(filter(None, reversed(causes)), "")
    if report.unfinished:
        last = ends[-1] if ends else None
        report.cause = causes[-1] if causes else ""
        known = ending or Ending()
        resume = known.resume_command or (last.text("resume_command") if last else "")
        report.resume_command = resume or (begun[-1].text("command") if begun else "")
        report.restore_command = known.restore_command or (last.text("restore_command") if last else "")


def _begun(event: Event) -> Attempt:
    return Attempt(
        began=event.at,
        ended=event.at,
        outcome=records.RUNNING,
        resumed=event.flag("resumed"),
        purpose=event.text("purpose") or "rollout",
        operator=event.text("operator"),
        awx_job_id=event.text("awx_job_id"),
        command=event.text("command"),
    )


def _attempt_of(checkpoint: Checkpoint, now: float, alive: Optional[bool]) -> Attempt:
    """The run as the checkpoint alone tells it."""
    began = seconds_of(checkpoint.started) or now
    times = [seconds_of(at) for host in checkpoint.hosts.values() for at in host.times.values()]
    times += [seconds_of(at) for at in (*checkpoint.stages.values(), checkpoint.ended)]
    heard = max([began, *filter(None, times)])
    outcome = _ended_as(checkpoint)
    if not outcome:
        outcome = records.FAILED if "failed" in checkpoint.stages else records.INTERRUPTED
        if alive or (alive is None and now - heard <= SILENCE):
            outcome, heard = records.RUNNING, now
    who = {name: str(checkpoint.provenance.get(name) or "") for name in ("operator", "awx_job_id")}
    return Attempt(began, heard, outcome, **who)


def _ended_as(checkpoint: Checkpoint) -> str:
    if not checkpoint.ended:
        return ""
    return records.PUT_BACK if checkpoint.given_up else records.FINISHED


def _outcome(attempts: Sequence[Attempt], checkpoint: Optional[Checkpoint]) -> str:
    """The checkpoint that was closed has the last word: a run may be killed between that and its last line."""
    closed = _ended_as(checkpoint) if checkpoint else ""
    return closed or (attempts[-1].outcome if attempts else records.INTERRUPTED)
