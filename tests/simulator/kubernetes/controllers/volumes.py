# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Persistent volumes: made in a zone, bound to a claim, attached to a node, and detached again."""

from __future__ import annotations

import math
from typing import Any

from simulator.kubernetes.controllers.cache import Event
from simulator.kubernetes.controllers.controller import Controller
from simulator.kubernetes.controllers.kubelet import CSI_DRIVER
from simulator.kubernetes.controllers.objects import (
    ZONE,
    Key,
    Object,
    annotations_of,
    condition_is,
    is_finished,
    is_terminating,
    key_of,
    labels_of,
    node_of,
    seconds_of,
    status_of,
    uid_of,
)
from simulator.kubernetes.controllers.predicates import OUT_OF_SERVICE_TAINT, claims_of
from simulator.kubernetes.controllers.scheduler import SELECTED_NODE

ATTACHER_FINALIZER = "external-attacher/ebs-csi-aws-com"


class PersistentVolumeController(Controller):
    """Makes an EBS volume where the scheduler wants the claim's first pod, and binds the two for good."""

    author = "persistentvolume-binder"
    watches = ("persistentvolumeclaims", "persistentvolumes")

    def observe(self, event: Event) -> None:
        if event.resource == "persistentvolumeclaims":
            if event.kind == "DELETED":
                self.enqueue(("release", event.object["spec"].get("volumeName") or ""))
            else:
                self.enqueue(("claim", key_of(event.object)))
        elif event.kind != "DELETED":
            self.enqueue(("volume", event.object["metadata"]["name"]))
            claim = event.object["spec"].get("claimRef") or {}
            self.enqueue(("claim", (claim.get("namespace", ""), claim.get("name", ""))))

    def reconcile(self, key: tuple[str, Any]) -> None:
        kind, subject = key
        if kind == "claim":
            self._bind(subject)
        elif kind == "volume":
            self._set_bound(subject)
        elif kind == "release":
            self._release(subject)
        elif kind == "provision":
            self._provision(subject)

    def _bind(self, key: Key) -> None:
        claim = self.cache.get("persistentvolumeclaims", *key)
        if claim is None or is_terminating(claim) or status_of(claim).get("phase") == "Bound":
            return
        name = claim["spec"].get("volumeName") or f"pvc-{uid_of(claim)}"
        volume = self.cache.get("persistentvolumes", "", name)
        if volume is None:
            if SELECTED_NODE in annotations_of(claim):
                self.later(("provision", key), self.timings.volume_provisions)
            return
        if not claim["spec"].get("volumeName"):
            self.patch("persistentvolumeclaims", claim, {"spec": {"volumeName": name}})
            return  # comes back with the change
        status = {
            "phase": "Bound",
            "accessModes": volume["spec"].get("accessModes"),
            "capacity": volume["spec"].get("capacity"),
        }
        self.patch_status("persistentvolumeclaims", claim, status)

    def _provision(self, key: Key) -> None:
        claim = self.cache.get("persistentvolumeclaims", *key)
        if claim is None or claim["spec"].get("volumeName"):
            return
        node = self.cache.get("nodes", "", annotations_of(claim).get(SELECTED_NODE, ""))
        if node is None:
            # The node went while the volume was being made: the scheduler chooses again.
            self.patch("persistentvolumeclaims", claim, {"metadata": {"annotations": {SELECTED_NODE: None}}})
            return
        if self.cache.get("persistentvolumes", "", f"pvc-{uid_of(claim)}") is None:
            self.create("persistentvolumes", "", volume_for(claim, labels_of(node).get(ZONE, "")))

    def _set_bound(self, name: str) -> None:
        volume = self.cache.get("persistentvolumes", "", name)
        if volume is not None and volume["spec"].get("claimRef") and status_of(volume).get("phase") == "Pending":
            self.patch_status("persistentvolumes", volume, {"phase": "Bound"})

    def _release(self, name: str) -> None:
        volume = self.cache.get("persistentvolumes", "", name)
        if volume is not None and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            self.delete("persistentvolumes", volume)


def volume_for(claim: Object, zone: str) -> Object:
    """An EBS volume for the claim; it can only ever be used in its zone."""
    spec: Object = {
        "capacity": {"storage": ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "1Gi")},
        "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Delete",
        "storageClassName": claim["spec"].get("storageClassName", ""),
        "csi": {"driver": CSI_DRIVER, "volumeHandle": f"vol-{uid_of(claim).replace('-', '')[:17]}"},
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": claim["metadata"]["namespace"],
            "name": claim["metadata"]["name"],
            "uid": uid_of(claim),
        },
    }
    if zone:
        only = {"key": ZONE, "operator": "In", "values": [zone]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [only]}]}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{uid_of(claim)}", "labels": {ZONE: zone} if zone else {}},
        "spec": spec,
    }


