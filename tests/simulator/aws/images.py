# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine images that AWS publishes for EKS nodes, and the parameters of Systems Manager that name them.

Paths and names: "Retrieve recommended Amazon Linux AMI IDs" and "Retrieve recommended Bottlerocket AMI IDs" of the
Amazon EKS User Guide. Amazon Linux 2 ends with Kubernetes 1.32.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from simulator.aws.eks_versions import BY_VERSION, VERSIONS, minor

OWNER = "602401143452"
RELEASE = "v20261101"
LAST_LINUX_2 = "1.32"
# The Kubernetes version in an image's name, also of those that a scenario makes itself.
VERSION_IN_NAME = re.compile(r"(?:^|-)(1\.\d+)(?:-|$)")


@dataclass(frozen=True)
class Family:
    """One kind of image: its parameter and its name, both for a Kubernetes version."""

    parameter: str
    name: str
    architecture: str  # as EC2 has it
    system: str  # the node's osImage
    last: str = VERSIONS[-1]


EKS = "/aws/service/eks/optimized-ami/{version}"
FAMILIES = (
    *(
        Family(
            f"{EKS}/amazon-linux-2023/{arch}/standard/recommended/image_id",
            f"amazon-eks-node-al2023-{arch}-standard-{{version}}-{RELEASE}",
            arch,
            "Amazon Linux 2023.9.20261101",
        )
        for arch in ("x86_64", "arm64")
    ),
    Family(
        f"{EKS}/amazon-linux-2023/x86_64/nvidia/recommended/image_id",
        f"amazon-eks-node-al2023-x86_64-nvidia-{{version}}-{RELEASE}",
        "x86_64",
        "Amazon Linux 2023.9.20261101",
    ),
    Family(
        f"{EKS}/amazon-linux-2/recommended/image_id",
        f"amazon-eks-node-{{version}}-{RELEASE}",
        "x86_64",
        "Amazon Linux 2",
        LAST_LINUX_2,
    ),
    Family(
        f"{EKS}/amazon-linux-2-arm64/recommended/image_id",
        f"amazon-eks-arm64-node-{{version}}-{RELEASE}",
        "arm64",
        "Amazon Linux 2",
        LAST_LINUX_2,
    ),
    *(
        Family(
            f"/aws/service/bottlerocket/aws-k8s-{{version}}/{arch}/latest/image_id",
            f"bottlerocket-aws-k8s-{{version}}-{arch}-v1.50.0-1f2e3d4c",
            arch,
            "Bottlerocket OS 1.50.0 (aws-k8s)",
        )
        for arch in ("x86_64", "arm64")
    ),
)


@dataclass(frozen=True)
class Published:
    """One image to be published."""

    name: str
    parameter: str
    architecture: str
    description: str


def recommended(family: str, version: str) -> str:
    """The parameter with the recommended image of a family of EKS's own: ``amazon-linux-2``, say."""
    return f"{EKS.format(version=version)}/{family}/recommended/image_id"


@dataclass(frozen=True)
class Image:
    """What an image makes of a machine: empty where its name does not say."""

    version: str = ""  # of Kubernetes
    system: str = ""
    architecture: str = "x86_64"

    @property
    def node_architecture(self) -> str:
        """As Kubernetes has it."""
        return "arm64" if self.architecture == "arm64" else "amd64"


def catalogue() -> list[Published]:
    """Every image of every family, for every Kubernetes version that it is made for."""
    return [
        Published(
            family.name.format(version=version),
            family.parameter.format(version=version),
            family.architecture,
            f"EKS-optimized Kubernetes node ({family.system}), (k8s: {BY_VERSION[version].patch})",
        )
        for family in FAMILIES
        for version in VERSIONS
        if minor(version) <= minor(family.last)
    ]


def understood(name: str, architecture: str) -> Image:
    """What an image of that name is."""
    return Image(version_of(name), system_of(name), architecture or "x86_64")


def version_of(image_name: str) -> str:
    """The Kubernetes version of a node that starts from an image of that name; empty where the name does not say."""
    found = VERSION_IN_NAME.search(image_name or "")
    return found[1] if found else ""


def system_of(image_name: str) -> str:
    """The node's osImage; empty where the name does not say."""
    for family in FAMILIES:
        start, _version, end = family.name.partition("{version}")
        if image_name.startswith(start) and image_name.endswith(end):
            return family.system
    return ""
