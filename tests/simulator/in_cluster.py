# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS's hand inside the rehearsal cluster: it applies add-ons' objects, looks at nodes, and changes the API servers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

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
    PODS,
    Resource,
)
from simulator.nodes import is_ready, name_of
from simulator.witness import should_be_evicted

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

    # ---- nodes of managed groups

    def is_ready(self, instance: str) -> bool:
        """The instance is a Ready node."""
        node = self._node(instance)
        return node is not None and is_ready(node)

    def node_of(self, instance: str) -> str:
        """The name of its node; empty when it is none."""
        node = self._node(instance)
        return name_of(node) if node else ""

    def cordon(self, instance: str) -> None:
        """No new pods come to its node, nor traffic from load balancers."""
        labels = {"node.kubernetes.io/exclude-from-external-load-balancers": "true"}
        if name := self.node_of(instance):
            body = {"metadata": {"labels": labels}, "spec": {"unschedulable": True}}
            self._api.patch(path_to("nodes", name=name), body)

    def evict(self, instance: str) -> list[str]:
        """Ask all pods that no DaemonSet keeps to leave its node; who is still there."""
        for pod in self._pods(instance):
            metadata = {key: pod["metadata"][key] for key in ("name", "namespace")}
            body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
            if not pod["metadata"].get("deletionTimestamp"):
                with suppress(ApiError):  # 429: a budget; 404: it has just gone
                    self._api.create(path_to("pods", metadata["namespace"], metadata["name"], "eviction"), body)
        return [name_of(pod) for pod in self._pods(instance)]

    def delete_pods(self, instance: str) -> None:
        """Delete them, whatever budgets say."""
        for pod in self._pods(instance):
            with suppress(ApiError):
                self._api.delete(path_to("pods", pod["metadata"]["namespace"], name_of(pod)))

    def _node(self, instance: str) -> Manifest | None:
        nodes = (stored.object for stored in self._server.store.all(NODES))
        return next((one for one in nodes if one["spec"].get("providerID", "").endswith(f"/{instance}")), None)

    def _pods(self, instance: str) -> list[Manifest]:
        name = self.node_of(instance)
        found = self._server.store.all(PODS, node=name) if name else []
        return [stored.object for stored in found if should_be_evicted(stored.object)]

    # ---- the control plane

    def serve(self, version: str) -> None:
        """The API servers are of that version from now on."""
        self._server.version = version

    def disturb(self, seconds: float) -> None:
        """The endpoint resets connections for so long."""
        self._server.record.note("endpoint_disturbed", seconds=seconds)
        self._outage(seconds)
