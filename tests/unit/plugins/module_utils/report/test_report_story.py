# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a rollout: from its journal, from its checkpoint, and from both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from unit.checkpoints import a_checkpoint
from unit.journals import COMMAND, RESTORE, RUN, JournalWriter, finished_journal, node_name, one_wave, resumed_journal

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint, HostProgress
from ansible_collections.evergreen.eks.plugins.module_utils.report import records, words
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import read_events, seconds_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.nodes import outcome_of, spans_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Ending, Gap, Report
from ansible_collections.evergreen.eks.plugins.module_utils.report.story import HOOK_SILENCE, SILENCE, tell


def told(journal: JournalWriter, checkpoint: Checkpoint | None = None, later: float = 0.0, **known: Any) -> Report:
    """The report of this journal's run, so many seconds after its last line."""
    events = read_events(journal.lines)
    return tell("shared", RUN, events, checkpoint, events[-1].at + later, **known)


def begun() -> JournalWriter:
    journal = JournalWriter(waves=1)
    journal.begin(["0", "1"])
    journal.wave = 1
    return journal


def test_a_finished_rollout() -> None:
    report = told(finished_journal())

    assert (report.outcome, report.unfinished, report.selected, len(report.replaced)) == ("finished", False, 6, 6)
    assert [len(wave.instances) for wave in report.waves] == [1, 2, 3]
    assert all(wave.began < wave.ended for wave in report.waves)
    assert (len(report.attempts), report.gaps, report.resume_command) == (1, [], "")
    assert (report.surge, report.unavailable, report.floor) == (3, 0, 6)
    assert report.seconds == report.seconds_worked == 700
    assert {node.outcome for node in report.new} == {records.NEW}
    assert words.who(report) == "ann"


def test_a_node_has_its_stages_without_holes_from_the_beginning_to_its_end() -> None:
    report = told(finished_journal())
    node = next(node for node in report.old if node.instance == "i-old2")

    assert [span.stage for span in node.spans] == [
        *("serving", "cordoned", "deregistered", "draining", "drained", "terminating")
    ]
    assert node.spans[0].began == report.began
    assert all(one.ended == other.began for one, other in zip(node.spans, node.spans[1:]))
    assert node.spans[-1].ended == node.times["terminated"]
    assert (node.wave, node.zone, node.pods, node.reason) == (2, "eu-central-1c", 11, "template_version")


def test_the_time_of_a_stage_is_what_was_waited_for_in_it() -> None:
    report = told(finished_journal())
    phases = {phase.stage: phase.seconds for phase in report.phases}

    assert phases["drain"] == 3 * 21 + 312
    assert sum(phases.values()) == report.seconds_worked


def test_a_run_that_was_killed_and_resumed_is_one_story_with_an_interruption() -> None:
    report = told(resumed_journal())

    assert [attempt.outcome for attempt in report.attempts] == ["interrupted", "failed"]
    assert [(gap.outcome, gap.seconds) for gap in report.gaps] == [("interrupted", 6.4 * 3600)]
    assert (report.outcome, report.selected, len(report.replaced)) == ("failed", 11, 7)
    assert report.seconds == report.seconds_worked + report.gaps[0].seconds
    assert report.cause.startswith("13 of 14 instances of shared are Ready")
    assert (report.resume_command, report.restore_command) == ("relaunch this job", RESTORE)
    assert words.who(report) == "ann, ben (AWX job 4711)"
    assert [node.outcome for node in report.old].count(records.UNTOUCHED) == 4
    assert next(node for node in report.new if node.instance == "i-new9").outcome == records.STARTING


def test_nobody_drains_while_nobody_works() -> None:
    report = told(resumed_journal())
    node = next(node for node in report.old if node.instance == "i-old1")

    assert node.seconds_in(records.DRAINING) < 600
    assert node.seconds_in(records.DRAINING) == next(
        span.ended - span.began - report.gaps[0].seconds for span in node.spans if span.stage == records.DRAINING
    )


