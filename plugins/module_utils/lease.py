# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a cluster: one Lease in kube-system, so that two runs never change one cluster at the same time.

The rules are those of leader election in Kubernetes' own components: whoever holds it renews it; who waits for it
watches it stand still on a clock of its own and never compares clocks; every write replaces exactly what was read.
C(leaseTransitions) is the generation: it grows each time another run takes the lock, and so tells a late-comer that
the lock, although free or its own again, was somebody else's in between.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.hold import Hold, HoldRecord, LockLost, boot_seconds
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder, RunInProgress
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Clock

NAMESPACE = "kube-system"
NAME = "evergreen-eks"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
HOLDER_ANNOTATION = "evergreen.eks/holder"
LABELS = {"app.kubernetes.io/managed-by": "evergreen.eks"}
# A Lease without a duration was written by somebody else; then this many seconds.
SECONDS = 60
NOT_FOUND, CONFLICT, FORBIDDEN = 404, 409, 403


@dataclass(frozen=True)
class Lease:
    """The Lease as it was last seen."""

    body: dict[str, Any]

    @property
    def version(self) -> str:
        return self.body["metadata"]["resourceVersion"]

    @property
    def identity(self) -> str:
        """The label of the run that holds it, "" when it is free."""
        return self._spec.get("holderIdentity") or ""

    @property
    def generation(self) -> int:
        return self._spec.get("leaseTransitions") or 0

    @property
    def seconds(self) -> float:
        """How long it is good for after each renewal."""
        return self._spec.get("leaseDurationSeconds") or SECONDS

    @property
    def holder(self) -> Holder | None:
        """The run that holds it, as far as it can be told from the annotation or, without one, from the label."""
        annotations = self.body["metadata"].get("annotations") or {}
        try:
            told = Holder.of(json.loads(annotations.get(HOLDER_ANNOTATION, "")))
        except ValueError:
            told = None
        return told if told and told.label == self.identity else Holder.parse(self.identity)

    @property
    def _spec(self) -> dict[str, Any]:
        return self.body.get("spec") or {}

    def __str__(self) -> str:
        return str(self.holder or self.identity)


@dataclass(frozen=True)
class Held:
    """The Lease that we wrote, and when (``boot_seconds``) we sent it: nobody takes it over sooner than its duration
    after that."""

    lease: Lease
    renewed: float


@dataclass(frozen=True)
class Lock:
    """The lock of one cluster as one run sees it. ``seconds``: how long it is good for after each renewal.

    All methods raise KubernetesError, and EvergreenError (reason kubernetes_forbidden) without a right to Leases.
    """

    client: KubernetesClient
    cluster: str
    holder: Holder
    seconds: float

    def read(self) -> Lease | None:
        with _rights(self.cluster):
            return read_lease(self.client)

    def write(self, seen: Lease | None, generation: int, *, free: bool = False) -> Held:
        """Write what replaces exactly ``seen``. KubernetesError with status 409 when it is not so any more."""
        body = self._body(seen, generation, free)
        sent = boot_seconds()
        with _rights(self.cluster):
            if seen is None:
                return Held(Lease(self.client.create(LEASES, body)), sent)
            return Held(Lease(self.client.replace(f"{LEASES}/{NAME}", body)), sent)

    def renew(self, held: Lease) -> Held:
        """Renew it under its generation, also where the last answer was lost. Raises LockLost."""
        try:
            return self.write(held, held.generation)
        except KubernetesError as error:
            if error.status not in (NOT_FOUND, CONFLICT):
                raise
        return self.write(self.still_ours(held.generation), held.generation)

    def give_back(self, generation: int) -> None:
        """Leave it free for the next run; where it is not ours any more, leave it as it is."""
        try:
            self.write(self.still_ours(generation), generation, free=True)
        except LockLost:
            pass

    def still_ours(self, generation: int) -> Lease:
        """The Lease as it is now. Raises LockLost when it is not this run's, or was another's in between."""
        seen = self.read()
        if seen is None or (seen.identity, seen.generation) != (self.holder.label, generation):
            raise lost_to(self.cluster, seen)
        return seen

    def _body(self, seen: Lease | None, generation: int, free: bool) -> dict[str, Any]:
        """What others wrote into it stays: the UID keeps the write from creating anew what was deleted."""
        body: dict[str, Any] = copy.deepcopy(seen.body) if seen else {"metadata": {"name": NAME, "labels": LABELS}}
        body.update(apiVersion="coordination.k8s.io/v1", kind="Lease")
        annotations = body["metadata"].setdefault("annotations", {})
        annotations[HOLDER_ANNOTATION] = json.dumps(self.holder.as_dict(), sort_keys=True)
        if free:
            del annotations[HOLDER_ANNOTATION]
        now = micro_time()
        spec = body.setdefault("spec", {})
        if seen is None or (seen.identity, seen.generation) != (self.holder.label, generation):
            spec["acquireTime"] = now
        spec.update(
            holderIdentity="" if free else self.holder.label,
            leaseDurationSeconds=math.ceil(self.seconds),
            leaseTransitions=generation,
            renewTime=now,
        )
        return body


