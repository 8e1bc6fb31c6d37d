# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long is waited, how often is tried, and what each look asks: AWS by script, on a clock that nobody waits for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.scripted_aws import ScriptedAws, instance_entry, member_entry, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.balancers import direct
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError

ARN = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/web/73e2d6bc24d8a067"
ONE, TWO = "i-00000000000000001", "i-00000000000000002"
MARK = "evergreen.eks/out-of/tg/web/73e2d6bc24d8a067"


def params(state: str, **changes: Any) -> dict[str, Any]:
    return {
        "asg_name": "shared",
        "state": state,
        "instance_ids": [ONE],
        "exclude_instance_ids": None,
        "cluster_name": None,
        "min_healthy": 1,
        "run_id": "r1",
        "timeout": 20.0,
        "poll_seconds": 5.0,
        **changes,
    }


def expect_group(script: ScriptedAws, **changes: Any) -> None:
    script.expect_group(member_entry(ONE), member_entry(TWO), TargetGroupARNs=[ARN], **changes)


def expect_target_groups(script: ScriptedAws) -> None:
    entry = {"TargetGroupName": "web", "TargetGroupArn": ARN, "TargetType": "instance"}
    script.expect("elbv2", "describe_target_groups", {"TargetGroups": [entry]})


def expect_health(script: ScriptedAws, **states: str) -> None:
    ids = {"one": ONE, "two": TWO}
    entries = [
        {"Target": {"Id": ids[name], "Port": 80}, "TargetHealth": {"State": state}} for name, state in states.items()
    ]
    script.expect("elbv2", "describe_target_health", {"TargetHealthDescriptions": entries}, TargetGroupArn=ARN)


def expect_instances(script: ScriptedAws, tags: dict[str, str] | None = None) -> None:
    entry = instance_entry(ONE, Tags=[{"Key": key, "Value": value} for key, value in (tags or {}).items()])
    answer = {"Reservations": [{"Instances": [entry]}]}
    script.expect("ec2", "describe_instances", answer, Filters=[{"Name": "instance-id", "Values": [ONE]}])


def expect_deregistration(script: ScriptedAws) -> None:
    script.expect("elbv2", "deregister_targets", {}, TargetGroupArn=ARN, Targets=[{"Id": ONE, "Port": 80}])


def expect_delay(script: ScriptedAws, seconds: int) -> None:
    attributes = [{"Key": "deregistration_delay.timeout_seconds", "Value": str(seconds)}]
    script.expect("elbv2", "describe_target_group_attributes", {"Attributes": attributes}, TargetGroupArn=ARN)


def expect_first_look(script: ScriptedAws, **health: str) -> None:
    expect_group(script)
    expect_target_groups(script)
    expect_health(script, **health)
    expect_instances(script)


def test_the_mark_is_there_before_the_deed_and_the_draining_comes_on_top_of_the_timeout() -> None:
    with scripted_aws() as script:
        expect_first_look(script, one="healthy", two="healthy")
        tag = {"Key": MARK, "Value": "r1/80"}
        script.expect("ec2", "create_tags", {}, Resources=[ONE], Tags=[tag])
        expect_deregistration(script)
        expect_delay(script, 30)
        for _unused in range(11):  # after 5 s, then at 10 ... 55 s: 20 s and the draining's 30 s
            expect_group(script)
            expect_health(script, one="draining", two="healthy")

        with pytest.raises(EvergreenError, match="within 50 s") as caught:
            direct(params("gone"), script.aws, script.call)

    assert (caught.value.reason, script.clock.now() - 1000) == ("draining", 55)
    assert caught.value.details["changed_instances"] == [ONE]
    assert caught.value.details["instances"][ONE]["reason"] == "draining"


def test_what_was_marked_by_an_earlier_run_is_not_marked_again() -> None:
    with scripted_aws() as script:
        expect_group(script)
        expect_target_groups(script)
        expect_health(script, one="healthy", two="healthy")
        expect_instances(script, {MARK: "r0/80"})
        expect_deregistration(script)
        expect_delay(script, 0)
        expect_group(script)
        expect_health(script, two="healthy")

        answer = direct(params("gone"), script.aws, script.call)

    assert (answer["changed"], answer["instances"][ONE]["reason"]) == (True, "gone")


def test_who_is_registered_again_is_deregistered_five_times_and_no_more() -> None:
    with scripted_aws() as script:
        expect_group(script)
        expect_target_groups(script)
        expect_health(script, one="healthy", two="healthy")
        expect_instances(script, {MARK: "r0/80"})
        expect_deregistration(script)
        expect_delay(script, 0)
        for attempt in range(5):
            expect_group(script)
            expect_health(script, one="initial", two="healthy")
            if attempt < 4:
                expect_deregistration(script)

        with pytest.raises(EvergreenError, match="waiting on does not help") as caught:
            direct(params("gone", timeout=600.0), script.aws, script.call)

    assert caught.value.reason == "registered_again"