def test_what_the_next_run_meets_before_it_begins_is_no_life_of_the_one_before() -> None:
    journal = begun()
    journal.enter("drain", 60)
    journal.node("old", "0", "draining")
    journal.at += 1000
    journal.enter("reserve")
    journal.write("lock", text="takes the lock over")
    journal.node("old", "1", "terminated")
    journal.begin(["0", "1"], resumed=True)
    journal.at += 5
    journal.node("old", "0", "draining")
    report = told(journal)

    assert [gap.seconds for gap in report.gaps] == [1000]
    assert next(node for node in report.old if node.instance == "i-old1").outcome == "replaced"
    assert {phase.stage: phase.seconds for phase in report.phases} == {"drain": 60, "reserve": 5}


@pytest.mark.parametrize(
    ("later", "alive", "outcome"),
    [
        (10, None, "running"),
        (SILENCE + 1, None, "interrupted"),
        (SILENCE + 1, True, "running"),
        (10, False, "interrupted"),
    ],
)
def test_a_run_without_an_end_runs_or_was_interrupted(later: float, alive: bool | None, outcome: str) -> None:
    report = told(begun(), later=later, alive=alive)

    assert report.outcome == outcome
    assert report.unfinished
    assert report.resume_command == COMMAND
    assert report.seconds == (later if outcome == "running" else 0)


@pytest.mark.parametrize(("later", "outcome"), [(SILENCE + 1, "running"), (HOOK_SILENCE + 1, "interrupted")])
def test_the_operators_own_tasks_may_be_silent_for_longer(later: float, outcome: str) -> None:
    journal = begun()
    journal.enter("hook")
    journal.write("hook_begun", hook="after_wave", files=["own.yml"])
    assert told(journal, later=later).outcome == outcome

    journal.write("hook_ended", hook="after_wave", files=["own.yml"])
    assert told(journal, later=later).outcome == "interrupted"


def test_every_stage_of_the_role_has_its_words_and_no_other() -> None:
    files = (Path(__file__).resolve().parents[5] / "roles" / "rollout" / "tasks").glob("*.yml")
    named = {name for file in files for name in re.findall(r"__rollout_stage: (\w+)", file.read_text(encoding="utf-8"))}
    assert named == set(words.STAGES)


def test_the_time_of_the_operators_own_tasks_is_booked_on_them() -> None:
    journal = begun()
    journal.enter("hook")
    journal.write("hook_begun", hook="after_wave", files=["own.yml"])
    journal.at += 60
    journal.write("hook_ended", hook="after_wave", files=["own.yml"])
    journal.enter("gate")
    journal.at += 5
    journal.write("gate_passed")
    assert {phase.stage: phase.seconds for phase in told(journal).phases} == {"hook": 60, "gate": 5}


def test_the_end_that_a_run_itself_knows_counts_where_its_journal_does_not_tell_it_yet() -> None:
    ending = Ending("stopped", "the run was asked to stop", "go on", "go back")
    report = told(begun(), later=7, ending=ending, alive=True)

    assert (report.outcome, report.cause, report.seconds) == ("stopped", "the run was asked to stop", 7)
    assert (report.resume_command, report.restore_command) == ("go on", "go back")

    known = begun()
    known.end("failed", cause="of another reason")
    assert told(known, ending=ending).outcome == "failed"


def test_a_run_that_went_on_here_is_not_told_from_its_beginning() -> None:
    journal = JournalWriter(waves=1)
    journal.begin(["0"], resumed=True)

    assert not told(journal).whole
    assert told(begun()).whole


