# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS's Fargate profiles: which pods run on Fargate. moto keeps them; the world's own Fargate reads them there."""

from __future__ import annotations

from typing import Any

from moto.eks.models import Cluster, FargateProfile

from simulator.aws.eks_errors import NotFound


def names(cluster: Cluster) -> list[str]:
    """ListFargateProfiles."""
    return sorted(cluster.fargate_profiles)


def describe(cluster: Cluster, name: str) -> dict[str, Any]:
    """DescribeFargateProfile."""
    if name not in cluster.fargate_profiles:
        raise NotFound(cluster.name, f"No Fargate Profile found with name: {name}.")
    profile: FargateProfile = cluster.fargate_profiles[name]
    return {
        "fargateProfileName": profile.fargate_profile_name,
        "fargateProfileArn": profile.fargate_profile_arn,
        "clusterName": profile.cluster_name,
        "createdAt": profile.created_at,
        "podExecutionRoleArn": profile.pod_execution_role_arn,
        "subnets": profile.subnets,
        "selectors": [_selector(one) for one in profile.selectors],
        "status": profile.status,
        "tags": profile.tags,
        "health": {"issues": []},
    }


def matching(cluster: Cluster, namespace: str, labels: dict[str, str]) -> str:
    """The profile that takes a pod of that namespace with those labels; empty when none does."""
    for name in names(cluster):
        for selector in map(_selector, cluster.fargate_profiles[name].selectors):
            if selector["namespace"] == namespace and selector["labels"].items() <= labels.items():
                return name
    return ""


def _selector(given: dict[str, Any]) -> dict[str, Any]:
    return {"namespace": given["namespace"], "labels": dict(given.get("labels") or {})}
