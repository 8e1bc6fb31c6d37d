# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts: whose pods are to be new, when an update is complete, and what is said while it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit import pictures

from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import Budget
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.label_selector import parse_selector
from ansible_collections.evergreen.eks.plugins.module_utils.picture import seconds_of
from ansible_collections.evergreen.eks.plugins.module_utils.restarts.blocks import holdup
from ansible_collections.evergreen.eks.plugins.module_utils.restarts.choice import Scene, Wish, choose
from ansible_collections.evergreen.eks.plugins.module_utils.restarts.workloads import (
    RESTARTED_AT,
    Pod,
    Workload,
    pod_of,
    restartable_from,
)
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import Sidecar

BEGAN, EARLIER, LATER = "2026-11-21T01:00:00Z", "2026-11-21T00:59:59Z", "2026-11-21T01:00:01Z"
VAULT = Sidecar("inject", "true", "agent")
FARGATE = {"f-old": "v1.31.9-eks-1", "f-new": "v1.33.2-eks-1"}


def workload(name: str = "web", **changes: Any) -> Workload:
    """A Deployment (or another kind) whose pods are all new and Ready."""
    own = {
        key: changes.pop(key)
        for key in ("kind", "namespace", "wanted", "ready", "updated", "may_lack")
        if key in changes
    }
    state = pictures.workload(name, **own)
    values = {
        "uid": name,
        "generation": 2,
        "observed": 2,
        "total": state.wanted,
        "available": state.ready,
        "strategy": "RollingUpdate",
        "template_labels": {"app": name},
    }
    return Workload(state, **{**values, **changes})


def pod(name: str, owner: str = "Deployment/web", node: str = "n1", **changes: Any) -> Pod:
    own = {key: changes.pop(key) for key in ("asks", "lacks", "controller") if key in changes}
    return Pod(pictures.pod(name, owner=owner, node=node, **changes), **own)


def scene(workloads: list[Workload], *pods: Pod, budgets: tuple[Budget, ...] = ()) -> Scene:
    return Scene({one.key: one for one in workloads}, pods, FARGATE, budgets)


def targets(wish: Wish, seen: Scene) -> dict[str, tuple[str, ...]]:
    return {str(target.workload): target.why for target in choose(wish, seen).targets}


# ---- whose pods are to be new


@pytest.mark.parametrize(
    ("wish", "chosen"),
    [
        (Wish(named=(("Deployment", "shop", "web"),)), {"Deployment shop/web": ("named",)}),
        (Wish(selector=parse_selector("app=web")), {"Deployment shop/web": ("selected",)}),
        (Wish(selector=parse_selector("app"), namespaces=frozenset(["other"])), {}),
        (Wish(on_fargate=True), {"Deployment shop/new": ("fargate",), "Deployment shop/web": ("fargate",)}),
        (Wish(on_fargate=True, version=Version(1, 33)), {"Deployment shop/web": ("fargate",)}),
        (Wish(on_fargate=True, namespaces=frozenset(["other"])), {}),
        (Wish(sidecars=(VAULT,)), {"Deployment shop/new": ("sidecar",), "Deployment shop/web": ("sidecar",)}),
        (Wish(sidecars=(VAULT,), missing_sidecars_only=True), {"Deployment shop/web": ("sidecar",)}),
        (
            Wish(
                named=(("Deployment", "shop", "web"),), on_fargate=True, sidecars=(VAULT,), missing_sidecars_only=True
            ),
            {"Deployment shop/new": ("fargate",), "Deployment shop/web": ("named", "fargate", "sidecar")},
        ),
    ],
)
def test_who_is_meant(wish: Wish, chosen: dict[str, tuple[str, ...]]) -> None:
    seen = scene(
        [workload("web"), workload("new"), workload("plain")],
        pod("web-1", node="f-old", asks=True, lacks=True),
        pod("web-2", node="f-new", asks=True),
        pod("new-1", "Deployment/new", "f-new", asks=True),
        pod("plain-1", "Deployment/plain"),
    )
    assert targets(wish, seen) == chosen


def test_kube_system_comes_first() -> None:
    seen = scene([workload("a"), workload("z", namespace="kube-system")])
    wish = Wish(selector=parse_selector("app"))
    assert list(targets(wish, seen)) == ["Deployment kube-system/z", "Deployment shop/a"]


