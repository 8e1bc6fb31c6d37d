# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and the role node_image: what a group launches next, by all the ways in which a group may say so."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.permissions import grant_only_what_is_documented

from simulator.identities import TOOL
from simulator.runs import kill_group, start_module
from simulator.scenarios import NodeGroup, Scenario
from simulator.world import World

CLUSTER = "rehearsal"
LINUX_2023 = "/aws/service/eks/optimized-ami/{}/amazon-linux-2023/{}/standard/recommended/image_id"
BOTTLEROCKET = "/aws/service/bottlerocket/aws-k8s-{}/{}/latest/image_id"
ARM_BOTTLEROCKET = BOTTLEROCKET.format("1.31", "arm64")
NEW = LINUX_2023.format("1.33", "x86_64")
OLD = {"outdated": False, "image_parameter": LINUX_2023.format("1.31", "x86_64")}
GROUPS = Scenario(
    version="1.33",
    groups=[
        NodeGroup("latest", size=1, max_size=2, **OLD),
        NodeGroup("fixed", size=0, template_version="1", **OLD),
        NodeGroup("default", size=0, template_version="$Default", **OLD | {"image_parameter": ARM_BOTTLEROCKET}),
        NodeGroup(
            "mixed", size=0, launch="mixed", template_version="1", instance_types=["m5.large", "m5a.large"], **OLD
        ),
        NodeGroup("old", size=0, launch="configuration", **OLD),
        NodeGroup("web", size=1, managed="web", **OLD),
    ],
    system=False,
)
pytestmark = pytest.mark.scenario(GROUPS)


def node_image(world: World, group: str, image: str = "recommended", **options: Any) -> dict[str, Any]:
    arguments = {"asg_name": group, "image": image, "version": "1.33", "poll_seconds": 0.5, **options}
    return world.module("evergreen.eks.node_image", arguments, check=False)


def changes(world: World) -> list[str]:
    return [call.operation for call in world.record.calls(author=TOOL, mutating=True)]


def template(world: World, group: str, version: str) -> dict[str, Any]:
    """A version of a group's launch template as EC2 shows it."""
    ec2, template_id = world.aws()("ec2"), world.provisioner.templates[group]
    found = ec2.describe_launch_template_versions(LaunchTemplateId=template_id, Versions=[version])
    return found["LaunchTemplateVersions"][0]


def versions(world: World, group: str) -> list[int]:
    ec2, template_id = world.aws()("ec2"), world.provisioner.templates[group]
    found = ec2.describe_launch_template_versions(LaunchTemplateId=template_id)["LaunchTemplateVersions"]
    return sorted(one["VersionNumber"] for one in found)


def described(world: World, group: str) -> dict[str, Any]:
    autoscaling = world.aws()("autoscaling")
    return autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"][0]


