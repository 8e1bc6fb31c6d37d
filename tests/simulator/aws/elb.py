# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load balancers over time: targets become healthy, drain when they are deregistered, and are unused afterwards.

moto keeps load balancers and target groups; who is registered where, and how it fares, is kept in a ``Pool`` for each.
Whoever answers health checks is healthy after ``interval x threshold`` seconds. An instance answers while it runs; the
world, which knows more, sets ``answers`` (its node must be up as well); a test may set ``checks``, for instance for a
service with externalTrafficPolicy: Local, whose nodes are healthy only where there is a pod of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.exceptions import ServiceException
from moto.ec2.models.instances import Instance
from moto.elb.models import LoadBalancer, elb_backends
from moto.elbv2.exceptions import TargetGroupNotFoundError, TargetNotRunning
from moto.elbv2.models import FakeTargetGroup, elbv2_backends

from simulator.aws.agenda import Agenda
from simulator.aws.ec2 import Compute
from simulator.aws.scaling_model import Group
from simulator.aws.targets import Pool, Rules, Target
from simulator.aws.timings import Timings

DELAY = "deregistration_delay.timeout_seconds"
CLASSIC_PORT = 0
#: what AWS gives a classic load balancer that nobody has configured: seconds, healthy after, unhealthy after
CLASSIC_CHECKS = (30, 10, 2)
REASONS = {
    "registering": ("Elb.RegistrationInProgress", "Target registration is in progress"),
    "initial": ("Elb.InitialHealthChecking", "Initial health checks in progress"),
    "unhealthy": ("Target.FailedHealthChecks", "Health checks failed"),
    "draining": ("Target.DeregistrationInProgress", "Target deregistration is in progress"),
    "unused": ("Target.NotRegistered", "Target is not registered to the target group"),
    "idle": ("Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"),
    "stopped": ("Target.InvalidState", "Target is in the stopped state"),
}
CLASSIC_TEXTS = {
    "initial": ("ELB", "Instance registration is still in progress."),
    "unhealthy": (
        "Instance",
        "Instance has failed at least the UnhealthyThreshold number of health checks consecutively.",
    ),
    "unused": ("Instance", "Instance is not currently registered with the LoadBalancer."),
}


class InvalidInstance(ServiceException):
    """A classic load balancer is asked about an instance that EC2 does not know."""

    def __init__(self, instance_ids: list[str]):
        super().__init__("InvalidInstance", f"Could not find EC2 instance {instance_ids[0]}.")


