# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes and scale-in protection: only what differs is changed, and each item is answered for."""

from __future__ import annotations

import pytest
from unit.scripted_aws import ScriptedAws, member_entry, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import ensure_processes, ensure_protection

IDS = [f"i-{number:017x}" for number in range(5)]


def suspended(*names: str) -> list[dict[str, str]]:
    return [{"ProcessName": name, "SuspensionReason": "User suspended at 2026-11-20T08:00:00Z"} for name in names]


def expect_protection(script: ScriptedAws, ids: list[str], protected: bool) -> None:
    request = {"AutoScalingGroupName": "shared", "InstanceIds": ids, "ProtectedFromScaleIn": protected}
    script.expect("autoscaling", "set_instance_protection", {}, **request)


def test_suspending_leaves_out_what_is_suspended_already() -> None:
    with scripted_aws() as script:
        script.expect_group(SuspendedProcesses=suspended("AZRebalance", "HealthCheck"))
        request = {"AutoScalingGroupName": "shared", "ScalingProcesses": ["AlarmNotification"]}
        script.expect("autoscaling", "suspend_processes", {}, **request)
        script.expect_group(SuspendedProcesses=suspended("AZRebalance", "HealthCheck", "AlarmNotification"))

        outcome = ensure_processes(script.aws, script.call, "shared", ["AZRebalance", "AlarmNotification"], True)

    assert outcome.changed == ["AlarmNotification"]
    assert outcome.before == ["AZRebalance", "HealthCheck"]
    assert outcome.after == ["AZRebalance", "AlarmNotification", "HealthCheck"]


def test_resuming_leaves_the_others_suspended() -> None:
    with scripted_aws() as script:
        script.expect_group(SuspendedProcesses=suspended("AZRebalance", "HealthCheck"))
        request = {"AutoScalingGroupName": "shared", "ScalingProcesses": ["AZRebalance"]}
        script.expect("autoscaling", "resume_processes", {}, **request)
        script.expect_group(SuspendedProcesses=suspended("HealthCheck"))

        outcome = ensure_processes(script.aws, script.call, "shared", ["AZRebalance", "Launch"], False)

    assert (outcome.changed, outcome.after) == (["AZRebalance"], ["HealthCheck"])


@pytest.mark.parametrize(
    ("processes", "state"), [(["AZRebalance"], True), (["Launch"], False), ([], True), ([], False)]
)
def test_what_is_so_already_costs_one_read(processes: list[str], state: bool) -> None:
    with scripted_aws() as script:
        script.expect_group(SuspendedProcesses=suspended("AZRebalance"))

        outcome = ensure_processes(script.aws, script.call, "shared", processes, state)

    assert (outcome.changed, outcome.after) == ([], ["AZRebalance"])


def test_check_mode_predicts_the_processes() -> None:
    with scripted_aws(check_mode=True) as script:
        script.expect_group(SuspendedProcesses=suspended("HealthCheck"))

        outcome = ensure_processes(script.aws, script.call, "shared", ["AZRebalance"], True)

    assert (outcome.changed, outcome.after) == (["AZRebalance"], ["AZRebalance", "HealthCheck"])


def test_all_members_are_answered_for() -> None:
    with scripted_aws() as script:
        script.expect_group(
            member_entry(IDS[0]),
            member_entry(IDS[1], ProtectedFromScaleIn=True),
            member_entry(IDS[2], state="Standby"),
            member_entry(IDS[3], state="Pending:Wait"),
            member_entry(IDS[4], state="Terminating:Wait"),
        )
        expect_protection(script, [IDS[0], IDS[2]], True)

        outcome = ensure_protection(script.aws, script.call, "shared", None, True)

    assert outcome.changed
    assert outcome.changed_instances == [IDS[0], IDS[2]]
    assert {instance_id: entry["reason"] for instance_id, entry in outcome.instances.items()} == {
        IDS[0]: "changed",
        IDS[1]: "unchanged",
        IDS[2]: "changed",
        IDS[3]: "wrong_state",
        IDS[4]: "wrong_state",
    }
    assert outcome.instances[IDS[0]] == {
        "before": False,
        "after": True,
        "reason": "changed",
        "lifecycle_state": "InService",
    }
    assert outcome.instances[IDS[3]]["after"] is False


