# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as a file: written for all groups of a cluster, followed only where the rollout would be the same."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Host
from ansible_collections.evergreen.eks.plugins.module_utils.plan_file import (
    PlanDrift,
    Planned,
    PlanUnusable,
    check_place,
    follow,
    read_planned,
    write_plan,
)

CLUSTER = {"name": "prod", "uid": "u-1", "account": "111122223333", "region": "eu-central-1"}
ASKED = {"select": "outdated", "max_surge": "25%", "max_unavailable": "0", "canary": 1}
PLAN = {
    "made": "2026-11-21T01:00:00Z",
    "fingerprint": "sha256:1",
    "target": "version 2",
    "remaining": ["i-1", "i-2"],
    "settings": ASKED,
}
MADE = datetime(2026, 11, 21, 1, tzinfo=timezone.utc)
PLANNED = Planned("plan.json", PLAN["made"], "sha256:1", "version 2", ("i-1", "i-2"), ASKED)
TARGET = ("sha256:1", "version 2")


def test_what_is_written_is_read_and_nobody_else_may(tmp_path):
    path = tmp_path / "plan.json"
    write_plan(path, CLUSTER, "shared", PLAN)
    assert read_planned(path, CLUSTER, "shared") == replace(PLANNED, place=str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text(encoding="utf-8"))
    assert (document["kind"], document["schema"], document["cluster"]) == ("evergreen.eks/plan", 1, CLUSTER)


def test_a_plan_holds_no_secret(tmp_path):
    path = tmp_path / "plan.json"
    write_plan(
        path, CLUSTER, "shared", {**PLAN, "blocked": [{"message": "Bearer abc.def of https://ann:geheim@proxy"}]}
    )
    content = path.read_text(encoding="utf-8")
    assert "https://proxy" in content
    assert not [secret for secret in ("abc.def", "geheim") if secret in content]


def test_a_group_that_is_planned_again_leaves_the_others(tmp_path):
    path = tmp_path / "plan.json"
    write_plan(path, CLUSTER, "shared", PLAN)
    write_plan(path, CLUSTER, "istio", {**PLAN, "remaining": []})
    write_plan(path, CLUSTER, "shared", {**PLAN, "remaining": ["i-3"]})
    assert read_planned(path, CLUSTER, "istio").selected == ()
    assert read_planned(path, CLUSTER, "shared").selected == ("i-3",)


def test_groups_that_are_planned_side_by_side_are_all_in_it(tmp_path):
    path, names = tmp_path / "plan.json", [f"group-{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: write_plan(path, CLUSTER, name, PLAN), names))
    assert [read_planned(path, CLUSTER, name).target for name in names] == ["sha256:1"] * 20
    assert list(tmp_path.iterdir()) == [path], "nothing else is left"


@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        (None, "plan_missing", "there is no plan file"),
        ("{", "plan_unreadable", "not a plan file"),
        ("[]", "plan_unreadable", "it is not a plan"),
        ('{"kind": "other", "schema": 1, "groups": {}, "cluster": {}}', "plan_unreadable", "it is not a plan"),
        (
            '{"kind": "evergreen.eks/plan", "schema": 2, "groups": {}, "cluster": {}}',
            "plan_unreadable",
            "schema 2, and this release knows 1",
        ),
        (
            json.dumps({"kind": "evergreen.eks/plan", "schema": 1, "groups": {"istio": {}}, "cluster": CLUSTER}),
            "plan_missing",
            "no plan of node group shared, only of istio",
        ),
        (
            json.dumps({"kind": "evergreen.eks/plan", "schema": 1, "groups": {"shared": {}}, "cluster": CLUSTER}),
            "plan_unreadable",
            "KeyError 'made'",
        ),
        (
            json.dumps({"kind": "evergreen.eks/plan", "schema": 1, "groups": {}, "cluster": {**CLUSTER, "uid": "u-2"}}),
            "plan_foreign",
            "is of cluster prod",
        ),
    ],
)
def test_a_file_that_cannot_be_followed(tmp_path, content, reason, says):
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(PlanUnusable) as caught:
        read_planned(path, CLUSTER, "shared")
    assert caught.value.reason == reason
    assert says in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("my own notes", "plan_unreadable"),
        (
            json.dumps({"kind": "evergreen.eks/plan", "schema": 1, "groups": {}, "cluster": {**CLUSTER, "uid": "u-2"}}),
            "plan_foreign",
        ),
    ],
)
def test_what_is_somebody_elses_is_not_overwritten(tmp_path, content, reason):
    path = tmp_path / "plan.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(PlanUnusable) as caught:
        write_plan(path, CLUSTER, "shared", PLAN)
    assert caught.value.reason == reason
    assert path.read_text(encoding="utf-8") == content


