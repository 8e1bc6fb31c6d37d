# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images that AWS publishes for EKS nodes: their names, and the parameters of Systems Manager that name them. Pure.

Sources: "Retrieve recommended Amazon Linux AMI IDs" and "Retrieve recommended Bottlerocket AMI IDs" of the Amazon EKS
User Guide for the parameters; the releases of awslabs/amazon-eks-ami and bottlerocket-os/bottlerocket for the names.
Which versions there are is asked of AWS when it is needed: no table of ours says it. Amazon Linux 2 alone has an end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import parse_version

AL2023, AL2, BOTTLEROCKET = FAMILIES = ("al2023", "al2", "bottlerocket")
X86_64, ARM64 = ARCHITECTURES = ("x86_64", "arm64")  # as EC2 has them
STANDARD = "standard"
TITLES = {AL2023: "Amazon Linux 2023", AL2: "Amazon Linux 2", BOTTLEROCKET: "Bottlerocket"}
# "Guide to EKS AL2 & AL2-Accelerated AMIs transition features" of the Amazon EKS User Guide
LAST_VERSION = {AL2: "1.32"}
VERSION = r"(?P<version>\d+\.\d+)"


@dataclass(frozen=True)
class Kind:
    """One kind of image. `parameter` holds `{version}`, that of Kubernetes; `name` is a pattern of image names."""

    family: str
    variant: str
    architecture: str
    parameter: str
    name: str

    def __str__(self) -> str:
        variant = "" if self.variant == STANDARD else f" {self.variant}"
        return f"{TITLES[self.family]}{variant} ({self.architecture})"

    def parameter_for(self, version: str) -> str:
        """The parameter with the id of the recommended image for this Kubernetes version."""
        return self.parameter.format(version=version)

    @property
    def last_version(self) -> str:
        """The last Kubernetes version that there are images of this family for, "" where no end is known."""
        return LAST_VERSION.get(self.family, "")

    def ends_before(self, version: str) -> bool:
        return is_newer(version, self.last_version)


def _amazon_linux_2023(variant: str, architecture: str) -> Kind:
    # Accelerated images had the driver's version in their names for a while: ...-nvidia-560-1.31-v20241121
    return Kind(
        AL2023,
        variant,
        architecture,
        f"/aws/service/eks/optimized-ami/{{version}}/amazon-linux-2023/{architecture}/{variant}/recommended/image_id",
        rf"amazon-eks-node-al2023-{architecture}-{variant}(?:-\d+)?-{VERSION}-v\w+",
    )


def _amazon_linux_2(variant: str, architecture: str, mark: str) -> Kind:
    in_name, in_path = (f"{mark}-", f"-{mark}") if mark else ("", "")
    return Kind(
        AL2,
        variant,
        architecture,
        f"/aws/service/eks/optimized-ami/{{version}}/amazon-linux-2{in_path}/recommended/image_id",
        rf"amazon-eks-{in_name}node-{VERSION}-v\w+",
    )


def _bottlerocket(variant: str, architecture: str) -> Kind:
    mark = "" if variant == STANDARD else f"-{variant}"
    in_name = architecture if architecture == X86_64 else "(?:arm64|aarch64)"
    return Kind(
        BOTTLEROCKET,
        variant,
        architecture,
        f"/aws/service/bottlerocket/aws-k8s-{{version}}{mark}/{architecture}/latest/image_id",
        rf"bottlerocket-aws-k8s-{VERSION}{mark}-{in_name}-v[\w.-]+",
    )


KINDS = (
    *(_amazon_linux_2023(variant, arch) for variant in (STANDARD, "nvidia") for arch in ARCHITECTURES),
    _amazon_linux_2023("neuron", X86_64),
    _amazon_linux_2(STANDARD, X86_64, ""),
    _amazon_linux_2(STANDARD, ARM64, "arm64"),
    _amazon_linux_2("gpu", X86_64, "gpu"),
    *(
        _bottlerocket(variant, arch)
        for variant in (STANDARD, "nvidia", "fips", "nvidia-fips")
        for arch in ARCHITECTURES
    ),
)
VARIANTS = tuple(dict.fromkeys(kind.variant for kind in KINDS))


def find_kind(family: str, variant: str, architecture: str) -> Kind | None:
    """None where AWS publishes no such image."""
    wanted = (family, variant, architecture)
    return next((kind for kind in KINDS if (kind.family, kind.variant, kind.architecture) == wanted), None)


def kind_of_name(name: str) -> tuple[Kind, str] | None:
    """What an image of that name is, and for which Kubernetes version; None for a name that is none of AWS's."""
    return _first(name, lambda kind: kind.name)


def kind_of_parameter(parameter: str) -> tuple[Kind, str] | None:
    """What the image is that this parameter recommends, and for which version; None for any other parameter."""
    pattern = re.escape("{version}")
    return _first(parameter, lambda kind: re.escape(kind.parameter).replace(pattern, VERSION))


def _first(text: str, pattern: Callable[[Kind], str]) -> tuple[Kind, str] | None:
    for kind in KINDS:
        found = re.fullmatch(pattern(kind), text)
        if found:
            return kind, found["version"]
    return None


def is_newer(one: str, other: str) -> bool:
    """Whether this Kubernetes version is newer than the other one, as far as both are known."""
    version, than = parse_version(one), parse_version(other)
    return version is not None and than is not None and version > than
