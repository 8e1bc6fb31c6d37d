# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading: by name and by id, in few calls, with errors that help."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from unit.scripted_aws import (
    ScriptedAws,
    activity_entry,
    group_entry,
    instance_entry,
    member_entry,
    scripted_aws,
)

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    GroupNotFound,
    describe_group,
    describe_groups,
    describe_instances,
    newest_activity,
    scaling_activities,
    tagged_instances,
)


def answer(*names: str, token: str = "") -> dict:
    more = {"NextToken": token} if token else {}
    return {"AutoScalingGroups": [group_entry(name=name) for name in names], **more}


def test_groups_come_in_the_order_of_the_names() -> None:
    with scripted_aws() as script:
        script.expect(
            "autoscaling",
            "describe_auto_scaling_groups",
            answer("istio", "logging", "shared"),
            AutoScalingGroupNames=["shared", "istio", "logging"],
        )

        groups = describe_groups(script.aws, ["shared", "istio", "logging", "shared"])

    assert [group.name for group in groups] == ["shared", "istio", "logging"]


def test_fifty_names_a_call() -> None:
    names = [f"group-{number:02}" for number in range(60)]
    with scripted_aws() as script:
        for part in (names[:50], names[50:]):
            script.expect("autoscaling", "describe_auto_scaling_groups", answer(*part), AutoScalingGroupNames=part)

        assert [group.name for group in describe_groups(script.aws, names)] == names


def test_the_groups_of_a_cluster_by_tag_page_by_page_sorted() -> None:
    request = {"Filters": [{"Name": "tag-key", "Values": ["kubernetes.io/cluster/production"]}], "MaxRecords": 100}
    with scripted_aws() as script:
        first = answer("shared", "istio", token="more")
        script.expect("autoscaling", "describe_auto_scaling_groups", first, **request)
        script.expect("autoscaling", "describe_auto_scaling_groups", answer("logging"), NextToken="more", **request)

        groups = describe_groups(script.aws, cluster="production")

    assert [group.name for group in groups] == ["istio", "logging", "shared"]


def test_hooks_only_where_asked_for() -> None:
    hook = {"LifecycleHookName": "drain", "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"}
    with scripted_aws() as script:
        script.expect_group()
        script.expect(
            "autoscaling", "describe_lifecycle_hooks", {"LifecycleHooks": [hook]}, AutoScalingGroupName="shared"
        )
        script.expect_group()

        assert [hook.name for hook in describe_group(script.aws, "shared", with_hooks=True).hooks] == ["drain"]
        assert describe_group(script.aws, "shared").hooks is None


@pytest.mark.parametrize(
    ("wrong", "known", "remedy"),
    [
        ("shard", ["istio", "logging", "shared"], "Did you mean shared."),
        ("workers", ["istio", "logging"], "there are istio, logging."),
        ("workers", [], "there are no Auto Scaling groups here."),
    ],
)
def test_a_group_that_does_not_exist_is_answered_with_those_that_do(wrong: str, known: list[str], remedy: str) -> None:
    with scripted_aws() as script:
        script.expect("autoscaling", "describe_auto_scaling_groups", answer(), AutoScalingGroupNames=[wrong])
        script.expect("autoscaling", "describe_auto_scaling_groups", answer(*known), MaxRecords=100)

        with pytest.raises(GroupNotFound, match=f"Auto Scaling group {wrong} not found in region eu-west-1") as raised:
            describe_group(script.aws, wrong)

    assert str(raised.value).endswith(remedy)
    assert raised.value.as_failure()["reason"] == "group_not_found"
    assert raised.value.as_failure()["missing"] == [wrong]


def test_an_empty_name_is_no_name() -> None:
    with scripted_aws() as script, pytest.raises(InvalidInput, match="is empty"):
        describe_group(script.aws, "")


