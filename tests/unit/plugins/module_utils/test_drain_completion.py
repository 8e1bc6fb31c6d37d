# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is left to complete, who is left alone, and until when. It is noon; the node was cordoned an hour ago."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.fakes import FakeClock
from unit.manifests import a_node

from ansible_collections.evergreen.eks.plugins.module_utils.drain.completion import Completions, Times
from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import (
    DELETE,
    EVICT,
    REFUSE,
    SKIP,
    WAIT,
    Policy,
    Verdict,
    judge,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import (
    DO_NOT_DISRUPT,
    DRAIN_TIMEOUT,
    SAFE_TO_EVICT,
    Controller,
    Pod,
    pod_from,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.moments import ServerTime, parse_go_duration
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import MARKS, node_from

START = 1000.0  # of the drain's clock
CORDONED = "2026-11-21T11:00:00Z"
HOUR = 3600.0
STRICT = Policy()

PLAIN = Pod("shop", "web-1-x", "uid-1", "node-a", controller=Controller("apps/v1", "ReplicaSet", "web-1", "owner-1"))
BATCH = replace(PLAIN, drain_wish="wait-completed")
REPORT = replace(PLAIN, labels={"app": "report"})


def annotated(pod: Pod = PLAIN, **annotations: str) -> Pod:
    names = {"timeout": DRAIN_TIMEOUT, "safe": SAFE_TO_EVICT, "disrupt": DO_NOT_DISRUPT}
    return replace(pod, annotations={names[name]: value for name, value in annotations.items()})


SPARED = annotated(safe="false")
YOUNG = replace(annotated(disrupt="45m"), started="2026-11-21T11:30:00Z")
OLD = replace(YOUNG, started="2026-11-21T11:15:00Z")


def times(mark: str = f'{{"cordoned": true, "since": "{CORDONED}"}}', cordoned: bool = True) -> Times:
    clock = FakeClock(START)
    server = ServerTime(clock)
    server.hear("Sat, 21 Nov 2026 12:00:00 GMT")
    node = a_node("node-a", "i-0123", unschedulable=cordoned, annotations={MARKS: mark} if mark else {})
    return Times(server, clock, [node_from(node)])


def verdict_on(pod: Pod, policy: Policy = STRICT) -> Verdict:
    return judge(pod, policy, lambda _pod, _controller: True, times())


def words(remarks: Any) -> list[str]:
    return [remark.reason for remark in remarks]


@pytest.mark.parametrize(
    ("pod", "option", "until"),
    [
        (BATCH, None, 19 * HOUR),
        (BATCH, {"timeout": "3h"}, 2 * HOUR),
        (annotated(BATCH, timeout="90m"), {"timeout": "3h"}, 0.5 * HOUR),
        (annotated(BATCH, timeout="30"), None, 30 - HOUR),
        (annotated(BATCH, timeout="tonight"), None, 19 * HOUR),
        (REPORT, {"selector": "app=report"}, 19 * HOUR),
        (REPORT, {"selector": "app=other"}, None),
        (REPORT, {"selector": ""}, None),
        (PLAIN, None, None),
    ],
)
def test_how_long_a_pod_is_left_to_complete(pod: Pod, option: Any, until: float | None) -> None:
    verdict = verdict_on(pod, Policy(completions=Completions.of(option)))
    assert (verdict.hold.until - START if verdict.hold else None) == until
    assert verdict.action == (EVICT if until is None else REFUSE)


@pytest.mark.parametrize(
    ("mark", "cordoned", "until"),
    [
        (f'{{"cordoned": true, "since": "{CORDONED}"}}', True, 19 * HOUR),
        # Somebody else's cordon, or none of ours any more: it is waited for from now on.
        ("", True, 20 * HOUR),
        ('{"cordoned": true}', True, 20 * HOUR),
        (f'{{"cordoned": true, "since": "{CORDONED}"}}', False, 20 * HOUR),
        ("{broken", True, 20 * HOUR),
        # Another controller's clock was ahead.
        ('{"cordoned": true, "since": "2026-11-22T00:00:00Z"}', True, 20 * HOUR),
    ],
)
def test_the_time_counts_from_our_cordon(mark: str, cordoned: bool, until: float) -> None:
    assert Completions().hold(BATCH, times(mark, cordoned)).until == START + until


@pytest.mark.parametrize(
    ("pod", "policy", "action", "reasons"),
    [
        (BATCH, {}, REFUSE, ["not_completed"]),
        (BATCH, {"then": "evict"}, EVICT, []),
        (replace(BATCH, empty_dirs=("cache",)), {"then": "evict"}, REFUSE, ["local_storage"]),
        (replace(BATCH, empty_dirs=("cache",), controller=None), {}, REFUSE, ["not_completed"]),
    ],
)
def test_what_becomes_of_a_pod_that_has_not_completed(
    pod: Pod, policy: dict[str, str], action: str, reasons: list[str]
) -> None:
    verdict = verdict_on(pod, Policy(completions=Completions.of(policy)))
    assert (verdict.action, words(verdict.reasons), verdict.hold.reason) == (action, reasons, "completing")


@pytest.mark.parametrize(
    ("pod", "action", "reason"),
    [
        (replace(BATCH, phase="Succeeded"), SKIP, "completed"),
        (replace(BATCH, phase="Failed"), SKIP, "completed"),
        (replace(PLAIN, phase="Failed"), DELETE, ""),
        (replace(BATCH, terminating=True), WAIT, "completing"),  # waited for, and not to be hurried
        (replace(PLAIN, terminating=True), WAIT, ""),
        (replace(PLAIN, drain_wish="skip"), SKIP, "opted_out"),
        (replace(PLAIN, drain_wish="skip", controller=None, empty_dirs=("a",), terminating=True), SKIP, "opted_out"),
        (replace(SPARED, phase="Succeeded"), DELETE, ""),
        (replace(SPARED, daemon=True), SKIP, "daemonset"),
        (replace(BATCH, mirror=True), SKIP, "mirror"),
    ],
)
def test_who_is_not_left_to_complete_or_alone(pod: Pod, action: str, reason: str) -> None:
    verdict = verdict_on(pod)
    assert (verdict.action, "".join(words(verdict.reasons)), verdict.hold) == (action, reason, None)


@pytest.mark.parametrize(
    ("pod", "allowed", "action", "reasons", "warnings", "until"),
    [
        (SPARED, REFUSE, REFUSE, ["protected"], [], None),
        (SPARED, WAIT, EVICT, [], [], "for ever"),
        (SPARED, EVICT, EVICT, [], ["protected"], None),
        (annotated(safe="true"), REFUSE, EVICT, [], [], None),
        (annotated(disrupt="true"), REFUSE, REFUSE, ["protected"], [], None),
        (annotated(disrupt="false"), REFUSE, EVICT, [], [], None),
        (annotated(disrupt="always"), REFUSE, EVICT, [], ["unreadable_annotation"], None),
        (YOUNG, REFUSE, REFUSE, ["protected"], [], None),
        (YOUNG, WAIT, EVICT, [], [], 0.25 * HOUR),
        (YOUNG, EVICT, EVICT, [], ["protected"], None),
        (OLD, REFUSE, EVICT, [], [], None),
        (OLD, WAIT, EVICT, [], [], None),
        # As with Karpenter: it fails safe.
        (replace(YOUNG, started=""), WAIT, EVICT, [], [], "for ever"),
        (replace(annotated(disrupt="45m", safe="false"), started=YOUNG.started), WAIT, EVICT, [], [], "for ever"),
        (replace(SPARED, controller=None), WAIT, REFUSE, ["unmanaged"], [], None),
        (replace(SPARED, drain_wish="wait-completed"), WAIT, REFUSE, ["not_completed"], [], "for ever"),
        (replace(PLAIN, eviction_responders=("db",)), REFUSE, EVICT, [], ["eviction_responders"], None),
        (annotated(BATCH, timeout="1x"), REFUSE, REFUSE, ["not_completed"], ["unreadable_annotation"], 19 * HOUR),
    ],
)
def test_pods_that_are_protected(
    pod: Pod, allowed: str, action: str, reasons: list[str], warnings: list[str], until: Any
) -> None:
    verdict = verdict_on(pod, Policy(protected_pods=allowed))
    assert (verdict.action, words(verdict.reasons), words(verdict.warnings)) == (action, reasons, warnings)
    if verdict.hold is None:
        assert until is None
    else:
        assert ("for ever" if verdict.hold.until is None else verdict.hold.until - START) == until


def test_deadlines_are_named() -> None:
    assert "2026-11-22T07:00:00Z" in verdict_on(BATCH).hold.message
    assert "2026-11-22T07:00:00Z" in verdict_on(BATCH).reasons[0].message
    assert "2026-11-21T12:15:00Z" in verdict_on(YOUNG).reasons[0].message


@pytest.mark.parametrize(
    ("option", "text"), [({"timeout": "a day"}, "wait_for_completion.timeout"), ({"selector": "a in b"}, "a in b")]
)
def test_an_option_that_cannot_be_understood_is_named(option: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        Completions.of(option)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("1h30m0s", 5400), ("1.5h", 5400), ("500ms", 0.5), ("+2s", 2)]
    + [(text, None) for text in ("", "0s", "-5m", "15", "1d", "true", "15 m")],
)
def test_durations_of_go(text: str, seconds: float | None) -> None:
    assert parse_go_duration(text) == seconds


@pytest.mark.parametrize(
    ("annotations", "labels", "wish"),
    [
        ({"evergreen.eks/drain": "skip"}, {}, "skip"),
        ({}, {"evergreen.eks/drain": "wait-completed"}, "wait-completed"),
        ({}, {"cluster.x-k8s.io/drain": "skip"}, "skip"),
        ({}, {"cluster.x-k8s.io/drain": "Wait-Completed"}, "wait-completed"),
        ({"cluster.x-k8s.io/drain": "skip"}, {}, ""),
        ({"evergreen.eks/drain": "wait-completed"}, {"cluster.x-k8s.io/drain": "skip"}, "wait-completed"),
        ({"evergreen.eks/drain": "later"}, {}, ""),
    ],
)
def test_what_a_pod_asks_for_is_read(annotations: dict[str, str], labels: dict[str, str], wish: str) -> None:
    metadata = {"namespace": "shop", "name": "web", "annotations": {**annotations, "other": "x"}, "labels": labels}
    pod = pod_from({"metadata": metadata})
    assert (pod.drain_wish, dict(pod.annotations)) == (wish, {})


def test_what_else_is_read_of_a_pod() -> None:
    pod = pod_from(
        {
            "metadata": {"namespace": "shop", "name": "web", "annotations": {SAFE_TO_EVICT: "false", "a": "b"}},
            "spec": {"priorityClassName": "high", "evictionResponders": [{"name": "db.example.com"}]},
            "status": {"startTime": CORDONED},
        }
    )
    assert dict(pod.annotations) == {SAFE_TO_EVICT: "false"}
    assert (pod.priority_class, pod.eviction_responders, pod.started) == ("high", ("db.example.com",), CORDONED)
