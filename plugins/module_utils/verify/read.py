# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking AWS and Kubernetes for what the checks need. One list of each kind a look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError, aws_errors
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import ALL_INSTANCE_TAGS
from ansible_collections.evergreen.eks.plugins.module_utils.departure import ENDED, LEAVING_TAG, LeavingMark
from ansible_collections.evergreen.eks.plugins.module_utils.eks.api import ask
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import node_groups, read_cluster
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version, parse_version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.gate import object_of
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    Group,
    Instance,
    LaunchLookup,
    describe_groups,
    instances_with_tag,
    launch_target,
)
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.lease import FORBIDDEN, Lease, read_lease
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node, is_finished, node_from, pod_name
from ansible_collections.evergreen.eks.plugins.module_utils.picture import lasting_containers, pod_from, take_picture
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import (
    MANAGED_TAG,
    MISSING,
    NOT_READY,
    READY,
    Attachment,
    CloudFacts,
    Injection,
    ManagedGroup,
    NodeGroup,
    Scene,
    Sidecar,
)

GROUP_TAG = "aws:autoscaling:groupName"
ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
# The names that AWS and Canonical give to images for EKS have the Kubernetes version in them:
# amazon-eks-node-al2023-x86_64-standard-1.33-v20261101, bottlerocket-aws-k8s-1.33-x86_64-v1.50.0-1f2e3d4c,
# Windows_Server-2022-English-Core-EKS_Optimized-1.33-2026.11.10, ubuntu-eks/k8s_1.33/images/...
FOR_KUBERNETES = re.compile(r"eks|k8s", re.IGNORECASE)
VERSION_IN_NAME = re.compile(r"(?:^|[-_])(1\.\d+)(?=[-_/]|$)")


# --- AWS -------------------------------------------------------------------------------------------------------------


def read_cloud(aws: Aws, cluster: str, names: Sequence[str]) -> CloudFacts:
    """What AWS says of the cluster and its node groups; `names` are such, whether they are tagged so or not.

    Raises AwsError, and GroupNotFound where a name is none.
    """
    control_plane = read_cluster(aws, cluster)
    groups = {group.name: group for group in describe_groups(aws, cluster=cluster)}
    foreign = [name for name in names if name not in groups and name not in _managed_names(groups.values())]
    if foreign:
        groups |= {group.name: group for group in describe_groups(aws, foreign)}
    return CloudFacts(
        cluster=control_plane,
        groups=tuple(with_images(aws, [groups[name] for name in sorted(groups)])),
        managed=tuple(_managed(aws, cluster, name) for name in node_groups(aws, cluster)),
        marked=tuple(_marked(aws, cluster, groups)),
    )


def _managed_names(groups: Iterable[Group]) -> set[str]:
    return {group.tags.get(MANAGED_TAG, "") for group in groups}


def with_images(aws: Aws, groups: Sequence[Group]) -> list[NodeGroup]:
    """The groups with what they would launch now; where that cannot be told, with the reason."""
    lookup = LaunchLookup(aws)
    images: dict[str, str] = {}
    problems: dict[str, str] = {}
    for group in groups:
        if group.tags.get(MANAGED_TAG):
            continue  # EKS sees to its template
        try:
            images[group.name] = launch_target(aws, group, lookup).image_id
        except EvergreenError as error:
            if getattr(error, "transient", False):
                raise
            problems[group.name] = error.message
    names = _image_names(aws, sorted({image for image in images.values() if image}))
    return [
        NodeGroup(
            group,
            image=(name := names.get(images.get(group.name, ""), "")),
            version=version_in(name),
            problem=problems.get(group.name, ""),
        )
        for group in groups
    ]


def version_in(image_name: str) -> Version | None:
    """The Kubernetes version of a node that starts from an image of this name, where it says one."""
    found = VERSION_IN_NAME.search(image_name) if FOR_KUBERNETES.search(image_name) else None
    return parse_version(found[1]) if found else None


def _image_names(aws: Aws, images: Sequence[str]) -> dict[str, str]:
    """Name by id; of images that are gone there is none. One that is gone fails the call for all."""
    if not images:
        return {}
    try:
        with aws_errors("ec2:DescribeImages", f"the images {', '.join(images[:3])}"):
            answer = aws.client("ec2").describe_images(ImageIds=list(images), IncludeDeprecated=True)
    except AwsError as error:
        if error.reason != "not_found" and "AMIID" not in error.code:
            raise
        alone = ([image] for image in images) if len(images) > 1 else ()
        return {key: name for some in alone for key, name in _image_names(aws, some).items()}
    return {image["ImageId"]: image.get("Name", "") for image in answer["Images"]}


