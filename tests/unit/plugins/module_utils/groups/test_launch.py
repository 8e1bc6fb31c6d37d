# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group would launch now, and which members differ from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.scripted_aws import NEW_IMAGE, OLD_IMAGE, TEMPLATE, scripted_aws, template_answer

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    Choice,
    Group,
    Instance,
    LaunchLookup,
    LaunchSource,
    Member,
    Override,
    Target,
    launch_target,
    outdated_reason,
)

ARM = "lt-0a1b2c3d4e5f60aaa"
LATEST = LaunchSource("template", TEMPLATE, "shared", "$Latest")
PARAMETER = "/aws/service/eks/optimized-ami/1.34/amazon-linux-2023/x86_64/standard/recommended/image_id"
REQUIREMENTS = {"VCpuCount": {"Min": 2, "Max": 4}, "MemoryMiB": {"Min": 4096}, "CpuManufacturers": ["intel", "amd"]}


def group(launch: LaunchSource, name: str = "shared") -> Group:
    return Group(name, f"arn:{name}", 1, 10, 3, launch=launch)


def version_request(version: str = "$Latest", template_id: str = TEMPLATE) -> dict:
    return {"LaunchTemplateId": template_id, "Versions": [version], "ResolveAlias": True}


def test_latest_is_resolved_to_its_number() -> None:
    with scripted_aws() as script:
        script.expect("ec2", "describe_launch_template_versions", template_answer(7), **version_request())

        target = launch_target(script.aws, group(LATEST))

    assert (target.kind, target.template_id, target.version) == ("template", TEMPLATE, "7")
    assert (target.image_id, target.instance_types) == (NEW_IMAGE, ("m5.large",))


def test_an_image_behind_a_parameter_is_asked_of_systems_manager_where_ec2_did_not_resolve_it() -> None:
    answer = template_answer(ImageId=f"resolve:ssm:{PARAMETER}")
    with scripted_aws() as script:
        script.expect("ec2", "describe_launch_template_versions", answer, **version_request())
        script.expect(
            "ssm", "get_parameters", {"Parameters": [{"Name": PARAMETER, "Value": NEW_IMAGE}]}, Names=[PARAMETER]
        )

        assert launch_target(script.aws, group(LATEST)).image_id == NEW_IMAGE


def test_a_parameter_that_does_not_exist_is_named() -> None:
    with scripted_aws() as script:
        answer = template_answer(ImageId="resolve:ssm:/images/golden:3")
        script.expect("ec2", "describe_launch_template_versions", answer, **version_request())
        script.expect("ssm", "get_parameters", {"InvalidParameters": ["/images/golden:3"]}, Names=["/images/golden:3"])

        with pytest.raises(EvergreenError, match="parameter /images/golden:3, the image of .* shared") as raised:
            launch_target(script.aws, group(LATEST))

    assert raised.value.reason == "not_found"


def test_a_template_that_was_deleted_is_named() -> None:
    with scripted_aws() as script:
        code, text = (
            "InvalidLaunchTemplateId.NotFound",
            f"The specified launch template, with template ID {TEMPLATE}, does not exist.",
        )
        script.fail("ec2", "describe_launch_template_versions", code, text, **version_request())

        with pytest.raises(AwsError, match=f"launch template {TEMPLATE} of Auto Scaling group shared") as raised:
            launch_target(script.aws, group(LATEST))

    assert raised.value.reason == "not_found"


def test_several_groups_with_one_template_cost_one_call() -> None:
    with scripted_aws() as script:
        script.expect("ec2", "describe_launch_template_versions", template_answer(7), **version_request())
        lookup = LaunchLookup(script.aws)

        targets = [launch_target(script.aws, group(LATEST, name), lookup) for name in ("istio", "shared", "logging")]

    assert {target.version for target in targets} == {"7"}


