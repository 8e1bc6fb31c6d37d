# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS's add-ons: the catalogue, what is refused, and how an update runs. (Their objects: test_world_upgrade.)"""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::123456789012:role/cni"


@pytest.fixture
def eks(aws: Any) -> Any:
    """EKS with the cluster "demo" at 1.31, which has an old vpc-cni."""
    aws.cloud.create_cluster("demo", "1.31")
    aws.cloud.clusters.estate("demo").addons.install("vpc-cni", "v1.18.3-eksbuild.3", '{"env": {}}', ROLE)
    return aws.client("eks")


def update(eks: Any, addon: str = "vpc-cni", **given: Any) -> str:
    """Begin it; the update's id."""
    return eks.update_addon(clusterName="demo", addonName=addon, **given)["update"]["id"]


def addon(eks: Any, name: str = "vpc-cni") -> dict[str, Any]:
    return eks.describe_addon(clusterName="demo", addonName=name)["addon"]


# ---- the catalogue


def test_versions_are_listed_for_a_kubernetes_version_newest_first_with_one_default(eks: Any) -> None:
    (found,) = eks.describe_addon_versions(kubernetesVersion="1.32", addonName="coredns")["addons"]
    versions = [one["addonVersion"] for one in found["addonVersions"]]
    assert versions == ["v1.11.4-eksbuild.22", "v1.11.4-eksbuild.2", "v1.11.3-eksbuild.1"]
    defaults = [one["addonVersion"] for one in found["addonVersions"] if one["compatibilities"][0]["defaultVersion"]]
    assert defaults == ["v1.11.4-eksbuild.2"]
    assert {one["compatibilities"][0]["clusterVersion"] for one in found["addonVersions"]} == {"1.32"}


def test_the_whole_catalogue_comes_in_pages(eks: Any) -> None:
    pages = list(eks.get_paginator("describe_addon_versions").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["addons"]) for page in pages] == [2, 2, 1]
    names = {one["addonName"] for page in pages for one in page["addons"]}
    assert names == {"vpc-cni", "coredns", "kube-proxy", "aws-ebs-csi-driver", "eks-pod-identity-agent"}


def test_every_kubernetes_version_has_a_default_of_every_addon(eks: Any) -> None:
    for version in eks.describe_cluster_versions(includeAll=True)["clusterVersions"]:
        for one in eks.describe_addon_versions(kubernetesVersion=version["clusterVersion"])["addons"]:
            defaults = [each for each in one["addonVersions"] if each["compatibilities"][0]["defaultVersion"]]
            assert len(defaults) == 1, (version["clusterVersion"], one["addonName"])


def test_of_what_nobody_knows_there_are_no_versions(eks: Any) -> None:
    assert eks.describe_addon_versions(addonName="made-up")["addons"] == []
    assert eks.describe_addon_versions(kubernetesVersion="1.99")["addons"] == []


def test_the_schema_of_configuration_values_is_told(eks: Any) -> None:
    found = eks.describe_addon_configuration(addonName="vpc-cni", addonVersion="v1.20.4-eksbuild.2")
    schema = json.loads(found["configurationSchema"])
    assert "env" in schema["properties"]
    assert not schema["additionalProperties"]


# ---- what is refused


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"addonVersion": "v9.9.9-eksbuild.1"}, "Addon version specified is not supported"),
        ({"addonVersion": "v1.21.1-eksbuild.1"}, "Addon version specified is not supported"),  # of 1.32 and later
        ({"addonVersion": "v1.20.4-eksbuild.2"}, "Updating VPC-CNI can only go up or down 1 minor version at a time"),
        (
            {"configurationValues": '{"nodeSelector": {}}'},
            r"Json schema validation failed with error: \[\$.nodeSelector: is not defined in the schema",
        ),
        ({"configurationValues": "{broken"}, "ConfigurationValue provided in request is not supported"),
    ],
)
def test_an_update_is_refused(eks: Any, given: dict[str, str], says: str) -> None:
    with pytest.raises(ClientError, match=f"InvalidParameterException.*{says}"):
        update(eks, **given)
    assert addon(eks)["status"] == "ACTIVE"


def test_an_unknown_addon_is_not_found_and_cannot_be_created(eks: Any) -> None:
    with pytest.raises(ClientError, match="No addon: coredns found in cluster: demo"):
        update(eks, "coredns")
    with pytest.raises(ClientError, match="Addon made-up specified is not supported in 1.31 kubernetes version"):
        eks.create_addon(clusterName="demo", addonName="made-up")
    with pytest.raises(ClientError, match="ResourceInUseException.*Addon already exists"):
        eks.create_addon(clusterName="demo", addonName="vpc-cni")


