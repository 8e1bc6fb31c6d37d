# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a rollout that was killed and went on: what docs/journal.md promises, and what people saw of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from integration.rollouts import problems, roll, roll_until_killed

from ansible_collections.evergreen.eks.plugins.module_utils.journal import (
    COMMON_FIELDS,
    KINDS,
    STAGES,
    SUBJECT_FIELDS,
    WAVE_FIELDS,
)
from simulator.scenarios import Deployment, NodeGroup, Scenario
from simulator.world import World

TWO = Scenario(groups=[NodeGroup("shared", size=2)], workloads=[Deployment("web", replicas=2, group="shared")])
LINE = re.compile(r"^   (\d\d:\d\d:\d\dZ) \[shared\] .*$", re.M)


def journal_of(world: World, group: str) -> list[dict[str, Any]]:
    """The events of a node group's journal."""
    (path,) = (world.home / "state").rglob(f"{group}.journal.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def strangers(event: dict[str, Any]) -> set[str]:
    """The fields of an event that its kind is not known to have."""
    return set(event) - {*COMMON_FIELDS, *WAVE_FIELDS, *SUBJECT_FIELDS, *KINDS[event["kind"]].fields}


@pytest.mark.scenario(TWO)
def test_the_journal_tells_the_whole_story_of_a_run_that_was_killed_and_went_on(world: World) -> None:
    roll_until_killed(world, "kubernetes", "^POST pods/eviction$", my_password="hunter2")
    run = roll(world, my_password="hunter2")
    assert run.rc == 0, run.output
    assert problems(world) == []
    events = journal_of(world, "shared")

    assert {event["kind"] for event in events} <= set(KINDS)
    assert {event["kind"]: strangers(event) for event in events if strangers(event)} == {}
    assert {(event["schema"], event["group"]) for event in events} == {(2, "shared")}
    assert all(set(COMMON_FIELDS) <= set(event) for event in events)
    (run_id,) = {event["run"] for event in events}
    begun = [event for event in events if event["kind"] == "run_begun"]
    assert [(event["run"], event["resumed"], event["purpose"]) for event in begun] == [
        (run_id, False, "rollout"),
        (run_id, True, "rollout"),
    ]
    (ended,) = [event for event in events if event["kind"] == "run_ended"]
    assert (ended["outcome"], ended["replaced"]) == ("finished", 2)

    stages = [event for event in events if event["kind"] == "node_stage"]
    assert {event["to"] for event in stages} <= set(STAGES)
    for old in begun[0]["selected"]:
        met = [event["to"] for event in stages if event.get("instance") == old["instance"]]
        in_order = list(dict.fromkeys(stage for stage in met if stage != "uncordoned"))
        assert in_order == ["cordoned", "draining", "drained", "terminating", "terminated"], old
    new = {event["instance"] for event in stages if event["to"] == "ready"}
    assert new & set(world.snapshot().groups["shared"].instances) and not new & set(
        world.beginning.groups["shared"].instances
    )
    assert [event["wave"] for event in events if event["kind"] == "wave_ended"] == [1, 2]
    capacity = [event for event in events if event["kind"] == "capacity"]
    assert max(event["desired"] for event in capacity) == 3 and {
        event["floor"] for event in capacity if "floor" in event
    } == {2}

    assert not [secret for secret in ("hunter2", "not-a-secret", "k8s-aws-v1") if secret in json.dumps(events)]

    shown = LINE.findall(run.stderr)
    assert len(shown) == len(LINE.findall(run.output)), "nothing is on standard output, too"
    told = [event for event in events if event.get("text")]
    assert 10 < len(shown) <= len(told), "no event has more than one line"

    notes = world.client().get("/api/v1/namespaces/default/events")["items"]
    ours = [note["reason"] for note in notes if note["source"].get("component") == "evergreen.eks"]
    assert sorted(ours) == sorted(["EvergreenCordoned", "EvergreenDraining", "EvergreenDrained"] * 2)
