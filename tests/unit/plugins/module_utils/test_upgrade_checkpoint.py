# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an upgrade remembers, and what is told of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.checkpoints import a_checkpoint
from unit.fakes import FakeClock
from unit.stores import Files
from unit.upgrades import START, an_upgrade

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import CheckpointError
from ansible_collections.evergreen.eks.plugins.module_utils.course import Course, Leg, Part
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import Cluster
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import parse_version
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder, RunInProgress
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import node_from
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import Event
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Ending
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_forms import (
    upgrade_document,
    upgrade_json,
    upgrade_markdown,
)
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_page import upgrade_page
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_records import ending_of, tell_upgrade
from ansible_collections.evergreen.eks.plugins.module_utils.store import CLUSTER_ITSELF, Place
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade import (
    Upgrade,
    UpgradeChanged,
    UpgradeSettings,
    View,
    sorted_nodes,
    unfinished_upgrade,
)
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_checkpoint import (
    PartRecord,
    UpgradeCheckpoint,
    read_upgrade,
)
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_facts import facts_of
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_proof import rolled, settled
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

CONTROL_PLANE, ADDONS, NODES = Part("control_plane", "1.32"), Part("addons", "1.32"), Part("nodes", "1.32", "istio")
LATER, END = "2026-11-22T01:10:00Z", "2026-11-22T01:30:00Z"


def begun(*parts: Part) -> UpgradeCheckpoint:
    found = an_upgrade()
    for part in parts:
        found.begin(part, START)
    return found


def test_it_survives_a_file() -> None:
    known = begun(CONTROL_PLANE)
    known.finish(CONTROL_PLANE, LATER, {"lines": ["1.31 -> 1.32"]})
    assert read_upgrade(known.to_json(), "here") == known
    assert read_upgrade(known.to_json(indent=None), "here") == known


