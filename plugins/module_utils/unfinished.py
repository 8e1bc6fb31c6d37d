# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last words of a run that stops: what is done, half done and untouched, the way on and the way back."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Mapping, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import SURPLUS, Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, counted, sentence
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Rollout, names, take_up

# What is known of an instance by the last stage that it has reached.
IN_WORDS = {"cordon": "cordoned", "detach": "leaving"}
UNREADABLE = "How far it came stands in its checkpoint, which cannot be read now."
NO_RECORD = "It has no checkpoint; what it took stands in the tags of the group and its instances."


class Unfinished(EvergreenError):
    """The run has not reached its end; running it again goes on. `lines` say the same, to be shown one by one."""

    default_reason = "unfinished"

    def __init__(self, message: str, *, lines: tuple[str, ...] = (), **rest: Any) -> None:
        super().__init__(message, **rest)
        self.lines = lines

    def __str__(self) -> str:
        return f"{sentence(self.message)} {self.remedy}"  # the remedy ends with a command: no full stop behind it


@dataclass(frozen=True)
class LastWords:
    """Where a run stopped and why, and the two commands: to go on, to go back.

    `begun`: it had come beyond its first look, in which nothing is changed.
    """

    stage: str
    cause: str
    reason: str
    begun: bool
    resume_command: str
    restore_command: str


@dataclass(frozen=True)
class Progress:
    """The instances that were to go: gone, begun with, not touched; and `lines` that say so."""

    done: tuple[str, ...] = ()
    half_done: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Progress:
        hosts = checkpoint.hosts
        done = [name for name, host in hosts.items() if host.finished]
        half_done = [name for name in checkpoint.remaining if hosts[name].times]
        untouched = [name for name in checkpoint.remaining if not hosts[name].times]
        lines = _given_up_lines(checkpoint) if checkpoint.given_up else _lines(checkpoint, done, half_done, untouched)
        return cls(tuple(done), tuple(half_done), tuple(untouched), tuple(lines))


def fail(rollout: Rollout, words: LastWords) -> None:
    """Record where the run stopped and say so, with the ways on and back. Always raises Unfinished."""
    try:
        checkpoint = _brought_up_to_date(rollout)
    except EvergreenError:
        raise unfinished(rollout.asg_name, rollout.cluster_name, words, Progress(lines=(UNREADABLE,))) from None
    nothing = (NO_RECORD,) if words.begun else ()
    progress = Progress.of(checkpoint) if checkpoint else Progress(lines=nothing)
    raise unfinished(rollout.asg_name, rollout.cluster_name, words, progress)


def unfinished(asg_name: str, cluster_name: str, words: LastWords, progress: Progress) -> Unfinished:
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


def _brought_up_to_date(rollout: Rollout) -> Optional[Checkpoint]:
    """The checkpoint of the unfinished run. Where it is ours: as reality has it, and with the note that it stopped.

    Another run's is only read. Raises EvergreenError where it cannot be read.
    """
    checkpoint = rollout.store.load()
    if checkpoint is None or checkpoint.ended or checkpoint.holder != rollout.holder.label:
        return None if checkpoint is None or checkpoint.ended else checkpoint
    with suppress(EvergreenError):  # the last words must not fail for want of a look
        checkpoint = take_up(rollout).checkpoint
    checkpoint.stages["failed"] = rollout.call.clock.timestamp()
    with suppress(EvergreenError):  # a place that cannot be written may well be the cause
        rollout.store.save(checkpoint)
    return checkpoint


def _lines(checkpoint: Checkpoint, done: list[str], half_done: list[str], untouched: list[str]) -> list[str]:
    half = [f"{name} {_furthest(checkpoint, name)}" for name in half_done]
    return [
        f"{title}: {len(some)}{f' ({names(some)})' if some else ''}"
        for title, some in (("Done", done), ("Half done", half), ("Untouched", untouched))
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
