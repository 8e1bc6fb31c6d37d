# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last words of a run that stops: what is done, half done and untouched, the way on and the way back."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import SURPLUS, Checkpoint, Marks, read_marks
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, counted, sentence
from ansible_collections.evergreen.eks.plugins.module_utils.forced import in_words, note_forced
from ansible_collections.evergreen.eks.plugins.module_utils.groups import GroupNotFound, describe_group
from ansible_collections.evergreen.eks.plugins.module_utils.hold import LockLost
from ansible_collections.evergreen.eks.plugins.module_utils.holder import RunInProgress
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Rollout, names, take_up

# What is known of an instance by the last stage that it has reached.
IN_WORDS = {"cordon": "cordoned", "detach": "leaving", "carried": "cordoned, not drained in time"}
UNREADABLE = "How far it came stands in its checkpoint, which cannot be read now."
NO_RECORD = "The unfinished run has no checkpoint here; what it took stands in the tags of the group and its instances."
NOTHING_LEFT = "All that it took is put back."
# Reasons of a run that another one keeps from going on: what is found is that one's, which lives.
IN_OTHER_HANDS = (RunInProgress.default_reason, LockLost.default_reason)


@dataclass(frozen=True)
class Trail:
    """What the report of a run that stopped is told from. `ours`: it had come to hold the group, and nobody else has it
    in hand."""

    ours: bool = False
    journal: Optional[Path] = None
    checkpoint: Optional[Checkpoint] = None
    place: str = ""  # of the checkpoint


class Unfinished(EvergreenError):
    """The run has not reached its end; running it again goes on. `lines` say the same, to be shown one by one."""

    default_reason = "unfinished"

    def __init__(self, message: str, *, lines: tuple[str, ...] = (), trail: Trail = Trail(), **rest: Any) -> None:
        super().__init__(message, **rest)
        self.lines = lines
        self.trail = trail

    def __str__(self) -> str:
        return f"{sentence(self.message)} {self.remedy}"  # the remedy ends with a command: no full stop behind it


@dataclass(frozen=True)
class LastWords:
    """Where a run stopped and why, and the two commands: to go on, to go back.

    `begun`: it had come to hold the group, before which nothing is changed. `put_back` is the result of the way back
    that it has come to the end of by itself (`on_failure: restore`), if it has.
    """

    stage: str
    cause: str
    reason: str
    begun: bool
    resume_command: str
    restore_command: str
    put_back: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Traces:
    """What is found of an unfinished run: its checkpoint, its marks on the group; and whether it is this one."""

    checkpoint: Optional[Checkpoint] = None
    marks: Optional[Marks] = None
    ours: bool = False


@dataclass(frozen=True)
class Progress:
    """The instances that were to go: gone, begun with, not touched; the pods that were forced; `lines` that say so."""

    done: tuple[str, ...] = ()
    half_done: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    forced: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Progress:
        hosts = checkpoint.hosts
        done = [name for name, host in hosts.items() if host.finished]
        half_done = [name for name in checkpoint.remaining if hosts[name].times]
        untouched = [name for name in checkpoint.remaining if not hosts[name].times]
        lines = _given_up_lines(checkpoint) if checkpoint.given_up else _lines(checkpoint, done, half_done, untouched)
        lines += filter(None, [in_words(checkpoint.forced)])
        return cls(tuple(done), tuple(half_done), tuple(untouched), tuple(lines), tuple(checkpoint.forced))

    @classmethod
    def put_back(cls, result: Mapping[str, Any]) -> Progress:
        """Of a run that has gone back, from the result of that; without one it is known only that nothing is left."""
        if not result:
            return cls(lines=(NOTHING_LEFT,))
        done, kept = [host["instance_id"] for host in result["replaced"]], result["kept"]
        forced = tuple(result.get("forced", ()))
        lines = (NOTHING_LEFT, *_counts(done, [], kept), *filter(None, [in_words(forced)]))
        return cls(tuple(done), (), tuple(kept), lines, forced)


def fail(rollout: Rollout, words: LastWords) -> None:
    """Record where the run stopped and say so, with the ways on and back. Always raises Unfinished."""
    traces = Traces()
    try:
        traces = _traces(rollout)
        words, progress = told(words, traces)
    except EvergreenError:
        progress = Progress(lines=(UNREADABLE,) if words.begun else ())
    trail = trail_of(words, rollout.journal, *_told_from(rollout, words, traces.checkpoint))
    raise unfinished(rollout.asg_name, rollout.cluster_name, words, progress, trail)


def trail_of(words: LastWords, journal: Optional[Path], checkpoint: Optional[Checkpoint], place: str = "") -> Trail:
    """What the report is told from; `words` know by now whether the run was begun."""
    return Trail(words.begun and words.reason not in IN_OTHER_HANDS, journal, checkpoint, place)


def told(words: LastWords, traces: Traces) -> tuple[LastWords, Progress]:
    """What is said of how far it came, and the words that fit: a way back is named where there is something to go back
    from, but not the one of a run that lives."""
    words = replace(words, begun=words.begun or traces.ours)
    if words.reason in IN_OTHER_HANDS and not traces.ours:
        return replace(words, restore_command=""), Progress()
    if traces.checkpoint:
        return words, Progress.of(traces.checkpoint)
    if traces.marks:
        return words, Progress(lines=(NO_RECORD,))
    progress = Progress.put_back(words.put_back) if words.begun else Progress()
    return replace(words, restore_command=""), progress