class TestFollowing:
    def test_latest_gets_a_new_version_with_nothing_but_the_image_changed(self, world: World) -> None:
        user_data = base64.b64encode(b"apiVersion: node.eks.aws/v1alpha1\nkubelet: v1.31.2\n").decode()
        world.aws()("ec2").create_launch_template_version(
            LaunchTemplateId=world.provisioner.templates["latest"],
            SourceVersion="1",
            LaunchTemplateData={"UserData": user_data, "EbsOptimized": True},
        )
        before = template(world, "latest", "$Latest")

        planned = world.module(
            "evergreen.eks.node_image", {"asg_name": "latest", "image": "recommended", "version": "1.33"}, check=True
        )
        assert changes(world) == []
        done = node_image(world, "latest")
        again = node_image(world, "latest")

        after = template(world, "latest", "$Latest")
        new = world.cloud.parameter(NEW)
        assert after["LaunchTemplateData"] == {**before["LaunchTemplateData"], "ImageId": new}
        assert changes(world) == ["CreateLaunchTemplateVersion"]
        assert (done["changed"], again["changed"], planned["changed"]) == (True, False, True)
        assert done["image_id"] == planned["image_id"] == again["image_id"] == new
        assert (done["kubernetes_version"], done["family"], done["variant"]) == ("1.33", "al2023", "standard")
        (one,) = done["templates"]
        assert (one["action"], one["follows"], one["version"]) == ("make", "$Latest", after["VersionNumber"])
        assert one["before"]["kubernetes_version"] == "1.31"
        assert "The user data of launch template rehearsal-latest names 1.31" in str(done["warnings"])

        (old,) = world.snapshot().groups["latest"].instances
        world.actors.set_desired("latest", 2)
        world.wait_until(lambda now: len(now.groups["latest"].instances) == 2, "a second instance")
        (launched,) = set(world.snapshot().groups["latest"].instances) - {old}
        assert world.cloud.compute.find(launched).image_id == new

    def test_a_number_moves_the_group_and_a_version_that_fits_is_used(self, world: World) -> None:
        new = world.cloud.parameter(NEW)
        made_by_somebody = world.cloud.new_template_version(world.provisioner.templates["fixed"], ImageId=new)
        other = world.cloud.new_template_version(
            world.provisioner.templates["fixed"], ImageId=new, InstanceType="c5.large"
        )

        done = node_image(world, "fixed")
        again = node_image(world, "fixed")

        assert described(world, "fixed")["LaunchTemplate"]["Version"] == str(made_by_somebody)
        assert versions(world, "fixed") == [1, made_by_somebody, other], "none was made"
        assert done["templates"][0]["action"] == "use"
        assert changes(world) == ["UpdateAutoScalingGroup"]
        assert not again["changed"]

    def test_the_default_version_moves_and_others_who_follow_it_are_named(self, world: World) -> None:
        world.aws()("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName="fixed",
            LaunchTemplate={"LaunchTemplateId": world.provisioner.templates["default"], "Version": "$Default"},
        )

        done = node_image(world, "default")

        new = world.cloud.parameter(BOTTLEROCKET.format("1.33", "arm64"))
        assert template(world, "default", "$Default")["LaunchTemplateData"]["ImageId"] == new
        assert changes(world) == ["CreateLaunchTemplateVersion", "ModifyLaunchTemplate"]
        assert (done["family"], done["architecture"]) == ("bottlerocket", "arm64")
        assert done["also_used_by"] == ["fixed"]
        assert "is also that of fixed" in str(done["warnings"])

    def test_a_template_that_another_group_follows_is_not_changed_behind_its_back(self, world: World) -> None:
        shared = world.provisioner.templates["fixed"]
        world.cloud.new_template_version(shared, InstanceType="c5.large")
        autoscaling = world.aws()("autoscaling")
        autoscaling.update_auto_scaling_group(
            AutoScalingGroupName="latest", LaunchTemplate={"LaunchTemplateId": shared, "Version": "$Latest"}
        )
        more_than_the_image = node_image(world, "fixed")

        tag = {"ResourceId": "latest", "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
        autoscaling.delete_tags(Tags=[{**tag, "Key": f"kubernetes.io/cluster/{CLUSTER}"}])
        autoscaling.create_or_update_tags(Tags=[{**tag, "Key": "kubernetes.io/cluster/other", "Value": "owned"}])
        of_another_cluster = node_image(world, "fixed")

        assert (more_than_the_image["reason"], of_another_cluster["reason"]) == ("template_shared", "template_shared")
        assert "follows $Latest (version 2)" in more_than_the_image["msg"]
        assert "of cluster other" in of_another_cluster["msg"]
        assert not changes(world)

    def test_a_mixed_policy_with_two_architectures_stays_as_it_is_but_for_the_versions(self, world: World) -> None:
        arm = world.cloud.create_template("arm", world.cloud.parameter(LINUX_2023.format("1.31", "arm64")), "m7g.large")
        policy = described(world, "mixed")["MixedInstancesPolicy"]
        policy["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] = 20
        policy["LaunchTemplate"]["LaunchTemplateSpecification"].pop("LaunchTemplateName")
        own = {"InstanceType": "m7g.large", "LaunchTemplateSpecification": {"LaunchTemplateId": arm.id, "Version": "1"}}
        policy["LaunchTemplate"]["Overrides"].append(own)
        world.aws()("autoscaling").update_auto_scaling_group(AutoScalingGroupName="mixed", MixedInstancesPolicy=policy)

        done = node_image(world, "mixed")

        after = described(world, "mixed")["MixedInstancesPolicy"]
        assert after["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 20
        assert [one["InstanceType"] for one in after["LaunchTemplate"]["Overrides"]] == [
            "m5.large",
            "m5a.large",
            "m7g.large",
        ]
        assert after["LaunchTemplate"]["LaunchTemplateSpecification"]["Version"] == "2"
        assert after["LaunchTemplate"]["Overrides"][2]["LaunchTemplateSpecification"]["Version"] == "2"
        wanted = [world.cloud.parameter(LINUX_2023.format("1.33", arch)) for arch in ("x86_64", "arm64")]
        assert [one["image_id"] for one in done["templates"]] == wanted
        assert changes(world) == ["CreateLaunchTemplateVersion"] * 2 + ["UpdateAutoScalingGroup"]
        assert not node_image(world, "mixed")["changed"]

    def test_a_template_with_a_parameter_of_aws_names_that_of_the_version(self, world: World) -> None:
        old, new = (f"resolve:ssm:{LINUX_2023.format(version, 'x86_64')}" for version in ("1.31", "1.33"))
        world.cloud.new_template_version(world.provisioner.templates["latest"], ImageId=old)

        done = node_image(world, "latest")

        assert template(world, "latest", "$Latest")["LaunchTemplateData"]["ImageId"] == new
        assert (done["templates"][0]["image"], done["image_id"]) == (new, world.cloud.parameter(NEW))
        assert not node_image(world, "latest")["changed"]

    def test_keep_changes_nothing_and_says_what_is_launched(self, world: World) -> None:
        kept = node_image(world, "latest", "keep")
        configuration = node_image(world, "old", "keep")

        assert kept["kubernetes_version"] == "1.31"
        assert "not for 1.33" in str(kept["warnings"])
        assert (configuration["changed"], configuration["templates"]) == (False, [])
        assert changes(world) == []


class TestKilled:
    def test_reruns_go_on_from_where_the_last_one_died_and_make_one_version(self, world: World) -> None:
        """It dies right before, or right after, AWS has done what it asked for; four times in a row."""
        for operation in ("CreateLaunchTemplateVersion", "UpdateAutoScalingGroup"):
            for moment in ("before", "after"):
                die(world, operation, moment)
        last = node_image(world, "fixed")

        assert versions(world, "fixed") == [1, 2]
        assert described(world, "fixed")["LaunchTemplate"]["Version"] == "2"
        assert template(world, "fixed", "2")["LaunchTemplateData"]["ImageId"] == world.cloud.parameter(NEW)
        assert not last["changed"], "the last of them had done it all"

    def test_an_answer_that_is_lost_is_asked_for_again_with_the_same_token(self, world: World) -> None:
        world.faults.add("ec2", "^CreateLaunchTemplateVersion$", reset="after")

        assert node_image(world, "latest")["changed"]
        assert versions(world, "latest") == [1, 2]
        assert changes(world) == ["CreateLaunchTemplateVersion"] * 2

    def test_somebody_who_adds_a_version_meanwhile_is_noticed_and_a_rerun_puts_it_right(self, world: World) -> None:
        latest, old = world.provisioner.templates["latest"], world.cloud.parameter(LINUX_2023.format("1.31", "x86_64"))
        world.faults.add(
            operation="^CreateLaunchTemplateVersion$",
            author=TOOL,
            after=lambda call: world.cloud.new_template_version(latest, ImageId=old),
        )

        outrun = node_image(world, "latest")
        again = node_image(world, "latest")

        assert (outrun["reason"], "somebody else" in outrun["msg"]) == ("template_moved", True)
        assert (again["changed"], again["templates"][0]["version"]) == (True, 4)
        assert again["image_id"] == world.cloud.parameter(NEW)


def die(world: World, operation: str, moment: str) -> None:
    """The module is killed at this request, before it is served or after it was."""
    arguments = {"asg_name": "fixed", "image": "recommended", "version": "1.33", "poll_seconds": 0.5}
    dying = start_module(world.env(), "evergreen.eks.node_image", arguments)
    world.faults.add(
        operation=f"^{operation}$",
        author=TOOL,
        reset=moment == "before",
        **{moment: lambda call: kill_group(dying)},
    )
    dying.communicate(timeout=60)
    assert dying.returncode == -9


def a_copy_under_the_old_name(world: World) -> dict[str, Any]:
    copied = world.cloud.create_image("amazon-eks-node-al2023-x86_64-standard-1.31-v20261101")
    world.cloud.new_template_version(world.provisioner.templates["latest"], ImageId=copied)
    return node_image(world, "latest")


def a_parameter_of_ones_own(world: World) -> dict[str, Any]:
    world.cloud.set_parameter("/golden/node", world.cloud.create_image("golden"))
    world.cloud.new_template_version(world.provisioner.templates["latest"], ImageId="resolve:ssm:/golden/node")
    return node_image(world, "latest")


def no_parameter(world: World) -> dict[str, Any]:
    world.cloud.remove_parameter(NEW)
    return node_image(world, "fixed")


def newer_than_the_control_plane(world: World) -> dict[str, Any]:
    return node_image(world, "fixed", version="1.34", cluster_name=CLUSTER)


def another_family(world: World) -> dict[str, Any]:
    return node_image(world, "fixed", world.cloud.parameter(BOTTLEROCKET.format("1.33", "x86_64")))


def another_architecture(world: World) -> dict[str, Any]:
    return node_image(world, "fixed", world.cloud.parameter(LINUX_2023.format("1.33", "arm64")))


# What the unit tests' tables cannot tell: that AWS's own answers are understood so.
REFUSED = [
    ("launch_configuration", "launch template", lambda world: node_image(world, "old")),
    ("managed_group", "update-nodegroup-version", lambda world: node_image(world, "web")),
    ("image_unknown", "family", a_copy_under_the_old_name),
    ("image_by_parameter", "/golden/node", a_parameter_of_ones_own),
    ("image_not_published", NEW, no_parameter),
    ("image_unfit", "control plane", newer_than_the_control_plane),
    ("image_unfit", "arm64", another_architecture),
    ("family_change", "Bottlerocket", another_family),
    ("not_found", "ami-0123", lambda world: node_image(world, "fixed", "ami-01234567")),
    ("invalid_input", "cluster_name", lambda world: node_image(world, "fixed", version=None)),
]


def test_what_cannot_be_is_refused_in_words_with_nothing_changed(world: World) -> None:
    """One world for all: none of them may leave anything behind."""
    for reason, named, attempt in REFUSED:
        failure = attempt(world)
        assert failure["failed"], named
        assert (failure["reason"], named in failure["msg"]) == (reason, True), failure["msg"]
        assert failure["msg"].count(". ") >= 1, f"a remedy: {failure['msg']}"
        assert changes(world) == []


def test_an_image_of_ones_own_takes_the_place_of_another(world: World, tmp_path: Path) -> None:
    """Also by family, and behind a parameter it may be there already."""
    golden = world.cloud.create_image("golden-1.33")
    world.cloud.set_parameter("/golden/node", golden)
    journal = tmp_path / "journal.jsonl"

    named = node_image(world, "latest", golden, journal=str(journal))
    by_family = node_image(world, "latest", family="al2023")
    world.cloud.new_template_version(world.provisioner.templates["fixed"], ImageId="resolve:ssm:/golden/node")
    world.aws()("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName="fixed",
        LaunchTemplate={"LaunchTemplateId": world.provisioner.templates["fixed"], "Version": "2"},
    )
    behind = node_image(world, "fixed", golden)

    assert (named["image_id"], named["family"]) == (golden, "")
    assert by_family["image_id"] == world.cloud.parameter(NEW)
    assert not behind["changed"]
    assert [json.loads(line)["kind"] for line in journal.read_text().splitlines()] == ["template_version"]


def test_the_role_with_nothing_but_the_documented_permissions(world: World, tmp_path: Path) -> None:
    """In somebody else's play, with variables that are all text."""
    asked = grant_only_what_is_documented(world, upgrade=True)
    play = {
        "name": "New images",
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Shared",
                "ansible.builtin.import_role": {"name": "evergreen.eks.node_image"},
                "vars": {
                    "node_image_cluster_name": CLUSTER,
                    "node_image_asg_name": "default",
                    "node_image_image": "recommended",
                    "node_image_version": "1.33",
                    "node_image_poll_seconds": "0.5",
                    "node_image_journal": str(tmp_path / "journal.jsonl"),
                },
            },
            {
                "name": "What it answers",
                "ansible.builtin.copy": {
                    "content": "{{ node_image_result | to_json }}",
                    "dest": str(tmp_path / "result.json"),
                    "mode": "0600",
                },
            },
        ],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")

    run = world.playbook(str(playbook), {})

    assert run.rc == 0, run.output
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["changed"], result["kubernetes_version"]) == (True, "1.33")
    assert {"ec2:DescribeImages", "ec2:CreateLaunchTemplateVersion", "ec2:ModifyLaunchTemplate"} <= asked.actions
