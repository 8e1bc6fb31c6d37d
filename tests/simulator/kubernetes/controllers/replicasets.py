# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments and ReplicaSets: as many pods as are asked for."""

from __future__ import annotations

import copy

from simulator.kubernetes.controllers.cache import Event
from simulator.kubernetes.controllers.controller import Controller
from simulator.kubernetes.controllers.objects import (
    Key,
    Object,
    is_active,
    is_terminating,
    key_of,
    owned_by,
    reference_to,
    scaled,
    status_of,
    uid_of,
    with_condition,
)
from simulator.kubernetes.controllers.pods import count_ready, first_to_go, pod_from, template_hash

HASH = "pod-template-hash"


class ReplicaSetController(Controller):
    """Makes missing pods, deletes surplus ones. A terminating pod no longer counts: its successor comes at once."""

    author = "replicaset-controller"
    watches = ("replicasets", "pods")

    def observe(self, event: Event) -> None:
        if event.resource == "replicasets":
            self.enqueue(key_of(event.object))
        else:
            self.enqueue_owner(event.object, "ReplicaSet")

    def reconcile(self, key: Key) -> None:
        replica_set = self.cache.get("replicasets", *key)
        if replica_set is None or is_terminating(replica_set):
            return
        spec = replica_set["spec"]
        pods = [pod for pod in self.cache.pods_of(uid_of(replica_set)) if is_active(pod)]
        wanted = spec.get("replicas", 1)
        for _unused in range(wanted - len(pods)):
            self.create("pods", key[0], pod_from(spec["template"], replica_set))
        for pod in sorted(pods, key=first_to_go)[: max(0, len(pods) - wanted)]:
            self.delete("pods", pod)

        self.cache.refresh()
        pods = [pod for pod in self.cache.pods_of(uid_of(replica_set)) if is_active(pod)]
        ready = count_ready(pods)
        status = {
            "replicas": len(pods),
            "fullyLabeledReplicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": replica_set["metadata"].get("generation", 1),
        }
        self.patch_status("replicasets", replica_set, status)


