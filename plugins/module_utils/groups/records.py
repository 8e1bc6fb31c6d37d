# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS says about Auto Scaling groups and EC2 instances, as records; parsing only, no calls."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# States in which an instance is no part of the group's strength: on its way out, set aside, or not yet begun.
# A state that AWS adds one day counts, because forgetting a member is the dangerous mistake.
NOT_COUNTING = (
    "Terminating",
    "Terminated",
    "Detaching",
    "Detached",
    "EnteringStandby",
    "Standby",
    "Warmed",
    "Quarantined",
)

# SetInstanceProtection answers a ValidationError, "The instance i-... is not in InService or EnteringStandby or
# Standby.", for the whole call when one id is in another state.
PROTECTABLE = ("InService", "EnteringStandby", "Standby")

INSTANCE_ID = re.compile(r"\bi-[0-9a-f]{8,17}\b")


@dataclass(frozen=True)
class Member:
    """One instance as its Auto Scaling group sees it. Exactly one of template and configuration is set, or neither for
    an instance that was attached by hand or whose launch configuration has been deleted."""

    instance_id: str
    zone: str
    lifecycle_state: str
    health_status: str = "Healthy"
    protected: bool = False
    instance_type: str = ""
    launch_template_id: str = ""
    launch_template_version: str = ""
    launch_configuration: str = ""

    @property
    def counts(self) -> bool:
        """Part of the group's strength, as AWS compares it with the desired capacity."""
        return not self.lifecycle_state.startswith(NOT_COUNTING)

    @property
    def in_service(self) -> bool:
        return self.lifecycle_state == "InService"

    @property
    def leaving(self) -> bool:
        """On its way out for good: AWS takes no change of it any more. A wait in there (a hook) may take hours."""
        return self.lifecycle_state.startswith(("Terminat", "Detach"))

    @property
    def protectable(self) -> bool:
        """AWS accepts a change of the scale-in protection only in these lifecycle states."""
        return self.lifecycle_state in PROTECTABLE


@dataclass(frozen=True)
class Override:
    """One entry of a mixed instances policy; what is empty comes from the policy's own launch template."""

    instance_type: str = ""
    template_id: str = ""
    template_name: str = ""
    version: str = ""
    image_id: str = ""
    weight: str = ""
    requirements: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LaunchSource:
    """What the group is told to launch from, as configured: `version` may be `$Latest` or `$Default`.

    `kind` is template, mixed, configuration, or none (a group that is being deleted).
    """

    kind: str
    template_id: str = ""
    template_name: str = ""
    version: str = ""
    configuration: str = ""
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True)
class Hook:
    """A lifecycle hook; `transition` is launching or terminating, `heartbeat_timeout` is in seconds."""

    name: str
    transition: str
    heartbeat_timeout: int
    default_result: str


@dataclass(frozen=True)
class Group:
    """One Auto Scaling group as described at one moment."""

    name: str
    arn: str
    min_size: int
    max_size: int
    desired_capacity: int
    members: tuple[Member, ...] = ()
    suspended: Mapping[str, str] = field(default_factory=dict)  # process -> AWS's reason
    protects_new: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    target_group_arns: tuple[str, ...] = ()
    load_balancers: tuple[str, ...] = ()
    health_check_types: tuple[str, ...] = ("EC2",)
    zones: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    launch: LaunchSource = LaunchSource("none")
    weighted: bool = False  # sizes are not numbers of instances: weights, or capacity in vCPU or memory
    hooks: tuple[Hook, ...] | None = None  # None: not asked for
    warm_pool: bool = False
    status: str = ""  # set while the group is being deleted

    @property
    def strength(self) -> tuple[Member, ...]:
        """The members that count."""
        return tuple(member for member in self.members if member.counts)

    @property
    def in_service(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.in_service)

    @property
    def sizes(self) -> dict[str, int]:
        """`{min_size, max_size, desired_capacity}`."""
        return {"min_size": self.min_size, "max_size": self.max_size, "desired_capacity": self.desired_capacity}

    @property
    def replaces_lost_targets(self) -> bool:
        """Whether Auto Scaling replaces a member that one of its load balancers reports as unhealthy or as not there.

        So it does with ELB health checks; then a member that somebody deregisters is terminated, drained or not.
        """
        rests = {"HealthCheck", "ReplaceUnhealthy", "Terminate"} & set(self.suspended)
        return "ELB" in self.health_check_types and not rests

    def member(self, instance_id: str) -> Member | None:
        return next((member for member in self.members if member.instance_id == instance_id), None)


@dataclass(frozen=True)
class Instance:
    """One EC2 instance; `state` is pending, running, stopping, stopped, shutting-down or terminated."""

    instance_id: str
    state: str
    image_id: str = ""
    instance_type: str = ""
    launch_time: datetime | None = None
    zone: str = ""
    private_dns_name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Activity:
    """One scaling activity: what AWS did or could not do, in its own words."""

    activity_id: str
    status: str
    cause: str = ""
    description: str = ""
    status_message: str = ""
    started: datetime | None = None
    instance_id: str = ""  # parsed from the description; empty where AWS names none

    @property
    def failed(self) -> bool:
        return self.status in ("Failed", "Cancelled")

    @property
    def ended(self) -> bool:
        return self.failed or self.status == "Successful"


