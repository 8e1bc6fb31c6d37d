# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cluster insights: what EKS has found out, when it looked, and what a test has made of it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from simulator.aws.eks_inside import Nobody, NodeFacts
from simulator.aws.eks_insights import ERROR, WARNING, DeprecatedApi, Insights

DAY = 86400
FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1beta3/flowschemas"


class Nodes(Nobody):
    """A cluster with nothing in it but nodes."""

    def __init__(self, *kubelets: str, system: str = "Amazon Linux 2023"):
        self.kubelets, self.system = kubelets, system

    def nodes(self) -> list[NodeFacts]:
        return [NodeFacts(f"node-{n}", f"v{kubelet}.2-eks-1", self.system) for n, kubelet in enumerate(self.kubelets)]


@pytest.fixture
def eks(aws: Any) -> Any:
    """EKS with the cluster "demo" at 1.34."""
    aws.cloud.create_cluster("demo", "1.34")
    return aws.client("eks")


@pytest.fixture
def insights(eks: Any, aws: Any) -> Insights:
    return aws.cloud.clusters.estate("demo").insights


def listed(eks: Any, **wanted: Any) -> dict[str, dict[str, Any]]:
    """The insights by name."""
    found = eks.list_insights(clusterName="demo", **({"filter": wanted} if wanted else {}))["insights"]
    return {one["name"]: one for one in found}


def refresh(aws: Any, eks: Any) -> str:
    """Ask for a fresh look, and wait; how it ended."""
    assert eks.start_insights_refresh(clusterName="demo")["status"] == "IN_PROGRESS"
    aws.later(61)
    return eks.describe_insights_refresh(clusterName="demo")["status"]


@pytest.mark.parametrize(
    ("kubelets", "status"),
    [(["1.34"], "PASSING"), (["1.33", "1.34"], "PASSING"), (["1.32", "1.34"], "WARNING"), (["1.31"], "ERROR")],
)
def test_kubelets_are_held_against_the_next_version(aws: Any, eks: Any, kubelets: list[str], status: str) -> None:
    aws.cloud.clusters.inside = Nodes(*kubelets)
    assert refresh(aws, eks) == "COMPLETED"
    skew = listed(eks)["Kubelet version skew"]
    assert (skew["insightStatus"]["status"], skew["kubernetesVersion"]) == (status, "1.35")
    resources = eks.describe_insight(clusterName="demo", id=skew["id"])["insight"]["resources"]
    assert len(resources) == (0 if status == "PASSING" else 1)


def test_an_insight_tells_of_its_last_look_until_it_is_refreshed(aws: Any, eks: Any) -> None:
    before = listed(eks)["Kubelet version skew"]
    aws.cloud.clusters.inside = Nodes("1.31")
    aws.later(3600)
    assert listed(eks)["Kubelet version skew"] == before
    refresh(aws, eks)
    after = listed(eks)["Kubelet version skew"]
    assert after["id"] == before["id"]
    assert after["lastRefreshTime"] > before["lastRefreshTime"]
    assert after["lastTransitionTime"] > before["lastTransitionTime"]


def test_eks_looks_once_a_day_by_itself(aws: Any, eks: Any) -> None:
    aws.cloud.clusters.inside = Nodes("1.31")
    aws.later(DAY + 1)
    assert listed(eks)["Kubelet version skew"]["insightStatus"]["status"] == "ERROR"


def test_amazon_linux_2_has_no_images_from_1_33_on(aws: Any, eks: Any) -> None:
    aws.cloud.clusters.inside = Nodes("1.34", system="Amazon Linux 2")
    refresh(aws, eks)
    assert listed(eks)["Amazon Linux 2 compatibility"]["insightStatus"]["status"] == "ERROR"


