# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from unit.simulator.rehearsal import Cluster, nodes_of

from simulator.kubernetes.controllers.objects import condition, is_ready, is_terminating

UNREACHABLE = {("node.kubernetes.io/unreachable", "NoSchedule"), ("node.kubernetes.io/unreachable", "NoExecute")}
NOT_READY = {("node.kubernetes.io/not-ready", "NoSchedule"), ("node.kubernetes.io/not-ready", "NoExecute")}


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.node("n1")
    cluster.node("n2")
    return cluster


def test_the_unschedulable_taint_follows_the_cordon(cluster: Cluster) -> None:
    cluster.cordon("n1")
    assert cluster.after(1).taints("n1") == {("node.kubernetes.io/unschedulable", "NoSchedule")}
    cluster.patch("nodes", "n1", {"spec": {"unschedulable": None}})
    assert cluster.after(1).taints("n1") == set()


def test_taints_of_others_are_left_alone(cluster: Cluster) -> None:
    cluster.patch("nodes", "n1", {"spec": {"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}})
    cluster.cordon("n1")
    assert ("team", "NoSchedule") in cluster.after(1).taints("n1")


def test_a_node_that_is_not_ready_is_tainted_until_it_is(cluster: Cluster) -> None:
    cluster.node("n3", ready="False")
    assert cluster.after(1).taints("n3") == NOT_READY
    cluster.patch("nodes", "n3", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "status")
    assert cluster.after(1).taints("n3") == set()


def test_pods_of_a_node_that_says_it_is_not_ready_are_not_ready_either(cluster: Cluster) -> None:
    cluster.workload("deployments", "web", replicas=2)
    cluster.after(5)
    cluster.patch("nodes", "n1", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, "status")
    assert nodes_of(cluster.after(5).ready("web")) == ["n2"]
    cluster.patch("nodes", "n1", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "status")
    assert nodes_of(cluster.after(5).ready("web")) == ["n1", "n2"]


def test_a_silent_node_becomes_unknown_and_its_pods_unready(cluster: Cluster) -> None:
    cluster.workload("deployments", "web", replicas=2)
    cluster.after(5)
    cluster.down.add("n1")
    assert is_ready(cluster.after(40).get("nodes", "n1"))
    cluster.after(20)
    ready = condition(cluster.get("nodes", "n1"), "Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert cluster.taints("n1") == UNREACHABLE
    assert nodes_of(cluster.ready("web")) == ["n2"]


def test_a_node_that_speaks_again_is_ready_again(cluster: Cluster) -> None:
    cluster.workload("deployments", "web", replicas=2)
    cluster.after(5)
    cluster.down.add("n1")
    cluster.after(90)
    cluster.down.clear()
    cluster.after(10)
    assert is_ready(cluster.get("nodes", "n1"))
    assert cluster.taints("n1") == set()
    assert nodes_of(cluster.ready("web")) == ["n1", "n2"]


def test_pods_leave_an_unreachable_node_after_five_minutes_but_do_not_vanish(cluster: Cluster) -> None:
    cluster.workload("deployments", "web", replicas=2)
    cluster.workload("daemonsets", "agent")
    cluster.after(5)
    cluster.down.add("n1")
    cluster.after(60 + 290)
    assert not is_terminating(cluster.pods("web", "n1")[0])
    cluster.after(20)
    (lost,) = cluster.pods("web", "n1")
    assert is_terminating(lost)
    assert condition(lost, "DisruptionTarget")["reason"] == "DeletionByTaintManager"
    assert nodes_of(cluster.ready("web")) == ["n2", "n2"]
    assert not is_terminating(cluster.pods("agent", "n1")[0])
    assert is_terminating(cluster.after(3600).pods("web", "n1")[0])


def test_pods_of_a_node_that_is_gone_are_collected_within_a_minute_or_so(cluster: Cluster) -> None:
    cluster.workload("deployments", "web", replicas=2)
    cluster.after(5)
    cluster.down.add("n1")
    cluster.delete("nodes", "n1")
    assert len(cluster.after(39).pods("web", "n1")) == 1
    cluster.after(45)
    assert nodes_of(cluster.ready("web")) == ["n2", "n2"]
    assert cluster.pods(node="n1") == []


def test_the_out_of_service_taint_frees_the_pods_of_a_dead_node(cluster: Cluster) -> None:
    cluster.workload("statefulsets", "db", replicas=2, serviceName="db")
    cluster.after(10)
    (lost,) = cluster.pods("db", "n1")
    cluster.down.add("n1")
    cluster.after(60 + 310)
    assert is_terminating(cluster.get("pods", lost["metadata"]["name"]))
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    known = cluster.get("nodes", "n1")["spec"]["taints"]
    cluster.patch("nodes", "n1", {"spec": {"taints": [*known, taint]}})
    assert nodes_of(cluster.after(30).ready("db")) == ["n2", "n2"]


def test_a_no_execute_taint_drives_out_at_once_those_that_do_not_tolerate_it(cluster: Cluster) -> None:
    toleration = {"key": "fire", "operator": "Exists", "tolerationSeconds": 60}
    cluster.workload("deployments", "web", replicas=2)
    cluster.workload("deployments", "brave", replicas=2, pod={"tolerations": [toleration]})
    cluster.after(5)
    cluster.patch("nodes", "n1", {"spec": {"taints": [{"key": "fire", "effect": "NoExecute"}]}})
    cluster.after(10)
    assert nodes_of(cluster.ready("web")) == ["n2", "n2"]
    assert len(cluster.pods("brave", "n1")) == 1
    cluster.cordon("n1")
    cluster.after(60)
    assert nodes_of(cluster.ready("brave")) == ["n2", "n2"]