def test_a_launch_configuration() -> None:
    entry = {
        "LaunchConfigurationName": "shared-2",
        "ImageId": NEW_IMAGE,
        "InstanceType": "m5.large",
        "CreatedTime": 0,
    }
    with scripted_aws() as script:
        answer = {"LaunchConfigurations": [entry]}
        script.expect("autoscaling", "describe_launch_configurations", answer, LaunchConfigurationNames=["shared-2"])

        target = launch_target(script.aws, group(LaunchSource("configuration", configuration="shared-2")))

    assert target == Target("configuration", image_id=NEW_IMAGE, instance_types=("m5.large",), configuration="shared-2")


def test_a_launch_configuration_that_was_deleted() -> None:
    with scripted_aws() as script:
        answer = {"LaunchConfigurations": []}
        script.expect("autoscaling", "describe_launch_configurations", answer, LaunchConfigurationNames=["shared-2"])

        with pytest.raises(EvergreenError, match="does not know launch configuration shared-2") as raised:
            launch_target(script.aws, group(LaunchSource("configuration", configuration="shared-2")))

    assert raised.value.reason == "not_found"


def test_overrides_bring_their_own_types_templates_and_images() -> None:
    launch = LaunchSource(
        "mixed",
        TEMPLATE,
        "shared",
        "2",
        overrides=(
            Override("m5.large"),
            Override("m5a.large", image_id="ami-0c00000000000000c"),
            Override("m6g.large", template_id=ARM, version="$Default"),
            Override(requirements=REQUIREMENTS),
        ),
    )
    with scripted_aws() as script:
        script.expect("ec2", "describe_launch_template_versions", template_answer(2), **version_request("2"))
        arm = template_answer(5, ARM, ImageId=OLD_IMAGE)
        script.expect("ec2", "describe_launch_template_versions", arm, **version_request("$Default", ARM))

        target = launch_target(script.aws, group(launch))

    assert target.kind == "mixed"
    assert [(choice.template_id, choice.version, choice.image_id) for choice in target.launches] == [
        (TEMPLATE, "2", NEW_IMAGE),
        (TEMPLATE, "2", "ami-0c00000000000000c"),
        (ARM, "5", OLD_IMAGE),
        (TEMPLATE, "2", NEW_IMAGE),
    ]
    assert target.instance_types == ()  # one of the overrides takes types by their attributes


TEMPLATE_TARGET = Target("template", TEMPLATE, "2", NEW_IMAGE, ("m5.large",))
MIXED_TARGET = Target(
    "mixed",
    TEMPLATE,
    "2",
    NEW_IMAGE,
    ("m5.large", "m6g.large"),
    choices=(
        Choice(TEMPLATE, "2", NEW_IMAGE, ("m5.large",)),
        Choice(ARM, "5", "ami-0arm", ("m6g.large",)),
    ),
)
ANY_TYPE = replace(TEMPLATE_TARGET, instance_types=())
CONFIGURATION_TARGET = Target(
    "configuration", image_id=NEW_IMAGE, instance_types=("m5.large",), configuration="shared-2"
)


def member(
    template: str = TEMPLATE, version: str = "2", instance_type: str = "m5.large", configuration: str = ""
) -> Member:
    return Member(
        "i-0123456789abcdef0",
        "eu-west-1a",
        "InService",
        instance_type=instance_type,
        launch_template_id=template,
        launch_template_version=version,
        launch_configuration=configuration,
    )


def instance(image: str = NEW_IMAGE) -> Instance:
    return Instance("i-0123456789abcdef0", "running", image_id=image)


