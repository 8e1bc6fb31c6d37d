# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from unit.simulator.rehearsal import Cluster

from simulator.kubernetes.controllers.objects import condition
from simulator.kubernetes.errors import ApiError


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    for name in ("n1", "n2", "n3"):
        cluster.node(name)
    return cluster


def numbers(cluster: Cluster, name: str = "web") -> tuple[int, int, int, int]:
    """Allowed disruptions, healthy now, healthy at least, expected."""
    status = cluster.get("poddisruptionbudgets", name)["status"]
    return (
        status["disruptionsAllowed"],
        status["currentHealthy"],
        status["desiredHealthy"],
        status["expectedPods"],
    )


def loose_pod(cluster: Cluster, name: str, **metadata: Any) -> None:
    """A pod without a controller, with the label app=web."""
    containers = [{"name": "main", "image": "main:1"}]
    metadata = {"labels": {"app": "web"}, **metadata}
    cluster.make("pods", name, metadata=metadata, spec={"nodeName": "n1", "containers": containers})


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"maxUnavailable": "25%"}, (2, 5, 3, 5)),  # of 5, rounded up: 2 may be missing
        ({"maxUnavailable": 1}, (1, 5, 4, 5)),
        ({"minAvailable": "50%"}, (2, 5, 3, 5)),
        ({"minAvailable": 2}, (3, 5, 2, 5)),
        ({"minAvailable": "100%"}, (0, 5, 5, 5)),
        ({"maxUnavailable": 0}, (0, 5, 5, 5)),
    ],
)
def test_what_a_budget_allows_of_five_healthy_replicas(cluster: Cluster, spec: Any, expected: Any) -> None:
    cluster.workload("deployments", "web", replicas=5)
    cluster.budget("web", **spec)
    assert numbers(cluster.after(5)) == expected


def test_the_deployment_counts_not_its_replica_set(cluster: Cluster) -> None:
    cluster.workload("deployments", "web", replicas=4)
    cluster.budget("web", maxUnavailable=1)
    cluster.after(5).patch("deployments", "web", {"spec": {"replicas": 8}})
    for name in ("n1", "n2", "n3"):
        cluster.cordon(name)
    assert numbers(cluster.after(5)) == (0, 4, 7, 8)


def test_an_eviction_uses_the_budget_until_the_replacement_is_ready(cluster: Cluster) -> None:
    cluster.workload("deployments", "web", replicas=2, life={"starts-after": "30"})
    cluster.budget("web", maxUnavailable=1)
    cluster.after(60)
    first, second = cluster.pods("web")
    cluster.evict(first)
    assert numbers(cluster.after(10)) == (0, 1, 1, 2)
    with pytest.raises(ApiError, match="Cannot evict pod") as refused:
        cluster.evict(second)
    assert refused.value.code == 429
    assert numbers(cluster.after(40)) == (1, 2, 1, 2)


def test_an_eviction_that_never_became_a_deletion_is_forgotten_after_two_minutes(cluster: Cluster) -> None:
    cluster.workload("deployments", "web", replicas=3)
    cluster.budget("web", maxUnavailable=1)
    pod = cluster.after(5).pods("web")[0]
    body = {
        "metadata": {"name": pod["metadata"]["name"]},
        "deleteOptions": {"preconditions": {"uid": "11111111-1111-1111-1111-111111111111"}},
    }
    with pytest.raises(ApiError, match="precondition"):
        cluster.api.create(f"/api/v1/namespaces/shop/pods/{pod['metadata']['name']}/eviction", body)
    assert numbers(cluster.after(110)) == (0, 2, 2, 3)
    assert numbers(cluster.after(15)) == (1, 3, 2, 3)


def test_a_silent_node_eats_the_budget_of_pods_elsewhere(cluster: Cluster) -> None:
    cluster.workload("deployments", "web", replicas=3)
    cluster.budget("web", maxUnavailable=1)
    cluster.after(5)
    cluster.down.add("n1")
    assert numbers(cluster.after(60)) == (0, 2, 2, 3)
    with pytest.raises(ApiError) as refused:
        cluster.evict(cluster.pods("web", "n2")[0])
    assert refused.value.causes[0]["message"] == "The disruption budget web needs 2 healthy pods and has 2 currently"


def test_a_share_of_pods_without_a_controller_is_a_share_of_nothing(cluster: Cluster) -> None:
    loose_pod(cluster, "a")
    cluster.budget("web", maxUnavailable="50%")
    assert numbers(cluster.after(5)) == (0, 1, 0, 0)


@pytest.mark.parametrize(
    ("version", "kind", "message"),
    [
        ("stable.example.com/v1", "Widget", 'no matches for kind "Widget" in version "stable.example.com/v1"'),
        ("apps/v1", "DaemonSet", "daemonsets.apps does not implement the scale subresource"),
        ("batch/v1", "Job", "jobs.batch does not implement the scale subresource"),
    ],
)
def test_an_owner_without_scale_blocks_the_budget_and_says_so(
    cluster: Cluster, version: str, kind: str, message: str
) -> None:
    owner = {"apiVersion": version, "kind": kind, "name": "w", "uid": "abc", "controller": True}
    loose_pod(cluster, "a", ownerReferences=[owner])
    cluster.budget("web", maxUnavailable=1)
    budget = cluster.after(5).get("poddisruptionbudgets", "web")
    blocked = condition(budget, "DisruptionAllowed")
    assert (blocked["reason"], blocked["message"]) == ("SyncFailed", message)
    assert numbers(cluster) == (0, 0, 0, 0)
    with pytest.raises(ApiError) as refused:
        cluster.evict(cluster.get("pods", "a"))
    assert refused.value.causes[0]["message"] == "The disruption budget web is still being processed by the server."


def test_a_changed_selector_covers_other_pods(cluster: Cluster) -> None:
    cluster.workload("deployments", "web", replicas=2)
    cluster.workload("deployments", "api", replicas=3)
    cluster.budget("web", minAvailable=1)
    assert numbers(cluster.after(5))[3] == 2
    cluster.patch("poddisruptionbudgets", "web", {"spec": {"selector": {"matchLabels": {"app": "api"}}}})
    assert numbers(cluster.after(5))[3] == 3
