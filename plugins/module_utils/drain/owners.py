# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does the controller of a pod still exist: one list for each kind in each namespace that is met."""

from __future__ import annotations

import threading

from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Controller, Pod
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError

# The controllers that Kubernetes itself brings. Those of others are taken to exist: their resource's name is not known.
COLLECTIONS = {
    ("apps/v1", "DaemonSet"): "/apis/apps/v1/namespaces/{}/daemonsets",
    ("apps/v1", "ReplicaSet"): "/apis/apps/v1/namespaces/{}/replicasets",
    ("apps/v1", "StatefulSet"): "/apis/apps/v1/namespaces/{}/statefulsets",
    ("batch/v1", "Job"): "/apis/batch/v1/namespaces/{}/jobs",
    ("v1", "ReplicationController"): "/api/v1/namespaces/{}/replicationcontrollers",
}


class Owners:
    """The controllers that exist. Safe for threads; a UID that is not known yet makes the list be read again, once."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._existing: dict[str, set[str]] = {}
        self._gone: set[str] = set()
        self._unreadable: set[str] = set()

    def exists(self, pod: Pod, controller: Controller) -> bool | None:
        """Whether the controller of that UID exists; None when the kind is not known or may not be listed."""
        template = COLLECTIONS.get((controller.api_version, controller.kind))
        if not template or not controller.uid:
            return None
        path = template.format(pod.namespace)
        with self._lock:
            if controller.uid not in self._existing.get(path, ()) and controller.uid not in self._gone:
                self._look(path, controller.uid)
            if path in self._unreadable:
                return None
            return controller.uid not in self._gone

    def _look(self, path: str, uid: str) -> None:
        if path in self._unreadable:
            return
        try:
            uids, _version = self._client.list(path, keep=lambda item: item["metadata"]["uid"])
        except KubernetesError as error:
            if error.status not in (403, 404):
                raise
            self._unreadable.add(path)
            return
        self._existing[path] = set(uids)
        if uid not in self._existing[path]:
            self._gone.add(uid)