def test_from_the_checkpoint_alone() -> None:
    times = {
        "cordon": "2026-11-21T01:05:00Z",
        "detach": "2026-11-21T01:06:00Z",
        "gone": "2026-11-21T01:08:00Z",
    }
    hosts = {
        "i-1": HostProgress("image", "ip-1", "eu-central-1a", 1, True, "removed", times),
        "i-2": HostProgress("image", "ip-2", "eu-central-1b", 2, False, "", {"cordon": "2026-11-21T01:09:00Z"}),
        "i-3": HostProgress("image", "ip-3", "eu-central-1b", 2, True, "vanished", {"gone": "2026-11-21T01:09:00Z"}),
        "i-4": HostProgress("image", "ip-4", "eu-central-1b"),
    }
    checkpoint = a_checkpoint(hosts=hosts, provenance={"operator": "ann"}, stages={"failed": "2026-11-21T01:10:00Z"})
    report = tell("shared", RUN, [], checkpoint, seconds_of("2026-11-21T09:00:00Z"))

    assert {node.instance: node.outcome for node in report.nodes} == {
        "i-1": "replaced",
        "i-2": "in_hand",
        "i-3": "vanished",
        "i-4": "untouched",
    }
    assert [span.stage for span in report.nodes[0].spans] == ["serving", "cordoned", "terminating"]
    assert (report.outcome, report.cluster_name, report.region, report.floor) == ("failed", "prod", "eu-central-1", 6)
    assert (report.began, report.ended) == (seconds_of("2026-11-21T01:02:03Z"), seconds_of("2026-11-21T01:10:00Z"))
    assert report.waves[0].began == seconds_of("2026-11-21T01:05:00Z")
    assert words.who(report) == "ann"


@pytest.mark.parametrize(("given_up", "outcome"), [(False, "finished"), (True, "put_back")])
def test_a_closed_checkpoint_has_the_last_word(given_up: bool, outcome: str) -> None:
    checkpoint = a_checkpoint(ended="2026-11-21T01:20:00Z", given_up=given_up)

    assert told(begun(), checkpoint, later=9000).outcome == outcome


def test_the_checkpoint_adds_what_a_journal_of_another_machine_has_told() -> None:
    journal = begun()
    one_wave(journal, ["0"], size=2)
    hosts = {
        "i-old0": HostProgress("image", node_name("old", "0"), "eu-central-1a", 1, True, "removed"),
        "i-gone": HostProgress("image", "ip-9", "eu-central-1b", 7, True, "removed", {"gone": "2026-11-21T01:02:09Z"}),
    }
    report = told(journal, a_checkpoint(hosts=hosts, waves=[]))

    assert {node.instance: node.wave for node in report.replaced} == {"i-old0": 1, "i-gone": 7}


def test_a_node_that_is_told_by_its_name_first_is_one_node() -> None:
    journal = begun()
    journal.write("node_stage", node="ip-1.internal", to="draining", old=True, pods=3)
    journal.at += 5
    journal.write("node_stage", node="ip-1.internal", instance="i-1", to="terminating", old=True)
    journal.at += 5
    journal.write("node_stage", instance="i-1", to="terminated", old=True)
    node = next(node for node in told(journal).old if node.instance == "i-1")

    assert (node.node, node.outcome, sorted(node.times)) == (
        "ip-1.internal",
        "replaced",
        ["draining", "terminated", "terminating"],
    )


def test_an_uncordoned_node_serves_again() -> None:
    journal = begun()
    journal.node("old", "0", "cordoned")
    journal.at += 60
    journal.node("old", "0", "uncordoned")
    journal.at += 60
    journal.end("put_back")
    report = told(journal)

    assert [span.stage for span in report.old[0].spans] == ["cordoned", "serving"]


def test_stages_are_told_late_with_their_own_moment_and_again() -> None:
    journal = begun()
    journal.at += 60
    told_late = {"node": "ip-7", "instance": "i-7"}
    journal.write("node_stage", **told_late, to="launched", at="2026-11-21T01:02:10Z")
    journal.write("node_stage", **told_late, to="ready", at="2026-11-21T01:02:40Z", seconds=30)
    journal.write("node_stage", instance="i-7", to="serving")
    journal.at += 60
    journal.write("node_stage", instance="i-7", to="ready")
    (node,) = told(journal).new

    assert [(span.stage, span.seconds) for span in node.spans] == [("launched", 30), ("ready", 83)]
    assert words.clock(node.times["ready"]) == "01:02:40"


def test_who_was_not_selected_is_new_whatever_is_done_to_it() -> None:
    journal = begun()
    journal.write("node_stage", instance="i-surplus", node="ip-8", to="cordoned")
    journal.write("node_stage", instance="i-old0", node="ip-9", to="cordoned")

    assert {node.instance for node in told(journal).old} == {"i-old0", "i-old1"}


