# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from unit.pictures import NOW, pod, workload
from unit.verifications import NEW, OLD, WANTED, a_cluster, a_ready_node, a_scene, only, told

from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version
from ansible_collections.evergreen.eks.plugins.module_utils.verify.pods import (
    csi_drivers,
    image_version,
    is_csi_driver,
    kube_proxy,
    kube_system,
    sidecars,
)
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import (
    ERROR,
    MISSING,
    NOT_READY,
    READY,
    WARNING,
    Attachment,
    Injection,
    Sidecar,
    Wanted,
)

SYSTEM = {"namespace": "kube-system"}
VAULT = Sidecar("vault.hashicorp.com/agent-inject", "true", "vault-agent")


def dns(ready: int = 2, **changes: Any) -> Any:
    return workload("coredns", ready, 2, **{**SYSTEM, **changes})


def dns_pod(name: str, *reasons: str, **changes: Any) -> Any:
    return pod(name, *reasons, owner="Deployment/coredns", **{**SYSTEM, **changes})


# ---- kube-system


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([dns(), dns_pod("coredns-1"), dns_pod("coredns-2")], None),
        ([dns(1)], "has 1 of 2 pods Ready"),
        ([dns(updated=1)], "has 2 of 2 pods Ready, 1 of them up to date"),
        (
            [dns(1), dns_pod("coredns-1", "ImagePullBackOff", message="not found")],
            "has 1 of 2 pods Ready: coredns-1 is ImagePullBackOff (not found)",
        ),
        ([dns(), dns_pod("coredns-1", "CrashLoopBackOff")], "has 2 of 2 pods Ready: coredns-1 is CrashLoopBackOff"),
        ([dns(), dns_pod("coredns-1", phase="Pending")], "has 2 of 2 pods Ready: coredns-1 is Pending"),
        ([dns(), dns_pod("coredns-1", "CrashLoopBackOff", leaving=True)], None),
        ([workload("web", 0)], None),  # another namespace
    ],
)
def test_kube_system_is_there_in_full_up_to_date_and_well(items: list[Any], words: str | None) -> None:
    found = list(kube_system(a_scene(*items), WANTED))
    assert [one.message for one in found] == ([f"Deployment kube-system/coredns {words}"] if words else [])
    assert all(one.severity == ERROR and one.passes for one in found)


def test_old_pods_that_nobody_replaces_by_himself_are_a_warning() -> None:
    agent = workload("agent", 3, 3, kind="DaemonSet", updated=1, may_lack=0, **SYSTEM)
    found = only(kube_system(a_scene(agent), WANTED))
    assert (found.severity, found.passes) == (WARNING, False) and "Delete its old pods" in found.remedy


def test_a_job_that_fails_harms_nobody_and_a_pod_alone_may() -> None:
    scene = a_scene(
        pod("clean-1", "Error", owner="CronJob/clean", phase="Failed", **SYSTEM),
        pod("alone", "CrashLoopBackOff", owner="", **SYSTEM),
    )
    assert told(kube_system(scene, WANTED)) == [
        (WARNING, "CronJob kube-system/clean"),
        (ERROR, "Pod kube-system/alone"),
    ]


def test_the_first_few_pods_are_named() -> None:
    pods = [dns_pod(f"coredns-{number}", "Error") for number in range(5)]
    message = only(kube_system(a_scene(dns(0), *pods), WANTED)).message
    assert message.endswith("coredns-0 is Error; coredns-1 is Error; coredns-2 is Error and 2 more")


# ---- CSI drivers


@pytest.mark.parametrize(
    ("name", "images", "is_one"),
    [
        ("ebs-csi-node", (), True),
        ("csi-secrets-store", (), True),
        ("node-agent", ("a/vendor:1", "registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.15.0"), True),
        ("controller", ("quay.io/k8scsi/csi-provisioner:v5.3.0",), True),
        ("fluentd-csiro", ("x/csiro:1",), False),
        ("web", ("x/web:1", "x/attacher-ui:1"), False),
    ],
)
def test_what_a_csi_driver_is(name: str, images: tuple[str, ...], is_one: bool) -> None:
    assert is_csi_driver(workload(name, images=images)) is is_one


