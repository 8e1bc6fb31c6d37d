# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from unit.fakes import FakeClock
from unit.pictures import JUST_NOW, NOW, node, picture, pod, workload

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.gate_watch import (
    Question,
    Watcher,
    is_young,
    keep_picture,
    pass_gate,
)
from ansible_collections.evergreen.eks.plugins.module_utils.picture import Picture, read_picture
from ansible_collections.evergreen.eks.plugins.module_utils.picture_place import PictureFile
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Journal

POLL = 5.0
CRASH = "CrashLoopBackOff"
OPTIONS: dict[str, Any] = {
    "looks": 3,
    "timeout": 60.0,
    "settle_seconds": 20.0,
    "max_new_unhealthy": 0,
    "max_restarts": 3,
    "critical_namespaces": ["kube-system"],
    "ignore": [],
    "gates": [],
}

Seen = Sequence[Any]


def crashing(name: str = "web-1", **changes: Any) -> Any:
    return pod(name, CRASH, since=JUST_NOW, **changes)


def starting(name: str) -> Any:
    return pod(name, phase="Pending", node="", since=JUST_NOW)


class Watched:
    """A gate before a cluster that looks as scripted, one entry a look; the last one lasts."""

    def __init__(
        self, *looks: Seen, before: Seen = (), journal: str | None = None, check: bool = False, **options: Any
    ):
        self.clock = FakeClock()
        self.options = {**OPTIONS, **options}
        self.call = Call(clock=self.clock, journal=Journal(journal, self.clock), check_mode=check)
        self._script = list(looks)
        self.watcher = Watcher(Question.of(self.options), picture(*before), self._take, self.call)

    def _take(self) -> Picture:
        seen = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return picture(*seen, taken=NOW)

    def passed(self) -> dict[str, Any]:
        return pass_gate(self.watcher, self.call, self.options["timeout"], POLL, lambda: True)

    def closed(self) -> EvergreenError:
        with pytest.raises(EvergreenError) as caught:
            self.passed()
        return caught.value


def names(found: Sequence[dict[str, Any]]) -> list[str]:
    return [item["object"] for item in found]


def test_a_gate_opens_after_so_many_clear_looks_in_a_row() -> None:
    watched = Watched([])
    answer = watched.passed()
    assert (answer["passed"], answer["changed"], answer["looked"]) == (True, False, 3)
    assert watched.clock.sleeps == [POLL, POLL]


@pytest.mark.parametrize(
    ("taken", "young"),
    [
        ("2026-11-21T01:02:03Z", True),
        ("2026-11-21T01:01:53Z", True),
        ("2026-11-21T01:01:52Z", False),
        ("2026-11-21T01:02:04Z", False),  # by another clock: nobody knows
    ],
)
def test_a_picture_of_just_now_is_a_look_itself(taken: str, young: bool) -> None:
    assert is_young(picture(taken=taken), Call(clock=FakeClock(), journal=Journal(None, FakeClock())), 10) is young


def test_what_passes_by_itself_begins_the_row_anew() -> None:
    answer = Watched([], [], [crashing()], [crashing()], []).passed()
    assert (answer["looked"], answer["worse"]) == (7, [])


def test_what_is_there_from_the_first_look_on_must_be_over() -> None:
    error = Watched([crashing()], settle_seconds=600.0).closed()
    assert error.reason == "gate_closed" and names(error.details["worse"]) == ["Deployment shop/web"]
    assert error.details["looked"] == 13 and not error.details["passed"]
    assert str(error).startswith(
        "Worse than in the picture of 2026-11-21T01:00:00Z: 1 thing (0 allowed) after 60 s: Deployment shop/web has "
    )
    assert "then run again" in error.remedy


def test_a_gate_closes_when_something_comes_up_and_lasts() -> None:
    error = Watched([], [], [crashing()], settle_seconds=20.0).closed()
    (found,) = error.details["worse"]
    assert (found["object"], found["settled"]) == ("Deployment shop/web", True)
    assert Watched([], [], *[[crashing()]] * 5, [], settle_seconds=30.0).passed()["looked"] == 10


@pytest.mark.parametrize(
    ("seen", "looked"),
    [
        (starting("web-1"), 3),
        (workload(ready=1), 3),
        (crashing(), 13),  # looks broken: watched to the end
        (node("n2", ready=False, since=JUST_NOW), 13),
    ],
)
def test_what_comes_up_and_has_not_lasted_is_told_and_does_not_close(seen: Any, looked: int) -> None:
    answer = Watched([workload()], [seen], before=[workload()], settle_seconds=600.0).passed()
    assert (answer["looked"], answer["worse"], len(answer["settling"])) == (looked, [], 1)


def test_in_a_busy_cluster_in_which_something_always_starts_the_gate_opens() -> None:
    looks = [[starting(f"web-{number}")] for number in range(30)]
    answer = Watched(*looks).passed()
    assert answer["looked"] == 4  # the first look's pod is over at the second
    assert names(answer["settling"]) == ["Deployment shop/web"]


def test_a_workload_that_flaps_closes_the_gate_and_what_closed_it_is_named() -> None:
    looks = [[workload()], [workload(ready=1)], [workload(ready=1)], [workload()]]
    error = Watched(*looks, before=[workload()], settle_seconds=0.0, timeout=15.0).closed()
    assert error.details["looked"] == 4
    assert names(error.details["worse"]) == ["Deployment shop/web"]
    assert "after 15 s, and not for 3 looks in a row otherwise: Deployment shop/web has 1 of 3 Ready" in str(error)


