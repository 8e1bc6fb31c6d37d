# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a selection means, and what the plan says of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from unit.checkpoints import a_checkpoint
from unit.scenes import a_member, a_scene
from unit.scripted_aws import instance_entry, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils import gather
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import SURPLUS, HostProgress
from ansible_collections.evergreen.eks.plugins.module_utils.gather import Gathered, already_gone, as_plan
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Selection, Wave
from ansible_collections.evergreen.eks.plugins.module_utils.plan_file import PlanDrift, write_plan

SERVING, LEAVING, ENDED, FORGOTTEN, ELSEWHERE = (f"i-0000000{letter}" for letter in "abcde")


def test_named_instances_that_are_gone_already():
    scene = a_scene([a_member(SERVING), a_member(LEAVING, "Terminating:Wait")])
    instances = [
        instance_entry(ENDED, State={"Code": 48, "Name": "terminated"}),
        instance_entry(ELSEWHERE),  # running, in another group perhaps: that one is a mistake
    ]
    with scripted_aws() as script:
        script.expect(
            "ec2",
            "describe_instances",
            {"Reservations": [{"Instances": instances}]},
            Filters=[{"Name": "instance-id", "Values": [ENDED, FORGOTTEN, ELSEWHERE]}],
        )
        named = [SERVING, LEAVING, ENDED, FORGOTTEN, ELSEWHERE]
        assert already_gone(script.aws, scene, named) == [LEAVING, ENDED, FORGOTTEN]


def selected(plan_file, members) -> tuple[dict, tuple[str, ...]]:
    """Whom a run that follows this file selects of these members, which all are as the group launches them; notes."""
    settings = SimpleNamespace(selection=Selection("outdated"), plan_file=str(plan_file), decisive={})
    checkpoint = a_checkpoint(hosts={})
    notes = gather._select(SimpleNamespace(settings=settings, aws=None), checkpoint, a_scene(members))
    return checkpoint.hosts, notes


def a_plan_file(folder, *instance_ids: str):
    plan = {"made": "2026-11-21T01:00:00Z", "fingerprint": "sha256:1", "target": "version 3", "settings": {}}
    write_plan(folder / "plan.json", a_checkpoint().cluster, "shared", {**plan, "remaining": list(instance_ids)})
    return folder / "plan.json"


def test_nobody_is_selected_any_more_who_was_planned_to_be_replaced(tmp_path):
    with pytest.raises(PlanDrift, match=f"{SERVING} was planned to be replaced, and would not be"):
        selected(a_plan_file(tmp_path, SERVING), [a_member(SERVING)])


def test_a_plan_that_is_carried_out_has_nothing_more_to_say(tmp_path):
    assert selected(a_plan_file(tmp_path, ENDED), [a_member(SERVING)]) == ({}, ())


def test_who_selects_nobody_needs_no_plan(tmp_path):
    hosts, (note,) = selected(tmp_path / "none.json", [a_member(SERVING)])
    assert hosts == {}
    assert "there is no plan file" in note


@pytest.mark.parametrize(
    ("waves", "in_hand"),
    [
        ([Wave(1, 1, ("i-1",), finished=True), Wave(2, 1)], []),  # nobody of the second is settled, let alone touched
        ([Wave(1, 1, ("i-1",), finished=True), Wave(2, 1, ("i-2",))], [2]),
        ([Wave(1, 1, ("i-1",), finished=True), Wave(2, 1, ("i-2",), finished=True)], []),
    ],
)
def test_waves_in_hand_are_brought_to_their_end_whatever_a_gate_would_say(waves, in_hand):
    scene = a_scene([a_member("i-1"), a_member("i-2")])
    assert as_plan(Gathered(scene, a_checkpoint(waves=waves), resumed=True))["in_hand"] == in_hand


@pytest.mark.parametrize(
    ("waves", "last", "surplus"),
    [
        ([Wave(1, 1, ("i-1",), finished=True), Wave(2, 1)], [1], []),
        ([Wave(1, 1, ("i-1",), finished=True), Wave(2, 1, ("i-2",), finished=True)], [2], []),
        ([Wave(1, 1, ("i-1",), finished=True), Wave(2, 1, ("i-2",))], [], []),  # begun only after those tasks
        ([Wave(1, 1, ("i-1",), finished=True), Wave(2, 1, finished=True), Wave(3, 1)], [1], []),  # nobody was left
        ([Wave(1, 1), Wave(2, 1)], [], []),
        ([Wave(1, 1, ("i-1",), finished=True), Wave(2, 1, ("i-9",), finished=True)], [1], [2]),
        ([Wave(1, 1, ("i-1",), finished=True), Wave(2, 1, ("i-9",))], [], [2]),
    ],
)
def test_after_which_wave_the_operators_own_tasks_may_not_have_come_to_their_end(waves, last, surplus):
    hosts = {"i-1": HostProgress("all"), "i-2": HostProgress("all"), "i-9": HostProgress(SURPLUS)}
    plan = as_plan(Gathered(a_scene([a_member("i-1")]), a_checkpoint(waves=waves, hosts=hosts), resumed=True))
    assert [wave["number"] for wave in plan["finished_last"]] == last
    assert all(wave["of"] == len(waves) and wave["instance_ids"] for wave in plan["finished_last"])
    assert plan["surplus_waves"] == surplus


def test_the_plan_of_a_run_that_goes_on_names_who_was_carried():
    scene = a_scene([a_member("i-1"), a_member("i-2")])
    hosts = {"i-1": HostProgress("all", carried=2), "i-2": HostProgress("all")}
    lines = as_plan(Gathered(scene, a_checkpoint(hosts=hosts, waves=[Wave(1, 2)]), resumed=True))["summary"]
    assert "shared: not drained in time before, and tried again with the next wave: i-1" in lines