class DeploymentController(Controller):
    """One ReplicaSet for each template; a new template is rolled out within maxSurge and maxUnavailable."""

    author = "deployment-controller"
    watches = ("deployments", "replicasets")

    def start(self) -> None:
        self._progress: dict[Key, tuple[tuple[int, ...], float]] = {}  # what was counted last, and since when

    def observe(self, event: Event) -> None:
        if event.resource == "deployments":
            self.enqueue(key_of(event.object))
        else:
            self.enqueue_owner(event.object, "Deployment")

    def reconcile(self, key: Key) -> None:
        deployment = self.cache.get("deployments", *key)
        if deployment is None or is_terminating(deployment):
            return
        mine = [item for item in self.cache.namespaced("replicasets", key[0]) if owned_by(item, deployment)]
        name = f"{key[1]}-{template_hash(deployment['spec']['template'])}"
        new = next((item for item in mine if item["metadata"]["name"] == name), None)
        old = [item for item in mine if item is not new]
        wanted = deployment["spec"].get("replicas", 1)
        if new is None:
            replicas = wanted if not old else 0
            self.create("replicasets", key[0], self._replica_set(deployment, name, replicas))
            return
        if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            self._recreate(new, old, wanted)
        elif any(item["spec"].get("replicas") for item in old):
            self._roll(deployment, new, old, wanted)
        elif new["spec"].get("replicas", 1) != wanted:
            self._scale(new, wanted)
        self._report(deployment, new, mine)

    def _replica_set(self, deployment: Object, name: str, replicas: int) -> Object:
        template = copy.deepcopy(deployment["spec"]["template"])
        label = {HASH: name.rsplit("-", 1)[1]}
        template.setdefault("metadata", {})["labels"] = {**(template["metadata"].get("labels") or {}), **label}
        selector = copy.deepcopy(deployment["spec"]["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), **label}
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "labels": template["metadata"]["labels"],
                "ownerReferences": [reference_to(deployment)],
            },
            "spec": {"replicas": replicas, "selector": selector, "template": template},
        }

    def _scale(self, replica_set: Object, replicas: int) -> None:
        self.patch("replicasets", replica_set, {"spec": {"replicas": replicas}})

    def _recreate(self, new: Object, old: list[Object], wanted: int) -> None:
        """All old pods go before the first new one comes."""
        for item in old:
            if item["spec"].get("replicas"):
                self._scale(item, 0)
        if new["spec"].get("replicas", 1) != wanted and not any(status_of(item).get("replicas") for item in old):
            self._scale(new, wanted)

    def _roll(self, deployment: Object, new: Object, old: list[Object], wanted: int) -> None:
        """One step of a rolling update: as many new pods as surge allows, as few old ones as readiness allows."""
        rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
        surge = scaled(rolling.get("maxSurge", "25%"), wanted)
        # maxUnavailable is the one percentage that is rounded down.
        limit = rolling.get("maxUnavailable", "25%")
        unavailable = wanted * int(limit[:-1]) // 100 if isinstance(limit, str) else limit
        unavailable = unavailable if surge or unavailable else 1

        now = new["spec"].get("replicas", 1)
        before = sum(item["spec"].get("replicas", 1) for item in old)
        grown = min(wanted, now + max(0, wanted + surge - now - before))
        if grown != now:
            self._scale(new, grown)
        ready = sum(_staying(item) for item in [new, *old])
        spare = max(0, ready - (wanted - unavailable))
        for item in old:
            replicas = item["spec"].get("replicas", 1)
            unready = replicas - _staying(item)
            gone = min(replicas, unready + spare)
            if gone:
                spare -= max(0, gone - unready)
                self._scale(item, replicas - gone)

    def _report(self, deployment: Object, new: Object, mine: list[Object]) -> None:
        wanted = deployment["spec"].get("replicas", 1)
        ready = sum(status_of(item).get("readyReplicas", 0) for item in mine)
        replicas = sum(status_of(item).get("replicas", 0) for item in mine)
        available = ready >= wanted
        now, updated = self.clock.timestamp(), status_of(new).get("replicas", 0)
        conditions = with_condition(
            deployment,
            now,
            "Available",
            "True" if available else "False",
            "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable",
        )
        complete = updated >= wanted and replicas <= updated and available
        progress = self._progressing(deployment, complete, (updated, replicas, ready))
        status = {
            "replicas": replicas,
            "updatedReplicas": updated,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, wanted - ready),
            "observedGeneration": deployment["metadata"].get("generation", 1),
            "conditions": with_condition({"status": {"conditions": conditions}}, now, "Progressing", *progress),
        }
        self.patch_status("deployments", deployment, status)

    def _progressing(self, deployment: Object, complete: bool, counts: tuple[int, ...]) -> tuple[str, str, str]:
        """Status, reason and message of the condition Progressing (pkg/controller/deployment/progress.go)."""
        key, now = key_of(deployment), self.clock.now()
        if complete:
            self._progress.pop(key, None)
            return "True", "NewReplicaSetAvailable", f'Deployment "{key[1]}" has successfully progressed.'
        before = self._progress.get(key)
        if before is None or before[0] != counts:
            before = self._progress[key] = (counts, now)
        patience = deployment["spec"].get("progressDeadlineSeconds", 600)
        if now - before[1] >= patience:
            return "False", "ProgressDeadlineExceeded", f'Deployment "{key[1]}" has timed out progressing.'
        self.later(key, before[1] + patience - now)
        return "True", "ReplicaSetUpdated", f'Deployment "{key[1]}" is progressing.'


def _staying(replica_set: Object) -> int:
    """Its Ready pods, less those that it is about to delete because it was scaled down."""
    return min(status_of(replica_set).get("readyReplicas", 0), replica_set["spec"].get("replicas", 1))
