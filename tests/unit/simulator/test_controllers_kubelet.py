# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from unit.simulator.rehearsal import Cluster

from simulator.kubernetes.controllers.objects import condition, is_ready, is_terminating, status_of


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.node("n1")
    return cluster


def run_pod(cluster: Cluster, name: str = "p", *, grace: int = 30, **options: Any) -> None:
    """A pod that nobody owns, on n1; ``life`` as in ``Cluster.workload``, ``metadata`` for more."""
    annotations = {f"simulator/{key}": value for key, value in options.pop("life", {}).items()}
    metadata = {"annotations": annotations, **options.pop("metadata", {})}
    containers = [{"name": "main", "image": "main:1"}]
    spec = {"nodeName": "n1", "terminationGracePeriodSeconds": grace, "containers": containers, **options}
    cluster.make("pods", name, metadata=metadata, spec=spec)


def waiting_reason(pod: dict[str, Any]) -> str:
    return status_of(pod)["containerStatuses"][0]["state"]["waiting"]["reason"]


def exists(cluster: Cluster, name: str = "p") -> bool:
    return any(pod["metadata"]["name"] == name for pod in cluster.pods())


def test_a_pod_starts_and_gets_ready_in_its_time(cluster: Cluster) -> None:
    run_pod(cluster, life={"starts-after": "10", "ready-after": "20"})
    assert waiting_reason(cluster.after(9).get("pods", "p")) == "ContainerCreating"
    assert status_of(cluster.after(2).get("pods", "p"))["phase"] == "Running"
    assert not is_ready(cluster.get("pods", "p"))
    assert is_ready(cluster.after(20).get("pods", "p"))


def test_a_pod_may_never_get_ready(cluster: Cluster) -> None:
    run_pod(cluster, life={"ready-after": "never"})
    assert not is_ready(cluster.after(3600).get("pods", "p"))


def test_a_pod_that_ignores_the_signal_uses_up_its_grace(cluster: Cluster) -> None:
    run_pod(cluster, grace=60, life={"stops-after": "never"})
    cluster.after(5).delete("pods", "p")
    assert exists(cluster.after(58))
    assert not exists(cluster.after(3))


def test_a_pod_is_killed_when_its_grace_ends_before_it_is_done(cluster: Cluster) -> None:
    run_pod(cluster, grace=10, life={"stops-after": "60"})
    cluster.after(5).delete("pods", "p")
    assert exists(cluster.after(8))
    assert not exists(cluster.after(3))


def test_a_grace_shortened_on_the_way_counts(cluster: Cluster) -> None:
    run_pod(cluster, grace=600, life={"stops-after": "never"})
    cluster.after(5).delete("pods", "p")
    cluster.after(60).delete("pods", "p", gracePeriodSeconds=70)
    assert exists(cluster.after(8))
    assert not exists(cluster.after(4))


def test_a_finalizer_keeps_the_pod_when_its_processes_are_gone(cluster: Cluster) -> None:
    run_pod(cluster, metadata={"finalizers": ["example.com/audit"]})
    cluster.after(5).delete("pods", "p")
    pod = cluster.after(60).get("pods", "p")
    assert (status_of(pod)["phase"], pod["metadata"]["deletionGracePeriodSeconds"]) == ("Failed", 0)
    cluster.patch("pods", "p", {"metadata": {"finalizers": None}})
    assert not exists(cluster)


def test_nothing_happens_on_a_node_whose_machine_is_down(cluster: Cluster) -> None:
    run_pod(cluster)
    cluster.after(5)
    cluster.down.add("n1")
    cluster.delete("pods", "p")
    assert is_terminating(cluster.after(3600).get("pods", "p"))
    cluster.down.clear()
    assert not exists(cluster.after(5))


def test_a_crashing_pod_restarts_ever_more_slowly(cluster: Cluster) -> None:
    run_pod(cluster, life={"crashes-after": "5"})
    pod = cluster.after(8).get("pods", "p")
    assert waiting_reason(pod) == "CrashLoopBackOff"
    restarts = [
        status_of(cluster.after(60).get("pods", "p"))["containerStatuses"][0]["restartCount"] for _unused in range(10)
    ]
    assert restarts[0] >= 2
    assert restarts[-1] - restarts[-5] <= 1


def test_an_image_that_cannot_be_pulled_says_so(cluster: Cluster) -> None:
    run_pod(cluster, life={"image-pull-fails": "true"})
    assert waiting_reason(cluster.after(5).get("pods", "p")) == "ImagePullBackOff"


def test_a_finite_pod_succeeds_and_stays_until_somebody_deletes_it(cluster: Cluster) -> None:
    run_pod(cluster, restartPolicy="Never", life={"finishes-after": "10"})
    pod = cluster.after(60).get("pods", "p")
    assert (status_of(pod)["phase"], condition(pod, "Ready")["reason"]) == ("Succeeded", "PodCompleted")


def test_a_mirror_pod_comes_back_because_only_its_reflection_was_deleted() -> None:
    cluster = Cluster()
    cluster.node("n1", annotations={"simulator/static-pods": "kube-proxy"})
    (mirror,) = cluster.after(5).pods(node="n1")
    assert mirror["metadata"]["name"] == "kube-proxy-n1"
    assert "kubernetes.io/config.mirror" in mirror["metadata"]["annotations"]
    cluster.api.delete("/api/v1/namespaces/kube-system/pods/kube-proxy-n1")
    (again,) = cluster.after(5).pods(node="n1")
    assert again["metadata"]["uid"] != mirror["metadata"]["uid"]


def test_a_nonsense_duration_is_named(cluster: Cluster) -> None:
    run_pod(cluster, life={"starts-after": "soon"})
    with pytest.raises(ValueError, match='p: annotation simulator/starts-after is "soon"; give seconds or "never"'):
        cluster.after(1)


@pytest.mark.parametrize(
    ("life", "reason"),
    [({"crashes-after": "5"}, "CrashLoopBackOff"), ({"image-pull-fails": "true"}, "ImagePullBackOff")],
)
def test_troubles_may_hold_on_some_nodes_only(life: dict[str, str], reason: str) -> None:
    cluster = Cluster()
    cluster.node("n1", labels={"version": "1"})
    cluster.node("n2", labels={"version": "2"})
    for name in ("n1", "n2"):
        run_pod(cluster, f"on-{name}", nodeName=name, life={**life, "troubled-on": "version=2"})
    cluster.after(10)
    assert is_ready(cluster.get("pods", "on-n1"))
    assert waiting_reason(cluster.get("pods", "on-n2")) == reason


def test_a_pod_that_crashed_says_when_it_did_last(cluster: Cluster) -> None:
    run_pod(cluster, life={"crashes-after": "30"})
    (before,) = status_of(cluster.after(10).get("pods", "p"))["containerStatuses"]
    assert before["lastState"] == {}
    (after,) = status_of(cluster.after(60).get("pods", "p"))["containerStatuses"]
    assert after["restartCount"] == 1 and after["lastState"]["terminated"]["exitCode"] == 1
    assert after["lastState"]["terminated"]["finishedAt"] < cluster.clock.timestamp()