class Standstill:
    """For how long a Lease has not been renewed, as far as we have looked on.

    Between two looks at most a quarter of its duration counts: after an outage of the API, or of this machine, the
    holder gets the time to renew it before anybody takes it over.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._version = ""
        self._looked = 0.0
        self.seconds = 0.0

    def look(self, lease: Lease) -> bool:
        """Whether it stood still for all of its duration."""
        now = self._clock.now()
        if lease.version == self._version:
            self.seconds += min(now - self._looked, lease.seconds / 4)
        else:
            self.seconds = 0.0
        self._version, self._looked = lease.version, now
        return self.seconds >= lease.seconds


def take(lock: Lock, call: Call, *, wait: float, poll_seconds: float, generation: int | None = None) -> Held:
    """Take the lock when it is free, its holder has provably ended, or it stood still for its whole duration.

    Waits ``wait`` seconds for that (0: not at all), then raises RunInProgress. Each time it is taken begins a new
    generation; with ``generation`` this run must hold it under that one still, and goes on so: else LockLost. Raises
    KubernetesError, EvergreenError.
    """
    give_up, patient_until = call.clock.now() + wait, call.clock.now() + call.patience(poll_seconds)
    standstill, told = Standstill(call.clock), False
    while True:
        seen = lock.read() if generation is None else lock.still_ours(generation)
        why = _free(lock.holder, seen, standstill)
        if why is not None:
            try:
                held = lock.write(seen, generation or (seen.generation + 1 if seen else 1))
            except KubernetesError as error:
                # Another run was faster, or nobody knows whether it was written: look again.
                known = error.status in (NOT_FOUND, CONFLICT)
                if not known and (not error.transient or call.clock.now() >= patient_until):
                    raise
            else:
                if why:
                    call.journal.write("lock", text=f"takes the lock of cluster {lock.cluster} over from {seen}: {why}")
                return held
        elif call.clock.now() >= give_up:
            raise refusal(lock, seen, standstill, wait)
        elif not told:
            told = True
            text = f"waits {wait:g} s at most for cluster {lock.cluster}, which is held by {seen}"
            call.journal.write("lock", text=text)
        pause = min(poll_seconds, (seen.seconds if seen else SECONDS) / 8)
        call.clock.sleep(min(pause, max(give_up - call.clock.now(), poll_seconds / 10)))


def _free(holder: Holder, seen: Lease | None, standstill: Standstill) -> str | None:
    """Why the lock may be taken from another run, "" when from none; None when it may not be taken."""
    if seen is None or seen.identity in ("", holder.label):
        return ""
    other = seen.holder
    if other and other.gone(holder):
        return "its process has ended"
    if standstill.look(seen):
        return f"it was not renewed for {standstill.seconds:.0f} s"
    return None


def confirm(client: KubernetesClient, path: str) -> HoldRecord:
    """Ask the API itself whether the lock of the hold file is still held: the start of every stage does.

    Raises LockLost when another run holds it, or held it in between; KubernetesError, EvergreenError.
    """
    record = Hold(path, patience=0).record()
    with _rights(record.cluster):
        seen = read_lease(client)
    if seen is None or (seen.identity, seen.generation) != (record.holder, record.generation):
        raise lost_to(record.cluster, seen)
    return record


def read_lease(client: KubernetesClient) -> Lease | None:
    """The Lease of the cluster, None where there is none. Raises KubernetesError."""
    try:
        return Lease(client.get(f"{LEASES}/{NAME}"))
    except KubernetesError as error:
        if error.status != NOT_FOUND:
            raise
        return None


def refusal(lock: Lock, seen: Lease, standstill: Standstill, watched: float) -> RunInProgress:
    """One sentence that says who holds the lock, since when, and how to go on.

    ``watched``: the seconds for which we waited for it. Who waits no longer than the lock is good for can never see
    that its holder is dead.
    """
    other = seen.holder
    if other and other.gone(lock.holder) is False:
        state = "which still runs"
    elif standstill.seconds > seen.seconds / 2:
        state = f"which has not renewed its lock for {standstill.seconds:.0f} s of {seen.seconds:g} s"
    else:
        state = "whose lock has not run out"
    too_short = watched <= seen.seconds and not (other and other.gone(lock.holder) is False)
    longer = (
        f"a dead run's lock is taken over once it has stood still for {seen.seconds:g} s, and was watched for "
        f"{watched:g} s only: set lock_wait (eks_lock_wait) above {seen.seconds:g}; "
    )
    return RunInProgress(
        f"Cluster {lock.cluster} is held by {seen}, {state}",
        holder=other.as_dict() if other else {"label": seen.identity},
        remedy=f"Wait for that run to end and run again; {longer if too_short else ''}if you are sure that it is dead, "
        f"kubectl -n {NAMESPACE} delete lease {NAME} frees the lock; lock: false (eks_lock=false) works without one",
    )


def lost_to(cluster: str, seen: Lease | None) -> LockLost:
    """How the lock was lost."""
    if seen is None:
        return LockLost(f"The lock of cluster {cluster} was deleted (Lease {NAMESPACE}/{NAME}) while this run held it")
    if not seen.identity:
        return LockLost(f"The lock of cluster {cluster} was taken over by another run, which has given it back")
    return LockLost(f"The lock of cluster {cluster} was taken over by {seen}")


def micro_time() -> str:
    """Now in UTC as Kubernetes' MicroTime. Nobody decides by it; a renewal that changed nothing would be no write."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@contextmanager
def _rights(cluster: str) -> Iterator[None]:
    """Name the right that is missing, and the way to do without."""
    try:
        yield
    except KubernetesError as error:
        if error.status != FORBIDDEN:
            raise
        raise EvergreenError(
            f"The lock of cluster {cluster} needs the verbs get, create and update on leases.coordination.k8s.io in "
            f"namespace {NAMESPACE}: {error.text}",
            reason=error.reason,
            remedy="Grant them to the identity in use, or run with lock: false (eks_lock=false) and see to it that "
            "nobody else rolls this cluster at the same time",
        ) from error
