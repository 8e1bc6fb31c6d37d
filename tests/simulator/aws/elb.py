# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load balancers over time: targets become healthy, drain when they are deregistered, and are unused afterwards.

moto keeps load balancers and target groups; who is registered where, and how it fares, is kept here. Health is simple:
registered, and its instance runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moto.ec2.models.instances import Instance
from moto.elb.models import LoadBalancer, elb_backends
from moto.elbv2.exceptions import InvalidTargetError, TargetGroupNotFoundError, TargetNotRunning
from moto.elbv2.models import FakeTargetGroup, elbv2_backends

from simulator.aws.agenda import Agenda, Due
from simulator.aws.ec2 import Compute
from simulator.aws.scaling_model import Group
from simulator.aws.timings import Timings

DELAY = "deregistration_delay.timeout_seconds"
REASONS = {
    "initial": ("Elb.RegistrationInProgress", "Target registration is in progress"),
    "draining": ("Target.DeregistrationInProgress", "Target deregistration is in progress"),
    "unused": ("Target.NotRegistered", "Target is not registered to the target group"),
    "stopped": ("Target.InvalidState", "Target is in the stopped state"),
    "terminated": ("Target.InvalidState", "Target is in the terminated state"),
}


@dataclass
class Target:
    """One target of a target group: "initial", "healthy" or "draining"."""

    target_id: str
    port: int
    state: str
    due: Due | None = None


