# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from unit.scripted_aws import NEW_IMAGE, OLD_IMAGE, TEMPLATE, group_entry, instance_entry, scripted_aws, template_answer

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version
from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import parse_group
from ansible_collections.evergreen.eks.plugins.module_utils.verify.read import (
    attachment_from,
    injections_of,
    read_cloud,
    version_in,
    with_images,
)
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import (
    MISSING,
    NOT_READY,
    READY,
    ManagedGroup,
    Sidecar,
)

VAULT = Sidecar("vault.hashicorp.com/agent-inject", "true", "vault-agent")
AL2023 = "amazon-eks-node-al2023-x86_64-standard-1.33-v20261101"


@pytest.mark.parametrize(
    ("name", "version"),
    [
        (AL2023, "1.33"),
        ("amazon-eks-node-1.31-v20261101", "1.31"),
        ("amazon-eks-arm64-node-1.31-v20261101", "1.31"),
        ("bottlerocket-aws-k8s-1.33-nvidia-x86_64-v1.50.0-1f2e3d4c", "1.33"),
        ("Windows_Server-2022-English-Core-EKS_Optimized-1.33-2026.11.10", "1.33"),
        ("ubuntu-eks/k8s_1.33/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20261101", "1.33"),
        ("our-base-image-1.20-17", None),
        ("our-eks-image", None),
        ("", None),
    ],
)
def test_the_version_that_the_name_of_an_image_says(name: str, version: str | None) -> None:
    found = version_in(name)
    assert (str(found) if found else None) == version


def expect_template(aws: Any, version: int = 2, **data: Any) -> None:
    answer = template_answer(version, **data)
    aws.expect(
        "ec2",
        "describe_launch_template_versions",
        answer,
        LaunchTemplateId=TEMPLATE,
        Versions=["$Latest"],
        ResolveAlias=True,
    )


def test_a_group_has_the_name_of_the_image_that_it_would_launch() -> None:
    with scripted_aws() as aws:
        expect_template(aws)
        answer = {"Images": [{"ImageId": NEW_IMAGE, "Name": AL2023}]}
        aws.expect("ec2", "describe_images", answer, ImageIds=[NEW_IMAGE], IncludeDeprecated=True)
        found = with_images(aws.aws, [parse_group(group_entry())])
    assert (found[0].image, found[0].version, found[0].problem) == (AL2023, Version(1, 33), "")


def test_one_image_that_is_gone_hides_no_other() -> None:
    another = {"LaunchTemplateId": "lt-0b", "Version": "1"}
    groups = [parse_group(group_entry(name="a")), parse_group(group_entry(name="b", LaunchTemplate=another))]
    with scripted_aws() as aws:
        expect_template(aws)
        other = template_answer(1, "lt-0b", ImageId=OLD_IMAGE)
        aws.expect(
            "ec2",
            "describe_launch_template_versions",
            other,
            LaunchTemplateId="lt-0b",
            Versions=["1"],
            ResolveAlias=True,
        )
        both, gone = sorted([NEW_IMAGE, OLD_IMAGE]), "The image id '[ami-x]' does not exist"
        aws.fail("ec2", "describe_images", "InvalidAMIID.NotFound", gone, ImageIds=both, IncludeDeprecated=True)
        aws.fail("ec2", "describe_images", "InvalidAMIID.NotFound", gone, ImageIds=[both[0]], IncludeDeprecated=True)
        answer = {"Images": [{"ImageId": both[1], "Name": AL2023}]}
        aws.expect("ec2", "describe_images", answer, ImageIds=[both[1]], IncludeDeprecated=True)
        found = {one.name: one.version for one in with_images(aws.aws, groups)}
    assert found == {"a": Version(1, 33), "b": None}


def test_a_group_whose_template_is_gone_says_so() -> None:
    with scripted_aws() as aws:
        aws.fail(
            "ec2",
            "describe_launch_template_versions",
            "InvalidLaunchTemplateId.NotFound",
            "it does not exist",
            LaunchTemplateId=TEMPLATE,
            Versions=["$Latest"],
            ResolveAlias=True,
        )
        (found,) = with_images(aws.aws, [parse_group(group_entry())])
    assert "it does not exist" in found.problem and found.version is None


def test_a_right_to_images_that_is_missing_is_named() -> None:
    with scripted_aws() as aws:
        expect_template(aws)
        aws.fail("ec2", "describe_images", "UnauthorizedOperation", "no", ImageIds=[NEW_IMAGE], IncludeDeprecated=True)
        with pytest.raises(AwsError) as caught:
            with_images(aws.aws, [parse_group(group_entry())])
    assert caught.value.reason == "access_denied" and "ec2:DescribeImages" in caught.value.remedy


