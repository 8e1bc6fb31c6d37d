# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a pod does not leave. The situations are those that were measured on a Kubernetes 1.36.2 (numbers in brackets:
the surprises of section 1.1 of the research); the messages are the server's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from unit.manifests import a_node

from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import Budget, budget_from
from ansible_collections.evergreen.eks.plugins.module_utils.drain.case import KINDS, TERMINATING, Blocked, Picture
from ansible_collections.evergreen.eks.plugins.module_utils.drain.diagnosis import UNREADY_NAMED, diagnose
from ansible_collections.evergreen.eks.plugins.module_utils.drain.health import TROUBLES, Owner, PodHealth
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Controller, Pod
from ansible_collections.evergreen.eks.plugins.module_utils.drain.remedies import TEXTS, replicas_needed
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node, node_from
from ansible_collections.evergreen.eks.plugins.modules import node_drain

LABELS = {"app": "web", "pod-template-hash": "5c4f8"}
SELECTOR = {"matchLabels": {"app": "web"}}
DEPLOYMENT = Owner("Deployment", "shop", "web")
REPLICA_SET = Controller("apps/v1", "ReplicaSet", "web-5c4f8", "o")

POD = Pod("shop", "web-1", "uid-1", "node-a", controller=REPLICA_SET, labels=LABELS)
BARE = replace(POD, controller=None)
ONE, TWO, THREE = (
    PodHealth("shop", f"web-{number}", f"uid-{number}", f"node-{name}", LABELS, owner=DEPLOYMENT)
    for number, name in ((1, "a"), (2, "b"), (3, "c"))
)
NODES = {name: node_from(a_node(name, f"i-{name[-1]}")) for name in ("node-a", "node-b", "node-c")}
LOST = {**NODES, "node-b": node_from(a_node("node-b", "i-b", ready="Unknown", message="silent"))}

NEEDS = "The disruption budget web needs {} healthy pods and has {} currently"
PROCESSED = "The disruption budget web is still being processed by the server."
SILENT_NO = "The disruption budget web does not allow evicting pods currently"


def unready(
    pod: PodHealth, trouble: str = "crashing", message: str = "CrashLoopBackOff of container main"
) -> PodHealth:
    return replace(pod, ready=False, trouble=trouble, message=message)


def bare(pod: PodHealth) -> PodHealth:
    return replace(pod, owner=None)


def a_budget(
    desired: int = 0, current: int = 0, expected: int = 0, *, name: str = "web", allowed: int = 0, **rest: Any
) -> Budget:
    return Budget(
        "shop",
        name,
        SELECTOR,
        desired_healthy=desired,
        current_healthy=current,
        expected_pods=expected,
        disruptions_allowed=allowed,
        **rest,
    )


def by_budget(message: str = "no", pod: Pod = POD) -> Blocked:
    return Blocked(pod, "budget", message, "web", "2026-11-21T01:02:03Z")


FAILED = {"condition_reason": "SyncFailed", "observed_generation": 0}


