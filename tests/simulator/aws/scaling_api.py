# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auto Scaling's API for groups and their members: one function an operation (see scaling_operations.py)."""

from __future__ import annotations

import uuid

from simulator.aws import scaling_rules as rules
from simulator.aws import scaling_texts as texts
from simulator.aws import scaling_views as views
from simulator.aws.autoscaling import AutoScaling, launch_spec
from simulator.aws.scaling_model import Activity, Group, Member
from simulator.aws.scaling_operations import Answer, Params, flag, operation, page
from simulator.aws.scaling_settings import put_hook, tag_of

# ---- groups


@operation
def create_auto_scaling_group(scaling: AutoScaling, params: Params) -> None:
    name = params["AutoScalingGroupName"]
    if name in scaling.groups:
        raise rules.refusal(
            "AutoScalingGroup by this name already exists - A group with the name " + name + " already exists",
            "AlreadyExists",
        )
    sources = [key for key in ("LaunchTemplate", "LaunchConfigurationName", "MixedInstancesPolicy") if params.get(key)]
    if len(sources) != 1:
        raise rules.refusal(
            "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or "
            "MixedInstancesPolicy parameter."
        )
    desired = params.get("DesiredCapacity", params["MinSize"])
    rules.check_sizes(params["MinSize"], params["MaxSize"], desired)
    backend = scaling.compute.backend
    group = Group(
        name=name,
        arn=f"arn:aws:autoscaling:{backend.region_name}:{backend.account_id}:autoScalingGroup:{uuid.uuid4()}"
        f":autoScalingGroupName/{name}",
        created=scaling.agenda.datetime(),
        min_size=params["MinSize"],
        max_size=params["MaxSize"],
        desired=0,
        subnets=_subnets(scaling, params),
        service_role=f"arn:aws:iam::{backend.account_id}:role/aws-service-role/autoscaling.amazonaws.com/"
        "AWSServiceRoleForAutoScaling",
        load_balancers=list(params.get("LoadBalancerNames") or []),
        target_groups=list(params.get("TargetGroupARNs") or []),
    )
    _settings(scaling, group, params)
    for tag in params.get("Tags") or []:
        group.tags[tag["Key"]] = tag_of(group, tag)
    for hook in params.get("LifecycleHookSpecificationList") or []:
        put_hook(group, hook)
    scaling.groups[name] = group
    scaling.wish(group, desired, texts.created(scaling.agenda.timestamp(), desired))


@operation
def update_auto_scaling_group(scaling: AutoScaling, params: Params) -> None:
    """A maximum under desired lowers desired, a minimum over it raises it."""
    group = scaling.group(params["AutoScalingGroupName"])
    minimum = params.get("MinSize", group.min_size)
    maximum = params.get("MaxSize", group.max_size)
    rules.check_sizes(minimum, maximum, params.get("DesiredCapacity"))
    if (
        len([key for key in ("LaunchTemplate", "LaunchConfigurationName", "MixedInstancesPolicy") if params.get(key)])
        > 1
    ):
        raise rules.refusal(
            "Valid requests must contain either LaunchTemplate, LaunchConfigurationName or MixedInstancesPolicy "
            "parameter."
        )
    if params.get("VPCZoneIdentifier"):
        group.subnets = _subnets(scaling, params)
    _settings(scaling, group, params)
    desired = params.get("DesiredCapacity", min(max(group.desired, minimum), maximum))
    group.min_size, group.max_size = minimum, maximum
    reason = texts.updated(scaling.agenda.timestamp(), minimum, maximum, desired, group.desired)
    scaling.wish(group, desired, reason)


@operation
def delete_auto_scaling_group(scaling: AutoScaling, params: Params) -> None:
    group = scaling.group(params["AutoScalingGroupName"])
    if group.members and not params.get("ForceDelete"):
        raise rules.refusal(
            "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) "
            "still in the group.",
            "ResourceInUse",
        )
    cause = texts.deleted(scaling.agenda.timestamp(), group.desired)
    group.deleting, group.min_size, group.desired = True, 0, 0
    group.hooks.clear()
    for member in list(group.members.values()):
        if not member.terminating:
            scaling.terminate(group, member, cause)
    if not group.members:
        del scaling.groups[group.name]


