# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The budgets of a cluster that can never be met, and the reads behind every explanation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from unit.manifests import a_node

from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import Budget
from ansible_collections.evergreen.eks.plugins.module_utils.drain.case import Blocked
from ansible_collections.evergreen.eks.plugins.module_utils.drain.explain import Explainer
from ansible_collections.evergreen.eks.plugins.module_utils.drain.health import Owner, PodHealth
from ansible_collections.evergreen.eks.plugins.module_utils.drain.impossible import impossible_budgets
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesError

WEB = {"app": "web"}
SELECTOR = {"matchLabels": WEB}
MET = Budget("shop", "met", SELECTOR, max_unavailable=1, desired_healthy=1, expected_pods=2, disruptions_allowed=1)
FROZEN = Budget("shop", "web", SELECTOR, max_unavailable=0, desired_healthy=2, current_healthy=2, expected_pods=2)
UNCOUNTED = Budget("shop", "web", SELECTOR, min_available="50%", current_healthy=2)
FAILED = replace(FROZEN, observed_generation=0, condition_reason="SyncFailed", condition_message="no matches for kind")
ONE = PodHealth("shop", "web-1", "uid-1", "node-a", WEB, owner=Owner("Deployment", "shop", "web"))
TWO = replace(ONE, name="web-2", uid="uid-2", node_name="node-b")


@pytest.mark.parametrize(
    ("budgets", "pods", "kinds"),
    [
        ([FROZEN], [ONE, TWO], ["impossible"]),
        ([MET], [ONE, TWO], []),
        ([UNCOUNTED], [replace(ONE, owner=None)], ["percent_without_controller"]),
        ([UNCOUNTED], [ONE], []),
        ([FAILED], [ONE], ["sync_failed"]),
        ([MET, FROZEN], [ONE, TWO], ["several_budgets"]),
        # The numbers are those of a former spec: nobody knows yet.
        ([replace(FROZEN, generation=2)], [ONE], []),
        # Nobody is pinned: no pod, or none that a drain evicts, or that would ask the budget.
        ([FROZEN], [], []),
        ([FROZEN], [replace(ONE, namespace="other")], []),
        ([FROZEN], [replace(ONE, labels={"app": "api"})], []),
        ([FROZEN], [replace(ONE, stays=True)], []),
        ([FROZEN], [replace(ONE, phase="Pending", node_name="", ready=False)], []),
        ([FROZEN], [replace(ONE, phase="Succeeded", ready=False)], []),
        ([FROZEN], [replace(ONE, deleted_at="12:00", ready=False)], []),
        ([FROZEN], [replace(ONE, ready=False)], ["impossible"]),
        ([replace(FROZEN, unhealthy_policy="AlwaysAllow")], [replace(ONE, ready=False)], []),
        ([replace(FROZEN, unhealthy_policy="AlwaysAllow")], [replace(ONE, ready=False), TWO], ["impossible"]),
        (
            [replace(MET, unhealthy_policy="AlwaysAllow"), FROZEN],
            [replace(ONE, ready=False)],
            ["several_budgets"],
        ),
    ],
)
def test_what_can_never_be_met(budgets: list[Budget], pods: list[PodHealth], kinds: list[str]) -> None:
    assert [found.kind for found in impossible_budgets(budgets, pods)] == kinds


def test_it_names_pods_nodes_owners_and_the_way_out() -> None:
    other = replace(FROZEN, namespace="bank", min_available=1, max_unavailable=None, desired_healthy=1, expected_pods=1)
    account = replace(ONE, namespace="bank", name="account-0", owner=Owner("StatefulSet", "bank", "account"))
    bank, shop = impossible_budgets([FROZEN, other], [ONE, TWO, replace(TWO, name="late", phase="Pending"), account])
    assert bank.remedy == "scale StatefulSet bank/account to 2 replicas, or set minAvailable of budget bank/web to 0"
    assert shop.record() == {
        "class": "impossible",
        "budgets": [FROZEN.record()],
        "owners": ["Deployment shop/web"],
        "pods": ["shop/web-1", "shop/web-2"],
        "nodes": ["node-a", "node-b"],
        "cause": "budget shop/web (maxUnavailable 0) keeps all its 2 pods for ever",
        "remedy": "set maxUnavailable of budget shop/web to 1",
    }
    assert shop.line == (
        "2 pods on 2 nodes cannot leave: budget shop/web (maxUnavailable 0) keeps all its 2 pods for ever; "
        "set maxUnavailable of budget shop/web to 1"
    )


