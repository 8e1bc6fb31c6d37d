# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New templates: Deployments, StatefulSets and DaemonSets roll, as `kubectl rollout restart` wants them to."""

from __future__ import annotations

from typing import Any

import pytest
from unit.simulator.rehearsal import Cluster, names

from simulator.aws.eks_addons import rolled_out
from simulator.kubernetes.controllers.objects import condition, is_terminating

RESTARTED = "kubectl.kubernetes.io/restartedAt"


def cluster_of(*nodes: str) -> Cluster:
    cluster = Cluster()
    for node in nodes:
        cluster.node(node)
    return cluster


def restart(cluster: Cluster, resource: str, name: str) -> None:
    """What `kubectl rollout restart` does."""
    annotation = {RESTARTED: cluster.clock.timestamp()}
    cluster.patch(resource, name, {"spec": {"template": {"metadata": {"annotations": annotation}}}})


def restarted(cluster: Cluster, name: str) -> list[str]:
    """The pods of the newest template."""
    return names(pod for pod in cluster.pods(name) if RESTARTED in (pod["metadata"].get("annotations") or {}))


@pytest.mark.parametrize(
    ("limits", "most_without"),
    [({"maxUnavailable": 1}, 1), ({"maxUnavailable": "50%"}, 2), ({"maxUnavailable": 0, "maxSurge": 2}, 2)],
)
def test_a_daemon_set_rolls_within_its_limits(limits: dict[str, Any], most_without: int) -> None:
    cluster = cluster_of("n1", "n2", "n3", "n4")
    strategy = {"type": "RollingUpdate", "rollingUpdate": limits}
    cluster.workload("daemonsets", "agent", updateStrategy=strategy, life={"ready-after": "3"})
    cluster.after(10)
    restart(cluster, "daemonsets", "agent")
    fewest = 4
    for _unused in range(60):
        cluster.after(1)
        fewest = min(fewest, len(cluster.ready("agent")))
    assert fewest == 4 - most_without
    assert len(restarted(cluster, "agent")) == 4
    assert rolled_out(cluster.get("daemonsets", "agent"))


def test_a_daemon_set_replaces_what_does_not_run_first_and_on_delete_only_when_told() -> None:
    cluster = cluster_of("n1", "n2")
    cluster.down.add("n2")
    cluster.workload("daemonsets", "agent", updateStrategy={"type": "OnDelete"})
    cluster.after(5)
    restart(cluster, "daemonsets", "agent")
    cluster.after(20)
    assert restarted(cluster, "agent") == []
    cluster.patch("daemonsets", "agent", {"spec": {"updateStrategy": {"type": "RollingUpdate"}}})
    cluster.after(5)
    status = cluster.get("daemonsets", "agent")["status"]
    assert (status["numberReady"], status["updatedNumberScheduled"]) == (1, 0), "one is away, no other may go"


def test_a_stateful_set_rolls_from_the_highest_ordinal_one_after_the_other() -> None:
    cluster = cluster_of("n1", "n2")
    cluster.workload("statefulsets", "db", replicas=3, serviceName="db", life={"ready-after": "5"})
    cluster.after(60)
    restart(cluster, "statefulsets", "db")
    seen: list[str] = []
    for _unused in range(60):
        cluster.after(1)
        assert len(cluster.ready("db")) >= 2
        seen += [name for name in restarted(cluster, "db") if name not in seen]
    assert seen == ["db-2", "db-1", "db-0"]
    stateful_set = cluster.get("statefulsets", "db")
    assert rolled_out(stateful_set)
    assert stateful_set["status"]["currentRevision"] == stateful_set["status"]["updateRevision"]


def test_a_stateful_set_leaves_what_is_below_its_partition() -> None:
    cluster = cluster_of("n1", "n2")
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    cluster.workload("statefulsets", "db", replicas=3, serviceName="db", updateStrategy=strategy)
    cluster.after(30)
    restart(cluster, "statefulsets", "db")
    cluster.after(60)
    assert restarted(cluster, "db") == ["db-2"]
    assert cluster.get("statefulsets", "db")["status"]["updatedReplicas"] == 1


def test_recreate_lets_all_old_pods_go_first() -> None:
    cluster = cluster_of("n1", "n2")
    cluster.workload("deployments", "web", replicas=3, strategy={"type": "Recreate"})
    cluster.after(10)
    restart(cluster, "deployments", "web")
    for _unused in range(20):
        cluster.after(1)
        alive = [pod for pod in cluster.pods("web") if not is_terminating(pod)]
        assert len({RESTARTED in (pod["metadata"].get("annotations") or {}) for pod in alive}) <= 1
    assert len(restarted(cluster, "web")) == 3


def test_a_deployment_that_gets_nowhere_says_so_at_its_deadline() -> None:
    cluster = cluster_of("n1", "n2")
    cluster.workload("deployments", "web", replicas=2, progressDeadlineSeconds=120)
    cluster.after(10)
    assert condition(cluster.get("deployments", "web"), "Progressing")["reason"] == "NewReplicaSetAvailable"
    never = {"metadata": {"annotations": {"simulator/ready-after": "never"}}}
    cluster.patch("deployments", "web", {"spec": {"template": never}})
    cluster.after(100)
    assert condition(cluster.get("deployments", "web"), "Progressing")["reason"] == "ReplicaSetUpdated"
    cluster.after(60)
    found = condition(cluster.get("deployments", "web"), "Progressing")
    assert (found["status"], found["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert not rolled_out(cluster.get("deployments", "web"))


def test_a_pod_of_another_scheduler_is_left_alone() -> None:
    cluster = cluster_of("n1")
    cluster.workload("deployments", "web", replicas=1, pod={"schedulerName": "fargate-scheduler"})
    cluster.after(30)
    (pod,) = cluster.pods("web")
    assert not pod["spec"].get("nodeName")
