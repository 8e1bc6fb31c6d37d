# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of Auto Scaling groups: terminated in the group, detached, on standby; hooks; processes; zones; spot loss."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


def terminate(aws: Any, instance_id: str, decrement: bool) -> dict[str, Any]:
    answer = aws.autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=instance_id, ShouldDecrementDesiredCapacity=decrement
    )
    return answer["Activity"]


def detach(aws: Any, instance_ids: list[str], decrement: bool) -> list[dict[str, Any]]:
    answer = aws.autoscaling.detach_instances(
        AutoScalingGroupName="shared", InstanceIds=instance_ids, ShouldDecrementDesiredCapacity=decrement
    )
    return answer["Activities"]


# ---- terminating in the group


def test_terminating_with_decrement_shrinks_the_group(aws: Any) -> None:
    aws.group(desired=3)
    victim, *others = aws.ids()
    activity = terminate(aws, victim, decrement=True)
    assert activity["Cause"] == (
        f"At {aws.clock.timestamp()} instance {victim} was taken out of service in response to a user request, "
        "shrinking the capacity from 3 to 2."
    )
    assert aws.states() == ["InService", "InService", "Terminating"]
    assert aws.instance_state(victim) == "shutting-down"
    aws.later(60)
    assert aws.ids() == others
    assert aws.instance_state(victim) == "terminated"


def test_terminating_without_decrement_launches_a_replacement_at_once(aws: Any) -> None:
    aws.group(desired=3)
    terminate(aws, aws.ids()[0], decrement=False)
    aws.later(3)
    assert aws.states() == ["InService", "InService", "Pending", "Terminating"]
    aws.later(60)
    assert aws.states() == ["InService"] * 3
    assert aws.describe()["DesiredCapacity"] == 3


def test_terminating_under_the_minimum_is_refused(aws: Any) -> None:
    aws.group(desired=3, min_size=3)
    with pytest.raises(ClientError, match=r"Currently, desiredSize equals minSize \(3\)"):
        terminate(aws, aws.ids()[0], decrement=True)
    assert aws.states() == ["InService"] * 3


def test_terminating_what_is_no_member_is_refused(aws: Any) -> None:
    with pytest.raises(ClientError, match="No managed instance found for instance ID: i-0123"):
        terminate(aws, "i-0123", decrement=False)


def test_protection_from_scale_in_does_not_hold_up_a_termination_by_name(aws: Any) -> None:
    aws.group(desired=2)
    victim = aws.ids()[0]
    aws.autoscaling.set_instance_protection(
        AutoScalingGroupName="shared", InstanceIds=[victim], ProtectedFromScaleIn=True
    )
    terminate(aws, victim, decrement=True)
    aws.later(60)
    assert victim not in aws.ids()


def test_protection_can_only_be_set_on_members_in_service(aws: Any) -> None:
    aws.group(desired=2)
    leaving, staying = aws.ids()
    terminate(aws, leaving, decrement=True)
    with pytest.raises(ClientError, match=f"{leaving} is not in InService or EnteringStandby or Standby"):
        aws.autoscaling.set_instance_protection(
            AutoScalingGroupName="shared", InstanceIds=[staying, leaving], ProtectedFromScaleIn=True
        )
    protected = {member["InstanceId"]: member["ProtectedFromScaleIn"] for member in aws.members()}
    assert protected == {leaving: False, staying: False}


# ---- detaching


def test_a_detached_instance_runs_on_without_its_group(aws: Any) -> None:
    aws.group(desired=3)
    leaving, *others = aws.ids()
    activity = detach(aws, [leaving], decrement=True)[0]
    assert activity["Description"] == f"Detaching EC2 instance: {leaving}"
    assert activity["Cause"].endswith("was detached in response to a user request, shrinking the capacity from 3 to 2.")
    assert "Detaching" in aws.states()
    aws.later(10)
    assert aws.ids() == others
    assert aws.instance_state(leaving) == "running"
    tags = aws.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [leaving]}])["Tags"]
    assert "aws:autoscaling:groupName" not in [tag["Key"] for tag in tags]


def test_detaching_without_decrement_launches_a_replacement(aws: Any) -> None:
    aws.group(desired=2)
    leaving = aws.ids()[0]
    detach(aws, [leaving], decrement=False)
    aws.later(60)
    assert aws.states() == ["InService"] * 2
    assert leaving not in aws.ids()


def test_one_stale_id_fails_the_whole_detach(aws: Any) -> None:
    aws.group(desired=3)
    before = aws.ids()
    with pytest.raises(ClientError, match="The instance i-0gone is not part of Auto Scaling group shared"):
        detach(aws, [before[0], "i-0gone"], decrement=True)
    aws.later(10)
    assert aws.ids() == before
    assert aws.describe()["DesiredCapacity"] == 3


