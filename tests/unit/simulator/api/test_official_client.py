# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The official Python client works against the rehearsal server, typed and dynamic."""

from __future__ import annotations

import pytest
from kubernetes import client as official
from kubernetes.dynamic import DynamicClient


@pytest.fixture
def official_client(https):
    configuration = official.Configuration()
    configuration.host, configuration.ssl_ca_cert = https.server.url, https.authority
    configuration.api_key = {"BearerToken": "Bearer admin", "authorization": "Bearer admin"}
    with official.ApiClient(configuration) as api_client:
        yield api_client


def test_version(official_client):
    version = official.VersionApi(official_client).get_code()
    assert (version.major, version.minor) == ("1", "33")


def test_typed(official_client, make_pod):
    core = official.CoreV1Api(official_client)
    core.create_node({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    assert core.patch_node("n1", {"spec": {"unschedulable": True}}).spec.unschedulable is True
    make_pod("a")
    make_pod("b", node="n2")
    pods = core.list_pod_for_all_namespaces(field_selector="spec.nodeName=n1").items
    assert [pod.metadata.name for pod in pods] == ["a"]
    with pytest.raises(official.ApiException) as missing:
        core.read_namespaced_pod("none", "default")
    assert missing.value.status == 404
    core.delete_namespaced_pod("a", "default", body=official.V1DeleteOptions(grace_period_seconds=0))
    assert [pod.metadata.name for pod in core.list_namespaced_pod("default").items] == ["b"]


def test_dynamic(official_client):
    dynamic = DynamicClient(official_client)
    budgets = dynamic.resources.get(api_version="policy/v1", kind="PodDisruptionBudget")
    body = {"metadata": {"name": "b"}, "spec": {"selector": {}, "minAvailable": 1}}
    budgets.create(body={"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", **body}, namespace="default")
    assert [budget.metadata.name for budget in budgets.get().items] == ["b"]
    pods = dynamic.resources.get(api_version="v1", kind="Pod")
    assert "eviction" in pods.subresources