@pytest.mark.parametrize(
    ("budget", "pods", "kind", "cause", "remedy"),
    [
        # Too few are healthy now, and it is told who.
        (
            a_budget(2, 2, 3, min_available=2),
            [ONE, unready(TWO), THREE],
            "exhausted",
            "budget shop/web (minAvailable 2) needs 2 healthy pods and has 2 of 3; not Ready: shop/web-2 (Crash",
            "mend shop/web-2",
        ),
        (
            a_budget(2, 1, 3, max_unavailable="33%"),
            [ONE, unready(TWO, "starting"), unready(THREE, "unschedulable", "0/3 nodes are available")],
            "exhausted",
            "needs 2 healthy pods and has 1 of 3; not Ready: shop/web-3 (0/3 nodes are available) and 1 more",
            "make room for shop/web-3",
        ),
        (
            a_budget(2, 2, 3, min_available=2),
            [ONE, unready(TWO, "starting", "its containers have not started yet"), THREE],
            "exhausted",
            "not Ready: shop/web-2 (its containers have not started yet)",
            "wait for shop/web-2, which is starting",
        ),
        (
            a_budget(2, 2, 3, min_available=2),
            [ONE, unready(TWO, "stopping", "it has to be gone by 12:00"), THREE],
            "exhausted",
            "not Ready: shop/web-2 (it has to be gone by 12:00)",
            "wait for shop/web-2, which is stopping",
        ),
        # The pod itself is not well, and guarded since the others are too few: rule 7.
        (
            a_budget(2, 1, 3, min_available=2),
            [unready(ONE), TWO],
            "exhausted",
            "not Ready: shop/web-1 (CrashLoopBackOff of container main)",
            "mend shop/web-1, or set unhealthyPodEvictionPolicy of budget shop/web to AlwaysAllow",
        ),
        # Its controller has not made all the pods that it should.
        (
            a_budget(3, 3, 4, max_unavailable=1),
            [ONE, TWO, THREE],
            "exhausted",
            "has 3 of 4; only 3 exist",
            "see why Deployment shop/web has not all its pods (kubectl describe)",
        ),
        (a_budget(2, 3, 3, allowed=1), [ONE, TWO, THREE], "exhausted", "allows 1 now, others were first", "wait"),
        (a_budget(3, 3, 4), None, "exhausted", "needs 3 healthy pods and has 3 of 4", "wait, it is tried again"),
        # With all of them healthy it says no all the same.
        (
            a_budget(3, 3, 3, max_unavailable=0),
            [ONE, TWO, THREE],
            "impossible",
            "budget shop/web (maxUnavailable 0) keeps all its 3 pods for ever",
            "set maxUnavailable of budget shop/web to 1",
        ),
        (
            a_budget(1, 1, 1, min_available=1),
            [ONE],
            "impossible",
            "budget shop/web (minAvailable 1) keeps its only pod for ever",
            "scale Deployment shop/web to 2 replicas, or set minAvailable of budget shop/web to 0",
        ),
        (
            a_budget(5, 3, 3, min_available=5),
            [ONE, TWO, THREE],
            "impossible",
            "budget shop/web (minAvailable 5) keeps all its 3 pods for ever",
            "scale Deployment shop/web to 6 replicas, or set minAvailable of budget shop/web to 2",
        ),
        (
            a_budget(3, 3, 3, min_available="100%"),
            [ONE, TWO, THREE],
            "impossible",
            "(minAvailable 100%) keeps all its 3 pods",
            "set minAvailable of budget shop/web to 2",
        ),
        (
            a_budget(2, 2, 2, min_available="67%"),
            [ONE, TWO],
            "impossible",
            "(minAvailable 67%) keeps all its 2 pods",
            "scale Deployment shop/web to 4 replicas, or set minAvailable of budget shop/web to 1",
        ),
        (
            a_budget(2, 1, 2, min_available=2),
            [ONE, unready(TWO)],
            "impossible",
            "(minAvailable 2) keeps all its 2 pods",
            "scale Deployment shop/web to 3 replicas",
        ),
        # A budget over two Deployments: nobody can tell which one to scale.
        (
            a_budget(2, 2, 2, min_available=2),
            [ONE, replace(TWO, owner=Owner("Deployment", "shop", "api"))],
            "impossible",
            "keeps all its 2 pods",
            "set minAvailable of budget shop/web to 1",
        ),
        # [4] minAvailable 0 and nobody healthy: rule 7 asks for more than 0. With more, for as long as nobody is.
        (
            a_budget(0, 0, 2, min_available=0),
            [unready(ONE), unready(TWO)],
            "all_unready",
            "none of the 2 pods of budget shop/web is healthy, and it guards unready pods, too; CrashLoopBackOff",
            "mend shop/web-1, or set unhealthyPodEvictionPolicy of budget shop/web to AlwaysAllow",
        ),
        (
            a_budget(2, 0, 2, min_available=2),
            [unready(ONE), unready(TWO)],
            "all_unready",
            "none of the 2",
            "AlwaysAllow",
        ),
        (a_budget(1, 0, 2, max_unavailable=1), None, "all_unready", "none of the 2 pods", "to AlwaysAllow"),
        (
            a_budget(2, 0, 2, min_available=2, unhealthy_policy="AlwaysAllow"),
            [unready(ONE), unready(TWO)],
            "impossible",
            "keeps all its 2 pods",
            "scale Deployment",
        ),
        # [5] Percentages and maxUnavailable count replicas, and such pods have none.
        (
            a_budget(0, 2, 0, max_unavailable=1),
            [bare(ONE), bare(TWO)],
            "percent_without_controller",
            "budget shop/web (maxUnavailable 1) counts replicas of pods without a controller",
            "give budget shop/web minAvailable 1 instead of maxUnavailable 1: a number needs no controllers",
        ),
        (a_budget(0, 1, 0, min_available="50%"), [bare(ONE)], "percent_without_controller", "50%", "minAvailable 0"),
        # Scaled to 0: its pods are about to go.
        (a_budget(0, 1, 0, max_unavailable=1), [ONE], "exhausted", "needs 0 healthy pods", "wait"),
        # [6] What cannot be computed is answered as "still being processed".
        (
            a_budget(max_unavailable=1, condition_message='no matches for kind "Engine" in version "v1"', **FAILED),
            [ONE, TWO],
            "sync_failed",
            'budget shop/web cannot be computed: no matches for kind "Engine" in version "v1"',
            "give budget shop/web minAvailable 1 instead of maxUnavailable 1",
        ),
        (
            a_budget(min_available=1, condition_message="found no controllers", **FAILED),
            [ONE],
            "sync_failed",
            "found no controllers",
            "see the condition DisruptionAllowed of budget shop/web",
        ),
        (
            a_budget(3, 3, 3, min_available=3, generation=2, observed_generation=1),
            [ONE, TWO, THREE],
            "stale",
            "has been changed, and the disruption controller has not looked at it since",
            "wait; if it lasts, the cluster's controller manager is in trouble",
        ),
        # [1] A wrong UID has spent the budget, in the name of a healthy pod; for two minutes.
        (
            a_budget(2, 2, 3, min_available=2, disrupted_pods={"web-2": "2026-11-21T01:00:00Z"}),
            [ONE, TWO, THREE],
            "burned",
            "still counts an eviction that was granted and never happened: web-2",
            "wait until 2026-11-21T01:02:00Z, then it is forgotten",
        ),
        (
            a_budget(0, 0, 1, max_unavailable=1, disrupted_pods={"web-1": "2026-11-21T01:00:00Z"}),
            [ONE],
            "burned",
            "granted and never happened: web-1",
            "wait until",
        ),
        (
            a_budget(3, 1, 4, min_available=3, disrupted_pods={"web-2": "2026-11-21T01:00:00Z"}),
            [ONE, TWO, unready(THREE)],
            "exhausted",
            "needs 3 healthy pods and has 1 of 4",
            "mend shop/web-3",
        ),
        (
            a_budget(1, 3, 3, allowed=2, disrupted_pods={f"w{n}": "2026-11-21T01:00:00Z" for n in range(2001)}),
            [ONE, TWO, THREE],
            "burned",
            "still counts 2001 evictions that were granted and never happened: w0, w1, w2 and 1998 more",
            "wait until",
        ),
    ],
)
def test_a_budget_that_says_no(budget: Budget, pods: Any, kind: str, cause: str, remedy: str) -> None:
    blocked = by_budget(pod=BARE if pods and pods[0].owner is None else POD)
    found = diagnose(blocked, Picture([budget], pods, NODES))
    assert found.kind == kind
    assert cause in found.cause and remedy in found.remedy
    assert found.budgets == (budget,) and len(found.line()) <= 160