class Balancers:
    """The target groups and classic load balancers of one account and region."""

    def __init__(self, agenda: Agenda, timings: Timings, compute: Compute):
        self._agenda = agenda
        self._timings = timings
        self._compute = compute
        account, region = compute.backend.account_id, compute.backend.region_name
        self.target_groups = elbv2_backends[account][region]
        self.classic = elb_backends[account][region]
        #: target group ARN -> target id -> target
        self._targets: dict[str, dict[str, Target]] = {}
        compute.watchers.append(self._instance_changed)

    # ---- for Auto Scaling

    def register(self, group: Group, instance_id: str) -> None:
        """A member has come into service."""
        for arn in group.target_groups:
            if arn in self.target_groups.target_groups:
                self.register_targets(arn, [{"Id": instance_id}])
        for name in group.load_balancers:
            balancer = self._classic(name)
            if balancer is not None and instance_id not in balancer.instance_autoscaling_ids:
                balancer.instance_autoscaling_ids.append(instance_id)

    def deregister(self, group: Group, instance_id: str) -> float:
        """A member leaves; answers for how many seconds its connections are being drained (0: none)."""
        delay = 0.0
        for arn in group.target_groups:
            target = self._targets.get(arn, {}).get(instance_id)
            if target is not None:
                self._drain(arn, target)
                delay = max(delay, target.due.at - self._agenda.now() if target.due else 0.0)
        for name in group.load_balancers:
            balancer = self._classic(name)
            if balancer is not None and instance_id in balancer.instance_autoscaling_ids:
                balancer.instance_autoscaling_ids.remove(instance_id)
                draining = balancer.attributes.get("connection_draining", {})
                if str(draining.get("Enabled", draining.get("enabled", ""))).lower() == "true":
                    delay = max(delay, float(draining.get("Timeout") or draining.get("timeout") or 300))
        return delay

    # ---- target groups

    def register_targets(self, arn: str, targets: list[dict[str, Any]]) -> None:
        """RegisterTargets."""
        group = self._target_group(arn)
        for target in targets:
            instance = self._compute.find(target["Id"])
            if instance is not None and instance.state != "running":
                raise TargetNotRunning(instance_id=target["Id"])
        for target in targets:
            known = self._targets.setdefault(arn, {}).get(target["Id"])
            if known is not None and known.state != "draining":
                continue
            if known is not None and known.due:
                known.due.cancel()
            new = Target(target["Id"], int(target.get("Port") or group.port or 80), "initial")
            new.due = self._agenda.after(self._timings.registering, lambda one=new: self._healthy(one))
            self._targets[arn][new.target_id] = new

    def deregister_targets(self, arn: str, targets: list[dict[str, Any]]) -> None:
        """DeregisterTargets."""
        self._target_group(arn)
        known = self._targets.get(arn, {})
        if any(target["Id"] not in known for target in targets):
            raise InvalidTargetError()
        for target in targets:
            self._drain(arn, known[target["Id"]])

    def target_health(self, arn: str, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """DescribeTargetHealth: all registered or draining targets, or those that were asked for."""
        group = self._target_group(arn)
        known = self._targets.get(arn, {})
        if not asked:
            return [self._health(target) for target in known.values()]
        return [
            self._health(
                known.get(target["Id"]) or Target(target["Id"], int(target.get("Port") or group.port), "unused")
            )
            for target in asked
        ]

    def _health(self, target: Target) -> dict[str, Any]:
        state = target.state
        instance = self._compute.find(target.target_id)
        reason = REASONS.get(state)
        if state in ("initial", "healthy") and instance is not None and instance.state != "running":
            reason = REASONS["stopped" if instance.state in ("stopping", "stopped") else "terminated"]
            state = "unused"
        health = {"State": state}
        if reason:
            health |= {"Reason": reason[0], "Description": reason[1]}
        return {
            "Target": {"Id": target.target_id, "Port": target.port},
            "HealthCheckPort": str(target.port),
            "TargetHealth": health,
        }

    def _healthy(self, target: Target) -> None:
        if target.state == "initial":
            target.state = "healthy"

    def _drain(self, arn: str, target: Target) -> None:
        if target.state == "draining":
            return
        if target.due:
            target.due.cancel()
        target.state = "draining"
        instance = self._compute.find(target.target_id)
        gone = instance is not None and instance.state != "running"
        delay = 0.0 if gone else float(self._target_group(arn).attributes.get(DELAY, 300))
        target.due = self._agenda.after(delay, lambda: self._drop(arn, target))

    def _drop(self, arn: str, target: Target) -> None:
        if self._targets.get(arn, {}).get(target.target_id) is target:
            del self._targets[arn][target.target_id]

    def _target_group(self, arn: str) -> FakeTargetGroup:
        if arn not in self.target_groups.target_groups:
            raise TargetGroupNotFoundError()
        return self.target_groups.target_groups[arn]

    # ---- classic load balancers

    def instance_health(self, name: str, asked: list[str]) -> list[dict[str, str]]:
        """DescribeInstanceHealth."""
        balancer = self.classic.get_load_balancer(name)
        registered = list(balancer.instance_ids)
        return [self._classic_health(one, one in registered) for one in (asked or registered)]

    def _classic_health(self, instance_id: str, registered: bool) -> dict[str, str]:
        instance = self._compute.find(instance_id)
        answer = {"InstanceId": instance_id, "State": "OutOfService", "ReasonCode": "Instance"}
        if not registered:
            return answer | {"Description": "Instance is not currently registered with the LoadBalancer."}
        if instance is None or instance.state != "running":
            state = instance.state if instance else "terminated"
            return answer | {"Description": f"Instance is in {state} state."}
        return answer | {"State": "InService", "ReasonCode": "N/A", "Description": "N/A"}

    def _classic(self, name: str) -> LoadBalancer | None:
        return self.classic.load_balancers.get(name)

    # ---- what EC2 tells

    def _instance_changed(self, instance: Instance, before: str, state: str) -> None:
        """Load balancers let go of what has ended."""
        if state != "terminated":
            return
        for arn, targets in self._targets.items():
            if instance.id in targets:
                self._drain(arn, targets[instance.id])
        for balancer in self.classic.load_balancers.values():
            for ids in (balancer.instance_autoscaling_ids, balancer.instance_sparse_ids):
                if instance.id in ids:
                    ids.remove(instance.id)
