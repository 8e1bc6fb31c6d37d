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
from simulator.kubernetes.controllers.pods import REVISION, count_ready, is_of_revision, pod_from, template_hash


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
        self._roll(stateful_set, pods)

    def _roll(self, stateful_set: Object, pods: dict[int, Object]) -> None:
        """One step of a rolling update: the highest ordinal that is of an older template, once all above are Ready
        (updateStrategy of "StatefulSets" in the Kubernetes documentation); those below the partition stay."""
        strategy = stateful_set["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
        revision = template_hash(stateful_set["spec"]["template"])
        for ordinal in range(stateful_set["spec"].get("replicas", 1) - 1, partition - 1, -1):
            pod = pods.get(ordinal)
            if pod is None or is_terminating(pod):
                return
            if not is_of_revision(pod, revision):
                self.delete("pods", pod)
                return
            if not is_ready(pod):
                return

    def _create(self, key: Key, stateful_set: Object, ordinal: int) -> None:
        namespace, name = key[0], f"{key[1]}-{ordinal}"
        holder = self.cache.get("pods", namespace, name)
        if holder is not None and not owned_by(holder, stateful_set):
            return  # somebody else's pod has the name
        labels = {"statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": str(ordinal)}
        labels[REVISION] = template_hash(stateful_set["spec"]["template"])
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
        revision = template_hash(current["spec"]["template"])
        updated = sum(1 for pod in pods if is_of_revision(pod, revision))
        whole = updated == len(pods)
        before = (current.get("status") or {}).get("currentRevision", "")
        status = {
            "replicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "currentReplicas": len(pods) if whole else len(pods) - updated,
            "updatedReplicas": updated,
            "currentRevision": before if before and not whole else f"{key[1]}-{revision}",
            "updateRevision": f"{key[1]}-{revision}",
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