def unfinished(
    asg_name: str, cluster_name: str, words: LastWords, progress: Progress, trail: Trail = Trail()
) -> Unfinished:
    """The failure itself."""
    where = f"node group {asg_name} of cluster {cluster_name}"
    state = f"{where} is not finished" if words.begun else f"nothing was changed at {where}"
    cause = _about_it(words.cause, asg_name)
    head = f"{state[0].upper()}{state[1:]}: it stopped in '{words.stage}'"
    back = words.restore_command if words.begun or progress.lines else ""
    ways = [f"To go on: {words.resume_command or 'run it again'}"]
    ways += [f"To go back: {back}"] if back else []
    return Unfinished(
        " ".join(sentence(text) for text in (head, cause[:1].upper() + cause[1:], *progress.lines) if text),
        reason=words.reason or None,
        remedy="  ".join(ways),
        stage=words.stage,
        resume_command=words.resume_command,
        restore_command=back,
        lines=(f"stopped in '{words.stage}'{f': {cause}' if cause else ''}", *progress.lines, *ways),
        done=list(progress.done),
        half_done=list(progress.half_done),
        untouched=list(progress.untouched),
        forced=list(progress.forced),
        trail=trail,
    )


def stopped_between(result: Mapping[str, Any], resume_command: str) -> str:
    """What is said where a request to stop came too late for its own node group; "" where there was none."""
    if not result["stop_request"]:
        return ""
    return (
        f"The run was asked to stop ({result['stop_request']}). Node group {result['asg_name']} is finished; those "
        f"that have not begun are untouched. To go on: {resume_command or 'run it again'}"
    )


# --- the parts ---------------------------------------------------------------------------------------------------


def _traces(rollout: Rollout) -> Traces:
    """What is there of an unfinished run. Raises EvergreenError where that cannot be read."""
    checkpoint, ours = rollout.store.load(), rollout.holder.label
    if checkpoint and not checkpoint.ended:
        if checkpoint.holder != ours:
            return Traces(checkpoint)
        return Traces(_brought_up_to_date(rollout, checkpoint), ours=True)
    try:
        marks = read_marks(describe_group(rollout.aws, rollout.asg_name).tags)
    except GroupNotFound:
        marks = None
    return Traces(marks=marks, ours=bool(marks and marks.holder == ours))


def _told_from(
    rollout: Rollout, words: LastWords, checkpoint: Optional[Checkpoint]
) -> tuple[Optional[Checkpoint], str]:
    """The checkpoint that the report is told from, and its place: of a run that has come to its end, or has put all
    back, the one that it has put aside."""
    run = words.put_back.get("run_id") or rollout.call.journal.run
    if checkpoint is None and run:
        with suppress(EvergreenError):
            former = rollout.store.former()
            if former and former.run_id == run:
                return former, words.put_back.get("checkpoint") or rollout.store.place
    return checkpoint, rollout.store.place


def _brought_up_to_date(rollout: Rollout, checkpoint: Checkpoint) -> Checkpoint:
    """Our checkpoint as reality has it, and with the note that the run stopped.

    Where one of the two cannot be had, or the lock is not ours any more, it is told as it is, and not written.
    """
    with suppress(EvergreenError):  # the last words must not fail for want of a look, or of a place to write
        checkpoint = take_up(rollout).checkpoint
        checkpoint.stages["failed"] = rollout.call.clock.timestamp()
        note_forced(checkpoint, rollout.journal)
        rollout.store.save(checkpoint)
    return checkpoint


def _lines(checkpoint: Checkpoint, done: list[str], half_done: list[str], untouched: list[str]) -> list[str]:
    return _counts(done, [f"{name} {_furthest(checkpoint, name)}" for name in half_done], untouched)


def _counts(done: list[str], half_done: list[str], untouched: list[str]) -> list[str]:
    return [
        f"{title}: {len(some)}{f' ({names(some)})' if some else ''}"
        for title, some in (("Done", done), ("Half done", half_done), ("Untouched", untouched))
    ]


def _given_up_lines(checkpoint: Checkpoint) -> list[str]:
    finished = [host for host in checkpoint.hosts.values() if host.finished]
    ours = sum(1 for host in finished if host.reason == SURPLUS)
    replaced, launched = counted(len(finished) - ours, "old instance"), counted(ours, "instance")
    return [
        f"Done: {launched} of the run's own removed; {replaced} had been replaced before it was given up",
        "Half done: not all is put back; the same command with --check shows what is left",
        "Untouched: the old instances that are left, they stay",
    ]


def _furthest(checkpoint: Checkpoint, instance_id: str) -> str:
    stage = max(checkpoint.hosts[instance_id].times.items(), key=lambda item: item[1])[0]
    return IN_WORDS.get(stage, stage)


def _about_it(cause: str, asg_name: str) -> str:
    """The cause without a second naming of the group, and without the full stop."""
    subject = rf"^(node group|auto scaling group) {re.escape(asg_name)}(?= )"
    return re.sub(subject, "it", cause.strip().rstrip("."), flags=re.IGNORECASE)