def test_a_silent_node_eats_the_budgets_of_its_pods_elsewhere() -> None:
    """[7] Its pods are not Ready without a word about why."""
    pods = [ONE, unready(TWO, "not_ready", "it is not Ready"), THREE]
    found = diagnose(by_budget(), Picture([a_budget(2, 2, 3, min_available=2)], pods, LOST))
    assert found.remedy == "bring node node-b back, or terminate its instance i-b, for shop/web-2"
    assert found.record()["unready"] == [
        {
            "pod": "shop/web-2",
            "node": "node-b",
            "reason": "node_not_ready",
            "message": "Ready of its Node is Unknown: silent",
            "since": "",
        }
    ]


def test_more_than_one_budget_is_permanent_and_all_are_named() -> None:
    budgets = [a_budget(1, 3, 3, name="b"), a_budget(1, 3, 3, name="a")]
    for reason in ("several_budgets", "budget"):
        found = diagnose(replace(by_budget(), reason=reason), Picture(budgets, [ONE], NODES))
        assert found.kind == "several_budgets"
        assert [budget.name for budget in found.budgets] == ["a", "b"]
        assert found.remedy == "delete all but one of shop/a, shop/b, or narrow their selectors"


@pytest.mark.parametrize(
    ("message", "pod", "kind"),
    [
        (NEEDS.format(2, 2), POD, "exhausted"),
        (NEEDS.format(0, 0), POD, "all_unready"),
        (PROCESSED, POD, "stale"),
        (SILENT_NO, BARE, "percent_without_controller"),
        (SILENT_NO, POD, "exhausted"),
        (f"{SILENT_NO} because it failed sync: no scale", POD, "sync_failed"),
        ("DisruptedPods map too big", POD, "burned"),
    ],
)
def test_without_the_right_to_read_budgets_their_own_words_tell(message: str, pod: Pod, kind: str) -> None:
    found = diagnose(by_budget(message, pod), Picture())
    assert (found.kind, found.cause) == (kind, message.rstrip("."))
    assert found.remedy == "see kubectl describe poddisruptionbudget web -n shop"
    assert found.budgets == () and found.owner == ("Deployment shop/web" if pod is POD else "")


