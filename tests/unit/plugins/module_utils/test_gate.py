# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from unit.pictures import JUST_NOW, LONG_AGO, NOW, THEN, node, picture, pod, workload

from ansible_collections.evergreen.eks.plugins.module_utils.gate import (
    KINDS,
    Ignored,
    Terms,
    Worsening,
    compare,
    remembered,
)
from ansible_collections.evergreen.eks.plugins.module_utils.label_selector import parse_selector

TERMS = Terms()
CRASH, BACKOFF, PULL = "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull"


def worse(before: Sequence[Any], now: Sequence[Any], terms: Terms = TERMS, **seen: float) -> list[Worsening]:
    return compare(picture(*before, taken=THEN), picture(*now, taken=NOW), terms, seen)


def named(found: Sequence[Worsening]) -> list[tuple[str, str]]:
    return [(item.kind, item.object) for item in found]


def pending(name: str = "web-1", *reasons: str, **changes: Any) -> Any:
    return pod(name, *reasons, **{"phase": "Pending", "node": "", **changes})


def failed(name: str, *reasons: str, **changes: Any) -> Any:
    return pod(name, *(reasons or ("Error",)), owner="CronJob/report", phase="Failed", **changes)


WEB = "Deployment shop/web"


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        # nodes
        ([node(ready=True)], [node(ready=False)], [("node_not_ready", "Node n1")]),
        ([node(ready=False)], [node(ready=False)], []),
        ([node()], [node(), node("n2", ready=False)], [("node_not_ready", "Node n2")]),
        ([node()], [node(), node("n2")], []),
        ([node(), node("n2")], [node()], []),
        ([node()], [node(ready=False, cordoned=True)], []),
        # pods: what they suffer from
        ([pod()], [pod("web-1", CRASH)], [("pod_crash_loop", WEB)]),
        ([pod()], [pod("web-1", BACKOFF)], [("pod_image", WEB)]),
        ([pod()], [pod("web-1", PULL)], [("pod_image", WEB)]),
        ([pod()], [pod("web-1", "CreateContainerConfigError")], [("pod_config", WEB)]),
        ([pod()], [pod("web-1", "Error")], [("pod_error", WEB)]),
        ([pod()], [pod("web-1", "OOMKilled", CRASH)], [("pod_crash_loop", WEB)]),
        ([pod()], [pod("web-1", "ContainerCreating")], []),
        ([pod()], [pending()], [("pod_pending", WEB)]),
        ([pod()], [pending("web-1", PULL)], [("pod_image", WEB)]),
        ([pod()], [pod(ready=False)], []),
        ([pod()], [pod("web-1", CRASH, leaving=True)], []),
        ([pod()], [], []),
        # pods that end
        ([], [pod("report", "Error", owner="Job/report", phase="Failed")], [("pod_error", "Job shop/report")]),
        ([], [pod("report", "Completed", owner="Job/report", phase="Succeeded")], []),
        ([], [pod("report", "Evicted", owner="Job/report", phase="Failed")], []),
        ([pod()], [pod(), pod("web-2", "Error", phase="Failed")], []),
        ([], [failed("a", "Terminated", "Error")], []),
        ([], [pod("report", owner="Job/report", phase="Succeeded", restarts=9)], []),
        # ... and are tried again
        ([], [failed("a"), pod("b", owner="CronJob/report", phase="Succeeded", created=JUST_NOW)], []),
        ([], [failed("a"), pod("b", owner="CronJob/report", created=JUST_NOW)], []),
        (
            [],
            [failed("a", created=JUST_NOW), pod("b", owner="CronJob/report", phase="Succeeded")],
            [("pod_error", "CronJob shop/report")],
        ),
        ([failed("a")], [failed("b"), failed("c"), failed("d")], []),
        (
            [failed("a"), pod("b", owner="CronJob/report", phase="Succeeded", created=JUST_NOW)],
            [failed("c")],
            [("pod_error", "CronJob shop/report")],
        ),
        # who they are: a workload, under whatever name its pods run, or themselves
        ([pod("web-1", CRASH)], [pod("web-9", CRASH)], []),
        ([pod("web-1", CRASH)], [pod("web-9", BACKOFF)], []),
        ([pod("web-1", CRASH)], [pending("web-9")], []),
        ([pod("web-1", CRASH)], [pod("web-9", CRASH), pod("web-8", CRASH)], [("pod_crash_loop", WEB)]),
        (
            [pod("web-1", CRASH)],
            [pod("api-1", CRASH, owner="Deployment/api")],
            [("pod_crash_loop", "Deployment shop/api")],
        ),
        ([pod("web-1", CRASH)], [pod("web-1", CRASH, namespace="b")], [("pod_crash_loop", "Deployment b/web")]),
        ([pod("alone", owner="")], [pod("alone", CRASH, owner="")], [("pod_crash_loop", "Pod shop/alone")]),
        ([pod("alone", CRASH, owner="")], [pod("other", CRASH, owner="")], [("pod_crash_loop", "Pod shop/other")]),
        # one that waits excuses none that is broken, and one that is broken excuses any
        ([pending()], [pending("web-2")], []),
        ([pending()], [pod("web-2", CRASH)], [("pod_crash_loop", WEB)]),
        ([pending()], [pod("web-2", CRASH), pending("web-3")], [("pod_crash_loop", WEB)]),
        ([pod("web-1", CRASH), pending("web-2")], [pending("web-3"), pending("web-4")], []),
        # between two crashes a container runs, in the picture too
        ([pod(restarts=9, restarted="2026-11-21T00:55:00Z")], [pod("web-2", CRASH)], []),
        ([pod(restarts=9, restarted="2026-11-21T00:45:00Z")], [pod("web-2", CRASH)], [("pod_crash_loop", WEB)]),
        # restarts
        ([pod(restarts=2)], [pod(restarts=5)], []),
        ([pod(restarts=2)], [pod(restarts=6)], [("pod_restarts", WEB)]),
        ([pod()], [pod("web-9", restarts=4)], [("pod_restarts", WEB)]),
        ([pod()], [pod("web-9", restarts=3)], []),
        ([], [pod("new", restarts=4, owner="Deployment/new")], [("pod_restarts", "Deployment shop/new")]),
        # ... at the pace that it had: 25 hours with 50 of them are two an hour
        ([pod(restarts=50)], [pod(restarts=55)], []),
        ([pod(restarts=50)], [pod(restarts=56)], [("pod_restarts", WEB)]),
        ([pod(restarts=50), pod("web-2")], [pod("web-3", restarts=5)], []),
        # workloads
        ([workload(ready=3)], [workload(ready=2)], [("workload_short", WEB)]),
        ([workload(ready=2)], [workload(ready=2)], []),
        ([workload(ready=2)], [workload(ready=1)], [("workload_short", WEB)]),
        ([workload(ready=3)], [], []),
        ([], [workload(ready=0)], []),
        ([workload(ready=3)], [workload(ready=1, wanted=1)], []),
        ([workload(ready=3)], [workload(ready=0, wanted=0)], []),
        ([workload(ready=3)], [workload(ready=5, wanted=6)], [("workload_short", WEB)]),
        ([workload(ready=2)], [workload(ready=5, wanted=6)], []),
        (
            [workload(kind="DaemonSet")],
            [workload(kind="DaemonSet", ready=2)],
            [("workload_short", "DaemonSet shop/web")],
        ),
        # ... which replaces its own pods
        ([workload()], [workload(ready=2, updated=1, may_lack=1)], []),
        ([workload()], [workload(ready=1, updated=1, may_lack=1)], [("workload_short", WEB)]),
        ([workload()], [workload(ready=2, may_lack=1)], [("workload_short", WEB)]),
        # one thing is named once
        ([pod(), workload()], [pod("web-1", CRASH), workload(ready=2)], [("pod_crash_loop", WEB)]),
        (
            [node(), pod("agent-1", owner="DaemonSet/agent"), workload("agent", 1, 1, kind="DaemonSet")],
            [
                node(ready=False),
                pod("agent-1", owner="DaemonSet/agent", ready=False),
                workload("agent", 0, 1, kind="DaemonSet"),
            ],
            [("node_not_ready", "Node n1")],
        ),
    ],
)
def test_what_is_worse(before: Sequence[Any], now: Sequence[Any], expected: list[tuple[str, str]]) -> None:
    assert named(worse(before, now)) == expected


