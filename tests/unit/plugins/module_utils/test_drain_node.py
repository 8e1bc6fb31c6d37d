# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.drain.answers import Answer
from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import Budget
from ansible_collections.evergreen.eks.plugins.module_utils.drain.completion import Hold
from ansible_collections.evergreen.eks.plugins.module_utils.drain.dead import Vitals
from ansible_collections.evergreen.eks.plugins.module_utils.drain.diagnosis import Diagnosis
from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import (
    DELETE,
    EVICT,
    REFUSE,
    SKIP,
    WAIT,
    Remark,
    Verdict,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import PATIENCE_LOOKS, RETURNS, NodeDrain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Controller, Pod
from ansible_collections.evergreen.eks.plugins.module_utils.moments import ServerTime
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import node_from

POLL = 5.0
NOON = "2026-11-21T12:00:00Z"
OWNER = Controller("apps/v1", "ReplicaSet", "web", "owner")
POD = Pod("shop", "web-1", "uid-1", "node-a", controller=OWNER)
LEAVES = Verdict(EVICT)
ACCEPTED = Answer("accepted")
BLOCKED = Answer("retry", "budget", "The disruption budget web needs 2", "web")
LOST = Answer("retry", "api_error", "connection reset")


def node(ready: str = "True"):
    return node_from(
        {
            "metadata": {"name": "node-a", "uid": "n"},
            "spec": {"unschedulable": True, "providerID": "aws:///z/i-0123"},
            "status": {"conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": NOON}]},
        }
    )


def time_at(seconds: float) -> ServerTime:
    """The API server's time so many seconds after noon."""
    time = ServerTime(FakeClock())
    time.hear(f"Sat, 21 Nov 2026 12:{int(seconds) // 60:02}:{int(seconds) % 60:02} GMT")
    return time


def drain(*pods: tuple[Pod, Verdict]) -> NodeDrain:
    it = NodeDrain(node(), POLL)
    it.see_all(pods, now=0)
    return it


def send_all(it: NodeDrain, answer: Answer, now: float = 0) -> list[bool]:
    due = it.due(now)
    for departure in due:
        it.sent(departure)
    return [it.answered(departure, answer, now, NOON) for departure in due]


def going(pod: Pod) -> tuple[Pod, Verdict]:
    return replace(pod, terminating=True), Verdict(WAIT)


def test_a_pod_is_evicted_once_and_the_node_is_empty_when_it_is_gone() -> None:
    it = drain((POD, LEAVES))
    send_all(it, ACCEPTED)
    it.see(*going(POD), now=1)
    assert it.due(2) == [] and it.leaving
    it.see_gone(POD.uid)
    assert not it.leaving and it.evicted == ["shop/web-1"]


def test_the_answer_may_come_after_the_pod_has_gone() -> None:
    it = drain((POD, LEAVES))
    (departure,) = it.due(0)
    it.sent(departure)
    it.see_gone(POD.uid)
    it.answered(departure, ACCEPTED, 1, NOON)
    assert it.evicted == ["shop/web-1"]


def test_an_eviction_whose_answer_was_lost_counts_when_the_pod_goes() -> None:
    it = drain((POD, LEAVES))
    send_all(it, LOST)
    it.see(*going(POD), now=1)
    it.see_gone(POD.uid)
    assert it.evicted == ["shop/web-1"]


def test_a_pod_that_somebody_else_took_away_was_not_evicted_by_us() -> None:
    it = drain((POD, LEAVES))
    send_all(it, BLOCKED)
    it.see(*going(POD), now=1)
    it.see_gone(POD.uid)
    assert not it.leaving and it.evicted == []


def test_a_blocked_pod_is_tried_again_after_a_look_and_at_most_three() -> None:
    it = drain((POD, LEAVES))
    now, pauses = 0.0, []
    for _attempt in range(8):
        send_all(it, BLOCKED, now)
        assert it.due(now) == []
        pauses.append(it.next_due() - now)
        now = it.next_due()
    assert 0.75 * POLL <= pauses[0] <= POLL
    assert all(0.75 * POLL <= pause <= 3 * POLL for pause in pauses)


