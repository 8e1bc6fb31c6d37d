# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last words of a run that stops: what is done, half done and untouched, the way on and the way back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, sentence
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Rollout, names


class Unfinished(EvergreenError):
    """The run has not reached its end; running it again goes on."""

    default_reason = "unfinished"

    def __str__(self) -> str:
        return f"{sentence(self.message)} {self.remedy}"  # the remedy ends with a command: no full stop behind it


@dataclass(frozen=True)
class LastWords:
    """Where a run stopped and why, and the two commands: to go on, to go back."""

    stage: str
    cause: str
    resume_command: str
    restore_command: str


@dataclass(frozen=True)
class Progress:
    """The selected instances: replaced, begun with (with the furthest stage), and not touched."""

    done: tuple[str, ...] = ()
    half_done: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Progress:
        left = checkpoint.remaining
        begun = [name for name in left if checkpoint.hosts[name].times]
        return cls(
            done=tuple(name for name, host in checkpoint.hosts.items() if host.finished),
            half_done=tuple(f"{name} ({_furthest(checkpoint, name)})" for name in begun),
            untouched=tuple(name for name in left if name not in begun),
        )

    def lines(self) -> list[str]:
        """One sentence for each of the three."""
        parts = (("Done", self.done), ("Half done", self.half_done), ("Untouched", self.untouched))
        return [f"{title}: {_counted(list(instances))}" for title, instances in parts]


def fail(rollout: Rollout, words: LastWords) -> None:
    """Record where the run stopped and say so, with the ways on and back. Always raises Unfinished."""
    progress = None
    checkpoint = _own_checkpoint(rollout)
    if checkpoint and not checkpoint.ended:
        checkpoint.stages["failed"] = rollout.call.clock.timestamp()
        with suppress(EvergreenError):  # a place that cannot be written may well be the cause
            rollout.store.save(checkpoint)
        progress = Progress.of(checkpoint)
        for line in [f"stopped in {words.stage}: {words.cause}", *progress.lines()]:
            rollout.say("failed", line, run=checkpoint.run_id, stage=words.stage)
    raise unfinished(rollout.asg_name, rollout.cluster_name, words, progress)


def unfinished(asg_name: str, cluster_name: str, words: LastWords, progress: Optional[Progress] = None) -> Unfinished:
    """The failure itself; without a checkpoint that could be read nothing is said of the instances."""
    head = f"Node group {asg_name} of cluster {cluster_name} is not finished: it stopped in '{words.stage}'"
    cause = words.cause.removeprefix(f"node group {asg_name} ").rstrip(".")
    told = progress.lines() if progress else []
    details = {"done": [], "half_done": [], "untouched": []} if progress is None else vars(progress)
    return Unfinished(
        " ".join(sentence(text) for text in (head, cause[:1].upper() + cause[1:], *told) if text).rstrip("."),
        remedy=f"To go on: {words.resume_command or 'run it again'}"
        + (f"  To go back: {words.restore_command}" if words.restore_command else ""),
        stage=words.stage,
        resume_command=words.resume_command,
        restore_command=words.restore_command,
        **{name: list(value) for name, value in details.items()},
    )


def _own_checkpoint(rollout: Rollout) -> Optional[Checkpoint]:
    """The checkpoint, unless it cannot be read or another run works on it: then it is not ours to write to."""
    try:
        checkpoint = rollout.store.load()
    except EvergreenError:
        return None
    return checkpoint if checkpoint and checkpoint.holder == rollout.holder.label else None


def _counted(instances: list[str]) -> str:
    return f"{len(instances)} ({names(instances)})" if instances else "0"


def _furthest(checkpoint: Checkpoint, instance_id: str) -> str:
    return max(checkpoint.hosts[instance_id].times.items(), key=lambda item: item[1])[0]
