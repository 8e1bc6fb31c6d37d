# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a cluster, against the simulator's API over HTTPS; only the waiting is left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.hold import HoldRecord, LockLost, boot_seconds
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder, RunInProgress
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.lease import Held, Lock, confirm, take
from ansible_collections.evergreen.eks.plugins.module_utils.process import Process
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Journal, Lifeline
from simulator.clock import Clock
from simulator.kubernetes.api import ApiServer
from simulator.kubernetes.authentication import Identity
from simulator.kubernetes.client import ApiClient
from simulator.kubernetes.serving import HttpsServer
from simulator.record import Faults, Record

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
LEASE = f"{LEASES}/evergreen-eks"
ELSEWHERE = Holder("ci-7", "b00t", "1", 4711, "99", operator="berta", since="2026-11-21T01:00:00Z")
ABSURD_TIME = "1999-01-01T00:00:00.000000Z"


class EventfulClock(FakeClock):
    """A clock that moves only while somebody sleeps, and lets others do something at its moments."""

    def __init__(self) -> None:
        super().__init__()
        self._agenda: list[tuple[float, Callable[[], Any]]] = []

    def at(self, seconds: float, deed: Callable[[], Any]) -> None:
        self._agenda.append((self.now() + seconds, deed))

    def every(self, seconds: float, deed: Callable[[], Any], times: int) -> None:
        for number in range(1, times + 1):
            self.at(number * seconds, deed)

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        due = [entry for entry in self._agenda if entry[0] <= self.now()]
        for entry in due:
            self._agenda.remove(entry)
            entry[1]()


class Cluster:
    """An API server, a run of ours that wants its lock, and whoever else writes the Lease."""

    def __init__(self, server: HttpsServer, folder: Path) -> None:
        self.server, self.api, self.folder = server, server.api, folder
        self.others = ApiClient(server.api, "somebody")
        self.clock = EventfulClock()
        self.call = Call(clock=self.clock, journal=Journal(str(folder / "journal"), self.clock))
        authority = folder / "ca.pem"
        authority.write_text(server.ca_pem)
        params = {"host": server.url, "api_key": "admin", "ca_cert": str(authority)}
        self.client = KubernetesClient.connect(params, Aws({}, self.call), self.call)
        here = Holder.here(Lifeline(Process.of(os.getpid())), operator="anna", since=self.clock.timestamp())
        self.lock = Lock(self.client, "prod", here, seconds=60)

    def take(self, wait: float = 90.0, generation: int | None = None) -> Held:
        return take(self.lock, self.call, wait=wait, poll_seconds=5, generation=generation)

    def lease(self) -> dict[str, Any]:
        return self.others.get(LEASE)

    def held_by(self, holder: Holder, seconds: int = 60, renewed: str = ABSURD_TIME) -> None:
        """Somebody else's Lease, of generation 7; its times are wrong by decades, because clocks are."""
        spec = {
            "holderIdentity": holder.label,
            "leaseDurationSeconds": seconds,
            "leaseTransitions": 7,
            "acquireTime": renewed,
            "renewTime": renewed,
        }
        annotations = {"evergreen.eks/holder": json.dumps(holder.as_dict())}
        metadata = {"name": "evergreen-eks", "annotations": annotations, "labels": {"team": "platform"}}
        self.others.create(LEASES, {"metadata": metadata, "spec": spec})

    def renew(self) -> None:
        """The other run renews its Lease, on its own strange clock."""
        year = int(self.lease()["spec"]["renewTime"][:4]) - 1
        self.others.patch(LEASE, {"spec": {"renewTime": f"{year}{ABSURD_TIME[4:]}"}})

    def journal(self) -> str:
        return "\n".join(json.loads(line)["text"] for line in (self.folder / "journal").read_text().splitlines())


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    clock = Clock(speed=0)
    api = ApiServer(clock, Record(clock), Faults(clock))
    api.authenticator.tokens["admin"] = Identity("admin", "evergreen")
    with HttpsServer(api) as server:
        yield Cluster(server, tmp_path)


