# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS says about target groups and classic load balancers, as records; parsing only, no calls.

Only target groups of the type `instance` are looked at. Targets of the type `ip` are pods: they come and go with the
readiness of the pod, not with the node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TARGET_GROUP, CLASSIC = "target_group", "classic"

# How a target fares: AWS's words where it has one.
HEALTHY, INITIAL, UNHEALTHY, DRAINING = "healthy", "initial", "unhealthy", "draining"
NOT_IN_USE, STOPPED, NOT_REGISTERED = "not_in_use", "stopped", "not_registered"

# The state `unused` has several reasons, which mean very different things.
UNUSED = {
    "Target.NotInUse": NOT_IN_USE,
    "Target.InvalidState": STOPPED,
    "Target.NotRegistered": NOT_REGISTERED,
    "Target.IpUnusable": UNHEALTHY,
}
# Classic load balancers say most of it in their description only (API reference, InstanceState).
CLASSIC_TEXTS = (
    ("deregistration currently in progress", DRAINING),
    ("not currently registered", NOT_REGISTERED),
    ("registration is still in progress", INITIAL),
    ("has not passed the configured HealthyThreshold", INITIAL),
    ("transient error", INITIAL),
    ("Availability Zone for which LoadBalancer is not configured", NOT_IN_USE),
    ("stopped state", STOPPED),
    ("terminated state", STOPPED),
)

# Kubernetes gives each Service with externalTrafficPolicy: Local a port of this range on which each node answers
# whether it has a ready pod of it; controllers of load balancers use that as the health check, with this path.
NODE_PORTS = range(30000, 32768)
LOCAL_PATH = "/healthz"
CLASSIC_CHECK = re.compile(r"HTTP:(?P<port>\d+)(?P<path>/.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Balancer:
    """A target group or a classic load balancer.

    `attached`: Auto Scaling registers and deregisters the members of the group by itself. `local`: a node is healthy
    only while a pod of the service runs on it (externalTrafficPolicy: Local).
    """

    name: str
    kind: str = TARGET_GROUP
    arn: str = ""
    attached: bool = False
    local: bool = False

    @property
    def key(self) -> str:
        """Short, and the only one of its kind in the account and region; goes into the key of a tag."""
        if self.kind == CLASSIC:
            return f"elb/{self.name}"
        return "tg/" + "/".join(self.arn.split("/")[-2:])

    def __str__(self) -> str:
        return f"{'classic load balancer' if self.kind == CLASSIC else 'target group'} {self.name}"


@dataclass(frozen=True)
class Target:
    """One instance on one port of one load balancer; `cause` and `description` are AWS's own words. Port 0: classic."""

    instance_id: str
    port: int
    state: str
    cause: str = ""
    description: str = ""

    @property
    def registered(self) -> bool:
        """It gets traffic, or would if it were healthy."""
        return self.state not in (DRAINING, NOT_REGISTERED)


@dataclass(frozen=True)
class Pool:
    """All targets of one load balancer, at one look."""

    balancer: Balancer
    targets: tuple[Target, ...] = ()

    def of(self, instance_id: str) -> tuple[Target, ...]:
        """The targets that are this instance: there may be one a port."""
        return tuple(target for target in self.targets if target.instance_id == instance_id)

    @property
    def healthy(self) -> frozenset[str]:
        return frozenset(target.instance_id for target in self.targets if target.state == HEALTHY)

    @property
    def registered(self) -> frozenset[str]:
        return frozenset(target.instance_id for target in self.targets if target.registered)


def in_order(balancers: Iterable[Balancer]) -> list[Balancer]:
    """By kind and name: the order in which they are asked and told."""
    return sorted(balancers, key=lambda balancer: (balancer.kind, balancer.name, balancer.arn))


def parse_target_group(raw: Mapping[str, Any], attached: bool = False) -> Balancer:
    """An entry of DescribeTargetGroups as a record."""
    port = raw.get("HealthCheckPort") or ""
    return Balancer(
        name=raw["TargetGroupName"],
        arn=raw["TargetGroupArn"],
        attached=attached,
        local=_is_local(int(port) if port.isdigit() else 0, raw.get("HealthCheckPath") or ""),
    )


def parse_classic(raw: Mapping[str, Any], attached: bool = False) -> Balancer:
    """An entry of DescribeLoadBalancers (classic) as a record."""
    check = CLASSIC_CHECK.fullmatch((raw.get("HealthCheck") or {}).get("Target") or "")
    local = bool(check) and _is_local(int(check["port"]), check["path"])
    return Balancer(raw["LoadBalancerName"], CLASSIC, attached=attached, local=local)


def parse_targets(raws: Iterable[Mapping[str, Any]]) -> tuple[Target, ...]:
    """The entries of DescribeTargetHealth as records, by instance and port."""
    return tuple(sorted(map(_target, raws), key=lambda target: (target.instance_id, target.port)))


def parse_instance_states(raws: Iterable[Mapping[str, Any]]) -> tuple[Target, ...]:
    """The entries of DescribeInstanceHealth as records, by instance."""
    return tuple(sorted(map(_classic_target, raws), key=lambda target: target.instance_id))


def _target(raw: Mapping[str, Any]) -> Target:
    health = raw.get("TargetHealth") or {}
    state, cause = health.get("State") or "", health.get("Reason") or ""
    if state == "unused":
        state = UNUSED.get(cause, UNHEALTHY)
    elif state == "unavailable":
        # Without health checks nobody ever knows more; an internal error of AWS passes.
        state = HEALTHY if cause == "Target.HealthCheckDisabled" else INITIAL
    elif state not in (HEALTHY, INITIAL, DRAINING):
        state = UNHEALTHY  # also unhealthy.draining: it is still registered
    target = raw["Target"]
    return Target(target["Id"], target.get("Port") or 0, state, cause, health.get("Description") or "")


def _classic_target(raw: Mapping[str, Any]) -> Target:
    description = raw.get("Description") or ""
    said = next((state for text, state in CLASSIC_TEXTS if text in description), "")
    state = said or (HEALTHY if raw.get("State") == "InService" else UNHEALTHY)
    if state == HEALTHY:
        return Target(raw["InstanceId"], 0, state)
    return Target(raw["InstanceId"], 0, state, raw.get("ReasonCode") or "", description)


def _is_local(port: int, path: str) -> bool:
    return port in NODE_PORTS and path == LOCAL_PATH
