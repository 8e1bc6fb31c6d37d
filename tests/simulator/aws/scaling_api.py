# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auto Scaling's API: one function an operation, from its parameters to its answer.

Each function takes the groups of the caller's account and the parameters as botocore's model names them, and answers
with a dictionary in the shape of that model; moto parses the request and writes the answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from simulator.aws import scaling_rules as rules
from simulator.aws import scaling_texts as texts
from simulator.aws import scaling_views as views
from simulator.aws.autoscaling import AutoScaling, launch_spec
from simulator.aws.scaling_model import TERMINATING, Activity, Group, Hook, HookWait, Member, Refresh
from simulator.aws.scaling_upkeep import refresh_under_way

Params = dict[str, Any]
Answer = dict[str, Any]
Operation = Callable[[AutoScaling, Params], Answer | None]

OPERATIONS: dict[str, Operation] = {}


def operation(function: Operation) -> Operation:
    """This function serves the operation of its name (set_desired_capacity: SetDesiredCapacity)."""
    OPERATIONS[function.__name__] = function
    return function


# ---- groups


@operation
def create_auto_scaling_group(scaling: AutoScaling, params: Params) -> None:
    name = params["AutoScalingGroupName"]
    if name in scaling.groups:
        raise rules.refusal("AutoScalingGroup by this name already exists - A group with the name " + name + " already exists", "AlreadyExists")
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
        group.tags[tag["Key"]] = _tag(group, tag)
    for hook in params.get("LifecycleHookSpecificationList") or []:
        _put_hook(group, hook)
    scaling.groups[name] = group
    scaling.wish(group, desired, texts.created(scaling.agenda.timestamp(), desired))


