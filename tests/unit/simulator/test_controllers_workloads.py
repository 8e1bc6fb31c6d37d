# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from unit.simulator.rehearsal import Cluster, names, nodes_of

from simulator.kubernetes.controllers.objects import is_terminating
from simulator.kubernetes.errors import ApiError


def cluster_of(*nodes: str) -> Cluster:
    cluster = Cluster()
    for number, name in enumerate(nodes):
        cluster.node(name, zone="abc"[number % 3])
    return cluster


def test_a_deployment_gets_its_pods_running_and_ready() -> None:
    cluster = cluster_of("n1", "n2", "n3")
    cluster.workload("deployments", "web", replicas=3)
    cluster.after(5)
    assert nodes_of(cluster.ready("web")) == ["n1", "n2", "n3"]
    assert cluster.get("deployments", "web")["status"]["availableReplicas"] == 3


def test_an_evicted_pod_is_replaced_at_once_and_goes_after_its_time() -> None:
    cluster = cluster_of("n1", "n2")
    cluster.workload("deployments", "web", replicas=2, life={"stops-after": "10"})
    cluster.after(5)
    cluster.cordon("n1")
    (old,) = cluster.pods("web", "n1")
    cluster.evict(old)
    cluster.after(9)
    assert len(cluster.pods("web")) == 3
    assert len(cluster.ready("web")) == 2
    cluster.after(2)
    assert nodes_of(cluster.pods("web")) == ["n2", "n2"]


def test_a_scaled_down_deployment_gives_up_the_pods_that_do_not_run_first() -> None:
    cluster = cluster_of("n1")
    cluster.workload("deployments", "web", replicas=2)
    cluster.after(5)
    running = names(cluster.pods("web"))
    cluster.cordon("n1")
    cluster.patch("deployments", "web", {"spec": {"replicas": 4}})
    cluster.after(1)
    assert len(cluster.pods("web")) == 4
    cluster.patch("deployments", "web", {"spec": {"replicas": 2}})
    cluster.after(5)
    assert names(cluster.pods("web")) == running


def test_a_new_template_is_rolled_out_without_ever_being_short_of_pods() -> None:
    cluster = cluster_of("n1", "n2")
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    cluster.workload("deployments", "web", replicas=3, strategy=rolling)
    cluster.after(5)
    cluster.patch("deployments", "web", {"spec": {"template": {"metadata": {"labels": {"release": "2"}}}}})
    for _unused in range(30):
        cluster.after(1)
        assert len(cluster.ready("web")) >= 3
        assert len([pod for pod in cluster.pods("web") if not is_terminating(pod)]) <= 4
    assert [pod["metadata"]["labels"].get("release") for pod in cluster.pods("web")] == ["2"] * 3


def test_deleting_a_deployment_takes_its_pods_along() -> None:
    cluster = cluster_of("n1")
    cluster.workload("deployments", "web", replicas=2)
    cluster.after(5)
    cluster.delete("deployments", "web")
    cluster.after(5)
    assert cluster.pods("web") == []
    assert cluster.all("replicasets") == []


def test_a_stateful_set_starts_in_order_and_each_waits_for_the_one_before() -> None:
    cluster = cluster_of("n1", "n2")
    cluster.workload("statefulsets", "db", replicas=3, serviceName="db", life={"ready-after": "20"})
    cluster.after(10)
    assert names(cluster.pods("db")) == ["db-0"]
    cluster.after(20)
    assert names(cluster.pods("db")) == ["db-0", "db-1"]
    cluster.after(40)
    assert names(cluster.ready("db")) == ["db-0", "db-1", "db-2"]


