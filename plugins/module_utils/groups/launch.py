# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group would launch now, and which of its members differ from that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_errors
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import Group, Instance, Member, Override

PARAMETER_PREFIX = "resolve:ssm:"

# From the farthest to the closest: of several things that a group may launch, a member is compared with the closest.
REASONS = ("configuration", "template", "template_version", "image", "instance_type")


@dataclass(frozen=True)
class Choice:
    """One thing that the group may launch. Empty `instance_types` mean any (attribute-based selection)."""

    template_id: str = ""
    version: str = ""
    image_id: str = ""
    instance_types: tuple[str, ...] = ()
    requirements: str = ""  # instance requirements as canonical JSON

    def allows(self, instance_type: str) -> bool:
        return not self.instance_types or instance_type in self.instance_types


@dataclass(frozen=True)
class Target:
    """What the group would launch now, `$Latest`, `$Default` and `resolve:ssm:` resolved.

    `kind` is template, mixed or configuration. `template_id`, `version` and `image_id` are those of the group's own
    template (or the configuration's image); `choices` holds one entry for each override of a mixed instances policy.
    """

    kind: str
    template_id: str = ""
    version: str = ""
    image_id: str = ""
    instance_types: tuple[str, ...] = ()
    configuration: str = ""
    choices: tuple[Choice, ...] = ()

    @property
    def launches(self) -> tuple[Choice, ...]:
        """All that the group may launch; at least one entry."""
        return self.choices or (Choice(self.template_id, self.version, self.image_id, self.instance_types),)

    @property
    def fingerprint(self) -> str:
        """`sha256:...` over all that decides what would be launched: the same for the same, in whatever order."""
        launches = sorted(
            {
                (choice.template_id, choice.version, choice.image_id, choice.requirements, choice.instance_types)
                for choice in self.launches
            }
        )
        text = json.dumps([self.configuration, launches], separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def launch_target(aws: Aws, group: Group, lookup: LaunchLookup | None = None) -> Target:
    """What the group would launch now. Give one `lookup` for several groups: each template is then asked for once.

    Raises AwsError or EvergreenError (reason `not_found`) where the template, its version, the launch configuration or
    the Systems Manager parameter of its image does not exist: such a group can launch nothing.
    """
    lookup = lookup or LaunchLookup(aws)
    launch = group.launch
    if launch.kind == "configuration":
        return lookup.configuration(launch.configuration, group.name)
    if launch.kind == "none":
        raise EvergreenError(
            f"Auto Scaling group {group.name} has neither launch template nor launch configuration",
            reason="not_found",
            remedy="Give the group a launch template",
        )
    own = lookup.template(launch.template_id, launch.template_name, launch.version, group.name)
    choices = (own,)
    if launch.overrides:
        choices = tuple(_override_choice(override, own, lookup, group.name) for override in launch.overrides)
    return Target(
        kind=launch.kind,
        template_id=own.template_id,
        version=own.version,
        image_id=own.image_id,
        instance_types=_all_types(choices),
        choices=choices,
    )


def outdated_reason(member: Member, instance: Instance | None, target: Target) -> str | None:
    """In what the member differs from what its group would launch now; None when it does not.

    `configuration`: launched from another launch configuration, or not from one. `template`: from another launch
    template, or from none. `template_version`: from another version. `image`: its image is not the one that this
    version resolves to now (skipped for an instance that EC2 no longer knows). `instance_type`: a type that the group
    may no longer launch.
    """
    if target.kind == "configuration":
        if member.launch_configuration != target.configuration:
            return "configuration"
        return _closest(member, instance, target.launches)
    if not member.launch_template_id:
        return "template"
    likely = tuple(choice for choice in target.launches if choice.allows(member.instance_type))
    return _closest(member, instance, likely or target.launches)


class LaunchLookup:
    """Launch templates, launch configurations and image parameters, each asked for once in a module call."""

    def __init__(self, aws: Aws):
        self._aws = aws
        self._found: dict[tuple[str, ...], Any] = {}

    def template(self, template_id: str, name: str, version: str, group: str) -> Choice:
        """This version of this launch template, with the version's number and the image's id."""
        key = ("template", template_id or name, version)
        if key not in self._found:
            self._found[key] = self._template(template_id, name, version, group)
        return self._found[key]

    def configuration(self, name: str, group: str) -> Target:
        """The launch configuration (they never change) as a target."""
        key = ("configuration", name)
        if key not in self._found:
            self._found[key] = self._configuration(name, group)
        return self._found[key]

    def image(self, image: str, group: str) -> str:
        """The image id that `resolve:ssm:<parameter>[:<version or label>]` stands for; an id stands for itself."""
        if not image.startswith(PARAMETER_PREFIX):
            return image
        if ("image", image) not in self._found:
            self._found["image", image] = self._parameter(image[len(PARAMETER_PREFIX) :], group)
        return self._found["image", image]

    def _template(self, template_id: str, name: str, version: str, group: str) -> Choice:
        by = {"LaunchTemplateId": template_id} if template_id else {"LaunchTemplateName": name}
        what = f"version {version} of launch template {template_id or name} of Auto Scaling group {group}"
        with aws_errors("ec2:DescribeLaunchTemplateVersions", what):
            # ResolveAlias lets EC2 resolve resolve:ssm: images itself, as it will at the launch.
            answer = self._aws.client("ec2").describe_launch_template_versions(
                **by, Versions=[version or "$Default"], ResolveAlias=True
            )
        if not answer.get("LaunchTemplateVersions"):
            raise EvergreenError(
                f"AWS does not know {what}", reason="not_found", remedy="Give the group one that exists"
            )
        found = answer["LaunchTemplateVersions"][0]
        data = found["LaunchTemplateData"]
        return Choice(
            template_id=found["LaunchTemplateId"],
            version=str(found["VersionNumber"]),
            image_id=self.image(data.get("ImageId", ""), group),
            instance_types=(data["InstanceType"],) if data.get("InstanceType") else (),
            requirements=canonical(data.get("InstanceRequirements")),
        )

    def _configuration(self, name: str, group: str) -> Target:
        what = f"launch configuration {name} of Auto Scaling group {group}"
        with aws_errors("autoscaling:DescribeLaunchConfigurations", what):
            answer = self._aws.client("autoscaling").describe_launch_configurations(LaunchConfigurationNames=[name])
        if not answer.get("LaunchConfigurations"):
            raise EvergreenError(
                f"AWS does not know {what}", reason="not_found", remedy="Give the group one that exists"
            )
        found = answer["LaunchConfigurations"][0]
        return Target(
            kind="configuration",
            image_id=found["ImageId"],
            instance_types=(found["InstanceType"],),
            configuration=name,
        )

    def _parameter(self, parameter: str, group: str) -> str:
        """For endpoints that do not know ResolveAlias. GetParameters is also what EC2 needs to resolve it itself."""
        what = f"Systems Manager parameter {parameter}, the image of Auto Scaling group {group}"
        with aws_errors("ssm:GetParameters", what):
            answer = self._aws.client("ssm").get_parameters(Names=[parameter])
        if not answer.get("Parameters"):
            raise EvergreenError(
                f"AWS does not know {what}", reason="not_found", remedy="Create it, or change the template"
            )
        return answer["Parameters"][0]["Value"]


def canonical(requirements: Mapping[str, Any] | None) -> str:
    """Instance requirements as JSON that does not depend on the order in which AWS answers; empty for none."""
    return json.dumps(_in_order(requirements), separators=(",", ":"), default=str) if requirements else ""


def _in_order(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _in_order(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return sorted((_in_order(entry) for entry in value), key=lambda entry: json.dumps(entry, default=str))
    return value


def _override_choice(override: Override, own: Choice, lookup: LaunchLookup, group: str) -> Choice:
    base = own
    if override.template_id or override.template_name:
        base = lookup.template(override.template_id, override.template_name, override.version, group)
    types, requirements = base.instance_types, base.requirements
    if override.requirements:
        types, requirements = (), canonical(override.requirements)
    elif override.instance_type:
        types, requirements = (override.instance_type,), ""
    return Choice(
        template_id=base.template_id,
        version=base.version,
        image_id=lookup.image(override.image_id, group) or base.image_id,
        instance_types=types,
        requirements=requirements,
    )


def _all_types(choices: tuple[Choice, ...]) -> tuple[str, ...]:
    """The types that may be launched, sorted; empty when any of the choices takes types by their attributes."""
    if any(not choice.instance_types for choice in choices):
        return ()
    return tuple(sorted({instance_type for choice in choices for instance_type in choice.instance_types}))


def _closest(member: Member, instance: Instance | None, choices: tuple[Choice, ...]) -> str | None:
    reasons = [_difference(member, instance, choice) for choice in choices]
    return None if None in reasons else max(reasons, key=REASONS.index)


def _difference(member: Member, instance: Instance | None, choice: Choice) -> str | None:
    if choice.template_id and member.launch_template_id != choice.template_id:
        return "template"
    if choice.version and member.launch_template_version != choice.version:
        return "template_version"
    if instance and choice.image_id and instance.image_id != choice.image_id:
        return "image"
    return None if choice.allows(member.instance_type) else "instance_type"