def test_an_obstacle_is_told_when_it_stands_after_a_second_try_and_when_it_changes() -> None:
    it = drain((POD, LEAVES))
    told = []
    for number, answer in enumerate([BLOCKED, BLOCKED, BLOCKED, LOST]):
        told += send_all(it, answer, now=100.0 * number)
    assert told == [False, True, False, True]


def test_a_permanent_obstacle_is_told_at_once_and_leaves_no_hope() -> None:
    other = replace(POD, name="web-2", uid="uid-2")
    it = drain((POD, LEAVES), (other, LEAVES))
    first, second = it.due(0)
    it.sent(first)
    assert it.answered(first, Answer("permanent", "several_budgets", "more than one"), 0, NOON)
    assert it.due(1000) == [second] and not it.hopeless
    it.see_gone(other.uid)
    assert it.hopeless


def test_nothing_is_sent_while_the_pods_are_out_of_sight() -> None:
    it = drain((POD, LEAVES))
    it.fresh = False
    assert it.due(0) == [] and it.next_due() is None and not it.hopeless


def test_after_an_outage_what_is_seen_counts_a_few_looks_later() -> None:
    it = drain((POD, LEAVES))
    assert not it.settled(POLL) and it.settled(2 * POLL)
    it.lose_sight("The Kubernetes API cannot be reached")
    assert not it.settled(100) and it.out_of_sight
    it.lose_sight("")
    assert it.out_of_sight, "the reason stays known until the pods are seen again"
    it.see_all([(POD, LEAVES)], now=100)
    it.see_all([(POD, LEAVES)], now=100 + POLL)
    assert not it.out_of_sight and not it.settled(100 + POLL) and it.settled(100 + 2 * POLL)


def test_a_pod_of_the_same_name_with_another_uid_is_another_pod() -> None:
    it = drain((POD, LEAVES))
    send_all(it, ACCEPTED)
    successor = replace(POD, uid="uid-2")
    it.see_all([(successor, LEAVES)], now=1)
    assert it.evicted == ["shop/web-1"]
    assert [departure.pod for departure in it.due(1)] == [successor]


def test_a_pod_that_lands_meanwhile_leaves_too() -> None:
    it = drain()
    it.see(POD, LEAVES, now=3)
    assert [departure.pod for departure in it.due(3)] == [POD]


def test_a_controller_that_does_not_heed_the_cordon_is_not_followed_for_ever() -> None:
    it = drain()
    for number in range(RETURNS):
        it.see(replace(POD, uid=f"uid-{number}"), LEAVES, now=number)
        send_all(it, ACCEPTED, now=number)
        it.see_gone(f"uid-{number}")
    it.see(replace(POD, uid="last"), LEAVES, now=100)
    assert it.due(1000) == [] and it.hopeless
    assert it.result(NOON)["blocked"][0]["reason"] == "keeps_returning"


def test_a_finished_pod_is_deleted_and_not_waited_for() -> None:
    it = drain((replace(POD, phase="Succeeded"), Verdict(DELETE)))
    assert it.leaving
    send_all(it, BLOCKED)
    assert not it.leaving and it.due(1000) == []


def test_a_finished_pod_is_not_waited_for_either_when_a_finalizer_holds_it() -> None:
    finished = replace(POD, phase="Succeeded", finalizers=("example.com/held",))
    it = drain((finished, Verdict(DELETE)))
    send_all(it, ACCEPTED)
    it.see(*going(finished), now=1)
    assert not it.leaving and it.due(1000) == []
    it.see_gone(finished.uid)
    assert it.evicted == ["shop/web-1"]


def test_an_accepted_eviction_without_effect_is_asked_again() -> None:
    it = drain((POD, LEAVES))
    send_all(it, ACCEPTED)
    assert it.due(PATIENCE_LOOKS * POLL - 1) == []
    assert len(it.due(PATIENCE_LOOKS * POLL)) == 1


