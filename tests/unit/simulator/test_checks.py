# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judges: each invariant is found broken when it is, and only then. And the table at the end of a demonstration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator import checks
from simulator.clock import Clock
from simulator.record import Record
from simulator.snapshot import GroupState, InstanceState, NodeState, Snapshot
from simulator.summary import as_data, summarize
from simulator.table import table

OLD, NEW = ("i-old1", "i-old2"), ("i-new1", "i-new2")


def group(*instances: str, **changes) -> GroupState:
    members = {one: InstanceState(one, "a", "InService", False, "2" if "new" in one else "1") for one in instances}
    plain = GroupState("shared", 0, 2, 2, False, frozenset(), {"Name": "x"}, members)
    return replace(plain, **changes)


def node(instance: str, **changes) -> NodeState:
    plain = NodeState(f"ip-{instance}", instance, "shared", True, False, frozenset(), {}, {})
    return replace(plain, **changes)


def snapshot(state: GroupState, *more_running: str, **nodes: NodeState) -> Snapshot:
    found = {one: node(one) for one in state.instances} | {given.instance_id: given for given in nodes.values()}
    running = {one: {} for one in [*state.instances, *more_running]}
    return Snapshot(0.0, {"shared": state}, found, running, {}, ())


BEFORE = snapshot(group(*OLD))
AFTER = snapshot(group(*NEW))
EXPECTED = checks.Expected(selected={"shared": OLD})


@pytest.fixture
def record() -> Record:
    """Of a rollout as it should be."""
    record = Record(Clock(speed=0))
    for old in OLD:
        record.note("cordoned", node=f"ip-{old}", group="shared", author="evergreen", ready=2)
        evicted(record, old)
        removed(record, old)
    return record


def evicted(record: Record, instance: str, **changes) -> None:
    fields = {"pod": "default/web", "node": f"ip-{instance}", "group": "shared", "author": "evergreen", "ready": 2}
    record.note("evicted", **{**fields, **changes})


def removed(record: Record, instance: str, **changes) -> None:
    fields = {"instance": instance, "group": "shared", "node": f"ip-{instance}", "author": "evergreen", "ready": 2}
    more = {"how": "terminated", "cause": "", "was_ready": True, "pods": ()}
    record.note("instance_removed", **{**fields, **more, **changes})


def broken(record: Record, after: Snapshot = AFTER, expected: checks.Expected = EXPECTED) -> list[str]:
    return checks.broken_invariants(record, BEFORE, after, expected)


def test_a_rollout_as_it_should_be_breaks_nothing(record: Record) -> None:
    assert broken(record) == []


def test_too_few_nodes_after_a_cordon(record: Record) -> None:
    record.note("cordoned", node="ip-i-old1", group="shared", author="evergreen", ready=1)
    assert broken(record) == ["after ip-i-old1 was cordoned, shared had 1 nodes left, not 2"]
    assert broken(record, expected=replace(EXPECTED, max_unavailable={"shared": 1})) == []


def test_cordons_by_others_are_not_ours(record: Record) -> None:
    record.note("cordoned", node="ip-i-old1", group="shared", author="somebody", ready=0)
    assert broken(record) == []


def test_too_few_nodes_at_an_eviction(record: Record) -> None:
    evicted(record, "i-old1", ready=1)
    assert broken(record) == ["after default/web was evicted from ip-i-old1, shared had 1 nodes left, not 2"]


def test_too_few_nodes_at_a_removal(record: Record) -> None:
    removed(record, "i-old1", ready=1)
    assert broken(record) == ["after i-old1 was removed, shared had 1 nodes left, not 2"]


def test_what_never_became_a_node_goes_whatever_is_ready(record: Record) -> None:
    removed(record, "i-stillborn", node="", was_ready=False, ready=0)
    assert broken(record) == []


def test_what_others_took_a_moment_ago_need_not_be_known() -> None:
    clock = Clock(speed=0)
    record = Record(clock)
    removed(record, "i-new1", author="somebody")
    evicted(record, "i-old1", ready=1)
    assert checks.strength_kept(record, BEFORE, EXPECTED) == []
    clock.advance(checks.UNSEEN)
    evicted(record, "i-old1", ready=1)
    assert len(checks.strength_kept(record, BEFORE, EXPECTED)) == 1


@pytest.mark.parametrize("author", ["evergreen", "aws"])
def test_a_lost_pod(record: Record, author: str) -> None:
    record.note("pod_lost", pod="default/web", node="ip-i-new1", instance="i-new1", author=author, alive=True)
    assert broken(record) == [f"default/web was still on ip-i-new1 when {author} removed the instance"]


def test_auto_scaling_removed_an_instance_itself(record: Record) -> None:
    removed(record, "i-new3", author="aws", cause="balance instances in zones")
    assert broken(record) == ["i-new3 was removed by Auto Scaling itself: balance instances in zones"]


def test_auto_scaling_may_remove_what_somebody_else_ended(record: Record) -> None:
    removed(record, "i-new3", author="aws", pods=("default/web",))
    record.note("pod_lost", pod="default/web", node="ip-i-new3", instance="i-new3", author="aws", alive=True)
    assert broken(record, expected=replace(EXPECTED, gone_otherwise=("i-new3",))) == []


def test_new_nodes_were_taken_out_again_without_need(record: Record) -> None:
    for stillborn in ("i-1", "i-2"):
        removed(record, stillborn, was_ready=False)
    removed(record, "i-surplus")
    assert broken(record, expected=replace(EXPECTED, surplus=1)) == []
    assert broken(record, expected=replace(EXPECTED, surplus=0)) == [
        "shared: i-surplus were launched, Ready and removed again; 0 were too many"
    ]


