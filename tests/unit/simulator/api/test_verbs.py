# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Creating and changing objects: halves, versions, defaults, scale, binding, limits."""

from __future__ import annotations

import pytest

from simulator.kubernetes.api import ApiServer
from simulator.kubernetes.client import ApiClient, ApiError

PODS = "/api/v1/namespaces/default/pods"
NODES = "/api/v1/nodes"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c"}]}}


def refused(code, deed, *arguments, **options):
    with pytest.raises(ApiError) as error:
        deed(*arguments, **options)
    assert error.value.code == code
    return error.value


def test_the_main_resource_leaves_the_status_alone_and_the_other_way_round(client, make_pod):
    make_pod("a")
    pod = client.patch(f"{PODS}/a", {"metadata": {"labels": {"x": "y"}}, "status": {"phase": "Failed"}})
    assert (pod["metadata"]["labels"], pod["status"]["phase"]) == ({"x": "y"}, "Running")
    pod = client.patch(f"{PODS}/a/status", {"spec": {"priority": 7}, "status": {"phase": "Failed"}})
    assert (pod["spec"]["priority"], pod["status"]["phase"]) == (0, "Failed")


def test_a_change_of_the_spec_is_a_new_generation(client):
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE}}
    assert client.create(DEPLOYMENTS, deployment)["metadata"]["generation"] == 1
    labelled = client.patch(f"{DEPLOYMENTS}/d", {"metadata": {"labels": {"x": "y"}}})
    assert labelled["metadata"]["generation"] == 1
    assert client.patch(f"{DEPLOYMENTS}/d", {"spec": {"replicas": 5}})["metadata"]["generation"] == 2


def test_scale(client):
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE}}
    client.create(DEPLOYMENTS, deployment)
    scale = client.get(f"{DEPLOYMENTS}/d/scale")
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["selector"]) == ("Scale", 1, "app=x")
    client.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 3}})
    assert client.get(f"{DEPLOYMENTS}/d")["spec"]["replicas"] == 3
    refused(409, client.replace, f"{DEPLOYMENTS}/d/scale", {**scale, "spec": {"replicas": 9}})


def test_a_pod_is_bound_once(client):
    client.create(PODS, {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}]}})
    binding = {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}}
    client.create(f"{PODS}/a/binding", binding)
    assert client.get(f"{PODS}/a")["spec"]["nodeName"] == "n1"
    assert "already assigned" in refused(409, client.create, f"{PODS}/a/binding", binding).message


def test_a_cordon_that_is_taken_back_leaves_no_trace(client):
    before = client.create(NODES, {"metadata": {"name": "n1"}})
    client.patch(f"{NODES}/n1", {"spec": {"unschedulable": True}})
    after = client.patch(f"{NODES}/n1", {"spec": {"unschedulable": False}})
    assert after["spec"] == before["spec"] == {}


def test_nodes_by_whether_they_are_cordoned(client):
    client.create(NODES, {"metadata": {"name": "n1"}})
    client.create(NODES, {"metadata": {"name": "n2"}, "spec": {"unschedulable": True}})
    found, _unused = client.list(NODES, field_selector="spec.unschedulable=false")
    assert [node["metadata"]["name"] for node in found] == ["n1"]


def test_taints_must_be_taints(client):
    client.create(NODES, {"metadata": {"name": "n1"}})
    error = refused(422, client.patch, f"{NODES}/n1", {"spec": {"taints": [{"key": "a", "effect": "Sometimes"}]}})
    assert error.causes[0]["field"] == "spec.taints[0].effect"
    twice = [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule", "value": "b"}]
    refused(422, client.patch, f"{NODES}/n1", {"spec": {"taints": twice}})
    assert client.get(f"{NODES}/n1")["spec"] == {}


def test_a_config_map_holds_a_mebibyte(client):
    client.create(CONFIG_MAPS, {"metadata": {"name": "full"}, "data": {"a": "x" * 1_048_576}})
    error = refused(422, client.patch, f"{CONFIG_MAPS}/full", {"data": {"b": "x"}})
    assert "Too long: may not be more than 1048576 bytes" in error.message


def test_a_lease_is_replaced_by_version_only_and_created_by_put(client):
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 60}}
    made = client.replace(f"{LEASES}/l", lease)
    refused(422, client.replace, f"{LEASES}/l", lease)
    made["spec"]["holderIdentity"] = "you"
    assert client.replace(f"{LEASES}/l", made)["spec"]["holderIdentity"] == "you"
    refused(409, client.replace, f"{LEASES}/l", made)


def test_a_lease_that_was_deleted_is_not_created_anew_by_who_knew_it(client):
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 60}}
    made = client.create(LEASES, lease)
    client.delete(f"{LEASES}/l")
    error = refused(409, client.replace, f"{LEASES}/l", made)
    assert "Precondition failed: UID in precondition" in error.message


def test_a_dry_run_shows_and_keeps_nothing(client):
    shown = client.create(NODES, {"metadata": {"name": "n1"}}, dry_run=True)
    assert shown["metadata"]["uid"]
    assert client.list(NODES)[0] == []


def test_names_are_made_and_repeat_in_each_world(clock):
    made = []
    for _unused in range(2):
        client = ApiClient(ApiServer(clock, seed=7), "test")
        body = {"metadata": {"generateName": "a-"}, "spec": {"containers": [{"name": "c"}]}}
        made.append([client.create(PODS, body)["metadata"][field] for field in ("name", "uid")])
    assert made[0] == made[1]
    assert made[0][0].startswith("a-")


def test_what_the_caller_gave_stays_the_callers(api, client):
    body = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}]}}
    client.create(PODS, body)
    assert body == {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}]}}
    assert api.record.calls()[-1].params["body"] == body


def test_a_namespace_must_exist(client):
    error = refused(404, client.create, "/api/v1/namespaces/none/configmaps", {"metadata": {"name": "a"}})
    assert error.message == 'namespaces "none" not found'
