# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios as data, and the Kubernetes objects that they become."""

from __future__ import annotations

import pytest

from simulator.scenarios import DEMO, SMALL, Budget, Deployment, Job, NodeGroup, Scenario, StatefulSet
from simulator.scenarios.manifests import manifests


def named(objects: list[dict], kind: str, name: str) -> dict:
    (found,) = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def test_a_deployment_with_a_budget_becomes_two_objects() -> None:
    web = Deployment("web", replicas=4, group="shared", budget=Budget(min_available="75%"), emptydir=True)
    objects = manifests(Scenario(groups=[NodeGroup("shared", size=1)], workloads=[web], system=False))
    deployment, budget = named(objects, "Deployment", "web"), named(objects, "PodDisruptionBudget", "web")
    pod = deployment["spec"]["template"]
    assert deployment["spec"]["replicas"] == 4
    assert pod["spec"]["nodeSelector"] == {"example.com/node-group": "shared"}
    assert pod["spec"]["volumes"] == [{"name": "scratch", "emptyDir": {}}]
    assert budget["spec"] == {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": "75%"}
    assert deployment["spec"]["selector"] == budget["spec"]["selector"]


def test_zonal_volumes_are_dealt_out_to_the_zones() -> None:
    database = StatefulSet("db", replicas=4, zonal_volume=True)
    objects = manifests(Scenario(groups=[NodeGroup("shared", size=1)], workloads=[database], zones=("a", "b")))
    volumes = [one for one in objects if one["kind"] == "PersistentVolume"]
    terms = [one["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0] for one in volumes]
    assert [term["matchExpressions"][0]["values"] for term in terms] == [["a"], ["b"], ["a"], ["b"]]
    claims = [one["metadata"]["name"] for one in objects if one["kind"] == "PersistentVolumeClaim"]
    assert claims == ["data-db-0", "data-db-1", "data-db-2", "data-db-3"]


def test_a_job_says_how_long_it_runs() -> None:
    objects = manifests(Scenario(groups=[], workloads=[Job("report", runs_for=90)]))
    template = named(objects, "Job", "report")["spec"]["template"]
    assert template["metadata"]["annotations"]["simulator/finishes-after"] == "90"
    assert template["spec"]["restartPolicy"] == "Never"


def test_the_system_is_there_unless_unwanted() -> None:
    kinds = [one["metadata"]["name"] for one in manifests(SMALL) if one["kind"] == "DaemonSet"]
    assert kinds == ["aws-node", "kube-proxy"]
    assert not [one for one in manifests(Scenario(groups=[], system=False)) if one["kind"] == "DaemonSet"]


def test_a_scenario_is_varied_by_the_name_of_a_group() -> None:
    wider = SMALL.with_group("shared", size=5, suspended=["AZRebalance"])
    assert [group.size for group in wider.groups] == [5, 2]
    assert [group.size for group in SMALL.groups] == [3, 2], "the original is left alone"
    with pytest.raises(KeyError, match="no node group nowhere"):
        SMALL.with_group("nowhere", size=1)
    assert len(SMALL.with_workloads(Deployment("more")).workloads) == len(SMALL.workloads) + 1


def test_the_demonstration_is_what_the_readme_says() -> None:
    assert [(group.name, group.size) for group in DEMO.groups] == [("istio", 2), ("shared", 6), ("logging", 3)]
    daemons = 2 * sum(group.size for group in DEMO.groups)
    assert 65 <= sum(workload.replicas for workload in DEMO.workloads) + daemons <= 75
