# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of EKS nodes: names, parameters, and what becomes of a launch template."""

from __future__ import annotations

import base64
import copy
import gzip
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.images.choice import (
    Image,
    ImageRefused,
    Step,
    Template,
    Wish,
    check_image,
    check_wish,
    concerns,
    in_order,
    moved_by,
    names_version,
    policy_following,
    step_for,
    token_of,
    user_data_of,
    wanted_text,
    without_images,
)
from ansible_collections.evergreen.eks.plugins.module_utils.images.families import (
    KINDS,
    find_kind,
    is_newer,
    kind_of_name,
    kind_of_parameter,
)

OLD, NEW = "ami-0a00000000000000a", "ami-0b00000000000000b"
EKS = "/aws/service/eks/optimized-ami"
NAME = "amazon-eks-node-al2023-x86_64-standard-1.31-v20261101"
RECOMMENDED = Wish("recommended", "1.33")


def image(image_id: str = OLD, name: str = NAME, alias: str = "amazon", **changes: Any) -> Image:
    return Image(image_id, name, alias, **{"architecture": "x86_64", **changes})


def template(version: str = "$Latest", present: Image | None = None, number: int = 3, **data: Any) -> Template:
    present = present or image()
    return Template("lt-1", "web", version, number, {"ImageId": present.image_id, "KeyName": "k", **data}, present)


# ---- families


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (NAME, ("al2023", "standard", "x86_64", "1.31")),
        ("amazon-eks-node-al2023-arm64-standard-1.33-v20250715", ("al2023", "standard", "arm64", "1.33")),
        ("amazon-eks-node-al2023-x86_64-nvidia-560-1.31-v20241121", ("al2023", "nvidia", "x86_64", "1.31")),
        ("amazon-eks-node-al2023-x86_64-neuron-1.32-v20250715", ("al2023", "neuron", "x86_64", "1.32")),
        ("amazon-eks-node-1.30-v20241121", ("al2", "standard", "x86_64", "1.30")),
        ("amazon-eks-arm64-node-1.30-v20241121", ("al2", "standard", "arm64", "1.30")),
        ("amazon-eks-gpu-node-1.30-v20241121", ("al2", "gpu", "x86_64", "1.30")),
        ("bottlerocket-aws-k8s-1.31-x86_64-v1.26.1-943d9a41", ("bottlerocket", "standard", "x86_64", "1.31")),
        ("bottlerocket-aws-k8s-1.31-nvidia-aarch64-v1.26.1-943d9a41", ("bottlerocket", "nvidia", "arm64", "1.31")),
        ("bottlerocket-aws-k8s-1.33-nvidia-fips-x86_64-v1.46.0-1", ("bottlerocket", "nvidia-fips", "x86_64", "1.33")),
        ("corp-amazon-eks-node-1.30-v20241121", None),
        ("amazon-eks-node-al2023-x86_64-standard-1.31-v20261101-encrypted", None),
        ("bottlerocket-aws-ecs-2-x86_64-v1.26.1-943d9a41", None),
        ("", None),
    ],
)
def test_what_an_image_is_by_its_name(name: str, known: tuple[str, ...] | None) -> None:
    found = kind_of_name(name)
    assert (found and (found[0].family, found[0].variant, found[0].architecture, found[1])) == known


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_kind_is_found_by_its_parameter_and_by_what_it_is(kind: Any) -> None:
    assert kind_of_parameter(kind.parameter_for("1.33")) == (kind, "1.33")
    assert find_kind(kind.family, kind.variant, kind.architecture) is kind


@pytest.mark.parametrize(
    "parameter",
    ["/golden/node", f"{EKS}/1.31/amazon-linux-2/recommended", f"{EKS}/1.31/amazon-linux-2/recommended/image_id:7"],
)
def test_other_parameters_are_none_of_these(parameter: str) -> None:
    assert kind_of_parameter(parameter) is None


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [("1.33", "1.32", True), ("v1.33.5-eks-c39b1d0", "1.33", False), ("1.10", "1.9", True), ("", "1.33", False)],
)
def test_which_version_is_newer(one: str, other: str, newer: bool) -> None:
    assert is_newer(one, other) is newer


