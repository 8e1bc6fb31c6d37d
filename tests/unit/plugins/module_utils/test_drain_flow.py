# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.drain.answers import Answer
from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import Budget
from ansible_collections.evergreen.eks.plugins.module_utils.drain.flow import (
    EVICTIONS_AT_ONCE,
    EVICTIONS_AT_ONCE_ON_A_NODE,
    PROBE_LOOKS,
    Flow,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod

LOOK = 5.0
WEB = Budget(
    "shop",
    "web",
    selector={"matchLabels": {"app": "web"}},
    desired_healthy=6,
    current_healthy=8,
    expected_pods=8,
    disruptions_allowed=2,
)
ACCEPTED = Answer("accepted")
NO = Answer("retry", "budget", "The disruption budget web needs 6 healthy pods and has 6 currently", "web")
NOT_NOW = "does not allow evicting pods currently"
LOST = Answer("retry", "api_error", "connection reset")
CONFLICT = Answer("retry", "conflict", "another UID")


@dataclass(frozen=True)
class Leaving:
    pod: Pod


class Node:
    """A node in hand: counts how often it was woken."""

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def pods(count: int, app: str = "web", **changes: Any) -> list[Leaving]:
    one = Pod("shop", "", "", "node-a", labels={"app": app})
    return [Leaving(replace(one, name=f"{app}-{n}", uid=f"{app}-{n}", **changes)) for n in range(count)]


def flow(*budgets: Budget) -> Flow[Leaving]:
    it: Flow[Leaving] = Flow(LOOK)
    it.ledger.see_all(budgets, 0)
    return it


def admitted(it: Flow[Leaving], due: list[Leaving], now: float, node: Node | None = None) -> list[str]:
    return [one.pod.name for one in it.admit(node or Node(), due, now)[0]]


def names(count: int, start: int = 0) -> list[str]:
    return [f"web-{n}" for n in range(start, start + count)]


def test_no_more_is_sent_than_the_budget_grants_whoever_asks() -> None:
    it, due = flow(WEB), pods(4)
    sent, refused = it.admit(Node(), due[:3], 0)
    assert [one.pod.name for one in sent] == names(2)
    assert [(one.pod.name, answer.reason, answer.budget) for one, answer in refused] == [("web-2", "budget", "web")]
    assert "grants no more than the 2" in refused[0][1].message
    assert admitted(it, due[3:], 0) == []


def test_what_a_status_shows_is_not_counted_twice() -> None:
    it, due, node = flow(WEB), pods(4), Node()
    it.admit(node, due[:2], 0)
    it.answered(node, due[0].pod, ACCEPTED, 0.1)
    shown = replace(WEB, disruptions_allowed=1, disrupted_pods={"web-0": "12:00"})
    it.ledger.see(shown, 0.2)
    assert admitted(it, due[2:], 0.2) == [], "the one that is granted may be for web-1, which is under way"
    it.ledger.see(replace(shown, disruptions_allowed=0, disrupted_pods={"web-0": "", "web-1": ""}), 0.3)
    it.answered(node, due[1].pod, ACCEPTED, 0.4)
    assert admitted(it, due[2:], 0.4) == []
    it.ledger.see(replace(shown, disruptions_allowed=1, disrupted_pods={"web-1": ""}), 20)
    assert admitted(it, due[2:], 20) == ["web-2"]


@pytest.mark.parametrize(
    ("answer", "later", "again"),
    [
        (ACCEPTED, 0, False),
        (ACCEPTED, LOOK, True),  # it was none of the budget's business: no status ever shows it
        (LOST, 0, False),
        (LOST, LOOK, True),
        (CONFLICT, 0, True),
        (NO, 0, False),  # the ledger was wrong: rest a look, then two, ...
        (NO, LOOK, True),
    ],
)
def test_what_was_sent_counts_until_its_answer_and_a_look_longer_where_it_may_have_been_granted(
    answer: Answer, later: float, again: bool
) -> None:
    it, (first, second), node = flow(replace(WEB, disruptions_allowed=1)), pods(2), Node()
    it.admit(node, [first], 0)
    assert admitted(it, [second], 1000) == [], "it is still under way"
    it.answered(node, first.pod, answer, 1000)
    assert bool(admitted(it, [second], 1000 + later)) is again


def test_a_budget_that_refuses_what_its_status_grants_is_asked_less_and_less_until_the_status_is_news() -> None:
    it, (one, *_others), node, now, pauses = flow(WEB), pods(1), Node(), 0.0, []
    for _attempt in range(6):
        it.admit(node, [one], now)
        it.answered(node, one.pod, NO, now)
        pause = next(looks for looks in range(100) if it.ledger.refusal(one.pod, node, now + looks * LOOK) is None)
        pauses.append(pause)
        now += pause * LOOK
    assert pauses == [1, 2, 4, 8, PROBE_LOOKS, PROBE_LOOKS]
    it.ledger.see(replace(WEB, current_healthy=9), now)
    assert it.ledger.refusal(one.pod, node, now) is None


def test_a_budget_that_grants_nothing_is_tried_now_and_then_with_one_pod() -> None:
    it, due = flow(replace(WEB, disruptions_allowed=0, current_healthy=6)), pods(3)
    (_one, answer), *_more = it.admit(Node(), due, 0)[1]
    assert answer.message == NO.message
    later = PROBE_LOOKS * LOOK
    assert admitted(it, due, later - 1) == [] and admitted(it, due, later) == ["web-0"]
    assert admitted(it, due[1:], later) == [] and admitted(it, due[1:], 2 * later - 1) == []


def test_who_waited_longest_is_woken_as_many_as_there_is_room_for() -> None:
    it, waiting, (pod, *_others) = flow(replace(WEB, disruptions_allowed=0)), [Node(), Node(), Node()], pods(1)
    for node in waiting:
        it.admit(node, [pod], 0)
    it.leave(waiting[0])
    assert it.ledger.see(replace(WEB, disruptions_allowed=1), 1) == [waiting[1]]
    assert it.ledger.see(replace(WEB, disruptions_allowed=2), 2) == [waiting[2]]
    assert it.ledger.see(replace(WEB, disruptions_allowed=3), 3) == []


@pytest.mark.parametrize(
    ("change", "sent"),
    [
        ({"ready": False}, 4),
        ({"phase": "Pending"}, 4),
        ({"phase": "Failed"}, 4),
        ({"labels": {"app": "other"}}, 4),
        ({"namespace": "elsewhere"}, 4),
        ({}, 2),
    ],
)
def test_what_no_budget_counts_does_not_wait_for_one(change: dict[str, Any], sent: int) -> None:
    assert len(admitted(flow(WEB), pods(4, **change), 0)) == sent


def test_an_unready_pod_waits_where_too_few_are_healthy_and_the_policy_guards_it() -> None:
    sick = replace(WEB, current_healthy=5, disruptions_allowed=0)
    assert admitted(flow(sick), pods(1, ready=False), 0) == []
    assert admitted(flow(replace(sick, unhealthy_policy="AlwaysAllow")), pods(1, ready=False), 0) == ["web-0"]


def test_of_several_budgets_the_server_says_itself_that_it_cannot_be() -> None:
    assert admitted(flow(WEB, replace(WEB, name="other", disruptions_allowed=0)), pods(1), 0) == ["web-0"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"generation": 2}, "is still being processed by the server."),
        ({"condition_reason": "SyncFailed", "condition_message": "no"}, f"{NOT_NOW} because it failed sync: no"),
        ({"disruptions_allowed": -1}, NOT_NOW),
        ({"disrupted_pods": {f"p{n}": "" for n in range(2001)}}, NOT_NOW),
        ({"current_healthy": 6}, "needs 6 healthy pods and has 6 currently"),
    ],
)
def test_a_budget_out_of_order_grants_nothing_and_says_so_in_the_servers_words(
    change: dict[str, Any], words: str
) -> None:
    (_one, answer), *_more = flow(replace(WEB, **{"disruptions_allowed": 0, **change})).admit(Node(), pods(1), 0)[1]
    assert answer.message == f"The disruption budget web {words}"


