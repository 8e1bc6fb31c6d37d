# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizes of a group: what is sent, what is refused, and what a wait that runs out of time says."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from unit.scripted_aws import activity_entry, member_entry, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    Activity,
    CapacityTimeout,
    Group,
    GroupDeleting,
    GroupNotFound,
    Member,
    Refused,
    activity_text,
    blocking_activity,
    ensure_sizes,
    planned_sizes,
    wait_in_service,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Journal

IDS = [f"i-{number:017x}" for number in range(9)]
NO_CAPACITY = "We currently do not have sufficient m5.large capacity in the Availability Zone you requested"


def group(desired: int = 3, members: int = 3, minimum: int = 1, maximum: int = 5, weighted: bool = False) -> Group:
    return Group(
        "shared",
        "arn:shared",
        minimum,
        maximum,
        desired,
        members=tuple(Member(instance_id, "eu-west-1a", "InService") for instance_id in IDS[:members]),
        weighted=weighted,
    )


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ({}, {}),
        ({"min_size": 1, "max_size": 5, "desired_capacity": 3}, {}),
        ({"max_size": 8, "desired_capacity": 3}, {"max_size": 8}),
        ({"max_size": 8, "desired_capacity": 8}, {"max_size": 8, "desired_capacity": 8}),
        ({"min_size": 0}, {"min_size": 0}),
        ({"min_size": None, "max_size": 3, "desired_capacity": None}, {"max_size": 3}),
    ],
)
def test_only_what_differs_is_sent(asked: dict, changes: dict) -> None:
    assert planned_sizes(group(), asked) == changes


def test_lowering_the_desired_capacity_to_the_number_of_members_is_allowed() -> None:
    assert planned_sizes(group(desired=5, members=3), {"desired_capacity": 3}) == {"desired_capacity": 3}


def test_members_that_leave_do_not_count() -> None:
    leaving = Group(
        "shared", "arn", 1, 5, 3, members=(Member(IDS[0], "a", "InService"), Member(IDS[1], "a", "Standby"))
    )

    assert planned_sizes(leaving, {"desired_capacity": 1}) == {"desired_capacity": 1}


def test_only_raise_leaves_what_is_larger() -> None:
    asked = {"min_size": 0, "max_size": 4, "desired_capacity": 5}

    assert planned_sizes(group(maximum=6), asked, only_raise=True) == {"desired_capacity": 5}


@pytest.mark.parametrize(
    ("asked", "what", "remedy"),
    [
        ({"max_size": -1}, "cannot have a max_size of -1", "0 or more"),
        ({"min_size": 6}, "min_size 6 would be above max_size 5", "Set max_size to at least 6"),
        ({"desired_capacity": 6}, "desired_capacity 6 would be above max_size 5", "Set max_size to at least 6"),
        ({"desired_capacity": 0}, "desired_capacity 0 would be below min_size 1", "min_size to at most 0"),
        ({"min_size": 4}, "desired_capacity 3 would be below min_size 4", "Set desired_capacity to at least 4"),
        ({"max_size": 2}, "max_size 2 would be below desired_capacity 3", "asg_detach_terminate"),
        ({"desired_capacity": 2}, "below its 3 members, and AWS would terminate 1", "asg_detach_terminate"),
        ({"max_size": 2, "desired_capacity": 2}, "below its 3 members, and AWS would terminate 1", "decrement=true"),
    ],
)
def test_what_cannot_be_or_would_cost_an_instance_is_refused(asked: dict, what: str, remedy: str) -> None:
    with pytest.raises(Refused) as raised:
        planned_sizes(group(), asked)

    failure = raised.value.as_failure()
    assert failure["reason"] == "refused"
    assert "Auto Scaling group shared" in failure["msg"]
    assert what in failure["msg"]
    assert remedy in failure["msg"]


def test_the_capacity_of_a_weighted_group_is_not_lowered() -> None:
    with pytest.raises(Refused, match="not counted in instances"):
        planned_sizes(group(desired=5, members=1, weighted=True), {"desired_capacity": 4})

    assert planned_sizes(group(weighted=True), {"desired_capacity": 4}) == {"desired_capacity": 4}


