# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What EKS sees of the inside of a cluster, and does there: the Kubernetes objects of add-ons, nodes, the endpoint.

The cloud knows the inside only through this door; a cloud without a Kubernetes behind it has ``Nobody`` there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

Manifest = dict[str, Any]


@dataclass(frozen=True)
class NodeFacts:
    """A Node as an upgrade insight looks at it."""

    name: str
    kubelet: str  # ``v1.31.2-eks-1``
    os_image: str


class Inside(Protocol):
    """The inside of one cluster."""

    def nodes(self) -> list[NodeFacts]:
        """All Nodes."""

    def find(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object as it is; None when there is none."""

    def apply(self, manifest: Manifest) -> None:
        """Create the object, or replace it."""

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete it, if it is there."""

    def is_ready(self, instance: str) -> bool:
        """The instance is a Ready node."""

    def node_of(self, instance: str) -> str:
        """The name of its node; empty when it is none."""

    def cordon(self, instance: str) -> None:
        """No new pods come to its node, nor traffic from load balancers."""

    def evict(self, instance: str) -> list[str]:
        """Ask all pods that no DaemonSet keeps to leave its node; who is still there."""

    def delete_pods(self, instance: str) -> None:
        """Delete them, whatever budgets say."""

    def serve(self, version: str) -> None:
        """The API servers are of that version from now on."""

    def disturb(self, seconds: float) -> None:
        """The endpoint resets connections for so many seconds of the world."""


class Nobody:
    """A cluster that nobody has built: EKS's side only."""

    def nodes(self) -> list[NodeFacts]:
        return []

    def find(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return None

    def apply(self, manifest: Manifest) -> None:
        """Nothing to apply it to."""

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Nothing to remove."""

    def is_ready(self, instance: str) -> bool:
        return True

    def node_of(self, instance: str) -> str:
        return ""

    def cordon(self, instance: str) -> None:
        """No node to cordon."""

    def evict(self, instance: str) -> list[str]:
        return []

    def delete_pods(self, instance: str) -> None:
        """No pods to delete."""

    def serve(self, version: str) -> None:
        """Nobody serves."""

    def disturb(self, seconds: float) -> None:
        """Nobody is disturbed."""
