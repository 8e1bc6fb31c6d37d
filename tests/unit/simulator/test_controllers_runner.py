# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time

import pytest
from unit.simulator.rehearsal import Cluster

from simulator.kubernetes.controllers import Controllers
from simulator.kubernetes.controllers.controller import Agenda


def test_the_agenda_keeps_the_earliest_moment_of_each_key() -> None:
    agenda = Agenda()
    agenda.put("a", 30)
    agenda.put("b", 20)
    agenda.put("a", 10)
    agenda.put("a", 40)
    assert agenda.next() == 10
    assert agenda.pop_due(25) == ["a", "b"]
    assert agenda.next() is None


def test_nothing_is_written_while_nothing_changes() -> None:
    cluster = Cluster()
    cluster.node("n1")
    cluster.workload("deployments", "web", replicas=3)
    cluster.workload("daemonsets", "agent")
    cluster.budget("web", maxUnavailable=1)
    cluster.after(60)
    before = len(cluster.server.record.calls())
    cluster.after(3600)
    assert len(cluster.server.record.calls()) == before


def test_every_request_carries_its_controller_as_author() -> None:
    cluster = Cluster()
    cluster.node("n1")
    cluster.workload("deployments", "web", replicas=1)
    cluster.budget("web", maxUnavailable=1)
    cluster.after(10)
    record = cluster.server.record
    authors = {call.author for call in record.calls(mutating=True)}
    assert authors == {
        "test",
        "deployment-controller",
        "replicaset-controller",
        "scheduler",
        "kubelet",
        "disruption-controller",
    }
    assert [call.author for call in record.calls(operation="POST pods/binding")] == ["scheduler"]


def test_only_the_chosen_controllers_act() -> None:
    cluster = Cluster(which=("deployment-controller", "replicaset-controller"))
    cluster.node("n1")
    cluster.workload("deployments", "web", replicas=2)
    assert [pod["status"]["phase"] for pod in cluster.after(60).pods("web")] == ["Pending", "Pending"]


def test_an_unknown_controller_is_named() -> None:
    cluster = Cluster()
    with pytest.raises(ValueError, match="no such controllers: gardener; there are deployment-controller"):
        Controllers(cluster.server, cluster.clock, ["gardener"])


def test_they_go_on_after_the_server_has_ended_all_watches() -> None:
    cluster = Cluster()
    cluster.node("n1")
    cluster.workload("deployments", "web", replicas=1)
    cluster.after(10)
    cluster.server.store.close_subscriptions()
    cluster.workload("deployments", "api", replicas=1)
    cluster.delete("deployments", "web")
    cluster.after(10)
    assert len(cluster.ready("api")) == 1
    assert cluster.pods("web") == []


def test_they_run_in_a_thread_with_the_clock_of_the_world() -> None:
    cluster = Cluster()
    cluster.node("n1")
    cluster.clock.set_speed(1000)
    cluster.controllers.start()
    try:
        cluster.workload("deployments", "web", replicas=2)
        give_up = time.monotonic() + 20
        while len(cluster.ready("web")) < 2 and time.monotonic() < give_up:
            time.sleep(0.01)
    finally:
        cluster.controllers.stop()
    assert len(cluster.ready("web")) == 2
