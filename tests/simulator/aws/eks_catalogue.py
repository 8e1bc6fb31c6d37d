# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-ons that EKS offers, and which of their versions go with which Kubernetes version.

A model of the real catalogue, not a copy: the names, the shape of the version numbers and the rules are real
("Amazon EKS add-ons" of the User Guide; DescribeAddonVersions in botocore's model), the selection of versions is small.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.aws.eks_errors import NotFound, page
from simulator.aws.eks_versions import VERSIONS


@dataclass(frozen=True)
class AddonVersion:
    """One version of an add-on: the first and last Kubernetes version that it goes with, and for which it is the
    default."""

    version: str
    first: str
    last: str
    default_for: tuple[str, ...] = ()

    @property
    def clusters(self) -> tuple[str, ...]:
        """The Kubernetes versions that it goes with, newest first."""
        return tuple(reversed(VERSIONS[VERSIONS.index(self.first) : VERSIONS.index(self.last) + 1]))


@dataclass(frozen=True)
class AddonKind:
    """One add-on. ``settings`` are the top-level names that its configuration values may have."""

    name: str
    kind: str  # AWS's word for what it is about
    versions: tuple[AddonVersion, ...]  # newest first
    settings: tuple[str, ...]
    wants_role: bool = False

    def find(self, version: str) -> AddonVersion | None:
        """That version; None when it was never published."""
        return next((one for one in self.versions if one.version == version), None)

    def fitting(self, cluster: str) -> list[AddonVersion]:
        """The versions that go with this Kubernetes version, newest first."""
        return [one for one in self.versions if cluster in one.clusters]

    def default(self, cluster: str) -> str:
        """The version that EKS takes when nobody names one."""
        fitting = self.fitting(cluster)
        chosen = next((one for one in fitting if cluster in one.default_for), None)
        return (chosen or fitting[0]).version

    def schema(self) -> str:
        """The JSON schema of its configuration values, as far as the world checks them."""
        properties: dict[str, Any] = {name: {} for name in self.settings}
        head = {"$schema": "http://json-schema.org/draft-06/schema#", "type": "object"}
        return json.dumps({**head, "additionalProperties": False, "properties": properties})


def _kube_proxy() -> tuple[AddonVersion, ...]:
    """Two builds for each Kubernetes version; each goes with that version, and with later ones that may be up to three
    ahead of it (the version skew policy of Kubernetes)."""
    patches = {"1.30": 6, "1.31": 2, "1.32": 0, "1.33": 0, "1.34": 0, "1.35": 0, "1.36": 0}
    found = []
    for number, cluster in enumerate(VERSIONS):
        last = VERSIONS[min(number + 3, len(VERSIONS) - 1)]
        patch = patches[cluster]
        found.append(AddonVersion(f"v{cluster}.{patch}-eksbuild.2", cluster, last, (cluster,)))
        found.append(AddonVersion(f"v{cluster}.{patch + 3}-eksbuild.8", cluster, last))
    return tuple(reversed(found))


KINDS = (
    AddonKind(
        "vpc-cni",
        "networking",
        (
            AddonVersion("v1.21.1-eksbuild.1", "1.32", "1.36", ("1.35", "1.36")),
            AddonVersion("v1.20.4-eksbuild.2", "1.30", "1.35", ("1.33", "1.34")),
            AddonVersion("v1.20.1-eksbuild.3", "1.30", "1.34"),
            AddonVersion("v1.19.2-eksbuild.1", "1.30", "1.33", ("1.31", "1.32")),
            AddonVersion("v1.18.3-eksbuild.3", "1.30", "1.31", ("1.30",)),
        ),
        ("affinity", "enableNetworkPolicy", "env", "init", "nodeAgent", "resources", "tolerations"),
        wants_role=True,
    ),
    AddonKind(
        "coredns",
        "networking",
        (
            AddonVersion("v1.13.1-eksbuild.1", "1.34", "1.36", ("1.35", "1.36")),
            AddonVersion("v1.12.1-eksbuild.2", "1.33", "1.36", ("1.33", "1.34")),
            AddonVersion("v1.11.4-eksbuild.22", "1.31", "1.33"),
            AddonVersion("v1.11.4-eksbuild.2", "1.30", "1.33", ("1.32",)),
            AddonVersion("v1.11.3-eksbuild.1", "1.30", "1.33", ("1.30", "1.31")),
            AddonVersion("v1.11.1-eksbuild.8", "1.30", "1.31"),
        ),
        ("affinity", "autoScaling", "computeType", "corefile", "nodeSelector", "replicaCount", "resources"),
    ),
    AddonKind("kube-proxy", "networking", _kube_proxy(), ("ipvs", "mode", "podAnnotations", "resources")),
    AddonKind(
        "aws-ebs-csi-driver",
        "storage",
        (
            AddonVersion("v1.53.0-eksbuild.1", "1.31", "1.36", ("1.34", "1.35", "1.36")),
            AddonVersion("v1.48.0-eksbuild.2", "1.30", "1.35", ("1.33",)),
            AddonVersion("v1.44.0-eksbuild.1", "1.30", "1.34", ("1.30", "1.31", "1.32")),
            AddonVersion("v1.37.0-eksbuild.1", "1.30", "1.32"),
        ),
        ("controller", "defaultStorageClass", "node", "sidecars"),
        wants_role=True,
    ),
    AddonKind(
        "eks-pod-identity-agent",
        "security",
        (
            AddonVersion("v1.3.10-eksbuild.1", "1.32", "1.36", ("1.35", "1.36")),
            AddonVersion("v1.3.8-eksbuild.2", "1.30", "1.36", ("1.32", "1.33", "1.34")),
            AddonVersion("v1.3.4-eksbuild.1", "1.30", "1.34", ("1.30", "1.31")),
        ),
        ("agent", "priorityClassName", "resources", "tolerations"),
    ),
)
BY_NAME = {one.name: one for one in KINDS}


def has_image(image: str) -> bool:
    """The registry has it. Of EKS's own repositories only what belongs to a version above is there; every other
    registry has everything."""
    repository, _colon, tag = image.rpartition(":")
    if "/eks/kube-proxy" in repository:
        found = [one.version for one in BY_NAME["kube-proxy"].versions]
        return tag.replace("-minimal-eksbuild", "-eksbuild") in found
    for name, last in (("coredns", "/eks/coredns"), ("vpc-cni", "/amazon-k8s-cni")):
        if repository.endswith(last):
            return tag in [one.version for one in BY_NAME[name].versions]
    return True


def describe_versions(params: Mapping[str, Any]) -> dict[str, Any]:
    """DescribeAddonVersions: of one add-on or all, for one Kubernetes version or all. What nobody knows has none."""
    name, cluster = params.get("addonName"), params.get("kubernetesVersion")
    found = []
    for one in KINDS:
        versions = one.fitting(cluster) if cluster else list(one.versions)
        wanted = name in (None, one.name) and one.kind in (params.get("types") or [one.kind])
        if wanted and versions and "aws" in (params.get("owners") or ["aws"]):
            found.append(_answer(one, versions, cluster))
    return page(found, params, "addons")


def describe_configuration(params: Mapping[str, Any]) -> dict[str, Any]:
    """DescribeAddonConfiguration."""
    name, version = params["addonName"], params["addonVersion"]
    if name not in BY_NAME or BY_NAME[name].find(version) is None:
        raise NotFound("", f"Addon {name} with version {version} not found", name)
    identities = []
    if BY_NAME[name].wants_role:
        account, policy = ("aws-node", "AmazonEKS_CNI_Policy")
        if name == "aws-ebs-csi-driver":
            account, policy = ("ebs-csi-controller-sa", "service-role/AmazonEBSCSIDriverPolicy")
        identities = [{"serviceAccount": account, "recommendedManagedPolicies": [f"arn:aws:iam::aws:policy/{policy}"]}]
    return {
        "addonName": name,
        "addonVersion": version,
        "configurationSchema": BY_NAME[name].schema(),
        "podIdentityConfiguration": identities,
    }


def _answer(one: AddonKind, versions: list[AddonVersion], cluster: str | None) -> dict[str, Any]:
    return {
        "addonName": one.name,
        "type": one.kind,
        "publisher": "eks",
        "owner": "aws",
        "defaultNamespace": "kube-system",
        "addonVersions": [
            {
                "addonVersion": version.version,
                "architecture": ["amd64", "arm64"],
                "computeTypes": ["ec2", "fargate", "hybrid"] if one.name == "coredns" else ["ec2", "hybrid"],
                "compatibilities": [
                    {
                        "clusterVersion": each,
                        "platformVersions": ["*"],
                        "defaultVersion": each in version.default_for,
                    }
                    for each in version.clusters
                    if cluster in (None, each)
                ],
                "requiresConfiguration": False,
                "requiresIamPermissions": one.wants_role,
            }
            for version in versions
        ],
    }
