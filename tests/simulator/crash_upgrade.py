# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upgrades of a whole cluster in `make crash`: the cluster, what is asked for, and where they are killed."""

from __future__ import annotations

from typing import Any

from simulator.scenarios import Addon, Budget, Deployment, FargateProfile, NodeGroup, Scenario
from simulator.steps import Step

PLAYBOOK = "evergreen.eks.upgrade"
TARGET = "1.32"
# One of everything of which an upgrade has parts.
CLUSTER = Scenario(
    name="crash-upgrade",
    cluster="crash-upgrade",
    version="1.31",
    groups=[NodeGroup("shared", size=2, max_size=3, outdated=False)],
    workloads=[
        Deployment("web", "shop", 2, "shared", Budget(min_available=1)),
        Deployment("reports", "batch", 1),
    ],
    addons=[
        Addon("vpc-cni", "v1.19.2-eksbuild.1"),
        Addon("coredns", "v1.11.3-eksbuild.1"),
        Addon("kube-proxy", "v1.31.2-eksbuild.2", managed=False),
    ],
    fargate=[FargateProfile("batch", namespace="batch")],
)
# Every kind of request that changes something in an upgrade, and the how manieth of it is the last one before the kill.
STEPS = {
    "lease": (Step("kubernetes", "POST leases"), 1),
    "version": (Step("eks", "UpdateClusterVersion"), 1),
    "addon": (Step("eks", "UpdateAddon"), 1),
    "kube-proxy": (Step("kubernetes", "PATCH daemonsets"), 1),
    "template": (Step("ec2", "CreateLaunchTemplateVersion"), 1),
    "tags": (Step("autoscaling", "CreateOrUpdateTags"), 1),
    "capacity": (Step("autoscaling", "UpdateAutoScalingGroup", '"DesiredCapacity"'), 1),
    "eviction": (Step("kubernetes", "POST pods/eviction"), 1),
    "terminate": (Step("autoscaling", "TerminateInstanceInAutoScalingGroup"), 1),
    "terminate2": (Step("autoscaling", "TerminateInstanceInAutoScalingGroup"), 2),
    "untag": (Step("autoscaling", "DeleteTags"), 1),
    "fargate": (Step("kubernetes", "PATCH deployments"), 1),
}


def variables() -> dict[str, Any]:
    """What is asked for beside what every crash does: all nodes, and a rerun must not take the new ones for them."""
    return {
        "eks_version": TARGET,
        "eks_image": "recommended",
        "eks_select": "all",
        "eks_self_managed": "set",
        "eks_gate_settle_seconds": 1,
        "eks_addon_settle_seconds": 5,
        "eks_verify_settle_seconds": 5,
    }
