# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kube-proxy, coredns and aws-node that EKS does not manage: their images, and the manifest that is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.eks.self_managed import (
    KINDS,
    back_up,
    from_manifest,
    parse_image,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError

REGISTRY = "602401143452.dkr.ecr.eu-central-1.amazonaws.com"


def manifest(name: str, *, init: dict[str, str] | None = None, **images: str) -> dict[str, Any]:
    containers = [{"name": key.replace("_", "-"), "image": image} for key, image in images.items()]
    spec: dict[str, Any] = {"containers": containers}
    if init:
        spec["initContainers"] = [{"name": key, "image": image} for key, image in init.items()]
    metadata = {"name": name, "namespace": "kube-system", "labels": {"k8s-app": name}, "uid": "u", "generation": 3}
    return {"metadata": metadata, "spec": {"template": {"spec": spec}}, "status": {"numberReady": 3}}


@pytest.mark.parametrize(
    ("addon", "image", "to", "result"),
    [
        (
            "kube-proxy",
            f"{REGISTRY}/eks/kube-proxy:v1.31.2-minimal-eksbuild.2",
            "v1.33.0-eksbuild.2",
            f"{REGISTRY}/eks/kube-proxy:v1.33.0-minimal-eksbuild.2",
        ),
        (
            "kube-proxy",
            "mirror.example.com:5000/aws/kube-proxy:v1.29.1-eksbuild.2",
            "v1.30.6-eksbuild.3",
            "mirror.example.com:5000/aws/kube-proxy:v1.30.6-eksbuild.3",
        ),
        (
            "coredns",
            f"{REGISTRY}/eks/coredns:v1.11.1-eksbuild.8",
            "v1.12.1-eksbuild.2",
            f"{REGISTRY}/eks/coredns:v1.12.1-eksbuild.2",
        ),
        (
            "vpc-cni",
            f"{REGISTRY}/amazon-k8s-cni:v1.18.5",
            "v1.19.2-eksbuild.1",
            f"{REGISTRY}/amazon-k8s-cni:v1.19.2",
        ),
    ],
)
def test_only_the_version_of_an_image_changes(addon: str, image: str, to: str, result: str) -> None:
    parsed = parse_image(image, KINDS[addon])
    assert parsed is not None
    assert (str(parsed), str(parsed.at(to))) == (image, result)


@pytest.mark.parametrize(
    ("addon", "image"),
    [
        ("kube-proxy", "registry.k8s.io/kube-proxy:v1.31.2"),
        ("coredns", "docker.io/coredns/coredns:1.11.1"),
        ("coredns", "registry.k8s.io/coredns/coredns:v1.11.1"),
        ("kube-proxy", f"{REGISTRY}/eks/kube-proxy"),
        ("kube-proxy", f"{REGISTRY}/eks/kube-proxy@sha256:{'a' * 64}"),
        ("kube-proxy", f"{REGISTRY}/eks/kube-proxy:v1.31.2-eksbuild.2@sha256:{'a' * 64}"),
        ("kube-proxy", "mirror.example.com:5000/kube-proxy"),
        ("vpc-cni", f"{REGISTRY}/eks/coredns:v1.11.1-eksbuild.8"),
    ],
)
def test_an_image_that_is_none_of_eks(addon: str, image: str) -> None:
    assert parse_image(image, KINDS[addon]) is None


def test_the_version_is_that_of_the_main_image_and_is_set_wherever_it_stands() -> None:
    agent = f"{REGISTRY}/amazon/aws-network-policy-agent:v1.2.7-eksbuild.1"
    init = {"aws-vpc-cni-init": f"{REGISTRY}/amazon-k8s-cni-init:v1.18.5"}
    images = {"aws_node": f"{REGISTRY}/amazon-k8s-cni:v1.18.5", "aws_eks_nodeagent": agent}
    workload = from_manifest(KINDS["vpc-cni"], manifest("aws-node", init=init, **images))
    assert (workload.version, workload.found) == ("v1.18.5", f"{REGISTRY}/amazon-k8s-cni:v1.18.5")
    assert workload.patch_to("v1.19.2-eksbuild.1") == {
        "spec": {
            "template": {
                "spec": {
                    "initContainers": [
                        {"name": "aws-vpc-cni-init", "image": f"{REGISTRY}/amazon-k8s-cni-init:v1.19.2"}
                    ],
                    "containers": [{"name": "aws-node", "image": f"{REGISTRY}/amazon-k8s-cni:v1.19.2"}],
                }
            }
        }
    }


def test_a_foreign_workload_has_no_version() -> None:
    workload = from_manifest(KINDS["coredns"], manifest("coredns", coredns="docker.io/coredns/coredns:1.11.1"))
    assert (workload.version, workload.image_at("v1.12.1-eksbuild.2")) == ("", "")
    assert workload.found == "docker.io/coredns/coredns:1.11.1"


def test_the_manifest_is_kept_for_its_owner_only_and_can_be_applied(tmp_path: Path) -> None:
    image = f"{REGISTRY}/eks/kube-proxy:v1.31.2-minimal-eksbuild.2"
    workload = from_manifest(KINDS["kube-proxy"], manifest("kube-proxy", kube_proxy=image))
    for _repeated in range(2):
        file = back_up(workload, tmp_path / "prod" / "backups")
    assert file.name == "kube-proxy.v1.31.2-eksbuild.2.json"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert (kept["apiVersion"], kept["kind"]) == ("apps/v1", "DaemonSet")
    assert kept["metadata"] == {"name": "kube-proxy", "namespace": "kube-system", "labels": {"k8s-app": "kube-proxy"}}
    assert kept["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert "status" not in kept
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_manifest_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    image = f"{REGISTRY}/eks/coredns:v1.11.1-eksbuild.8"
    workload = from_manifest(KINDS["coredns"], manifest("coredns", coredns=image))
    with pytest.raises(EvergreenError, match="The manifest of coredns cannot be kept in .*backup_dir") as caught:
        back_up(workload, tmp_path / "taken")
    assert caught.value.reason == "backup_unwritable"