def test_nothing_is_updated_twice_at_once_nor_while_the_cluster_is(aws: Any, eks: Any) -> None:
    first = update(eks, addonVersion="v1.19.2-eksbuild.1", clientRequestToken="once")
    assert update(eks, addonVersion="v1.19.2-eksbuild.1", clientRequestToken="once") == first
    with pytest.raises(ClientError, match="ResourceInUseException.*currently in UPDATING state"):
        update(eks, addonVersion="v1.19.2-eksbuild.1")
    aws.later(60)
    eks.update_cluster_version(name="demo", version="1.32")
    with pytest.raises(ClientError, match="Cannot AddonUpdate because cluster demo currently has an update"):
        update(eks)


# ---- its course


def test_an_update_takes_its_time_and_is_found_by_who_names_the_addon(aws: Any, eks: Any) -> None:
    begun = update(eks, addonVersion="v1.19.2-eksbuild.1", serviceAccountRoleArn=ROLE, resolveConflicts="PRESERVE")
    assert (addon(eks)["status"], addon(eks)["addonVersion"]) == ("UPDATING", "v1.18.3-eksbuild.3")
    aws.later(60)
    found = eks.describe_update(name="demo", addonName="vpc-cni", updateId=begun)["update"]
    assert (found["status"], found["type"]) == ("Successful", "AddonUpdate")
    assert {one["type"]: one["value"] for one in found["params"]}["ResolveConflicts"] == "PRESERVE"
    assert (addon(eks)["status"], addon(eks)["addonVersion"]) == ("ACTIVE", "v1.19.2-eksbuild.1")
    assert eks.list_updates(name="demo", addonName="vpc-cni")["updateIds"] == [begun]
    assert eks.list_updates(name="demo")["updateIds"] == []
    with pytest.raises(ClientError, match="No update found"):
        eks.describe_update(name="demo", updateId=begun)


def test_values_stay_but_a_role_that_is_not_named_again_is_lost(aws: Any, eks: Any) -> None:
    update(eks, addonVersion="v1.19.2-eksbuild.1")
    aws.later(60)
    assert addon(eks)["configurationValues"] == '{"env": {}}'
    assert "serviceAccountRoleArn" not in addon(eks)


def test_an_update_fails_as_the_script_says(aws: Any, eks: Any) -> None:
    script = aws.cloud.clusters.estate("demo").script
    script.fail("AddonUpdate", "AdmissionRequestDenied", "denied by a webhook", of="vpc-cni")
    begun = update(eks, addonVersion="v1.19.2-eksbuild.1")
    aws.later(60)
    found = eks.describe_update(name="demo", addonName="vpc-cni", updateId=begun)["update"]
    assert (found["status"], found["errors"][0]["errorCode"]) == ("Failed", "AdmissionRequestDenied")
    assert addon(eks)["status"] == "UPDATE_FAILED"
    assert addon(eks)["addonVersion"] == "v1.18.3-eksbuild.3"
    assert addon(eks)["health"]["issues"][0]["message"] == "denied by a webhook"


def test_an_addon_may_be_degraded_and_recover(aws: Any, eks: Any) -> None:
    addons = aws.cloud.clusters.estate("demo").addons
    addons.degrade("vpc-cni", "AccessDenied", "the role is gone")
    assert addon(eks)["status"] == "DEGRADED"
    assert addon(eks)["health"]["issues"] == [
        {"code": "AccessDenied", "message": "the role is gone", "resourceIds": []}
    ]
    addons.recover("vpc-cni")
    assert addon(eks)["status"] == "ACTIVE"


def test_an_addon_is_created_at_its_default_and_deleted(aws: Any, eks: Any) -> None:
    given = {"clusterName": "demo", "addonName": "coredns", "clientRequestToken": "once"}
    made = eks.create_addon(**given)["addon"]
    assert eks.create_addon(**given)["addon"]["addonArn"] == made["addonArn"], "the same request, repeated"
    assert (made["status"], made["addonVersion"]) == ("CREATING", "v1.11.3-eksbuild.1")
    aws.later(60)
    assert addon(eks, "coredns")["status"] == "ACTIVE"
    assert eks.list_addons(clusterName="demo")["addons"] == ["coredns", "vpc-cni"]
    assert eks.delete_addon(clusterName="demo", addonName="coredns")["addon"]["status"] == "DELETING"
    aws.later(60)
    assert eks.list_addons(clusterName="demo")["addons"] == ["vpc-cni"]
