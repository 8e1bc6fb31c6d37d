# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door: what is recorded of each request, what may be made to go wrong, who is let in."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

OTHER_KEY = "AKIAAUTOSCALER000000"
STRANGER_KEY = "AKIASTRANGER00000000"


def error_of(caught: Any) -> tuple[int, str, str]:
    response = caught.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return status, response["Error"]["Code"], response["Error"]["Message"]


# ---- the record


def test_every_request_is_recorded_with_its_author_and_whether_it_changes_anything(aws: Any) -> None:
    aws.group(desired=2)
    aws.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["shared"])
    other = aws.client("autoscaling", OTHER_KEY)
    other.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=3)
    with pytest.raises(ClientError):
        other.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=99)
    told = [(one.author, one.operation, one.target, one.mutating, one.status, one.error) for one in aws.record.calls()]
    assert told == [
        ("evergreen", "DescribeAutoScalingGroups", "shared", False, 200, ""),
        ("cluster-autoscaler", "SetDesiredCapacity", "shared", True, 200, ""),
        ("cluster-autoscaler", "SetDesiredCapacity", "shared", True, 400, "ValidationError"),
    ]
    assert aws.record.calls(mutating=True)[0].params == {"AutoScalingGroupName": "shared", "DesiredCapacity": 3}


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("ec2", "describe_instances", {}),
        ("eks", "list_clusters", {}),
        ("elb", "describe_load_balancers", {}),
        ("elbv2", "describe_target_groups", {}),
        ("s3", "list_buckets", {}),
        ("ssm", "get_parameters", {"Names": ["/x"]}),
        ("sts", "get_caller_identity", {}),
    ],
)
def test_each_service_is_recorded_under_its_name(aws: Any, service: str, operation: str, params: Any) -> None:
    getattr(aws.client(service), operation)(**params)
    call = aws.record.calls()[0]
    assert call.service == service
    assert call.operation == operation.title().replace("_", "")
    assert (call.mutating, call.status) == (False, 200)


# ---- faults


@pytest.mark.parametrize("service", ["autoscaling", "ec2", "eks", "ssm", "s3", "elbv2"])
def test_an_injected_error_arrives_in_the_wire_format_of_each_service(aws: Any, service: str) -> None:
    reads = {
        "autoscaling": aws.autoscaling.describe_auto_scaling_groups,
        "ec2": aws.ec2.describe_instances,
        "eks": lambda: aws.client("eks").list_clusters(),
        "ssm": lambda: aws.client("ssm").get_parameters(Names=["/x"]),
        "s3": lambda: aws.client("s3").list_buckets(),
        "elbv2": lambda: aws.client("elbv2").describe_target_groups(),
    }
    aws.faults.add(service=service, error=(400, "Throttling", "Rate exceeded"))
    with pytest.raises(ClientError) as caught:
        reads[service]()
    assert error_of(caught) == (400, "Throttling", "Rate exceeded")
    reads[service]()
    assert [call.status for call in aws.record.calls()] == [400, 200]


def test_a_request_that_is_reset_before_changes_nothing_and_one_reset_after_has_changed_it(aws: Any) -> None:
    aws.group(desired=2)
    for when, desired in (("before", 2), ("after", 3)):
        aws.faults.add(operation="SetDesiredCapacity", reset=when)
        with pytest.raises((ConnectionError, HTTPClientError)):
            aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=3)
        assert aws.describe()["DesiredCapacity"] == desired


def test_callbacks_run_before_the_deed_and_after_it(aws: Any) -> None:
    aws.group(desired=2)
    seen = []

    def look(call: Any) -> None:
        seen.append((call.status, aws.cloud.group("shared").desired))

    aws.faults.add(operation="SetDesiredCapacity", before=look, after=look)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=3)
    assert seen == [(None, 2), (200, 3)]