def test_an_instance_of_another_group_is_left_alone() -> None:
    with scripted_aws() as script:
        script.expect_group(member_entry(IDS[0]))

        outcome = ensure_protection(script.aws, script.call, "shared", [IDS[1]], True)

    assert not outcome.changed
    assert outcome.instances == {
        IDS[1]: {"before": None, "after": None, "reason": "not_a_member", "lifecycle_state": ""}
    }


def test_a_member_that_leaves_meanwhile_is_reported_and_no_error() -> None:
    with scripted_aws() as script:
        script.expect_group(member_entry(IDS[0]), member_entry(IDS[1]))
        text = f"The instance {IDS[1]} is not part of Auto Scaling group shared."
        request = {"AutoScalingGroupName": "shared", "InstanceIds": IDS[:2], "ProtectedFromScaleIn": True}
        script.fail("autoscaling", "set_instance_protection", "ValidationError", text, **request)
        script.expect_group(member_entry(IDS[0]))
        expect_protection(script, [IDS[0]], True)

        outcome = ensure_protection(script.aws, script.call, "shared", None, True)

    assert outcome.changed_instances == [IDS[0]]
    assert (outcome.instances[IDS[1]]["reason"], outcome.instances[IDS[1]]["after"]) == ("left", None)


def test_new_instances_are_protected_before_the_members_are_looked_at() -> None:
    with scripted_aws() as script:
        script.expect_group(member_entry(IDS[0]))
        request = {"AutoScalingGroupName": "shared", "NewInstancesProtectedFromScaleIn": True}
        script.expect("autoscaling", "update_auto_scaling_group", {}, **request)
        script.expect_group(member_entry(IDS[0]), member_entry(IDS[1]), NewInstancesProtectedFromScaleIn=True)
        expect_protection(script, IDS[:2], True)

        outcome = ensure_protection(script.aws, script.call, "shared", None, True, new_instances=True)

    assert (outcome.new_before, outcome.new_after) == (False, True)
    assert outcome.changed_instances == IDS[:2]


def test_nothing_to_do_costs_one_read() -> None:
    with scripted_aws() as script:
        script.expect_group(member_entry(IDS[0]))

        outcome = ensure_protection(script.aws, script.call, "shared", None, False, new_instances=False)

    assert not outcome.changed


@pytest.mark.parametrize(("desired", "reason"), [(2, "changed"), (1, "too_many_members")])
def test_protection_stays_on_where_aws_would_terminate_a_member_without_it(desired: int, reason: str) -> None:
    members = [member_entry(instance_id, ProtectedFromScaleIn=True) for instance_id in IDS[:2]]
    with scripted_aws() as script:
        script.expect_group(*members, DesiredCapacity=desired)
        if reason == "changed":
            expect_protection(script, IDS[:2], False)

        outcome = ensure_protection(script.aws, script.call, "shared", None, False, unless_too_many=True)

    assert {entry["reason"] for entry in outcome.instances.values()} == {reason}


def test_an_empty_list_of_instances_means_none_of_them() -> None:
    with scripted_aws() as script:
        script.expect_group(member_entry(IDS[0]))

        outcome = ensure_protection(script.aws, script.call, "shared", [], True)

    assert (outcome.changed, outcome.instances) == (False, {})


def test_check_mode_predicts_the_protection() -> None:
    with scripted_aws(check_mode=True) as script:
        script.expect_group(member_entry(IDS[0]))

        outcome = ensure_protection(script.aws, script.call, "shared", None, True, new_instances=True)

    assert outcome.changed
    assert (outcome.changed_instances, outcome.new_after) == ([IDS[0]], True)


def test_something_that_is_no_instance_id_is_refused_before_any_call() -> None:
    with scripted_aws() as script, pytest.raises(InvalidInput, match="ip-10-0-0-1 cannot be the id"):
        ensure_protection(script.aws, script.call, "shared", [IDS[0], "ip-10-0-0-1"], True)