def test_at_most_twenty_are_detached_in_one_call(aws: Any) -> None:
    aws.group(desired=21, max_size=21)
    with pytest.raises(ClientError, match="Member must have length less than or equal to 20"):
        detach(aws, aws.ids(), decrement=True)
    assert len(detach(aws, aws.ids()[:20], decrement=True)) == 20


def test_detaching_under_the_minimum_is_refused(aws: Any) -> None:
    aws.group(desired=3, min_size=2)
    with pytest.raises(ClientError, match="min-size=2, max-size=10, and desired-size=3. To detach 2 instance"):
        detach(aws, aws.ids()[:2], decrement=True)


def test_a_detached_instance_can_be_attached_again(aws: Any) -> None:
    aws.group(desired=2)
    moving = aws.ids()[0]
    detach(aws, [moving], decrement=True)
    aws.later(10)
    aws.autoscaling.attach_instances(AutoScalingGroupName="shared", InstanceIds=[moving])
    assert moving in aws.ids()
    assert aws.describe()["DesiredCapacity"] == 2


def test_terminating_a_leaving_member_again_does_not_count_twice(aws: Any) -> None:
    aws.group(desired=3)
    victim = aws.ids()[0]
    first = terminate(aws, victim, decrement=True)
    again = terminate(aws, victim, decrement=True)
    assert again["ActivityId"] == first["ActivityId"]
    assert aws.describe()["DesiredCapacity"] == 2


# ---- standby


def test_standby_takes_a_member_out_and_back(aws: Any) -> None:
    aws.group(desired=2)
    resting = aws.ids()[0]
    who = {"AutoScalingGroupName": "shared", "InstanceIds": [resting]}
    aws.autoscaling.enter_standby(ShouldDecrementDesiredCapacity=True, **who)
    assert aws.states() == ["EnteringStandby", "InService"]
    aws.later(10)
    assert aws.states() == ["InService", "Standby"]
    assert aws.describe()["DesiredCapacity"] == 1
    aws.autoscaling.exit_standby(**who)
    aws.later(30)
    assert aws.states() == ["InService", "InService"]
    assert aws.describe()["DesiredCapacity"] == 2


# ---- lifecycle hooks


def put_hook(aws: Any, transition: str, **settings: Any) -> None:
    aws.autoscaling.put_lifecycle_hook(
        AutoScalingGroupName="shared", LifecycleHookName="hook", LifecycleTransition=transition, **settings
    )


def complete(aws: Any, instance_id: str, result: str) -> None:
    aws.autoscaling.complete_lifecycle_action(
        AutoScalingGroupName="shared",
        LifecycleHookName="hook",
        InstanceId=instance_id,
        LifecycleActionResult=result,
    )


def test_a_terminating_member_waits_for_its_hook(aws: Any) -> None:
    aws.group(desired=2)
    put_hook(aws, TERMINATING, HeartbeatTimeout=300)
    victim = aws.ids()[0]
    terminate(aws, victim, decrement=True)
    aws.later(200)
    assert aws.states() == ["InService", "Terminating:Wait"]
    assert aws.instance_state(victim) == "running"
    complete(aws, victim, "CONTINUE")
    assert aws.states() == ["InService", "Terminating:Proceed"]
    aws.later(60)
    assert aws.states() == ["InService"]
    with pytest.raises(ClientError, match=f"No active Lifecycle Action found with instance ID {victim}"):
        complete(aws, victim, "CONTINUE")


def test_a_hook_that_nobody_answers_ends_with_its_default_and_a_heartbeat_puts_that_off(aws: Any) -> None:
    aws.group(desired=2)
    put_hook(aws, TERMINATING, HeartbeatTimeout=100, DefaultResult="CONTINUE")
    victim = aws.ids()[0]
    terminate(aws, victim, decrement=True)
    aws.later(90)
    aws.autoscaling.record_lifecycle_action_heartbeat(
        AutoScalingGroupName="shared", LifecycleHookName="hook", InstanceId=victim
    )
    aws.later(90)
    assert aws.states() == ["InService", "Terminating:Wait"]
    aws.later(60)
    assert aws.states() == ["InService"]


@pytest.mark.parametrize(("result", "kept"), [("CONTINUE", True), ("ABANDON", False)])
def test_a_launching_member_waits_for_its_hook_and_is_replaced_when_abandoned(
    aws: Any, result: str, kept: bool
) -> None:
    aws.group(desired=1)
    put_hook(aws, LAUNCHING)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    aws.later(40)
    assert aws.states() == ["InService", "Pending:Wait"]
    newcomer = aws.ids()[-1]
    complete(aws, newcomer, result)
    aws.later(60)
    assert (newcomer in aws.ids()) is kept
    assert aws.states() == (["InService", "InService"] if kept else ["InService", "Pending:Wait"])


# ---- processes


def suspend(aws: Any, *processes: str) -> None:
    aws.autoscaling.suspend_processes(AutoScalingGroupName="shared", ScalingProcesses=list(processes))


