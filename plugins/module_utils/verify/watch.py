# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at a cluster until nothing is left that may pass by itself, and saying what is wrong then.

An error that may pass counts once it has lasted for its settling time, or has been there since the first look. The
comparison with a snapshot follows the rules of the gates (`gate_watch`). In a quiet look nothing that may pass is
open; so many in a row end the watch: what is wrong then stays wrong until somebody does something about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import asked_version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import (
    EvergreenError,
    InvalidInput,
    WaitTimeout,
    counted,
)
from ansible_collections.evergreen.eks.plugins.module_utils.gate import Worsening
from ansible_collections.evergreen.eks.plugins.module_utils.gate_watch import Question, Watcher, numbers_told
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.picture import Picture, cluster_uid
from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat, refuse_negative, wait_patiently
from ansible_collections.evergreen.eks.plugins.module_utils.snapshot import (
    find_snapshot,
    snapshot_missing,
    snapshot_places,
)
from ansible_collections.evergreen.eks.plugins.module_utils.verify.checks import NAMES, SNAPSHOT, Choice, findings
from ansible_collections.evergreen.eks.plugins.module_utils.verify.read import read_cloud, read_scene
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import (
    ERROR,
    WARNING,
    CloudFacts,
    Finding,
    Scene,
    Sidecar,
    Wanted,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

# AWS throttles, and what it says changes slowly: it is asked anew when its answer is so many seconds old.
CLOUD_SECONDS = 30.0
MESSAGES_IN_HEARTBEAT = 3
MESSAGES_IN_FAILURE = 5


@dataclass(frozen=True)
class Terms:
    """What is asked for: the checks, for how long an error that may pass is none, and how many quiet looks it takes."""

    choice: Choice
    settle_seconds: float
    looks: int


@dataclass(frozen=True)
class Look:
    """What one look found: `found` counts, `settling` may still pass, `ignored` is left out.

    `quiet_for`: for how many looks in a row nothing that may pass was open.
    """

    wanted: Wanted
    found: tuple[Finding, ...]
    settling: tuple[Finding, ...]
    ignored: tuple[Finding, ...]
    numbers: Mapping[str, int]
    looked: int
    quiet_for: int

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.found if finding.severity == ERROR]

    def __str__(self) -> str:
        texts = [finding.message for finding in (*self.errors, *self.settling)]
        if not texts:
            return f"the cluster is as it should be; {counted(self.quiet_for, 'clear look')} so far"
        return "; ".join([f"{counted(len(texts), 'thing')} not as it should be", *_first(texts, MESSAGES_IN_HEARTBEAT)])


