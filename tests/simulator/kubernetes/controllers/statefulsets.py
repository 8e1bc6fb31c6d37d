# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""StatefulSets: pods with a name and a volume of their own, one after the other."""

from __future__ import annotations

import copy

from simulator.kubernetes.controllers.cache import Event
from simulator.kubernetes.controllers.controller import Controller
from simulator.kubernetes.controllers.objects import (
    Key,
    Object,
    is_finished,
    is_ready,
    is_terminating,
    key_of,
    labels_of,
    owned_by,
)
from simulator.kubernetes.controllers.pods import count_ready, pod_from


class StatefulSetController(Controller):
    """``name-0`` to ``name-<n-1>``. A pod comes back under its name, but only once the old one is gone for good."""

    author = "statefulset-controller"
    watches = ("statefulsets", "pods")

    def observe(self, event: Event) -> None:
        if event.resource == "statefulsets":
            self.enqueue(key_of(event.object))
        else:
            self.enqueue_owner(event.object, "StatefulSet")

    def reconcile(self, key: Key) -> None:
        stateful_set = self.cache.get("statefulsets", *key)
        if stateful_set is None or is_terminating(stateful_set):
            return
        self._settle(key, stateful_set)
        self.cache.refresh()
        self._report(key, stateful_set)

    def _pods(self, stateful_set: Object) -> dict[int, Object]:
        pods = self.cache.pods_of(stateful_set["metadata"]["uid"])
        return {ordinal_of(pod): pod for pod in pods}

    def _settle(self, key: Key, stateful_set: Object) -> None:
        """Up from the lowest missing ordinal, then down from the highest surplus one; never two moves at a time."""
        spec = stateful_set["spec"]
        one_by_one = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        pods = self._pods(stateful_set)
        wanted = spec.get("replicas", 1)
        for ordinal in range(wanted):
            pod = pods.get(ordinal)
            if pod is None:
                self._create(key, stateful_set, ordinal)
            elif is_finished(pod) and not is_terminating(pod):
                self.delete("pods", pod)
            elif is_ready(pod) and not is_terminating(pod):
                continue
            if one_by_one:
                return
        for ordinal in sorted((number for number in pods if number >= wanted), reverse=True):
            if not is_terminating(pods[ordinal]):
                self.delete("pods", pods[ordinal])
            if one_by_one:
                return

    def _create(self, key: Key, stateful_set: Object, ordinal: int) -> None:
        namespace, name = key[0], f"{key[1]}-{ordinal}"
        holder = self.cache.get("pods", namespace, name)
        if holder is not None and not owned_by(holder, stateful_set):
            return  # somebody else's pod has the name
        labels = {"statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": str(ordinal)}
        pod = pod_from(stateful_set["spec"]["template"], stateful_set, name=name, labels=labels)
        pod["spec"]["hostname"] = name
        for template in stateful_set["spec"].get("volumeClaimTemplates") or []:
            volume = template["metadata"]["name"]
            claim = f"{volume}-{name}"
            if self.cache.get("persistentvolumeclaims", namespace, claim) is None:
                self.create("persistentvolumeclaims", namespace, claim_from(template, claim, stateful_set))
            others = [item for item in pod["spec"].get("volumes") or [] if item["name"] != volume]
            pod["spec"]["volumes"] = [*others, {"name": volume, "persistentVolumeClaim": {"claimName": claim}}]
        self.create("pods", namespace, pod)

    def _report(self, key: Key, stateful_set: Object) -> None:
        current = self.cache.get("statefulsets", *key)
        if current is None:
            return
        pods = list(self._pods(stateful_set).values())
        ready = count_ready(pods)
        status = {
            "replicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "currentReplicas": len(pods),
            "updatedReplicas": len(pods),
            "observedGeneration": current["metadata"].get("generation", 1),
        }
        self.patch_status("statefulsets", current, status)


def ordinal_of(pod: Object) -> int:
    """The number at the end of the pod's name."""
    return int(pod["metadata"]["name"].rsplit("-", 1)[1])


def claim_from(template: Object, name: str, stateful_set: Object) -> Object:
    """A PersistentVolumeClaim of a volumeClaimTemplate. It has no owner: the data outlives pod and StatefulSet."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "labels": {**labels_of(template), **(stateful_set["spec"]["selector"].get("matchLabels") or {})},
        },
        "spec": copy.deepcopy(template["spec"]),
    }