def test_the_cluster_its_groups_and_what_carries_our_tags() -> None:
    """The groups are those that are tagged, and those that are named; EKS's own are known by their own name, too."""
    managed = {"Key": "eks:nodegroup-name", "Value": "web", "ResourceId": "x", "ResourceType": "x"}
    web = group_entry(name="eks-web", Tags=[{**managed, "PropagateAtLaunch": True}])
    with scripted_aws() as aws:
        aws.expect(
            "eks", "describe_cluster", {"cluster": {"name": "c", "version": "1.33", "status": "ACTIVE"}}, name="c"
        )
        tagged = [{"Name": "tag-key", "Values": ["kubernetes.io/cluster/c"]}]
        aws.expect(
            "autoscaling",
            "describe_auto_scaling_groups",
            {"AutoScalingGroups": [web]},
            Filters=tagged,
            MaxRecords=100,
        )
        aws.expect_group(name="shared")
        expect_template(aws)
        answer = {"Images": [{"ImageId": NEW_IMAGE, "Name": AL2023}]}
        aws.expect("ec2", "describe_images", answer, ImageIds=[NEW_IMAGE], IncludeDeprecated=True)
        aws.expect("eks", "list_nodegroups", {"nodegroups": ["web"]}, clusterName="c")
        nodegroup = {
            "nodegroupName": "web",
            "version": "1.31",
            "status": "DEGRADED",
            "health": {"issues": [{"code": "AccessDenied", "message": "no"}]},
        }
        aws.expect("eks", "describe_nodegroup", {"nodegroup": nodegroup}, clusterName="c", nodegroupName="web")
        keys = ["evergreen.eks/member", "evergreen.eks/departure", "evergreen.eks/leaving"]

        def instance(number: int, **tags: str) -> dict[str, Any]:
            state = {"Name": "terminated" if number == 5 else "running", "Code": 0}
            named = [{"Key": key, "Value": value} for key, value in tags.items()]
            return instance_entry(f"i-{number:08}", Tags=named, State=state)

        instances = [
            instance(1, **{"aws:autoscaling:groupName": "shared", "evergreen.eks/member": "x"}),
            instance(2, **{"evergreen.eks/leaving": "r-1/stopped/shared"}),
            instance(3, **{"kubernetes.io/cluster/c": "owned"}),
            instance(4, **{"aws:autoscaling:groupName": "another"}),
            instance(5, **{"aws:autoscaling:groupName": "shared"}),
        ]
        answer = {"Reservations": [{"Instances": instances}]}
        aws.expect("ec2", "describe_instances", answer, Filters=[{"Name": "tag-key", "Values": keys}])
        found = read_cloud(aws.aws, "c", ["shared", "web"])
    assert [(one.name, one.managed, str(one.version)) for one in found.groups] == [
        ("eks-web", "web", "None"),
        ("shared", "", "1.33"),
    ]
    assert found.managed == (ManagedGroup("web", Version(1, 31), "DEGRADED", ("AccessDenied: no",)),)
    assert [one.instance_id for one in found.marked] == ["i-00000001", "i-00000002", "i-00000003"]


# ---- Kubernetes


def a_pod(containers: dict[str, bool], sidecars: dict[str, bool] | None = None, **metadata: Any) -> dict[str, Any]:
    """A pod with these containers, each Ready or not; `sidecars` are init containers that run on."""
    inits = [{"name": name, "restartPolicy": "Always"} for name in sidecars or {}]
    return {
        "metadata": {
            "namespace": "shop",
            "name": "web-1",
            "annotations": {VAULT.annotation: "true"},
            **metadata,
        },
        "spec": {
            "containers": [{"name": name} for name in containers],
            "initContainers": [{"name": "setup"}, *inits],
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": name, "ready": ready} for name, ready in containers.items()],
            "initContainerStatuses": [{"name": name, "ready": ready} for name, ready in (sidecars or {}).items()],
        },
    }


@pytest.mark.parametrize(
    ("pod", "states"),
    [
        (a_pod({"web": True, "vault-agent": True}), [READY]),
        (a_pod({"web": True, "vault-agent": False}), [NOT_READY]),
        (a_pod({"web": True}), [MISSING]),
        (a_pod({"web": True}, {"vault-agent": True}), [READY]),
        (a_pod({"web": True}, {"vault-agent": False}), [NOT_READY]),
        (a_pod({"web": True}, annotations={VAULT.annotation: "false"}), []),
        (a_pod({"web": True}, annotations={}), []),
        (a_pod({"web": True}, annotations={}, labels={VAULT.annotation: "true"}), [MISSING]),
        (a_pod({"web": True}, deletionTimestamp="2026-11-21T01:00:00Z"), []),
        ({**a_pod({"web": True}), "status": {"phase": "Succeeded"}}, []),
        ({**a_pod({"web": True, "vault-agent": True}), "status": {"phase": "Pending"}}, [NOT_READY]),
    ],
)
def test_what_becomes_of_a_sidecar(pod: dict[str, Any], states: list[str]) -> None:
    assert [one.state for one in injections_of(pod, [VAULT])] == states


def test_a_volume_attachment() -> None:
    manifest = {
        "metadata": {"name": "csi-1", "creationTimestamp": "2026-11-21T01:00:00Z"},
        "spec": {"attacher": "ebs.csi.aws.com", "nodeName": "a", "source": {"persistentVolumeName": "pv"}},
        "status": {"attached": False, "attachError": {"message": "too many volumes"}},
    }
    found = attachment_from(manifest)
    assert (found.driver, found.node, found.attached, found.leaving) == ("ebs.csi.aws.com", "a", False, False)
    assert (found.since, found.error) == ("2026-11-21T01:00:00Z", "too many volumes")
    manifest["metadata"]["deletionTimestamp"] = "2026-11-21T02:00:00Z"
    assert (attachment_from(manifest).leaving, attachment_from(manifest).since) == (True, "2026-11-21T02:00:00Z")


@pytest.mark.parametrize(("value", "asked"), [("true", True), ("True", True), ("false", False)])
def test_a_sidecar_is_asked_for_also_where_its_value_was_a_yaml_boolean(value: str, asked: bool) -> None:
    for kind in ("annotations", "labels"):
        pod = {"metadata": {kind: {VAULT.annotation: "true"}}}
        assert Sidecar(VAULT.annotation, value, VAULT.container).is_asked_for(pod) is asked