class Cluster:
    """Answers lists from what a test puts in, and counts them; an exception in place of a list is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def list(self, path: str, *, keep: Callable[[Any], Any]) -> tuple[list[Any], str]:
        self.asked.append(path)
        answer = self.answers[path.rsplit("/", 1)[1]]
        if isinstance(answer, Exception):
            raise answer
        namespace = path.split("/namespaces/")[1].split("/")[0] if "/namespaces/" in path else None
        return [keep(item) for item in answer if namespace in (None, item["metadata"].get("namespace"))], "7"


def a_budget(namespace: str, **status: Any) -> dict[str, Any]:
    numbers = {"desiredHealthy": 2, "currentHealthy": 2, "expectedPods": 2, "observedGeneration": 1, **status}
    metadata = {"namespace": namespace, "name": "web", "generation": 1}
    return {"metadata": metadata, "spec": {"minAvailable": 2, "selector": SELECTOR}, "status": numbers}


def a_pod(namespace: str, name: str, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": f"uid-of-{name}", "labels": WEB},
        "spec": {"nodeName": "node-a"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
    }


def blocked(namespace: str, name: str, reason: str = "budget") -> Blocked:
    return Blocked(Pod(namespace, name, f"uid-of-{name}", "node-a", labels=WEB), reason, "needs 2", "web")


def refused(status: int) -> KubernetesError:
    return KubernetesError("no", status=status)


BUDGETS = "/apis/policy/v1/namespaces/{}/poddisruptionbudgets"
PODS = "/api/v1/namespaces/{}/pods"


def a_cluster(**answers: Any) -> Cluster:
    return Cluster(
        **{
            "poddisruptionbudgets": [a_budget("shop"), a_budget("bank")],
            "pods": [a_pod("shop", "a"), a_pod("shop", "b"), a_pod("bank", "c")],
            "nodes": [a_node("node-a", "i-1", ready="Unknown")],
            **answers,
        }
    )


def test_a_namespace_is_read_once_however_many_are_blocked_there() -> None:
    cluster = a_cluster()
    found = Explainer(cluster).explain([blocked("shop", "a"), blocked("bank", "c"), blocked("shop", "b")])
    assert [(one.pod, one.kind) for one in found] == [
        ("shop/a", "impossible"),
        ("bank/c", "impossible"),
        ("shop/b", "impossible"),
    ]
    expected = [BUDGETS.format("bank"), BUDGETS.format("shop"), PODS.format("bank"), PODS.format("shop")]
    assert sorted(cluster.asked) == sorted(expected)


def test_nothing_is_read_for_what_no_budget_blocks() -> None:
    cluster = a_cluster()
    (found,) = Explainer(cluster).explain([blocked("shop", "a", "webhook_denied")])
    assert found.kind == "webhook_denied" and cluster.asked == []


def test_nodes_are_read_once_and_only_where_pods_are_not_ready() -> None:
    cluster = a_cluster(pods=[a_pod("shop", "a"), a_pod("shop", "b", "False")])
    found = Explainer(cluster).explain([blocked("shop", "a"), blocked("shop", "b")])
    assert cluster.asked.count("/api/v1/nodes") == 1
    assert [one.reason for one in found[0].unready] == ["node_not_ready"]


@pytest.mark.parametrize(
    ("answers", "kind", "asked", "asked_again"),
    [
        # What is forbidden is not asked for again.
        ({"poddisruptionbudgets": refused(403)}, "exhausted", [BUDGETS], []),
        ({"pods": refused(403)}, "impossible", [BUDGETS, PODS], [BUDGETS]),
        # What fails now may succeed in the next look.
        ({"poddisruptionbudgets": refused(503)}, "exhausted", [BUDGETS], [BUDGETS]),
        ({"pods": refused(0)}, "impossible", [BUDGETS, PODS], [BUDGETS, PODS]),
    ],
)
def test_it_says_less_where_it_must_not_or_cannot_read(
    answers: dict[str, Any], kind: str, asked: list[str], asked_again: list[str]
) -> None:
    cluster = a_cluster(**answers)
    explainer = Explainer(cluster)
    for paths in (asked, asked_again):
        cluster.asked = []
        (found,) = explainer.explain([blocked("shop", "a")])
        assert found.kind == kind
        assert cluster.asked == [path.format("shop") for path in paths]


def test_an_api_that_does_not_answer_is_not_asked_about_the_other_namespaces() -> None:
    cluster = a_cluster(poddisruptionbudgets=refused(0))
    Explainer(cluster).explain([blocked("shop", "a"), blocked("bank", "c")])
    assert cluster.asked == [BUDGETS.format("bank")]


def test_the_whole_cluster_is_two_lists() -> None:
    cluster = a_cluster()
    found = Explainer(cluster).impossible_budgets()
    assert found is not None and [one.pods for one in found] == [("bank/c",), ("shop/a", "shop/b")]
    assert cluster.asked == ["/apis/policy/v1/poddisruptionbudgets", "/api/v1/pods"]

    nothing = a_cluster(poddisruptionbudgets=[])
    assert Explainer(nothing).impossible_budgets() == [] and len(nothing.asked) == 1
    assert Explainer(a_cluster(poddisruptionbudgets=refused(403))).impossible_budgets() is None
    assert Explainer(a_cluster(pods=refused(403))).impossible_budgets() is None