def _managed(aws: Aws, cluster: str, name: str) -> ManagedGroup:
    subject = f"node group {name} of EKS cluster {cluster}"
    found = ask(aws, "DescribeNodegroup", subject, clusterName=cluster, nodegroupName=name)["nodegroup"]
    issues = (found.get("health") or {}).get("issues") or ()
    return ManagedGroup(
        name=name,
        version=parse_version(found.get("version") or ""),
        status=found.get("status", ""),
        issues=tuple(f"{issue.get('code', '')}: {issue.get('message', '')}" for issue in issues),
    )


def _marked(aws: Aws, cluster: str, groups: Mapping[str, Group]) -> list[Instance]:
    """Instances of these groups, or that have been, with a tag of ours; those that are ending are no trouble."""

    def is_ours(instance: Instance) -> bool:
        tags = instance.tags
        left = LeavingMark.parse(tags.get(LEAVING_TAG, "")).asg_name
        return tags.get(GROUP_TAG) in groups or left in groups or f"kubernetes.io/cluster/{cluster}" in tags

    found = instances_with_tag(aws, *ALL_INSTANCE_TAGS, LEAVING_TAG)
    return [instance for instance in found if instance.state not in ENDED and is_ours(instance)]


# --- Kubernetes ------------------------------------------------------------------------------------------------------


def read_scene(
    client: KubernetesClient, cloud: CloudFacts, cluster_uid: str, taken: str, sidecars: Sequence[Sidecar]
) -> Scene:
    """One look at the cluster, beside what AWS says. Raises KubernetesError.

    Needs the verb list on nodes, pods, deployments.apps, statefulsets.apps, daemonsets.apps and
    volumeattachments.storage.k8s.io, and get on the Lease kube-system/evergreen-eks.
    """
    nodes: dict[str, Node] = {}
    injections: dict[tuple[str, Sidecar], Injection] = {}

    def show_node(manifest: Mapping[str, Any]) -> None:
        nodes[manifest["metadata"]["name"]] = node_from(manifest)

    def show_pod(manifest: Mapping[str, Any]) -> None:
        for injection in injections_of(manifest, sidecars):
            injections[injection.pod, injection.sidecar] = injection

    picture = take_picture(client, cluster=cluster_uid, taken=taken, show_pod=show_pod, show_node=show_node)
    attachments, _version = client.list(ATTACHMENTS, keep=attachment_from)
    lock, hidden = read_lock(client)
    return Scene(
        picture=picture,
        cloud=cloud,
        # A list that was begun anew may have shown what is gone by now.
        nodes={node.name: nodes[node.name] for node in picture.nodes},
        injections=tuple(injections.values()),
        attachments=tuple(attachments),
        lease=lock,
        lease_hidden=hidden,
    )


def read_lock(client: KubernetesClient) -> tuple[Lease | None, bool]:
    """The Lease of the cluster, and whether it is hidden from us: who works without a lock needs no right to it."""
    try:
        return read_lease(client), False
    except KubernetesError as error:
        if error.status != FORBIDDEN:
            raise
        return None, True


def injections_of(pod: Mapping[str, Any], sidecars: Iterable[Sidecar]) -> list[Injection]:
    """What has become of the sidecars that a pod asks for; of one that has ended, or is ending, nothing is expected."""
    if pod["metadata"].get("deletionTimestamp") or is_finished(pod):
        return []
    asked = [sidecar for sidecar in sidecars if sidecar.is_asked_for(pod)]
    if not asked:
        return []
    there = {container["name"] for container in lasting_containers(pod.get("spec") or {})}
    status = pod.get("status") or {}
    ready = {
        one["name"]
        for kind in ("containerStatuses", "initContainerStatuses")
        for one in status.get(kind) or []
        if one.get("ready")
    }

    def state(container: str) -> str:
        return MISSING if container not in there else READY if container in ready else NOT_READY

    name = object_of(pod_from(pod))
    return [Injection(name, pod_name(pod), sidecar, state(sidecar.container)) for sidecar in asked]


def attachment_from(manifest: Mapping[str, Any]) -> Attachment:
    """The record of one VolumeAttachment as the API answers it."""
    metadata, spec, status = manifest["metadata"], manifest["spec"], manifest.get("status") or {}
    trouble = status.get("detachError") or status.get("attachError") or {}
    return Attachment(
        name=metadata["name"],
        driver=spec.get("attacher", ""),
        node=spec.get("nodeName", ""),
        attached=bool(status.get("attached")),
        leaving=bool(metadata.get("deletionTimestamp")),
        since=metadata.get("deletionTimestamp") or metadata.get("creationTimestamp") or "",
        error=trouble.get("message") or "",
    )
