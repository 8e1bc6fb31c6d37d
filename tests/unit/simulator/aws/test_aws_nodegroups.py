# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS's managed node groups, as its API tells of them. (Drains and budgets: test_world_upgrade.)"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def eks(aws: Any) -> Any:
    """EKS with the cluster "demo" at 1.31, whose managed node group "web" is the Auto Scaling group "shared"."""
    aws.cloud.create_cluster("demo", "1.31")
    aws.cloud.publish_images()
    aws.group(4, max_size=4)
    template = aws.ec2.describe_launch_templates()["LaunchTemplates"][0]["LaunchTemplateId"]
    aws.cloud.clusters.estate("demo").nodegroups.adopt("web", "shared", template, "1.31")
    return aws.client("eks")


def update(eks: Any, **given: Any) -> str:
    answer = eks.update_nodegroup_version(clusterName="demo", nodegroupName="web", **given)
    return answer["update"]["id"]


def status(eks: Any, update_id: str) -> str:
    found = eks.describe_update(name="demo", nodegroupName="web", updateId=update_id)
    return found["update"]["status"]


def nodegroup(eks: Any) -> dict[str, Any]:
    return eks.describe_nodegroup(clusterName="demo", nodegroupName="web")["nodegroup"]


def wait(aws: Any, seconds: int) -> None:
    """In the small steps in which EKS looks."""
    for _unused in range(0, seconds, 5):
        aws.later(5)


def test_a_node_group_is_described_with_its_auto_scaling_group(eks: Any) -> None:
    found = nodegroup(eks)
    assert (found["status"], found["version"], found["releaseVersion"]) == ("ACTIVE", "1.31", "1.31.14-20261101")
    assert found["resources"]["autoScalingGroups"] == [{"name": "shared"}]
    assert found["scalingConfig"] == {"minSize": 0, "maxSize": 4, "desiredSize": 4}
    assert eks.list_nodegroups(clusterName="demo")["nodegroups"] == ["web"]
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        eks.describe_nodegroup(clusterName="demo", nodegroupName="nobody")


def test_a_cluster_waits_for_its_node_groups_and_they_for_the_cluster(aws: Any, eks: Any) -> None:
    with pytest.raises(ClientError, match="InvalidParameterException.*1.32 is invalid"):
        update(eks, version="1.32")
    eks.update_cluster_version(name="demo", version="1.32")
    aws.later(601)
    with pytest.raises(ClientError, match="Nodegroups web must be updated to match cluster version 1.32 before"):
        eks.update_cluster_version(name="demo", version="1.33")


def test_an_update_replaces_every_node_and_ends_at_the_old_size(aws: Any, eks: Any) -> None:
    before = set(aws.ids())
    eks.update_cluster_version(name="demo", version="1.32")
    aws.later(601)
    begun = update(eks, version="1.32")
    with pytest.raises(ClientError, match="ResourceInUseException.*currently not in Active State"):
        update(eks, version="1.32")
    wait(aws, 60)
    assert (status(eks, begun), nodegroup(eks)["status"]) == ("InProgress", "UPDATING")
    assert len(aws.ids()) == 7, "new before old: one for each zone"
    wait(aws, 900)
    assert status(eks, begun) == "Successful"
    assert not before & set(aws.ids())
    assert (aws.describe()["DesiredCapacity"], aws.describe()["MaxSize"]) == (4, 4)
    assert (nodegroup(eks)["version"], nodegroup(eks)["status"]) == ("1.32", "ACTIVE")
    assert eks.list_updates(name="demo", nodegroupName="web")["updateIds"] == [begun]
    again = update(eks)
    wait(aws, 15)
    assert status(eks, again) == "Successful", "nothing is left to do"


def test_an_update_fails_as_the_script_says(aws: Any, eks: Any) -> None:
    script = aws.cloud.clusters.estate("demo").script
    script.fail("VersionUpdate", "NodeCreationFailure", "no new node joins", of="web")
    begun = update(eks)
    wait(aws, 30)
    assert status(eks, begun) == "Failed"
    assert nodegroup(eks)["status"] == "ACTIVE"