def test_every_kind_has_its_case() -> None:
    cases = test_what_is_worse.pytestmark[0].args[1]
    assert {kind for _before, _now, expected in cases for kind, _object in expected} == set(KINDS)


def test_critical_namespaces_come_first_then_the_worst() -> None:
    now = [
        node(ready=False),
        pod("web-1", CRASH),
        pending("a-1", owner="Deployment/a"),
        pending("coredns-1", owner="Deployment/coredns", namespace="kube-system"),
    ]
    found = worse([node()], now)
    assert [item.object for item in found] == [
        "Deployment kube-system/coredns",
        "Node n1",
        WEB,
        "Deployment shop/a",
    ]
    assert [item.critical for item in found] == [True, False, False, False]


@pytest.mark.parametrize(
    ("now", "allowed", "exceeded"),
    [
        ([], 0, False),
        ([pod("web-1", CRASH)], 0, True),
        ([pod("web-1", CRASH)], 1, False),
        ([pod("web-1", CRASH), pod("web-2", CRASH)], 1, False),
        ([pod("web-1", CRASH), node("n2", ready=False)], 1, True),
        ([pod("dns", CRASH, namespace="kube-system")], 5, True),
    ],
)
def test_more_than_allowed(now: Sequence[Any], allowed: int, exceeded: bool) -> None:
    terms = Terms(max_new_unhealthy=allowed)
    assert terms.exceeded(worse([], now, terms)) is exceeded