@operation
def update_auto_scaling_group(scaling: AutoScaling, params: Params) -> None:
    """A maximum under desired lowers desired, a minimum over it raises it."""
    group = scaling.group(params["AutoScalingGroupName"])
    minimum = params.get("MinSize", group.min_size)
    maximum = params.get("MaxSize", group.max_size)
    rules.check_sizes(minimum, maximum, params.get("DesiredCapacity"))
    if len([key for key in ("LaunchTemplate", "LaunchConfigurationName", "MixedInstancesPolicy") if params.get(key)]) > 1:
        raise rules.refusal(
            "Valid requests must contain either LaunchTemplate, LaunchConfigurationName or MixedInstancesPolicy parameter."
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
    page, token = _page([views.group(group) for group in groups], params)
    return {"AutoScalingGroups": page, "NextToken": token}


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
    page, token = _page(found, params)
    return {"AutoScalingInstances": page, "NextToken": token}


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
    page, token = _page([views.activity(one) for one in activities], params, default=rules.PAGE_LIMIT)
    return {"Activities": page, "NextToken": token}


# ---- members


@operation
def terminate_instance_in_auto_scaling_group(scaling: AutoScaling, params: Params) -> Answer:
    """Protection from scale-in does not hold this up, a suspended Terminate neither."""
    instance_id = params["InstanceId"]
    decrement = _flag(params, "ShouldDecrementDesiredCapacity")
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
    decrement = _flag(params, "ShouldDecrementDesiredCapacity")
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
    decrement = _flag(params, "ShouldDecrementDesiredCapacity")
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
        member.protected = _flag(params, "ProtectedFromScaleIn")
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


# ---- hooks


@operation
def put_lifecycle_hook(scaling: AutoScaling, params: Params) -> None:
    _put_hook(scaling.group(params["AutoScalingGroupName"]), params)


@operation
def describe_lifecycle_hooks(scaling: AutoScaling, params: Params) -> Answer:
    group = scaling.group(params["AutoScalingGroupName"])
    names = params.get("LifecycleHookNames") or []
    hooks = [hook for hook in group.hooks.values() if not names or hook.name in names]
    return {"LifecycleHooks": [views.hook(group, hook) for hook in hooks]}


@operation
def delete_lifecycle_hook(scaling: AutoScaling, params: Params) -> None:
    """What waits for it goes on."""
    group = scaling.group(params["AutoScalingGroupName"])
    name = params["LifecycleHookName"]
    if name not in group.hooks:
        raise rules.refusal(f"No Lifecycle Hook found with name {name}")
    del group.hooks[name]
    for member in list(group.members.values()):
        for wait in [one for one in member.waits if one.hook == name]:
            scaling.complete_hook(group, member, wait, "CONTINUE")


@operation
def complete_lifecycle_action(scaling: AutoScaling, params: Params) -> None:
    group, member, wait = _waiting(scaling, params)
    result = params["LifecycleActionResult"]
    if result not in ("CONTINUE", "ABANDON"):
        raise rules.refusal(f"Lifecycle Action Result {result} is invalid. Must be CONTINUE or ABANDON.")
    scaling.complete_hook(group, member, wait, result)


@operation
def record_lifecycle_action_heartbeat(scaling: AutoScaling, params: Params) -> None:
    scaling.heartbeat(*_waiting(scaling, params))


# ---- processes


@operation
def suspend_processes(scaling: AutoScaling, params: Params) -> None:
    group = scaling.group(params["AutoScalingGroupName"])
    at = scaling.agenda.timestamp()
    for process in rules.check_processes(params.get("ScalingProcesses") or []):
        group.suspended.setdefault(process, f"User suspended at {at}")


@operation
def resume_processes(scaling: AutoScaling, params: Params) -> None:
    """What was held up by them goes on."""
    group = scaling.group(params["AutoScalingGroupName"])
    for process in rules.check_processes(params.get("ScalingProcesses") or []):
        group.suspended.pop(process, None)
    scaling.soon(group)
    scaling.agenda.after(scaling.timings.health_check, lambda: scaling.upkeep.check_health(group))


# ---- tags


@operation
def create_or_update_tags(scaling: AutoScaling, params: Params) -> None:
    tags = params.get("Tags") or []
    groups = [scaling.group(tag.get("ResourceId") or "") for tag in tags]
    for group, tag in zip(groups, tags, strict=True):
        group.tags[tag["Key"]] = _tag(group, tag)


@operation
def delete_tags(scaling: AutoScaling, params: Params) -> None:
    tags = params.get("Tags") or []
    groups = [scaling.group(tag.get("ResourceId") or "") for tag in tags]
    for group, tag in zip(groups, tags, strict=True):
        group.tags.pop(tag["Key"], None)


@operation
def describe_tags(scaling: AutoScaling, params: Params) -> Answer:
    tags = [tag for group in scaling.groups.values() for tag in group.tags.values()]
    fields = {"auto-scaling-group": "ResourceId", "key": "Key", "value": "Value"}
    for wanted in params.get("Filters") or []:
        if wanted["Name"] == "propagate-at-launch":
            tags = [tag for tag in tags if str(tag["PropagateAtLaunch"]).lower() in wanted["Values"]]
        else:
            field = fields.get(wanted["Name"], "Key")
            tags = [tag for tag in tags if tag[field] in wanted["Values"]]
    page, token = _page(tags, params)
    return {"Tags": page, "NextToken": token}


# ---- load balancers


@operation
def attach_load_balancer_target_groups(scaling: AutoScaling, params: Params) -> None:
    group = scaling.group(params["AutoScalingGroupName"])
    group.target_groups += [arn for arn in params["TargetGroupARNs"] if arn not in group.target_groups]
    _register_all(scaling, group)


@operation
def detach_load_balancer_target_groups(scaling: AutoScaling, params: Params) -> None:
    group = scaling.group(params["AutoScalingGroupName"])
    leaving = Group(**{**vars(group), "target_groups": list(params["TargetGroupARNs"]), "load_balancers": []})
    for member in group.members.values():
        scaling.balancers.deregister(leaving, member.instance_id)
    group.target_groups = [arn for arn in group.target_groups if arn not in params["TargetGroupARNs"]]


@operation
def describe_load_balancer_target_groups(scaling: AutoScaling, params: Params) -> Answer:
    group = scaling.group(params["AutoScalingGroupName"])
    return {
        "LoadBalancerTargetGroups": [
            {"LoadBalancerTargetGroupARN": arn, "State": "InService"} for arn in group.target_groups
        ]
    }


@operation
def attach_load_balancers(scaling: AutoScaling, params: Params) -> None:
    group = scaling.group(params["AutoScalingGroupName"])
    group.load_balancers += [name for name in params["LoadBalancerNames"] if name not in group.load_balancers]
    _register_all(scaling, group)


@operation
def detach_load_balancers(scaling: AutoScaling, params: Params) -> None:
    group = scaling.group(params["AutoScalingGroupName"])
    leaving = Group(**{**vars(group), "load_balancers": list(params["LoadBalancerNames"]), "target_groups": []})
    for member in group.members.values():
        scaling.balancers.deregister(leaving, member.instance_id)
    group.load_balancers = [name for name in group.load_balancers if name not in params["LoadBalancerNames"]]


@operation
def describe_load_balancers(scaling: AutoScaling, params: Params) -> Answer:
    group = scaling.group(params["AutoScalingGroupName"])
    return {"LoadBalancers": [{"LoadBalancerName": name, "State": "InService"} for name in group.load_balancers]}


# ---- warm pool, metrics, instance refresh


@operation
def put_warm_pool(scaling: AutoScaling, params: Params) -> None:
    """Its configuration is visible; its instances are not simulated."""
    group = scaling.group(params["AutoScalingGroupName"])
    keys = ("MaxGroupPreparedCapacity", "MinSize", "PoolState", "InstanceReusePolicy")
    group.warm_pool = {"MinSize": 0, "PoolState": "Stopped"} | {key: params[key] for key in keys if key in params}


@operation
def describe_warm_pool(scaling: AutoScaling, params: Params) -> Answer:
    return {"WarmPoolConfiguration": scaling.group(params["AutoScalingGroupName"]).warm_pool, "Instances": []}


@operation
def delete_warm_pool(scaling: AutoScaling, params: Params) -> None:
    scaling.group(params["AutoScalingGroupName"]).warm_pool = None


@operation
def enable_metrics_collection(scaling: AutoScaling, params: Params) -> None:
    scaling.group(params["AutoScalingGroupName"]).metrics = list(params.get("Metrics") or [])


@operation
def start_instance_refresh(scaling: AutoScaling, params: Params) -> Answer:
    group = scaling.group(params["AutoScalingGroupName"])
    if refresh_under_way(group):
        raise rules.refusal(
            "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
            "InstanceRefreshInProgress",
        )
    refresh = Refresh(str(uuid.uuid4()), scaling.agenda.datetime(), params.get("Preferences") or {})
    scaling.upkeep.start_refresh(group, refresh)
    return {"InstanceRefreshId": refresh.refresh_id}


@operation
def describe_instance_refreshes(scaling: AutoScaling, params: Params) -> Answer:
    group = scaling.group(params["AutoScalingGroupName"])
    wanted = params.get("InstanceRefreshIds") or []
    found = [views.refresh(group, one) for one in group.refreshes if not wanted or one.refresh_id in wanted]
    page, token = _page(found, params)
    return {"InstanceRefreshes": page, "NextToken": token}


@operation
def cancel_instance_refresh(scaling: AutoScaling, params: Params) -> Answer:
    group = scaling.group(params["AutoScalingGroupName"])
    refresh = refresh_under_way(group)
    if refresh is None:
        raise rules.refusal(
            "No in progress or pending Instance Refresh found for Auto Scaling group " + group.name,
            "ActiveInstanceRefreshNotFound",
        )
    refresh.status = "Cancelling"
    scaling.agenda.after(scaling.timings.reaction, lambda: scaling.upkeep.end_cancelled(refresh))
    return {"InstanceRefreshId": refresh.refresh_id}


# ---- helpers


def _flag(params: Params, name: str) -> bool:
    return str(params.get(name, False)).lower() == "true"


def _page(items: list[Any], params: Params, default: int = rules.DEFAULT_PAGE) -> tuple[list[Any], str | None]:
    """One page of a list; the token is the position of the next page."""
    size = int(params.get("MaxRecords") or default)
    if size > rules.PAGE_LIMIT:
        raise rules.refusal(f"The number of records to return must be between 1 and {rules.PAGE_LIMIT}.")
    start = int(params.get("NextToken") or 0)
    token = str(start + size) if len(items) > start + size else None
    return items[start : start + size], token


def _matches(group: Group, name: str, values: list[str]) -> bool:
    if name == "tag-key":
        return any(key in values for key in group.tags)
    if name == "tag-value":
        return any(tag.get("Value") in values for tag in group.tags.values())
    return name.startswith("tag:") and group.tags.get(name[4:], {}).get("Value") in values


def _tag(group: Group, tag: dict[str, Any]) -> dict[str, Any]:
    return {
        "Key": tag["Key"],
        "Value": tag.get("Value") or "",
        "PropagateAtLaunch": _flag(tag, "PropagateAtLaunch"),
        "ResourceId": group.name,
        "ResourceType": "auto-scaling-group",
    }


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
        "InstanceMaintenancePolicy": "maintenance_policy",
    }
    for key, attribute in plain.items():
        if params.get(key) is not None:
            setattr(group, attribute, params[key])
    if params.get("NewInstancesProtectedFromScaleIn") is not None:
        group.protects_new = _flag(params, "NewInstancesProtectedFromScaleIn")
    if params.get("CapacityRebalance") is not None:
        group.capacity_rebalance = _flag(params, "CapacityRebalance")