def resume(aws: Any, *processes: str) -> None:
    aws.autoscaling.resume_processes(AutoScalingGroupName="shared", ScalingProcesses=list(processes))


def test_a_suspended_launch_is_made_up_for_when_it_is_resumed(aws: Any) -> None:
    aws.group(desired=1)
    suspend(aws, "Launch")
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    aws.later(300)
    assert aws.states() == ["InService"]
    suspended = aws.describe()["SuspendedProcesses"]
    assert [one["ProcessName"] for one in suspended] == ["Launch"]
    assert suspended[0]["SuspensionReason"].startswith("User suspended at 20")
    resume(aws, "Launch")
    aws.later(60)
    assert aws.states() == ["InService"] * 2
    assert aws.describe()["SuspendedProcesses"] == []


def test_a_suspended_terminate_holds_up_scale_in(aws: Any) -> None:
    aws.group(desired=2)
    suspend(aws, "Terminate")
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=1)
    aws.later(120)
    assert aws.states() == ["InService"] * 2
    resume(aws, "Terminate")
    aws.later(120)
    assert aws.states() == ["InService"]


def test_a_bogus_process_is_refused(aws: Any) -> None:
    aws.group(desired=1)
    with pytest.raises(ClientError, match="Bogus"):
        suspend(aws, "AZRebalance", "Bogus")
    assert aws.describe()["SuspendedProcesses"] == []


# ---- zones


def unbalance(aws: Any) -> None:
    """Zones a and b keep two members each, zone c loses both of its."""
    for member in [one for one in aws.members() if one["AvailabilityZone"].endswith("c")]:
        terminate(aws, member["InstanceId"], decrement=True)
    aws.later(50)
    assert aws.zones() == {"a": 2, "b": 2}


def test_azrebalance_launches_first_and_then_terminates_a_running_member(aws: Any) -> None:
    aws.group(desired=6)
    unbalance(aws)
    before = set(aws.ids())
    aws.later(45)
    assert aws.states() == ["InService"] * 4 + ["Pending"]
    aws.later(90)
    assert aws.zones() == {"a": 1, "b": 2, "c": 1}
    assert len(before - set(aws.ids())) == 1
    causes = [activity["Cause"] for activity in aws.activities()[:2]]
    assert "instances were launched to balance instances in zones eu-central-1a with other zones" in causes[0]
    assert "had 2 2 0 instances respectively. An instance was launched to aid in balancing" in causes[1]


def test_azrebalance_leaves_the_group_alone_when_suspended_or_when_all_are_protected(aws: Any) -> None:
    aws.group(desired=6)
    aws.autoscaling.set_instance_protection(
        AutoScalingGroupName="shared", InstanceIds=aws.ids(), ProtectedFromScaleIn=True
    )
    unbalance(aws)
    aws.later(300)
    assert aws.zones() == {"a": 2, "b": 2}
    suspend(aws, "AZRebalance")
    aws.autoscaling.set_instance_protection(
        AutoScalingGroupName="shared", InstanceIds=aws.ids(), ProtectedFromScaleIn=False
    )
    aws.later(300)
    assert aws.zones() == {"a": 2, "b": 2}
    resume(aws, "AZRebalance")
    aws.later(300)
    assert aws.zones() == {"a": 1, "b": 2, "c": 1}


# ---- health


def test_spot_loss_is_noticed_and_replaced(aws: Any) -> None:
    aws.group(desired=2)
    lost = aws.ids()[0]
    aws.cloud.terminate_outside(lost)
    aws.later(5)
    assert aws.states() == ["InService"] * 2
    aws.later(15)
    assert "Terminating" in aws.states()
    aws.later(60)
    assert aws.states() == ["InService"] * 2
    assert lost not in aws.ids()
    launched, ended = aws.activities()[:2]
    assert ended["Cause"].endswith(
        "an instance was taken out of service in response to an EC2 health check indicating it has been terminated "
        "or stopped."
    )
    assert launched["Cause"].endswith(
        "an instance was launched in response to an unhealthy instance needing to be replaced."
    )


def test_with_replaceunhealthy_suspended_a_lost_member_stays_on_the_list(aws: Any) -> None:
    aws.group(desired=2)
    suspend(aws, "ReplaceUnhealthy")
    aws.cloud.terminate_outside(aws.ids()[0])
    aws.later(300)
    assert [(one["LifecycleState"], one["HealthStatus"]) for one in aws.members()] == [
        ("InService", "Unhealthy"),
        ("InService", "Healthy"),
    ]


def test_a_member_declared_unhealthy_is_replaced(aws: Any) -> None:
    aws.group(desired=2)
    ill = aws.ids()[0]
    aws.autoscaling.set_instance_health(InstanceId=ill, HealthStatus="Unhealthy")
    aws.later(90)
    assert ill not in aws.ids()
    assert aws.states() == ["InService"] * 2
