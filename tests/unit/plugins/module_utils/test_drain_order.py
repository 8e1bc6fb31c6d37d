# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.drain.answers import Answer
from ansible_collections.evergreen.eks.plugins.module_utils.drain.completion import Hold
from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import (
    DELETE,
    EVICT,
    REFUSE,
    SKIP,
    WAIT,
    Remark,
    Verdict,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import NodeDrain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.order import BY_PRIORITY, Order, Turns, parse_order
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import node_from

POLL = 5.0
NOON = "2026-11-21T12:00:00Z"
LEAVES = Verdict(EVICT)
FIRST = Pod("shop", "web", "uid-web", "node-a", labels={"app": "web"})
SECOND = Pod("shop", "db", "uid-db", "node-a", labels={"app": "db"}, priority_class="high")
CRITICAL = Pod("kube-system", "dns", "uid-dns", "node-a", priority_class="system-cluster-critical")
NODE_CRITICAL = replace(CRITICAL, priority_class="system-node-critical")
ACCEPTED = Answer("accepted")
COMPLETING = Hold("completing", "it is waited for", until=100.0, deadline="2026-11-21T13:00:00Z")
FOR_EVER = Hold("protected", "safe-to-evict is false")


@pytest.mark.parametrize(
    ("order", "ranks"),
    [
        ("priority", [0, 0, 1, 1]),
        (None, [0, 0, 1, 1]),
        ("", [0, 0, 1, 1]),
        ([{"selector": "app=db"}], [1, 0, 2, 2]),
        ('[{"selector": "app=db"}]', [1, 0, 2, 2]),
        ([{"selector": "app!=db"}], [0, 1, 0, 0]),
        ([{"priority_class": "system-cluster-critical"}, {"priority_class": "high"}], [2, 1, 0, 3]),
        ([{"selector": "app"}, {"priority_class": "high"}], [0, 0, 3, 3]),
        ([{"selector": ""}, {"priority_class": "high"}], [0, 0, 0, 0]),
    ],
)
def test_the_wave_of_a_pod(order: Any, ranks: list[int]) -> None:
    parsed = parse_order(order)
    assert [parsed.rank(pod) for pod in (FIRST, SECOND, CRITICAL, NODE_CRITICAL)] == ranks


@pytest.mark.parametrize(
    "order",
    [
        "size",
        "[",
        [],
        7,
        ["app=web"],
        [{"selector": "app in web"}],
        [{"selector": 3}],
        [{"priority_class": ""}],
        [{"selector": "a", "priority_class": "b"}],
        [{"label": "app=web"}],
    ],
)
def test_an_order_that_cannot_be_understood_is_refused(order: Any) -> None:
    with pytest.raises(InvalidInput):
        parse_order(order)


def test_the_time_of_a_wave_may_be_a_duration() -> None:
    assert [parse_order("priority", text).timeout for text in ("0", "90", "5m")] == [0, 90, 300]
    with pytest.raises(InvalidInput, match="order_timeout: 'soon' is not a duration"):
        parse_order("priority", "soon")


def test_without_a_time_the_next_wave_waits_for_ever() -> None:
    turns = Turns(Order())
    assert [turns.open(ranks, now) for ranks, now in (([2, 0, 1], 0), ([0, 1], 1e6), ([1], 1e6), ([], 1e6))] == [
        0,
        0,
        1,
        0,
    ]
    assert turns.next_at is None


def test_with_one_each_wave_has_that_long() -> None:
    turns = Turns(Order(timeout=60))
    assert turns.open([0, 1, 2], 10) == 0 and turns.next_at == 70
    assert turns.open([0, 1, 2], 69) == 0
    assert turns.open([0, 1, 2], 70) == 1 and turns.next_at == 130
    assert turns.open([0, 2], 80) == 2, "the second is gone, and the time of the first is over"
    assert turns.open([0, 1, 2], 90) == 1, "one of the second has come back"


def drain(*pods: tuple[Pod, Verdict], order: Order = BY_PRIORITY) -> NodeDrain:
    it = NodeDrain(
        node_from({"metadata": {"name": "node-a", "uid": "n"}, "spec": {"unschedulable": True}}), POLL, order
    )
    it.see_all(pods, now=0)
    return it


def due(it: NodeDrain, now: float) -> list[str]:
    return [departure.pod.name for departure in it.due(now)]


def send(it: NodeDrain, now: float) -> None:
    for departure in it.due(now):
        it.sent(departure)
        it.answered(departure, ACCEPTED, now, NOON)


def blocked(it: NodeDrain) -> dict[str, str]:
    return {entry["pod"].split("/")[1]: entry["reason"] for entry in it.result(NOON)["blocked"]}


def test_the_next_wave_begins_when_the_former_is_gone_not_when_it_is_evicted() -> None:
    it = drain((CRITICAL, LEAVES), (FIRST, LEAVES))
    assert due(it, 0) == ["web"]
    send(it, 0)
    assert due(it, 1) == [] and blocked(it) == {"web": "terminating", "dns": "not_its_turn"}
    assert "shop/web" in next(entry for entry in it.result(NOON)["blocked"] if entry["pod"].endswith("dns"))["message"]
    it.see_gone(FIRST.uid)
    assert due(it, 2) == ["dns"]


def test_or_when_its_time_is_over() -> None:
    it = drain((CRITICAL, LEAVES), (FIRST, LEAVES), order=Order(timeout=60))
    send(it, 0)
    assert due(it, 59) == [] and it.next_due() == 60.0
    assert "dns" in due(it, 60)


def test_every_wave_is_asked_for_in_check_mode() -> None:
    it = drain((CRITICAL, LEAVES), (FIRST, LEAVES))
    assert [one.pod.name for one in it.due(0, in_order=False)] == ["dns", "web"]


def test_finished_pods_are_of_no_wave() -> None:
    it = drain((FIRST, LEAVES), (replace(CRITICAL, phase="Succeeded"), Verdict(DELETE)))
    assert due(it, 0) == ["web", "dns"]


def test_who_waits_for_one_that_never_goes_leaves_no_hope_unless_the_wave_has_a_time() -> None:
    refused = Verdict(REFUSE, (Remark("unmanaged", "no controller"),))
    for order, hopeless in ((Order(), True), (Order(timeout=60), False)):
        it = drain((CRITICAL, LEAVES), (FIRST, refused), order=order)
        it.tell_time(0)
        assert it.hopeless is hopeless


# --- on hold


@pytest.mark.parametrize(
    ("verdict", "before", "after"),
    [
        (Verdict(EVICT, hold=COMPLETING), "completing", "not_sent"),
        (Verdict(REFUSE, (Remark("not_completed", "late"),), hold=COMPLETING), "completing", "not_completed"),
        (Verdict(EVICT, hold=FOR_EVER), "protected", "protected"),
    ],
)
def test_a_pod_on_hold_is_not_evicted_before_its_time(verdict: Verdict, before: str, after: str) -> None:
    it = drain((FIRST, verdict), (CRITICAL, LEAVES))
    assert due(it, 99) == [] and blocked(it)["web"] == before and not it.refused and not it.hopeless
    assert it.next_due() == verdict.hold.until
    assert due(it, 100) == (["web"] if after == "not_sent" else []) and blocked(it)["web"] == after
    assert it.hopeless is (after == "not_completed") and not it.refused


def test_only_waiting_is_when_nothing_else_is_left_to_do() -> None:
    completing = (FIRST, Verdict(EVICT, hold=COMPLETING))
    other = replace(SECOND, priority_class="")
    for more, only in (
        ([], True),
        ([(CRITICAL, LEAVES)], True),
        ([(other, LEAVES)], False),
        ([(replace(other, terminating=True), Verdict(WAIT))], False),
        ([(other, Verdict(EVICT, hold=FOR_EVER))], False),
    ):
        it = drain(completing, *more)
        it.tell_time(50)
        assert it.only_waits is only, more
        it.tell_time(100)
        assert not it.only_waits
    it = drain((FIRST, LEAVES))
    it.tell_time(0)
    assert not it.only_waits


def test_a_pod_on_hold_is_not_stuck_until_that_is_over() -> None:
    it = drain((FIRST, Verdict(REFUSE, (Remark("not_completed", "late"),), hold=COMPLETING)))
    (departure,) = it.leaving
    assert not departure.stuck(99, 30)
    it.tell_time(100)
    assert not departure.stuck(129, 30) and departure.stuck(130, 30)


@pytest.mark.parametrize(
    ("happens", "outcome"),
    [
        ([], "waiting"),
        (["succeeds"], "succeeded"),
        (["succeeds", "gone"], "succeeded"),
        (["fails"], "failed"),
        (["gone"], "gone"),
        (["opts out"], "released"),
        (["over"], "overdue"),
        (["over", "evicted", "gone"], "evicted"),
        (["terminating", "gone"], "gone"),
        (["node dies"], "abandoned"),
    ],
)
def test_what_came_of_a_pod_that_was_waited_for(happens: list[str], outcome: str) -> None:
    it = drain((FIRST, Verdict(EVICT, hold=COMPLETING)))
    ended = Verdict(SKIP, (Remark("completed", "it has ended"),))
    for event in happens:
        if event == "gone":
            it.see_gone(FIRST.uid)
        elif event == "over":
            it.tell_time(100)
        elif event == "node dies":
            it.node_gone()
        elif event == "evicted":
            send(it, 100)
        elif event == "terminating":
            it.see(replace(FIRST, terminating=True), Verdict(WAIT), 50)
        else:
            phase = {"succeeds": "Succeeded", "fails": "Failed"}.get(event, "Running")
            it.see(replace(FIRST, phase=phase), ended, 50)
    (wait,) = it.result(NOON)["waited"]
    expected = {"pod": "shop/web", "reason": "completing", "until": COMPLETING.deadline, "outcome": outcome}
    assert wait == expected
    assert bool(it.leaving) is (outcome in ("waiting", "overdue"))


def test_a_pod_that_changes_its_mind_is_heeded_either_way() -> None:
    stays = Verdict(SKIP, (Remark("opted_out", "it asks to be left"),))
    it = drain((FIRST, LEAVES))
    it.see(FIRST, stays, 1)
    assert not it.leaving and [entry["reason"] for entry in it.result(NOON)["skipped"]] == ["opted_out"]
    it.see(FIRST, LEAVES, 2)
    assert due(it, 2) == ["web"] and it.result(NOON)["skipped"] == []
    for verdict, outcome in ((Verdict(EVICT, hold=COMPLETING), "waiting"), (stays, "released")) * 2:
        it.see(FIRST, verdict, 3)
        assert [wait["outcome"] for wait in it.result(NOON)["waited"]] == [outcome]
