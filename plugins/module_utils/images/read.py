# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Launch templates, images and their parameters as AWS describes them, and the few changes that an image takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError, aws_errors
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.groups import LaunchLookup
from ansible_collections.evergreen.eks.plugins.module_utils.groups.change import group_errors
from ansible_collections.evergreen.eks.plugins.module_utils.groups.launch import PARAMETER_PREFIX
from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import LaunchSource
from ansible_collections.evergreen.eks.plugins.module_utils.images.choice import (
    LATEST,
    Image,
    ImageRefused,
    Template,
    same_slots,
    token_of,
)

PAGE = 200  # DescribeLaunchTemplateVersions: the most that it answers at a time


class TemplateReader:
    """What one group launches from. Each image and each parameter is asked for once."""

    def __init__(self, aws: Aws, group: str) -> None:
        self._aws = aws
        self._group = group
        self._lookup = LaunchLookup(aws)
        self._images: dict[str, Image] = {}

    def templates(self, source: LaunchSource) -> list[Template]:
        """Every version of a launch template that the group may launch, each once; of overrides also their own."""
        own = (source.template_id, source.template_name, source.version)
        others = [
            (one.template_id, one.template_name, one.version)
            for one in source.overrides
            if one.template_id or one.template_name
        ]
        found = [self._template(*slot) for slot in same_slots([own, *others])]
        resolved = {one.image_text: self._lookup.image(one.image_text, self._group) for one in found if one.image_text}
        images = self.images(resolved.values())
        return [
            Template(
                one.template_id,
                one.name,
                one.version,
                one.number,
                one.data,
                images.get(resolved.get(one.image_text, "")),
            )
            for one in found
        ]

    def versions_with(self, template: Template, text: str) -> list[tuple[int, Mapping[str, Any]]]:
        """The versions of the template, as (number, data), that carry this image; perhaps others too."""
        # The filter is about ids: what it does with parameters is documented nowhere.
        filters = [] if text.startswith(PARAMETER_PREFIX) else [{"Name": "image-id", "Values": [text]}]
        pages = self._aws.client("ec2").get_paginator("describe_launch_template_versions")
        with aws_errors("ec2:DescribeLaunchTemplateVersions", f"{template} of Auto Scaling group {self._group}"):
            return [
                (entry["VersionNumber"], entry["LaunchTemplateData"])
                for page in pages.paginate(
                    LaunchTemplateId=template.template_id,
                    PaginationConfig={"PageSize": PAGE},
                    **({"Filters": filters} if filters else {}),
                )
                for entry in page["LaunchTemplateVersions"]
            ]

    def recommended(self, parameter: str) -> str:
        """The image that AWS recommends by this parameter. Raises ImageRefused where it recommends none."""
        with aws_errors("ssm:GetParameters", f"Systems Manager parameter {parameter}"):
            answer = self._aws.client("ssm").get_parameters(Names=[parameter])
        if not answer.get("Parameters"):
            raise ImageRefused(
                f"AWS names no image in the parameter {parameter} in {self._aws.region}",
                reason="image_not_published",
                remedy="Check the Kubernetes version, the variant and the region, or name an image",
            )
        return answer["Parameters"][0]["Value"]

    def images(self, ids: Iterable[str]) -> dict[str, Image]:
        """These images by id; those that EC2 does not show us are absent."""
        wanted = sorted({one for one in ids if one} - self._images.keys())
        if wanted:
            # By filter: by id the whole request fails because of one that was deregistered.
            filters = [{"Name": "image-id", "Values": wanted}]
            with aws_errors("ec2:DescribeImages", f"the images {', '.join(wanted)}"):
                answer = self._aws.client("ec2").describe_images(Filters=filters, IncludeDeprecated=True)
            self._images |= {raw["ImageId"]: image_from(raw) for raw in answer["Images"]}
        return self._images

    def image(self, image_id: str) -> Image:
        """One image. Raises EvergreenError (not_found)."""
        found = self.images([image_id]).get(image_id)
        if found is None:
            raise EvergreenError(
                f"EC2 knows no image {image_id} in {self._aws.region} that this account may use",
                reason="not_found",
                remedy="Check the id and the region, and whether the image is shared with this account",
            )
        return found

    def latest_number(self, template: Template) -> int:
        """Which version of it is the latest now."""
        if template.version == LATEST:
            return template.number
        return self._template(template.template_id, template.name, LATEST).number

    def _template(self, template_id: str, name: str, version: str) -> Template:
        by = {"LaunchTemplateId": template_id} if template_id else {"LaunchTemplateName": name}
        what = f"version {version} of launch template {name or template_id} of Auto Scaling group {self._group}"
        with aws_errors("ec2:DescribeLaunchTemplateVersions", what):
            answer = self._aws.client("ec2").describe_launch_template_versions(**by, Versions=[version])
        if not answer.get("LaunchTemplateVersions"):
            raise EvergreenError(
                f"AWS does not know {what}", reason="not_found", remedy="Give the group one that exists"
            )
        found = answer["LaunchTemplateVersions"][0]
        return Template(
            found["LaunchTemplateId"],
            found.get("LaunchTemplateName", name),
            version,
            found["VersionNumber"],
            found["LaunchTemplateData"],
        )


