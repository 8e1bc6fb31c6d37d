# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS by script: clients that expect given requests in a given order, and entries as AWS's answers carry them.

botocore's Stubber checks requests and answers against AWS's own service model, so neither can be made up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from botocore.stub import Stubber
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

LAUNCHED = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
TEMPLATE = "lt-0a1b2c3d4e5f60718"
OLD_IMAGE, NEW_IMAGE = "ami-0a00000000000000a", "ami-0b00000000000000b"


class ScriptedAws:
    """``aws`` is an ``Aws`` whose requests are scripted by ``expect`` and ``fail``; one too many is an error."""

    def __init__(self, check_mode: bool = False) -> None:
        self.clock = FakeClock()
        self.call = Call(clock=self.clock, check_mode=check_mode)
        keys = {"access_key": "AKIAEVERGREENTOOL00", "secret_key": "secret", "region": "eu-west-1"}
        self.aws = Aws(keys, self.call)
        self._stubs: dict[tuple[str, bool], Stubber] = {}

    def expect(self, service: str, operation: str, answer: dict[str, Any], once: bool = False, **request: Any) -> None:
        """The next request of that service is this one. ``once``: sent by the client that never repeats."""
        self._stub(service, once).add_response(operation, answer, request)

    def fail(self, service: str, operation: str, code: str, message: str, once: bool = False, **request: Any) -> None:
        """The same, and AWS answers an error."""
        self._stub(service, once).add_client_error(operation, code, message, 400, expected_params=request)

    def expect_group(self, *members: dict[str, Any], name: str = "shared", **changes: Any) -> None:
        """The next request of Auto Scaling describes this one group."""
        answer = {"AutoScalingGroups": [group_entry(*members, name=name, **changes)]}
        self.expect("autoscaling", "describe_auto_scaling_groups", answer, AutoScalingGroupNames=[name])

    def finish(self) -> None:
        """Everything that was expected has been asked."""
        for stub in self._stubs.values():
            stub.assert_no_pending_responses()

    def _stub(self, service: str, once: bool) -> Stubber:
        if (service, once) not in self._stubs:
            client = self.aws.client_once(service) if once else self.aws.client(service)
            self._stubs[service, once] = Stubber(client)
            self._stubs[service, once].activate()
        return self._stubs[service, once]


@contextmanager
def scripted_aws(check_mode: bool = False) -> Iterator[ScriptedAws]:
    """A script that must have been played to its end when the block ends."""
    script = ScriptedAws(check_mode)
    yield script
    script.finish()


def group_entry(*members: dict[str, Any], name: str = "shared", **changes: Any) -> dict[str, Any]:
    """An entry of DescribeAutoScalingGroups: by default a group with a launch template and all members desired."""
    entry = {
        "AutoScalingGroupName": name,
        "AutoScalingGroupARN": f"arn:aws:autoscaling:eu-west-1:1:autoScalingGroup:1:autoScalingGroupName/{name}",
        "LaunchTemplate": {"LaunchTemplateId": TEMPLATE, "LaunchTemplateName": name, "Version": "$Latest"},
        "MinSize": 1,
        "MaxSize": 10,
        "DesiredCapacity": len(members),
        "DefaultCooldown": 300,
        "AvailabilityZones": ["eu-west-1b", "eu-west-1a"],
        "LoadBalancerNames": [],
        "TargetGroupARNs": [],
        "HealthCheckType": "EC2",
        "CreatedTime": LAUNCHED,
        "Instances": list(members),
        "SuspendedProcesses": [],
        "VPCZoneIdentifier": "subnet-0bbbbbbb,subnet-0aaaaaaa",
        "Tags": [],
        "NewInstancesProtectedFromScaleIn": False,
    }
    entry.update(changes)
    return {key: value for key, value in entry.items() if value is not None}


def member_entry(instance_id: str, state: str = "InService", version: str = "2", **changes: Any) -> dict[str, Any]:
    """An entry of a group's Instances: by default launched from the group's template."""
    entry = {
        "InstanceId": instance_id,
        "InstanceType": "m5.large",
        "AvailabilityZone": "eu-west-1a",
        "LifecycleState": state,
        "HealthStatus": "Healthy",
        "LaunchTemplate": {"LaunchTemplateId": TEMPLATE, "LaunchTemplateName": "shared", "Version": version},
        "ProtectedFromScaleIn": False,
    }
    entry.update(changes)
    return {key: value for key, value in entry.items() if value is not None}


def instance_entry(instance_id: str, **changes: Any) -> dict[str, Any]:
    """An entry of DescribeInstances."""
    return {
        "InstanceId": instance_id,
        "ImageId": NEW_IMAGE,
        "InstanceType": "m5.large",
        "LaunchTime": LAUNCHED,
        "Placement": {"AvailabilityZone": "eu-west-1a"},
        "PrivateDnsName": "ip-10-0-0-1.eu-west-1.compute.internal",
        "State": {"Code": 16, "Name": "running"},
        "Tags": [{"Key": "Name", "Value": "shared"}],
        **changes,
    }


def template_answer(version: int = 2, template_id: str = TEMPLATE, **data: Any) -> dict[str, Any]:
    """The answer of DescribeLaunchTemplateVersions."""
    entry = {
        "LaunchTemplateId": template_id,
        "LaunchTemplateName": "shared",
        "VersionNumber": version,
        "LaunchTemplateData": {"ImageId": NEW_IMAGE, "InstanceType": "m5.large", **data},
    }
    return {"LaunchTemplateVersions": [entry]}


def activity_entry(description: str, status: str = "Successful", **changes: Any) -> dict[str, Any]:
    """An entry of DescribeScalingActivities."""
    return {
        "ActivityId": "4c1e4a9c-0001-4c3d-8a5e-000000000001",
        "AutoScalingGroupName": "shared",
        "Description": description,
        "Cause": "At 2026-11-21T01:00:00Z an instance was started in response to a difference between desired and "
        "actual capacity, increasing the capacity from 2 to 3.",
        "StartTime": datetime(2026, 11, 21, 1, 0, tzinfo=timezone.utc),
        "StatusCode": status,
        "Progress": 100,
        **changes,
    }
