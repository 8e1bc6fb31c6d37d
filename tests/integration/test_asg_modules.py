# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules asg_info, asg_capacity, asg_processes and asg_protection, as a playbook runs them.

What they claim is checked against the world: its record of the tool's calls, and how things stand in the end.
"""

from __future__ import annotations

from typing import Any

import pytest

from simulator.identities import TOOL
from simulator.scenarios import NodeGroup, Scenario
from simulator.world import World

NODES_ONLY = Scenario(
    groups=[
        NodeGroup("shared", size=3, max_size=4),
        NodeGroup("batch", size=1, template_version="$Default", outdated=False),
        NodeGroup("istio", size=2, launch="configuration"),
        NodeGroup("logging", size=2, launch="mixed", instance_types=["m5.large", "m5a.large"]),
    ],
    system=False,
)
pytestmark = pytest.mark.scenario(NODES_ONLY)

IMAGE_PARAMETER = "/aws/service/eks/optimized-ami/1.34/amazon-linux-2023/x86_64/standard/recommended/image_id"


def changes(world: World) -> list[tuple[str, dict[str, Any]]]:
    """The requests of the tool that may change something, each with what it said about the group."""
    return [(call.operation, call.params) for call in world.record.calls(author=TOOL, mutating=True)]


def sizes(world: World, group: str = "shared") -> tuple[int, int, int]:
    now = world.snapshot().groups[group]
    return now.min_size, now.max_size, now.desired


def members(world: World, group: str = "shared") -> list[str]:
    return sorted(world.snapshot().groups[group].instances)


def reasons(answer: dict[str, Any]) -> dict[str, set[str | None]]:
    return {group["name"]: {one["reason"] for one in group["instances"]} for group in answer["groups"]}


def test_as_tasks_of_a_playbook(world: World) -> None:
    """No playbook of ours has these two."""
    found = world.task("evergreen.eks.asg_info", {"names": ["shared"]})
    predicted = world.task("evergreen.eks.asg_capacity", {"asg_name": "shared", "desired_capacity": 4}, check=True)

    assert [group["name"] for group in found["groups"]] == ["shared"]
    assert predicted["changed"] and predicted["after"]["desired_capacity"] == 4
    assert changes(world) == []


class TestInfo:
    def test_the_groups_of_a_cluster_and_why_their_instances_are_outdated(self, world: World) -> None:
        answer = world.module("evergreen.eks.asg_info", {"cluster_name": "rehearsal"})

        assert reasons(answer) == {
            "batch": {None},
            "istio": {"configuration"},
            "logging": {"template_version"},
            "shared": {"template_version"},
        }
        shared = answer["groups"][3]
        assert (shared["min_size"], shared["max_size"], shared["desired_capacity"]) == sizes(world)
        assert [one["instance_id"] for one in shared["instances"]] == members(world)
        assert (shared["launch"]["version"], shared["target"]["version"]) == ("$Latest", "2")
        assert shared["target"]["image_id"] == world.provisioner.images[-1]
        assert answer["groups"][2]["target"]["instance_types"] == ["m5.large", "m5a.large"]
        assert changes(world) == []

    def test_an_image_that_moved_behind_its_parameter(self, world: World) -> None:
        world.cloud.publish_eks_image("1.34", world.provisioner.images[-1])
        world.cloud.new_template_version(
            world.provisioner.templates["shared"], ImageId=f"resolve:ssm:{IMAGE_PARAMETER}"
        )
        old = set(members(world))
        world.actors.set_desired("shared", 4)
        world.wait_until(lambda now: len(now.groups["shared"].instances) == 4, "a fourth instance")
        (new,) = set(members(world)) - old

        before = world.module("evergreen.eks.asg_info", {"names": ["shared"]})["groups"][0]
        image = world.provisioner.new_image()
        after = world.module("evergreen.eks.asg_info", {"names": ["shared"]})["groups"][0]

        assert {one["instance_id"]: one["reason"] for one in before["instances"]} == {
            **dict.fromkeys(old, "template_version"),
            new: None,
        }
        assert {one["instance_id"]: one["reason"] for one in after["instances"]}[new] == "image"
        assert after["target"]["image_id"] == image
        assert after["target"]["version"] == before["target"]["version"]
        assert after["target"]["fingerprint"] != before["target"]["fingerprint"]

    def test_an_instance_type_that_is_no_longer_among_the_overrides(self, world: World) -> None:
        specification = {"LaunchTemplateId": world.provisioner.templates["logging"], "Version": "1"}
        policy = {"LaunchTemplateSpecification": specification, "Overrides": [{"InstanceType": "c5.large"}]}
        world.aws()("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName="logging", MixedInstancesPolicy={"LaunchTemplate": policy}
        )

        assert reasons(world.module("evergreen.eks.asg_info", {"names": ["logging"]})) == {"logging": {"instance_type"}}

    def test_what_the_group_has_suspended_protected_and_hooked(self, world: World) -> None:
        autoscaling = world.aws()("autoscaling")
        autoscaling.put_lifecycle_hook(
            AutoScalingGroupName="shared",
            LifecycleHookName="drain",
            LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
            HeartbeatTimeout=300,
        )
        world.actors.suspend("shared", "AZRebalance", "AlarmNotification")
        autoscaling.update_auto_scaling_group(AutoScalingGroupName="shared", NewInstancesProtectedFromScaleIn=True)

        (group,) = world.module("evergreen.eks.asg_info", {"names": ["shared"]})["groups"]

        assert group["suspended_processes"] == ["AZRebalance", "AlarmNotification"]
        assert group["protects_new_instances"] is True
        assert [(hook["name"], hook["transition"], hook["heartbeat_timeout"]) for hook in group["hooks"]] == [
            ("drain", "terminating", 300)
        ]

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"names": ["shared", "shard"]}, "Auto Scaling group shard not found in region eu-central-1. Did you mean"),
            ({"cluster_name": "rehersal"}, "carries the tag kubernetes.io/cluster/rehersal"),
        ],
    )
    def test_what_does_not_exist_is_one_clear_error(self, world: World, options: dict[str, Any], text: str) -> None:
        answer = world.module("evergreen.eks.asg_info", options)

        assert answer["failed"]
        assert answer["reason"] == "group_not_found"
        assert text in answer["msg"]
        assert "Traceback" not in str(answer)

    def test_a_missing_permission_is_named(self, world: World) -> None:
        denied = (403, "UnauthorizedOperation", "You are not authorized to perform this operation.")
        world.faults.add("ec2", "DescribeLaunchTemplateVersions", author=TOOL, error=denied)

        answer = world.module("evergreen.eks.asg_info", {"names": ["shared"]})

        assert answer["reason"] == "access_denied"
        assert "Allow the action ec2:DescribeLaunchTemplateVersions" in answer["msg"]


def resize(world: World, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
    options = {"asg_name": "shared", "poll_seconds": 0.1, **options}
    return world.module("evergreen.eks.asg_capacity", options, check=check, diff=diff)


class TestCapacity:
    def test_more_instances_in_one_call_and_waited_for(self, world: World) -> None:
        answer = resize(world, max_size=5, desired_capacity=5, wait=True)

        assert answer["changed"]
        assert answer["before"] == {"min_size": 0, "max_size": 4, "desired_capacity": 3}
        assert answer["after"] == {"min_size": 0, "max_size": 5, "desired_capacity": 5}
        assert answer["in_service"] == 5
        (request,) = changes(world)
        assert request[0] == "UpdateAutoScalingGroup"
        assert {key: int(request[1][key]) for key in ("MaxSize", "DesiredCapacity")} == {
            "MaxSize": 5,
            "DesiredCapacity": 5,
        }
        assert "MinSize" not in request[1]
        states = {one.lifecycle for one in world.snapshot().groups["shared"].instances.values()}
        assert (len(members(world)), states) == (5, {"InService"})

        again = resize(world, max_size=5, desired_capacity=5, wait=True)

        assert (again["changed"], again["in_service"]) == (False, 5)
        assert len(changes(world)) == 1

    def test_only_what_differs_is_sent(self, world: World) -> None:
        resize(world, min_size=0, max_size=6, desired_capacity=3)

        ((operation, params),) = changes(world)
        assert operation == "UpdateAutoScalingGroup"
        assert {"MinSize", "DesiredCapacity"}.isdisjoint(params)
        assert sizes(world) == (0, 6, 3)

    def test_check_mode_predicts_and_shows_the_difference(self, world: World) -> None:
        answer = resize(world, check=True, diff=True, max_size=8, wait=True)

        assert answer["changed"]
        assert answer["diff"]["before"]["max_size"] == 4
        assert answer["diff"]["after"]["max_size"] == answer["after"]["max_size"] == 8
        assert changes(world) == []
        assert sizes(world) == (0, 4, 3)

    def test_only_raise_leaves_what_is_larger(self, world: World) -> None:
        answer = resize(world, max_size=3, desired_capacity=2, only_raise=True)

        assert not answer["changed"]
        assert (changes(world), sizes(world)) == ([], (0, 4, 3))

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"min_size": 5}, "min_size 5 would be above max_size 4"),
            ({"desired_capacity": 2}, "below its 3 members, and AWS would terminate 1 of its choice"),
        ],
    )
    def test_what_cannot_be_is_refused_before_anything_is_sent(
        self, world: World, options: dict[str, Any], text: str
    ) -> None:
        answer = resize(world, **options)

        assert (answer["failed"], answer["reason"]) == (True, "refused")
        assert "Auto Scaling group shared" in answer["msg"]
        assert text in answer["msg"]
        assert (changes(world), sizes(world)) == ([], (0, 4, 3))

    def test_without_capacity_the_time_out_speaks_in_aws_own_words(self, world: World) -> None:
        world.cloud.fail_launches("shared")

        answer = resize(world, desired_capacity=4, wait=True, wait_timeout=1)

        assert (answer["failed"], answer["reason"], answer["changed"]) == (True, "capacity_timeout", True)
        assert "3 of 4 instances InService" in answer["msg"]
        assert "do not have sufficient m5.large capacity" in answer["msg"]
        assert set(answer["members"].values()) == {"InService"}
        assert len(members(world)) == 3

    def test_aws_busy_with_the_group_is_waited_out(self, world: World) -> None:
        busy = (
            400,
            "ScalingActivityInProgress",
            "The operation can't be performed: a scaling activity is in progress.",
        )
        fault = world.faults.add("autoscaling", "UpdateAutoScalingGroup", author=TOOL, error=busy)

        answer = resize(world, max_size=6)

        assert answer["changed"]
        assert fault.hits == 1
        assert sizes(world) == (0, 6, 3)

    def test_a_group_that_is_deleted_while_its_instances_are_waited_for(self, world: World) -> None:
        world.actors.when(lambda: world.actors.delete_group("shared"), operation="^UpdateAutoScalingGroup$")

        answer = resize(world, desired_capacity=4, wait=True, wait_timeout=60)

        assert (answer["failed"], answer["reason"]) == (True, "group_deleting")
        assert "Auto Scaling group shared is being deleted (Delete in progress)" in answer["msg"]


def switch(world: World, state: str, *processes: str, check: bool = False, diff: bool = False) -> dict[str, Any]:
    options = {"asg_name": "shared", "processes": list(processes), "state": state}
    return world.module("evergreen.eks.asg_processes", options, check=check, diff=diff)


class TestProcesses:
    def test_there_and_back_without_touching_what_others_suspended(self, world: World) -> None:
        world.actors.suspend("shared", "ScheduledActions")

        suspended = switch(world, "suspended", "AZRebalance", "ScheduledActions")
        again = switch(world, "suspended", "AZRebalance", "ScheduledActions")

        assert (suspended["changed"], suspended["changed_processes"]) == (True, ["AZRebalance"])
        assert suspended["suspended"] == ["AZRebalance", "ScheduledActions"]
        assert (again["changed"], again["changed_processes"]) == (False, [])

        resumed = switch(world, "running", *suspended["changed_processes"])

        assert resumed["changed_processes"] == ["AZRebalance"]
        assert world.snapshot().groups["shared"].suspended == {"ScheduledActions"}
        assert [operation for operation, _params in changes(world)] == ["SuspendProcesses", "ResumeProcesses"]

    def test_check_mode_changes_nothing(self, world: World) -> None:
        answer = switch(world, "suspended", "AZRebalance", check=True)

        assert (answer["changed"], answer["suspended"]) == (True, ["AZRebalance"])
        assert (changes(world), world.snapshot().groups["shared"].suspended) == ([], frozenset())

    def test_no_process_means_none_not_all(self, world: World) -> None:
        answer = switch(world, "suspended")

        assert not answer["changed"]
        assert (changes(world), world.snapshot().groups["shared"].suspended) == ([], frozenset())


def protect(
    world: World, state: str = "protected", check: bool = False, diff: bool = False, **options: Any
) -> dict[str, Any]:
    arguments = {"asg_name": "shared", "state": state, **options}
    return world.module("evergreen.eks.asg_protection", arguments, check=check, diff=diff)


def protected(world: World) -> list[str]:
    return [name for name, one in sorted(world.snapshot().groups["shared"].instances.items()) if one.protected]


class TestProtection:
    def test_the_difference_is_the_same_whether_it_is_predicted_or_made(self, world: World) -> None:
        """Of its processes, too."""
        first, *others = members(world)
        protect(world, instance_ids=[first])
        world.actors.suspend("shared", "ScheduledActions")

        foretold = [
            protect(world, new_instances=True, check=True, diff=True),
            switch(world, "suspended", "AZRebalance", check=True, diff=True),
        ]
        assert len(changes(world)) == 1
        made = [
            protect(world, new_instances=True, diff=True),
            switch(world, "suspended", "AZRebalance", diff=True),
        ]

        assert [answer["diff"] for answer in foretold] == [answer["diff"] for answer in made]
        assert [answer["diff"] for answer in made] == [
            {
                "before": {"protected_instances": [first], "protects_new_instances": False},
                "after": {"protected_instances": [first, *others], "protects_new_instances": True},
            },
            {
                "before": {"suspended": ["ScheduledActions"]},
                "after": {"suspended": ["AZRebalance", "ScheduledActions"]},
            },
        ]

    def test_all_members_and_those_that_come(self, world: World) -> None:
        answer = protect(world, new_instances=True)
        world.actors.set_desired("shared", 4)
        world.wait_until(lambda now: len(now.groups["shared"].instances) == 4, "a fourth instance")

        assert answer["changed"]
        assert len(answer["changed_instances"]) == 3
        assert answer["new_instances"] == {"before": False, "after": True}
        assert [operation for operation, _params in changes(world)] == [
            "UpdateAutoScalingGroup",
            "SetInstanceProtection",
        ]
        assert protected(world) == members(world)

        again = protect(world, new_instances=True)

        assert (again["changed"], again["changed_instances"]) == (False, [])
        assert len(changes(world)) == 2

    def test_only_the_named_ones(self, world: World) -> None:
        first, _second, _third = members(world)
        stranger = members(world, "istio")[0]

        answer = protect(world, instance_ids=[first, stranger])

        assert {name: entry["reason"] for name, entry in answer["instances"].items()} == {
            first: "changed",
            stranger: "not_a_member",
        }
        assert protected(world) == [first]
        assert world.snapshot().groups["istio"].instances[stranger].protected is False

    def test_check_mode_changes_nothing(self, world: World) -> None:
        answer = protect(world, check=True, new_instances=True)

        assert (answer["changed"], answer["changed_instances"]) == (True, members(world))
        assert (changes(world), protected(world)) == ([], [])

    def test_instances_in_a_state_that_aws_refuses_are_left_and_reported(self, world: World) -> None:
        leaving = members(world)[0]
        world.aws()("autoscaling").put_lifecycle_hook(
            AutoScalingGroupName="shared",
            LifecycleHookName="drain",
            LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        )
        world.aws()("autoscaling").terminate_instance_in_auto_scaling_group(
            InstanceId=leaving, ShouldDecrementDesiredCapacity=True
        )

        answer = protect(world)

        assert answer["instances"][leaving]["reason"] == "wrong_state"
        assert answer["changed_instances"] == [name for name in sorted(answer["instances"]) if name != leaving]
        assert leaving not in protected(world)

    def test_one_that_begins_to_leave_meanwhile_does_not_keep_the_others_unprotected(self, world: World) -> None:
        leaving, *staying = members(world)

        def terminate() -> None:
            world.aws()("autoscaling").terminate_instance_in_auto_scaling_group(
                InstanceId=leaving, ShouldDecrementDesiredCapacity=True
            )

        world.actors.when(terminate, operation="^SetInstanceProtection$", before=True)

        answer = protect(world)

        assert not answer["failed"]
        assert answer["changed_instances"] == staying
        assert answer["instances"][leaving]["reason"] == "left"
        assert protected(world) == staying