def test_addons_that_do_not_fit_the_next_version_are_named_with_those_that_do(aws: Any, eks: Any) -> None:
    aws.cloud.clusters.estate("demo").addons.install("vpc-cni", "v1.20.1-eksbuild.3")
    refresh(aws, eks)
    found = listed(eks)["EKS add-on version compatibility"]
    assert found["insightStatus"]["status"] == "ERROR"
    summary = eks.describe_insight(clusterName="demo", id=found["id"])["insight"]["categorySpecificSummary"]
    (detail,) = summary["addonCompatibilityDetails"]
    assert detail == {"name": "vpc-cni", "compatibleVersions": ["v1.21.1-eksbuild.1", "v1.20.4-eksbuild.2"]}


def test_a_cluster_that_is_not_well_says_so_itself_and_in_an_insight(aws: Any, eks: Any) -> None:
    issue = {"code": "InsufficientFreeAddresses", "message": "subnet-1 is full", "resourceIds": ["subnet-1"]}
    aws.cloud.clusters.estate("demo").health.append(issue)
    assert eks.describe_cluster(name="demo")["cluster"]["health"]["issues"] == [issue]
    refresh(aws, eks)
    said = listed(eks)["Cluster health issues"]["insightStatus"]
    assert said == {"status": "ERROR", "reason": "subnet-1 is full"}


def test_deprecated_apis_come_with_their_clients(eks: Any, insights: Insights) -> None:
    insights.deprecate(DeprecatedApi(FLOWS, FLOWS.replace("v1beta3", "v1"), "1.35", "1.29", {"old-operator/1.0": 7}))
    insights.deprecate(DeprecatedApi("/apis/x/v1alpha1/y", "/apis/x/v1/y", "1.36", "1.33", {"other/2": 1}))
    found = listed(eks)
    assert found["Deprecated APIs removed in Kubernetes v1.35"]["insightStatus"]["status"] == "ERROR"
    assert found["Deprecated APIs removed in Kubernetes v1.36"]["insightStatus"]["status"] == "WARNING"
    one = found["Deprecated APIs removed in Kubernetes v1.35"]["id"]
    whole = eks.describe_insight(clusterName="demo", id=one)["insight"]
    (detail,) = whole["categorySpecificSummary"]["deprecationDetails"]
    assert (detail["usage"], detail["stopServingVersion"]) == (FLOWS, "1.35")
    assert detail["clientStats"][0]["userAgent"] == "old-operator/1.0"


def test_a_test_sets_an_outcome_ages_it_and_lets_a_refresh_fail(aws: Any, eks: Any, insights: Insights) -> None:
    insights.set("kube-proxy version skew", WARNING, "made up")
    insights.set("Something new", ERROR)
    assert set(listed(eks, statuses=["ERROR", "WARNING"])) == {"kube-proxy version skew", "Something new"}
    before = listed(eks)["Something new"]["lastRefreshTime"]
    insights.age(3 * DAY)
    assert (before - listed(eks)["Something new"]["lastRefreshTime"]).days == 3
    insights.refresh_fails = True
    assert refresh(aws, eks) == "FAILED"
    assert refresh(aws, eks) == "COMPLETED"
    assert listed(eks)["kube-proxy version skew"]["insightStatus"] == {"status": "WARNING", "reason": "made up"}


def test_after_an_upgrade_there_are_insights_for_the_way_on_and_the_way_back(aws: Any, eks: Any) -> None:
    aws.cloud.clusters.inside = Nodes("1.34")
    eks.update_cluster_version(name="demo", version="1.35")
    aws.later(601)
    assert {one["kubernetesVersion"] for one in listed(eks, categories=["UPGRADE_READINESS"]).values()} == {"1.36"}
    back = listed(eks, categories=["ROLLBACK_READINESS"])
    assert {one["kubernetesVersion"] for one in back.values()} == {"1.34"}
    aws.cloud.clusters.inside = Nodes("1.35")  # newer than the version to go back to
    refresh(aws, eks)
    with pytest.raises(ClientError, match="InvalidStateException.*Rollback readiness issues detected"):
        eks.update_cluster_version(name="demo", version="1.34")
    eks.update_cluster_version(name="demo", version="1.34", force=True)


def test_no_refresh_was_asked_for_yet(eks: Any) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        eks.describe_insights_refresh(clusterName="demo")