def node(ready: str = "True") -> Node:
    return node_from(a_node("node-a", "i-0a", ready=ready))


HELD = replace(POD, finalizers=("example.com/held",), grace_seconds=5)


@pytest.mark.parametrize(
    ("blocked", "picture", "kind", "cause", "remedy"),
    [
        (Blocked(POD, "terminating", node=node()), Picture(), "stopping", "has 30 s for that", "wait"),
        (Blocked(HELD, "terminating", node=node()), Picture(), "stopping", "has 5 s for that", "wait"),
        (
            Blocked(HELD, "terminating", node=node(), overdue=True),
            Picture(),
            "finalizer",
            "its finalizers hold it: example.com/held",
            "see why their controller does not take them off pod shop/web-1",
        ),
        (
            Blocked(HELD, "terminating", node=node("Unknown"), overdue=True),
            Picture(),
            "kubelet_silent",
            "Ready of node-a is Unknown",
            "bring the node back, or terminate instance i-0a",
        ),
        (
            Blocked(POD, "terminating", node=node()),
            Picture(nodes={}),
            "kubelet_silent",
            "its node node-a is gone",
            "wait, the pod garbage collector removes it",
        ),
        (
            Blocked(POD, "terminating", node=node(), overdue=True),
            Picture(),
            "not_stopping",
            "its 30 s are over, and its Ready node has not ended it",
            "see kubectl describe pod web-1 -n shop, and the kubelet's log on node-a",
        ),
        (
            Blocked(POD, "webhook_denied", 'admission webhook "guard.example.com" denied the request: not now'),
            Picture(),
            "webhook_denied",
            "not now",
            "ask whoever runs the webhook guard.example.com",
        ),
        (
            Blocked(POD, "webhook_denied", "forbidden: ValidatingAdmissionPolicy 'quiet' denied request: not now"),
            Picture(),
            "webhook_denied",
            "not now",
            "see kubectl describe validatingadmissionpolicy quiet",
        ),
        (
            Blocked(POD, "namespace_terminating", "being deleted"),
            Picture(),
            "namespace_terminating",
            "namespace shop is being deleted",
            "kubectl describe namespace shop",
        ),
        (Blocked(POD, "rate_limited", "too many requests"), Picture(), "rate_limited", "too many", "who floods"),
        (Blocked(POD, "api_error", "etcdserver: leader changed"), Picture(), "api_error", "leader", "control plane"),
        (Blocked(POD, "conflict", "the UID in the precondition"), Picture(), "conflict", "UID", "looked at"),
        (Blocked(POD, "rejected", "invalid"), Picture(), "rejected", "invalid", "see what the API server says"),
        (Blocked(BARE, "unmanaged", "no controller"), Picture(), "unmanaged", "no", "delete pod shop/web-1 yourself"),
        (Blocked(POD, "local_storage", "emptyDir"), Picture(), "local_storage", "emptyDir", "set delete_emptydir_data"),
        (
            Blocked(POD, "keeps_returning", "put back 5 times"),
            Picture(),
            "keeps_returning",
            "5 times",
            "scale Deployment shop/web down",
        ),
        (Blocked(POD, "below_floor", "2 of 3 are Ready"), Picture(), "below_floor", "2 of 3", "wait until enough"),
        (Blocked(POD, "not_sent", "not sent yet"), Picture(), "not_sent", "not sent yet", "run again"),
        (Blocked(POD, "something_new", "who knows"), Picture(), "unknown", "who knows", "kubectl describe pod"),
    ],
)
def test_what_else_is_in_the_way(blocked: Blocked, picture: Picture, kind: str, cause: str, remedy: str) -> None:
    found = diagnose(blocked, picture)
    assert found.kind == kind and cause in found.cause and remedy in found.remedy
    assert found.budgets == found.unready == ()