def test_a_place_where_no_file_can_be(tmp_path):
    with pytest.raises(PlanUnusable, match="cannot be written: No such file or directory") as caught:
        write_plan(tmp_path / "no" / "plan.json", CLUSTER, "shared", PLAN)
    assert caught.value.reason == "plan_unwritable"
    with pytest.raises(InvalidInput, match="is a folder"):
        check_place(tmp_path)
    check_place(tmp_path / "plan.json")


# --- follow ----------------------------------------------------------------------------------------------------------


def a_host(name: str, after: int = -3600, counts: bool = True, outdated: str | None = None) -> Host:
    """A member that was launched so many seconds after the plan was made."""
    launched = MADE + timedelta(seconds=after)
    return Host(name, "a", "InService" if counts else "Terminating", counts, launched=launched, outdated=outdated)


OLD = [a_host("i-1"), a_host("i-2")]


@pytest.mark.parametrize(
    ("chosen", "hosts", "kept", "note"),
    [
        (["i-1", "i-2"], OLD, ["i-1", "i-2"], "follows the plan of 2026-11-21T01:00:00Z"),
        # An autoscaler added one since: with select all it would be selected, too.
        (["i-1", "i-2", "i-3"], [*OLD, a_host("i-3", after=60)], ["i-1", "i-2"], "and kept: i-3"),
        # It, or the spot market, took one.
        (["i-1"], OLD[:1], ["i-1"], "gone already: i-2"),
        (["i-1"], [OLD[0], a_host("i-2", counts=False)], ["i-1"], "gone already: i-2"),
    ],
)
def test_a_change_of_size_is_no_drift(chosen, hosts, kept, note):
    followed = follow(PLANNED, ASKED, TARGET, dict.fromkeys(chosen, "all"), hosts)
    assert list(followed.selected) == kept
    assert any(note in line for line in followed.notes)


@pytest.mark.parametrize(
    ("chosen", "hosts", "asked", "target", "says"),
    [
        (["i-1", "i-2"], OLD, ASKED, ("sha256:2", "version 3"), "it would launch version 3, planned was version 2"),
        (["i-1", "i-2", "i-3"], [*OLD, a_host("i-3")], ASKED, TARGET, "i-3 would be replaced, and was not planned"),
        # Launched since, and outdated all the same: from something else than the plan knew.
        (
            ["i-1", "i-2", "i-3"],
            [*OLD, a_host("i-3", after=60, outdated="image")],
            ASKED,
            TARGET,
            "i-3 would be replaced",
        ),
        (["i-1"], OLD, ASKED, TARGET, "i-2 was planned to be replaced, and would not be"),
        (["i-1", "i-2"], OLD, {**ASKED, "max_surge": "50%"}, TARGET, "max_surge is 50%, planned was 25%"),
        (["i-1", "i-2"], OLD, {**ASKED, "select": "all"}, TARGET, "select is all, planned was outdated"),
    ],
)
def test_what_is_drift_is_refused_and_named(chosen, hosts, asked, target, says):
    with pytest.raises(PlanDrift) as caught:
        follow(PLANNED, asked, target, dict.fromkeys(chosen, "all"), hosts)
    assert caught.value.reason == "plan_drift"
    assert says in str(caught.value)
    assert "Make a new plan" in caught.value.remedy
