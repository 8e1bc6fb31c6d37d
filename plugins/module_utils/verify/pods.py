# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of pods, workloads and volumes: kube-system, CSI drivers, sidecars, kube-proxy. Pure decisions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator

from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version, furthest_for, parse_version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.gate import KINDS, ailment, not_made_up_for, object_of
from ansible_collections.evergreen.eks.plugins.module_utils.naming import short_name
from ansible_collections.evergreen.eks.plugins.module_utils.picture import PodState, WorkloadState
from ansible_collections.evergreen.eks.plugins.module_utils.picture_difference import name_of, short_image
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import (
    ERROR,
    MISSING,
    NOT_READY,
    WARNING,
    Attachment,
    Finding,
    Injection,
    Scene,
    Wanted,
)

SYSTEM = "kube-system"
KUBE_PROXY = "DaemonSet kube-system/kube-proxy"
# A CSI driver by the name of its workload (ebs-csi-node, csi-secrets-store) or the helpers that all drivers run:
# https://kubernetes-csi.github.io/docs/sidecar-containers.html
CSI_NAME = re.compile(r"(^|[-_.])csi([-_.]|$)")
CSI_HELPERS = re.compile(r"^(csi-)?(node-driver-registrar|attacher|provisioner|resizer|snapshotter)(?=[:@]|$)")
TAG = re.compile(r":(v?\d+\.\d+[^@]*)")
NAMED = 3