@operation
def describe_auto_scaling_groups(scaling: AutoScaling, params: Params) -> Answer:
    names = params.get("AutoScalingGroupNames") or []
    groups = [group for group in scaling.groups.values() if not names or group.name in names]
    for wanted in params.get("Filters") or []:
        groups = [group for group in groups if _matches(group, wanted["Name"], wanted.get("Values") or [])]
    shown, token = page([views.group(group) for group in groups], params)
    return {"AutoScalingGroups": shown, "NextToken": token}


@operation
def describe_auto_scaling_instances(scaling: AutoScaling, params: Params) -> Answer:
    ids = params.get("InstanceIds") or []
    rules.check_ids(ids, rules.DEFAULT_PAGE)
    found = [
        views.instance_details(group, member)
        for group in scaling.groups.values()
        for member in group.members.values()
        if not ids or member.instance_id in ids
    ]
    shown, token = page(found, params)
    return {"AutoScalingInstances": shown, "NextToken": token}


@operation
def set_desired_capacity(scaling: AutoScaling, params: Params) -> None:
    group = scaling.group(params["AutoScalingGroupName"])
    desired = params["DesiredCapacity"]
    rules.check_desired(group, desired)
    scaling.wish(group, desired, texts.set_desired(scaling.agenda.timestamp(), group.desired, desired))


@operation
def describe_scaling_activities(scaling: AutoScaling, params: Params) -> Answer:
    name = params.get("AutoScalingGroupName")
    wanted = params.get("ActivityIds") or []
    groups = [scaling.group(name)] if name else list(scaling.groups.values())
    activities = [one for group in groups for one in group.activities if not wanted or one.activity_id in wanted]
    activities.sort(key=lambda activity: activity.started, reverse=True)
    activities.sort(key=lambda activity: activity.over)  # "Activities still in progress are described first."
    shown, token = page([views.activity(one) for one in activities], params, default=rules.PAGE_LIMIT)
    return {"Activities": shown, "NextToken": token}


# ---- members


