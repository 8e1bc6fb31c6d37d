# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.departure import (
    Fate,
    LeavingMark,
    Request,
    failure,
    position,
    refuse_below_min,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group, Instance, Member

ONE, TWO = "i-00000000000000001", "i-00000000000000002"
OURS = {"evergreen.eks/leaving": "run-7/stopped/shared"}
OF_ANOTHER_GROUP = {"evergreen.eks/leaving": "run-7/stopped/other"}


def a_request(**options: Any) -> Request:
    defaults = {
        "asg_name": "shared",
        "instance_ids": [ONE],
        "decrement": True,
        "final_state": "terminated",
        "method": "auto",
        "verify_drained": True,
        "allow_unjoined": False,
        "dead_node_timeout": 60.0,
        "min_ready": None,
        "run_id": "run-7",
        "wait": True,
        "timeout": 60.0,
        "poll_seconds": 1.0,
    }
    return Request.of({**defaults, **options})


def member(state: str, instance_id: str = ONE) -> Member:
    return Member(instance_id=instance_id, zone="eu-central-1a", lifecycle_state=state)


@pytest.mark.parametrize(
    ("final_state", "method"),
    [("terminated", "terminate_in_group"), ("stopped", "detach"), ("detached", "detach")],
)
def test_auto_terminates_in_the_group_where_that_is_possible(final_state: str, method: str) -> None:
    assert a_request(final_state=final_state).method == method


@pytest.mark.parametrize(
    "options",
    [
        {"instance_ids": ["ip-10-0-0-1"]},
        {"instance_ids": [ONE, "i-xyz"]},
        {"method": "terminate_in_group", "final_state": "stopped"},
        {"min_ready": -1},
        {"timeout": -1.0},
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        a_request(**options)


def test_an_instance_named_twice_goes_once() -> None:
    assert a_request(instance_ids=[ONE, TWO, ONE]).instance_ids == (ONE, TWO)


@pytest.mark.parametrize(
    ("state", "options", "step", "reason"),
    [
        ("InService", {}, "remove", "planned"),
        ("Standby", {}, "remove", "planned"),
        ("Pending:Wait", {}, "remove", "planned"),
        ("Pending:Wait", {"method": "detach"}, "refuse", "not_in_service"),
        ("Terminating:Wait", {}, "leaving", "terminating"),
        ("Detaching", {"final_state": "stopped"}, "leaving", "detaching"),
        ("Warmed:Stopped", {}, "refuse", "warm_pool"),
    ],
)
def test_the_next_step_of_a_member(state: str, options: dict[str, Any], step: str, reason: str) -> None:
    place = position(member(state), None, a_request(**options))
    assert (place.step, place.reason) == (step, reason)


@pytest.mark.parametrize(
    ("state", "tags", "final_state", "step", "result"),
    [
        (None, {}, "terminated", "done", "already_gone"),
        ("terminated", {}, "terminated", "done", "already_gone"),
        ("shutting-down", {}, "stopped", "done", "already_gone"),
        ("running", OURS, "terminated", "finish", "leaving"),
        ("stopped", OURS, "terminated", "finish", "leaving"),
        ("stopped", OURS, "stopped", "done", "stopped"),
        ("stopping", {}, "stopped", "leaving", "leaving"),
        ("running", {}, "terminated", "refuse", "refused"),
        ("running", OF_ANOTHER_GROUP, "terminated", "refuse", "refused"),
        ("running", {}, "detached", "done", "detached"),
    ],
)
def test_the_next_step_outside_the_group(
    state: str | None, tags: dict[str, str], final_state: str, step: str, result: str
) -> None:
    instance = Instance(instance_id=ONE, state=state, tags=tags) if state else None
    place = position(None, instance, a_request(final_state=final_state))
    assert (place.step, place.result) == (step, result)


def test_only_members_that_count_lower_the_group_towards_its_minimum() -> None:
    group = Group("shared", "arn", 1, 3, 2, members=(member("InService"), member("Terminating", TWO)))
    refuse_below_min(group, [ONE, TWO])
    with pytest.raises(EvergreenError, match="from 2 to 1, below its min_size 2") as caught:
        refuse_below_min(Group("shared", "arn", 2, 3, 2, members=group.members), [ONE])
    assert caught.value.reason == "below_min_size"


def test_a_partial_failure_names_the_instances_and_the_reason_of_most() -> None:
    fates = {
        ONE: Fate("refused", "not_drained", "pods are still there: default/web", "node-1"),
        TWO: Fate("terminated", "removed", ""),
    }
    error = failure("shared", fates, {"changed": True, "instances": {}})
    assert error.reason == "not_drained"
    assert f"1 of 2 instances were not removed from Auto Scaling group shared: {ONE} (node-1): pods" in str(error)
    assert "Drain these nodes" in str(error)


@pytest.mark.parametrize("asg_name", ["shared", "a/b", "x" * 255])
def test_the_mark_on_what_is_detached_is_read_again_and_fits_into_a_tag(asg_name: str) -> None:
    text = str(LeavingMark("20261121T010203-4f2a9c", "terminated", asg_name))
    assert len(text) <= 256
    mark = LeavingMark.parse(text)
    assert (mark.run_id, mark.final_state) == ("20261121T010203-4f2a9c", "terminated")
    assert mark.is_of(asg_name) and not mark.is_of("another")