def test_before_and_after_are_as_described() -> None:
    members = [member_entry(instance_id) for instance_id in IDS[:3]]
    with scripted_aws() as script:
        script.expect_group(*members)
        request = {"AutoScalingGroupName": "shared", "MaxSize": 12}
        script.expect("autoscaling", "update_auto_scaling_group", {}, once=True, **request)
        script.expect_group(*members, MaxSize=12, DesiredCapacity=4)  # meanwhile somebody else wanted one more

        sizing = ensure_sizes(script.aws, script.call, "shared", {"max_size": 12, "desired_capacity": None})

    assert sizing.changed
    assert sizing.before == {"min_size": 1, "max_size": 10, "desired_capacity": 3}
    assert sizing.after == {"min_size": 1, "max_size": 12, "desired_capacity": 4}


EXPECTED = {"max_size": 10, "desired_capacity": 3}
GROW = {"AutoScalingGroupName": "shared", "DesiredCapacity": 4}


@pytest.mark.parametrize("done", [False, True], ids=["nothing was done", "only the answer was lost"])
def test_a_call_that_fails_for_a_passing_reason_is_sent_again_only_after_a_look(done: bool) -> None:
    members = [member_entry(instance_id) for instance_id in IDS[:3]]
    with scripted_aws() as script:
        script.expect_group(*members)
        script.fail("autoscaling", "update_auto_scaling_group", "Throttling", "Rate exceeded", once=True, **GROW)
        script.expect_group(*members, DesiredCapacity=4 if done else 3)
        if not done:
            script.expect("autoscaling", "update_auto_scaling_group", {}, once=True, **GROW)
            script.expect_group(*members, DesiredCapacity=4)

        sizing = ensure_sizes(script.aws, script.call, "shared", {"desired_capacity": 4}, expected=EXPECTED)

    assert sizing.changed and sizing.as_expected
    assert (sizing.before["desired_capacity"], sizing.after["desired_capacity"]) == (3, 4)


@pytest.mark.parametrize("now", [2, 4, 5], ids=["lowered", "raised to the very number", "raised"])
def test_nothing_is_sent_once_somebody_else_has_changed_the_desired_capacity(now: int) -> None:
    with scripted_aws() as script:
        script.expect_group(DesiredCapacity=now)

        sizing = ensure_sizes(script.aws, script.call, "shared", {"desired_capacity": 4}, expected=EXPECTED)

    assert not sizing.as_expected and not sizing.sent and not sizing.changed


def test_nor_when_the_maximum_is_another() -> None:
    with scripted_aws() as script:
        script.expect_group(DesiredCapacity=3, MaxSize=3)

        sizing = ensure_sizes(script.aws, script.call, "shared", {"max_size": 10}, expected=EXPECTED)

    assert not sizing.as_expected


def test_nor_after_an_attempt_that_may_have_been_made() -> None:
    with scripted_aws() as script:
        script.expect_group(DesiredCapacity=3)
        script.fail("autoscaling", "update_auto_scaling_group", "InternalFailure", "Sorry", once=True, **GROW)
        script.expect_group(DesiredCapacity=5)

        sizing = ensure_sizes(script.aws, script.call, "shared", {"desired_capacity": 4}, expected=EXPECTED)

    assert not sizing.as_expected and sizing.sent


def test_a_throttled_change_of_sizes_is_given_up_when_the_patience_is_over() -> None:
    with scripted_aws() as script:
        for _attempt in range(61):
            script.expect_group(DesiredCapacity=3)
            script.fail("autoscaling", "update_auto_scaling_group", "Throttling", "Rate exceeded", once=True, **GROW)

        with pytest.raises(AwsError, match="throttles") as raised:
            ensure_sizes(script.aws, script.call, "shared", {"desired_capacity": 4})

    assert raised.value.reason == "throttled"
    assert sum(script.clock.sleeps) == 300


def test_check_mode_predicts() -> None:
    with scripted_aws(check_mode=True) as script:
        script.expect_group(member_entry(IDS[0]))

        sizing = ensure_sizes(script.aws, script.call, "shared", {"desired_capacity": 2})

    assert sizing.changed
    assert sizing.after == {"min_size": 1, "max_size": 10, "desired_capacity": 2}


