# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auto Scaling's API for what groups are told: hooks, processes, tags, load balancers, warm pools, refreshes."""

from __future__ import annotations

import uuid
from typing import Any

from simulator.aws import scaling_rules as rules
from simulator.aws import scaling_views as views
from simulator.aws.autoscaling import AutoScaling
from simulator.aws.scaling_model import Group, Hook, HookWait, Member, Refresh
from simulator.aws.scaling_operations import Answer, Params, flag, operation, page
from simulator.aws.scaling_upkeep import refresh_under_way

# ---- hooks


@operation
def put_lifecycle_hook(scaling: AutoScaling, params: Params) -> None:
    put_hook(scaling.group(params["AutoScalingGroupName"]), params)


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
        group.tags[tag["Key"]] = tag_of(group, tag)


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
    shown, token = page(tags, params)
    return {"Tags": shown, "NextToken": token}


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
    shown, token = page(found, params)
    return {"InstanceRefreshes": shown, "NextToken": token}


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


def tag_of(group: Group, tag: dict[str, Any]) -> dict[str, Any]:
    """A tag with all that AWS says about it."""
    return {
        "Key": tag["Key"],
        "Value": tag.get("Value") or "",
        "PropagateAtLaunch": flag(tag, "PropagateAtLaunch"),
        "ResourceId": group.name,
        "ResourceType": "auto-scaling-group",
    }


def put_hook(group: Group, params: Params) -> None:
    """Add or change a lifecycle hook."""
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
        if member.state == "InService":
            scaling.balancers.register(group, member.instance_id)