def test_a_stateful_pod_comes_back_under_its_name_only_when_the_old_one_is_gone() -> None:
    cluster = cluster_of("n1", "n2")
    cluster.workload("statefulsets", "db", replicas=2, serviceName="db", life={"stops-after": "20"})
    cluster.after(10)
    old = cluster.get("pods", "db-1")
    cluster.evict(old)
    cluster.after(19)
    assert cluster.get("pods", "db-1")["metadata"]["uid"] == old["metadata"]["uid"]
    cluster.after(5)
    assert cluster.get("pods", "db-1")["metadata"]["uid"] != old["metadata"]["uid"]
    assert names(cluster.ready("db")) == ["db-0", "db-1"]


def test_a_daemon_set_runs_on_every_node_cordoned_ones_too_but_not_against_a_taint() -> None:
    cluster = cluster_of("n1", "n2", "n3")
    cluster.cordon("n2")
    cluster.patch("nodes", "n3", {"spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}})
    cluster.workload("daemonsets", "agent")
    cluster.after(5)
    assert nodes_of(cluster.ready("agent")) == ["n1", "n2"]
    status = cluster.get("daemonsets", "agent")["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"]) == (2, 2)


def test_a_new_node_gets_its_daemon_pods_and_a_deleted_daemon_pod_comes_back() -> None:
    cluster = cluster_of("n1")
    cluster.workload("daemonsets", "agent")
    cluster.after(5)
    cluster.node("n2")
    cluster.cordon("n1")
    cluster.delete("pods", cluster.pods("agent", "n1")[0]["metadata"]["name"])
    cluster.after(10)
    assert nodes_of(cluster.ready("agent")) == ["n1", "n2"]


def test_a_job_is_complete_when_its_pods_have_ended_well() -> None:
    cluster = cluster_of("n1")
    cluster.workload(
        "jobs", "report", completions=2, parallelism=1, pod={"restartPolicy": "Never"}, life={"finishes-after": "30"}
    )
    cluster.after(40)
    assert cluster.get("jobs", "report")["status"]["succeeded"] == 1
    cluster.after(40)
    status = cluster.get("jobs", "report")["status"]
    assert status["succeeded"] == 2
    assert status["conditions"][0]["type"] == "Complete"
    assert {pod["status"]["phase"] for pod in cluster.pods("report")} == {"Succeeded"}


def test_an_evicted_job_pod_counts_as_failed_and_runs_again_from_the_start() -> None:
    cluster = cluster_of("n1")
    cluster.workload("jobs", "report", pod={"restartPolicy": "Never"}, life={"finishes-after": "60"})
    cluster.after(30)
    (pod,) = cluster.pods("report")
    cluster.evict(pod)
    cluster.after(40)
    assert cluster.get("jobs", "report")["status"]["failed"] == 1
    assert pod["metadata"]["name"] not in names(cluster.pods("report"))
    cluster.after(60)
    assert cluster.get("jobs", "report")["status"]["succeeded"] == 1


def test_a_job_that_keeps_failing_stops_at_its_backoff_limit() -> None:
    cluster = cluster_of("n1")
    cluster.workload("jobs", "bad", backoffLimit=1, pod={"restartPolicy": "Never"}, life={"crashes-after": "5"})
    cluster.after(120)
    status = cluster.get("jobs", "bad")["status"]
    assert status["failed"] == 2
    assert status["conditions"][0]["reason"] == "BackoffLimitExceeded"


def test_a_namespace_is_emptied_after_five_seconds_and_goes_when_it_is_empty() -> None:
    cluster = cluster_of("n1")
    cluster.workload("deployments", "web", replicas=1, life={"stops-after": "20"})
    cluster.after(5)
    cluster.delete("namespaces", "shop")
    cluster.after(4)
    (pod,) = cluster.pods("web")
    assert not is_terminating(pod)
    with pytest.raises(ApiError) as refused:
        cluster.evict(pod)
    assert refused.value.causes[0]["reason"] == "NamespaceTerminating"
    cluster.after(2)
    assert is_terminating(cluster.pods("web")[0])
    cluster.after(30)
    assert cluster.pods("web") == []
    assert "shop" not in names(cluster.all("namespaces"))