def test_every_kind_has_its_words_and_is_documented() -> None:
    assert set(TEXTS) | {"impossible", "percent_without_controller", "sync_failed", "several_budgets"} == set(KINDS)
    documented = yaml.safe_load(node_drain.RETURN)["nodes"]["contains"]["blocked"]["contains"]
    words = " ".join(documented["class"]["description"])
    assert [kind for kind in KINDS if f"V({kind})" not in words] == []
    assert [word for word in TROUBLES if f"V({word})" not in str(documented["unready"])] == []


def test_the_record_is_as_documented_and_names_the_worst_few() -> None:
    others = [
        unready(PodHealth("shop", f"web-{number}", f"uid-{number}", "node-b", LABELS, owner=DEPLOYMENT), trouble)
        for number, trouble in enumerate(["starting"] * 6 + ["image_pull", "crashing"], start=2)
    ]
    found = diagnose(by_budget(), Picture([a_budget(8, 1, 9, min_available=8)], [ONE, *others], NODES)).record()
    documented = yaml.safe_load(node_drain.RETURN)["nodes"]["contains"]["blocked"]["contains"]
    assert set(found) < set(documented)
    assert set(found["budgets"][0]) == set(documented["budgets"]["contains"])
    assert set(found["unready"][0]) == set(documented["unready"]["contains"])
    assert [item["reason"] for item in found["unready"][:3]] == ["crashing", "image_pull", "starting"]
    assert (len(found["unready"]), found["unready_total"]) == (UNREADY_NAMED, 8)


def test_the_line_keeps_the_remedy_when_room_is_short() -> None:
    long = Pod("a-namespace-with-a-long-name", "web-5c4f8-9zq4d", "uid-1", "ip-10-0-1-23.eu-central-1.compute.internal")
    message = "its controller " + "x" * 150
    line = diagnose(Blocked(long, "rate_limited", message), Picture()).line()
    assert len(line) <= 160 and "…; wait, it is tried again; if it lasts, see who floods the API server" in line
    assert " on ip" not in line

    short = diagnose(Blocked(replace(long, namespace="a"), "rate_limited", "busy"), Picture())
    assert short.line().startswith("a/web-5c4f8-9zq4d on ip-10-0-1-23: busy; wait")
    assert short.line(others=3).startswith("a/web-5c4f8-9zq4d and 3 more: busy; wait")

    longest = Blocked(replace(long, name="w" * 70), "rate_limited", message)
    assert len(diagnose(longest, Picture()).line()) == 160
    assert ": rate limited; wait, it is tried again" in diagnose(longest, Picture()).line()


@pytest.mark.parametrize(
    ("amount", "expected", "needed"),
    [(1, 1, 2), (5, 3, 6), (9, 3, None), ("100%", 3, None), ("67%", 2, 4), ("90%", 3, None), ("50%", 1, 2)],
)
def test_how_many_replicas_would_do(amount: Any, expected: int, needed: int | None) -> None:
    assert replicas_needed(Budget("shop", "web", min_available=amount, expected_pods=expected)) == needed


def test_a_budget_is_read_from_what_the_api_answers() -> None:
    manifest = {
        "metadata": {"namespace": "shop", "name": "web", "generation": 3},
        "spec": {"maxUnavailable": "25%", "selector": SELECTOR, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
        "status": {
            "observedGeneration": 2,
            "desiredHealthy": 3,
            "currentHealthy": 2,
            "expectedPods": 4,
            "disruptionsAllowed": 0,
            "disruptedPods": {"web-1": "2026-11-21T01:00:00Z"},
            "conditions": [
                {"type": "Other", "reason": "x"},
                {"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "m"},
            ],
        },
    }
    budget = budget_from(manifest)
    assert budget == Budget(
        "shop",
        "web",
        SELECTOR,
        None,
        "25%",
        "AlwaysAllow",
        3,
        2,
        3,
        2,
        4,
        0,
        {"web-1": "2026-11-21T01:00:00Z"},
        "InsufficientPods",
        "m",
    )
    assert budget.limit == "maxUnavailable 25%" and budget.stale and budget.counts_replicas
    new = budget_from({"metadata": {"namespace": "shop", "name": "new"}, "spec": {"minAvailable": 0}})
    assert new.limit == "minAvailable 0" and new.stale and not new.counts_replicas


def test_the_words_of_the_module_s_reasons_are_kinds_too() -> None:
    documented = yaml.safe_load(node_drain.RETURN)["nodes"]["contains"]["blocked"]["contains"]["reason"]
    words = {part.split(")")[0] for part in " ".join(documented["description"]).split("V(")[1:]}
    assert words - {"budget", TERMINATING} <= set(KINDS)