def test_a_violated_budget(record: Record) -> None:
    record.note("budget_violated", budget="default/web", author="evergreen", healthy=1, wanted=2)
    assert broken(record) == ["default/web was left with 1 healthy pods, it wants 2"]


def test_a_wrong_instance_was_removed(record: Record) -> None:
    expected = checks.Expected(selected={"shared": OLD[1:]})
    assert broken(record, expected=expected) == [f"{OLD[0]} was removed, but had not been selected"]


def test_what_the_run_had_launched_itself_it_may_take_out_again(record: Record) -> None:
    removed(record, "i-surplus")
    assert broken(record) == []


def test_a_selected_instance_was_forgotten(record: Record) -> None:
    expected = checks.Expected(selected={"shared": [*OLD, "i-new1"]})
    assert broken(record, expected=expected) == ["i-new1 was selected, but is still there"]


def test_an_instance_runs_outside_its_group(record: Record) -> None:
    assert broken(record, snapshot(group(*NEW), "i-old1")) == ["i-old1 runs outside its group"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"max_size": 3}, "shared: max_size is 3, not 2"),
        ({"suspended": frozenset({"AZRebalance"})}, "shared: suspended are ['AZRebalance'], not []"),
        ({"protects_new": True}, "shared: protection of new instances is True, not False"),
        ({"tags": {"Name": "x", "evergreen.eks/run": "r"}}, "shared: tags are"),
    ],
)
def test_something_of_the_group_was_not_put_back(record: Record, changes: dict, sentence: str) -> None:
    (problem,) = broken(record, snapshot(group(*NEW, **changes)))
    assert problem.startswith(sentence)


def test_what_others_changed_is_theirs(record: Record) -> None:
    after = snapshot(group(*NEW, max_size=5))
    assert broken(record, after, replace(EXPECTED, shifted={"shared": {"max_size": 3}})) == []


@pytest.mark.parametrize(
    ("left", "sentence"),
    [
        ({"unschedulable": True}, "ip-i-new1 was left cordoned"),
        ({"annotations": {"evergreen.eks/marks": "{}"}}, "ip-i-new1: evergreen.eks/marks was left on it"),
        ({"annotations": {checks.SCALE_DOWN_DISABLED: "true"}}, f"ip-i-new1: {checks.SCALE_DOWN_DISABLED} was left"),
        ({"labels": {checks.EXCLUDE_FROM_BALANCERS: ""}}, f"ip-i-new1: {checks.EXCLUDE_FROM_BALANCERS} was left"),
    ],
)
def test_something_was_left_on_a_node(record: Record, left: dict, sentence: str) -> None:
    (problem,) = broken(record, snapshot(group(*NEW), one=node("i-new1", **left)))
    assert problem.startswith(sentence)


def test_a_tag_was_left_on_an_instance(record: Record) -> None:
    marked = replace(AFTER, running={**AFTER.running, NEW[0]: {"Name": "x", "evergreen.eks/member": "run=r"}})
    assert broken(record, marked) == [f"{NEW[0]}: the tag evergreen.eks/member was left on it"]


def test_a_mark_of_its_user_was_taken_off_a_node(record: Record) -> None:
    stays = node("i-stays", annotations={checks.SCALE_DOWN_DISABLED: "true"})
    before, after = (snapshot(group(*some, "i-stays", desired=3), one=stays) for some in (OLD, NEW))
    assert checks.all_put_back(before, after, EXPECTED) == []
    (problem,) = checks.all_put_back(before, snapshot(group(*NEW, "i-stays", desired=3)), EXPECTED)
    assert problem.startswith(f"ip-i-stays: {checks.SCALE_DOWN_DISABLED}, which its user had set")


@pytest.mark.parametrize(
    ("service", "operation", "target"),
    [
        ("autoscaling", "SetDesiredCapacity", "shared"),
        ("autoscaling", "TerminateInstanceInAutoScalingGroup", "i-old1"),
        ("ec2", "CreateTags", "i-elsewhere,i-new1"),
        ("kubernetes", "PATCH nodes", "ip-i-old2"),
    ],
)
def test_two_runs_at_the_same_time(record: Record, service: str, operation: str, target: str) -> None:
    for author in ("evergreen", "evergreen-2", "evergreen"):
        call = record.begin(author=author, service=service, operation=operation, target=target, mutating=True)
        record.end(call, 200)
    expected = replace(EXPECTED, authors=("evergreen", "evergreen-2"))
    assert broken(record, expected=expected) == ["shared was changed by evergreen and evergreen-2 at the same time"]
    assert broken(record) == []


def test_any_change_after_a_call_is_named(record: Record) -> None:
    assert checks.nothing_changed(record) == []
    call = record.begin(author="evergreen", service="ec2", operation="TerminateInstances", mutating=True)
    assert checks.nothing_changed(record) == [str(call)]
    assert checks.nothing_changed(record, since=call.number) == []


def test_the_table_names_successors_in_the_same_zone_and_counts_lost_pods(record: Record) -> None:
    removed(record, "i-other", author="somebody", pods=("default/web",))
    for new in NEW:
        record.note("instance_launched", instance=new, zone="a")
    summaries = summarize(record, BEFORE, AFTER)
    assert [(one.old, one.new, one.zone) for one in summaries[0].replacements] == [
        ("i-old1", "i-new1", "a"),
        ("i-old2", "i-new2", "a"),
    ]
    assert summaries[0].lost_pods == 1
    text = table(as_data(summaries), speed=30)
    assert "i-old1 (v1) -> i-new1 (v2)" in text
    assert "0/2/2" in text
    assert text.endswith("lost pods: 1")
