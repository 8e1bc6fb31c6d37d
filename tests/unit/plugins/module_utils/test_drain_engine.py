# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The deciding thread of a drain, round by round; what it sends and reads is only noted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.drain import engine
from ansible_collections.evergreen.eks.plugins.module_utils.drain.answers import Answer
from ansible_collections.evergreen.eks.plugins.module_utils.drain.completion import Hold
from ansible_collections.evergreen.eks.plugins.module_utils.drain.dead import Vitals
from ansible_collections.evergreen.eks.plugins.module_utils.drain.engine import Course, Drain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import EVICT, Verdict
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import NodeDrain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.plan import Plan, Request
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.drain.run import DRAIN_OPTIONS
from ansible_collections.evergreen.eks.plugins.module_utils.moments import ServerTime
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import FloorView, Node, node_from
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, patience

POLL = 5.0
NOON = "2026-11-21T12:00:00Z"
POD = Pod("shop", "web-1", "uid-1", "node-a")
LEAVES = Verdict(EVICT)
NO = Answer("retry", "budget", "The disruption budget web needs 2", "web")


class Api:
    """Stands for the client; nothing is asked of it here."""

    def __init__(self, clock: FakeClock) -> None:
        self.time = ServerTime(clock)
        self.time.hear("Sat, 21 Nov 2026 13:00:00 GMT")
        self.briefly = self.once = self


class Silent:
    """A watch that never says anything, and a pool that never does anything but note it."""

    def __init__(self, *_watched: Any, **_listeners: Any) -> None:
        self.submitted: list[Any] = []

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def submit(self, function: Any, *subject: Any) -> None:
        self.submitted.append((function.__name__, *subject))


def node(ready: str = "True") -> Node:
    return node_from(
        {
            "metadata": {"name": "node-a", "uid": "n"},
            "spec": {"unschedulable": True, "providerID": "aws:///z/i-0123"},
            "status": {"conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": NOON}]},
        }
    )


class Rounds:
    """A drain of one node. What it has sent and read is in ``sent`` and ``read``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, one: Node, *, floor: Any = None, **options: Any) -> None:
        monkeypatch.setattr(engine, "PodWatch", Silent)
        self.clock = FakeClock()
        self.node = NodeDrain(one, POLL)
        self.node.see_all([(POD, LEAVES)], self.clock.now())
        defaults = {name: option.get("default") for name, option in DRAIN_OPTIONS.items()}
        request = Request.of({**defaults, "nodes": ["node-a"], "poll_seconds": POLL, **options})
        plan = Plan([self.node], {"node-a": "1"}, {}, lambda _pod: LEAVES, self.clock.now())
        self.drain = Drain(request, plan, Api(self.clock), None, floor, Call(self.clock))
        self.drain._evictions = self.pool = Silent()
        self.read: list[str] = []
        self.drain._read = lambda function, *_subject: self.read.append(function.__name__)
        self.drain._budgets.known = lambda: True

    @property
    def sent(self) -> list[str]:
        return [function for function, *_subject in self.pool.submitted]

    @property
    def course(self) -> Course:
        (course,) = self.drain._courses
        return course

    @property
    def over(self) -> bool:
        return not self.drain._courses

    def begin(self, later: float = 0.0) -> None:
        self.clock.sleep(later)
        self.drain._begin_nodes()
        self.drain._tend(self.course)

    def tend(self, later: float = POLL) -> None:
        self.clock.sleep(later)
        self.drain._tend(self.course)


def test_a_node_that_has_waited_for_its_place_is_looked_at_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was dead an hour ago; its pods get a second to stop only if it still is."""
    it = Rounds(monkeypatch, node("Unknown"))
    it.begin(later=3600)
    assert it.sent == [] and it.read == ["_read_node"]
    it.drain._saw_all(it.course, [(POD, LEAVES)])
    it.tend()
    assert it.sent == [], "its pods are known, and it is not"
    it.drain._saw_node(it.course, Vitals(node()))
    it.tend()
    assert it.sent == ["_evict"] and not it.course.drain.vitals.dead


