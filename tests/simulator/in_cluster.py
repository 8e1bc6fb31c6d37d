# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS's hand inside the rehearsal cluster: it applies add-ons' objects, looks at nodes, and changes the API servers."""

from __future__ import annotations

from collections.abc import Callable

from simulator.aws.eks_inside import Manifest, NodeFacts
from simulator.kubernetes.api import ApiServer
from simulator.kubernetes.client import ApiClient
from simulator.kubernetes.controllers.cache import path_to
from simulator.kubernetes.errors import ApiError
from simulator.kubernetes.resources import (
    DAEMON_SETS,
    DEPLOYMENTS,
    NODES,
    POD_DISRUPTION_BUDGETS,
    Resource,
)

AUTHOR = "eks"
TRIES = 3
BY_KIND: dict[str, Resource] = {one.kind: one for one in (DAEMON_SETS, DEPLOYMENTS, POD_DISRUPTION_BUDGETS)}


class InCluster:
    """See ``simulator.aws.eks_inside.Inside``. Reads past the API, as through a watch; writes are in the record."""

    def __init__(self, server: ApiServer, outage: Callable[[float], None]):
        self._server = server
        self._api = ApiClient(server, AUTHOR)
        self._outage = outage

    def nodes(self) -> list[NodeFacts]:
        """All Nodes."""
        found = []
        for stored in self._server.store.all(NODES):
            info = (stored.object.get("status") or {}).get("nodeInfo") or {}
            kubelet = info.get("kubeletVersion", "")
            if kubelet:
                found.append(NodeFacts(stored.object["metadata"]["name"], kubelet, info.get("osImage", "")))
        return found

    def find(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object as it is; not to be written to."""
        stored = self._server.store.get(BY_KIND[kind], namespace, name)
        return stored.object if stored else None

    def apply(self, manifest: Manifest) -> None:
        """Create the object, or replace it; somebody may write to it at the same moment."""
        metadata = manifest["metadata"]
        plural = BY_KIND[manifest["kind"]].plural
        for number in range(1, TRIES + 1):
            live = self.find(manifest["kind"], metadata["namespace"], metadata["name"])
            try:
                if live is None:
                    self._api.create(path_to(plural, metadata["namespace"]), manifest)
                else:
                    version = live["metadata"]["resourceVersion"]
                    body = {**manifest, "metadata": {**metadata, "resourceVersion": version}}
                    self._api.replace(path_to(plural, metadata["namespace"], metadata["name"]), body)
                return
            except ApiError as error:
                if error.code != 409 or number == TRIES:
                    raise

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete it, if it is there."""
        try:
            self._api.delete(path_to(BY_KIND[kind].plural, namespace, name))
        except ApiError as error:
            if error.code != 404:
                raise

    def serve(self, version: str) -> None:
        """The API servers are of that version from now on."""
        self._server.version = version

    def disturb(self, seconds: float) -> None:
        """The endpoint resets connections for so long."""
        self._server.record.note("endpoint_disturbed", seconds=seconds)
        self._outage(seconds)