def test_instances_by_filter_a_hundred_a_call_and_those_that_are_gone_are_absent() -> None:
    ids = [f"i-{number:017x}" for number in range(130)]
    with scripted_aws() as script:
        for part in (ids[:100], ids[100:]):
            entries = [instance_entry(instance_id) for instance_id in part if instance_id != ids[5]]
            script.expect(
                "ec2",
                "describe_instances",
                {"Reservations": [{"Instances": entries}]},
                Filters=[{"Name": "instance-id", "Values": part}],
            )

        instances = describe_instances(script.aws, reversed(ids))

    assert sorted(instances) == [instance_id for instance_id in ids if instance_id != ids[5]]


def test_no_instances_cost_no_call() -> None:
    with scripted_aws() as script:
        assert describe_instances(script.aws, []) == {}


def test_instances_by_tag() -> None:
    with scripted_aws() as script:
        script.expect(
            "ec2",
            "describe_instances",
            {"Reservations": [{"Instances": [instance_entry("i-0b")]}, {"Instances": [instance_entry("i-0a")]}]},
            Filters=[{"Name": "tag:evergreen.eks/departing", "Values": ["run-1"]}],
        )

        assert tagged_instances(script.aws, "evergreen.eks/departing", "run-1") == ["i-0a", "i-0b"]


def at(minute: int, status: str = "Successful") -> dict[str, Any]:
    """The activity that began in that minute, and is named by it."""
    started = datetime(2026, 11, 21, 1, minute, tzinfo=timezone.utc)
    return activity_entry(f"{minute}", status, ActivityId=f"{minute}", StartTime=started)


# As AWS answers them: those in progress first. A launch hook holds the one of minute 2.
IN_PROGRESS_FIRST = [at(7, "InProgress"), at(2, "MidLifecycleAction"), at(6), at(4, "Failed"), at(3), at(1)]


def expect_activities(script: ScriptedAws, *entries: dict[str, Any]) -> None:
    asked = {"AutoScalingGroupName": "shared", "MaxRecords": 100}
    script.expect("autoscaling", "describe_scaling_activities", {"Activities": list(entries)}, **asked)


@pytest.mark.parametrize(
    ("since", "begun"),
    [
        (None, "764321"),
        ("4", "76"),  # not the one of minute 2, although AWS names it before
        ("2", "7643"),  # in progress still: those that ended meanwhile stand behind it
        ("7", ""),
        ("forgotten", "764321"),  # AWS keeps them for six weeks
    ],
)
def test_activities_come_newest_first_whatever_is_in_progress(since: str | None, begun: str) -> None:
    with scripted_aws() as script:
        expect_activities(script, *IN_PROGRESS_FIRST)
        found = scaling_activities(script.aws, "shared", since=since)
    assert "".join(activity.activity_id for activity in found) == begun


@pytest.mark.parametrize(
    ("entries", "newest"),
    [
        (IN_PROGRESS_FIRST, "7"),
        (IN_PROGRESS_FIRST[1:], "6"),  # the first one is in progress, and older
        (IN_PROGRESS_FIRST[2:], "6"),
        (IN_PROGRESS_FIRST[1:2], "2"),
        ([], ""),
    ],
)
def test_the_newest_activity(entries: list[dict[str, Any]], newest: str) -> None:
    with scripted_aws() as script:
        expect_activities(script, *entries)
        assert newest_activity(script.aws, "shared") == newest


def test_no_more_activities_are_read_than_asked_for() -> None:
    with scripted_aws() as script:
        asked = {"AutoScalingGroupName": "shared", "MaxRecords": 1}
        answer = {"Activities": [activity_entry("Launching a new EC2 instance: i-0123456789abcdef0")], "NextToken": "1"}
        script.expect("autoscaling", "describe_scaling_activities", answer, **asked)
        (found,) = scaling_activities(script.aws, "shared", limit=1)
    assert found.instance_id == "i-0123456789abcdef0"


def test_one_describe_gives_the_group_with_its_members() -> None:
    with scripted_aws() as script:
        script.expect_group(member_entry("i-0aaaaaaaaaaaaaaaa"))

        assert [member.instance_id for member in describe_group(script.aws, "shared").members] == [
            "i-0aaaaaaaaaaaaaaaa"
        ]
