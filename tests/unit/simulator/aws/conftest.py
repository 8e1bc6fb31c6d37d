# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The world's AWS as its users meet it: boto3 over HTTP, on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from simulator.aws import Cloud
from simulator.clock import Clock
from simulator.record import Faults, Record

TOOL_KEY = "AKIAEVERGREENTOOL00"
AUTOSCALER_KEY = "AKIAAUTOSCALER000000"
ZONES = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]


class Rehearsal:
    """One cloud, a network and the image "old" in it, and clients that speak to it as the tool does."""

    def __init__(self) -> None:
        self.clock = Clock(speed=0)
        self.record = Record(self.clock)
        self.faults = Faults(self.clock)
        authors = {TOOL_KEY: "evergreen", AUTOSCALER_KEY: "cluster-autoscaler"}
        self.cloud = Cloud(self.clock, self.record, self.faults, authors)
        self.cloud.start()
        self._clients: dict[str, Any] = {}

    def begin(self) -> None:
        """An empty cloud with a network and the image "old"."""
        self.cloud.reset()
        self.cloud.authorize = None
        self.record.clear()
        self.faults.clear()
        self.network = self.cloud.create_network(ZONES)
        self.image = self.cloud.create_image("old")

    def client(self, service: str, access_key: str = TOOL_KEY) -> Any:
        """A boto3 client, without retries: what the cloud answers is what the test sees."""
        name = f"{service}/{access_key}"
        if name not in self._clients:
            self._clients[name] = boto3.client(
                service,
                endpoint_url=self.cloud.url,
                region_name=self.cloud.region,
                aws_access_key_id=access_key,
                aws_secret_access_key="secret",
                config=Config(retries={"total_max_attempts": 1}, read_timeout=20),
            )
        return self._clients[name]

    @property
    def autoscaling(self) -> Any:
        return self.client("autoscaling")

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    def group(self, desired: int = 3, zones: int = 3, **settings: Any) -> str:
        """The group "shared", settled, of a template of the same name; may grow to ten. Returns its name."""
        template = self.cloud.create_template("shared", self.image)
        subnets = list(self.network.subnets.values())[:zones]
        self.cloud.create_group("shared", template, subnets, desired, **({"max_size": 10} | settings))
        return "shared"

    def later(self, seconds: float) -> None:
        """So many seconds pass in the world."""
        self.clock.advance(seconds)
        self.cloud.tick()

    def describe(self, name: str = "shared") -> dict[str, Any]:
        """The group as its API describes it."""
        return self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]

    def members(self, name: str = "shared") -> list[dict[str, Any]]:
        """Its members."""
        return self.describe(name)["Instances"]

    def ids(self, name: str = "shared") -> list[str]:
        """Their instance ids."""
        return [member["InstanceId"] for member in self.members(name)]

    def states(self, name: str = "shared") -> list[str]:
        """Their lifecycle states, sorted."""
        return sorted(member["LifecycleState"] for member in self.members(name))

    def zones(self, name: str = "shared") -> dict[str, int]:
        """How many members each zone (its last letter) has."""
        letters = [member["AvailabilityZone"][-1] for member in self.members(name)]
        return {letter: letters.count(letter) for letter in sorted(set(letters))}

    def activities(self, name: str = "shared") -> list[dict[str, Any]]:
        """Its scaling activities, the latest first."""
        return self.autoscaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"]

    def instance_state(self, instance_id: str) -> str:
        """The EC2 state of one instance."""
        found = self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        return found[0]["Instances"][0]["State"]["Name"]


@pytest.fixture(scope="session")
def one_cloud() -> Iterator[Rehearsal]:
    rehearsal = Rehearsal()
    yield rehearsal
    rehearsal.cloud.stop()


@pytest.fixture
def aws(one_cloud: Rehearsal) -> Iterator[Rehearsal]:
    one_cloud.begin()
    yield one_cloud
    assert one_cloud.cloud.errors == []