@pytest.mark.parametrize("answer", [ACCEPTED, BLOCKED, LOST])
def test_a_pod_of_a_dead_node_is_given_up_when_its_eviction_was_tried(answer: Answer) -> None:
    it = drain((POD, LEAVES))
    it.look_at(Vitals(node("Unknown")), time_at(1000), 60)
    assert it.abandoned == [] and it.due(0)
    send_all(it, answer)
    it.look_at(Vitals(node("Unknown")), time_at(59), 60)
    assert it.abandoned == [] and it.leaving
    it.look_at(Vitals(node("Unknown")), time_at(60), 60)
    assert it.result(NOON)["abandoned"] == ["shop/web-1"] and not it.leaving
    it.see(*going(POD), now=200)
    assert it.abandoned == ["shop/web-1"] and not it.due(1000)
    it.look_at(Vitals(node("True")), time_at(61), 60)
    assert it.abandoned == [] and it.leaving, "it lives again, and so do its pods"
    it.look_at(Vitals(node("True"), "terminated"), time_at(62), 60)
    assert it.abandoned == ["shop/web-1"]
    it.see_gone(POD.uid)
    assert it.abandoned == [], "after all somebody has told"


def test_what_must_not_be_evicted_is_not_given_up_but_with_its_node() -> None:
    it = drain((POD, Verdict(REFUSE, (Remark("unmanaged", "no controller"),))))
    it.look_at(Vitals(node("Unknown")), time_at(1000), 60)
    assert it.abandoned == [] and it.hopeless
    it.node_gone()
    assert it.abandoned == ["shop/web-1"]


def test_on_a_dead_node_nobody_is_hopeless_who_will_be_given_up() -> None:
    """Two budgets select its pod, which the eviction API does not support: on a living node that is the end."""
    it = drain((POD, LEAVES))
    it.look_at(Vitals(node("Unknown")), time_at(59), 60)
    send_all(it, Answer("permanent", "several_budgets", "more than one"))
    assert not it.hopeless
    it.look_at(Vitals(node("Unknown")), time_at(60), 60)
    assert it.abandoned == ["shop/web-1"] and not it.leaving
    it.look_at(Vitals(node("True")), time_at(61), 60)
    assert it.hopeless


def test_who_has_not_completed_in_time_is_given_up_with_a_dead_node() -> None:
    overdue = Verdict(REFUSE, (Remark("not_completed", "a batch"),), hold=Hold("completing", "a batch", until=-1.0))
    it = drain((POD, overdue))
    assert it.hopeless
    it.look_at(Vitals(node("Unknown")), time_at(59), 60)
    assert it.leaving and not it.hopeless
    it.look_at(Vitals(node("Unknown")), time_at(60), 60)
    assert it.abandoned == ["shop/web-1"] and not it.hopeless


def test_who_was_waited_for_is_given_up_with_a_dead_node() -> None:
    it = drain((POD, Verdict(EVICT, hold=Hold("completing", "a batch", until=10_000.0))))
    assert it.leaving and it.only_waits
    it.look_at(Vitals(node("Unknown")), time_at(60), 60)
    assert it.abandoned == ["shop/web-1"]


def test_the_result_names_what_is_in_the_way() -> None:
    refusal = Verdict(REFUSE, (Remark("unmanaged", "no controller"), Remark("local_storage", "emptyDir")))
    skipped = Verdict(SKIP, (Remark("daemonset", "it would come back"),))
    it = drain(
        (replace(POD, name="bare", uid="b"), refusal),
        (replace(POD, name="agent", uid="c"), skipped),
        (POD, LEAVES),
        going(replace(POD, name="slow", uid="d", finalizers=("example.com/held",))),
    )
    send_all(it, BLOCKED)
    result = it.result(NOON)
    assert result["skipped"] == [{"pod": "shop/agent", "reason": "daemonset"}]
    assert [(entry["pod"], entry["reason"], entry["budget"]) for entry in result["blocked"]] == [
        ("shop/bare", "unmanaged", ""),
        ("shop/slow", "terminating", ""),
        ("shop/web-1", "budget", "web"),
    ]
    assert "example.com/held" in result["blocked"][1]["message"]
    assert result["blocked"][2]["attempts"] == 1 and result["blocked"][2]["since"] == NOON