@pytest.mark.parametrize(
    ("seen", "options"),
    [
        ([crashing()], {"max_new_unhealthy": 1}),
        ([crashing(namespace="ci")], {"ignore": [{"namespace": "ci", "selector": None}]}),
        ([crashing()], {"ignore": [{"namespace": None, "selector": "app in (web)"}]}),
        ([pod(restarts=9)], {"max_restarts": 9}),
    ],
)
def test_what_is_allowed_opens_the_gate(seen: Seen, options: dict[str, Any]) -> None:
    assert Watched(seen, **options).passed()["passed"]


def test_what_is_allowed_is_told() -> None:
    assert names(Watched([crashing()], max_new_unhealthy=1).passed()["worse"]) == ["Deployment shop/web"]


def test_nothing_is_allowed_in_a_critical_namespace() -> None:
    error = Watched([crashing("dns-1", namespace="kube-system")], max_new_unhealthy=3).closed()
    assert "1 thing (3 allowed, none in kube-system)" in str(error)
    assert Watched([crashing()], critical_namespaces=["shop"], max_new_unhealthy=3).closed().reason == "gate_closed"


def test_the_first_few_are_named_in_the_message_and_all_in_the_result() -> None:
    ill = [crashing(f"p{number}", owner="") for number in range(7)]
    error = Watched(ill).closed()
    assert "7 things" in str(error) and "Pod shop/p4" in str(error) and "Pod shop/p5" not in str(error)
    assert "; and 2 more" in str(error) and len(error.details["worse"]) == 7


def gates(*expressions: str) -> list[dict[str, Any]]:
    return [{"name": text, "expression": text, "msg": None} for text in expressions]


def test_a_condition_that_is_not_met_closes_the_gate() -> None:
    error = Watched([node()], gates=gates("length(nodes) == `1`", "length(nodes) == `2`")).closed()
    assert error.reason == "user_gate" and [item["name"] for item in error.details["unmet"]] == ["length(nodes) == `2`"]
    assert "The cluster is not as its operator wants it after 60 s: gate 'length(nodes) == `2`' is not met" in str(
        error
    )


def test_a_condition_may_come_true_in_time() -> None:
    assert Watched([], [], [node()], gates=gates("length(nodes) == `1`")).passed()["looked"] == 5


def test_where_both_are_wrong_the_cluster_is_the_reason_and_both_are_named() -> None:
    error = Watched([crashing()], gates=gates("`false`")).closed()
    assert error.reason == "gate_closed" and "Deployment shop/web" in str(error) and "gate '`false`'" in str(error)


def test_in_check_mode_one_look_is_told_whatever_it_sees() -> None:
    answer = Watched([crashing()], check=True).passed()
    assert (answer["passed"], answer["looked"]) == (False, 1)
    assert names(answer["worse"]) == ["Deployment shop/web"]
    assert Watched([], check=True).passed()["passed"]


def test_the_journal_has_one_line_for_each_change_and_heartbeats(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    ill = [crashing()]
    looks = [ill, ill, ill, ill, ill, ill, [], [], []]
    Watched(*looks, journal=str(path), gates=gates("length(pods) <= `1`"), settle_seconds=10.0).passed()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["progress", "worse", "better", "picture_compared", "gate_passed"]
    assert lines[0]["text"].startswith("1 thing worse than in the picture, 0 of them may still settle; Deployment")
    assert lines[1]["text"].startswith("Deployment shop/web has 1 pod (web-1) in a crash loop")
    assert lines[2]["text"] == "Deployment shop/web is no worse any more"
    assert (lines[3]["worse"], lines[3]["better"]) == ([], []) and lines[3]["numbers"]["pods"] == 0
    assert (lines[4]["text"], lines[4]["looked"]) == ("gate passed after 9 looks", 9)


@pytest.mark.parametrize(
    "options",
    [
        {"looks": 0},
        {"timeout": -1.0},
        {"settle_seconds": -1.0},
        {"max_new_unhealthy": -1},
        {"max_restarts": -1},
        {"ignore": [{"namespace": None, "selector": "a=b=c"}]},
        {"gates": gates("no(such)")},
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Question.of({**OPTIONS, **options})


# ---- the picture that is compared with


@pytest.mark.parametrize(
    ("known", "run", "kept"),
    [
        (None, "run-1", False),
        ("run-1", "run-1", True),
        ("run-1", "run-2", False),
        ("run-1", "", True),
        ("", "r", False),
    ],
)
def test_the_picture_of_a_run_is_kept_and_that_of_another_replaced(
    known: str | None, run: str, kept: bool, tmp_path: Path
) -> None:
    place = PictureFile(tmp_path / "picture")
    before = None if known is None else picture(node("old"), run=known)
    answer = keep_picture(run, before, lambda: picture(node("new"), run=run, taken=NOW), place, Call(clock=FakeClock()))
    assert answer["changed"] is not kept and answer["place"] == str(tmp_path / "picture")
    content = place.read()
    assert (content is None) is kept
    if content:
        assert read_picture(content, "") == picture(node("new"), run=run, taken=NOW)


def test_in_check_mode_no_picture_is_kept(tmp_path: Path) -> None:
    place = PictureFile(tmp_path / "picture")
    take: Callable[[], Picture] = picture
    assert keep_picture("", None, take, place, Call(clock=FakeClock(), check_mode=True))["changed"]
    assert place.read() is None
