# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from unit.simulator.rehearsal import Cluster, nodes_of

from simulator.kubernetes.controllers.objects import condition
from simulator.kubernetes.controllers.predicates import tolerates


@pytest.fixture
def cluster() -> Cluster:
    """Three nodes in three zones."""
    cluster = Cluster()
    for number in (1, 2, 3):
        cluster.node(f"n{number}", zone="abc"[number - 1])
    return cluster


def requests(cpu: str) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "main:1", "resources": {"requests": {"cpu": cpu}}}]}


def why_pending(cluster: Cluster, app: str) -> set[str]:
    """The messages of the pods that were not bound."""
    conditions = [condition(pod, "PodScheduled") for pod in cluster.pods(app)]
    return {found["message"] for found in conditions if found["status"] == "False"}


def test_a_cordoned_node_gets_no_pods(cluster: Cluster) -> None:
    cluster.cordon("n2")
    cluster.workload("deployments", "web", replicas=4)
    assert nodes_of(cluster.after(5).pods("web")) == ["n1", "n1", "n3", "n3"]


def test_a_pod_that_fits_nowhere_says_why_and_is_bound_when_a_node_comes(cluster: Cluster) -> None:
    cluster.cordon("n1")
    cluster.patch("nodes", "n2", {"spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}})
    cluster.workload("deployments", "web", replicas=1, pod=requests("5"))
    expected = (
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {gpu: yes}, "
        "1 node(s) were unschedulable."
    )
    # The taint that follows the cordon is a second way to say the same; the flag is looked at first.
    assert why_pending(cluster.after(5), "web") == {expected}
    cluster.node("n4", cpu="8")
    assert nodes_of(cluster.after(5).ready("web")) == ["n4"]


def test_requests_are_counted_and_given_back(cluster: Cluster) -> None:
    cluster.workload("deployments", "web", replicas=4, pod=requests("3"))
    assert nodes_of(cluster.after(5).pods("web")) == ["", "n1", "n2", "n3"]
    cluster.patch("deployments", "web", {"spec": {"replicas": 3}})
    cluster.workload("deployments", "api", replicas=1, pod=requests("3"))
    assert nodes_of(cluster.after(5).pods("api")) == [""]
    cluster.delete("deployments", "web")
    assert len(cluster.after(5).ready("api")) == 1


def test_a_toleration_opens_a_tainted_node(cluster: Cluster) -> None:
    cluster.patch("nodes", "n2", {"spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}})
    pod = {"tolerations": [{"key": "gpu", "operator": "Exists"}], "nodeSelector": {"kubernetes.io/hostname": "n2"}}
    cluster.workload("deployments", "web", replicas=1, pod=pod)
    assert nodes_of(cluster.after(5).ready("web")) == ["n2"]


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "a", "value": "1"}, True),
        ({"key": "a", "value": "2"}, False),
        ({"key": "a", "value": "1", "effect": "NoExecute"}, False),
        ({"key": "b", "operator": "Exists"}, False),
    ],
)
def test_which_tolerations_tolerate_a_taint(toleration: dict[str, str], tolerated: bool) -> None:
    assert tolerates([toleration], {"key": "a", "value": "1", "effect": "NoSchedule"}) is tolerated


def test_pods_that_refuse_each_other_spread_over_nodes_and_wait_for_one(cluster: Cluster) -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    cluster.workload("deployments", "web", replicas=4, pod={"affinity": affinity})
    assert nodes_of(cluster.after(5).pods("web")) == ["", "n1", "n2", "n3"]
    assert why_pending(cluster, "web") == {"0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."}
    cluster.evict(cluster.pods("web", "n2")[0])
    assert nodes_of(cluster.after(5).pods("web")) == ["", "n1", "n2", "n3"]
    cluster.node("n4")
    assert nodes_of(cluster.after(5).ready("web")) == ["n1", "n2", "n3", "n4"]


def test_pods_stay_away_from_those_that_refuse_them(cluster: Cluster) -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "noisy"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    cluster.workload("deployments", "shy", replicas=1, pod={"affinity": affinity})
    (shy,) = cluster.after(5).ready("shy")
    cluster.workload("deployments", "noisy", replicas=6)
    assert shy["spec"]["nodeName"] not in nodes_of(cluster.after(5).ready("noisy"))
    assert len(cluster.ready("noisy")) == 6


def test_topology_spread_keeps_the_zones_even(cluster: Cluster) -> None:
    cluster.cordon("n3")
    spread = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    cluster.workload("deployments", "web", replicas=3, pod={"topologySpreadConstraints": [spread]})
    # Zone c counts although its only node is cordoned: one pod in a, one in b, and the third must wait.
    assert nodes_of(cluster.after(5).pods("web")) == ["", "n1", "n2"]
    cluster.patch("nodes", "n3", {"spec": {"unschedulable": None}})
    assert nodes_of(cluster.after(5).ready("web")) == ["n1", "n2", "n3"]


def test_required_node_affinity_chooses_the_zone(cluster: Cluster) -> None:
    term = {"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "NotIn", "values": ["a", "b"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    cluster.workload("deployments", "web", replicas=2, pod={"affinity": {"nodeAffinity": required}})
    assert nodes_of(cluster.after(5).ready("web")) == ["n3", "n3"]
