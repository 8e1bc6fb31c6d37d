# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last words of a run: what an operator reads at three in the morning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from unit.checkpoints import a_checkpoint
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils import unfinished as module
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import SURPLUS, HostProgress, Marks
from ansible_collections.evergreen.eks.plugins.module_utils.hold import LockLost
from ansible_collections.evergreen.eks.plugins.module_utils.holder import RunInProgress
from ansible_collections.evergreen.eks.plugins.module_utils.unfinished import (
    NO_RECORD,
    LastWords,
    Progress,
    Traces,
    Trail,
    Unfinished,
    fail,
    told,
    trail_of,
    unfinished,
)

WORDS = LastWords(
    stage="Drain its nodes, wave 2",
    cause="Node ip-2: budget default/web allows no disruption.",
    reason="drain_timeout",
    begun=True,
    resume_command="ansible-playbook evergreen.eks.rollout -e eks_cluster_name=prod",
    restore_command="ansible-playbook evergreen.eks.restore -e eks_cluster_name=prod",
)


def half_way():
    """One instance gone, one cordoned, one not begun with."""
    hosts = {
        **a_checkpoint().hosts,
        "i-2": HostProgress("template_version", "ip-2", "eu-central-1b", 2, times={"cordon": "2026-11-21T01:05:00Z"}),
        "i-3": HostProgress("template_version", "ip-3", "eu-central-1c"),
    }
    return a_checkpoint(hosts=hosts)


def last_words(words=WORDS, progress=None):
    return unfinished("shared", "prod", words, Progress.of(half_way()) if progress is None else progress)


def test_who_was_carried_and_who_was_forced_is_named():
    times = {"cordon": "2026-11-21T01:05:00Z", "carried": "2026-11-21T01:20:00Z"}
    forced = [{"pod": "shop/web-1", "uid": "u", "action": "delete", "time": "2026-11-21T01:19:00Z"}]
    hosts = {**half_way().hosts, "i-2": HostProgress("all", "ip-2", times=times, carried=1)}
    words = last_words(progress=Progress.of(a_checkpoint(hosts=hosts, forced=forced)))
    assert "Half done: 1 (i-2 cordoned, not drained in time)" in words.lines
    assert "1 pod was forced: shop/web-1 (delete)" in words.lines
    assert words.details["forced"] == forced


def test_the_last_words_are_what_is_done_and_what_is_not_and_the_two_commands():
    assert last_words().lines == (
        "stopped in 'Drain its nodes, wave 2': Node ip-2: budget default/web allows no disruption",
        "Done: 1 (i-1)",
        "Half done: 1 (i-2 cordoned)",
        "Untouched: 1 (i-3)",
        "To go on: ansible-playbook evergreen.eks.rollout -e eks_cluster_name=prod",
        "To go back: ansible-playbook evergreen.eks.restore -e eks_cluster_name=prod",
    )


def test_the_message_says_the_same_in_one_paragraph_and_the_result_as_data():
    failure = last_words().as_failure()

    assert failure["msg"] == (
        "Node group shared of cluster prod is not finished: it stopped in 'Drain its nodes, wave 2'. Node ip-2: budget "
        "default/web allows no disruption. Done: 1 (i-1). Half done: 1 (i-2 cordoned). Untouched: 1 (i-3). To go on: "
        "ansible-playbook evergreen.eks.rollout -e eks_cluster_name=prod  To go back: ansible-playbook "
        "evergreen.eks.restore -e eks_cluster_name=prod"
    )
    assert failure["reason"] == "drain_timeout"
    assert (failure["done"], failure["half_done"], failure["untouched"]) == (["i-1"], ["i-2"], ["i-3"])
    assert failure["resume_command"] == WORDS.resume_command
    assert failure["restore_command"] == WORDS.restore_command


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("node group shared was taken up by another run", "It was taken up by another run."),
        ("Auto Scaling group shared is being deleted.", "It is being deleted."),
        ("node group shared-2 is another one", "Node group shared-2 is another one."),
        ("", "Done: 1"),
    ],
)
def test_the_node_group_is_named_once(cause: str, said: str):
    message = str(last_words(replace(WORDS, cause=cause)))

    assert message.startswith(
        f"Node group shared of cluster prod is not finished: it stopped in '{WORDS.stage}'. {said}"
    )


def test_a_run_that_was_not_begun_has_nothing_to_go_back_from():
    failure = last_words(replace(WORDS, begun=False, stage="Look"), Progress())

    assert str(failure).startswith("Nothing was changed at node group shared of cluster prod: it stopped in 'Look'.")
    assert "To go back" not in str(failure)
    assert failure.details["restore_command"] == ""


def test_one_that_an_earlier_run_had_begun_can_go_back():
    assert "To go back: " in str(last_words(replace(WORDS, begun=False)))


def test_of_a_run_that_is_given_up_the_old_instances_stay():
    checkpoint = half_way()
    checkpoint.hosts["i-9"] = HostProgress(SURPLUS, finished=True)
    checkpoint.keep_the_rest()

    assert Progress.of(checkpoint).lines == (
        "Done: 1 instance of the run's own removed; 1 old instance had been replaced before it was given up",
        "Half done: not all is put back; the same command with --check shows what is left",
        "Untouched: the old instances that are left, they stay",
    )


MARKS = Marks(run_id="run-1", target="sha256:1", started="2026-11-21T01:02:03Z")
REFUSED = replace(WORDS, stage="Hold the group", begun=False, reason="locked")
PUT_BACK = {"replaced": [{"instance_id": "i-1"}], "kept": ["i-2", "i-3"]}


def lines_of(words: LastWords, traces: Traces) -> tuple[str, ...]:
    """The last words without the first line, which names the stage, and without the ways on and back."""
    return tuple(line for line in last_words(*told(words, traces)).lines[1:] if not line.startswith("To go "))