@pytest.mark.parametrize(
    ("item", "seen", "settled"),
    [
        (pending(since=JUST_NOW), {}, False),
        (pending(since="2026-11-21T01:57:00Z"), {}, True),
        (pending(since=JUST_NOW), {"uid-of-web-1": 120.0}, True),
        (pending(since=JUST_NOW), {"uid-of-web-2": 120.0}, False),
        (pending(since="2026-11-21T02:10:00Z"), {}, False),  # the clocks of a node and of the API server differ
        (pod("web-1", CRASH, since=JUST_NOW), {}, False),
        (pod(restarts=9, since=JUST_NOW), {}, True),  # which do not pass
        (node(ready=False, since=JUST_NOW), {}, False),
        (node(ready=False, since=JUST_NOW), {"n1": 120.0}, True),
        (workload(ready=0), {}, False),  # nobody says since when
        (workload(ready=0), {"Deployment shop/web": 119.0}, False),
        (workload(ready=0), {"Deployment shop/web": 120.0}, True),
    ],
)
def test_what_has_lasted_for_its_settling_time(item: Any, seen: dict[str, float], settled: bool) -> None:
    other = pod("other", owner="", created=NOW)
    (found,) = compare(picture(workload()), picture(item, other, taken=NOW), TERMS, seen)
    assert found.settled is settled


@pytest.mark.parametrize("ours", ["2026-11-21T01:40:00Z", NOW, "2026-11-21T09:00:00Z"])
def test_how_long_it_has_lasted_is_told_by_the_clock_of_the_api_server_and_not_by_ours(ours: str) -> None:
    new = pod("other", owner="", created="2026-11-21T02:00:00Z")
    for since, settled in (("2026-11-21T01:58:00Z", True), ("2026-11-21T01:58:01Z", False)):
        (found,) = compare(picture(), picture(pending(since=since), new, taken=ours), TERMS)
        assert found.settled is settled


def test_a_pod_that_has_just_come_does_not_hide_that_its_workload_is_short_for_long() -> None:
    (found,) = worse([workload()], [workload(ready=1), pending(since=JUST_NOW)], **{WEB: 600.0})
    assert (found.kind, found.settled, found.since) == ("pod_pending", True, "2026-11-21T01:50:00Z")


