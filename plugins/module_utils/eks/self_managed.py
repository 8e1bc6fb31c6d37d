# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kube-proxy, coredns and aws-node where EKS does not manage them: which image they have, should have, and get.

EKS once put them into every cluster and then left them alone ("Update the kube-proxy self-managed add-on" and its like
of the User Guide). The image stays in the registry and repository it comes from, which may be a mirror, and keeps its
type: `minimal` ones and others take different arguments. Only its version changes.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.private_file import replace_privately

NAMESPACE = "kube-system"
PATHS = {"DaemonSet": "daemonsets", "Deployment": "deployments"}
# What the API server says of an object, and nobody applies.
NOT_APPLIED = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")


@dataclass(frozen=True)
class Kind:
    """One of the three: its workload, and the images in it that have the add-on's version, the main one first.

    `plain`: AWS's own manifests name releases without a build (C(v1.20.4)).
    """

    addon: str
    kind: str
    name: str
    images: tuple[str, ...]
    plain: bool = False

    @property
    def path(self) -> str:
        return f"/apis/apps/v1/namespaces/{NAMESPACE}/{PATHS[self.kind]}/{self.name}"


KINDS = {
    kind.addon: kind
    for kind in (
        Kind("vpc-cni", "DaemonSet", "aws-node", ("amazon-k8s-cni", "amazon-k8s-cni-init"), plain=True),
        Kind("kube-proxy", "DaemonSet", "kube-proxy", ("kube-proxy",)),
        Kind("coredns", "Deployment", "coredns", ("coredns",)),
    )
}
# `v1.31.2-minimal-eksbuild.2`
TAG = re.compile(r"(?P<release>v\d+\.\d+\.\d+)(?P<type>-minimal)?(?P<build>-eksbuild\.\d+)?")


@dataclass(frozen=True)
class Image:
    """An image of an add-on; `version` is that of the add-on (C(v1.31.2-eksbuild.2)), `type` is C(-minimal) or ""."""

    repository: str
    version: str
    type: str = ""

    @property
    def name(self) -> str:
        """The last part of the repository."""
        return self.repository.rpartition("/")[2]

    def at(self, version: str) -> Image:
        """The same in another version of the add-on; an image without a build goes on without."""
        release, dash, build = version.partition("-eksbuild.")
        return Image(self.repository, f"{release}{dash}{build}" if "-eksbuild." in self.version else release, self.type)

    def __str__(self) -> str:
        release, dash, build = self.version.partition("-eksbuild.")
        return f"{self.repository}:{release}{self.type}{dash}{build}"


@dataclass(frozen=True)
class SelfManaged:
    """One of the three as it is in the cluster. `images`: those of its containers, by the container's name."""

    kind: Kind
    manifest: Mapping[str, Any]
    images: Mapping[str, Image]
    found: str  # the main image as it is written there

    @property
    def addon(self) -> str:
        return self.kind.addon

    @property
    def image(self) -> Optional[Image]:
        """The main image; None where it is none of EKS's."""
        main = self.kind.images[0]
        return next((image for image in self.images.values() if image.name == main), None)

    @property
    def version(self) -> str:
        """Its version, as the add-on's is written; "" where it is no image of EKS."""
        return self.image.version if self.image else ""

    def image_at(self, version: str) -> str:
        """The main image in that version of the add-on."""
        return str(self.image.at(version)) if self.image else ""

    def patch_to(self, version: str) -> dict[str, Any]:
        """The strategic merge patch that sets all its images, and nothing else."""
        spec: dict[str, Any] = {}
        for part in ("initContainers", "containers"):
            names = [one["name"] for one in _pod_spec(self.manifest).get(part) or [] if one["name"] in self.images]
            if names:
                spec[part] = [{"name": name, "image": str(self.images[name].at(version))} for name in names]
        return {"spec": {"template": {"spec": spec}}}


def parse_image(text: str, kind: Kind) -> Optional[Image]:
    """The image, where it is one of EKS's for this add-on, from whichever registry; None for all others."""
    repository, colon, tag = text.rpartition(":")
    found = TAG.fullmatch(tag)
    if not colon or not found or "@" in repository or not (found["build"] or kind.plain):
        return None
    image = Image(repository, f"{found['release']}{found['build'] or ''}", found["type"] or "")
    return image if image.name in kind.images else None


def from_manifest(kind: Kind, manifest: Mapping[str, Any]) -> SelfManaged:
    """What we need of its workload."""
    containers = list(_containers(manifest))
    parsed = {one["name"]: parse_image(one.get("image", ""), kind) for one in containers}
    main = next((one for one in containers if one["name"] == kind.name), containers[-1])
    return SelfManaged(
        kind, manifest, {name: image for name, image in parsed.items() if image is not None}, main.get("image", "")
    )


def read_self_managed(client: KubernetesClient, addon: str) -> Optional[SelfManaged]:
    """None where the cluster has none. Needs the verb list on daemonsets.apps and deployments.apps."""
    kind = KINDS[addon]
    collection = kind.path.rpartition("/")[0]
    items, _version = client.list(collection, field_selector=f"metadata.name={kind.name}")
    return from_manifest(kind, items[0]) if items else None


def set_image(client: KubernetesClient, workload: SelfManaged, version: str) -> None:
    """Set its images: absolute, so that it may be repeated. Needs the verb patch on the workload's kind."""
    try:
        client.patch(workload.kind.path, workload.patch_to(version), kind="strategic")
    except KubernetesError as error:
        error.details["addon"] = workload.addon
        raise


def back_up(workload: SelfManaged, directory: Path) -> Path:
    """Keep the manifest as it is, readable by its owner only, fit for C(kubectl apply -f); answers the file.

    Its name is that of what is in it: repeated before the image is set, it is the same file.
    """
    file = directory / f"{workload.addon}.{workload.version}.json"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_privately(file, json.dumps(applicable(workload), indent=1).encode())
    except OSError as error:
        raise EvergreenError(
            f"The manifest of {workload.kind.name} cannot be kept in {file}: {error.strerror}",
            reason="backup_unwritable",
            remedy="Name a directory that can be written in backup_dir; nothing was changed there",
            addon=workload.addon,
        ) from error
    return file


def applicable(workload: SelfManaged) -> dict[str, Any]:
    """The manifest without what the API server adds to it."""
    manifest = copy.deepcopy(dict(workload.manifest))
    manifest.pop("status", None)
    manifest["metadata"] = {name: value for name, value in manifest["metadata"].items() if name not in NOT_APPLIED}
    return {"apiVersion": "apps/v1", "kind": workload.kind.kind, **manifest}


def _pod_spec(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    return manifest["spec"]["template"]["spec"]


def _containers(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for part in ("initContainers", "containers"):
        yield from _pod_spec(manifest).get(part) or []