# ---- the wish


@pytest.mark.parametrize(
    "wish",
    [
        Wish("newest"),
        Wish("ami-"),
        Wish("recommended", "33"),
        Wish("recommended", "v1.33"),
        Wish("recommended", "1.33", family="ubuntu"),
        Wish("recommended", "1.33", architecture="amd64"),
    ],
)
def test_a_wish_that_cannot_be_meant(wish: Wish) -> None:
    with pytest.raises(InvalidInput):
        check_wish(wish)


@pytest.mark.parametrize(
    ("present", "wish", "wanted"),
    [
        (template(), Wish("keep"), OLD),
        (template(), Wish(NEW), NEW),
        (
            template(),
            RECOMMENDED,
            f"resolve:ssm:{EKS}/1.33/amazon-linux-2023/x86_64/standard/recommended/image_id",
        ),
        (
            template(),
            Wish("recommended", "1.33", variant="nvidia"),
            f"resolve:ssm:{EKS}/1.33/amazon-linux-2023/x86_64/nvidia/recommended/image_id",
        ),
        (
            template(present=image(name="corp", alias="", architecture="arm64")),
            Wish("recommended", "1.33", family="bottlerocket"),
            "resolve:ssm:/aws/service/bottlerocket/aws-k8s-1.33/arm64/latest/image_id",
        ),
        (
            template(present=image(name="amazon-eks-node-1.31-v20241121")),
            Wish("recommended", "1.32"),
            f"resolve:ssm:{EKS}/1.32/amazon-linux-2/recommended/image_id",
        ),
        (  # what is behind the parameter does not matter: the parameter says what is meant
            template(ImageId=f"resolve:ssm:{EKS}/1.31/amazon-linux-2023/arm64/standard/recommended/image_id"),
            RECOMMENDED,
            f"resolve:ssm:{EKS}/1.33/amazon-linux-2023/arm64/standard/recommended/image_id",
        ),
    ],
)
def test_what_is_to_stand_in_the_template(present: Template, wish: Wish, wanted: str) -> None:
    assert wanted_text(present, wish) == wanted


@pytest.mark.parametrize(
    ("present", "wish", "reason"),
    [
        (template(ImageId="resolve:ssm:/golden/node"), RECOMMENDED, "image_by_parameter"),
        (template(ImageId=f"resolve:ssm:{EKS}/1.31/amazon-linux-2/x"), RECOMMENDED, "image_by_parameter"),
        (template(present=image(name="corp")), RECOMMENDED, "image_unknown"),
        (template(present=image(alias="")), RECOMMENDED, "image_unknown"),
        (template(present=image(name="amazon-eks-node-1.31-v20241121")), RECOMMENDED, "image_not_published"),
        (template(), Wish("recommended", "1.33", family="bottlerocket"), "family_change"),
        (template(), Wish("recommended", "1.33", architecture="arm64"), "image_unfit"),
        (template(), Wish("recommended", "1.33", variant="gpu"), "image_not_published"),
    ],
)
def test_why_there_is_no_recommended_image(present: Template, wish: Wish, reason: str) -> None:
    with pytest.raises(ImageRefused) as caught:
        wanted_text(present, wish)
    assert caught.value.reason == reason
    assert caught.value.remedy


def test_an_image_that_ec2_has_forgotten_says_nothing_of_its_architecture() -> None:
    forgotten = Template("lt-1", "web", "$Latest", 3, {"ImageId": OLD})
    wish = Wish("recommended", "1.33", family="al2023")
    with pytest.raises(ImageRefused, match="does not know any more"):
        wanted_text(forgotten, RECOMMENDED)
    with pytest.raises(InvalidInput, match="architecture is not set"):
        wanted_text(forgotten, wish)
    assert "/arm64/" in wanted_text(forgotten, replace(wish, architecture="arm64"))