def test_nowhere_registered_costs_one_look() -> None:
    with scripted_aws() as script:
        expect_first_look(script, two="healthy")

        answer = direct(params("gone"), script.aws, script.call)

    assert (answer["changed"], answer["instances"]) == (
        False,
        {ONE: {"reason": "not_registered", "message": "", "balancers": []}},
    )


def test_members_are_read_again_at_each_look_until_they_are_healthy() -> None:
    with scripted_aws() as script:
        expect_group(script)
        expect_target_groups(script)
        expect_health(script, one="healthy", two="initial")
        expect_group(script)
        expect_health(script, one="healthy", two="healthy")

        answer = direct(params("healthy", instance_ids=None), script.aws, script.call)

    assert {one: entry["reason"] for one, entry in answer["instances"].items()} == {ONE: "healthy", TWO: "healthy"}
    assert script.clock.sleeps == [5.0]


def test_named_instances_cost_no_further_look_at_the_group() -> None:
    with scripted_aws() as script:
        expect_group(script)
        expect_target_groups(script)
        expect_health(script, one="unhealthy", two="healthy")
        expect_health(script, one="healthy", two="healthy")

        answer = direct(params("healthy"), script.aws, script.call)

    assert list(answer["instances"]) == [ONE]


def test_a_group_without_load_balancers_has_nothing_to_wait_for() -> None:
    with scripted_aws() as script:
        script.expect_group(member_entry(ONE))
        script.expect("elbv2", "describe_target_groups", {"TargetGroups": []})

        answer = direct(params("healthy"), script.aws, script.call)

    assert answer["instances"][ONE]["reason"] == "no_balancer"


def test_what_is_registered_already_only_loses_its_mark() -> None:
    with scripted_aws() as script:
        expect_instances(script, {MARK: "r0/80", "Name": "shared"})
        expect_target_groups(script)
        expect_health(script, one="unhealthy")
        script.expect("ec2", "delete_tags", {}, Resources=[ONE], Tags=[{"Key": MARK}])

        answer = direct(params("registered"), script.aws, script.call)

    assert (answer["changed_instances"], answer["instances"][ONE]["reason"]) == ([ONE], "registered")


def test_what_drains_is_put_back_and_the_mark_goes_once_that_is_seen() -> None:
    with scripted_aws() as script:
        expect_instances(script, {MARK: "r0/80"})
        expect_target_groups(script)
        expect_health(script, one="draining")
        script.expect("elbv2", "register_targets", {}, TargetGroupArn=ARN, Targets=[{"Id": ONE, "Port": 80}])
        expect_instances(script, {MARK: "r0/80"})
        expect_health(script, one="initial")
        script.expect("ec2", "delete_tags", {}, Resources=[ONE], Tags=[{"Key": MARK}])

        answer = direct(params("registered"), script.aws, script.call)

    assert answer["changed_instances"] == [ONE]


@pytest.mark.parametrize("state", ["gone", "registered"])
def test_check_mode_sends_no_change(state: str) -> None:
    with scripted_aws(check_mode=True) as script:
        if state == "gone":
            expect_first_look(script, one="healthy", two="healthy")
        else:
            expect_instances(script, {MARK: "r0/80"})
            expect_target_groups(script)
            expect_health(script, two="healthy")

        answer = direct(params(state), script.aws, script.call)

    assert answer["changed_instances"] == [ONE]
    assert answer["instances"][ONE]["reason"] == state


@pytest.mark.parametrize(("value", "reason"), [("/80", "taken_out"), ("r0/80", "not_registered")])
def test_who_was_taken_out_by_an_operator_is_not_waited_for_and_whom_a_run_took_out_is(value: str, reason: str) -> None:
    with scripted_aws() as script:
        expect_group(script)
        expect_target_groups(script)
        expect_health(script, two="healthy")
        expect_instances(script, {MARK: value})
        call = replace(script.call, check_mode=True)

        answer = direct(params("healthy"), script.aws, call)

    assert answer["instances"][ONE]["reason"] == reason


@pytest.mark.parametrize("run_id", ["r1", ""])
def test_a_run_does_not_put_back_whom_an_operator_has_taken_out(run_id: str) -> None:
    with scripted_aws() as script:
        expect_instances(script, {MARK: "/80"})
        if not run_id:
            expect_target_groups(script)
            expect_health(script, one="healthy", two="healthy")
            script.expect("ec2", "delete_tags", {}, Resources=[ONE], Tags=[{"Key": MARK}])

        answer = direct(params("registered", run_id=run_id), script.aws, script.call)

    assert answer["instances"][ONE]["reason"] == ("unmarked" if run_id else "registered")