def goes_back(words: LastWords, traces: Traces) -> bool:
    return "To go back: " in str(last_words(*told(words, traces)))


@pytest.mark.parametrize("traces", [Traces(), Traces(half_way()), Traces(marks=MARKS)])
@pytest.mark.parametrize("words", [REFUSED, replace(WORDS, reason="lock_lost")])
def test_of_a_run_that_lives_nothing_is_told_and_nothing_offered(words: LastWords, traces: Traces):
    assert lines_of(words, traces) == ()
    assert not goes_back(words, traces)


def test_who_was_refused_before_its_first_change_says_so():
    assert str(last_words(*told(REFUSED, Traces(half_way())))).startswith("Nothing was changed at node group shared")


@pytest.mark.parametrize("reason", ["drain_timeout", "lock_lost"])
def test_our_own_run_is_told_although_the_stage_that_holds_the_group_failed(reason: str):
    words, ours = replace(WORDS, begun=False, reason=reason), Traces(half_way(), ours=True)
    assert lines_of(words, ours)[0] == "Done: 1 (i-1)"
    assert goes_back(words, ours)
    assert str(last_words(*told(words, ours))).startswith("Node group shared of cluster prod is not finished")


def test_without_a_checkpoint_the_tags_tell_whether_there_is_something_to_go_back_from():
    assert lines_of(WORDS, Traces(marks=MARKS)) == (NO_RECORD,)
    assert goes_back(WORDS, Traces(marks=MARKS))
    assert lines_of(replace(WORDS, begun=False), Traces()) == ()
    assert not goes_back(replace(WORDS, begun=False), Traces())


def test_a_run_that_has_put_everything_back_says_so_and_offers_no_way_back():
    words = replace(WORDS, put_back=PUT_BACK)
    assert lines_of(words, Traces()) == (
        "All that it took is put back.",
        "Done: 1 (i-1)",
        "Half done: 0",
        "Untouched: 2 (i-2, i-3)",
    )
    assert not goes_back(words, Traces())
    assert last_words(*told(words, Traces())).details["untouched"] == ["i-2", "i-3"]


class Recorded:
    """A store with our checkpoint in it, and a rollout whose next look ends as it is told."""

    place = "/nowhere/shared.json"

    def __init__(self) -> None:
        self.checkpoint, self.saved = replace(half_way(), holder="us"), 0
        self.aside = None
        self.rollout = SimpleNamespace(
            store=self,
            holder=SimpleNamespace(label="us"),
            call=SimpleNamespace(clock=FakeClock(), journal=SimpleNamespace(run=a_checkpoint().run_id)),
            aws=None,
            journal=Path("/nowhere/shared.journal.jsonl"),
            asg_name="shared",
            cluster_name="prod",
        )

    def load(self):
        return self.checkpoint

    def former(self):
        return self.aside

    def save(self, checkpoint) -> None:
        self.saved += 1


@pytest.mark.parametrize("lost", [LockLost("taken over"), RunInProgress("taken up"), None])
def test_who_does_not_hold_the_lock_any_more_writes_no_checkpoint(monkeypatch: pytest.MonkeyPatch, lost):
    recorded = Recorded()

    def take_up(_rollout):
        if lost:
            raise lost
        return SimpleNamespace(checkpoint=recorded.checkpoint)

    monkeypatch.setattr(module, "take_up", take_up)
    with pytest.raises(Unfinished, match=r"Done: 1 \(i-1\)"):
        fail(recorded.rollout, WORDS)
    assert recorded.saved == (0 if lost else 1)


@pytest.mark.parametrize(
    ("begun", "reason", "ours"), [(True, "timeout", True), (True, "locked", False), (False, "timeout", False)]
)
def test_only_a_run_that_had_begun_and_has_it_in_hand_leaves_a_report(begun: bool, reason: str, ours: bool):
    trail = trail_of(replace(WORDS, begun=begun, reason=reason), Path("/nowhere/j"), half_way(), "/nowhere/c")

    assert (trail.ours, trail.place) == (ours, "/nowhere/c")


def test_who_stops_knows_what_its_report_is_told_from(monkeypatch: pytest.MonkeyPatch):
    recorded = Recorded()
    monkeypatch.setattr(module, "take_up", lambda _rollout: SimpleNamespace(checkpoint=recorded.checkpoint))
    with pytest.raises(Unfinished) as stopped:
        fail(recorded.rollout, WORDS)

    assert stopped.value.trail == Trail(True, recorded.rollout.journal, recorded.checkpoint, recorded.place)


ARCHIVED = "/nowhere/shared.done.json"


@pytest.mark.parametrize(
    ("put_back", "ours"),
    [
        ({"run_id": a_checkpoint().run_id, "checkpoint": ARCHIVED, **PUT_BACK}, True),
        ({"run_id": "an earlier run", "checkpoint": ARCHIVED, **PUT_BACK}, False),
        ({}, True),  # it had come to its end, and what came after failed: the journal knows which run it was
    ],
)
def test_who_has_put_its_checkpoint_aside_is_told_from_that(monkeypatch: pytest.MonkeyPatch, put_back, ours: bool):
    recorded = Recorded()
    recorded.checkpoint, recorded.aside = None, half_way()
    monkeypatch.setattr(module, "describe_group", lambda *_arguments: SimpleNamespace(tags={}))
    with pytest.raises(Unfinished) as stopped:
        fail(recorded.rollout, replace(WORDS, put_back=put_back))

    trail = stopped.value.trail
    assert trail.checkpoint == (recorded.aside if ours else None)
    assert trail.place == (ARCHIVED if ours and put_back else recorded.place)