def _launch_source(scaling: AutoScaling, group: Group, params: Params) -> None:
    configuration = params.get("LaunchConfigurationName")
    if configuration and configuration not in scaling.moto.launch_configurations:
        raise rules.refusal(f"Launch configuration name not found - {configuration}")
    trial = Group(**vars(group))
    trial.launch_template = params.get("LaunchTemplate")
    trial.launch_configuration = configuration or ""
    trial.mixed_policy = params.get("MixedInstancesPolicy")
    if not configuration:
        spec, _ = launch_spec(trial)
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


def _put_hook(group: Group, params: Params) -> None:
    known = group.hooks.get(params["LifecycleHookName"])
    transition = params.get("LifecycleTransition") or (known.transition if known else "")
    if transition not in ("autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"):
        raise rules.refusal(f"Lifecycle Transition {transition} is invalid.")
    group.hooks[params["LifecycleHookName"]] = Hook(
        name=params["LifecycleHookName"],
        transition=transition,
        heartbeat=int(params.get("HeartbeatTimeout") or 3600),
        default_result=params.get("DefaultResult") or "ABANDON",
        target_arn=params.get("NotificationTargetARN") or "",
        role_arn=params.get("RoleARN") or "",
        metadata=params.get("NotificationMetadata") or "",
    )


def _waiting(scaling: AutoScaling, params: Params) -> tuple[Group, Member, HookWait]:
    group = scaling.group(params["AutoScalingGroupName"])
    token, instance_id = params.get("LifecycleActionToken"), params.get("InstanceId")
    for member in group.members.values():
        for wait in member.waits:
            if wait.hook == params["LifecycleHookName"] and (
                token == wait.token if token else instance_id == member.instance_id
            ):
                return group, member, wait
    named = f"token {token}" if token else f"instance ID {instance_id}"
    raise rules.refusal(f"No active Lifecycle Action found with {named}")


def _register_all(scaling: AutoScaling, group: Group) -> None:
    for member in group.members.values():
        if member.state == "InService" and member.state not in TERMINATING:
            scaling.balancers.register(group, member.instance_id)
