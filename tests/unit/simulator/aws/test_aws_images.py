# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recommended images, the parameters that name them, and template versions that carry them."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

EKS = "/aws/service/eks/optimized-ami"
LINUX_2023 = f"{EKS}/1.32/amazon-linux-2023/x86_64/standard/recommended/image_id"


@pytest.fixture
def ssm(aws: Any) -> Any:
    aws.cloud.publish_images()
    return aws.client("ssm")


def value(ssm: Any, name: str) -> str:
    return ssm.get_parameter(Name=name)["Parameter"]["Value"]


@pytest.mark.parametrize(
    ("parameter", "name", "architecture"),
    [
        (LINUX_2023, "amazon-eks-node-al2023-x86_64-standard-1.32-v", "x86_64"),
        (LINUX_2023.replace("x86_64", "arm64"), "amazon-eks-node-al2023-arm64-standard-1.32-v", "arm64"),
        (f"{EKS}/1.31/amazon-linux-2/recommended/image_id", "amazon-eks-node-1.31-v", "x86_64"),
        ("/aws/service/bottlerocket/aws-k8s-1.33/arm64/latest/image_id", "bottlerocket-aws-k8s-1.33-arm64-", "arm64"),
    ],
)
def test_a_parameter_names_an_image_of_its_version(
    aws: Any, ssm: Any, parameter: str, name: str, architecture: str
) -> None:
    (image,) = aws.ec2.describe_images(ImageIds=[value(ssm, parameter)])["Images"]
    assert image["Name"].startswith(name)
    assert (image["Architecture"], image["OwnerId"], image["State"]) == (architecture, "602401143452", "available")


def test_each_version_has_another_image_and_amazon_linux_2_ends_with_1_32(ssm: Any) -> None:
    versions = ["1.31", "1.32", "1.33"]
    names = [LINUX_2023.replace("1.32", version) for version in versions]
    names += [f"{EKS}/{version}/amazon-linux-2/recommended/image_id" for version in versions]
    answer = ssm.get_parameters(Names=names)
    assert len({one["Value"] for one in answer["Parameters"]}) == 5
    assert answer["InvalidParameters"] == [f"{EKS}/1.33/amazon-linux-2/recommended/image_id"]


def test_a_parameter_may_be_missing(aws: Any, ssm: Any) -> None:
    aws.cloud.remove_parameter(LINUX_2023)
    with pytest.raises(ClientError, match="ParameterNotFound"):
        value(ssm, LINUX_2023)


def test_a_version_with_a_source_changes_only_what_it_says_and_a_repeated_request_makes_no_second(aws: Any) -> None:
    template = aws.cloud.create_template("shared", aws.image, "m5.xlarge", tags={"team": "a"}).id
    given = {"LaunchTemplateId": template, "SourceVersion": "1", "LaunchTemplateData": {"ImageId": "ami-new"}}
    for _repeated in range(2):
        made = aws.ec2.create_launch_template_version(**given, ClientToken="once")["LaunchTemplateVersion"]
    assert made["VersionNumber"] == 2
    assert (made["LaunchTemplateData"]["ImageId"], made["LaunchTemplateData"]["InstanceType"]) == (
        "ami-new",
        "m5.xlarge",
    )
    assert len(aws.ec2.describe_launch_template_versions(LaunchTemplateId=template)["LaunchTemplateVersions"]) == 2


def test_a_template_version_may_be_missing(aws: Any) -> None:
    template = aws.cloud.create_template("shared", aws.image)
    aws.cloud.new_template_version(template, ImageId=aws.image)
    aws.ec2.delete_launch_template_versions(LaunchTemplateId=template.id, Versions=["2"])
    found = aws.ec2.describe_launch_template_versions(LaunchTemplateId=template.id)["LaunchTemplateVersions"]
    assert [one["VersionNumber"] for one in found] == [1]
    missing = "Could not find the specified version 2 for the launch template"
    with pytest.raises(ClientError, match=f"InvalidLaunchTemplateId.VersionNotFound.*{missing}"):
        aws.ec2.describe_launch_template_versions(LaunchTemplateId=template.id, Versions=["2"])
    with pytest.raises(ClientError, match=missing):
        aws.ec2.create_launch_template_version(
            LaunchTemplateId=template.id, SourceVersion="2", LaunchTemplateData={"ImageId": aws.image}
        )
    with pytest.raises(ClientError, match="You cannot delete the default version"):
        aws.ec2.delete_launch_template_versions(LaunchTemplateId=template.id, Versions=["1"])


def test_a_group_whose_template_version_was_deleted_launches_nothing(aws: Any) -> None:
    template = aws.cloud.create_template("shared", aws.image)
    aws.cloud.new_template_version(template, ImageId=aws.image)
    aws.cloud.create_group("shared", template, list(aws.network.subnets.values()), 1, max_size=3, version="2")
    aws.ec2.delete_launch_template_versions(LaunchTemplateId=template.id, Versions=["2"])
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    aws.later(30)
    latest = aws.activities()[0]
    assert latest["StatusCode"] == "Failed"
    assert "Could not find the specified version 2" in latest["StatusMessage"]


def test_an_image_of_another_architecture_cannot_be_launched(aws: Any) -> None:
    arm = aws.cloud.create_image("arm", "arm64")
    template = aws.cloud.create_template("shared", arm, "m5.large")
    aws.cloud.create_group("shared", template, list(aws.network.subnets.values()), 1, settled=False)
    aws.later(30)
    assert "does not match the architecture 'arm64' of the specified AMI" in aws.activities()[0]["StatusMessage"]
