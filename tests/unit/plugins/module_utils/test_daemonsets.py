# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from unit.manifests import a_node, a_pod

from ansible_collections.evergreen.eks.plugins.module_utils.daemonsets import pending_daemonsets, should_run
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import node_from

NODE = a_node(
    "n",
    "i-00000000000000001",
    labels={"os": "linux", "generation": "5"},
    taints=[{"key": "dedicated", "value": "logging", "effect": "NoSchedule"}, "node.kubernetes.io/disk-pressure"],
)
TOLERATES = [{"key": "dedicated", "value": "logging", "effect": "NoSchedule"}]


def a_daemonset(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "kube-system", "name": "agent", "uid": "uid-of-agent"},
        "spec": {"template": {"spec": {"tolerations": TOLERATES, **spec}}},
    }


def terms(*expressions: dict[str, Any], kind: str = "matchExpressions") -> dict[str, Any]:
    required = {"nodeSelectorTerms": [{kind: [item]} for item in expressions]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


@pytest.mark.parametrize(
    ("spec", "runs"),
    [
        ({}, True),
        ({"tolerations": []}, False),
        ({"tolerations": [{"operator": "Exists"}]}, True),
        ({"tolerations": [{"key": "dedicated", "operator": "Exists"}]}, True),
        ({"tolerations": [{"key": "dedicated", "value": "other"}]}, False),
        ({"tolerations": [{"key": "dedicated", "value": "logging", "effect": "NoExecute"}]}, False),
        ({"nodeSelector": {"os": "linux"}}, True),
        ({"nodeSelector": {"os": "windows"}}, False),
        ({"affinity": terms({"key": "os", "operator": "In", "values": ["linux"]})}, True),
        ({"affinity": terms({"key": "os", "operator": "NotIn", "values": ["linux"]})}, False),
        ({"affinity": terms({"key": "gpu", "operator": "Exists"})}, False),
        ({"affinity": terms({"key": "gpu", "operator": "DoesNotExist"})}, True),
        ({"affinity": terms({"key": "generation", "operator": "Gt", "values": ["4"]})}, True),
        ({"affinity": terms({"key": "generation", "operator": "Lt", "values": ["4"]})}, False),
        ({"affinity": terms({"key": "gpu", "operator": "Exists"}, {"key": "os", "operator": "Exists"})}, True),
        ({"affinity": terms({"key": "metadata.name", "operator": "In", "values": ["n"]}, kind="matchFields")}, True),
        ({"affinity": terms()}, False),
    ],
)
def test_where_a_daemonset_belongs(spec: dict[str, Any], runs: bool) -> None:
    assert should_run(a_daemonset(**spec), node_from(NODE)) is runs


def test_a_daemonset_is_pending_until_a_pod_of_its_own_is_ready_there() -> None:
    def pod(**fields: Any) -> dict[str, Any]:
        return a_pod("agent-1", owner=("apps/v1", "DaemonSet"), owner_uid="uid-of-agent", **fields)

    node = node_from(NODE)
    assert pending_daemonsets([a_daemonset()], node, []) == ["kube-system/agent"]
    assert pending_daemonsets([a_daemonset()], node, [pod(ready=False)]) == ["kube-system/agent"]
    assert pending_daemonsets([a_daemonset()], node, [pod()]) == []
    leaving = pod(deletionTimestamp="2026-11-21T01:00:00Z")
    assert pending_daemonsets([a_daemonset()], node, [leaving]) == ["kube-system/agent"]
    assert pending_daemonsets([a_daemonset(nodeSelector={"os": "windows"})], node, []) == []
