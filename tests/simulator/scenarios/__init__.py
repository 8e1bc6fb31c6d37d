# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worlds that are at hand by name: data, made to be copied."""

from __future__ import annotations

from simulator.scenarios.model import (
    GROUP_LABEL,
    Addon,
    Budget,
    DaemonSet,
    Deployment,
    FargateProfile,
    Job,
    NodeGroup,
    Pod,
    Scenario,
    Sidecar,
    StatefulSet,
    Times,
    Workload,
)

VAULT = {"vault.hashicorp.com/agent-inject": "true"}

# Two groups and a handful of pods: what most tests need.
SMALL = Scenario(
    name="small",
    groups=[NodeGroup("shared", size=3), NodeGroup("logging", size=2)],
    workloads=[
        Deployment("web", replicas=4, group="shared", budget=Budget(min_available=3)),
        Deployment("cache", replicas=1, group="shared", emptydir=True),
        Deployment("shipper", replicas=2, group="logging", budget=Budget(max_unavailable=1)),
    ],
)

# What `make demo` shows: the cluster of a shop, a bit over 70 pods on eleven nodes in three zones.
DEMO = Scenario(
    name="demo",
    cluster="evergreen-demo",
    groups=[
        NodeGroup("istio", size=2, labels={"role": "ingress"}),
        NodeGroup("shared", size=6, max_size=8),
        NodeGroup("logging", size=3, instance_type="m5.xlarge"),
    ],
    workloads=[
        Deployment("istiod", "istio-system", 2, "istio", Budget(min_available=1), start=6),
        Deployment("istio-ingressgateway", "istio-system", 4, "istio", Budget(max_unavailable=1), stop=6),
        Deployment("coredns", "kube-system", 2, "shared", Budget(max_unavailable=1)),
        Deployment("metrics-server", "kube-system", 1, "shared"),
        Deployment("storefront", "shop", 8, "shared", Budget(max_unavailable="25%"), stop=6),
        Deployment("checkout", "shop", 6, "shared", Budget(min_available=5), start=6, stop=8),
        Deployment("catalogue", "shop", 6, "shared", Budget(max_unavailable=2)),
        Deployment("thumbnails", "shop", 4, "shared", emptydir=True),
        Deployment("recommendations", "shop", 4, "shared"),
        Job("nightly-report", "shop", 1, "shared", stop=2),
        StatefulSet(
            "elasticsearch", "logging", 3, "logging", Budget(max_unavailable=1), "1", "2Gi", 8, 8, zonal_volume=True
        ),
        Deployment("kibana", "logging", 2, "logging", Budget(min_available=1)),
        Deployment("log-aggregator", "logging", 5, "logging", emptydir=True),
    ],
)

# A cluster that is due for an upgrade, by two versions: add-ons that are old, a kube-proxy that nobody manages, pods on
# Fargate, and pods with an injected sidecar. Its groups run what they launch: only a new image makes them outdated.
UPGRADE = Scenario(
    name="upgrade",
    cluster="evergreen-upgrade",
    version="1.31",
    groups=[
        NodeGroup("istio", size=2, max_size=3, outdated=False, labels={"role": "ingress"}),
        NodeGroup("shared", size=3, max_size=5, outdated=False),
        NodeGroup("logging", size=2, max_size=3, outdated=False, zones=["eu-central-1a", "eu-central-1b"]),
    ],
    workloads=[
        Deployment("istiod", "istio-system", 2, "istio", Budget(min_available=1)),
        Deployment("istio-ingressgateway", "istio-system", 2, "istio", Budget(max_unavailable=1)),
        Deployment("storefront", "shop", 4, "shared", Budget(max_unavailable=1)),
        Deployment("checkout", "shop", 2, "shared", Budget(min_available=1), annotations=VAULT),
        StatefulSet("elasticsearch", "logging", 2, "logging", Budget(max_unavailable=1), zonal_volume=True),
        Deployment("reports", "batch", 2),
    ],
    addons=[
        Addon("vpc-cni", "v1.19.2-eksbuild.1", role="arn:aws:iam::123456789012:role/vpc-cni"),
        Addon("coredns", "v1.11.3-eksbuild.1", configuration={"replicaCount": 2}),
        Addon("kube-proxy", "v1.31.2-eksbuild.2", managed=False),
    ],
    fargate=[FargateProfile("batch", namespace="batch")],
    sidecars=[Sidecar("vault.hashicorp.com/agent-inject", container="vault-agent")],
)

SCENARIOS = {scenario.name: scenario for scenario in (SMALL, DEMO, UPGRADE)}

__all__ = [
    "DEMO",
    "GROUP_LABEL",
    "SCENARIOS",
    "SMALL",
    "UPGRADE",
    "Addon",
    "Budget",
    "DaemonSet",
    "Deployment",
    "FargateProfile",
    "Job",
    "NodeGroup",
    "Pod",
    "Scenario",
    "Sidecar",
    "StatefulSet",
    "Times",
    "Workload",
]