@operation
def terminate_instance_in_auto_scaling_group(scaling: AutoScaling, params: Params) -> Answer:
    """Protection from scale-in does not hold this up, a suspended Terminate neither."""
    if "InstanceId" not in params:
        raise NotImplementedError("the form with InstanceIds")
    instance_id = params["InstanceId"]
    decrement = flag(params, "ShouldDecrementDesiredCapacity")
    found = scaling.member(instance_id)
    if found is None:
        raise rules.refusal(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")
    group, member = found
    if member.terminating and member.activity:
        return {"Activity": views.activity(member.activity)}
    if decrement:
        rules.check_can_terminate(group)
    before = group.desired
    if decrement:
        group.desired -= 1
    at = scaling.agenda.timestamp()
    cause = texts.by_user(at, instance_id, "taken out of service", before, group.desired)
    activity = scaling.terminate(group, member, cause)
    scaling.soon(group)
    return {"Activity": views.activity(activity)}


@operation
def detach_instances(scaling: AutoScaling, params: Params) -> Answer:
    group = scaling.group(params["AutoScalingGroupName"])
    ids = params.get("InstanceIds") or []
    rules.check_ids(ids, rules.DETACH_LIMIT)
    members = rules.check_members(group, ids)
    rules.check_states(members, ("InService", "Standby"))
    decrement = flag(params, "ShouldDecrementDesiredCapacity")
    serving = [member for member in members if member.state == "InService"]
    if decrement:
        rules.check_can_shrink(group, len(serving), "detach")
    activities = []
    for member in members:
        before = group.desired
        if decrement and member in serving:
            group.desired -= 1
        cause = texts.by_user(scaling.agenda.timestamp(), member.instance_id, "detached", before, group.desired)
        activities.append(_move(scaling, group, member, "Detaching EC2 instance", cause))
        scaling.release(group, member, "Detaching", lambda one=member: scaling.detached(group, one))
    scaling.soon(group)
    return {"Activities": [views.activity(one) for one in activities]}


@operation
def attach_instances(scaling: AutoScaling, params: Params) -> None:
    group = scaling.group(params["AutoScalingGroupName"])
    ids = params.get("InstanceIds") or []
    rules.check_ids(ids, rules.DETACH_LIMIT)
    rules.check_can_grow(group, len(ids), "attach")
    instances = []
    for instance_id in ids:
        instance = scaling.compute.find(instance_id)
        if instance is None or instance.state != "running":
            raise rules.refusal(f"Invalid Instance: {instance_id} is not in correct state.")
        if scaling.member(instance_id):
            raise rules.refusal(f"Instance {instance_id} is already part of an Auto Scaling group.")
        instances.append(instance)
    for instance in instances:
        before = group.desired
        group.desired += 1
        group.members[instance.id] = member = Member(
            instance_id=instance.id,
            zone=instance.availability_zone or "",
            subnet=instance.subnet_id or "",
            instance_type=instance.instance_type,
            launched_at=scaling.agenda.now(),
            protected=group.protects_new,
        )
        scaling.compute.backend.create_tags([instance.id], {"aws:autoscaling:groupName": group.name})
        cause = texts.attached(scaling.agenda.timestamp(), instance.id, before, group.desired)
        _move(scaling, group, member, "Attaching an existing EC2 instance", cause)
        scaling.into_service(group, member)


@operation
def enter_standby(scaling: AutoScaling, params: Params) -> Answer:
    group = scaling.group(params["AutoScalingGroupName"])
    ids = params.get("InstanceIds") or []
    rules.check_ids(ids, rules.STANDBY_LIMIT)
    members = rules.check_members(group, ids)
    rules.check_states(members, ("InService",))
    decrement = flag(params, "ShouldDecrementDesiredCapacity")
    if decrement:
        rules.check_can_shrink(group, len(members), "place into standby")
    activities = []
    for member in members:
        before = group.desired
        if decrement:
            group.desired -= 1
        cause = texts.by_user(scaling.agenda.timestamp(), member.instance_id, "moved to standby", before, group.desired)
        activities.append(_move(scaling, group, member, "Moving EC2 instance to Standby", cause))
        scaling.release(group, member, "EnteringStandby", lambda one=member: _stands_by(scaling, one))
    scaling.soon(group)
    return {"Activities": [views.activity(one) for one in activities]}


@operation
def exit_standby(scaling: AutoScaling, params: Params) -> Answer:
    group = scaling.group(params["AutoScalingGroupName"])
    ids = params.get("InstanceIds") or []
    rules.check_ids(ids, rules.STANDBY_LIMIT)
    members = rules.check_members(group, ids)
    rules.check_states(members, ("Standby",))
    rules.check_can_grow(group, len(members), "take out of standby")
    activities = []
    for member in members:
        before = group.desired
        group.desired += 1
        cause = texts.out_of_standby(scaling.agenda.timestamp(), member.instance_id, before, group.desired)
        activities.append(_move(scaling, group, member, "Moving EC2 instance out of Standby", cause, "PreInService"))
        member.state = "Pending"
        scaling.agenda.after(
            scaling.timings.in_service,
            lambda one=member: scaling.into_service(group, one) if one.state == "Pending" else None,
        )
    return {"Activities": [views.activity(one) for one in activities]}


@operation
def set_instance_protection(scaling: AutoScaling, params: Params) -> None:
    """Taking protection off lets a scale-in go on that found nobody to take."""
    group = scaling.group(params["AutoScalingGroupName"])
    ids = params.get("InstanceIds") or []
    rules.check_ids(ids, rules.PROTECTION_LIMIT)
    members = rules.check_members(group, ids)
    rules.check_states(members, ("InService", "EnteringStandby", "Standby"))
    for member in members:
        member.protected = flag(params, "ProtectedFromScaleIn")
    scaling.soon(group)


@operation
def set_instance_health(scaling: AutoScaling, params: Params) -> None:
    instance_id = params["InstanceId"]
    found = scaling.member(instance_id)
    if found is None:
        raise rules.refusal(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")
    group, member = found
    member.healthy = params["HealthStatus"] == "Healthy"
    scaling.agenda.after(scaling.timings.reaction, lambda: scaling.upkeep.replace_unhealthy(group, "user"))


# ---- helpers


def _matches(group: Group, name: str, values: list[str]) -> bool:
    if name == "tag-key":
        return any(key in values for key in group.tags)
    if name == "tag-value":
        return any(tag.get("Value") in values for tag in group.tags.values())
    return name.startswith("tag:") and group.tags.get(name[4:], {}).get("Value") in values


def _subnets(scaling: AutoScaling, params: Params) -> dict[str, str]:
    wanted = [one.strip() for one in (params.get("VPCZoneIdentifier") or "").split(",") if one.strip()]
    if wanted:
        subnets = scaling.compute.backend.describe_subnets(subnet_ids=wanted)
        return {subnet.id: subnet.availability_zone for subnet in subnets}
    zones = params.get("AvailabilityZones") or []
    if not zones:
        raise rules.refusal("At least one Availability Zone or VPC Subnet is required.")
    default = scaling.compute.backend.get_default_subnets()
    return {default[zone].id: zone for zone in zones}


def _settings(scaling: AutoScaling, group: Group, params: Params) -> None:
    """Everything that creating and updating have in common; what is not named stays (a mixed policy above all)."""
    if params.get("LaunchTemplate") or params.get("LaunchConfigurationName") or params.get("MixedInstancesPolicy"):
        _launch_source(scaling, group, params)
    plain = {
        "DefaultCooldown": "default_cooldown",
        "HealthCheckType": "health_check_type",
        "HealthCheckGracePeriod": "health_check_grace",
        "TerminationPolicies": "termination_policies",
        "PlacementGroup": "placement_group",
        "MaxInstanceLifetime": "max_instance_lifetime",
        "DefaultInstanceWarmup": "default_warmup",
        "DesiredCapacityType": "capacity_type",
        "InstanceMaintenancePolicy": "maintenance_policy",
    }
    for key, attribute in plain.items():
        if params.get(key) is not None:
            setattr(group, attribute, params[key])
    if params.get("NewInstancesProtectedFromScaleIn") is not None:
        group.protects_new = flag(params, "NewInstancesProtectedFromScaleIn")
    if params.get("CapacityRebalance") is not None:
        group.capacity_rebalance = flag(params, "CapacityRebalance")


def _launch_source(scaling: AutoScaling, group: Group, params: Params) -> None:
    configuration = params.get("LaunchConfigurationName")
    if configuration and configuration not in scaling.moto.launch_configurations:
        raise rules.refusal(f"Launch configuration name not found - {configuration}")
    trial = Group(**vars(group))
    trial.launch_template = params.get("LaunchTemplate")
    trial.launch_configuration = configuration or ""
    trial.mixed_policy = params.get("MixedInstancesPolicy")
    if not configuration:
        spec, _unused = launch_spec(trial)
        template = scaling.compute.template_version(spec).template
        known = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name}
        if trial.mixed_policy:
            inner = trial.mixed_policy["LaunchTemplate"]
            inner["LaunchTemplateSpecification"] = known | {
                "Version": inner["LaunchTemplateSpecification"].get("Version") or "$Default"
            }
        else:
            version = (trial.launch_template or {}).get("Version")
            trial.launch_template = known | ({"Version": version} if version else {})
    group.launch_template, group.mixed_policy = trial.launch_template, trial.mixed_policy
    group.launch_configuration = trial.launch_configuration


def _move(
    scaling: AutoScaling, group: Group, member: Member, text: str, cause: str, status: str = "InProgress"
) -> Activity:
    description = f"{text}: {member.instance_id}"
    member.activity = scaling.log(group, description, cause, status, member.zone, member.subnet, progress=50)
    return member.activity


def _stands_by(scaling: AutoScaling, member: Member) -> None:
    if member.state == "EnteringStandby":
        member.state = "Standby"
        if member.activity:
            member.activity.finish(scaling.agenda.datetime())
            member.activity = None
