# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of the pods that do not leave, and what of a drain as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.drain import answers
from ansible_collections.evergreen.eks.plugins.module_utils.drain.answers import Answer
from ansible_collections.evergreen.eks.plugins.module_utils.drain.blocks import Blocks
from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import EVICT, Verdict
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import NodeDrain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.plan import Plan
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.drain.report import DRAINED, Report
from ansible_collections.evergreen.eks.plugins.module_utils.journal import Journal
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import node_from
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

NO = Answer(answers.RETRY, answers.BUDGET, "The disruption budget web needs 2", "web")
AT = "2026-11-21T01:02:03Z"


class Scene:
    """A drain of two nodes with three pods each, and its journal."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.path = FakeClock(), folder / "journal.jsonl"
        self.call = Call(clock=self.clock, journal=Journal(str(self.path), self.clock))
        self.drains = [NodeDrain(node_from({"metadata": {"name": name, "uid": name}}), 5.0) for name in ("a", "b")]
        for drain in self.drains:
            name = drain.node.name
            pods = [Pod("web", f"web-{name}{number}", f"uid-{name}{number}", name) for number in range(3)]
            drain.see_all([(pod, Verdict(EVICT)) for pod in pods], self.clock.now())
        self.blocks = Blocks(self.call)

    def refuse(self, *uids: str, answer: Answer = NO) -> None:
        for drain in self.drains:
            for departure in drain.departures.values():
                if departure.pod.uid in uids:
                    departure.meet(answer, self.clock.now(), AT)
                    self.blocks.met(drain, departure)

    def go(self, *uids: str) -> None:
        for drain in self.drains:
            for uid in uids:
                drain.see_gone(uid)

    def pass_time(self, seconds: int) -> None:
        for _second in range(seconds):
            self.clock.sleep(1)
            self.blocks.look(self.drains)

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [event for event in found if not kinds or event["kind"] in kinds]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_budget_that_lets_pods_go_in_half_a_minute_is_no_news(scene: Scene) -> None:
    scene.refuse("uid-a0", "uid-b0")
    scene.pass_time(29)
    scene.go("uid-a0", "uid-b0")
    scene.pass_time(60)

    assert [event for event in scene.events() if "text" in event] == []
    assert [(event["uid"], event["seconds"]) for event in scene.events("pod_unblocked")] == [
        ("uid-a0", 30),
        ("uid-b0", 30),
    ]


def test_a_budget_that_does_not_is_one_line_and_one_when_that_is_over(scene: Scene) -> None:
    scene.refuse("uid-a0", "uid-a1")
    scene.pass_time(10)
    scene.refuse("uid-b0")
    scene.pass_time(120)
    scene.go("uid-a0", "uid-a1", "uid-b0")
    scene.pass_time(5)

    told, over = scene.events("pods_blocked", "pods_unblocked")
    assert (told["kind"], told["budget"], told["reason"]) == ("pods_blocked", "web/web", "budget")
    assert 30 <= told["seconds"] <= 50 and "web/web-a0" in told["pods"] and told["nodes"][0] == "a"
    assert told["text"].startswith("web/web-a0 and ") and "The disruption budget web needs 2" in told["text"]
    assert (over["kind"], over["budget"]) == ("pods_unblocked", "web/web") and 130 <= over["seconds"] <= 132


def test_each_obstacle_has_its_own_line(scene: Scene) -> None:
    scene.refuse("uid-a0")
    scene.refuse("uid-a1", answer=Answer(answers.RETRY, "webhook_denied", "the webhook says no"))
    scene.pass_time(60)
    assert sorted(event["class"] for event in scene.events("pods_blocked")) == ["budget", "webhook_denied"]


def test_at_the_end_it_is_told_however_long_it_has_been(scene: Scene) -> None:
    scene.refuse("uid-a0")
    leaving = [(drain, departure) for drain in scene.drains for departure in drain.leaving]
    scene.blocks.tell(leaving, 0.0)
    assert [event["pods"] for event in scene.events("pods_blocked")] == [["web/web-a0"]]


@pytest.mark.parametrize(
    ("refused", "summary"),
    [
        ([], (0, "")),
        ([("uid-a0", NO)], (1, "1 blocked by web/web for 40 s")),
        (
            [("uid-a0", NO), ("uid-b1", NO), ("uid-b2", Answer(answers.RETRY, "webhook_denied", "no"))],
            (3, "2 blocked by web/web for 40 s, 1 by others"),
        ),
    ],
)
def test_who_blocks_in_a_few_words(scene: Scene, refused: list[tuple[str, Answer]], summary: tuple[int, str]) -> None:
    for uid, answer in refused:
        scene.refuse(uid, answer=answer)
    scene.clock.sleep(40)
    leaving = [(drain, departure) for drain in scene.drains for departure in drain.leaving]
    assert scene.blocks.summary(leaving) == summary


# ---- the drain as a whole


def test_a_drain_says_how_far_it_is_when_nothing_moves(scene: Scene) -> None:
    report = Report(Plan(scene.drains, {}, {}, lambda _pod: Verdict(EVICT), 0.0), scene.call)
    report.began()
    for drain in scene.drains:
        report.taken_in_hand(drain, scene.clock.now())
    scene.clock.sleep(29)
    report.heartbeat(scene.drains)
    assert scene.events("progress") == []
    scene.go("uid-a0", "uid-a1", "uid-a2")
    report.finished(scene.drains[0], DRAINED, 29.0)
    scene.refuse("uid-b0")
    scene.clock.sleep(29)
    report.heartbeat(scene.drains[1:])
    assert scene.events("progress") == [], "somebody was told something just now"
    scene.clock.sleep(1)
    report.heartbeat(scene.drains[1:])
    report.heartbeat(scene.drains[1:])

    (beat,) = scene.events("progress")
    assert beat["text"] == ("[#####.....] drained 1/2 nodes, 3/6 pods, 1 blocked by web/web for 30 s, about 60 s left")
    assert {name: beat[name] for name in ("nodes_done", "nodes", "pods_done", "pods", "blocked", "seconds_left")} == {
        "nodes_done": 1,
        "nodes": 2,
        "pods_done": 3,
        "pods": 6,
        "blocked": 1,
        "seconds_left": 59,
    }
    texts = [event["text"] for event in scene.events("drain_begun", "node_stage") if "text" in event]
    assert texts == ["draining 2 nodes, 6 pods to leave", "drained, 0 pods in 29 s"]
