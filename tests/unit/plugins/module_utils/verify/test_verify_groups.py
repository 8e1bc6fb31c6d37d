# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.scenes import a_member
from unit.verifications import NEW, OLD, WANTED, a_group, a_ready_node, a_scene, only, told

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Instance
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.lease import Lease
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import MARKS
from ansible_collections.evergreen.eks.plugins.module_utils.verify.checks import NAMES, Choice, findings
from ansible_collections.evergreen.eks.plugins.module_utils.verify.groups import leftover_groups
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import (
    ERROR,
    MANAGED_TAG,
    WARNING,
    Finding,
    Wanted,
)
from ansible_collections.evergreen.eks.plugins.module_utils.verify.traces import (
    cordons,
    lease,
    marks,
    protection,
    suspensions,
)

SHARED, ISTIO = Wanted(NEW, frozenset({"shared"})), Wanted(NEW, frozenset({"istio"}))
NAME = "Auto Scaling group shared"


# ---- left-over groups


@pytest.mark.parametrize(
    ("changes", "wanted", "expected"),
    [
        ({}, WANTED, []),
        ({"version": NEW}, WANTED, []),
        ({"version": OLD}, WANTED, [ERROR]),
        ({"version": OLD}, SHARED, [ERROR]),
        ({"version": OLD}, ISTIO, [WARNING]),
        ({"problem": "no such template"}, WANTED, [ERROR]),
        ({"problem": "no such template"}, ISTIO, [WARNING]),
        ({"version": OLD, "tags": {MANAGED_TAG: "shared"}}, WANTED, []),  # that is EKS's
    ],
)
def test_a_group_that_launches_old_nodes_or_none(changes: dict[str, Any], wanted: Wanted, expected: list[str]) -> None:
    scene = a_scene(a_ready_node("a"), groups=(a_group("shared", "i-a", **changes),))
    assert told(leftover_groups(scene, wanted)) == [(severity, NAME) for severity in expected]


@pytest.mark.parametrize(("wanted", "expected"), [(WANTED, [WARNING]), (ISTIO, [WARNING]), (SHARED, [])])
def test_a_group_without_instances_is_told_unless_it_was_named(wanted: Wanted, expected: list[str]) -> None:
    found = list(leftover_groups(a_scene(groups=(a_group("shared"),)), wanted))
    assert told(found) == [(severity, NAME) for severity in expected]


def test_a_group_of_cordoned_nodes_only() -> None:
    group = (a_group("shared", "i-a", "i-b"),)
    assert (
        list(leftover_groups(a_scene(a_ready_node("a", cordoned=True), a_ready_node("b"), groups=group), WANTED)) == []
    )
    found = only(leftover_groups(a_scene(*(a_ready_node(n, cordoned=True) for n in "ab"), groups=group), ISTIO))
    assert (found.severity, found.message) == (ERROR, f"{NAME} has 2 nodes, all of them cordoned")


@pytest.mark.parametrize(("wanted", "severity"), [(SHARED, ERROR), (ISTIO, WARNING), (WANTED, WARNING)])
def test_a_group_whose_instances_do_not_come(wanted: Wanted, severity: str) -> None:
    group = a_group("shared", "i-a", desired_capacity=2)
    found = only(leftover_groups(a_scene(a_ready_node("a"), groups=(group,)), wanted))
    assert (found.severity, found.passes) == (severity, True)
    assert found.message == f"{NAME} wants 2 instances, 1 of them are nodes here"
    weighted = a_group("shared", "i-a", desired_capacity=16, weighted=True)
    assert list(leftover_groups(a_scene(a_ready_node("a"), groups=(weighted,)), wanted)) == []


# ---- traces


def test_tags_and_annotations_of_ours_are_named() -> None:
    ours = json.dumps({"run": "r-1", "cordoned": True, "labels": {"x": {"was": None, "set_to": "y"}}})
    scene = a_scene(
        a_ready_node("a", cordoned=True),
        a_ready_node("b"),
        a_ready_node("c"),
        groups=(a_group("shared", "i-a", tags={"evergreen.eks/run": "id=r-1", "team": "x"}), a_group("istio")),
        marked=(Instance("i-z", "stopped", tags={"evergreen.eks/leaving": "r-1/stopped/shared", "Name": "z"}),),
        manifests={"a": {"annotations": {MARKS: ours}}, "c": {"annotations": {MARKS: "torn"}}},
    )
    assert [(one.severity, one.message) for one in marks(scene, WANTED)] == [
        (ERROR, "Auto Scaling group shared carries evergreen.eks/run: a run has not finished it"),
        (ERROR, "Instance i-z (stopped) carries evergreen.eks/leaving"),
        (ERROR, "Node a carries evergreen.eks/marks: the cordon, label x of run r-1"),
        (ERROR, "Node c carries evergreen.eks/marks: it cannot be read"),
    ]
    assert [(one.severity, one.message) for one in cordons(scene, WANTED)] == [(ERROR, "Node a is cordoned by run r-1")]


def test_a_cordon_of_somebody_else_is_a_warning() -> None:
    assert told(cordons(a_scene(a_ready_node("a", cordoned=True)), WANTED)) == [(WARNING, "Node a")]