def test_what_is_remembered_is_what_is_still_there() -> None:
    found = worse([workload()], [workload(ready=1), pending(), node("n2", ready=False)])
    assert remembered({"n2": 30.0, "gone": 60.0}, found) == {"n2": 30.0, "uid-of-web-1": 0.0, WEB: 0.0}


@pytest.mark.parametrize(
    ("ignored", "expected"),
    [
        ((), ["ci/job", "shop/web"]),
        ((Ignored("ci"),), ["shop/web"]),
        ((Ignored("c*"), Ignored("shop")), []),
        ((Ignored(selector=parse_selector("app=job")),), ["shop/web"]),
        ((Ignored("shop", parse_selector("app=job")),), ["ci/job", "shop/web"]),
    ],
)
def test_what_is_ignored_does_not_count(ignored: tuple[Ignored, ...], expected: list[str]) -> None:
    now = [pod("job-1", CRASH, owner="Deployment/job", namespace="ci"), workload(ready=0)]
    before = [workload(), workload("job", namespace="ci")]
    found = worse(before, now, Terms(ignored=ignored))
    assert [item.object.split()[1] for item in found] == expected


def test_a_node_is_said_in_one_sentence() -> None:
    (found,) = worse([node()], [node(ready=False)])
    assert found.message == "Node n1 (i-n1) is not Ready since 2026-11-21T01:30:00Z; it was Ready in the picture"
    assert (found.was, found.now) == ("Ready", "not Ready")


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        (
            [],
            [pod(f"web-{number}", CRASH, node="n7") for number in range(5)],
            (
                f"{WEB} has 5 pods (web-0, web-1, web-2 and 2 more) in a crash loop (CrashLoopBackOff) since "
                "2026-11-21T01:30:00Z, on new nodes; it was well in the picture"
            ),
        ),
        (
            [node(), pod("web-1", CRASH)],
            [pod("web-1", CRASH), pod("web-2", BACKOFF, message='Back-off pulling image "web:2"')],
            (
                f'{WEB} has 1 pod (web-2) without image (ImagePullBackOff: Back-off pulling image "web:2") since '
                "2026-11-21T01:30:00Z; it had 1 pod ill in the picture"
            ),
        ),
        (
            [],
            [pending("web-1", "Unschedulable", message="0/3 nodes are available", owner="")],
            (
                "Pod shop/web-1 is Pending (Unschedulable: 0/3 nodes are available) since 2026-11-21T01:30:00Z; "
                "it was well in the picture"
            ),
        ),
        (
            [node()],
            [pod(restarts=7, since=LONG_AGO)],
            (
                f"{WEB} has 1 pod (web-1) restarting again and again (7 restarts) since {LONG_AGO}; "
                "it was well in the picture"
            ),
        ),
        (
            [workload()],
            [workload(ready=1)],
            f"{WEB} has 1 of 3 Ready; it had 3 of 3 Ready in the picture",
        ),
        (
            [workload()],
            [workload(ready=2), pending()],
            (
                f"{WEB} has 1 pod (web-1) Pending since 2026-11-21T01:30:00Z; it was well in the picture "
                "(now it has 2 of 3 Ready)"
            ),
        ),
    ],
)
def test_pods_and_workloads_are_said_in_one_sentence(before: list[Any], now: list[Any], message: str) -> None:
    (found,) = worse(before, now)
    assert found.message == message


def test_the_result_says_who() -> None:
    (found,) = worse([node()], [pod("web-1", CRASH), pod("web-2", CRASH)])
    assert found.as_data() == {
        "kind": "pod_crash_loop",
        "object": WEB,
        "namespace": "shop",
        "was": "well",
        "is": "2 pods more: CrashLoopBackOff",
        "since": "2026-11-21T01:30:00Z",
        "message": found.message,
        "settled": False,
        "critical": False,
        "pods": ["shop/web-1", "shop/web-2"],
    }