class AttachDetachController(Controller):
    """A VolumeAttachment for each volume that a pod on a node needs, from before the pod starts until it is gone.

    A volume is attached to one node at a time. It is detached when no pod on its node uses it and the kubelet has
    unmounted it; when the kubelet cannot say so (its node is not Ready, or gone), after six minutes, or at once when
    the node has the taint ``node.kubernetes.io/out-of-service``.

    Source: pkg/controller/volume/attachdetach/reconciler. Also plays the attacher of the CSI driver, which takes its
    own finalizer off the attachment when the cloud has done it.
    """

    author = "attach-detach-controller"
    watches = ("pods", "volumeattachments", "persistentvolumeclaims", "persistentvolumes", "nodes")

    def start(self) -> None:
        self._last_mounts: dict[str, list[str]] = {}  # nodes that are gone -> what their kubelets had mounted
        self._attached_at: dict[str, float] = {}  # attachment -> when the cloud will have done it
        self._unused_since: dict[str, float] = {}  # volume -> since when no pod on its node wants it

    def observe(self, event: Event) -> None:
        if event.resource == "pods":
            for name in claims_of(event.object):
                self._enqueue_claim(event.object["metadata"]["namespace"], name)
        elif event.resource == "persistentvolumeclaims":
            self._enqueue_claim(*key_of(event.object))
        elif event.resource == "volumeattachments":
            self.enqueue(_volume_of(event.object))
        elif event.resource == "persistentvolumes":
            self.enqueue(event.object["metadata"]["name"])
        elif event.kind != "MODIFIED" or event.old is None or _relevant(event.old) != _relevant(event.object):
            self._observe_node(event)

    def _observe_node(self, event: Event) -> None:
        name = event.object["metadata"]["name"]
        if event.kind == "DELETED":
            self._last_mounts[name] = status_of(event.object).get("volumesInUse") or []
        for attachment in self.cache.all("volumeattachments"):
            if attachment["spec"]["nodeName"] == name:
                self.enqueue(_volume_of(attachment))

    def _enqueue_claim(self, namespace: str, name: str) -> None:
        claim = self.cache.get("persistentvolumeclaims", namespace, name)
        if claim is not None and claim["spec"].get("volumeName"):
            self.enqueue(claim["spec"]["volumeName"])

    def reconcile(self, key: str) -> None:
        volume = self.cache.get("persistentvolumes", "", key)
        attachments = [item for item in self.cache.all("volumeattachments") if _volume_of(item) == key]
        wanted = self._wanted_on(volume) if volume is not None else []
        for attachment in attachments:
            if is_terminating(attachment):
                self._finish_detaching(key, attachment)
            elif attachment["spec"]["nodeName"] in wanted:
                self._unused_since.pop(key, None)
                self._finish_attaching(key, attachment)
            else:
                self._detach(key, attachment)
        if wanted and not attachments:
            name = f"csi-{key}-{wanted[0]}"
            self.create("volumeattachments", "", attachment_of(name, key, wanted[0]))

    def _wanted_on(self, volume: Object) -> list[str]:
        """The nodes on which a bound pod that is not finished has this volume, the one of the oldest pod first."""
        claim = volume["spec"].get("claimRef") or {}
        pods = [
            pod
            for pod in self.cache.namespaced("pods", claim.get("namespace", ""))
            if claim.get("name") in claims_of(pod) and node_of(pod) and not is_finished(pod)
        ]
        pods.sort(key=lambda pod: pod["metadata"]["creationTimestamp"])
        return [node_of(pod) for pod in pods if self.cache.get("nodes", "", node_of(pod)) is not None]

    def _finish_attaching(self, volume: str, attachment: Object) -> None:
        if status_of(attachment).get("attached"):
            return
        name, now = attachment["metadata"]["name"], self.clock.now()
        done = self._attached_at.setdefault(name, now + self.timings.volume_attaches)
        if now < done:
            self.agenda.put(volume, done)
        else:
            self.patch_status("volumeattachments", attachment, {"attached": True})

    def _detach(self, volume: str, attachment: Object) -> None:
        now = self.clock.now()
        since = self._unused_since.setdefault(volume, now)
        node = attachment["spec"]["nodeName"]
        forced_at = math.inf if self._healthy(node) else since + self.timings.volume_force_detach
        if self._mounted(volume, node) and now < forced_at:
            if forced_at != math.inf:
                self.agenda.put(volume, forced_at)
            return  # comes back when the node says otherwise
        self.delete("volumeattachments", attachment)

    def _healthy(self, name: str) -> bool:
        node = self.cache.get("nodes", "", name)
        return node is not None and condition_is(node, "Ready")

    def _mounted(self, volume: str, name: str) -> bool:
        """As the kubelet said last. A node that is gone without having unmounted counts as still using the volume."""
        mounted = f"kubernetes.io/csi/{CSI_DRIVER}^{volume}"
        node = self.cache.get("nodes", "", name)
        if node is None:
            return mounted in self._last_mounts.get(name, ())
        if any(taint["key"] == OUT_OF_SERVICE_TAINT for taint in (node.get("spec") or {}).get("taints") or []):
            return False
        return mounted in (status_of(node).get("volumesInUse") or [])

    def _finish_detaching(self, volume: str, attachment: Object) -> None:
        name = attachment["metadata"]["name"]
        done = seconds_of(attachment["metadata"]["deletionTimestamp"]) + self.timings.volume_detaches
        if self.clock.now() < done:
            self.agenda.put(volume, done)
            return
        self._attached_at.pop(name, None)
        self._unused_since.pop(volume, None)
        held = attachment["metadata"].get("finalizers") or []
        if ATTACHER_FINALIZER in held:
            others = [finalizer for finalizer in held if finalizer != ATTACHER_FINALIZER]
            self.patch("volumeattachments", attachment, {"metadata": {"finalizers": others or None}})


def attachment_of(name: str, volume: str, node: str) -> Object:
    """A VolumeAttachment; the finalizer stands for the work that the cloud still has when it is deleted."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": name, "finalizers": [ATTACHER_FINALIZER]},
        "spec": {"attacher": CSI_DRIVER, "nodeName": node, "source": {"persistentVolumeName": volume}},
    }


def _volume_of(attachment: Object) -> str:
    return attachment["spec"]["source"]["persistentVolumeName"]


def _relevant(node: Object) -> tuple[Any, Any]:
    return status_of(node).get("volumesInUse"), (node.get("spec") or {}).get("taints")
