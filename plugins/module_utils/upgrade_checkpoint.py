# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an upgrade of a cluster remembers: for which version it is, its course, and which parts of it are done. Pure.

It is kept in the same stores as the checkpoints of the node groups, under a name that none of them can have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import CheckpointError
from ansible_collections.evergreen.eks.plugins.module_utils.course import (
    ADDONS,
    BAKE,
    CONTROL_PLANE,
    VERIFY,
    Course,
    Part,
)

SCHEMA = 1


@dataclass
class PartRecord:
    """When a part was begun for the first time, how often since, when it was finished, and what is to be told of it.

    Times are UTC, ISO 8601; "" is not yet.
    """

    began: str = ""
    finished: str = ""
    attempts: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class UpgradeCheckpoint:
    """The persisted state of a cluster's upgrade."""

    run_id: str
    started: str
    cluster: dict[str, str]  # name, uid of the namespace kube-system, account, region
    was: str  # version of the control plane at the start
    course: Course
    parts: dict[str, PartRecord] = field(default_factory=dict)  # by their keys
    holder: str = ""  # label of the playbook run that works on it
    provenance: dict[str, str] = field(default_factory=dict)  # operator, awx_job_id
    ended: str = ""

    @property
    def version(self) -> str:
        """What it is for: a run for another version does not go on with it."""
        return self.course.target

    def record(self, part: Part) -> PartRecord:
        """What is known of a part; an empty record of one that was never begun."""
        return self.parts.get(part.key) or PartRecord()

    @property
    def done(self) -> list[Part]:
        return [part for part in self.course.parts if self.record(part).finished]

    @property
    def open(self) -> list[Part]:
        """What is left to do, in order."""
        return [part for part in self.course.parts if not self.record(part).finished]

    def control_plane_done(self, version: str) -> str:
        """When the control plane has come to this version, add-ons included; "" where that was not done here."""
        known = [self.record(Part(name, version)).finished for name in (CONTROL_PLANE, ADDONS)]
        return max(known) if all(known) else ""

    def touched(self, control_plane: str, updating: bool) -> bool:
        """Whether anything of it can have changed the cluster, by the control plane's version of now."""
        if updating or control_plane != self.was:
            return True
        begun = [part.name for part in self.course.parts if self.record(part).began]
        return any(name not in (CONTROL_PLANE, BAKE, VERIFY) for name in begun)

    def begin(self, part: Part, now: str) -> PartRecord:
        """Note that a part is begun, for the first time or again."""
        record = self.parts.setdefault(part.key, PartRecord())
        record.began, record.finished = record.began or now, ""
        record.attempts += 1
        return record

    def finish(self, part: Part, now: str, facts: Mapping[str, Any]) -> PartRecord:
        """Note that a part is done."""
        record = self.parts.setdefault(part.key, PartRecord(began=now))
        record.finished, record.facts = now, dict(facts)
        return record

    def to_json(self, indent: Optional[int] = 2) -> str:
        """The document, to be read by people; without `indent` in as few bytes as it takes."""
        document = {"schema": SCHEMA, **asdict(self), "course": self.course.as_list()}
        return json.dumps(document, indent=indent, separators=None if indent else (",", ":")) + "\n"


def read_upgrade(text: str | bytes, place: str) -> UpgradeCheckpoint:
    """The checkpoint that `text` (from `place`) holds. Raises CheckpointError: corrupt, or of a newer schema."""
    remedy = f"Move {place} away, or delete it, and run again: what is done already is found to be so"
    try:
        document = json.loads(text)
        schema = document.pop("schema")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{place} is not the checkpoint of an upgrade ({error})", reason="checkpoint_corrupt", remedy=remedy
        ) from error
    if not isinstance(schema, int) or schema > SCHEMA:
        raise CheckpointError(
            f"{place} has schema {schema}; this release of evergreen.eks reads up to {SCHEMA}",
            reason="checkpoint_newer",
            remedy="Go on with the release that wrote it",
        )
    try:
        parts = {key: PartRecord(**record) for key, record in document["parts"].items()}
        return UpgradeCheckpoint(**{**document, "course": Course.of(document["course"]), "parts": parts})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{place} is not the checkpoint of an upgrade of schema {schema} ({type(error).__name__}: {error})",
            reason="checkpoint_corrupt",
            remedy=remedy,
        ) from error