def image_from(raw: Mapping[str, Any]) -> Image:
    """An entry of DescribeImages as a record."""
    return Image(
        image_id=raw["ImageId"],
        name=raw.get("Name", ""),
        alias=raw.get("ImageOwnerAlias", ""),
        architecture=raw.get("Architecture", ""),
        state=raw.get("State", ""),
        root_device=raw.get("RootDeviceName", ""),
        snapshots=frozenset(
            mapping["Ebs"]["SnapshotId"]
            for mapping in raw.get("BlockDeviceMappings") or ()
            if (mapping.get("Ebs") or {}).get("SnapshotId")
        ),
    )


def make_version(aws: Aws, template: Template, text: str, volumes: Sequence[Mapping[str, Any]] = ()) -> int:
    """A version like the one that is launched now, with this image instead; its number.

    May be repeated: the client token sees to it that there is one of it.
    """
    with aws_errors("ec2:CreateLaunchTemplateVersion", str(template)):
        answer = aws.client("ec2").create_launch_template_version(
            LaunchTemplateId=template.template_id,
            SourceVersion=str(template.number),
            LaunchTemplateData={"ImageId": text, **({"BlockDeviceMappings": list(volumes)} if volumes else {})},
            VersionDescription=f"evergreen.eks: version {template.number} with {text}"[:255],
            ClientToken=token_of(template, text),
        )
    return answer["LaunchTemplateVersion"]["VersionNumber"]


def has_version(aws: Aws, template: Template, number: int) -> bool:
    """Whether EC2 shows this version of the template."""
    try:
        with aws_errors("ec2:DescribeLaunchTemplateVersions", f"version {number} of {template}"):
            aws.client("ec2").describe_launch_template_versions(
                LaunchTemplateId=template.template_id, Versions=[str(number)]
            )
    except AwsError as error:
        if error.reason == "not_found":
            return False
        raise
    return True


def set_default(aws: Aws, template: Template, number: int) -> None:
    """Absolute: repeating it changes nothing."""
    with aws_errors("ec2:ModifyLaunchTemplate", str(template)):
        aws.client("ec2").modify_launch_template(LaunchTemplateId=template.template_id, DefaultVersion=str(number))


def set_template(aws: Aws, group: str, template_id: str, number: int) -> None:
    """The group launches this version from now on. Absolute."""
    with group_errors("autoscaling:UpdateAutoScalingGroup", group):
        aws.client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName=group, LaunchTemplate={"LaunchTemplateId": template_id, "Version": str(number)}
        )


def set_policy(aws: Aws, group: str, policy: Mapping[str, Any]) -> None:
    """The group launches by this mixed instances policy from now on. Absolute."""
    with group_errors("autoscaling:UpdateAutoScalingGroup", group):
        aws.client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName=group, MixedInstancesPolicy=dict(policy)
        )


def mixed_policy(aws: Aws, group: str) -> dict[str, Any]:
    """The group's mixed instances policy as AWS has it now."""
    with group_errors("autoscaling:DescribeAutoScalingGroups", group):
        answer = aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])
    return answer["AutoScalingGroups"][0]["MixedInstancesPolicy"]