def test_a_stalled_request_holds_up_nobody_else(aws: Any) -> None:
    aws.group(desired=2)
    arrived = threading.Event()
    aws.faults.add(operation="SetDesiredCapacity", stall=30, before=lambda call: arrived.set())
    call = {"AutoScalingGroupName": "shared", "DesiredCapacity": 3}
    stalled = threading.Thread(target=lambda: aws.autoscaling.set_desired_capacity(**call), daemon=True)
    stalled.start()
    assert arrived.wait(10)
    other = aws.client("autoscaling", OTHER_KEY)
    assert other.describe_auto_scaling_groups()["AutoScalingGroups"][0]["DesiredCapacity"] == 2
    for _unused in range(100):
        aws.clock.advance(31)
        stalled.join(0.1)
        if not stalled.is_alive():
            break
    assert not stalled.is_alive()
    assert aws.describe()["DesiredCapacity"] == 3


# ---- who is let in


@pytest.mark.parametrize(
    ("service", "operation", "status", "code"),
    [
        ("autoscaling", "describe_auto_scaling_groups", 403, "InvalidClientTokenId"),
        ("sts", "get_caller_identity", 403, "InvalidClientTokenId"),
        ("ec2", "describe_instances", 401, "AuthFailure"),
        ("eks", "list_clusters", 403, "UnrecognizedClientException"),
        ("s3", "list_buckets", 403, "InvalidAccessKeyId"),
    ],
)
def test_an_unknown_access_key_is_refused(aws: Any, service: str, operation: str, status: int, code: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(aws.client(service, STRANGER_KEY), operation)()
    assert error_of(caught)[:2] == (status, code)


@pytest.mark.parametrize(
    ("service", "operation", "status", "code"),
    [
        ("autoscaling", "describe_auto_scaling_groups", 403, "ExpiredToken"),
        ("ec2", "describe_instances", 400, "RequestExpired"),
        ("eks", "list_clusters", 403, "ExpiredTokenException"),
    ],
)
def test_expired_credentials_are_refused(aws: Any, service: str, operation: str, status: int, code: str) -> None:
    aws.cloud.expired.add("AKIAEVERGREENTOOL00")
    with pytest.raises(ClientError) as caught:
        getattr(aws.client(service), operation)()
    assert error_of(caught)[:2] == (status, code)


@pytest.mark.parametrize(
    ("service", "operation", "action", "code"),
    [
        ("autoscaling", "describe_auto_scaling_groups", "autoscaling:DescribeAutoScalingGroups", "AccessDenied"),
        ("ec2", "describe_instances", "ec2:DescribeInstances", "UnauthorizedOperation"),
        ("eks", "list_clusters", "eks:ListClusters", "AccessDeniedException"),
        ("elbv2", "describe_target_groups", "elasticloadbalancing:DescribeTargetGroups", "AccessDenied"),
    ],
)
def test_what_no_policy_allows_is_denied_by_name(
    aws: Any, service: str, operation: str, action: str, code: str
) -> None:
    aws.cloud.authorize = lambda author, asked: not (author == "evergreen" and asked == action)
    with pytest.raises(ClientError) as caught:
        getattr(aws.client(service), operation)()
    status, answered, message = error_of(caught)
    assert (status, answered) == (403, code)
    assert f"User: arn:aws:iam::123456789012:user/evergreen is not authorized to perform: {action}" in message
    getattr(aws.client(service, OTHER_KEY), operation)()


def test_an_unsigned_request_is_refused(aws: Any) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(aws.cloud.url + "/clusters/demo", timeout=10)
    assert caught.value.code == 403
    assert b"MissingAuthenticationToken" in caught.value.read()


def test_what_is_not_simulated_says_so_and_is_not_worth_a_retry(aws: Any) -> None:
    with pytest.raises(ClientError, match="does not implement DescribeAccountLimits of autoscaling"):
        aws.autoscaling.describe_account_limits()
    with pytest.raises(ClientError, match="does not implement ListPodIdentityAssociations of eks"):
        aws.client("eks").list_pod_identity_associations(clusterName="demo")


def test_two_clouds_cannot_have_one_account(aws: Any) -> None:
    from simulator.aws import Cloud

    with pytest.raises(RuntimeError, match="another Cloud of this process has account 123456789012"):
        Cloud(aws.clock, aws.record, aws.faults)
    second = Cloud(aws.clock, aws.record, aws.faults, account="210987654321")
    aws.group(desired=1)
    assert second.instances() == []
    second.stop()
    assert len(aws.cloud.instances()) == 1