def test_a_weighted_group_is_refused_before_its_sizes_are_set_when_somebody_wants_to_wait() -> None:
    with scripted_aws() as script:
        script.expect_group(DesiredCapacityType="vcpu")

        with pytest.raises(Refused, match="no number of them to wait for"):
            ensure_sizes(script.aws, script.call, "shared", {"max_size": 12}, counted=True)


def test_waiting_costs_one_describe_a_poll_and_says_how_far_it_is(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with scripted_aws() as script:
        script.call.journal = Journal(str(journal), script.clock)
        script.expect_group(member_entry(IDS[0]), DesiredCapacity=2)
        script.expect_group(member_entry(IDS[0]), member_entry(IDS[1], state="Pending"))
        script.expect_group(member_entry(IDS[0]), member_entry(IDS[1]))

        assert wait_in_service(script.aws, script.call, "shared", 2, timeout=60, poll_seconds=5) == 2

    assert script.clock.sleeps == [5, 5]
    said = [json.loads(line)["text"] for line in journal.read_text().splitlines()]
    assert said == ["[#####.....] 1/2 nodes: 1 of 2 instances InService (1 InService, 1 Pending)"]


def test_a_desired_capacity_that_somebody_lowers_is_enough() -> None:
    with scripted_aws() as script:
        script.expect_group(member_entry(IDS[0]), DesiredCapacity=1)

        assert wait_in_service(script.aws, script.call, "shared", 4, timeout=60, poll_seconds=5) == 1


def test_throttling_in_the_middle_of_a_wait_is_waited_out() -> None:
    with scripted_aws() as script:
        script.expect_group(DesiredCapacity=1)
        request = {"AutoScalingGroupNames": ["shared"]}
        for _look in range(2):
            script.fail("autoscaling", "describe_auto_scaling_groups", "Throttling", "Rate exceeded", **request)
        script.expect_group(member_entry(IDS[0]))

        assert wait_in_service(script.aws, script.call, "shared", 1, timeout=60, poll_seconds=5) == 1


def test_throttling_at_its_first_look_too() -> None:
    with scripted_aws() as script:
        request = {"AutoScalingGroupNames": ["shared"]}
        script.fail("autoscaling", "describe_auto_scaling_groups", "Throttling", "Rate exceeded", **request)
        script.expect_group(member_entry(IDS[0]))

        assert wait_in_service(script.aws, script.call, "shared", 1, timeout=60, poll_seconds=5) == 1


def test_but_no_longer_than_the_wait_itself() -> None:
    with scripted_aws() as script:
        script.expect_group(DesiredCapacity=1)
        request = {"AutoScalingGroupNames": ["shared"]}
        for _look in range(2):
            script.fail("autoscaling", "describe_auto_scaling_groups", "Throttling", "Rate exceeded", **request)

        with pytest.raises(AwsError, match="throttles"):
            wait_in_service(script.aws, script.call, "shared", 1, timeout=10, poll_seconds=5)


def test_a_group_that_is_deleted_ends_the_wait() -> None:
    with scripted_aws() as script:
        script.expect_group(DesiredCapacity=1)
        nothing = {"AutoScalingGroups": []}
        script.expect("autoscaling", "describe_auto_scaling_groups", nothing, AutoScalingGroupNames=["shared"])
        script.expect("autoscaling", "describe_auto_scaling_groups", nothing, MaxRecords=100)

        with pytest.raises(GroupNotFound):
            wait_in_service(script.aws, script.call, "shared", 1, timeout=60, poll_seconds=5)


def test_a_group_that_is_being_deleted_has_no_sizes_to_set_or_to_wait_for() -> None:
    with scripted_aws() as script:
        for _look in range(2):
            script.expect_group(DesiredCapacity=0, Status="Delete in progress")

        with pytest.raises(GroupDeleting, match="shared is being deleted .Delete in progress."):
            ensure_sizes(script.aws, script.call, "shared", {"max_size": 12})
        with pytest.raises(GroupDeleting):
            wait_in_service(script.aws, script.call, "shared", 1, timeout=60, poll_seconds=5)


def test_running_out_of_time_says_in_aws_own_words_why() -> None:
    failed = activity_entry(
        f"Launching a new EC2 instance.  Status Reason: {NO_CAPACITY}", status="Failed", StatusMessage=NO_CAPACITY
    )
    members = (member_entry(IDS[0]), member_entry(IDS[1], state="Pending:Wait"))
    with scripted_aws() as script:
        for _look in range(3):
            script.expect_group(*members, DesiredCapacity=3)
        request = {"AutoScalingGroupName": "shared", "MaxRecords": 20}
        script.expect("autoscaling", "describe_scaling_activities", {"Activities": [failed]}, **request)

        with pytest.raises(CapacityTimeout) as raised:
            wait_in_service(script.aws, script.call, "shared", 3, timeout=10, poll_seconds=5)

    failure = raised.value.as_failure()
    assert failure["reason"] == "capacity_timeout"
    assert failure["msg"] == (
        "Auto Scaling group shared has 1 of 3 instances InService after 10 s (1 InService, 1 Pending:Wait). "
        f"AWS says: Failed 2026-11-21T01:00:00Z Launching a new EC2 instance.  Status Reason: {NO_CAPACITY}. "
        "Mend the cause and run again: it goes on from here."
    )
    assert failure["members"] == {IDS[0]: "InService", IDS[1]: "Pending:Wait"}
    assert (failure["wanted"], failure["in_service"]) == (3, 1)


def test_running_out_of_time_names_a_suspended_launch_process_even_without_the_right_to_read_activities() -> None:
    with scripted_aws() as script:
        suspended = [{"ProcessName": "Launch", "SuspensionReason": "User suspended at 2026-11-20T08:00:00Z"}]
        script.expect_group(DesiredCapacity=1, SuspendedProcesses=suspended)
        script.expect_group(DesiredCapacity=1, SuspendedProcesses=suspended)
        request = {"AutoScalingGroupName": "shared", "MaxRecords": 20}
        script.fail("autoscaling", "describe_scaling_activities", "AccessDenied", "not you", **request)

        with pytest.raises(
            CapacityTimeout, match="process Launch is suspended .User suspended at 2026-11-20"
        ) as raised:
            wait_in_service(script.aws, script.call, "shared", 1, timeout=5, poll_seconds=5)

    assert raised.value.as_failure()["activity"] == ""


def activity(description: str, status: str, message: str = "") -> Activity:
    return Activity("1", status, description=description, status_message=message)


LAUNCHED = activity("Launching a new EC2 instance: i-0123456789abcdef0", "Successful")
LAUNCHING = activity("Launching a new EC2 instance: i-0123456789abcdef1", "InProgress")
FAILED = activity("Launching a new EC2 instance", "Failed", NO_CAPACITY)
TERMINATING = activity("Terminating EC2 instance: i-0123456789abcdef2", "InProgress")


@pytest.mark.parametrize(
    ("newest_first", "expected"),
    [
        ([], None),
        ([LAUNCHED, FAILED], None),  # it failed, but then it went well
        ([LAUNCHING, FAILED, LAUNCHED], FAILED),
        ([TERMINATING, LAUNCHING, LAUNCHED], LAUNCHING),
        ([TERMINATING], None),
    ],
)
def test_the_activity_that_explains_why_launches_do_not_come(newest_first: list, expected: Activity | None) -> None:
    assert blocking_activity(newest_first) == expected


def test_an_activity_in_one_line() -> None:
    begun = Activity(
        "1",
        "Failed",
        description="Launching a new EC2 instance.",
        status_message=NO_CAPACITY,
        started=datetime(2026, 11, 21, 1, 2, 3, tzinfo=timezone.utc),
    )

    assert activity_text(begun) == f"Failed 2026-11-21T01:02:03Z Launching a new EC2 instance: {NO_CAPACITY}"
    assert activity_text(LAUNCHING) == "InProgress Launching a new EC2 instance: i-0123456789abcdef1"