@pytest.mark.parametrize(
    ("restarted", "already", "chosen"), [("", False, 0), (EARLIER, False, 0), (BEGAN, True, 1), (LATER, True, 1)]
)
def test_what_was_restarted_in_this_run_is_awaited_though_its_pods_are_new(
    restarted: str, already: bool, chosen: int
) -> None:
    """With a version that its new pods have already nothing else is meant."""
    one = workload(restarted_at=seconds_of(restarted))
    wish = Wish(on_fargate=True, version=Version(1, 33), restarted_at=BEGAN)
    assert len(choose(wish, scene([one], pod("web-1", node="f-new"))).targets) == chosen
    (target,) = choose(wish, scene([one], pod("web-1", node="f-old"))).targets
    assert target.already is already


@pytest.mark.parametrize(
    ("owner", "reason"),
    [
        ("", "no_controller"),
        ("Job/nightly", "job"),
        ("CronJob/nightly", "job"),
        ("ReplicaSet/web-7d9", "other_controller"),
        ("Deployment/gone", "other_controller"),
    ],
)
def test_pods_that_no_restart_replaces_are_named(owner: str, reason: str) -> None:
    choice = choose(Wish(on_fargate=True), scene([workload()], pod("p", owner, "f-old")))
    assert choice.targets == ()
    assert [(one.object, one.reason) for one in choice.left] == [("Pod shop/p", reason)]
    assert choice.left[0].remedy


def budget(healthy: int, of: int = 3, name: str = "web") -> Budget:
    selector = {"matchLabels": {"app": name}}
    return Budget("shop", name, selector, min_available=healthy, desired_healthy=healthy, expected_pods=of)


@pytest.mark.parametrize(
    ("changes", "budgets", "reason"),
    [
        ({}, (), None),
        ({"paused": True}, (), "paused"),
        ({"strategy": "OnDelete"}, (), "on_delete"),
        ({"may_lack": 1}, (budget(2),), None),
        ({"may_lack": 1}, (budget(3),), "budget"),
        ({"may_lack": 3, "strategy": "Recreate"}, (budget(2),), "budget"),
        ({"may_lack": 0}, (budget(3),), None),
        ({"may_lack": 1}, (budget(3, name="other"),), None),
        ({"may_lack": 1}, (budget(1, of=0),), None),  # its controller has not counted yet
        ({"may_lack": 1, "restarted_at": seconds_of(BEGAN)}, (budget(3),), None),  # it is too late for that
    ],
)
def test_what_its_controller_would_not_or_must_not_replace(
    changes: dict[str, Any], budgets: tuple[Budget, ...], reason: str | None
) -> None:
    wish = Wish(selector=parse_selector("app=web"), restarted_at=BEGAN)
    choice = choose(wish, scene([workload(**changes)], budgets=budgets))
    assert [one.reason for one in choice.left] == ([reason] if reason else [])
    assert len(choice.targets) == (0 if reason else 1)


def test_a_budget_may_be_overruled() -> None:
    wish = Wish(selector=parse_selector("app=web"), budgets="overrule")
    assert targets(wish, scene([workload(may_lack=3)], budgets=(budget(3),)))


def test_a_name_that_does_not_exist_is_an_error_that_names_others() -> None:
    with pytest.raises(EvergreenError) as caught:
        choose(Wish(named=(("Deployment", "shop", "wbe"),)), scene([workload()]))
    assert (caught.value.reason, "there are web" in str(caught.value)) == ("workload_not_found", True)


# ---- what the API says


def manifest(kind: str, spec: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "shop", "uid": "1", "generation": 4}
    annotations = {RESTARTED_AT: "2026-11-21T10:00:00+09:00"}
    template = {"metadata": {"labels": {"app": "web"}, "annotations": annotations}, "spec": {"containers": []}}
    return {"kind": kind, "metadata": metadata, "spec": {"template": template, **spec}, "status": status}


