# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS says of load balancers and their targets becomes one small set of states."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.balancers.records import (
    CLASSIC,
    Balancer,
    Pool,
    Target,
    parse_classic,
    parse_instance_states,
    parse_target_group,
    parse_targets,
)

ARN = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/web/73e2d6bc24d8a067"
ONE, TWO = "i-00000000000000001", "i-00000000000000002"

HEALTH = [
    ({"State": "healthy"}, "healthy"),
    ({"State": "initial", "Reason": "Elb.RegistrationInProgress"}, "initial"),
    ({"State": "initial", "Reason": "Elb.InitialHealthChecking"}, "initial"),
    ({"State": "unhealthy", "Reason": "Target.Timeout"}, "unhealthy"),
    ({"State": "unhealthy.draining", "Reason": "Target.FailedHealthChecks"}, "unhealthy"),
    ({"State": "draining", "Reason": "Target.DeregistrationInProgress"}, "draining"),
    ({"State": "unused", "Reason": "Target.NotRegistered"}, "not_registered"),
    ({"State": "unused", "Reason": "Target.NotInUse"}, "not_in_use"),
    ({"State": "unused", "Reason": "Target.InvalidState"}, "stopped"),
    ({"State": "unused", "Reason": "Target.IpUnusable"}, "unhealthy"),
    ({"State": "unavailable", "Reason": "Target.HealthCheckDisabled"}, "healthy"),
    ({"State": "unavailable", "Reason": "Elb.InternalError"}, "initial"),
    ({"State": "what AWS adds one day"}, "unhealthy"),
    ({}, "unhealthy"),
]


@pytest.mark.parametrize(("health", "state"), HEALTH)
def test_the_health_of_a_target(health: dict[str, str], state: str) -> None:
    (target,) = parse_targets([{"Target": {"Id": ONE, "Port": 31080}, "TargetHealth": health}])

    assert (target.instance_id, target.port, target.state) == (ONE, 31080, state)
    assert target.cause == health.get("Reason", "")


CLASSIC_HEALTH = [
    ("InService", "N/A", "healthy"),
    ("InService", "Instance deregistration currently in progress.", "draining"),
    ("OutOfService", "Instance is not currently registered with the LoadBalancer.", "not_registered"),
    ("OutOfService", "Instance registration is still in progress.", "initial"),
    (
        "OutOfService",
        "Instance has not passed the configured HealthyThreshold number of health checks consecutively.",
        "initial",
    ),
    (
        "OutOfService",
        "Instance has failed at least the UnhealthyThreshold number of health checks consecutively.",
        "unhealthy",
    ),
    (
        "OutOfService",
        "Instance is in the EC2 Availability Zone for which LoadBalancer is not configured to route traffic to.",
        "not_in_use",
    ),
    ("OutOfService", "Instance is in stopped state.", "stopped"),
    ("OutOfService", "Instance is in terminated state.", "stopped"),
    ("OutOfService", "Instance is in pending state.", "unhealthy"),
    ("Unknown", "A transient error occurred. Please try again later.", "initial"),
    ("Unknown", "", "unhealthy"),
]


@pytest.mark.parametrize(("said", "description", "state"), CLASSIC_HEALTH)
def test_the_health_of_an_instance_in_a_classic_load_balancer(said: str, description: str, state: str) -> None:
    raw = {"InstanceId": ONE, "State": said, "ReasonCode": "Instance", "Description": description}

    (target,) = parse_instance_states([raw])

    assert (target.instance_id, target.port, target.state) == (ONE, 0, state)
    assert target.description == ("" if state == "healthy" else description)


@pytest.mark.parametrize(
    ("check", "local"),
    [
        ({"HealthCheckPort": "traffic-port", "HealthCheckPath": "/healthz"}, False),
        ({"HealthCheckPort": "32123", "HealthCheckPath": "/healthz"}, True),
        ({"HealthCheckPort": "32123", "HealthCheckPath": "/ready"}, False),
        ({"HealthCheckPort": "10256", "HealthCheckPath": "/healthz"}, False),  # kube-proxy: the node as a whole
        ({"HealthCheckPort": "15021", "HealthCheckPath": "/healthz/ready"}, False),
        ({}, False),
    ],
)
def test_a_health_check_for_pods_of_the_node_itself_is_known(check: dict[str, str], local: bool) -> None:
    balancer = parse_target_group({"TargetGroupName": "web", "TargetGroupArn": ARN, **check}, attached=True)

    assert balancer == Balancer("web", arn=ARN, attached=True, local=local)


@pytest.mark.parametrize(
    ("check", "local"),
    [
        ("HTTP:32123/healthz", True),
        ("HTTP:10256/healthz", False),
        ("TCP:32123", False),
        ("HTTP:32123/ready", False),
        ("", False),
    ],
)
def test_so_it_is_of_a_classic_load_balancer(check: str, local: bool) -> None:
    raw: dict[str, Any] = {"LoadBalancerName": "shop", **({"HealthCheck": {"Target": check}} if check else {})}

    assert parse_classic(raw) == Balancer("shop", CLASSIC, local=local)


def test_names_for_people_and_for_tags() -> None:
    group, classic = Balancer("web", arn=ARN), Balancer("web", CLASSIC)

    assert (str(group), group.key) == ("target group web", "tg/web/73e2d6bc24d8a067")
    assert (str(classic), classic.key) == ("classic load balancer web", "elb/web")


def test_a_pool_knows_who_is_healthy_and_who_is_registered() -> None:
    targets = (
        Target(ONE, 80, "healthy"),
        Target(ONE, 443, "unhealthy"),
        Target(TWO, 80, "draining"),
        Target("i-3", 80, "initial"),
        Target("i-4", 80, "not_registered"),
    )
    pool = Pool(Balancer("web", arn=ARN), targets)

    assert pool.healthy == {ONE}
    assert pool.registered == {ONE, "i-3"}
    assert [target.port for target in pool.of(ONE)] == [80, 443]
    assert pool.of("i-9") == ()
