# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a rollout is expected to take, and what a run keeps of how long it took."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from math import inf, nan
from types import SimpleNamespace
from typing import Any

import pytest
from unit.checkpoints import a_checkpoint
from unit.scenes import a_member, a_scene

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import HostProgress, read_checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.plan_time import (
    ASSUMED,
    KEPT_RUNS,
    Pace,
    former_history,
    note_pace,
    pace_of,
    wave_seconds,
)
from ansible_collections.evergreen.eks.plugins.module_utils.store import StoreError

PACE = Pace(ready_seconds=100, drain_seconds=10, terminate_seconds=5, between_seconds=1)
RUN = "20261121T010203-4f2a9c"


@pytest.mark.parametrize(
    ("nodes", "launches", "parallel", "first", "bake", "seconds"),
    [
        (1, True, 10, True, 0, 115),
        (1, False, 10, True, 0, 15),  # nothing is launched before it
        (10, True, 10, False, 0, 116),
        (11, True, 10, False, 0, 126),  # two rounds of drains
        (3, True, 1, False, 300, 436),
    ],
)
def test_a_wave(nodes, launches, parallel, first, bake, seconds):
    assert wave_seconds(PACE, nodes, launches, parallel, first, bake) == seconds


@pytest.mark.parametrize(
    ("history", "ready", "runs"),
    [
        ([], ASSUMED["ready_seconds"], 0),
        ([{"ready_seconds": 50.0}], 50.0, 1),
        ([{"ready_seconds": 50.0}, {"ready_seconds": 70}, {"ready_seconds": 900}], 70, 3),
        ([{"ready_seconds": None, "drain_seconds": 5}], ASSUMED["ready_seconds"], 1),
        ([{"ready_seconds": "soon"}, {"ready_seconds": True}, {}], ASSUMED["ready_seconds"], 0),
        ([{"ready_seconds": value} for value in (-1, 1e300, 10**400, inf, nan)], ASSUMED["ready_seconds"], 0),
    ],
)
def test_the_pace_is_the_median_of_what_former_runs_have_measured(history, ready, runs):
    pace = pace_of(history)
    assert (pace.ready_seconds, pace.runs) == (ready, runs)
    assert ("former run" if runs else "assumed") in pace.record()["text"]
    assert pace.record()["source"] == ("history" if runs else "assumed")


def times(cordon: str, detach: str) -> dict[str, str]:
    return {"cordon": f"2026-11-21T01:{cordon}Z", "detach": f"2026-11-21T01:{detach}Z"}


def a_finished_run(**changes: Any):
    """Two waves: drained in 30 and 50 s, and 200 s from the one to the cordon of the other."""
    hosts = {
        "i-1": HostProgress("all", "ip-1", "a", 1, True, "removed", times("00:00", "00:30")),
        "i-2": HostProgress("all", "ip-2", "b", 2, True, "removed", times("03:50", "04:40")),
    }
    return a_checkpoint(hosts=hosts, ended="2026-11-21T01:10:00Z", **changes)


def a_scene_with_a_new_node(ready_after: int):
    """i-9 was launched at 01:00:00."""
    scene = a_scene([a_member("i-9")])
    launched = datetime(2026, 11, 21, 1, tzinfo=timezone.utc)
    node = replace(scene.nodes["i-9"], ready_since=f"2026-11-21T01:{ready_after // 60:02}:{ready_after % 60:02}Z")
    return replace(scene, hosts=(replace(scene.hosts[0], launched=launched),), nodes={"i-9": node})


def test_a_run_keeps_what_it_took(tmp_path):
    checkpoint = a_finished_run()
    note_pace(checkpoint, a_scene_with_a_new_node(90), tmp_path / "none.jsonl")
    assert checkpoint.history == [
        {
            "run_id": RUN,
            "ended": "2026-11-21T01:10:00Z",
            "instances": 2,
            "ready_seconds": 90.0,
            "drain_seconds": 40.0,
            "terminate_seconds": None,
            "between_seconds": 50.0,  # 200 without those until the successors were Ready, and the assumed end
        }
    ]
    assert read_checkpoint(checkpoint.to_json(), "file") == checkpoint


def test_what_the_journal_says_of_each_node_is_better_than_what_the_waves_say(tmp_path):
    def event(to: str, seconds: Any, **other: Any) -> str:
        return json.dumps({"kind": "node_stage", "run": RUN, "to": to, "seconds": seconds, "old": True, **other})

    journal = tmp_path / "journal.jsonl"
    lines = [
        event("drained", 4),
        event("drained", 6),
        event("drained", 1000, run="another"),
        event("drained", "long"),
        event("terminated", 20),
        event("ready", 3, old=False),
        '{"kind": "node_stage", "run": "' + RUN + '", "to": "dra',
    ]
    journal.write_text("\n".join(lines), encoding="utf-8")
    checkpoint = a_finished_run()
    note_pace(checkpoint, a_scene_with_a_new_node(90), journal)
    (entry,) = checkpoint.history
    assert (entry["drain_seconds"], entry["terminate_seconds"], entry["between_seconds"]) == (5.0, 20.0, 90.0)


def test_only_the_last_runs_are_kept_and_each_once(tmp_path):
    older = [{"run_id": f"2025{number}", "ready_seconds": 1} for number in range(KEPT_RUNS)]
    checkpoint = a_finished_run(history=older)
    for _again in range(2):  # what a run that is killed at its end does
        note_pace(checkpoint, a_scene_with_a_new_node(90), tmp_path / "none.jsonl")
    assert [run["run_id"] for run in checkpoint.history] == ["20251", "20252", "20253", "20254", RUN]


@pytest.mark.parametrize("changes", [{"given_up": True}, {"hosts": {}}, {"hosts": {"i-9": HostProgress("surplus")}}])
def test_a_run_that_has_replaced_nobody_tells_nothing(changes, tmp_path):
    checkpoint = replace(a_finished_run(), **changes)
    note_pace(checkpoint, a_scene_with_a_new_node(90), tmp_path / "none.jsonl")
    assert checkpoint.history == []


def test_times_that_make_no_sense_are_passed_over(tmp_path):
    hosts = {"i-1": HostProgress("all", "ip-1", "a", 1, True, "removed", {"cordon": "t", "detach": "u"})}
    checkpoint = a_checkpoint(hosts=hosts)
    note_pace(checkpoint, a_scene([a_member("i-9")]), tmp_path)
    assert {name: checkpoint.history[0][name] for name in ASSUMED} == dict.fromkeys(ASSUMED)


def test_a_new_run_takes_the_history_of_the_last_one_over():
    history = [{"run_id": "1", "ready_seconds": 5}]

    def unreadable():
        raise StoreError("the bucket cannot be read", reason="checkpoint_unreadable")

    assert former_history(SimpleNamespace(former=lambda: a_checkpoint(history=history))) == history
    assert former_history(SimpleNamespace(former=lambda: None)) == []
    assert former_history(SimpleNamespace(former=unreadable)) == [], "nothing fails for that"