def test_a_node_that_is_out_of_the_load_balancers_is_a_warning() -> None:
    label = "node.kubernetes.io/exclude-from-external-load-balancers"
    found = only(cordons(a_scene(a_ready_node("a"), manifests={"a": {"labels": {label: "true"}}}), WANTED))
    assert (found.severity, found.object) == (WARNING, "Node a") and "no traffic" in found.message


@pytest.mark.parametrize(
    ("suspended", "tag", "expected"),
    [
        ([], "", []),
        (["AZRebalance"], "", []),  # many clusters have it suspended for good
        (["AZRebalance"], "AZRebalance", [(ERROR, "AZRebalance")]),
        ([], "AZRebalance", []),  # resumed already: the tag is told by another check
        (["Launch", "AZRebalance"], "", [(WARNING, "Launch")]),
        (["Launch", "AZRebalance"], "AZRebalance", [(ERROR, "AZRebalance"), (WARNING, "Launch")]),
    ],
)
def test_suspended_processes(suspended: list[str], tag: str, expected: list[tuple[str, str]]) -> None:
    tags = {"evergreen.eks/suspended": tag} if tag else {}
    group = a_group("shared", suspended=dict.fromkeys(suspended, "User suspended"), tags=tags)
    found = list(suspensions(a_scene(groups=(group,)), WANTED))
    assert [(one.severity, one.message.split("rests in ")[1].split(",")[0]) for one in found] == expected


@pytest.mark.parametrize(
    ("changes", "protected", "expected"),
    [
        ({}, False, []),
        ({}, True, [WARNING]),
        ({"protects_new": True}, True, []),
        ({"protects_new": True, "tags": {"evergreen.eks/protects-new": "was=no set_to=yes"}}, True, [ERROR]),
    ],
)
def test_protection_from_scale_in(changes: dict[str, Any], protected: bool, expected: list[str]) -> None:
    group = a_group("shared", a_member("i-a", protected=protected), **changes)
    assert told(protection(a_scene(groups=(group,)), WANTED)) == [(severity, NAME) for severity in expected]


HERE = Holder(host="here", boot="b", namespace="1", pid=4194304, started="7")


def a_lease(holder: str) -> Lease:
    return Lease({"metadata": {"name": "evergreen-eks"}, "spec": {"holderIdentity": holder}})


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (None, []),
        ("", []),
        (HERE.label, []),  # ourselves
        ("there/b/1/1/7", [(WARNING, False)]),
        ("here/b/1/4194303/8", [(ERROR, False)]),  # a process of this machine that is not there
    ],
)
def test_the_lock_of_the_cluster(held: str | None, expected: list[tuple[str, bool]]) -> None:
    scene = a_scene(lease=None if held is None else a_lease(held))
    found = list(lease(scene, Wanted(NEW, here=HERE)))
    assert [one.severity for one in found] == [severity for severity, _passes in expected]


def test_a_lock_that_we_may_not_read_is_a_warning() -> None:
    found = only(lease(a_scene(lease_hidden=True), Wanted(NEW, here=HERE)))
    assert found.severity == WARNING and "Grant the verb get" in found.remedy


# ---- which checks


@pytest.mark.parametrize(
    ("checks", "ignore", "made"),
    [
        ([], [], list(NAMES)),
        (["marks", "cordons"], [], ["marks", "cordons"]),
        (["marks", "cordons"], ["cordons"], ["marks"]),
        (["marks", "cordons"], ["cordons:*"], ["marks"]),
        (["marks", "cordons"], ["cordons:Node a"], ["marks", "cordons"]),
    ],
)
def test_checks_are_chosen_and_left_out_by_name(checks: list[str], ignore: list[str], made: list[str]) -> None:
    assert list(Choice.of(checks, ignore).made) == made


@pytest.mark.parametrize(
    ("checks", "ignore", "remedy"),
    [(["mark"], [], "Did you mean marks"), ([], ["cordon:Node a"], "Did you mean cordons"), (["x"], [], "Name one of")],
)
def test_a_check_that_does_not_exist_is_refused(checks: list[str], ignore: list[str], remedy: str) -> None:
    with pytest.raises(InvalidInput, match="there is no check") as caught:
        Choice.of(checks, ignore)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("pattern", "ignored"),
    [("cordons", True), ("cordons:Node ip-10-*", True), ("cordons:Node ip-11-*", False), ("marks", False)],
)
def test_findings_are_left_out_by_the_pattern_of_their_object(pattern: str, ignored: bool) -> None:
    finding = Finding("cordons", WARNING, "Node ip-10-0-0-1", "", "")
    assert Choice.of([], [pattern]).ignores(finding) is ignored


def test_all_checks_are_made_whatever_one_of_them_finds() -> None:
    scene = a_scene(a_ready_node("a", OLD, cordoned=True, ready=False), groups=(a_group("shared", "i-a", version=OLD),))
    found = findings(scene, WANTED, Choice.of([], []))
    assert {one.check for one in found} == {"nodes_ready", "node_versions", "leftover_groups", "cordons"}
    assert all(one.message and one.remedy and one.check in NAMES for one in found)
