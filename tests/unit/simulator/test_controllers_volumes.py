# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from unit.simulator.rehearsal import Cluster, names, nodes_of

from simulator.kubernetes.controllers import ALL, Controllers
from simulator.kubernetes.controllers.objects import condition, node_of, status_of

CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
}


@pytest.fixture
def cluster() -> Cluster:
    """Two nodes in zone a, one in zone b, and a database of one pod with a volume."""
    cluster = Cluster()
    cluster.node("a1", zone="a")
    cluster.node("a2", zone="a")
    cluster.node("b1", zone="b")
    for name in ("a2", "b1"):
        cluster.cordon(name)
    cluster.workload("statefulsets", "db", replicas=1, serviceName="db", volumeClaimTemplates=[CLAIM])
    cluster.after(20)
    for name in ("a2", "b1"):
        cluster.patch("nodes", name, {"spec": {"unschedulable": None}})
    return cluster.after(1)


def test_the_volume_is_made_where_the_first_pod_runs_and_is_attached_there(cluster: Cluster) -> None:
    assert nodes_of(cluster.ready("db")) == ["a1"]
    claim = cluster.get("persistentvolumeclaims", "data-db-0")
    (volume,) = cluster.all("persistentvolumes")
    assert (claim["status"]["phase"], claim["spec"]["volumeName"]) == ("Bound", volume["metadata"]["name"])
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["a"]
    (attachment,) = cluster.all("volumeattachments")
    assert (attachment["spec"]["nodeName"], attachment["status"]["attached"]) == ("a1", True)


def test_the_pod_follows_its_volume_and_waits_until_it_is_detached(cluster: Cluster) -> None:
    cluster.cordon("a1")
    cluster.evict(cluster.get("pods", "db-0"))
    cluster.after(4)
    assert node_of(cluster.get("pods", "db-0")) == "a2"
    assert [item["spec"]["nodeName"] for item in cluster.all("volumeattachments")] == ["a1"]
    cluster.after(20)
    assert nodes_of(cluster.ready("db")) == ["a2"]
    assert [item["spec"]["nodeName"] for item in cluster.all("volumeattachments")] == ["a2"]


def test_a_pod_cannot_leave_the_zone_of_its_volume(cluster: Cluster) -> None:
    cluster.cordon("a1")
    cluster.cordon("a2")
    cluster.evict(cluster.get("pods", "db-0"))
    pod = cluster.after(20).get("pods", "db-0")
    assert condition(pod, "PodScheduled")["message"] == (
        "0/3 nodes are available: 1 node(s) had volume node affinity conflict, 2 node(s) were unschedulable."
    )
    cluster.node("a3", zone="a")
    assert nodes_of(cluster.after(20).ready("db")) == ["a3"]


def test_the_volume_of_a_dead_machine_is_detached_after_six_minutes(cluster: Cluster) -> None:
    cluster.down.add("a1")
    cluster.delete("pods", "db-0", gracePeriodSeconds=0)
    cluster.cordon("a1")
    assert cluster.after(350).ready("db") == []
    assert [item["spec"]["nodeName"] for item in cluster.all("volumeattachments")] == ["a1"]
    assert nodes_of(cluster.after(30).ready("db")) == ["a2"]


def test_a_drained_node_that_goes_leaves_no_volume_behind(cluster: Cluster) -> None:
    cluster.cordon("a1")
    cluster.evict(cluster.get("pods", "db-0"))
    cluster.after(3)
    cluster.down.add("a1")
    cluster.delete("nodes", "a1")
    assert nodes_of(cluster.after(20).ready("db")) == ["a2"]


def test_the_node_tells_which_volumes_it_has_mounted(cluster: Cluster) -> None:
    (volume,) = names(cluster.all("persistentvolumes"))
    mounted = [f"kubernetes.io/csi/ebs.csi.aws.com^{volume}"]
    assert status_of(cluster.get("nodes", "a1"))["volumesInUse"] == mounted
    cluster.patch("statefulsets", "db", {"spec": {"replicas": 0}})
    cluster.after(20)
    assert status_of(cluster.get("nodes", "a1"))["volumesInUse"] == []
    assert cluster.all("volumeattachments") == []


def test_a_ready_node_that_does_not_unmount_keeps_its_volume(cluster: Cluster) -> None:
    """The six minutes are for nodes that are not healthy."""
    (volume,) = names(cluster.all("persistentvolumes"))
    cluster.down.add("a1")
    cluster.delete("pods", "db-0", gracePeriodSeconds=0)
    cluster.cordon("a1")
    cluster.after(20)
    cluster.down.clear()
    stuck = {"status": {"volumesInUse": [f"kubernetes.io/csi/ebs.csi.aws.com^{volume}"]}}
    cluster.controllers = Controllers(cluster.server, cluster.clock, [name for name in ALL if name != "kubelet"])
    cluster.patch("nodes", "a1", stuck, sub="status")
    assert [item["spec"]["nodeName"] for item in cluster.after(900).all("volumeattachments")] == ["a1"]
    cluster.patch("nodes", "a1", {"status": {"volumesInUse": []}}, sub="status")
    assert [item["spec"]["nodeName"] for item in cluster.after(20).all("volumeattachments")] == ["a2"]


def test_an_attachment_stays_while_somebody_else_holds_it(cluster: Cluster) -> None:
    (attachment,) = names(cluster.all("volumeattachments"))
    held = ["external-attacher/ebs-csi-aws-com", "example.com/held"]
    cluster.patch("volumeattachments", attachment, {"metadata": {"finalizers": held}})
    cluster.patch("statefulsets", "db", {"spec": {"replicas": 0}})
    (left,) = cluster.after(60).all("volumeattachments")
    assert left["metadata"]["finalizers"] == ["example.com/held"]
    cluster.patch("volumeattachments", attachment, {"metadata": {"finalizers": None}})
    assert cluster.after(1).all("volumeattachments") == []
