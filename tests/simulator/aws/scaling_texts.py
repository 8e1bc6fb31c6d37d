# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Auto Scaling writes into its activities: AWS's sentences, which tools and operators parse and search for."""

from __future__ import annotations

JOIN = "  "


def set_desired(at: str, before: int, after: int) -> str:
    """SetDesiredCapacity."""
    changing = f"changing the desired capacity {_to(before, after)}"
    return f"At {at} a user request explicitly set group desired capacity {changing}."


def updated(at: str, minimum: int, maximum: int, desired: int, before: int) -> str:
    """UpdateAutoScalingGroup."""
    return (
        f"At {at} a user request update of AutoScalingGroup constraints to min: {minimum}, max: {maximum}, "
        f"desired: {desired} changing the desired capacity {_to(before, desired)}."
    )


def created(at: str, desired: int) -> str:
    """CreateAutoScalingGroup."""
    return f"At {at} a user request created an AutoScalingGroup changing the desired capacity {_to(0, desired)}."


def started(at: str, before: int, after: int) -> str:
    """A launch because there are fewer members than desired."""
    return (
        f"At {at} an instance was started in response to a difference between desired and actual capacity, "
        f"increasing the capacity {_to(before, after)}."
    )


def replaced(at: str) -> str:
    """A launch because an unhealthy member has left."""
    return f"At {at} an instance was launched in response to an unhealthy instance needing to be replaced."


def balanced(at: str, counts: dict[str, int]) -> str:
    """A launch by AZRebalance."""
    zones, numbers = " ".join(counts), " ".join(str(count) for count in counts.values())
    return (
        f"At {at} availability zones {zones} had {numbers} instances respectively. "
        "An instance was launched to aid in balancing the group's zones."
    )


def surplus_after_balancing(at: str, zone: str, instance_id: str) -> str:
    """A termination by AZRebalance."""
    launched = (
        f"At {at} instances were launched to balance instances in zones {zone} with other zones resulting in "
        "more than desired number of instances in the group."
    )
    return JOIN.join((launched, f"At {at} instance {instance_id} was selected for termination."))


def scaled_in(at: str, before: int, after: int, instance_ids: list[str]) -> str:
    """A termination because there are more members than desired."""
    first = (
        f"At {at} an instance was taken out of service in response to a difference between desired and actual "
        f"capacity, shrinking the capacity {_to(before, after)}."
    )
    return JOIN.join([first, *(f"At {at} instance {one} was selected for termination." for one in instance_ids)])


def by_user(at: str, instance_id: str, deed: str, before: int, after: int) -> str:
    """A member leaves on request: ``deed`` is "taken out of service", "detached" or "moved to standby"."""
    shrinking = f", shrinking the capacity {_to(before, after)}" if after != before else ""
    return f"At {at} instance {instance_id} was {deed} in response to a user request{shrinking}."


def out_of_standby(at: str, instance_id: str, before: int, after: int) -> str:
    """ExitStandby."""
    return (
        f"At {at} instance {instance_id} was moved out of standby in response to a user request, "
        f"increasing the capacity {_to(before, after)}."
    )


def attached(at: str, instance_id: str, before: int, after: int) -> str:
    """AttachInstances."""
    return (
        f"At {at} an instance was attached in response to a user request, increasing the capacity {_to(before, after)}."
    )


def unhealthy(at: str, why: str) -> str:
    """A termination by ReplaceUnhealthy: ``why`` is "ec2", "user" or "hook"."""
    text = {
        "ec2": "an EC2 health check indicating it has been terminated or stopped",
        "user": "a user health-check",
        "hook": "a launch lifecycle action being abandoned or timed out",
    }[why]
    return f"At {at} an instance was taken out of service in response to {text}."


def refreshed(at: str, instance_id: str) -> str:
    """A termination by an instance refresh."""
    return f"At {at} an instance was taken out of service in response to an instance refresh."


def deleted(at: str, before: int) -> str:
    """DeleteAutoScalingGroup with force."""
    return f"At {at} a user request force deleted an AutoScalingGroup changing the desired capacity {_to(before, 0)}."


PROTECTED = "Could not scale to desired capacity because all remaining instances are protected from scale-in."


def no_capacity(instance_type: str, zone: str, others: list[str]) -> str:
    """EC2's InsufficientInstanceCapacity, as the activity tells it."""
    elsewhere = f" or choosing {', '.join(others)}" if others else ""
    return (
        f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested "
        f"({zone}). Our system will be working on provisioning additional capacity. You can currently get "
        f"{instance_type} capacity by not specifying an Availability Zone in your request{elsewhere}. "
        "Launching EC2 instance failed."
    )


def no_image(image_id: str) -> str:
    """The image of the launch template does not exist."""
    return f"The image id '[{image_id}]' does not exist. Launching EC2 instance failed."


def other_architecture(wanted: str, image: str) -> str:
    """The image is of another architecture than the instance type (EC2's text, to its first full stop)."""
    return (
        f"The architecture '{wanted}' of the specified instance type does not match the architecture '{image}' of the "
        "specified AMI. Launching EC2 instance failed."
    )


def _to(before: int, after: int) -> str:
    return f"from {before} to {after}"