@pytest.mark.parametrize("selected", [None, "i-1", [None, 3, {}, {"instance": ""}]])
def test_a_selection_of_another_release_is_passed_over(selected: Any) -> None:
    journal = JournalWriter()
    journal.write("run_begun", selected=selected)

    assert told(journal).nodes == []


def test_who_is_one_too_many_was_not_to_be_replaced() -> None:
    journal = begun()
    journal.at += 60
    gone_on = [{"instance": "i-old0", "reason": "image"}, {"instance": "i-new0", "reason": "surplus"}]
    journal.write("run_begun", resumed=True, purpose="restore", selected=gone_on)
    journal.write("node_stage", instance="i-new0", to="cordoned")
    journal.write("node_stage", instance="i-new0", to="terminated")
    report = told(journal)

    hosts = {"i-new0": HostProgress("surplus", "ip-2", finished=True, how="removed")}
    assert told(journal, a_checkpoint(hosts=hosts, waves=[])).new[0].outcome == "removed"
    assert (report.selected, {node.instance: node.outcome for node in report.new}) == (2, {"i-new0": "removed"})
    assert [attempt.purpose for attempt in report.attempts] == ["rollout", "restore"]


def test_a_wave_ends_with_its_last_node_and_not_when_the_next_one_begins() -> None:
    journal = begun()
    one_wave(journal, ["0"], size=2)
    journal.at += 300
    journal.wave = 1
    journal.write("wave_ended", instances=["i-old0"])
    report = told(journal)

    assert report.waves[0].ended == report.old[0].times["terminated"]


def test_a_run_that_goes_back_by_itself_ends_twice_and_the_last_word_counts() -> None:
    journal = begun()
    journal.end("put_back")
    journal.at += 2
    journal.end("put_back", cause="node ip-1 was not drained")
    report = told(journal)

    assert (report.outcome, report.cause) == ("put_back", "node ip-1 was not drained")
    assert report.seconds == 2


def test_a_run_that_somebody_puts_back_later_says_why_it_had_stopped() -> None:
    journal = begun()
    journal.end("failed", cause="node ip-1 was not drained")
    journal.at += 300
    journal.begin(["0", "1"], resumed=True, purpose="restore")
    journal.end("put_back")

    assert told(journal).cause == "node ip-1 was not drained"


def test_a_pod_is_blocked_until_it_goes_or_its_node_is_empty_or_to_the_end() -> None:
    journal = begun()
    pods = {"gone": "0", "left": "1", "stays": "0"}
    for pod, number in pods.items():
        journal.write("pod_blocked", pod=pod, node=node_name("old", number), budget="web/pdb", reason="budget")
    journal.at += 40
    journal.write("pod_unblocked", pod="gone", node=node_name("old", "0"), seconds=40)
    journal.at += 20
    journal.node("old", "1", "drained")
    journal.at += 30
    journal.end("failed", cause="c")
    blocked = {one.pod: (one.seconds, one.until is None) for one in told(journal).blocked}

    assert blocked == {"stays": (90, True), "left": (60, False), "gone": (40, False)}
    assert [one.pod for one in told(journal).blocked] == ["stays", "left", "gone"]


def test_a_diagnosis_says_why_and_since_when() -> None:
    journal = begun()
    journal.at += 100
    since = "2026-11-21T01:02:33Z"
    named = {"pod": "web/a", "node": "n", "budgets": [{"name": "web/pdb"}], "since": since}
    journal.write("pod_diagnosed", **named, reason="budget", cause="3 of 3 are needed", remedy="add one")
    journal.at += 10
    journal.write("pod_unblocked", pod="web/a", node="n")
    (blocked,) = told(journal).blocked

    assert (blocked.seconds, blocked.message, blocked.remedy) == (80, "3 of 3 are needed", "add one")
    assert words.blocked_by(blocked) == "budget web/pdb"