def kube_system(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """What runs in kube-system is there in full, up to date and well; CSI drivers have a check of their own."""
    del wanted
    drivers = {name_of(workload) for workload in scene.picture.workloads if is_csi_driver(workload)}
    yield from unwell(
        scene,
        "kube_system",
        lambda workload: workload.namespace == SYSTEM and name_of(workload) not in drivers,
        lambda pod: pod.namespace == SYSTEM and object_of(pod) not in drivers,
    )


def csi_drivers(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """The same of CSI drivers, wherever they are; and volumes come to their nodes, and go."""
    del wanted
    drivers = {name_of(workload) for workload in scene.picture.workloads if is_csi_driver(workload)}
    yield from unwell(scene, "csi_drivers", is_csi_driver, lambda pod: object_of(pod) in drivers)
    for attachment in scene.attachments:
        if attachment.leaving or attachment.error or not attachment.attached:
            yield _stuck(attachment, attachment.node in scene.nodes)


def is_csi_driver(workload: WorkloadState) -> bool:
    """Whether this is a part of a CSI driver."""
    helpers = any(CSI_HELPERS.search(short_image(image)) for image in workload.images)
    return helpers or bool(CSI_NAME.search(workload.name))


def _stuck(attachment: Attachment, node_is_there: bool) -> Finding:
    """A volume on its way: it is waited for, and named when it does not arrive."""
    verb = "is still being detached from" if attachment.leaving else "is not attached to"
    gone = "" if node_is_there else ", which is gone"
    what = f"A volume of {attachment.driver} {verb} node {short_name(attachment.node)}{gone}"
    why = f": {attachment.error}" if attachment.error else ""
    return Finding(
        "csi_drivers",
        ERROR,
        f"VolumeAttachment {attachment.name}",
        f"{what} since {attachment.since}{why}",
        f"See the controller of {attachment.driver}, and kubectl describe volumeattachment {attachment.name}",
        passes=True,
    )


def unwell(
    scene: Scene, check: str, meant: Callable[[WorkloadState], bool], of: Callable[[PodState], bool]
) -> Iterator[Finding]:
    """Each workload that is not there in full, up to date and well, with what is wrong with its pods; and pods without
    a workload that are not well. One finding each."""
    pods: defaultdict[str, list[PodState]] = defaultdict(list)
    for pod in scene.picture.pods:
        if of(pod):
            pods[object_of(pod)].append(pod)
    workloads = {name_of(workload): workload for workload in scene.picture.workloads if meant(workload)}
    for name in sorted({*pods, *workloads}):
        workload, ill = workloads.get(name), _ill(pods.get(name, []))
        if workload is not None and (workload.lacking or workload.updating or ill):
            yield _workload(check, workload, ill)
        elif workload is None and ill:
            yield _pods(check, name, ill)


def _ill(pods: list[PodState]) -> list[str]:
    """What is wrong with which pods, in words."""
    texts = []
    for pod in not_made_up_for(pods):
        kind = ailment(pod)
        if kind:
            why = ", ".join(pod.reasons) or KINDS[kind]
            texts.append(f"{pod.name} is {why}{f' ({pod.message})' if pod.message else ''}")
    return sorted(texts)


def _workload(check: str, workload: WorkloadState, ill: list[str]) -> Finding:
    name = name_of(workload)
    facts = [f"{workload.ready} of {workload.wanted} pods Ready"]
    if workload.updating:
        facts.append(f"{workload.updated} of them up to date")
    # With updateStrategy OnDelete nobody replaces its pods until somebody deletes them.
    on_delete = workload.kind != "Deployment" and not workload.may_lack
    only_old = workload.updating and not workload.lacking and not ill
    where, kind = workload.namespace, workload.kind.lower()
    return Finding(
        check,
        WARNING if on_delete and only_old else ERROR,
        name,
        f"{name} has {', '.join(facts)}{_first(ill)}",
        (
            "Delete its old pods, one after the other"
            if on_delete and only_old
            else f"kubectl -n {where} describe {kind} {workload.name}, and its pods"
        ),
        passes=not (on_delete and only_old),
    )


def _pods(check: str, name: str, ill: list[str]) -> Finding:
    """Pods of a Job, or of nobody. A Job that fails does no harm to others."""
    job = name.startswith(("Job ", "CronJob "))
    return Finding(
        check,
        WARNING if job else ERROR,
        name,
        f"{name} is not well{_first(ill)}",
        "See its pods with kubectl describe and kubectl logs",
        passes=not job,
    )


def _first(texts: list[str]) -> str:
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return f": {'; '.join(texts[:NAMED])}{more}" if texts else ""


def sidecars(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """Pods that ask for a sidecar have it, and it is Ready. One that came without never gets it."""
    found: defaultdict[tuple[str, str, str], list[Injection]] = defaultdict(list)
    for injection in scene.injections:
        found[injection.object, injection.sidecar.container, injection.state].append(injection)
    for (name, container, state), injections in sorted(found.items(), key=lambda item: item[0]):
        pods = sorted(injection.pod.partition("/")[2] for injection in injections)
        names = ", ".join(pods[:NAMED]) + (f" and {len(pods) - NAMED} more" if len(pods) > NAMED else "")
        number = counted(len(pods), "pod")
        if state == MISSING:
            message = f"{name} has {number} without the sidecar {container}: {names}"
            remedy = "See that the injector works, then restart it (workload_restart)"
            yield Finding("sidecars", ERROR, name, message, remedy)
        elif state == NOT_READY:
            message = f"{name} has {number} whose sidecar {container} is not Ready: {names}"
            remedy = f"See its log: kubectl logs POD -c {container}"
            yield Finding("sidecars", ERROR, name, message, remedy, passes=True)
    asked = {injection.sidecar for injection in scene.injections}
    for sidecar in wanted.sidecars:
        if sidecar not in asked:
            name = f"Annotation {sidecar.annotation}={sidecar.value}"
            message = f"No pod carries the annotation {sidecar.annotation}={sidecar.value}"
            yield Finding("sidecars", WARNING, name, message, "Check how it is written, or leave it out")


def kube_proxy(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """The image of kube-proxy is of the version that is wanted.

    "kube-proxy must not be newer than kube-apiserver" and "may be up to three minor versions older" (kubernetes.io,
    "Version Skew Policy"). Where it is replaced (Cilium) there is none.
    """
    workload = next((one for one in scene.picture.workloads if name_of(one) == KUBE_PROXY), None)
    version = image_version(workload.images[0]) if workload and workload.images else None
    if workload is None or version is None or version == wanted.version:
        return
    control_plane = scene.cloud.cluster.version
    beyond = version > control_plane or furthest_for(version) < control_plane
    allowed = f"which does not go with a control plane of {control_plane}" if beyond else f"{wanted.version} is wanted"
    yield Finding(
        "kube_proxy",
        ERROR if beyond else WARNING,
        KUBE_PROXY,
        f"{KUBE_PROXY} runs {short_image(workload.images[0])}, {allowed}",
        "Update the add-on kube-proxy (role addons; addons_self_managed=set where EKS does not manage it)",
    )


def image_version(image: str) -> Version | None:
    """The version in the tag of an image, None where there is none in it."""
    found = TAG.search(short_image(image))
    return parse_version(found[1]) if found else None
