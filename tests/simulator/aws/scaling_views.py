# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How groups, members and activities look in Auto Scaling's answers."""

from __future__ import annotations

from typing import Any

from simulator.aws.scaling_model import Activity, Group, Hook, Member, Refresh, TemplateRef


def group(one: Group) -> dict[str, Any]:
    """A group, as DescribeAutoScalingGroups shows it."""
    answer: dict[str, Any] = {
        "AutoScalingGroupName": one.name,
        "AutoScalingGroupARN": one.arn,
        "MinSize": one.min_size,
        "MaxSize": one.max_size,
        "DesiredCapacity": one.desired,
        "DefaultCooldown": one.default_cooldown,
        "AvailabilityZones": one.zones,
        "LoadBalancerNames": one.load_balancers,
        "TargetGroupARNs": one.target_groups,
        "HealthCheckType": one.health_check_type,
        "HealthCheckGracePeriod": one.health_check_grace,
        "Instances": [instance(member) for member in one.members.values()],
        "CreatedTime": one.created,
        "SuspendedProcesses": [
            {"ProcessName": name, "SuspensionReason": reason} for name, reason in sorted(one.suspended.items())
        ],
        "VPCZoneIdentifier": ",".join(one.subnets),
        "EnabledMetrics": [{"Metric": metric, "Granularity": "1Minute"} for metric in one.metrics],
        "Tags": list(one.tags.values()),
        "TerminationPolicies": one.termination_policies,
        "NewInstancesProtectedFromScaleIn": one.protects_new,
        "ServiceLinkedRoleARN": one.service_role,
        "CapacityRebalance": one.capacity_rebalance,
        "TrafficSources": [{"Identifier": arn, "Type": "elbv2"} for arn in one.target_groups]
        + [{"Identifier": name, "Type": "elb"} for name in one.load_balancers],
    }
    optional = {
        "Status": "Delete in progress" if one.deleting else None,
        "LaunchTemplate": one.launch_template,
        "LaunchConfigurationName": one.launch_configuration or None,
        "MixedInstancesPolicy": mixed_policy(one.mixed_policy) if one.mixed_policy else None,
        "PlacementGroup": one.placement_group or None,
        "MaxInstanceLifetime": one.max_instance_lifetime,
        "DefaultInstanceWarmup": one.default_warmup,
        "DesiredCapacityType": one.capacity_type or None,
        "InstanceMaintenancePolicy": one.maintenance_policy,
        "WarmPoolConfiguration": one.warm_pool,
        "WarmPoolSize": 0 if one.warm_pool else None,
    }
    return answer | {key: value for key, value in optional.items() if value is not None}


def mixed_policy(policy: dict[str, Any]) -> dict[str, Any]:
    """A mixed instances policy with AWS's defaults filled in."""
    distribution = {
        "OnDemandAllocationStrategy": "prioritized",
        "OnDemandBaseCapacity": 0,
        "OnDemandPercentageAboveBaseCapacity": 100,
        "SpotAllocationStrategy": "lowest-price",
        "SpotInstancePools": 2,
    } | (policy.get("InstancesDistribution") or {})
    template = {"Overrides": []} | policy["LaunchTemplate"]
    return {"LaunchTemplate": template, "InstancesDistribution": distribution}


def instance(member: Member) -> dict[str, Any]:
    """A member, as DescribeAutoScalingGroups shows it."""
    answer = {
        "InstanceId": member.instance_id,
        "InstanceType": member.instance_type,
        "AvailabilityZone": member.zone,
        "LifecycleState": member.state,
        "HealthStatus": "Healthy" if member.healthy else "Unhealthy",
        "ProtectedFromScaleIn": member.protected,
    }
    if member.template:
        answer["LaunchTemplate"] = _template(member.template)
    if member.configuration:
        answer["LaunchConfigurationName"] = member.configuration
    if member.weighted:
        answer["WeightedCapacity"] = str(member.weight)
    return answer


def instance_details(one: Group, member: Member) -> dict[str, Any]:
    """A member, as DescribeAutoScalingInstances shows it (its health is in capitals there)."""
    answer = instance(member) | {"AutoScalingGroupName": one.name}
    answer["HealthStatus"] = answer["HealthStatus"].upper()
    return answer


def activity(one: Activity) -> dict[str, Any]:
    """A scaling activity."""
    details = f'{{"Subnet ID":"{one.subnet}","Availability Zone":"{one.zone}"}}' if one.zone else "{}"
    answer = {
        "ActivityId": one.activity_id,
        "AutoScalingGroupName": one.group,
        "Description": one.description,
        "Cause": one.cause,
        "StartTime": one.started,
        "StatusCode": one.status,
        "Progress": one.progress,
        "Details": details,
    }
    if one.ended:
        answer["EndTime"] = one.ended
    if one.message:
        answer["StatusMessage"] = one.message
    return answer


def hook(one: Group, what: Hook) -> dict[str, Any]:
    """A lifecycle hook."""
    answer = {
        "LifecycleHookName": what.name,
        "AutoScalingGroupName": one.name,
        "LifecycleTransition": what.transition,
        "HeartbeatTimeout": what.heartbeat,
        "GlobalTimeout": min(172800, what.heartbeat * 100),
        "DefaultResult": what.default_result,
    }
    optional = {
        "NotificationTargetARN": what.target_arn,
        "RoleARN": what.role_arn,
        "NotificationMetadata": what.metadata,
    }
    return answer | {key: value for key, value in optional.items() if value}


def refresh(one: Group, what: Refresh) -> dict[str, Any]:
    """An instance refresh."""
    answer = {
        "InstanceRefreshId": what.refresh_id,
        "AutoScalingGroupName": one.name,
        "Status": what.status,
        "StartTime": what.started,
        "PercentageComplete": what.percentage,
        "InstancesToUpdate": what.to_update,
        "Preferences": what.preferences,
    }
    if what.reason:
        answer["StatusReason"] = what.reason
    if what.ended:
        answer["EndTime"] = what.ended
    return answer


def _template(ref: TemplateRef) -> dict[str, str]:
    return {"LaunchTemplateId": ref.template_id, "LaunchTemplateName": ref.name, "Version": ref.version}
