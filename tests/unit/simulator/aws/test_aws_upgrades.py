# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control planes that are upgraded and rolled back, as EKS's API tells of it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from simulator.aws.eks import Estate
from simulator.aws.eks_insights import ERROR

DAY = 86400


@pytest.fixture
def eks(aws: Any) -> Any:
    """EKS with the cluster "demo" at 1.31."""
    aws.cloud.create_cluster("demo", "1.31")
    return aws.client("eks")


@pytest.fixture
def estate(eks: Any, aws: Any) -> Estate:
    return aws.cloud.clusters.estate("demo")


def upgrade(eks: Any, version: str, **more: Any) -> str:
    """Begin it; the update's id."""
    return eks.update_cluster_version(name="demo", version=version, **more)["update"]["id"]


def status(eks: Any, update_id: str) -> str:
    return eks.describe_update(name="demo", updateId=update_id)["update"]["status"]


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("1.30", "unsupported Kubernetes version"),  # its support has ended
        ("1.31", "Unsupported Kubernetes minor version update from 1.31 to 1.31"),
        ("1.33", "Unsupported Kubernetes minor version update from 1.31 to 1.33"),
        ("1.99", "unsupported Kubernetes version"),
    ],
)
def test_only_the_next_minor_version_is_taken(eks: Any, version: str, says: str) -> None:
    with pytest.raises(ClientError, match=f"InvalidParameterException.*{says}"):
        upgrade(eks, version)
    assert eks.describe_cluster(name="demo")["cluster"]["status"] == "ACTIVE"


def test_a_request_that_is_repeated_with_its_token_begins_nothing_new(aws: Any, eks: Any) -> None:
    first = upgrade(eks, "1.32", clientRequestToken="once")
    assert upgrade(eks, "1.32", clientRequestToken="once") == first
    with pytest.raises(ClientError, match="Cannot VersionUpdate because cluster demo currently has an update"):
        upgrade(eks, "1.32", clientRequestToken="twice")
    assert aws.record.calls(operation="UpdateClusterVersion")[-1].error == "ResourceInUseException"


def test_an_update_fails_as_the_script_says_and_changes_nothing(aws: Any, eks: Any, estate: Estate) -> None:
    estate.script.fail("VersionUpdate", "IpNotAvailable", "No free addresses", resources=["subnet-1"])
    failing = upgrade(eks, "1.32")
    aws.later(601)
    found = eks.describe_update(name="demo", updateId=failing)["update"]
    assert found["status"] == "Failed"
    assert found["errors"] == [
        {"errorCode": "IpNotAvailable", "errorMessage": "No free addresses", "resourceIds": ["subnet-1"]}
    ]
    assert eks.describe_cluster(name="demo")["cluster"]["version"] == "1.31"
    again = upgrade(eks, "1.32")
    aws.later(601)
    assert status(eks, again) == "Successful"
    assert eks.list_updates(name="demo")["updateIds"] == [failing, again]


def test_an_update_may_be_held_and_cancelled(aws: Any, eks: Any, estate: Estate) -> None:
    estate.script.hold("VersionUpdate")
    estate.script.cancel("VersionUpdate")
    update = upgrade(eks, "1.32")
    aws.later(7200)
    assert status(eks, update) == "InProgress"
    estate.script.release()
    aws.later(6)
    assert status(eks, update) == "Cancelled"


def test_a_cluster_may_refuse_the_next_step_though_it_is_active(aws: Any, eks: Any, estate: Estate) -> None:
    estate.lingers = 120
    upgrade(eks, "1.32")
    aws.later(601)
    assert eks.describe_cluster(name="demo")["cluster"]["status"] == "ACTIVE"
    with pytest.raises(ClientError, match="ResourceInUseException"):
        upgrade(eks, "1.33")
    aws.later(120)
    upgrade(eks, "1.33")


def test_insights_in_error_stop_an_upgrade_that_is_not_forced(eks: Any, estate: Estate) -> None:
    estate.insights.set("Cluster health issues", ERROR, "subnet-1 has no free addresses")
    with pytest.raises(ClientError, match="InvalidStateException.*Upgrade readiness issues detected"):
        upgrade(eks, "1.32")
    assert status(eks, upgrade(eks, "1.32", force=True)) == "InProgress"


def test_an_upgrade_can_be_rolled_back_for_seven_days_and_once(aws: Any, eks: Any) -> None:
    for version in ("1.32", "1.33"):
        upgrade(eks, version)
        aws.later(601)
    back = upgrade(eks, "1.32", rollbackConfig={"timeoutMinutes": 120})
    assert eks.describe_update(name="demo", updateId=back)["update"]["type"] == "VersionRollback"
    aws.later(601)
    assert eks.describe_cluster(name="demo")["cluster"]["version"] == "1.32"
    with pytest.raises(ClientError, match="Unsupported Kubernetes minor version update from 1.32 to 1.31"):
        upgrade(eks, "1.31")
    upgrade(eks, "1.33")
    aws.later(601 + 7 * DAY)
    with pytest.raises(ClientError, match="Unsupported Kubernetes minor version update from 1.33 to 1.32"):
        upgrade(eks, "1.32")


def test_a_rollback_cannot_be_cancelled_without_auto_mode(aws: Any, eks: Any) -> None:
    update = upgrade(eks, "1.32")
    with pytest.raises(ClientError, match="InvalidRequestException"):
        eks.cancel_update(name="demo", updateId=update)


def test_versions_are_described_with_their_support(eks: Any) -> None:
    found = eks.describe_cluster_versions()["clusterVersions"]
    assert [one["clusterVersion"] for one in found] == ["1.36", "1.35", "1.34", "1.33", "1.32", "1.31"]
    assert [one["clusterVersion"] for one in found if one["defaultVersion"]] == ["1.35"]
    by_version = {
        one["clusterVersion"]: one for one in eks.describe_cluster_versions(includeAll=True)["clusterVersions"]
    }
    assert [by_version[one]["versionStatus"] for one in ("1.30", "1.31", "1.34")] == [
        "UNSUPPORTED",
        "EXTENDED_SUPPORT",
        "STANDARD_SUPPORT",
    ]
    assert f"{by_version['1.31']['endOfExtendedSupportDate']:%Y-%m-%d}" == "2026-11-26"
    (only,) = eks.describe_cluster_versions(clusterVersions=["1.33"])["clusterVersions"]
    assert (only["clusterVersion"], only["kubernetesPatchVersion"]) == ("1.33", "1.33.9")


def test_an_unknown_update_is_not_found(eks: Any) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException.*No update found for ID: nothing"):
        status(eks, "nothing")
