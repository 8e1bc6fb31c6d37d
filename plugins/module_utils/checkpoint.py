# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout remembers: the checkpoint document and the marks on the Auto Scaling group.

The marks (compact tags) are written before the first change and carry the way back: the obligations, the surplus
that we hold, the run. The checkpoint carries progress. Either can be rebuilt or done without; reality decides.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Mapping, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.plan import CapacityChange, Departure, Ledger, Wave

SCHEMA = 2  # since 2 with the history

GROUP_TAGS = "evergreen.eks/"
RUN_TAG = GROUP_TAGS + "run"
LEDGER_TAG = GROUP_TAGS + "surplus"
MAX_TAG = GROUP_TAGS + "max-size"
PROCESSES_TAG = GROUP_TAGS + "suspended"
PROTECTION_TAG = GROUP_TAGS + "protects-new"
LIMITS_TAG = GROUP_TAGS + "limits"
ZONES_TAG = GROUP_TAGS + "zones"
ALL_GROUP_TAGS = (RUN_TAG, LEDGER_TAG, MAX_TAG, PROCESSES_TAG, PROTECTION_TAG, LIMITS_TAG, ZONES_TAG)

MEMBER_TAG = "evergreen.eks/member"  # on each instance that was a member at the start
DEPARTURE_TAG = "evergreen.eks/departure"  # on each instance that is about to be removed
ALL_INSTANCE_TAGS = (MEMBER_TAG, DEPARTURE_TAG)

SURPLUS = "surplus"  # the reason why an instance goes that this run itself had launched


class CheckpointError(EvergreenError):
    """A checkpoint that cannot be used; `reason` is checkpoint_corrupt, checkpoint_newer or checkpoint_foreign."""


@dataclass(frozen=True)
class Obligation:
    """Something to be put back: what it was, what we set it to, and what it was when we last announced to set it.

    A run that was killed between the announcement and the deed left it at `over`.
    """

    was: Any
    set_to: Any
    over: Any = None

    def ours(self, now: Any) -> bool:
        """Is the value of now as we left it?"""
        return now == self.set_to or (self.over is not None and now == self.over)


@dataclass(frozen=True)
class Obligations:
    """All that a run must put back on the group, each only where it is still as we left it."""

    max_size: Optional[Obligation] = None
    protects_new: Optional[Obligation] = None
    processes: tuple[str, ...] = ()  # suspended by us, running before


@dataclass(frozen=True)
class Marks:
    """What our tags on the Auto Scaling group say."""

    run_id: str
    target: str
    started: str
    obligations: Obligations = Obligations()
    ledger: Ledger = Ledger()
    surge: int = 0
    unavailable: int = 0
    zones: Mapping[str, int] = field(default_factory=dict)
    holder: str = ""
    cluster: str = ""  # beginning of the cluster's UID
    given_up: bool = False  # it is being put back

    def as_tags(self) -> dict[str, str]:
        """The tags, in characters that every AWS service takes: letters, digits, spaces and + - = . _ : / @"""
        tags = {
            RUN_TAG: _words(
                id=self.run_id,
                target=self.target,
                started=self.started,
                by=self.holder,
                **{"in": self.cluster},
                given_up="yes" if self.given_up else "",
            ),
            LEDGER_TAG: _ledger_words(self.ledger),
            LIMITS_TAG: _words(surge=self.surge, unavailable=self.unavailable),
            ZONES_TAG: _words(**dict(sorted(self.zones.items()))),
        }
        if self.obligations.max_size:
            owed = self.obligations.max_size
            tags[MAX_TAG] = _words(was=owed.was, set_to=owed.set_to, over="" if owed.over is None else owed.over)
        if self.obligations.protects_new:
            tags[PROTECTION_TAG] = _words(
                was=_yes(self.obligations.protects_new.was), set_to=_yes(self.obligations.protects_new.set_to)
            )
        if self.obligations.processes:
            tags[PROCESSES_TAG] = "/".join(self.obligations.processes)
        return tags


@dataclass(frozen=True)
class MemberMark:
    """What our tag on an instance says: is it to go, had its user protected it from scale-in, did the run launch it.

    What the run launched is marked only once it is to go itself.
    """

    run_id: str
    replace: bool
    protected: bool
    launched: bool = False

    def __str__(self) -> str:
        launched = "yes" if self.launched else ""
        return _words(run=self.run_id, replace=_yes(self.replace), protected=_yes(self.protected), launched=launched)


@dataclass(frozen=True)
class DepartureMark:
    """What our tag on a leaving instance says: at which turn of the ledger, and whether desired goes down with it."""

    run_id: str
    turn: int
    decrement: bool

    def __str__(self) -> str:
        return _words(run=self.run_id, turn=self.turn, decrement=_yes(self.decrement))