def test_csi_drivers_are_looked_at_wherever_they_are_and_only_once() -> None:
    here = workload("ebs-csi-node", 1, kind="DaemonSet", **SYSTEM)
    there = workload("csi-driver", 1, namespace="storage")
    scene = a_scene(here, there)
    assert told(csi_drivers(scene, WANTED)) == [
        (ERROR, "DaemonSet kube-system/ebs-csi-node"),
        (ERROR, "Deployment storage/csi-driver"),
    ]
    assert list(kube_system(scene, WANTED)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"attached": False}, "A volume of ebs.csi.aws.com is not attached to node a since"),
        ({"attached": False, "error": "too many"}, "Z: too many"),
        ({"leaving": True}, "is still being detached from node a since"),
        ({"leaving": True, "node": "b"}, "detached from node b, which is gone since"),
    ],
)
def test_a_volume_that_is_stuck(changes: dict[str, Any], words: str | None) -> None:
    values = {"attached": True, "leaving": False, "node": "a", **changes}
    attachment = Attachment(name="csi-1", driver="ebs.csi.aws.com", since=NOW, **values)
    found = list(csi_drivers(a_scene(a_ready_node("a"), attachments=(attachment,)), WANTED))
    assert [words in one.message for one in found] == ([True] if words else []) and all(one.passes for one in found)


# ---- sidecars


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([READY, READY], []),
        ([READY, MISSING], [(ERROR, False, "has 1 pod without the sidecar vault-agent: web-1")]),
        ([NOT_READY], [(ERROR, True, "has 1 pod whose sidecar vault-agent is not Ready: web-0")]),
        (
            [MISSING, MISSING, NOT_READY],
            [
                (ERROR, False, "has 2 pods without the sidecar vault-agent: web-0, web-1"),
                (ERROR, True, "has 1 pod whose sidecar vault-agent is not Ready: web-2"),
            ],
        ),
    ],
)
def test_sidecars_are_there(states: list[str], expected: list[tuple[str, bool, str]]) -> None:
    injections = tuple(
        Injection("Deployment shop/web", f"shop/web-{number}", VAULT, state) for number, state in enumerate(states)
    )
    found = list(sidecars(a_scene(injections=injections), Wanted(NEW, sidecars=(VAULT,))))
    assert [(one.severity, one.passes, one.message.removeprefix("Deployment shop/web ")) for one in found] == expected


def test_an_annotation_that_nobody_carries_may_be_written_wrong() -> None:
    found = only(sidecars(a_scene(), Wanted(NEW, sidecars=(VAULT,))))
    assert (found.severity, found.object) == (WARNING, "Annotation vault.hashicorp.com/agent-inject=true")


# ---- kube-proxy


@pytest.mark.parametrize(
    ("image", "severity"),
    [
        ("602401143452.dkr.ecr/eks/kube-proxy:v1.33.0-minimal-eksbuild.2", None),
        ("eks/kube-proxy:v1.31.2-eksbuild.2", WARNING),
        ("eks/kube-proxy:v1.29.0", ERROR),
        ("eks/kube-proxy:v1.34.0", ERROR),
        ("own:5000/kube-proxy@sha256:0f", None),  # nobody can tell
    ],
)
def test_the_image_of_kube_proxy_fits(image: str, severity: str | None) -> None:
    proxy = workload("kube-proxy", kind="DaemonSet", images=(image,), **SYSTEM)
    expected = [(severity, "DaemonSet kube-system/kube-proxy")] if severity else []
    assert told(kube_proxy(a_scene(proxy), WANTED)) == expected


def test_there_need_not_be_a_kube_proxy() -> None:
    assert list(kube_proxy(a_scene(), WANTED)) == []


def test_the_control_plane_says_what_a_kube_proxy_must_not_be() -> None:
    proxy = workload("kube-proxy", kind="DaemonSet", images=("kube-proxy:v1.33.0",), **SYSTEM)
    assert told(kube_proxy(a_scene(proxy, cluster=a_cluster(OLD)), Wanted(OLD))) == [
        (ERROR, "DaemonSet kube-system/kube-proxy")
    ]


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("a/b:v1.31.2-eksbuild.2", Version(1, 31)),
        ("a:5000/b:1.33", Version(1, 33)),
        ("a/b:v1.31.2@sha256:00", Version(1, 31)),
        ("a/b:latest", None),
        ("a/b", None),
    ],
)
def test_the_version_of_an_image(image: str, version: Version | None) -> None:
    assert image_version(image) == version