def test_a_node_whose_turn_it_is_at_once_is_known_from_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Rounds(monkeypatch, node())
    it.begin()
    assert it.sent == ["_evict"] and it.read == []


def test_what_the_watch_has_seen_since_is_younger_than_the_list_that_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Rounds(monkeypatch, node())
    it.begin()
    it.drain._saw_gone(it.course, POD.uid)
    it.tend()
    assert it.read == ["_confirm"]
    landed = Pod("shop", "late", "uid-2", "node-a")
    it.drain._saw(it.course, (landed, LEAVES))
    it.drain._confirmed(it.course, [])
    assert [departure.pod for departure in it.course.drain.leaving] == [landed]


def test_a_list_that_confirms_may_tell_of_a_pod_that_the_watch_has_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Rounds(monkeypatch, node())
    it.begin()
    it.drain._saw_gone(it.course, POD.uid)
    it.tend()
    it.drain._confirmed(it.course, [(Pod("shop", "late", "uid-2", "node-a"), LEAVES)])
    assert it.course.drain.leaving and not it.course.detaching


STEPS = [{"after": "10m", "action": "delete", "budgets": "overrule"}]


class Floor:
    """Is never asked: what it would say is told by the test."""


def at_least(min_ready: int) -> FloorView:
    """A look at a group without any member."""
    group = SimpleNamespace(name="shared", desired_capacity=1, max_size=1, strength=())
    return FloorView(group=group, min_ready=min_ready, standings=(), nodes=())


def refused_for_long(it: Rounds) -> None:
    """Its eviction is refused, and its time is over."""
    it.begin()
    (departure,) = it.course.drain.leaving
    departure.sending = False
    it.course.drain.answered(departure, NO, it.clock.now(), NOON)
    departure.not_before = float("inf")
    it.clock.sleep(900)


def test_steps_are_not_hoped_for_without_end_where_too_few_nodes_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    floor = {"floor": Floor(), "asg_name": "shared", "min_ready": 3}
    it = Rounds(monkeypatch, node(), on_timeout="escalate", escalation=STEPS, **floor)
    refused_for_long(it)
    began = it.clock.now()
    while not it.over and it.clock.now() < began + 2 * patience(POLL):
        it.drain._saw_floor(at_least(3))
        it.drain._saw_all(it.course, [(POD, LEAVES)])
        it.tend()
    assert it.over and "_force" not in it.sent
    assert patience(POLL) <= it.clock.now() - began <= patience(POLL) + 2 * POLL


def test_a_step_is_taken_when_enough_nodes_are_ready_again(monkeypatch: pytest.MonkeyPatch) -> None:
    floor = {"floor": Floor(), "asg_name": "shared", "min_ready": 0}
    it = Rounds(monkeypatch, node(), on_timeout="escalate", escalation=STEPS, **floor)
    refused_for_long(it)
    for min_ready in (1, 1, 0):
        it.drain._saw_floor(at_least(min_ready))
        assert "_force" not in it.sent
        it.tend()
    assert it.sent.count("_force") == 1 and not it.over


def test_what_was_not_tried_is_not_given_up_where_so_many_are_silent_that_the_control_plane_may_be_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = Rounds(monkeypatch, node("Unknown"), floor=Floor(), asg_name="shared", min_ready=0)
    report = Pod("shop", "report", "uid-2", "node-a")
    it.node.see(report, Verdict(EVICT, hold=Hold("completing", "a batch", until=1e6)), it.clock.now())
    it.begin()
    it.drain._saw_floor(at_least(1))
    it.drain._saw_node(it.course, Vitals(node("Unknown")))
    assert it.node.abandoned == [] and it.sent == []
    it.drain._saw_node(it.course, Vitals(node("Unknown"), "terminated"))
    assert it.node.abandoned == ["shop/report"], "EC2 leaves no doubt"
    it.drain._saw_floor(at_least(0))
    it.drain._saw_node(it.course, Vitals(node("Unknown")))
    assert it.node.abandoned == ["shop/report"]
