# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from unit.manifests import a_node

from ansible_collections.evergreen.eks.plugins.module_utils.drain.health import (
    Owner,
    PodHealth,
    health_from,
    owner_of,
    trouble_on,
)
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import node_from

SCHEDULER = "0/3 nodes are available: 3 Insufficient cpu."


def condition(kind: str, status: str, **rest: str) -> dict[str, str]:
    return {"type": kind, "status": status, **rest}


def container(restarts: int = 0, ready: bool = False, **state: Any) -> dict[str, Any]:
    return {"name": "main", "restartCount": restarts, "ready": ready, "state": state}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"reason": reason, **({"message": message} if message else {})}


def a_pod(phase: str = "Running", *conditions: dict[str, str], containers: Any = (), **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": "web-1", "uid": "u", "creationTimestamp": "created", **metadata},
        "spec": {"nodeName": "node-a"},
        "status": {"phase": phase, "conditions": list(conditions), "containerStatuses": list(containers)},
    }


NOT_READY = condition("Ready", "False", lastTransitionTime="then")
UNREADY_CONTAINERS = {**NOT_READY, "message": "containers with unready status: [main]"}
LOOPING = container(7, waiting=waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container"))
PULLING = container(waiting=waiting("ImagePullBackOff", 'Back-off pulling image "x"'))


@pytest.mark.parametrize(
    ("pod", "trouble", "message", "since"),
    [
        (a_pod("Running", condition("Ready", "True")), "", "", ""),
        (a_pod("Succeeded", NOT_READY), "", "", ""),
        (a_pod("Failed", NOT_READY), "", "", ""),
        (a_pod("Running", NOT_READY, deletionTimestamp="12:00"), "stopping", "it has to be gone by 12:00", "then"),
        (
            a_pod("Pending", condition("PodScheduled", "False", message=SCHEDULER, lastTransitionTime="before")),
            "unschedulable",
            SCHEDULER,
            "before",
        ),
        (
            a_pod("Running", NOT_READY, containers=[LOOPING]),
            "crashing",
            "CrashLoopBackOff of container main after 7 restarts: back-off 5m0s restarting failed container",
            "then",
        ),
        (
            a_pod("Pending", NOT_READY, containers=[PULLING]),
            "image_pull",
            'ImagePullBackOff of container main: Back-off pulling image "x"',
            "then",
        ),
        (
            a_pod("Pending", NOT_READY, containers=[container(waiting=waiting("CreateContainerConfigError"))]),
            "configuration",
            "CreateContainerConfigError of container main",
            "then",
        ),
        (
            a_pod("Pending", NOT_READY, containers=[container(waiting=waiting("ContainerCreating"))]),
            "starting",
            "its containers have not started yet",
            "then",
        ),
        (a_pod("Pending"), "starting", "its containers have not started yet", "created"),
        (
            a_pod("Running", UNREADY_CONTAINERS, containers=[container()]),
            "not_ready",
            "containers with unready status: [main]",
            "then",
        ),
        (
            a_pod("Running", UNREADY_CONTAINERS, containers=[container(3)]),
            "not_ready",
            "it is not Ready, after 3 restarts",
            "then",
        ),
        (a_pod("Unknown", NOT_READY), "not_ready", "it is not Ready", "then"),
    ],
)
def test_what_keeps_a_pod_from_being_ready(pod: dict[str, Any], trouble: str, message: str, since: str) -> None:
    health = health_from(pod)
    assert (health.trouble, health.message, health.since) == (trouble, message, since)


@pytest.mark.parametrize(
    ("phase", "deleted_at", "under_budget"),
    [
        ("Running", "", True),
        ("Unknown", "", True),
        ("Pending", "", False),
        ("Failed", "", False),
        ("Running", "x", False),
    ],
)
def test_finished_pending_and_terminating_pods_are_under_no_budget(
    phase: str, deleted_at: str, under_budget: bool
) -> None:
    assert PodHealth("shop", "web-1", phase=phase, deleted_at=deleted_at).under_budget is under_budget


SICK = PodHealth("shop", "web-1", node_name="node-a", ready=False, trouble="crashing", message="CrashLoopBackOff")
SILENT = node_from(a_node("node-a", "i-1", ready="Unknown", message="Kubelet stopped posting node status."))


@pytest.mark.parametrize(
    ("pod", "node", "known", "trouble", "message"),
    [
        (SICK, node_from(a_node("node-a", "i-1")), True, "crashing", "CrashLoopBackOff"),
        (SICK, None, False, "crashing", "CrashLoopBackOff"),
        (SICK, None, True, "node_not_ready", "its Node is gone"),
        (
            SICK,
            SILENT,
            True,
            "node_not_ready",
            "Ready of its Node is Unknown: Kubelet stopped posting node status.",
        ),
        (PodHealth("shop", "well", node_name="node-a"), SILENT, True, "", ""),
        (PodHealth("shop", "new", ready=False, trouble="unschedulable", message="x"), None, True, "unschedulable", "x"),
    ],
)
def test_a_silent_node_explains_its_pods(pod: PodHealth, node: Any, known: bool, trouble: str, message: str) -> None:
    assert trouble_on(pod, node, nodes_known=known) == (trouble, message)


@pytest.mark.parametrize(
    ("kind", "name", "labels", "owner", "scalable"),
    [
        ("ReplicaSet", "web-5c4f8", {"pod-template-hash": "5c4f8"}, "Deployment shop/web", True),
        ("ReplicaSet", "web-5c4f8", {}, "ReplicaSet shop/web-5c4f8", True),
        ("ReplicaSet", "web", {"rollouts-pod-template-hash": "5c4f8"}, "ReplicaSet shop/web", True),
        ("StatefulSet", "db", {}, "StatefulSet shop/db", True),
        ("Job", "report", {}, "Job shop/report", False),
        ("Engine", "e", {"pod-template-hash": ""}, "Engine shop/e", False),
    ],
)
def test_the_deployment_is_known_by_the_hash_in_the_name_of_its_replica_set(
    kind: str, name: str, labels: dict[str, str], owner: str, scalable: bool
) -> None:
    found = owner_of("shop", kind, name, labels)
    assert (str(found), found.scalable) == (owner, scalable)


def test_what_is_kept_of_a_pod() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "o", "controller": True}
    pod = a_pod("Running", condition("Ready", "True"), labels={"app": "agent"}, ownerReferences=[owner])
    assert health_from(pod) == PodHealth(
        "shop",
        "web-1",
        uid="u",
        node_name="node-a",
        labels={"app": "agent"},
        owner=Owner("DaemonSet", "shop", "agent"),
        stays=True,
    )