def read_marks(tags: Mapping[str, str]) -> Optional[Marks]:
    """The marks that a run left on the group, or None. Tags that somebody mangled raise CheckpointError."""
    if RUN_TAG not in tags:
        return None
    try:
        run = _parse(tags[RUN_TAG])
        room = _parse(tags.get(LIMITS_TAG, ""))
        return Marks(
            run_id=run["id"],
            target=run["target"],
            started=run["started"],
            holder=run.get("by", ""),
            cluster=run.get("in", ""),
            given_up=run.get("given_up") == "yes",
            ledger=_ledger(_parse(tags.get(LEDGER_TAG, ""))),
            surge=int(room.get("surge", 0)),
            unavailable=int(room.get("unavailable", 0)),
            zones={zone: int(count) for zone, count in _parse(tags.get(ZONES_TAG, "")).items()},
            obligations=Obligations(
                max_size=_obligation(tags.get(MAX_TAG), int),
                protects_new=_obligation(tags.get(PROTECTION_TAG), lambda word: word == "yes"),
                processes=tuple(filter(None, tags.get(PROCESSES_TAG, "").split("/"))),
            ),
        )
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"the tags {GROUP_TAGS}* of the Auto Scaling group are not as a rollout wrote them ({error})",
            reason="marks_corrupt",
            remedy="Put the group back by hand (its maximum size, suspended processes, scale-in protection) and take "
            "these tags off",
        ) from error


def read_member_mark(tags: Mapping[str, str]) -> Optional[MemberMark]:
    """The member mark among an instance's tags, or None."""
    words = _parse(tags.get(MEMBER_TAG, ""))
    if "run" not in words:
        return None
    said = {name: words.get(name) == "yes" for name in ("replace", "protected", "launched")}
    return MemberMark(words["run"], **said)


# --- the document ------------------------------------------------------------------------------------------------


@dataclass
class HostProgress:
    """One selected instance: why it goes, where it stood, the wave it is in, and when it reached each stage."""

    reason: str
    node: str = ""
    zone: str = ""
    wave: int = 0
    finished: bool = False
    how: str = ""  # removed | vanished, once finished
    times: dict[str, str] = field(default_factory=dict)
    carried: int = 0  # how often its drain came to no end in time, and was left to a following wave


@dataclass
class Checkpoint:
    """The persisted state of one node group's rollout. Times are UTC, ISO 8601."""

    run_id: str
    started: str
    cluster: dict[str, str]  # name, uid of the namespace kube-system, account, region
    group: dict[str, str]  # name, arn
    target: str  # fingerprint of what the group launches
    surge: int
    unavailable: int
    sizes_before: dict[str, int]
    zones_before: dict[str, int]
    members_before: list[str]
    hosts: dict[str, HostProgress]
    waves: list[Wave]
    target_text: str = ""  # the same in words
    obligations: Obligations = Obligations()
    ledger: Ledger = Ledger()
    departing: list[str] = field(default_factory=list)  # announced to leave with decrement ...
    departing_turn: int = 0  # ... at this turn of the ledger
    stages: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)  # operator, awx_job_id
    holder: str = ""  # label of the playbook run that works on it
    endings: int = 0  # how often that run has come to the end and found something still open
    given_up: bool = False  # nobody goes any more, everything is put back
    forced: list[dict[str, Any]] = field(default_factory=list)  # pods, by the user's escalation
    history: list[dict[str, Any]] = field(default_factory=list)  # what former runs of the group took (plan_time)
    ended: str = ""

    @property
    def remaining(self) -> list[str]:
        """The selected instances that are not finished, in the order in which they were selected."""
        return [name for name, host in self.hosts.items() if not host.finished]

    def wave(self, number: int) -> Wave:
        """The wave of this number. Raises CheckpointError where the checkpoint has none."""
        for wave in self.waves:
            if wave.number == number:
                return wave
        raise CheckpointError(
            f"the checkpoint of {self.group['name']} has no wave {number}",
            reason="invalid_input",
            remedy="Run the rollout from its beginning",
        )

    def free_for(self, number: int) -> list[str]:
        """The selected instances that are not finished and settled in no other wave than this one."""
        elsewhere = {name for wave in self.waves if wave.number != number for name in wave.instances}
        return [name for name in self.remaining if name not in elsewhere]

    def is_surplus(self, wave: Wave) -> bool:
        """Is it of instances that the run launched, and that are too many?"""
        return bool(wave.instances) and all(self.hosts[name].reason == SURPLUS for name in wave.instances)

    def keep_the_rest(self) -> list[str]:
        """Give the run up: select nobody any more; answers the old instances that therefore stay."""
        self.given_up = True
        kept = [name for name in self.remaining if self.hosts[name].reason != SURPLUS]
        for name in kept:
            del self.hosts[name]
        self.waves = [
            replace(wave, instances=left, finished=all(self.hosts[name].finished for name in left))
            for wave in self.waves
            if (left := tuple(name for name in wave.instances if name in self.hosts))
        ]
        return kept

    def replace_wave(self, changed: Wave) -> None:
        self.waves = [changed if wave.number == changed.number else wave for wave in self.waves]

    def to_json(self, indent: Optional[int] = 2) -> str:
        """The document, to be read by people; without `indent` in as few bytes as it takes."""
        document = {"schema": SCHEMA, **asdict(self), "waves": [wave.as_dict() for wave in self.waves]}
        return json.dumps(document, indent=indent, separators=None if indent else (",", ":")) + "\n"


