# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods of an add-on: what is rolled out, what belongs to it, who is in the way."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.eks.addon_pods import (
    belongs_to,
    obstacle,
    some_pods,
    workload_from,
)


def manifest(status: dict[str, int], **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": "kube-system", "name": "it", "generation": 2}
    return {"metadata": metadata, "spec": spec, "status": {"observedGeneration": 2, **status}}


def daemon_set(wanted: int, updated: int, available: int, **spec: Any) -> dict[str, Any]:
    status = {"desiredNumberScheduled": wanted, "updatedNumberScheduled": updated, "numberAvailable": available}
    return manifest(status, **spec)


def deployment(replicas: int, updated: int, available: int, total: int, **status: int) -> dict[str, Any]:
    numbers = {"updatedReplicas": updated, "availableReplicas": available, "replicas": total}
    return manifest({**numbers, **status}, replicas=replicas)


@pytest.mark.parametrize(
    ("kind", "item", "rolled_out"),
    [
        ("DaemonSet", daemon_set(3, 3, 3), True),
        ("DaemonSet", daemon_set(3, 2, 3), False),
        ("DaemonSet", daemon_set(3, 3, 2), False),
        ("DaemonSet", daemon_set(0, 0, 0), True),
        ("DaemonSet", daemon_set(3, 0, 3, updateStrategy={"type": "OnDelete"}), True),
        ("DaemonSet", daemon_set(3, 0, 2, updateStrategy={"type": "OnDelete"}), False),
        ("Deployment", deployment(2, 2, 2, 2), True),
        ("Deployment", deployment(2, 2, 2, 3), False),
        ("Deployment", deployment(2, 1, 2, 2), False),
        ("Deployment", deployment(2, 2, 1, 2), False),
        ("Deployment", deployment(0, 0, 0, 0), True),
        ("Deployment", deployment(2, 2, 2, 2, observedGeneration=1), False),
    ],
)
def test_rolled_out_as_kubectl_has_it(kind: str, item: dict[str, Any], rolled_out: bool) -> None:
    assert workload_from(kind, item).rolled_out is rolled_out


def test_how_far_it_is_in_words() -> None:
    words = "DaemonSet kube-system/it: 3 of 7 pods are new, 6 are available"
    assert workload_from("DaemonSet", daemon_set(7, 3, 6)).standing == words


@pytest.mark.parametrize(
    ("addon", "metadata", "belongs"),
    [
        ("vpc-cni", {"name": "aws-node"}, True),
        ("vpc-cni", {"name": "kube-proxy"}, False),
        ("adot", {"name": "manager", "labels": {"app.kubernetes.io/name": "adot"}}, True),
        ("coredns", {"name": "dns", "labels": {"eks.amazonaws.com/component": "coredns"}}, True),
        ("adot", {"name": "manager", "labels": {"app": "adot"}}, False),
    ],
)
def test_what_belongs_to_an_addon(addon: str, metadata: dict[str, Any], belongs: bool) -> None:
    assert belongs_to(addon, metadata) is belongs


def pod(ready: str, **more: Any) -> dict[str, Any]:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    return {
        "metadata": {"namespace": "kube-system", "name": "kube-proxy-x2x7k", **more},
        "spec": {"nodeName": "ip-10-20-0-4.eu-central-1.compute.internal"},
        "status": {
            "phase": "Running" if ready == "True" else "Pending",
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [] if ready == "True" else [waiting],
        },
    }


def test_a_pod_that_is_in_the_way_says_why() -> None:
    text = "kube-system/kube-proxy-x2x7k on ip-10-20-0-4: ImagePullBackOff (no such image)"
    assert obstacle(pod("False")) == text
    assert obstacle(pod("True")) == ""
    assert obstacle(pod("True", deletionTimestamp="2026-11-21T01:02:03Z")).endswith("on ip-10-20-0-4: is leaving")


def test_of_many_pods_the_first_are_named() -> None:
    assert some_pods([f"p-{number}" for number in range(6)]) == "p-0; p-1; p-2; p-3 and 2 more"
