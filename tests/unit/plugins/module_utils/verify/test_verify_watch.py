# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.fakes import FakeClock
from unit.pictures import picture, pod, workload
from unit.verifications import NEW, OLD, WANTED, a_group, a_ready_node, a_scene

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.journal import Journal
from ansible_collections.evergreen.eks.plugins.module_utils.verify.checks import NAMES
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import Scene, Sidecar, Wanted
from ansible_collections.evergreen.eks.plugins.module_utils.verify.watch import (
    Verifier,
    terms_of,
    verify,
    watched,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

POLL = 5.0
SYSTEM = {"namespace": "kube-system"}
OPTIONS = {"checks": [], "ignore": [], "settle_seconds": 20.0, "max_restarts": 3, "looks": 2, "timeout": 60.0}


def well(*more: Any) -> Scene:
    return a_scene(a_ready_node("a"), *more)


def ill() -> Scene:
    """coredns lacks a pod: that may pass."""
    return well(workload("coredns", 1, 2, **SYSTEM))


def old() -> Scene:
    """A node of another version: that does not pass."""
    return a_scene(a_ready_node("a", OLD))


class Watched:
    """A verification of a cluster that looks like this, look by look; the last one lasts."""

    def __init__(self, *looks: Scene, before: Any = None, wanted: Wanted = WANTED, **options: Any) -> None:
        self.clock = FakeClock()
        journal = options.pop("journal", None)
        check = options.pop("check", False)
        self.call = Call(clock=self.clock, journal=Journal(journal, self.clock), check_mode=check)
        self.params = {**OPTIONS, **options}
        script = list(looks)

        def see() -> tuple[Scene, Wanted]:
            return (script.pop(0) if len(script) > 1 else script[0]), wanted

        terms = terms_of(self.params)
        compared = before is not None
        self.verifier = (
            watched(terms, see, self.call, before, self.params) if compared else Verifier(terms, see, self.call)
        )

    def passed(self) -> dict[str, Any]:
        return verify(self.verifier, self.call, self.params["timeout"], POLL, lambda: True)

    def failed(self) -> EvergreenError:
        with pytest.raises(EvergreenError) as caught:
            self.passed()
        assert caught.value.reason == "unhealthy"
        return caught.value


def objects(found: list[dict[str, Any]]) -> list[str]:
    return [one["object"] for one in found]


def test_a_cluster_that_is_well_is_so_after_as_many_looks_as_were_asked_for() -> None:
    watched_one = Watched(well())
    answer = watched_one.passed()
    assert (answer["healthy"], answer["changed"], answer["looked"], answer["findings"]) == (True, False, 2, [])
    assert watched_one.clock.sleeps == [POLL]


def test_what_is_wrong_for_good_is_not_waited_for() -> None:
    error = Watched(old()).failed()
    assert error.details["looked"] == 2 and objects(error.details["findings"]) == [
        "Nodes outside of node groups (1.31)"
    ]
    assert str(error).startswith("1 thing not as it should be: 1 node in no node group has version 1.31")
    assert "Have them replaced" in error.remedy and "ignore" in error.remedy


def test_what_may_pass_is_waited_for() -> None:
    answer = Watched(ill(), ill(), ill(), well()).passed()
    assert (answer["healthy"], answer["looked"]) == (True, 5)


def test_what_is_there_from_the_first_look_on_and_does_not_pass_is_an_error() -> None:
    error = Watched(ill(), settle_seconds=600.0).failed()
    assert objects(error.details["findings"]) == ["Deployment kube-system/coredns"]
    assert error.details["looked"] == 13


def test_what_comes_up_meanwhile_counts_once_it_has_lasted() -> None:
    error = Watched(well(), ill(), settle_seconds=20.0).failed()
    assert objects(error.details["findings"]) == ["Deployment kube-system/coredns"]
    answer = Watched(well(), *[ill(), well()] * 20, settle_seconds=20.0).passed()
    assert answer["healthy"] and answer["looked"] == 13
    late = Watched(*[well(workload("other", 1, 2, **SYSTEM))] * 12, ill(), settle_seconds=20.0).passed()
    assert objects(late["settling"]) == ["Deployment kube-system/coredns"] and late["findings"] == []


def test_a_warning_fails_nothing_and_is_not_waited_for() -> None:
    answer = Watched(a_scene(a_ready_node("a", cordoned=True))).passed()
    assert (answer["healthy"], answer["looked"]) == (True, 2)
    assert [(one["check"], one["severity"]) for one in answer["findings"]] == [("cordons", "warning")]


def test_what_is_left_out_is_told_apart_and_not_waited_for() -> None:
    answer = Watched(ill(), ignore=["kube_system:Deployment kube-system/core*"]).passed()
    assert (answer["looked"], answer["findings"]) == (2, [])
    assert objects(answer["ignored"]) == ["Deployment kube-system/coredns"]


def test_errors_come_first_then_the_order_of_the_checks() -> None:
    scene = a_scene(a_ready_node("a", OLD, cordoned=True), groups=(a_group("shared", "i-a", version=OLD),))
    found = Watched(scene).failed().details["findings"]
    assert [(one["check"], one["severity"]) for one in found] == [
        ("node_versions", "error"),
        ("leftover_groups", "error"),
        ("leftover_groups", "error"),
        ("cordons", "warning"),
    ]


def test_how_each_check_came_out() -> None:
    answer = Watched(a_scene(a_ready_node("a", cordoned=True)), ignore=["marks"]).passed()
    assert set(answer["checks"]) == set(NAMES)
    expected = {"cordons": "warning", "marks": "skipped", "snapshot": "skipped", "sidecars": "skipped"}
    assert {name: how for name, how in answer["checks"].items() if how != "ok"} == expected
    asked = Wanted(NEW, sidecars=(Sidecar("a", "true", "c"),))
    assert Watched(well(), wanted=asked, before=picture()).passed()["checks"]["snapshot"] == "ok"


# ---- the snapshot


def test_nothing_is_worse_than_in_the_snapshot() -> None:
    crashing = pod("web-1", "CrashLoopBackOff")
    error = Watched(well(pod("web-1"), crashing), before=picture(a_ready_node("a"), pod("web-1"))).failed()
    (found,) = error.details["findings"]
    assert (found["check"], found["object"]) == ("snapshot", "Deployment shop/web")
    assert "it was well in the picture" in found["message"]
    assert Watched(well(crashing), before=picture(a_ready_node("a"), crashing)).passed()["looked"] == 2
    assert Watched(well(crashing), before=picture(), ignore=["snapshot:Deployment shop/*"]).passed()["looked"] == 2


def test_a_thing_is_named_once() -> None:
    before = picture(a_ready_node("a"), workload("coredns", 2, 2, **SYSTEM))
    error = Watched(ill(), before=before).failed()
    assert [one["check"] for one in error.details["findings"]] == ["kube_system"]


# ---- check mode, journal, words


def test_in_check_mode_it_looks_once_and_fails_for_nothing() -> None:
    answer = Watched(ill(), check=True).passed()
    assert (answer["healthy"], answer["looked"]) == (False, 1)
    assert objects(answer["findings"]) == ["Deployment kube-system/coredns"]


def test_the_journal_tells_what_came_what_went_and_how_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Watched(ill(), well(), journal=str(path)).passed()
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event["kind"] for event in events] == ["finding", "finding_over", "verified"]
    assert events[0]["object"] == events[1]["object"] == "Deployment kube-system/coredns"
    assert events[2]["healthy"] and events[2]["text"].startswith(
        "verified after 3 looks: 0 errors, 0 warnings; 1 of 1 nodes"
    )


def test_two_things_that_are_wrong_with_one_object_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    group = a_group("shared", "i-a", version=OLD, image="amazon-eks-node-1.31-v1")
    Watched(a_scene(a_ready_node("a", cordoned=True), groups=(group,)), journal=str(path)).failed()
    events = [json.loads(line) for line in path.read_text().splitlines()]
    told = [event["text"] for event in events if event["kind"] == "finding"]
    assert len(told) == 3 and "would launch" in told[0] and "1 node, which is cordoned" in told[1]
    assert told[2] == "warning: Node a is cordoned by somebody"


def test_the_text_is_for_a_ticket() -> None:
    text = Watched(a_scene(a_ready_node("a", cordoned=True)), check=True).passed()["text"]
    assert text.splitlines()[1:] == [
        "- warning, cordons: Node a is cordoned by somebody",
        "  kubectl uncordon a, or replace it",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"looks": 0}, "looks must be"),
        ({"timeout": -1.0}, "timeout is -1"),
        ({"checks": ["x"]}, "there is no check 'x'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        terms_of({**OPTIONS, **options})
