# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate that stops a rollout: a picture is taken, and later the cluster is looked at until it is no worse than that.

What counts is what has lasted for its settling time, and what has been there since the first look and is not over. In
a clear look that is no more than allowed, and nothing else looks broken. Only pods that start, and workloads that wait
for them, get their settling time while the gate is watched: in a busy cluster something always starts, and the gate
would never open. It opens after so many clear looks in a row; or when its time is over, if no more than allowed counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.errors import (
    EvergreenError,
    InvalidInput,
    WaitTimeout,
    counted,
)
from ansible_collections.evergreen.eks.plugins.module_utils.gate import (
    Ignored,
    Terms,
    Worsening,
    compare,
    remembered,
)
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.label_selector import parse_selector
from ansible_collections.evergreen.eks.plugins.module_utils.picture import (
    Picture,
    PictureError,
    cluster_uid,
    seconds_of,
    take_picture,
)
from ansible_collections.evergreen.eks.plugins.module_utils.picture_place import PicturePlace, find_picture, place_of
from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat, refuse_negative, wait_patiently
from ansible_collections.evergreen.eks.plugins.module_utils.user_gates import (
    Objection,
    UserGate,
    objections,
    parse_gates,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

# Of these there are always some, wherever anybody works.
PASSING = ("pod_pending", "workload_short")
MESSAGES_IN_HEARTBEAT = 3
COMPARED = 100  # so many things that are worse, or better, are named in the journal
MESSAGES_IN_FAILURE = 5
GOOD = {"nodes": "ready", "pods": "ready", "workloads": "whole"}


@dataclass(frozen=True)
class Question:
    """What the gate is asked: what is allowed, the operator's own conditions, and how many clear looks it takes."""

    terms: Terms
    gates: tuple[UserGate, ...]
    looks: int

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Question:
        """From the options of `health_gate`. Raises InvalidInput, MissingLibrary."""
        if params["looks"] < 1:
            raise InvalidInput(
                "looks must be at least 1", remedy="Give the number of looks in a row that must be clear"
            )
        refuse_negative(params, "max_new_unhealthy", "max_restarts", "settle_seconds", "timeout")
        terms = Terms(
            max_new_unhealthy=params["max_new_unhealthy"],
            settle_seconds=params["settle_seconds"],
            max_restarts=params["max_restarts"],
            critical=tuple(params["critical_namespaces"]),
            ignored=tuple(
                Ignored(entry["namespace"] or "*", parse_selector(entry["selector"] or ""))
                for entry in params["ignore"]
            ),
        )
        return cls(terms, parse_gates(params["gates"]), params["looks"])


@dataclass(frozen=True)
class Look:
    """What one look saw. `worse` is what counts, `settling` what may still pass by itself.

    `bearable`: no more counts than is allowed. `steady_for`: for how many looks in a row no more had lasted for its
    settling time; `clear_for`: for how many the look was clear. `blamed` and `unmet` are what counted when it was not
    bearable last.
    """

    numbers: Mapping[str, int]
    worse: tuple[Worsening, ...]
    settling: tuple[Worsening, ...]
    objections: tuple[Objection, ...]
    looked: int
    bearable: bool
    steady_for: int
    clear_for: int
    blamed: tuple[Worsening, ...] = ()
    unmet: tuple[Objection, ...] = ()

    def results(self) -> dict[str, Any]:
        """The part of the module's result that says what was seen."""
        return {
            "worse": [item.as_data() for item in self.worse],
            "settling": [item.as_data() for item in self.settling],
            "unmet": [item.as_data() for item in self.objections],
            "looked": self.looked,
            "numbers": dict(self.numbers),
        }

    def __str__(self) -> str:
        texts = [*_unmet_texts(self.objections), *(item.message for item in (*self.worse, *self.settling))]
        if not texts:
            return f"the cluster is as in the picture; {counted(self.clear_for, 'clear look')} so far"
        number = len(self.worse) + len(self.settling)
        head = f"{counted(number, 'thing')} worse than in the picture, {len(self.settling)} of them may still settle"
        return "; ".join([head, *_first(texts, MESSAGES_IN_HEARTBEAT)])


class Watcher:
    """Looks at the cluster again and again, and keeps in mind since when it has seen what."""

    def __init__(self, question: Question, before: Picture, take: Callable[[], Picture], call: Call) -> None:
        self.question = question
        self.before = before
        self._take = take  # a picture of now
        self._call = call
        self._seen: dict[str, float] = {}
        self._awaited: set[str] | None = None  # marks that have been there since the first look
        self._looked_at = call.clock.now()
        self._told: dict[str, str] = {}
        self._last = Look({}, (), (), (), looked=0, bearable=True, steady_for=0, clear_for=0)
        self._now = before
        self._began = call.clock.now()

    def look(self) -> Look:
        """Take a picture of now and compare it."""
        now = self._now = self._take()
        found = compare(self.before, now, self.question.terms, self._aged())
        self._seen = remembered(self._seen, found)
        self._awaited = self._seen.keys() & (self._seen.keys() if self._awaited is None else self._awaited)
        lasting = [item for item in found if item.settled]
        worse = [item for item in found if item.settled or self._awaited.intersection(item.marks)]
        unmet = tuple(objections(self.question.gates, self.before, now))
        broken = [item for item in found if item in worse or item.kind not in PASSING]
        steady, bearable, clear = (
            not (self.question.terms.exceeded(some) or unmet) for some in (lasting, worse, broken)
        )
        self._last = Look(
            numbers=now.numbers,
            worse=tuple(worse),
            settling=tuple(item for item in found if item not in worse),
            objections=unmet,
            looked=self._last.looked + 1,
            bearable=bearable,
            steady_for=self._last.steady_for + 1 if steady else 0,
            clear_for=self._last.clear_for + 1 if clear else 0,
            blamed=self._last.blamed if bearable else tuple(worse),
            unmet=self._last.unmet if bearable else unmet,
        )
        self._tell(lasting, unmet)
        return self._last

    def tell_end(self, opened: Look | None, closed: EvergreenError | None = None) -> None:
        """The last look beside the picture, and whether the gate opened."""
        seconds, look = round(self._call.clock.now() - self._began), opened or self._last
        # What the picture had against it then, and has not any more.
        better = compare(self._now, self.before, replace(self.question.terms, settle_seconds=0))
        self._call.journal.write(
            "picture_compared",
            worse=[item.as_data() for item in (*look.worse, *look.settling)][:COMPARED],
            better=[{"kind": item.kind, "object": item.object, "was": item.now} for item in better][:COMPARED],
            numbers=dict(look.numbers),
            numbers_before=self.before.numbers,
            taken=self.before.taken,
        )
        if closed is None:
            text = f"gate passed after {counted(look.looked, 'look')}"
            self._call.journal.write("gate_passed", text=text, looked=look.looked, seconds=seconds)
        else:
            why = {name: closed.details[name][:COMPARED] for name in ("worse", "unmet")}
            text = f"gate closed: {closed.message}"
            self._call.journal.write("gate_closed", text=text, reason=closed.reason, seconds=seconds, **why)

    def _aged(self) -> dict[str, float]:
        """For how long each mark has been seen by now."""
        now = self._call.clock.now()
        passed, self._looked_at = now - self._looked_at, now
        self._seen = {mark: seconds + passed for mark, seconds in self._seen.items()}
        return self._seen

    def _tell(self, worse: Sequence[Worsening], unmet: Sequence[Objection]) -> None:
        """One line in the journal for each change since the last look."""
        now = {item.object: item.kind for item in worse} | {f"gate '{item.name}'": "unmet" for item in unmet}
        for item in worse:
            if self._told.get(item.object) != item.kind:
                self._call.journal.write("worse", text=item.message, object=item.object, trouble=item.kind)
        for objection in unmet:
            if f"gate '{objection.name}'" not in self._told:
                self._call.journal.write("worse", text=_unmet_texts([objection])[0], object=f"gate '{objection.name}'")
        for name in self._told.keys() - now.keys():
            self._call.journal.write("better", text=f"{name} is no worse any more", object=name)
        self._told = now


def health_gate(params: Mapping[str, Any], aws: Aws, client: KubernetesClient, call: Call) -> dict[str, Any]:
    """Do what the options of `health_gate` say; answers the module's result. Raises EvergreenError."""
    question = Question.of(params)
    place = place_of(params, aws, client, call)
    cluster = cluster_uid(client)

    def take() -> Picture:
        return take_picture(client, cluster=cluster, taken=call.clock.timestamp(), run=params["run_id"])

    if params["state"] == "taken":
        known = None if params["force"] else find_picture(place, cluster, params["run_id"])
        return keep_picture(params["run_id"], known, take, place, call)
    before = find_picture(place, cluster)
    if before is None and call.check_mode:
        # The task before this one, which takes the picture, has taken none either.
        before = take()
    if before is None or params["run_id"] not in ("", before.run):
        why = f"is of run {before.run or 'unknown'}" if before else "does not exist"
        raise PictureError(
            f"There is no picture to compare with: {place.name} {why}",
            reason="picture_missing",
            remedy="Take one first, with state: taken",
        )
    if is_young(before, call, question.looks * params["poll_seconds"]):
        question = replace(question, looks=1)  # the picture itself is a look of just now
    watcher = Watcher(question, before, take, call)
    return pass_gate(watcher, call, params["timeout"], params["poll_seconds"], lambda: client.answered)


def is_young(picture: Picture, call: Call, seconds: float) -> bool:
    """Whether it was taken within so many seconds, by our clock."""
    return 0 <= seconds_of(call.clock.timestamp()) - seconds_of(picture.taken) <= seconds


def keep_picture(
    run: str, known: Picture | None, take: Callable[[], Picture], place: PicturePlace, call: Call
) -> dict[str, Any]:
    """Take the picture, unless that of this run is `known` already: a run that goes on keeps its own beginning."""
    if known is not None and run in ("", known.run):
        return {"changed": False, "taken": known.taken, "place": place.name, "numbers": known.numbers}
    picture = take()
    if not call.check_mode:
        place.write(picture.to_json().encode())
        text = f"picture taken: {numbers_told(picture.numbers)}"
        call.journal.write("picture_taken", text=text, place=place.name, numbers=picture.numbers)
    return {"changed": True, "taken": picture.taken, "place": place.name, "numbers": picture.numbers}


def pass_gate(
    watcher: Watcher, call: Call, timeout: float, poll_seconds: float, connected: Callable[[], bool]
) -> dict[str, Any]:
    """Watch until the gate opens; raises EvergreenError where it does not. In check mode: one look, and no failure."""
    looks = watcher.question.looks
    if call.check_mode:
        look = watcher.look()
        return _outcome(watcher, look, passed=look.clear_for > 0)
    try:
        look = wait_patiently(
            watcher.look,
            lambda seen: seen.clear_for >= looks,
            call=call,
            deadline=Deadline(call.clock, timeout),
            interval=poll_seconds,
            heartbeat=Heartbeat(call),
            describe=str,
            connected=connected,
        )
    except WaitTimeout as late:
        look = late.last
        # What comes and goes may have taken all the time; then it is enough that nothing lasted.
        if not look.bearable or look.steady_for < min(looks, look.looked):
            closed = gate_closed(watcher, look, timeout)
            watcher.tell_end(None, closed)
            raise closed from None
    watcher.tell_end(look)
    return _outcome(watcher, look, passed=True)


def _outcome(watcher: Watcher, look: Look, *, passed: bool) -> dict[str, Any]:
    before = {"taken": watcher.before.taken, "numbers_before": watcher.before.numbers}
    return {"changed": False, "passed": passed, **before, **look.results()}


def gate_closed(watcher: Watcher, look: Look, timeout: float) -> EvergreenError:
    """The failure: the worst ones first, and what an operator can do."""
    terms = watcher.question.terms
    exceeded = terms.exceeded(look.blamed)
    texts = _unmet_texts(look.unmet)
    if exceeded:
        texts = [*_first([item.message for item in look.blamed], MESSAGES_IN_FAILURE), *texts]
        allowed = f"{terms.max_new_unhealthy} allowed"
        if terms.max_new_unhealthy and any(item.critical for item in look.blamed):
            allowed += f", none in {', '.join(terms.critical)}"
        number = counted(len(look.blamed), "thing")
        head = f"Worse than in the picture of {watcher.before.taken}: {number} ({allowed})"
    else:
        head = "The cluster is not as its operator wants it"
    when = f"after {timeout:g} s"
    if look.bearable:
        when += f", and not for {counted(watcher.question.looks, 'look')} in a row otherwise"
    blamed = {"worse": [item.as_data() for item in look.blamed], "unmet": [item.as_data() for item in look.unmet]}
    return EvergreenError(
        f"{head} {when}: {'; '.join(texts)}",
        reason="gate_closed" if exceeded else "user_gate",
        remedy="Put them right, or put up with them (max_new_unhealthy, ignore, gates), then run again",
        **{**_outcome(watcher, look, passed=False), **blamed},
    )


def _unmet_texts(unmet: Sequence[Objection]) -> list[str]:
    return [f"gate '{item.name}' is not met: {item.message}" for item in unmet]


def _first(texts: Sequence[str], most: int) -> list[str]:
    return [*texts[:most], *([f"and {len(texts) - most} more"] if len(texts) > most else [])]


def numbers_told(numbers: Mapping[str, int]) -> str:
    """`12 of 12 nodes ready, 238 of 240 pods ready, 40 of 41 workloads whole`."""
    return ", ".join(f"{numbers[f'{kind}_{good}']} of {numbers[kind]} {kind} {good}" for kind, good in GOOD.items())