def test_what_the_floor_held_back_says_so() -> None:
    it = drain((POD, LEAVES))
    it.held_back("2 of 3 members are Ready, at least 3 must remain")
    assert it.result(NOON)["blocked"][0]["reason"] == "below_floor"


def test_a_pod_is_stuck_once_its_obstacle_has_stood_for_a_while() -> None:
    it = drain((POD, LEAVES))
    (departure,) = it.due(0)
    assert not departure.stuck(1000, 30), "nothing has been asked yet"
    send_all(it, BLOCKED, now=100)
    assert not departure.stuck(129, 30) and departure.stuck(130, 30)
    send_all(it, LOST, now=200)
    assert departure.stuck(201, 30), "another obstacle does not start it anew"


def test_a_pod_that_was_asked_to_stop_is_stuck_a_while_after_its_grace() -> None:
    it = drain((POD, LEAVES))
    it.see(*going(replace(POD, grace_seconds=600)), now=100)
    (departure,) = it.leaving
    assert not departure.stuck(729, 30) and departure.stuck(730, 30)
    assert not departure.blocked(NOON, now=700).overdue and departure.blocked(NOON, now=701).overdue


def test_a_pod_that_landed_and_must_not_be_evicted_is_stuck_from_then_on() -> None:
    it = drain()
    it.see(POD, Verdict(REFUSE, (Remark("unmanaged", "no controller"),)), now=50)
    (departure,) = it.leaving
    assert not departure.stuck(79, 30) and departure.stuck(80, 30)


def diagnosis(kind: str, reason: str = "budget", budgets: tuple = (Budget("shop", "web"),)) -> Diagnosis:
    return Diagnosis(kind, reason, "shop/web-1", "node-a", "", NOON, "the cause", "the remedy", budgets)


@pytest.mark.parametrize(
    ("diagnoses", "told", "kind"),
    [
        ([diagnosis("exhausted"), diagnosis("exhausted")], [True, False], "exhausted"),
        ([diagnosis("exhausted"), diagnosis("impossible"), diagnosis("exhausted")], [True] * 3, "exhausted"),
        # Trouble of the API is no news about the pod, and what could not be read is none either.
        (
            [diagnosis("exhausted"), diagnosis("api_error", "api_error", ()), diagnosis("exhausted")],
            [True, False, False],
            "exhausted",
        ),
        ([diagnosis("api_error", "api_error", ()), diagnosis("exhausted")], [True, True], "exhausted"),
        ([diagnosis("impossible"), diagnosis("exhausted", budgets=())], [True, False], "impossible"),
    ],
)
def test_a_diagnosis_is_told_when_it_is_of_another_kind(
    diagnoses: list[Diagnosis], told: list[bool], kind: str
) -> None:
    it = drain((POD, LEAVES))
    send_all(it, BLOCKED)
    (departure,) = it.leaving
    for one, worth_telling in zip(diagnoses, told):
        departure.obstacle = Answer("retry", one.reason)
        assert departure.learn(one) is worth_telling
    record = it.result(NOON)["blocked"][0]
    assert (record["class"], record["cause"], record["remedy"]) == (kind, "the cause", "the remedy")


def test_a_diagnosis_of_what_was_in_the_way_before_is_not_shown() -> None:
    it = drain((POD, LEAVES))
    send_all(it, BLOCKED)
    (departure,) = it.leaving
    departure.learn(diagnosis("impossible"))
    assert departure.explained
    it.see(*going(POD), now=1)
    assert not departure.explained and not departure.learn(diagnosis("exhausted"))
    assert it.result(NOON)["blocked"][0]["class"] == "stopping"
