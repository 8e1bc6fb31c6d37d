# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes that are still attached to nodes whose pods have gone.

A volume is detached after its last pod on the node has gone and the kubelet has unmounted it. An instance that is
terminated before keeps it for six minutes (maxWaitForUnmountDuration of the attach/detach controller), in which the pod
that needs it does not start elsewhere. The API server shows it as a VolumeAttachment until it is detached.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError

ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
CLAIM = "/api/v1/namespaces/{}/persistentvolumeclaims/{}"


@dataclass(frozen=True)
class Attachment:
    """A volume on a node. ``volume``: the PersistentVolume; for one that a pod names itself, the attachment's name."""

    name: str
    node_name: str
    volume: str


def attachment_from(manifest: Mapping[str, Any]) -> Attachment:
    """The record of one VolumeAttachment as the API answers it."""
    spec, name = manifest["spec"], manifest["metadata"]["name"]
    return Attachment(name, spec["nodeName"], spec["source"].get("persistentVolumeName") or name)


class Attachments:
    """All attachments of the cluster, as a watch tells them."""

    def __init__(self) -> None:
        self.known = False
        self._attached: dict[str, Attachment] = {}

    def see_all(self, attachments: Iterable[Attachment]) -> None:
        self._attached = {attachment.name: attachment for attachment in attachments}
        self.known = True

    def see(self, attachment: Attachment) -> None:
        self._attached[attachment.name] = attachment

    def see_gone(self, name: str) -> str:
        """One has been detached; answers from which node, "" where it was not known."""
        attachment = self._attached.pop(name, None)
        return attachment.node_name if attachment else ""

    def left(self, node_name: str, staying: Collection[str] = ()) -> list[str]:
        """The volumes that are attached to the node, but those of pods that stay."""
        on_it = {attachment.volume for attachment in self._attached.values() if attachment.node_name == node_name}
        return sorted(on_it.difference(staying))


def volumes_of(client: KubernetesClient, pods: Iterable[Pod]) -> frozenset[str]:
    """The PersistentVolumes behind the claims of these pods. Needs the verb get on persistentvolumeclaims, if any of
    them has one."""
    claims = {(pod.namespace, name) for pod in pods for name in pod.claims}
    return frozenset(filter(None, (_volume_of(client, *claim) for claim in sorted(claims))))


def _volume_of(client: KubernetesClient, namespace: str, name: str) -> str:
    """The volume of one claim; "" where it has none, or is gone."""
    try:
        claim = client.get(CLAIM.format(namespace, name))
    except KubernetesError as error:
        if error.status == 404:
            return ""
        raise
    return (claim.get("spec") or {}).get("volumeName") or ""