class Verifier:
    """Looks at the cluster again and again, and keeps in mind since when it has seen what."""

    def __init__(
        self, terms: Terms, see: Callable[[], tuple[Scene, Wanted]], call: Call, watcher: Watcher | None = None
    ) -> None:
        self.terms = terms
        self._see = see
        self._call = call
        self._watcher = watcher  # of the snapshot
        self._since: dict[str, float] = {}  # when an error that may pass was first seen, by the clock
        self._awaited: set[str] | None = None  # those that have been there since the first look
        self._told: dict[tuple[str, str, str], Finding] = {}
        self._last: Look | None = None
        self.picture: Picture | None = None

    @property
    def compares(self) -> bool:
        """Whether there is a snapshot to compare with."""
        return self._watcher is not None

    def look(self) -> Look:
        """Make all checks. Raises EvergreenError where AWS or Kubernetes cannot be asked."""
        scene, wanted = self._see()
        self.picture = scene.picture
        every = findings(scene, wanted, self.terms.choice)
        found, settling = self._sorted_out([one for one in every if not self.terms.choice.ignores(one)])
        worse = self._compared()
        named = {one.object for one in found if one.severity == ERROR}  # a thing is named once
        found += [one for one in worse.found if not self.terms.choice.ignores(one) and one.object not in named]
        waiting = settling or worse.waiting or any(one.passes and one.severity == ERROR for one in found)
        last = self._last
        self._last = Look(
            wanted=wanted,
            found=tuple(sorted(found, key=lambda one: (one.severity != ERROR, NAMES.index(one.check)))),
            settling=(*settling, *worse.settling),
            ignored=tuple(one for one in (*every, *worse.found) if self.terms.choice.ignores(one)),
            numbers=scene.picture.numbers,
            looked=(last.looked if last else 0) + 1,
            quiet_for=0 if waiting else (last.quiet_for if last else 0) + 1,
        )
        self._tell(self._last.found)
        return self._last

    def _sorted_out(self, every: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
        """(what counts, what may still pass). Warnings are told as they are."""
        now = self._call.clock.now()
        passing = {one.key for one in every if one.passes and one.severity == ERROR}
        self._since = {key: self._since.get(key, now) for key in passing}
        self._awaited = passing & (passing if self._awaited is None else self._awaited)

        def counts(one: Finding) -> bool:
            if one.severity != ERROR or not one.passes or one.key in (self._awaited or ()):
                return True
            return now - self._since[one.key] >= self.terms.settle_seconds

        return [one for one in every if counts(one)], [one for one in every if not counts(one)]

    def _compared(self) -> Compared:
        """What is worse than in the snapshot, by the rules of the gates."""
        if self._watcher is None:
            return Compared()
        seen = self._watcher.look()
        found, settling = ([finding_of(one) for one in some] for some in (seen.worse, seen.settling))
        # What is left out is not waited for either.
        open_ones = [one for one in (*found, *settling) if not self.terms.choice.ignores(one)]
        return Compared(tuple(found), tuple(settling), waiting=bool(open_ones) and not seen.clear_for)

    def _tell(self, found: Sequence[Finding]) -> None:
        """One line in the journal for each change since the last look; the watcher has told of its own.

        What is wrong with a thing is known by its remedy: the message has numbers in it, which may change all the time.
        """
        now = {(one.check, one.object, one.remedy): one for one in found if one.check != SNAPSHOT}
        for known, finding in now.items():
            if known not in self._told:
                fields = finding.as_data()
                message = fields.pop("message")
                text = message if finding.severity == ERROR else f"warning: {message}"
                self._call.journal.write("finding", text=text, **fields)
        for known in self._told.keys() - now.keys():
            over = self._told[known]
            text = f"over: {over.message}"
            self._call.journal.write("finding_over", text=text, check=over.check, object=over.object)
        self._told = now


@dataclass(frozen=True)
class Compared:
    """What the comparison with the snapshot has found, and whether it waits for something."""

    found: tuple[Finding, ...] = ()
    settling: tuple[Finding, ...] = ()
    waiting: bool = False


def finding_of(worsening: Worsening) -> Finding:
    """What has become worse, as a finding."""
    where = f"-n {worsening.namespace} " if worsening.namespace else ""
    return Finding(
        SNAPSHOT,
        ERROR,
        worsening.object,
        worsening.message,
        f"kubectl {where}describe, and the logs of its pods; what was so on purpose can be left out with ignore",
        passes=True,
    )


def cluster_verify(params: Mapping[str, Any], aws: Aws, client: KubernetesClient, call: Call) -> dict[str, Any]:
    """Do what the options of `cluster_verify` say; answers the module's result. Raises EvergreenError."""
    terms = terms_of(params)
    asked = asked_version(params["version"]) if params["version"] else None
    if not params["cluster_name"]:
        raise InvalidInput("cluster_name is not set", remedy="Name the EKS cluster that is to be verified")
    places = snapshot_places({**params, "path": params["snapshot"]}, aws, client, call)
    cloud = Cloud(aws, call, params["cluster_name"], params["node_groups"])
    sidecars = tuple(Sidecar(one["annotation"], one["value"], one["container"]) for one in params["sidecars"])
    here = Holder.here(call.lifeline)
    uid = cluster_uid(client)

    def see() -> tuple[Scene, Wanted]:
        facts = cloud.facts()
        version = asked or facts.cluster.version
        wanted = Wanted(version, frozenset(params["node_groups"]), sidecars, here)
        return read_scene(client, facts, uid, call.clock.timestamp(), sidecars), wanted

    verifier = Verifier(terms, see, call)
    if places and SNAPSHOT in terms.choice.made:
        before = find_snapshot(places, uid, params["run_id"])
        if before is None and not call.check_mode:
            raise snapshot_missing(places, params["run_id"])
        if before is not None:
            verifier = watched(terms, see, call, before, params)
    return verify(verifier, call, params["timeout"], params["poll_seconds"], lambda: client.answered)


def terms_of(params: Mapping[str, Any]) -> Terms:
    """From the options of `cluster_verify`. Raises InvalidInput."""
    if params["looks"] < 1:
        raise InvalidInput("looks must be at least 1", remedy="Give the number of looks in a row that must be quiet")
    refuse_negative(params, "settle_seconds", "timeout", "max_restarts")
    return Terms(Choice.of(params["checks"], params["ignore"]), params["settle_seconds"], params["looks"])


def watched(
    terms: Terms, see: Callable[[], tuple[Scene, Wanted]], call: Call, before: Picture, params: Mapping[str, Any]
) -> Verifier:
    """The verifier that compares with a snapshot, too: its watcher looks at the pictures that it has taken itself."""
    question = {"gates": [], "ignore": [], "max_new_unhealthy": 0, "critical_namespaces": ["kube-system"]}
    given = {name: params[name] for name in ("settle_seconds", "max_restarts", "looks", "timeout")}

    def taken() -> Picture:
        if verifier.picture is None:
            raise RuntimeError("the verifier has not looked yet")
        return verifier.picture

    watcher = Watcher(Question.of({**question, **given}), before, taken, call)
    verifier = Verifier(terms, see, call, watcher)
    return verifier


class Cloud:
    """What AWS says, asked anew only when its last answer is old."""

    def __init__(self, aws: Aws, call: Call, cluster: str, names: Sequence[str]) -> None:
        self._aws, self._call, self._cluster, self._names = aws, call, cluster, names
        self._known: tuple[float, CloudFacts] | None = None

    def facts(self) -> CloudFacts:
        now = self._call.clock.now()
        if self._known is None or now - self._known[0] >= CLOUD_SECONDS:
            self._known = now, read_cloud(self._aws, self._cluster, self._names)
        return self._known[1]


def verify(
    verifier: Verifier, call: Call, timeout: float, poll_seconds: float, connected: Callable[[], bool]
) -> dict[str, Any]:
    """Watch until nothing that may pass is open, or the time is over; raises EvergreenError (unhealthy) where something
    is wrong then. In check mode: one look, and no failure."""
    if call.check_mode:
        return result_of(verifier, verifier.look())
    looks, began = verifier.terms.looks, call.clock.now()
    try:
        look = wait_patiently(
            verifier.look,
            lambda seen: seen.quiet_for >= looks,
            call=call,
            deadline=Deadline(call.clock, timeout),
            interval=poll_seconds,
            heartbeat=Heartbeat(call),
            describe=str,
            connected=connected,
        )
    except WaitTimeout as late:
        look = late.last
    result = result_of(verifier, look)
    told = {name: result[name] for name in ("healthy", "findings", "ignored", "checks")}
    seconds = round(call.clock.now() - began)
    call.journal.write(
        "verified", text=summary(look), looked=look.looked, seconds=seconds, version=result["version"], **told
    )
    if look.errors:
        raise unhealthy(look, result)
    return result


def result_of(verifier: Verifier, look: Look) -> dict[str, Any]:
    """The module's result."""
    return {
        "changed": False,
        "healthy": not look.errors,
        "version": str(look.wanted.version),
        "findings": [finding.as_data() for finding in look.found],
        "settling": [finding.as_data() for finding in look.settling],
        "ignored": [finding.as_data() for finding in look.ignored],
        "checks": outcomes(verifier, look),
        "looked": look.looked,
        "numbers": dict(look.numbers),
        "text": as_text(look),
    }


def outcomes(verifier: Verifier, look: Look) -> dict[str, str]:
    """How each check came out: ok, warning or error; skipped where it was not made."""
    severities = {name: {one.severity for one in look.found if one.check == name} for name in NAMES}
    made = set(verifier.terms.choice.made)
    if not verifier.compares:
        made.discard(SNAPSHOT)
    if not look.wanted.sidecars:
        made.discard("sidecars")
    return {
        name: (
            "skipped" if name not in made else next((one for one in (ERROR, WARNING) if one in severities[name]), "ok")
        )
        for name in NAMES
    }


def unhealthy(look: Look, result: Mapping[str, Any]) -> EvergreenError:
    """The failure: the worst first, and what to do about the first of them."""
    errors = look.errors
    texts = _first([f"{one.message} ({one.check})" for one in errors], MESSAGES_IN_FAILURE)
    return EvergreenError(
        f"{counted(len(errors), 'thing')} not as it should be: {'; '.join(texts)}",
        reason="unhealthy",
        remedy=f"{errors[0].remedy}. The remedies of all stand in findings; what is so on purpose can be left out by "
        "the name of its check (ignore)",
        **result,
    )


def summary(look: Look) -> str:
    """One line for the screen."""
    warnings = len(look.found) - len(look.errors)
    told = f"{counted(len(look.errors), 'error')}, {counted(warnings, 'warning')}"
    return f"verified after {counted(look.looked, 'look')}: {told}; {numbers_told(look.numbers)}"


def as_text(look: Look) -> str:
    """For a ticket: a line for each finding, and what helps below it."""
    lines = [summary(look)]
    for finding in look.found:
        lines += [f"- {finding.severity}, {finding.check}: {finding.message}", f"  {finding.remedy}"]
    return "".join(f"{line}\n" for line in lines)


def _first(texts: Sequence[str], most: int) -> list[str]:
    return [*texts[:most], *([f"and {len(texts) - most} more"] if len(texts) > most else [])]