def test_forced_pods_come_from_both_sources_and_each_once() -> None:
    journal = begun()
    named = {"pod": "a/b", "node": "n", "action": "delete", "after": 60, "budgets": []}
    journal.write("pod_forced", **named, uid="u-1", policy="delete what is left after 60 s")
    journal.write("pod_forced", **named, uid="u-2")
    journal.write("pod_not_forced", **named, uid="u-2")
    known = [{**named, "uid": uid, "time": "2026-11-21T01:02:03Z"} for uid in ("u-1", "u-0")]
    report = told(journal, a_checkpoint(forced=known))

    assert {one["uid"]: one["policy"] for one in report.forced} == {
        "u-0": "",
        "u-1": "delete what is left after 60 s",
    }


def test_the_capacity_is_told_where_it_changes_and_keeps_what_is_not_named() -> None:
    journal = begun()
    journal.capacity(2, 2, 2, 2)
    journal.capacity(2, 2, 2, 2)
    journal.at += 5
    journal.write("capacity", desired=3)
    journal.at += 5
    journal.write("capacity", ready=1)
    report = told(journal)

    assert [(one.desired, one.members, one.ready) for one in report.capacity] == [(2, 2, 2), (3, 2, 2), (3, 2, 1)]
    assert [one.ready for one in report.below_floor] == [1]
    assert "Fewer nodes were Ready than were promised: 1 of 2 at the worst, 01:02:13." in words.story(report)


def test_the_last_comparison_is_the_difference_of_the_cluster() -> None:
    journal = begun()
    journal.write("picture_taken", numbers={"pods": 9})
    journal.write("picture_compared", numbers={"pods": 7}, worse=["a/b is not Ready"], better=[])
    journal.write("picture_compared", numbers={"pods": 8}, worse=[{"message": "c/d is not Ready"}], better=["a/b"])
    cluster = told(journal).cluster

    assert (cluster.before, cluster.after, cluster.worse) == ({"pods": 9}, {"pods": 8}, ("c/d is not Ready",))


def test_a_run_that_was_given_up_has_no_old_nodes_that_are_half_done() -> None:
    journal = begun()
    journal.node("old", "0", "cordoned")
    journal.at += 5
    journal.end("put_back")
    report = told(journal, a_checkpoint(hosts={}, given_up=True, ended="2026-11-21T01:03:00Z"))

    assert {node.outcome for node in report.old} == {"kept"}


@pytest.mark.parametrize(
    ("moments", "old", "spans"),
    [
        ([], True, [("serving", 0, 100)]),
        ([], False, []),
        ([(10, "launched"), (30, "ready")], False, [("launched", 10, 30), ("ready", 30, 100)]),
        ([(10, "cordoned"), (10, "draining")], True, [("serving", 0, 10), ("cordoned", 10, 10), ("draining", 10, 100)]),
        ([(10, "draining"), (20, "draining"), (30, "terminated")], True, [("serving", 0, 10), ("draining", 10, 30)]),
        (
            [(10, "draining"), (100, "not_drained")],
            True,
            [("serving", 0, 10), ("draining", 10, 100), ("not_drained", 100, 100)],
        ),
        ([(10, "draining"), (40, "carried")], True, [("serving", 0, 10), ("draining", 10, 40), ("carried", 40, 100)]),
    ],
)
def test_each_stage_lasts_until_the_next(moments: Any, old: bool, spans: Any) -> None:
    assert [(span.stage, span.began, span.ended) for span in spans_of(moments, old, 0, 100)] == spans


def test_a_stage_knows_how_much_of_it_was_an_interruption() -> None:
    _serving, draining = spans_of([(10, "draining")], True, 0, 100, [Gap(20, 60, "interrupted")])

    assert (draining.idle, draining.seconds) == (40, 50)


@pytest.mark.parametrize(
    ("old", "stages", "outcome"),
    [
        (True, [], "untouched"),
        (True, ["cordoned"], "in_hand"),
        (True, ["terminated"], "replaced"),
        (False, ["launched"], "starting"),
        (False, ["launched", "ready"], "new"),
        (False, ["launched", "ready", "terminated"], "removed"),
    ],
)
def test_what_became_of_a_node(old: bool, stages: list[str], outcome: str) -> None:
    assert outcome_of(old, stages) == outcome