@pytest.mark.parametrize(
    ("new", "wish", "reason"),
    [
        (image(NEW, state="pending"), Wish(NEW), "image_unfit"),
        (image(NEW, architecture="arm64"), Wish(NEW), "image_unfit"),
        (image(NEW, "bottlerocket-aws-k8s-1.31-x86_64-v1.26.1-943d9a41"), Wish(NEW), "family_change"),
        (image(NEW, NAME.replace("1.31", "1.34")), Wish(NEW, control_plane="1.33"), "image_unfit"),
    ],
)
def test_images_that_the_instances_would_not_come_up_with(new: Image, wish: Wish, reason: str) -> None:
    with pytest.raises(ImageRefused) as caught:
        check_image(template(), new, wish)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "new",
    [
        image(NEW),
        image(NEW, "corp-7", ""),
        image(NEW, "bottlerocket-aws-k8s-1.31-x86_64-v1-1", alias="self"),  # whatever it is, it is not Bottlerocket's
        image(NEW, NAME.replace("1.31", "1.33")),
    ],
)
def test_images_that_may_be(new: Image) -> None:
    check_image(template(), new, Wish(NEW, control_plane="1.33"))


# ---- the step


@pytest.mark.parametrize(
    ("version", "others", "action", "number"),
    [
        ("3", [], "make", 0),
        ("3", [(4, {"ImageId": NEW, "KeyName": "k"})], "use", 4),
        ("3", [(2, {"ImageId": NEW, "KeyName": "k"}), (1, {"ImageId": NEW, "KeyName": "k"})], "use", 2),
        ("3", [(4, {"ImageId": NEW, "KeyName": "other"}), (5, {"ImageId": NEW})], "make", 0),
        ("3", [(4, {"ImageId": OLD, "KeyName": "k"})], "make", 0),
        ("$Default", [(4, {"ImageId": NEW, "KeyName": "k"})], "use", 4),
        ("$Latest", [(2, {"ImageId": NEW, "KeyName": "k"})], "make", 0),
    ],
)
def test_a_version_that_is_there_is_used(version: str, others: list[Any], action: str, number: int) -> None:
    step = step_for(template(version), NEW, others)
    assert (step.action, step.number) == (action, number)
    assert step.follows is (version != "$Latest")


def test_a_template_that_carries_the_image_stays() -> None:
    step = step_for(template("3"), OLD, [(9, {"ImageId": OLD, "KeyName": "k"})])
    assert (step.action, step.number, step.follows) == ("stay", 3, False)


ROOT, CACHE = "/dev/xvda", "/dev/xvdb"


def volumes(**snapshots: str) -> list[dict[str, Any]]:
    """The volumes of a template: its root and another one, with the snapshots that are given."""
    named = {ROOT: snapshots.get("root"), CACHE: snapshots.get("cache")}
    return [
        {"DeviceName": device, "Ebs": {"VolumeSize": 20, **({"SnapshotId": snapshot} if snapshot else {})}}
        for device, snapshot in named.items()
    ]


@pytest.mark.parametrize(
    ("there", "left"),
    [
        (volumes(root="snap-old", cache="snap-mine"), volumes(cache="snap-mine")),
        (volumes(root="snap-older", cache="snap-data"), volumes()),
        (volumes(), volumes()),
        ([{"DeviceName": CACHE, "NoDevice": ""}], [{"DeviceName": CACHE, "NoDevice": ""}]),
    ],
)
def test_snapshots_of_the_image_are_the_new_images_and_those_of_the_operator_stay(there: Any, left: Any) -> None:
    old = image(root_device=ROOT, snapshots=frozenset({"snap-old", "snap-data"}))
    data = {"ImageId": OLD, "BlockDeviceMappings": there}
    before = copy.deepcopy(data)
    assert without_images(data, [old]) == {"BlockDeviceMappings": left}
    assert data == before, "what AWS said stays as it is"


@pytest.mark.parametrize(("snapshot", "sent"), [("snap-mine", volumes(cache="snap-mine")), ("", [])])
def test_a_snapshot_of_the_operator_is_sent_with_the_new_version(snapshot: str, sent: list[Any]) -> None:
    old = image(root_device=ROOT, snapshots=frozenset({"snap-old"}))
    new = image(NEW, root_device=ROOT, snapshots=frozenset({"snap-new"}))
    mine = template("3", old, BlockDeviceMappings=volumes(root="snap-old", cache=snapshot))
    without = {"ImageId": NEW, "KeyName": "k", "BlockDeviceMappings": volumes(root="snap-new")}
    step = step_for(mine, NEW, [(4, without)], new)
    assert list(step.volumes) == sent
    assert step.action == ("make" if snapshot else "use")


