# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records that the report of an upgrade is made of, told from its checkpoint and its journal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.course import Part
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import Event, seconds_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import FINISHED, INTERRUPTED, RUNNING, Ending
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_checkpoint import UpgradeCheckpoint

PARTIAL = "partial"  # a run that was to do some parts only has done them


@dataclass(frozen=True)
class PartStory:
    """One part of an upgrade. Moments are UTC, ISO 8601, "" for never; C(facts) is what was answered of it."""

    part: str
    version: str
    group: str
    title: str
    began: str
    finished: str
    attempts: int
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> Optional[float]:
        """From its first beginning to its end, interruptions included."""
        began, finished = seconds_of(self.began), seconds_of(self.finished)
        return None if began is None or finished is None else finished - began

    @property
    def lines(self) -> list[str]:
        """What is to be told of it, in words."""
        said = self.facts.get("lines")
        return [str(line) for line in said] if isinstance(said, list) else []

    @property
    def reports(self) -> dict[str, str]:
        """The reports of a node group's rollout: the path of each by its format."""
        found = self.facts.get("reports")
        return {str(name): str(path) for name, path in found.items()} if isinstance(found, dict) else {}

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": self.seconds}


@dataclass(frozen=True)
class UpgradeAttempt:
    """One time that somebody ran it. Seconds since 1970."""

    began: float
    ended: float
    outcome: str = INTERRUPTED
    operator: str = ""
    awx_job_id: str = ""
    cause: str = ""


@dataclass(frozen=True)
class UpgradeReport:
    """The upgrade of one cluster. Moments are seconds since 1970."""

    cluster_name: str
    account: str
    region: str
    run: str
    was: str
    version: str
    began: float
    written: float
    parts: Sequence[PartStory]
    attempts: Sequence[UpgradeAttempt]
    ending: Ending
    sources: Sequence[str] = ()
    difference: str = ""  # how the cluster differs from what it was before, in lines

    @property
    def outcome(self) -> str:
        return self.ending.outcome

    @property
    def ended(self) -> float:
        return max([self.began, *(one.ended for one in self.attempts)])

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    @property
    def done(self) -> list[PartStory]:
        return [part for part in self.parts if part.finished]


def stories(checkpoint: UpgradeCheckpoint) -> list[PartStory]:
    """Every part of the course, in order."""
    return [_story(checkpoint, part) for part in checkpoint.course.parts]


def tell_upgrade(
    checkpoint: UpgradeCheckpoint,
    events: Iterable[Event],
    now: float,
    ending: Ending,
    sources: Sequence[str] = (),
    difference: str = "",
) -> UpgradeReport:
    """The report of this upgrade, ``now`` (seconds since 1970) that its last run ends like that."""
    began = seconds_of(checkpoint.started) or now
    return UpgradeReport(
        cluster_name=checkpoint.cluster["name"],
        account=checkpoint.cluster["account"],
        region=checkpoint.cluster["region"],
        run=checkpoint.run_id,
        was=checkpoint.was,
        version=checkpoint.version,
        began=began,
        written=now,
        parts=stories(checkpoint),
        attempts=_attempts(events, now, ending),
        ending=ending,
        sources=sources,
        difference=difference,
    )


def ending_of(checkpoint: UpgradeCheckpoint, events: Sequence[Event], alive: bool) -> Ending:
    """How the last run of an upgrade has ended, for who was not there; C(alive): its process is seen to run."""
    if checkpoint.ended:
        return Ending(FINISHED)
    told = [event for event in events if event.kind in ("run_begun", "run_ended")]
    if told and told[-1].kind == "run_ended":
        last = told[-1]
        return Ending(last.text("outcome"), last.text("cause"), last.text("resume_command"))
    return Ending(RUNNING if alive else INTERRUPTED)


def _story(checkpoint: UpgradeCheckpoint, part: Part) -> PartStory:
    record = checkpoint.record(part)
    return PartStory(
        part.name,
        part.version,
        part.group,
        part.title,
        record.began,
        record.finished,
        record.attempts,
        record.facts,
    )


def _attempts(events: Iterable[Event], now: float, ending: Ending) -> list[UpgradeAttempt]:
    """Each from its first word to its last; one without an end was killed. The last one ends now."""
    found: list[UpgradeAttempt] = []
    for event in events:
        if event.kind == "run_begun":
            who = {"operator": event.text("operator"), "awx_job_id": event.text("awx_job_id")}
            found.append(UpgradeAttempt(event.at, event.at, **who))
        elif found:
            found[-1] = replace(found[-1], ended=event.at)
            if event.kind == "run_ended":
                found[-1] = replace(found[-1], outcome=event.text("outcome"), cause=event.text("cause"))
    if found:
        over = ending.outcome == INTERRUPTED
        found[-1] = replace(
            found[-1], ended=found[-1].ended if over else now, outcome=ending.outcome, cause=ending.cause
        )
    return found