@pytest.mark.parametrize(
    ("kind", "spec", "status", "complete"),
    [
        ("Deployment", {"replicas": 2}, {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, True),
        ("Deployment", {"replicas": 2}, {"replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}, False),
        ("Deployment", {"replicas": 2}, {"replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}, False),
        ("Deployment", {"replicas": 2}, {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}, False),
        ("Deployment", {"replicas": 0}, {}, True),
        ("StatefulSet", {"replicas": 2}, {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}, True),
        ("StatefulSet", {"replicas": 2}, {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 1}, False),
        ("StatefulSet", {"replicas": 2}, {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 2}, False),
        (
            "StatefulSet",
            {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
            {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 2},
            True,
        ),
        (
            "DaemonSet",
            {},
            {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2, "numberReady": 2},
            True,
        ),
        (
            "DaemonSet",
            {},
            {"desiredNumberScheduled": 2, "updatedNumberScheduled": 1, "numberAvailable": 2, "numberReady": 2},
            False,
        ),
    ],
)
def test_when_an_update_is_complete(kind: str, spec: dict[str, Any], status: dict[str, Any], complete: bool) -> None:
    seen = restartable_from(kind, manifest(kind, spec, {"observedGeneration": 4, **status}))
    assert seen.complete is complete
    assert not restartable_from(kind, manifest(kind, spec, {"observedGeneration": 3, **status})).complete


def test_the_moment_of_a_restart_is_read_in_any_time_zone() -> None:
    seen = restartable_from("Deployment", manifest("Deployment", {"replicas": 1, "paused": True}, {}))
    assert seen.restarted_since(BEGAN)
    assert not seen.restarted_since(LATER)
    assert not seen.restarted_since("")
    assert (seen.paused, seen.path) == (True, "/apis/apps/v1/namespaces/shop/deployments/web")


@pytest.mark.parametrize(
    ("condition", "trouble"),
    [
        ({"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}, "exceeded quota"),
        ({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}, "ProgressDeadlineExceeded"),
        ({"type": "Progressing", "status": "True", "message": "is progressing"}, ""),
        ({"type": "Available", "status": "False", "message": "no minimum"}, ""),
    ],
)
def test_what_a_controller_complains_of(condition: dict[str, Any], trouble: str) -> None:
    assert restartable_from("Deployment", manifest("Deployment", {}, {"conditions": [condition]})).trouble == trouble


@pytest.mark.parametrize(
    ("containers", "changes", "found"),
    [
        (["main", "agent"], {}, (True, False)),
        (["main"], {}, (True, True)),
        (["main"], {"annotations": {}}, (False, False)),
        (["main"], {"annotations": {}, "labels": {"inject": "true"}}, (True, True)),
        (["main"], {"deletionTimestamp": BEGAN}, None),
        (["main"], {"annotations": {"kubernetes.io/config.mirror": "x"}}, None),
    ],
)
def test_a_pod_and_its_sidecar(containers: list[str], changes: dict[str, Any], found: tuple[bool, bool] | None) -> None:
    metadata = {"name": "p", "namespace": "shop", "annotations": {"inject": "true"}, **changes}
    seen = pod_of({"metadata": metadata, "spec": {"containers": [{"name": name} for name in containers]}}, [VAULT])
    assert (seen and (seen.asks, seen.lacks)) == found


# ---- what is said while it is not complete


@pytest.mark.parametrize(
    ("trouble", "pods", "told"),
    [
        ("", [], "1 of 3 pods are new and Ready"),
        ("exceeded quota.", [], "1 of 3 pods are new and Ready; exceeded quota"),
        (
            "",
            [pictures.pod("a", "Unschedulable", phase="Pending", node="", message="0/3 nodes")],
            "1 of 3 pods are new and Ready; pod a is Pending (Unschedulable: 0/3 nodes)",
        ),
        (
            "",
            [pictures.pod("b", "CrashLoopBackOff"), pictures.pod("c", leaving=True)],
            "1 of 3 pods are new and Ready; pod b is not Ready on n1 (CrashLoopBackOff); still going: c",
        ),
        (
            "",
            [pictures.pod(name, phase="Pending", node="") for name in "abcde"],
            (
                "1 of 3 pods are new and Ready; pod a is Pending; pod b is Pending; pod c is Pending; "
                "2 more pods are not Ready"
            ),
        ),
    ],
)
def test_what_holds_it_up(trouble: str, pods: list[Any], told: str) -> None:
    one = replace(workload(updated=2, ready=3, available=3), total=4, trouble=trouble)
    assert holdup(replace(one, available=3), pods) == told