def test_budgets_that_come_change_and_go_are_followed() -> None:
    it, due, node = flow(), pods(1), Node()
    assert it.ledger.refusal(due[0].pod, node, 0) is None
    it.ledger.see(replace(WEB, disruptions_allowed=0), 0)
    assert it.ledger.refusal(due[0].pod, node, 0)
    assert it.ledger.see_gone("shop", "web") == [node]
    assert it.ledger.refusal(due[0].pod, node, 0) is None
    it.ledger.see(replace(WEB, disruptions_allowed=0), 0)
    assert it.ledger.refusal(due[0].pod, node, 0)
    it.ledger.see(replace(WEB, disruptions_allowed=0, selector={"matchLabels": {"app": "other"}}), 0)
    assert it.ledger.refusal(due[0].pod, node, 0) is None
    assert it.ledger.see_all([replace(WEB, name="new", disruptions_allowed=0)], 0) == [node]
    assert it.ledger.refusal(due[0].pod, node, 0)
    assert it.ledger.forget() == [node] and it.ledger.refusal(due[0].pod, node, 0) is None


def test_a_node_and_the_whole_have_a_number_of_places() -> None:
    it, nodes = flow(), [Node() for _number in range(5)]
    due = pods(20)
    counts = [len(it.admit(node, due, 0)[0]) for node in nodes]
    assert counts == [EVICTIONS_AT_ONCE_ON_A_NODE] * (EVICTIONS_AT_ONCE // EVICTIONS_AT_ONCE_ON_A_NODE) + [0]
    it.answered(nodes[0], due[0].pod, ACCEPTED, 1)
    assert nodes[0].woken == 1 and nodes[4].woken == 1, "the one has a place of its own, the other was out of places"
    assert len(it.admit(nodes[4], due, 1)[0]) == 1


def test_flow_control_lets_everybody_rest_as_long_as_the_server_says() -> None:
    it, (first, second), node = flow(), pods(2), Node()
    it.admit(node, [first], 0)
    it.answered(node, first.pod, Answer("retry", "rate_limited", "too many", pause=7, everybody=True), 1)
    assert admitted(it, [second], 7.9) == [] and admitted(it, [second], 8) == ["web-1"]


def test_whether_anything_may_be_sent_is_asked_only_where_something_could_be() -> None:
    asked: list[bool] = []

    def no() -> bool:
        asked.append(True)
        return False

    it = flow(replace(WEB, disruptions_allowed=0))
    assert len(it.admit(Node(), pods(2), 0, no)[1]) == 2 and not asked
    assert it.admit(Node(), pods(2, app="free"), 0, no) == ([], []) and asked


def test_a_budget_that_comes_while_an_eviction_is_under_way_costs_the_other_no_room_for_ever() -> None:
    it, (first, other), node = flow(replace(WEB, disruptions_allowed=1)), pods(2), Node()
    it.admit(node, [first], 0)
    it.ledger.see(replace(WEB, name="second"), 1)
    it.answered(node, first.pod, LOST, 2)
    it.ledger.see_gone("shop", "second")
    assert admitted(it, [other], 2 + LOOK) == ["web-1"]