def parse_group(raw: Mapping[str, Any], hooks: tuple[Hook, ...] | None = None) -> Group:
    """An entry of DescribeAutoScalingGroups as a record."""
    launch = _launch_source(raw)
    units = raw.get("DesiredCapacityType") or "units"
    sources = raw.get("TrafficSources", [])
    return Group(
        name=raw["AutoScalingGroupName"],
        arn=raw.get("AutoScalingGroupARN", ""),
        min_size=raw["MinSize"],
        max_size=raw["MaxSize"],
        desired_capacity=raw["DesiredCapacity"],
        members=tuple(sorted(map(_member, raw.get("Instances", [])), key=lambda member: member.instance_id)),
        suspended={
            entry["ProcessName"]: entry.get("SuspensionReason", "") for entry in raw.get("SuspendedProcesses", [])
        },
        protects_new=bool(raw.get("NewInstancesProtectedFromScaleIn")),
        tags=_tags(raw.get("Tags", [])),
        target_group_arns=_union(raw.get("TargetGroupARNs", []), _of_type(sources, "elbv2")),
        load_balancers=_union(raw.get("LoadBalancerNames", []), _of_type(sources, "elb")),
        health_check_types=tuple((raw.get("HealthCheckType") or "EC2").replace(" ", "").split(",")),
        zones=tuple(sorted(raw.get("AvailabilityZones", []))),
        subnets=tuple(sorted(filter(None, (raw.get("VPCZoneIdentifier") or "").replace(" ", "").split(",")))),
        launch=launch,
        weighted=units != "units" or any(override.weight for override in launch.overrides),
        hooks=hooks,
        warm_pool=bool(raw.get("WarmPoolConfiguration")),
        status=raw.get("Status") or "",
    )


def parse_hook(raw: Mapping[str, Any]) -> Hook:
    """An entry of DescribeLifecycleHooks as a record."""
    return Hook(
        name=raw["LifecycleHookName"],
        transition="launching" if raw.get("LifecycleTransition", "").endswith("_LAUNCHING") else "terminating",
        heartbeat_timeout=raw.get("HeartbeatTimeout", 3600),
        default_result=raw.get("DefaultResult", "ABANDON"),
    )


def parse_instance(raw: Mapping[str, Any]) -> Instance:
    """An entry of DescribeInstances as a record."""
    return Instance(
        instance_id=raw["InstanceId"],
        state=raw["State"]["Name"],
        image_id=raw.get("ImageId", ""),
        instance_type=raw.get("InstanceType", ""),
        launch_time=raw.get("LaunchTime"),
        zone=raw.get("Placement", {}).get("AvailabilityZone", ""),
        private_dns_name=raw.get("PrivateDnsName", ""),
        tags=_tags(raw.get("Tags", [])),
    )


def parse_activity(raw: Mapping[str, Any]) -> Activity:
    """An entry of DescribeScalingActivities as a record."""
    named = INSTANCE_ID.search(raw.get("Description") or "")
    return Activity(
        activity_id=raw["ActivityId"],
        status=raw["StatusCode"],
        cause=raw.get("Cause") or "",
        description=raw.get("Description") or "",
        status_message=raw.get("StatusMessage") or "",
        started=raw.get("StartTime"),
        instance_id=named.group() if named else "",
    )


def _member(raw: Mapping[str, Any]) -> Member:
    template = raw.get("LaunchTemplate") or {}
    return Member(
        instance_id=raw["InstanceId"],
        zone=raw.get("AvailabilityZone", ""),
        lifecycle_state=raw["LifecycleState"],
        health_status=raw.get("HealthStatus", ""),
        protected=bool(raw.get("ProtectedFromScaleIn")),
        instance_type=raw.get("InstanceType", ""),
        launch_template_id=template.get("LaunchTemplateId", ""),
        launch_template_version=str(template.get("Version", "")),
        launch_configuration=raw.get("LaunchConfigurationName") or "",
    )


def _launch_source(raw: Mapping[str, Any]) -> LaunchSource:
    if raw.get("MixedInstancesPolicy"):
        policy = raw["MixedInstancesPolicy"].get("LaunchTemplate") or {}
        overrides = tuple(map(_override, policy.get("Overrides") or []))
        return LaunchSource("mixed", overrides=overrides, **_template(policy.get("LaunchTemplateSpecification") or {}))
    if raw.get("LaunchTemplate"):
        return LaunchSource("template", **_template(raw["LaunchTemplate"]))
    if raw.get("LaunchConfigurationName"):
        return LaunchSource("configuration", configuration=raw["LaunchConfigurationName"])
    return LaunchSource("none")


def _template(raw: Mapping[str, Any]) -> dict[str, str]:
    # A specification without a version means the template's default version.
    return {
        "template_id": raw.get("LaunchTemplateId", ""),
        "template_name": raw.get("LaunchTemplateName", ""),
        "version": str(raw.get("Version") or "$Default"),
    }


def _override(raw: Mapping[str, Any]) -> Override:
    own_template = raw.get("LaunchTemplateSpecification")
    return Override(
        instance_type=raw.get("InstanceType", ""),
        image_id=raw.get("ImageId", ""),
        weight=str(raw.get("WeightedCapacity") or ""),
        requirements=raw.get("InstanceRequirements") or {},
        **(_template(own_template) if own_template else {}),
    )


def _tags(raw: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value") or "" for tag in raw}


def _of_type(sources: Iterable[Mapping[str, Any]], kind: str) -> list[str]:
    return [source["Identifier"] for source in sources if source.get("Type") == kind]


def _union(*lists: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({entry for entries in lists for entry in entries}))