@pytest.mark.parametrize(
    ("target", "seen", "image", "reason"),
    [
        (TEMPLATE_TARGET, member(), NEW_IMAGE, None),
        (TEMPLATE_TARGET, member(version="1"), NEW_IMAGE, "template_version"),
        (TEMPLATE_TARGET, member(version="3"), NEW_IMAGE, "template_version"),  # $Default was moved back
        (TEMPLATE_TARGET, member(template=ARM), NEW_IMAGE, "template"),
        (TEMPLATE_TARGET, member(template="", version=""), NEW_IMAGE, "template"),  # attached by hand
        (TEMPLATE_TARGET, member("", "", configuration="shared-1"), NEW_IMAGE, "template"),
        (TEMPLATE_TARGET, member(), OLD_IMAGE, "image"),  # the parameter has moved, the version has not
        (TEMPLATE_TARGET, member(instance_type="m4.large"), NEW_IMAGE, "instance_type"),
        (ANY_TYPE, member(instance_type="m4.large"), NEW_IMAGE, None),
        (replace(TEMPLATE_TARGET, image_id=""), member(), OLD_IMAGE, None),  # the template names no image
        (MIXED_TARGET, member(), NEW_IMAGE, None),
        (MIXED_TARGET, member(ARM, "5", "m6g.large"), "ami-0arm", None),
        (MIXED_TARGET, member(ARM, "4", "m6g.large"), "ami-0arm", "template_version"),
        (MIXED_TARGET, member(ARM, "5", "m6g.large"), NEW_IMAGE, "image"),
        (MIXED_TARGET, member(ARM, "5", "m5.large"), "ami-0arm", "template"),
        (MIXED_TARGET, member(instance_type="m4.large"), NEW_IMAGE, "instance_type"),
        (MIXED_TARGET, member(version="1", instance_type="m4.large"), NEW_IMAGE, "template_version"),
        (CONFIGURATION_TARGET, member("", "", configuration="shared-2"), NEW_IMAGE, None),
        (CONFIGURATION_TARGET, member("", "", configuration="shared-1"), NEW_IMAGE, "configuration"),
        (CONFIGURATION_TARGET, member("", ""), NEW_IMAGE, "configuration"),  # AWS forgets a deleted configuration
        (CONFIGURATION_TARGET, member(), NEW_IMAGE, "configuration"),
    ],
)
def test_in_what_a_member_differs(target: Target, seen: Member, image: str, reason: str | None) -> None:
    assert outdated_reason(seen, instance(image), target) == reason


def test_an_instance_that_ec2_has_forgotten_is_judged_by_what_its_group_knows() -> None:
    assert outdated_reason(member(), None, TEMPLATE_TARGET) is None
    assert outdated_reason(member(version="1"), None, TEMPLATE_TARGET) == "template_version"


def test_the_fingerprint_is_the_same_for_the_same_in_another_order() -> None:
    turned = replace(MIXED_TARGET, choices=MIXED_TARGET.choices[::-1])

    assert turned.fingerprint == MIXED_TARGET.fingerprint
    assert MIXED_TARGET.fingerprint.startswith("sha256:")


def test_the_order_in_which_aws_lists_requirements_does_not_move_the_fingerprint() -> None:
    turned = {
        "CpuManufacturers": ["amd", "intel"],
        "MemoryMiB": {"Min": 4096},
        "VCpuCount": {"Max": 4, "Min": 2},
    }
    fingerprints = set()
    for requirements in (REQUIREMENTS, turned):
        launch = LaunchSource("mixed", TEMPLATE, "shared", "2", overrides=(Override(requirements=requirements),))
        with scripted_aws() as script:
            script.expect("ec2", "describe_launch_template_versions", template_answer(2), **version_request("2"))
            fingerprints.add(launch_target(script.aws, group(launch)).fingerprint)

    assert len(fingerprints) == 1


@pytest.mark.parametrize(
    "moved",
    [
        replace(TEMPLATE_TARGET, version="3"),
        replace(TEMPLATE_TARGET, template_id=ARM),
        replace(TEMPLATE_TARGET, image_id=OLD_IMAGE),
        replace(TEMPLATE_TARGET, instance_types=("m5.xlarge",)),
        replace(TEMPLATE_TARGET, choices=(Choice(TEMPLATE, "2", NEW_IMAGE, ("m5.large",), requirements="{}"),)),
        CONFIGURATION_TARGET,
    ],
)
def test_the_fingerprint_moves_with_everything_that_decides_what_is_launched(moved: Target) -> None:
    assert moved.fingerprint != TEMPLATE_TARGET.fingerprint
