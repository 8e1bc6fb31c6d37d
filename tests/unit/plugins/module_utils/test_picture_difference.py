# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.pictures import JUST_NOW, NOW, node, picture, pod, workload

from ansible_collections.evergreen.eks.plugins.module_utils.picture_difference import difference, short_image

OLD, NEW = {"version": "v1.31.0"}, {"version": "v1.33.1"}
CRASHING = (
    "Deployment shop/web has 1 pod (web-2) in a crash loop (CrashLoopBackOff) since 2026-11-21T01:30:00Z, on new "
    "nodes; it was well in the picture"
)
PROXY = {"kind": "DaemonSet", "namespace": "kube-system"}


def data(before: list[Any], after: list[Any]) -> dict[str, Any]:
    return difference(picture(*before), picture(*after, taken=NOW)).as_data()


def test_the_same_is_no_difference() -> None:
    items = [node(), pod(), workload()]
    found = difference(picture(*items), picture(*items, taken=NOW))
    assert found.nothing and found.as_data()["node_versions"] == {"v1.34.0": {"was": 1, "is": 1}}
    assert found.as_text("production").endswith("Worse: nothing\n")


def test_a_node_is_the_same_only_where_its_instance_is() -> None:
    found = data([node("a", **OLD), node("b", **OLD)], [node("a", instance_id="i-2", **NEW), node("b", **OLD)])
    assert (found["nodes_gone"], found["nodes_new"], found["nodes"]) == (["a"], ["a"], [])
    assert found["node_versions"] == {"v1.31.0": {"was": 2, "is": 1}, "v1.33.1": {"was": 0, "is": 1}}


@pytest.mark.parametrize(
    ("then", "now", "what", "was", "current"),
    [
        (node("a"), node("a", ready=False), "state", "Ready", "not Ready"),
        (node("a"), node("a", cordoned=True), "scheduling", "schedulable", "cordoned"),
        (node("a", **OLD), node("a", **NEW), "version", "v1.31.0", "v1.33.1"),
        (
            node("a", system="Amazon Linux 2"),
            node("a", system="Bottlerocket"),
            "system",
            "Amazon Linux 2",
            "Bottlerocket",
        ),
        (workload(), workload(ready=2), "pods", "3 of 3 Ready", "2 of 3 Ready"),
        (
            workload(images=("x/web:1", "a:1")),
            workload(images=("x/web:2", "a:1")),
            "images",
            "web:1, a:1",
            "web:2, a:1",
        ),
    ],
)
def test_what_changed_of_a_thing(then: Any, now: Any, what: str, was: str, current: str) -> None:
    found = data([then], [now])
    (change,) = found["nodes"] + found["workloads"]
    assert (change["what"], change["was"], change["is"]) == (what, was, current)


def test_what_an_older_picture_does_not_hold_is_no_change() -> None:
    found = data([node(), workload()], [node(system="Bottlerocket"), workload(images=("web:1",))])
    assert found["nodes"] == found["workloads"] == []


def test_where_pods_went_is_told_for_each_workload_but_not_for_what_is_everywhere() -> None:
    agent = {"owner": "DaemonSet/agent"}
    before = [
        pod("web-1", node="a"),
        pod("web-2", node="a"),
        pod("db-0", owner="StatefulSet/db"),
        pod("x", node="a", **agent),
    ]
    after = [
        pod("web-3", node="b"),
        pod("web-4", node="c"),
        pod("db-0", owner="StatefulSet/db"),
        pod("y", node="b", **agent),
    ]
    assert data(before, after)["moved"] == [{"object": "Deployment shop/web", "was": ["a", "a"], "is": ["b", "c"]}]


def test_restarts_are_those_since_then_also_of_new_pods() -> None:
    before = [pod("web-1", restarts=4), pod("web-2", restarts=9)]
    after = [pod("web-1", restarts=6), pod("web-3", restarts=1), pod("db-0", owner="StatefulSet/db")]
    assert data(before, after)["restarts"] == [{"object": "Deployment shop/web", "more": 3}]


def test_what_is_worse_and_better_is_named_also_where_it_has_just_begun() -> None:
    broken = pod("web-1", "CrashLoopBackOff", since=JUST_NOW)
    assert [item["object"] for item in data([pod("web-1")], [broken])["worse"]] == ["Deployment shop/web"]
    assert [item["object"] for item in data([broken], [pod("web-1")])["better"]] == ["Deployment shop/web"]


def test_the_data_is_plain() -> None:
    found = data([node("a"), workload("old"), pod("web-1", "Error")], [node("b"), workload("new", ready=1), pod()])
    assert json.loads(json.dumps(found)) == found
    assert (found["workloads_gone"], found["workloads_new"]) == (["Deployment shop/old"], ["Deployment shop/new"])


def test_the_text_is_for_a_ticket() -> None:
    domain = ".eu-central-1.compute.internal"
    before = picture(
        node(f"ip-10-0-0-1{domain}", **OLD),
        pod("web-1", node=f"ip-10-0-0-1{domain}"),
        workload("kube-proxy", images=("602401143452.dkr.ecr/eks/kube-proxy:v1.31.2-eksbuild.2",), **PROXY),
        version="v1.31.0-eks-1",
    )
    after = picture(
        node(f"ip-10-0-0-2{domain}", **NEW),
        pod("web-2", "CrashLoopBackOff", node=f"ip-10-0-0-2{domain}", restarts=2),
        workload("kube-proxy", images=("602401143452.dkr.ecr/eks/kube-proxy:v1.33.0-eksbuild.2",), **PROXY),
        version="v1.33.1-eks-2",
        taken=NOW,
    )
    assert difference(before, after).as_text("production").splitlines() == [
        "Cluster production: 2026-11-21T01:00:00Z -> 2026-11-21T02:00:00Z (60 min)",
        "Control plane: v1.31.0-eks-1 -> v1.33.1-eks-2",
        "Nodes ready: 1 of 1 -> 1 of 1",
        "- v1.31.0: 1 -> 0",
        "- v1.33.1: 0 -> 1",
        "- gone: ip-10-0-0-1",
        "- new: ip-10-0-0-2",
        "Workloads whole: 1 of 1 -> 1 of 1",
        "- DaemonSet kube-system/kube-proxy: kube-proxy:v1.31.2-eksbuild.2 -> kube-proxy:v1.33.0-eksbuild.2",
        "Pods ready: 1 of 1 -> 0 of 1",
        "- Deployment shop/web: ip-10-0-0-1 -> ip-10-0-0-2",
        "Restarts:",
        "- Deployment shop/web: 2 more",
        "Worse:",
        f"- {CRASHING}",
    ]


def test_a_long_list_ends_with_how_many_more() -> None:
    text = difference(picture(), picture(*(workload(f"w{number:02}") for number in range(60)), taken=NOW)).as_text("x")
    assert "- and 10 more lines\n" in text and "w49" in text and "w50" not in text


@pytest.mark.parametrize(
    ("image", "short"), [("web:1", "web:1"), ("a.b/c/web:1", "web:1"), ("a/web@sha256:0f", "web@sha256:0f"), ("", "")]
)
def test_images_without_their_registry(image: str, short: str) -> None:
    assert short_image(image) == short