def test_what_is_made_for_a_number_is_the_latest_too() -> None:
    steps = [Step(template("3"), "make", NEW, 0), Step(template("$Default"), "use", NEW, 4)]
    assert {slot: step.template.version for slot, step in moved_by(steps).items()} == {
        ("lt-1", "$Latest"): "3",
        ("lt-1", "$Default"): "$Default",
    }
    assert not moved_by([Step(template("3"), "use", NEW, 4), Step(template("$Latest"), "stay", NEW, 4)])


def test_what_latest_is_to_mean_is_made_last() -> None:
    steps = [Step(template(version), "make", NEW, 0) for version in ("$Latest", "3", "$Default")]
    assert [step.template.version for step in in_order(steps)] == ["3", "$Default", "$Latest"]


def test_the_token_is_that_of_the_source_and_the_image() -> None:
    assert token_of(template("3"), NEW) == token_of(template("$Latest", number=3), NEW)
    assert len({token_of(template("3"), NEW), token_of(template("3"), OLD), token_of(template(number=4), NEW)}) == 3
    assert len(token_of(template(), NEW)) <= 128


def test_a_policy_gets_other_versions_and_nothing_else() -> None:
    policy = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": "lt-1", "LaunchTemplateName": "web", "Version": "3"},
            "Overrides": [
                {"InstanceType": "m5.large", "WeightedCapacity": "1"},
                {"InstanceType": "m7g.large", "LaunchTemplateSpecification": {"LaunchTemplateId": "lt-2"}},
                {"LaunchTemplateSpecification": {"LaunchTemplateId": "lt-3", "Version": "$Latest"}},
            ],
        },
        "InstancesDistribution": {"OnDemandBaseCapacity": 1},
    }
    new = policy_following(policy, {("lt-1", "3"): 5})
    assert new == {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": "lt-1", "Version": "5"},
            "Overrides": [
                {"InstanceType": "m5.large", "WeightedCapacity": "1"},
                {
                    "InstanceType": "m7g.large",
                    "LaunchTemplateSpecification": {"LaunchTemplateId": "lt-2", "Version": "$Default"},
                },
                {"LaunchTemplateSpecification": {"LaunchTemplateId": "lt-3", "Version": "$Latest"}},
            ],
        },
        "InstancesDistribution": {"OnDemandBaseCapacity": 1},
    }


# ---- what should be known


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kubelet v1.31.2", True),
        ("K8S=1.31", True),
        ("1.31", True),
        ("1.310", False),
        ("11.31", False),
        ("2.1.31", False),
        ("", False),
    ],
)
def test_a_version_in_a_text(text: str, named: bool) -> None:
    assert names_version(text, "1.31") is named


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (base64.b64encode(b"#!/bin/sh").decode(), "#!/bin/sh"),
        (base64.b64encode(gzip.compress(b"#!/bin/sh")).decode(), "#!/bin/sh"),
        (base64.b64encode(b"\x1f\x8bnonsense").decode(), ""),
        ("x", ""),
        (None, ""),
    ],
)
def test_user_data(content: str | None, text: str) -> None:
    assert user_data_of({"UserData": content}) == text


def test_what_is_kept_although_it_may_not_fit() -> None:
    user_data = base64.b64encode(f"AMI={OLD} VERSION=1.31".encode()).decode()
    devices = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20}}]
    present = template(present=image(root_device="/dev/xvda"), UserData=user_data, BlockDeviceMappings=devices)
    told = concerns(present, image(NEW, NAME.replace("1.31", "1.32"), root_device="/dev/sda1"), RECOMMENDED)
    assert [words in text for words, text in zip(("names 1.31", OLD, "/dev/sda1", "not for 1.33"), told)] == [True] * 4
    assert concerns(present, image(root_device="/dev/xvda"), Wish("keep", "1.31")) == []