def read_checkpoint(text: str | bytes, place: str) -> Checkpoint:
    """The checkpoint that `text` (from `place`) holds. Raises CheckpointError: corrupt, or of a newer schema."""
    remedy = f"Move {place} away, or delete it, and run again: what must be put back stands in the group's tags"
    try:
        document = json.loads(text)
        schema = document.pop("schema")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{place} is not a checkpoint ({error})", reason="checkpoint_corrupt", remedy=remedy
        ) from error
    if not isinstance(schema, int) or schema > SCHEMA:
        raise CheckpointError(
            f"{place} has schema {schema}; this release of evergreen.eks reads up to {SCHEMA}",
            reason="checkpoint_newer",
            remedy="Go on with the release that wrote it",
        )
    try:
        return Checkpoint(
            **{
                **document,
                "hosts": {name: HostProgress(**host) for name, host in document["hosts"].items()},
                "waves": [
                    Wave(w["number"], w["size"], tuple(w["instances"]), w["finished"]) for w in document["waves"]
                ],
                "obligations": _obligations(document["obligations"]),
                "ledger": _ledger_of(document["ledger"]),
                "history": _history(document.get("history")),
            }
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{place} is not a checkpoint of schema {schema} ({type(error).__name__}: {error})",
            reason="checkpoint_corrupt",
            remedy=remedy,
        ) from error


def rebuild(marks: Marks, fresh: Checkpoint) -> Checkpoint:
    """`fresh`, the checkpoint of a new gather, with what the marks remember of the run that lost its own."""
    return replace(
        fresh,
        run_id=marks.run_id,
        started=marks.started,
        target=marks.target,
        obligations=marks.obligations,
        ledger=marks.ledger,
        surge=marks.surge or fresh.surge,
        unavailable=marks.unavailable,
        zones_before=dict(marks.zones) or fresh.zones_before,
        given_up=marks.given_up,
    )


# --- words in tags -----------------------------------------------------------------------------------------------


def _words(**values: Any) -> str:
    return " ".join(f"{name}={_plain(value)}" for name, value in values.items() if value != "")


def _plain(value: Any) -> str:
    return re.sub(r"[^A-Za-z0-9+\-.:/@_]", "_", str(value))


def _parse(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in text.split() if "=" in word)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _obligation(text: Optional[str], kind: Any) -> Optional[Obligation]:
    if not text:
        return None
    words = _parse(text)
    return Obligation(kind(words["was"]), kind(words["set_to"]), kind(words["over"]) if "over" in words else None)


def _ledger_words(ledger: Ledger) -> str:
    pending = {}
    if ledger.change:
        pending = {"was": ledger.change.was, "to": ledger.change.to, "becomes": ledger.change.becomes}
    elif ledger.departure:
        pending = {"leaving": ledger.departure.number}
    return _words(held=ledger.held, turn=ledger.turn, own=ledger.own, most=ledger.most, **pending, after=ledger.after)


def _ledger(words: Mapping[str, str]) -> Ledger:
    change, departure, after = None, None, words.get("after", "")
    if "to" in words:
        change = CapacityChange(int(words["was"]), int(words["to"]), int(words["becomes"]), after)
    elif "leaving" in words:
        departure = Departure(int(words["leaving"]), after)
    numbers = {name: int(words.get(name, 0)) for name in ("held", "turn", "own", "most")}
    return Ledger(**numbers, change=change, departure=departure)


def _ledger_of(document: Mapping[str, Any]) -> Ledger:
    change, departure = document["change"], document.get("departure")
    return Ledger(
        **{name: int(document.get(name, 0)) for name in ("held", "turn", "own", "most")},
        change=CapacityChange(**change) if change else None,
        departure=Departure(**departure) if departure else None,
    )


def _history(entries: Any) -> list[dict[str, Any]]:
    """What is readable of it: it serves an estimate only, and must not keep a run from going on."""
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _obligations(document: Mapping[str, Any]) -> Obligations:
    def one(value: Optional[Mapping[str, Any]]) -> Optional[Obligation]:
        return Obligation(value["was"], value["set_to"], value["over"]) if value else None

    return Obligations(one(document["max_size"]), one(document["protects_new"]), tuple(document["processes"]))