@pytest.mark.parametrize(
    ("parts", "now", "updating", "touched"),
    [
        ((), "1.31", False, False),
        ((), "1.31", True, True),
        ((), "1.32", False, True),
        ((CONTROL_PLANE,), "1.31", False, False),
        ((ADDONS,), "1.31", False, True),
        ((Part("nodes", "1.33", "istio"),), "1.31", False, True),
        ((Part("verify", "1.33"), Part("bake", "1.33")), "1.31", False, False),
    ],
)
def test_who_only_looked_keeps_nobody_from_another_version(
    parts: tuple[Part, ...], now: str, updating: bool, touched: bool
) -> None:
    known = begun()
    known.course = Course((Leg("1.33", ("1.32", "1.33"), ("istio",), True),))
    for part in parts:
        known.begin(part, START)
    assert known.touched(now, updating) is touched


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "checkpoint_corrupt"),
        ("[]", "checkpoint_corrupt"),
        ('{"schema": 1}', "checkpoint_corrupt"),
        ('{"schema": 2}', "checkpoint_newer"),
        ('{"schema": 1, "parts": {}, "course": []}', "checkpoint_corrupt"),
        (json.dumps({"schema": 2, "hosts": {}}), "checkpoint_newer"),
    ],
)
def test_what_is_no_checkpoint_of_an_upgrade_is_refused_with_the_remedy(text: str, reason: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_upgrade(text, "/state/cluster.json")
    assert caught.value.reason == reason
    assert caught.value.remedy


def test_a_part_that_is_begun_again_keeps_its_first_beginning_and_is_open() -> None:
    known = begun(CONTROL_PLANE)
    known.finish(CONTROL_PLANE, LATER, {})
    known.begin(CONTROL_PLANE, END)

    assert known.record(CONTROL_PLANE) == PartRecord(began=START, finished="", attempts=2)
    assert known.open[0] == CONTROL_PLANE


@pytest.mark.parametrize(
    ("parts", "now", "updating", "touched"),
    [
        ((), "1.31", False, False),
        ((CONTROL_PLANE,), "1.31", False, False),  # it may have been refused, as an unknown version is
        ((CONTROL_PLANE,), "1.31", True, True),
        ((CONTROL_PLANE,), "1.32", False, True),
        ((ADDONS,), "1.31", False, True),
    ],
)
def test_only_an_upgrade_that_can_have_changed_something_keeps_another_one_from_beginning(
    parts, now, updating, touched
) -> None:
    assert begun(*parts).touched(now, updating) is touched


def test_the_bake_time_counts_from_when_the_add_ons_were_done() -> None:
    known = begun(CONTROL_PLANE, ADDONS)
    known.finish(CONTROL_PLANE, LATER, {})
    assert known.control_plane_done("1.32") == ""
    known.finish(ADDONS, END, {})
    assert known.control_plane_done("1.32") == END


def upgrade_of(tmp_path: Path, process: int = 7) -> Upgrade:
    """As a module call of its own has it in hand."""
    settings = UpgradeSettings("1.32", {}, 0, 1.0, ignore_checkpoint=False, lock=False, lock_seconds=60, lock_wait=90)
    return Upgrade(
        aws=None,
        client=None,
        call=Call(clock=FakeClock()),
        store=Files(tmp_path).open(CLUSTER_ITSELF, read_upgrade),
        place=Place("123456789012", "eu-central-1", "prod", CLUSTER_ITSELF),
        journal=tmp_path / "journal",
        settings=settings,
        holder=Holder("host", "b00t", "4026531836", process, "1"),
        take_hold=str,
        rollouts=Files(tmp_path).open,
    )


@pytest.mark.parametrize(
    ("part", "ended", "given_up", "done"),
    [
        (Part("nodes", "1.32", "istio"), LATER, False, True),
        (Part("nodes", "1.32", "istio"), LATER, True, False),
        (Part("nodes", "1.32", "istio"), "2026-11-20T01:00:00Z", False, False),
        (Part("nodes", "1.32", "istio"), "", False, False),
        (Part("nodes", "1.32", "shared"), LATER, False, False),
    ],
)
def test_a_rollout_that_ended_in_an_attempt_that_died_is_not_done_twice(
    tmp_path: Path, part: Part, ended: str, given_up: bool, done: bool
) -> None:
    if ended:
        store = Files(tmp_path).open("istio")
        store.save(a_checkpoint(ended=ended, given_up=given_up))
        store.archive("20261122T010000-abcdef")
    known = begun(NODES)

    assert rolled(upgrade_of(tmp_path), part, known.record(NODES)) is done
    assert not rolled(upgrade_of(tmp_path), part, PartRecord()), "nothing was begun yet"


@pytest.mark.parametrize(
    ("rollout", "in_hand"),
    [
        ({"started": LATER}, True),
        ({"started": "2026-11-20T01:00:00Z"}, False),
        ({"started": LATER, "ended": END}, False),
        (None, False),
    ],
)
def test_a_rollout_that_is_under_way_keeps_the_image_that_it_began_with(
    tmp_path: Path, rollout: dict[str, str] | None, in_hand: bool
) -> None:
    if rollout:
        Files(tmp_path).open("istio").save(a_checkpoint(**rollout))

    assert settled(upgrade_of(tmp_path), NODES, begun(NODES).record(NODES)) is in_hand
    assert not settled(upgrade_of(tmp_path), NODES, PartRecord())


def test_groups_that_end_at_the_same_moment_do_not_overwrite_each_other(tmp_path: Path) -> None:
    upgrade = upgrade_of(tmp_path)
    upgrade.store.save(an_upgrade(holder=upgrade.holder.label))
    raced = []

    def finish_addons(known: UpgradeCheckpoint) -> None:
        if not raced:
            raced.append(upgrade_of(tmp_path).amend(lambda other: other.finish(NODES, LATER, {})))
        known.finish(ADDONS, LATER, {})

    upgrade.amend(finish_addons)

    known = upgrade_of(tmp_path).store.load()
    assert [known.record(part).finished for part in (ADDONS, NODES)] == [LATER, LATER]


def test_an_upgrade_that_another_run_has_taken_up_is_left_alone(tmp_path: Path) -> None:
    upgrade = upgrade_of(tmp_path)
    upgrade.store.save(an_upgrade(holder=upgrade_of(tmp_path, process=8).holder.label))
    with pytest.raises(RunInProgress, match="taken up meanwhile by another run"):
        upgrade.amend(lambda known: known.finish(ADDONS, LATER, {}))
    with pytest.raises(CheckpointError, match="disappeared while it was under way"):
        upgrade_of(tmp_path / "elsewhere").amend(lambda known: None)


# ---- what is kept of the answers


@pytest.mark.parametrize(
    ("part", "result", "facts"),
    [
        (
            CONTROL_PLANE,
            {
                "version": "1.32",
                "version_before": "1.31",
                "steps": [{"from": "1.31", "to": "1.32", "seconds": 600, "update_id": "u", "joined": False}],
                "rollback_until": END,
                "rollback_version": "1.31",
            },
            {
                "version": "1.32",
                "version_before": "1.31",
                "rollback_until": END,
                "rollback_version": "1.31",
                "lines": ["1.31 -> 1.32 in 600 s (update u)", f"EKS lets it be rolled back to 1.31 until {END}"],
            },
        ),
        (
            ADDONS,
            {
                "addons": [
                    {"name": "vpc-cni", "managed": True, "changed": True, "version_before": "v1", "version": "v2"},
                    {"name": "kube-proxy", "managed": False, "version_before": "v1", "version": "v1", "note": "old"},
                ]
            },
            {"addons": {"vpc-cni": "v2"}, "lines": ["vpc-cni v1 -> v2", "kube-proxy v1, self-managed, old"]},
        ),
        (
            NODES,
            {"rollout": {"summary": "2 instances replaced", "reports": {"html": "/r.html"}}, "image": {}},
            {"reports": {"html": "/r.html"}, "lines": ["2 instances replaced"]},
        ),
        (NODES, {}, {"lines": []}),
        (
            Part("verify", "1.32"),
            {"checks": {"nodes_ready": "ok", "lease": "skipped"}, "findings": []},
            {"checks": {"nodes_ready": "ok", "lease": "skipped"}, "lines": ["1 checks passed: nodes_ready"]},
        ),
    ],
)
def test_of_each_answer_what_is_to_be_told_is_kept(part, result, facts) -> None:
    assert facts_of(part, result) == facts


# ---- whose kubelets are how old


def node(name: str, version: str, instance: str = "", **labels: str) -> Any:
    provider = {"providerID": f"aws:///eu-central-1a/{instance}"} if instance else {}
    return node_from(
        {
            "metadata": {"name": name, "uid": name, "resourceVersion": "1", "labels": labels},
            "spec": provider,
            "status": {"nodeInfo": {"kubeletVersion": version}},
        }
    )


def test_the_oldest_kubelet_of_each_group_of_the_others_and_of_fargate_is_found() -> None:
    from unit.scripted_aws import group_entry, member_entry

    from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import parse_group

    groups = [
        parse_group(group_entry(member_entry("i-0000000a"), member_entry("i-0000000b"), name="istio"), hooks=None),
        parse_group(group_entry(name="empty"), hooks=None),
    ]
    nodes = [
        node("a", "v1.31.4-eks-1", "i-0000000a"),
        node("b", "v1.30.0", "i-0000000b"),
        node("x", "v1.29.0", "i-0000000f"),
        node("f", "v1.28.0", **{"eks.amazonaws.com/compute-type": "fargate"}),
        node("new", ""),
    ]

    kubelets, others, fargate = sorted_nodes(nodes, groups, {"istio": "recommended"})

    assert [(one.group, one.oldest, one.image) for one in kubelets] == [
        ("istio", parse_version("1.30"), "recommended"),
        ("empty", None, "keep"),
    ]
    assert (others.group, others.oldest) == ("x", parse_version("1.29"))
    assert fargate == parse_version("1.28")


# ---- the report


def report(outcome: str = "failed", cause: str = "<b>no</b>", difference: str = ""):
    known = begun(CONTROL_PLANE, ADDONS)
    known.finish(CONTROL_PLANE, LATER, {"lines": ["1.31 -> 1.32 in 600 s"], "reports": {"html": "/s/istio.html"}})
    events = [
        Event(1795309200.0, "run_begun", "run-1", {"operator": "ann"}),
        Event(1795309260.0, "part_begun", "run-1", {}),
        Event(1795309800.0, "run_begun", "run-1", {"operator": "bob", "awx_job_id": "7"}),
    ]
    return tell_upgrade(known, events, 1795311000.0, Ending(outcome, cause, "make it so"), ("journal j",), difference)


def test_the_report_tells_parts_runs_and_the_way_on_in_every_form() -> None:
    document = upgrade_document(report(difference="Nodes: 7 -> 7"))

    assert (document["outcome"], document["cluster"]["name"], document["version"]) == ("failed", "prod", "1.32")
    assert [part["title"] for part in document["parts"]][:2] == ["control plane at 1.32", "add-ons for 1.32"]
    assert document["parts"][0]["seconds"] == 600
    assert [one["outcome"] for one in document["attempts"]] == ["interrupted", "failed"]
    assert json.loads(upgrade_json(report()))["resume_command"] == "make it so"

    text = upgrade_markdown(report(difference="Nodes: 7 -> 7"))
    assert "# Upgrade of prod from 1.31 to 1.32: failed" in text
    assert "| control plane at 1.32 |" in text
    assert "    Nodes: 7 -> 7" in text
    assert "bob (AWX job 7)" in text

    page = upgrade_page(report())
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "<b>no</b>" not in page
    assert 'href="istio.html"' in page
    assert "begun, not finished" in page


def test_the_report_of_a_finished_upgrade_says_so_in_one_sentence() -> None:
    text = upgrade_markdown(report("finished", cause=""))
    assert "**Upgraded from 1.31 to 1.32 in 30 min" in text


@pytest.mark.parametrize(
    ("kinds", "ended", "alive", "outcome"),
    [
        (("run_begun", "part_begun"), "", True, "running"),
        (("run_begun", "part_begun"), "", False, "interrupted"),
        (("run_begun", "run_ended"), "", False, "failed"),
        (("run_begun", "run_ended", "run_begun"), "", False, "interrupted"),
        (("run_begun",), END, False, "finished"),
        ((), "", False, "interrupted"),
    ],
)
def test_who_was_not_there_is_told_how_the_last_run_ended(kinds, ended, alive, outcome) -> None:
    events = [Event(1.0 + at, kind, "run-1", {"outcome": "failed"}) for at, kind in enumerate(kinds)]
    assert ending_of(an_upgrade(ended=ended), events, alive).outcome == outcome


@pytest.mark.parametrize(
    ("version", "at", "known", "gone_on", "aside"),
    [
        ("1.32", "1.31", {}, False, "run-1"),  # nothing was changed: it is begun anew
        ("1.32", "1.32", {}, True, ""),
        ("1.33", "1.31", {}, False, "run-1"),
        ("1.32", "1.32", {"ended": END}, False, "run-1"),
        ("1.32", "1.32", None, False, ""),
    ],
)
def test_an_upgrade_that_has_changed_something_is_gone_on_with(tmp_path, version, at, known, gone_on, aside) -> None:
    upgrade = replace(upgrade_of(tmp_path), settings=replace(upgrade_of(tmp_path).settings, version=version))
    if known is not None:
        upgrade.store.save(an_upgrade(**known))
    cluster = Cluster("prod", "arn", parse_version(at), "eks.1", "ACTIVE")

    found, stale = unfinished_upgrade(upgrade, View(cluster, "u-1", (), None, None))

    assert (found is not None, stale) == (gone_on, aside)


def test_another_version_than_that_of_the_unfinished_upgrade_is_refused_with_both_and_the_ways_on(tmp_path) -> None:
    upgrade = replace(upgrade_of(tmp_path), settings=replace(upgrade_of(tmp_path).settings, version="1.33"))
    upgrade.store.save(an_upgrade())
    cluster = Cluster("prod", "arn", parse_version("1.32"), "eks.1", "ACTIVE")

    with pytest.raises(UpgradeChanged, match="to 1.32.*is asked for 1.33.*Finish it first.*eks_ignore_checkpoint"):
        unfinished_upgrade(upgrade, View(cluster, "u-1", (), None, None))
    with pytest.raises(CheckpointError, match="another cluster"):
        unfinished_upgrade(upgrade, View(cluster, "u-2", (), None, None))
    anew = replace(upgrade, settings=replace(upgrade.settings, ignore_checkpoint=True))
    assert unfinished_upgrade(anew, View(cluster, "u-1", (), None, None)) == (None, "run-1")
