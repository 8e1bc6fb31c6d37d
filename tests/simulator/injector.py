# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sidecar injector: the webhook of Vault, Istio and the like, that adds a container to pods as they are created.

With ``working = False`` it is away and pods come without their sidecar, as with a webhook whose failurePolicy is Ignore
and whose own pods are just being drained; only a restart brings them theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simulator.kubernetes.resources import PODS, Resource
from simulator.scenarios.model import Sidecar


class SidecarInjector:
    """Adds the containers that annotations ask for."""

    def __init__(self, sidecars: Sequence[Sidecar]):
        self._sidecars = sidecars
        self.working = True

    def admit(self, resource: Resource, pod: dict[str, Any]) -> None:
        """The webhook."""
        if resource is not PODS or not self.working:
            return
        annotations = pod["metadata"].get("annotations") or {}
        containers = pod["spec"]["containers"]
        for sidecar in self._sidecars:
            asked = annotations.get(sidecar.annotation) == sidecar.value
            if asked and sidecar.container not in [one["name"] for one in containers]:
                requests = {"cpu": "10m", "memory": "16Mi"}
                added = {"name": sidecar.container, "image": sidecar.image, "resources": {"requests": requests}}
                containers.append(added)