@pytest.fixture
def ended() -> Holder:
    """A run on this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    holder = Holder.here(Lifeline(Process.of(process.pid)), operator="berta")
    process.communicate(b"\n")
    return holder


def test_a_free_cluster_is_taken_at_once_and_says_who_took_it(cluster: Cluster) -> None:
    before = boot_seconds()
    held = cluster.take()
    lease = cluster.lease()
    assert cluster.clock.sleeps == []
    assert lease["spec"]["holderIdentity"] == cluster.lock.holder.label
    assert (lease["spec"]["leaseDurationSeconds"], lease["spec"]["leaseTransitions"]) == (60, 1)
    assert lease["spec"]["renewTime"] == lease["spec"]["acquireTime"]
    assert json.loads(lease["metadata"]["annotations"]["evergreen.eks/holder"])["operator"] == "anna"
    assert lease["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "evergreen.eks"}
    assert held.lease.generation == 1 and before <= held.renewed <= boot_seconds()


def test_given_back_it_is_free_for_the_next_generation(cluster: Cluster) -> None:
    cluster.take()
    cluster.lock.give_back(1)
    given = cluster.lease()
    assert given["spec"]["holderIdentity"] == "" and given["spec"]["leaseTransitions"] == 1
    assert "annotations" not in given["metadata"]
    assert cluster.take().lease.generation == 2


def test_a_run_that_renews_is_waited_for_and_then_named(cluster: Cluster) -> None:
    cluster.held_by(ELSEWHERE)
    cluster.clock.every(15, cluster.renew, times=10)
    with pytest.raises(RunInProgress) as error:
        cluster.take(wait=90)
    assert str(error.value) == (
        "Cluster prod is held by berta on ci-7 (process 4711, since 2026-11-21T01:00:00Z), "
        "whose lock has not run out. Wait for that run to end and run again; if you are sure that it is dead, "
        "kubectl -n kube-system delete lease evergreen-eks frees the lock; "
        "lock: false (eks_lock=false) works without one."
    )
    assert error.value.reason == "locked" and error.value.details["holder"]["host"] == "ci-7"
    assert sum(cluster.clock.sleeps) == pytest.approx(90)
    assert "waits 90 s at most for cluster prod, which is held by berta on ci-7" in cluster.journal()
    assert not cluster.api.record.calls(author="evergreen", mutating=True)


def test_without_waiting_one_look_decides(cluster: Cluster) -> None:
    cluster.held_by(ELSEWHERE)
    with pytest.raises(RunInProgress):
        cluster.take(wait=0)
    assert cluster.clock.sleeps == []


@pytest.mark.parametrize("wait", [0, 45, 60])
def test_who_waits_no_longer_than_the_lock_is_good_for_is_told_to_wait_longer(cluster: Cluster, wait: float) -> None:
    """That run may be dead: then waiting for its end is in vain."""
    cluster.held_by(ELSEWHERE, seconds=120)
    with pytest.raises(RunInProgress) as error:
        cluster.take(wait=wait)
    assert (
        f"a dead run's lock is taken over once it has stood still for 120 s, and was watched for {wait:g} s only: "
        "set lock_wait (eks_lock_wait) above 120; if you are sure that it is dead, kubectl"
    ) in str(error.value)


def test_of_a_run_that_is_known_to_live_no_longer_wait_is_asked(cluster: Cluster) -> None:
    cluster.held_by(Holder.here(Lifeline(Process.of(os.getppid()))))
    with pytest.raises(RunInProgress, match="which still runs. Wait for that run to end and run again; if you are"):
        cluster.take(wait=0)


def test_a_run_that_ends_meanwhile_makes_room(cluster: Cluster) -> None:
    cluster.held_by(ELSEWHERE)
    cluster.clock.at(20, lambda: cluster.others.patch(LEASE, {"spec": {"holderIdentity": ""}}))
    held = cluster.take()
    assert held.lease.generation == 8
    assert held.lease.body["metadata"]["labels"] == {"team": "platform"}


def test_a_lock_that_stands_still_for_its_own_duration_is_taken_over_whatever_its_times_say(cluster: Cluster) -> None:
    cluster.held_by(ELSEWHERE, seconds=40, renewed="2999-01-01T00:00:00.000000Z")
    cluster.clock.at(10, cluster.renew)
    assert cluster.take().lease.generation == 8
    assert sum(cluster.clock.sleeps) == pytest.approx(50, abs=10)
    assert "takes the lock of cluster prod over from berta on ci-7" in cluster.journal()
    assert "it was not renewed for 40 s" in cluster.journal()


def test_a_time_in_which_nobody_looked_does_not_count(cluster: Cluster) -> None:
    """After an outage of the API, or of this machine, the holder gets the time to renew before it is taken over."""
    cluster.held_by(ELSEWHERE)

    def outage() -> None:
        FakeClock.sleep(cluster.clock, 300)
        cluster.clock.at(20, cluster.renew)

    cluster.clock.at(10, outage)
    with pytest.raises(RunInProgress):
        cluster.take(wait=320)


def test_a_run_that_has_provably_ended_is_taken_over_at_once(cluster: Cluster, ended: Holder) -> None:
    cluster.held_by(ended)
    assert cluster.take(wait=0).lease.generation == 8
    assert "its process has ended" in cluster.journal()


def test_of_two_that_come_at_once_one_gets_it(cluster: Cluster) -> None:
    """The other run is faster by one request."""
    cluster.api.faults.add(operation="^POST leases$", before=lambda _call: cluster.held_by(ELSEWHERE))
    with pytest.raises(RunInProgress, match="berta"):
        cluster.take(wait=10)
    assert [call.status for call in cluster.api.record.calls(operation="POST leases", author="evergreen")] == [409]


@pytest.mark.parametrize("trouble", [{"reset": "after"}, {"reset": "before"}, {"error": (503, "Unavailable", "no")}])
def test_a_write_whose_answer_was_lost_is_looked_at_again(cluster: Cluster, trouble: dict[str, Any]) -> None:
    cluster.api.faults.add(operation="^POST leases$", **trouble)
    held = cluster.take()
    assert cluster.lease()["spec"]["holderIdentity"] == cluster.lock.holder.label
    assert held.lease.generation == cluster.lease()["spec"]["leaseTransitions"]


@pytest.mark.parametrize("verb", ["get", "create", "update"])
def test_without_the_right_it_says_which_and_how_to_do_without(cluster: Cluster, verb: str) -> None:
    if verb == "update":
        cluster.take()
        cluster.lock.give_back(1)
    cluster.api.authorize = lambda user, asked, group, resource, subresource: asked != verb
    with pytest.raises(EvergreenError, match=f'cannot {verb} resource "leases".*eks_lock=false') as error:
        cluster.take()
    assert "get, create and update on leases.coordination.k8s.io in namespace kube-system" in str(error.value)
    assert error.value.reason == "kubernetes_forbidden"


class TestRenewal:
    def test_it_keeps_the_generation_and_what_others_wrote(self, cluster: Cluster) -> None:
        held = cluster.take()
        cluster.others.patch(LEASE, {"metadata": {"labels": {"team": "platform"}}})
        renewed = cluster.lock.renew(held.lease)
        assert renewed.lease.generation == 1 and renewed.renewed > held.renewed
        lease = cluster.lease()
        assert lease["metadata"]["labels"]["team"] == "platform"
        assert lease["spec"]["renewTime"] > lease["spec"]["acquireTime"] == held.lease.body["spec"]["acquireTime"]

    def test_a_lost_answer_is_no_lost_lock(self, cluster: Cluster) -> None:
        held = cluster.take()
        cluster.api.faults.add(operation="^PUT leases$", reset="after")
        with pytest.raises(EvergreenError):
            cluster.lock.renew(held.lease)
        assert cluster.lock.renew(held.lease).lease.generation == 1

    @pytest.mark.parametrize(
        ("others", "sentence"),
        [
            ({"holderIdentity": ELSEWHERE.label, "leaseTransitions": 2}, "was taken over by ci-7"),
            ({"holderIdentity": "", "leaseTransitions": 2}, "was taken over by another run, which has given it back"),
            ({"leaseTransitions": 3}, "was taken over"),
        ],
    )
    def test_what_was_another_runs_in_between_is_lost(
        self, cluster: Cluster, others: dict[str, Any], sentence: str
    ) -> None:
        held = cluster.take()
        cluster.others.patch(LEASE, {"spec": others})
        before = cluster.lease()
        with pytest.raises(LockLost, match=sentence):
            cluster.lock.renew(held.lease)
        with pytest.raises(LockLost):
            cluster.take(generation=1)
        cluster.lock.give_back(1)
        assert cluster.lease() == before

    def test_a_lock_that_was_deleted_is_lost_and_not_created_anew(self, cluster: Cluster) -> None:
        held = cluster.take()
        cluster.others.delete(LEASE)
        with pytest.raises(LockLost, match=r"was deleted \(Lease kube-system/evergreen-eks\)"):
            cluster.lock.renew(held.lease)
        assert cluster.others.list(LEASES)[0] == []

    def test_a_run_whose_keeper_died_goes_on_under_its_generation(self, cluster: Cluster) -> None:
        cluster.take()
        assert cluster.take(generation=1).lease.generation == 1

    def test_a_run_that_had_let_go_begins_a_new_generation(self, cluster: Cluster) -> None:
        """So that a keeper that is still about to give the old one back does not give back this one."""
        cluster.take()
        assert cluster.take().lease.generation == 2
        cluster.lock.give_back(1)
        assert cluster.lease()["spec"]["holderIdentity"] == cluster.lock.holder.label


class TestConfirm:
    @pytest.fixture
    def hold(self, cluster: Cluster) -> str:
        held, path = cluster.take(), str(cluster.folder / "run.hold")
        HoldRecord("prod", cluster.lock.holder.label, held.lease.generation, held.renewed, 60).write(path)
        return path

    def test_what_is_still_ours_is_one_request(self, cluster: Cluster, hold: str) -> None:
        before = len(cluster.api.record.calls())
        assert confirm(cluster.client, hold).generation == 1
        assert [call.operation for call in cluster.api.record.calls()[before:]] == ["GET leases"]

    def test_a_late_comer_is_fenced_although_its_hold_file_is_fresh(self, cluster: Cluster, hold: str) -> None:
        cluster.others.delete(LEASE)
        cluster.held_by(ELSEWHERE)
        with pytest.raises(LockLost, match="taken over by berta on ci-7"):
            confirm(cluster.client, hold)

    def test_a_later_generation_of_its_own_is_another_ones(self, cluster: Cluster, hold: str) -> None:
        cluster.others.patch(LEASE, {"spec": {"leaseTransitions": 3}})
        with pytest.raises(LockLost):
            confirm(cluster.client, hold)


def test_a_lease_of_somebody_who_is_no_run_is_named_as_it_names_itself(cluster: Cluster) -> None:
    cluster.held_by(replace(ELSEWHERE, host="x"))
    cluster.others.patch(LEASE, {"spec": {"holderIdentity": "maintenance"}})
    with pytest.raises(RunInProgress, match="held by maintenance, whose lock has not run out"):
        cluster.take(wait=0)