class Balancers:
    """The target groups and classic load balancers of one account and region."""

    def __init__(self, agenda: Agenda, timings: Timings, compute: Compute):
        self._agenda = agenda
        self._timings = timings
        self._compute = compute
        account, region = compute.backend.account_id, compute.backend.region_name
        self.target_groups = elbv2_backends[account][region]
        self.classic = elb_backends[account][region]
        #: whether the computer behind a running instance answers
        self.answers: Callable[[str], bool] = lambda _instance_id: True
        #: what else a target group (by ARN) or classic load balancer (by name) asks for
        self.checks: dict[str, Callable[[str], bool]] = {}
        #: told of each target that has become unhealthy or has been deregistered
        self.lost: Callable[[str], None] = lambda _instance_id: None
        self._pools: dict[str, Pool] = {}
        compute.watchers.append(self._instance_changed)

    def pool(self, name: str) -> Pool:
        """Who is registered with a target group (by its ARN) or a classic load balancer (by its name)."""
        rules = (lambda: self._target_rules(name)) if name.startswith("arn:") else (lambda: self._classic_rules(name))
        return self._pools.setdefault(name, Pool(self._agenda, rules, lambda one: self._answers(name, one)))

    def check(self) -> None:
        """Look at the health of all targets."""
        for name, pool in list(self._pools.items()):
            if name in self.target_groups.target_groups or name in self.classic.load_balancers:
                for instance_id in pool.check():
                    self.lost(instance_id)

    def settled(self) -> bool:
        """Nobody is on the way to be healthy, or to be out."""
        return all(
            target.state == ("healthy" if target.answers else "unhealthy")
            for pool in self._pools.values()
            for target in pool.targets.values()
        )

    def instance_answers(self, instance_id: str) -> bool:
        """The instance runs, and so does what is to answer on it."""
        instance = self._compute.find(instance_id)
        return instance is not None and instance.state == "running" and self.answers(instance_id)

    def _answers(self, name: str, target_id: str) -> bool:
        if not target_id.startswith("i-"):
            return True  # addresses are not looked into
        return self.instance_answers(target_id) and (name not in self.checks or self.checks[name](target_id))

    # ---- for Auto Scaling

    def register(self, group: Group, instance_id: str) -> None:
        """A member has come into service."""
        for arn in group.target_groups:
            if arn in self.target_groups.target_groups:
                self.register_targets(arn, [{"Id": instance_id}])
        for name in group.load_balancers:
            if name in self.classic.load_balancers:
                self._show_in_classic(name, instance_id, by_group=True)

    def deregister(self, group: Group, instance_id: str) -> float:
        """A member leaves; answers for how many seconds its connections are being drained (0: none)."""
        delays = [self.pool(name).deregister(instance_id) for name in self._attached(group)]
        for name in group.load_balancers:
            self._hide_from_classic(name, instance_id)
        return max(delays, default=0.0)

    def has_lost(self, group: Group, instance_id: str) -> bool:
        """A load balancer of the group has no use for the member: it is unhealthy there, or was taken out."""
        pools = [self.pool(name) for name in self._attached(group)]
        return any(
            instance_id in pool.left or any(target.state == "unhealthy" for target in pool.of(instance_id))
            for pool in pools
        )

    def _attached(self, group: Group) -> list[str]:
        return [one for one in group.target_groups if one in self.target_groups.target_groups] + [
            one for one in group.load_balancers if one in self.classic.load_balancers
        ]

    # ---- target groups

    def register_targets(self, arn: str, targets: list[dict[str, Any]]) -> None:
        """RegisterTargets."""
        group = self._target_group(arn)
        for target in targets:
            instance = self._compute.find(target["Id"])
            if instance is not None and instance.state != "running":
                raise TargetNotRunning(instance_id=target["Id"])
        for target in targets:
            self.pool(arn).register(target["Id"], _port(target, group))

    def deregister_targets(self, arn: str, targets: list[dict[str, Any]]) -> None:
        """DeregisterTargets; what is not registered is no error."""
        group = self._target_group(arn)
        for target in targets:
            self.pool(arn).deregister(target["Id"], _port(target, group))
            self.lost(target["Id"])

    def target_health(self, arn: str, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """DescribeTargetHealth: all registered or draining targets, or those that were asked for."""
        group = self._target_group(arn)
        targets = self.pool(arn).targets
        if not asked:
            return [self._health(target, group) for target in targets.values()]
        keys = [(one["Id"], _port(one, group)) for one in asked]
        return [
            self._health(targets.get(key) or Target(*key, registered=0, answers=False, since=0, state="unused"), group)
            for key in keys
        ]

    def _health(self, target: Target, group: FakeTargetGroup) -> dict[str, Any]:
        state, why = target.state, target.state
        instance = self._compute.find(target.target_id)
        if state in ("initial", "healthy", "unhealthy"):
            if not group.load_balancer_arns:
                state, why = "unused", "idle"
            elif instance is not None and instance.state in ("stopping", "stopped"):
                state, why = "unused", "stopped"
            elif state == "initial" and self._agenda.now() - target.registered < self._timings.registering:
                why = "registering"
        health = {"State": state}
        if why in REASONS:
            health |= {"Reason": REASONS[why][0], "Description": REASONS[why][1]}
        return {
            "Target": {"Id": target.target_id, "Port": target.port},
            "HealthCheckPort": str(target.port),
            "TargetHealth": health,
        }

    def _target_rules(self, arn: str) -> Rules:
        group = self._target_group(arn)
        interval = float(group.health_check_interval_seconds)
        return Rules(
            self._timings.registering + interval * int(group.healthy_threshold_count),
            interval * int(group.unhealthy_threshold_count),
            float(group.attributes.get(DELAY, 300)),
        )

    def _target_group(self, arn: str) -> FakeTargetGroup:
        if arn not in self.target_groups.target_groups:
            raise TargetGroupNotFoundError()
        return self.target_groups.target_groups[arn]

    # ---- classic load balancers

    def register_instances(self, name: str, instance_ids: list[str]) -> None:
        """RegisterInstancesWithLoadBalancer."""
        for instance_id in instance_ids:
            self._show_in_classic(name, instance_id)

    def deregister_instances(self, name: str, instance_ids: list[str]) -> None:
        """DeregisterInstancesFromLoadBalancer."""
        for instance_id in instance_ids:
            self.pool(name).deregister(instance_id)
            self._hide_from_classic(name, instance_id)
            self.lost(instance_id)

    def instance_health(self, name: str, asked: list[str]) -> list[dict[str, str]]:
        """DescribeInstanceHealth: those registered, or those asked for; of terminated ones nothing is said."""
        pool, found = self.pool(name), {}
        for instance_id in asked or sorted(pool.registered()):
            instance = self._compute.find(instance_id)
            if instance is not None and instance.state != "terminated":
                found[instance_id] = self._classic_health(pool, instance)
        return list(found.values())

    @staticmethod
    def _classic_health(pool: Pool, instance: Instance) -> dict[str, str]:
        target = next(iter(pool.of(instance.id)), None)
        state = target.state if target else "unused"
        answer = {"InstanceId": instance.id, "State": "InService", "ReasonCode": "N/A", "Description": "N/A"}
        if state == "healthy":
            return answer
        if state == "draining":
            return answer | {"Description": "Instance deregistration currently in progress."}
        cause, text = CLASSIC_TEXTS[state]
        if state != "unused" and instance.state != "running":
            cause, text = "Instance", f"Instance is in {instance.state} state."
        return answer | {"State": "OutOfService", "ReasonCode": cause, "Description": text}

    def _show_in_classic(self, name: str, instance_id: str, by_group: bool = False) -> None:
        """moto shows these lists in DescribeLoadBalancers."""
        balancer: LoadBalancer = self.classic.load_balancers[name]
        ids = balancer.instance_autoscaling_ids if by_group else balancer.instance_sparse_ids
        if instance_id not in balancer.instance_ids:
            ids.append(instance_id)
        self.pool(name).register(instance_id, CLASSIC_PORT)

    def _hide_from_classic(self, name: str, instance_id: str) -> None:
        balancer: LoadBalancer | None = self.classic.load_balancers.get(name)
        for ids in (balancer.instance_autoscaling_ids, balancer.instance_sparse_ids) if balancer else ():
            if instance_id in ids:
                ids.remove(instance_id)

    def _classic_rules(self, name: str) -> Rules:
        balancer: LoadBalancer = self.classic.load_balancers[name]
        interval, healthy, unhealthy = CLASSIC_CHECKS
        if balancer.health_check:
            check = balancer.health_check
            interval, healthy, unhealthy = check.interval, check.healthy_threshold, check.unhealthy_threshold
        draining = balancer.attributes.get("connection_draining", {})
        drains = str(draining.get("Enabled", draining.get("enabled", ""))).lower() == "true"
        seconds = float(draining.get("Timeout") or draining.get("timeout") or 300)
        return Rules(
            self._timings.registering + float(interval) * int(healthy),
            float(interval) * int(unhealthy),
            seconds if drains else 0.0,
        )

    # ---- what EC2 tells

    def _instance_changed(self, instance: Instance, before: str, state: str) -> None:
        """What is on its way out soon fails its health checks; load balancers let go of what has ended."""
        if state != "terminated":
            self.check()
            return
        for pool in self._pools.values():
            pool.drop(instance.id)
        for name in self.classic.load_balancers:
            self._hide_from_classic(name, instance.id)


def _port(target: dict[str, Any], group: FakeTargetGroup) -> int:
    return int(target.get("Port") or group.port or 80)
