# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kubernetes versions: in order, step by step, and how far kubelets may be behind. Pure; no I/O.

Sources: kubernetes.io, "Version Skew Policy"; Amazon EKS User Guide, "Update existing cluster to new Kubernetes
version" (a control plane goes up one minor version at a time).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput

# How many minor versions a kubelet may be older than the API servers; those before 1.25 one less.
KUBELET_SKEW, OLD_KUBELET_SKEW, OLD_KUBELET = 3, 2, 25
WRITTEN = re.compile(r"v?(\d+)\.(\d+)(?:[.+-].*)?")
FARGATE_LABEL, FARGATE = "eks.amazonaws.com/compute-type", "fargate"
NAMED = 5


@dataclass(frozen=True, order=True)
class Version:
    """A minor version of Kubernetes, such as 1.33."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    def later(self, minors: int) -> Version:
        """So many minor versions later; earlier where negative."""
        return Version(self.major, self.minor + minors)


@dataclass(frozen=True)
class Kubelet:
    """A Node and the version of its kubelet; those on Fargate are replaced by restarting their pod."""

    node: str
    version: Version
    fargate: bool = False


def parse_version(text: str) -> Version | None:
    """1.33 of "1.33", "v1.33.4-eks-99d6cc0" and the like; None of anything else."""
    found = WRITTEN.fullmatch(text.strip())
    return Version(int(found[1]), int(found[2])) if found else None


def asked_version(text: str) -> Version:
    """The version that somebody asks for, "1.33" and nothing longer. Raises InvalidInput."""
    asked = parse_version(text)
    if asked is None or str(asked) != text.strip():
        raise InvalidInput(
            f"'{text}' is not a Kubernetes version of EKS",
            remedy="Give a minor version in quotes, for example '1.33'",
        )
    return asked


def steps(present: Version, wanted: Version) -> list[Version]:
    """The versions that a control plane comes to on its way, the wanted one last; none where it is there."""
    return [Version(present.major, minor) for minor in range(present.minor + 1, wanted.minor + 1)]


def kubelets_of(nodes: Iterable[Any]) -> list[Kubelet]:
    """The kubelets of these Nodes (`nodes.Node`); a node that has not reported yet has none."""
    versions = [(node, parse_version(node.kubelet_version)) for node in nodes]
    return [
        Kubelet(node.name, version, node.labels.get(FARGATE_LABEL) == FARGATE)
        for node, version in versions
        if version is not None
    ]


def furthest_for(kubelet: Version) -> Version:
    """The newest control plane that a kubelet of this version may talk to."""
    return kubelet.later(OLD_KUBELET_SKEW if kubelet.minor < OLD_KUBELET else KUBELET_SKEW)


def furthest(kubelets: Iterable[Kubelet]) -> Version | None:
    """The newest control plane that all of them may talk to; None where there are none."""
    return min((furthest_for(kubelet.version) for kubelet in kubelets), default=None)


def too_old(kubelets: Iterable[Kubelet], control_plane: Version) -> list[Kubelet]:
    """Those that may not talk to a control plane of this version, the oldest first."""
    found = [kubelet for kubelet in kubelets if furthest_for(kubelet.version) < control_plane]
    return sorted(found, key=lambda kubelet: (kubelet.version, kubelet.node))


def named(kubelets: Sequence[Kubelet]) -> str:
    """`node-1 (1.29), fargate-2 (1.29, Fargate) and 3 more`."""
    names = [f"{one.node} ({one.version}{', Fargate' if one.fargate else ''})" for one in kubelets[:NAMED]]
    more = f" and {len(kubelets) - NAMED} more" if len(kubelets) > NAMED else ""
    return ", ".join(names) + more
