# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from unit.scripted_aws import instance_entry, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Activity, Group, Member
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Standing
from ansible_collections.evergreen.eks.plugins.module_utils.readiness import (
    Arrivals,
    Look,
    Question,
    how_many,
    not_ready,
    with_states,
)

ONE, TWO, THREE = "i-00000000000000001", "i-00000000000000002", "i-00000000000000003"
UTC = timezone.utc


def question(**options: Any) -> Question:
    defaults = {
        "instance_ids": None,
        "asg_name": "shared",
        "exclude_instance_ids": None,
        "min_ready": None,
        "expected_desired": None,
        "looks": 2,
        "daemonsets": False,
        "startup_taints": None,
        "timeout": 60.0,
    }
    return Question.of({**defaults, **options})


def group(desired: int, *ids: str) -> Group:
    members = tuple(Member(item, "eu-central-1a", "InService") for item in ids)
    return Group("shared", "arn", 0, 9, desired, members=members)


def standings(*ids: str, reason: str = "ready", message: str = "") -> tuple[Standing, ...]:
    return tuple(Standing(item, "", reason, message) for item in ids)


@pytest.mark.parametrize(
    "options",
    [{"looks": 0}, {"min_ready": -1}, {"timeout": -1.0}, {"instance_ids": [ONE, ONE], "min_ready": 2}],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        question(**options)


def test_of_a_group_no_fewer_are_needed_than_it_is_to_have() -> None:
    assert how_many(question(), group(3, ONE), standings(ONE)) == 3
    assert how_many(question(), group(1, ONE, TWO), standings(ONE, TWO)) == 2
    assert how_many(question(exclude_instance_ids=[ONE]), group(3, ONE, TWO), standings(TWO)) == 2
    assert how_many(question(min_ready=1), group(3, ONE), standings(ONE)) == 1
    assert how_many(question(instance_ids=[ONE, TWO], asg_name=None), None, standings(ONE, TWO)) == 2


@pytest.mark.parametrize(("desired", "needed"), [(4, 4), (5, 4), (3, 3), (0, 0)])
def test_where_somebody_lowers_the_desired_capacity_as_many_fewer_are_needed(desired: int, needed: int) -> None:
    assert how_many(question(min_ready=4, expected_desired=4), group(desired, ONE), standings(ONE)) == needed


def test_named_instances_that_have_ended_make_the_wait_hopeless_but_a_group_replaces_them() -> None:
    both = (*standings(ONE), *standings(TWO, reason="terminated"))
    assert Look(both, steady=1, needed=2).hopeless
    assert not Look(both, steady=1, needed=1).hopeless
    assert not Look(both, steady=1, needed=2, group=group(2, ONE, TWO)).hopeless


def test_the_failure_says_what_most_lack_and_what_aws_says_of_the_launches() -> None:
    look = Look(standings(ONE, reason="no_node", message="no Node has its provider ID"), 0, 3, group(3, ONE))
    trouble = Activity("a-1", "Failed", description="Launching a new EC2 instance.", status_message="No capacity.")
    error = not_ready(look, trouble, "within 60 s")
    assert error.reason == "no_node"
    assert "0 of the 3 instances of Auto Scaling group shared" in str(error)
    assert f"{ONE}: no Node has its provider ID; the group has only 1" in str(error)
    assert "No capacity" in str(error) and "No capacity" in error.details["activity"]
    assert error.details["instances"][ONE]["reason"] == "no_node"


def test_the_failure_says_how_auto_scaling_and_ec2_see_what_is_missing() -> None:
    missing = standings(TWO, reason="no_node", message="no Node has its provider ID")
    look = Look((*standings(ONE), *missing), 1, 2, group(2, ONE, TWO))
    with scripted_aws() as script:
        answer = {"Reservations": [{"Instances": [instance_entry(TWO)]}]}
        request = {"Filters": [{"Name": "instance-id", "Values": [TWO]}]}
        script.expect("ec2", "describe_instances", answer, **request)
        explained = with_states(look, script.aws)
    assert explained.standings[0] == look.standings[0]
    assert explained.standings[1].message == (
        "no Node has its provider ID (Auto Scaling: InService; EC2: running since its launch at 09:30:00Z)"
    )


def test_ready_but_not_for_long_enough_is_said_so() -> None:
    error = not_ready(Look(standings(ONE), 0, 1, group(1, ONE)), None, "within 60 s")
    assert "not for as many looks in a row" in str(error)


class Told:
    """The journal of a call: who it was told about, and what."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.nodes: list[tuple[str, str]] = []

    def write(self, _kind: str, **fields: Any) -> None:
        self.nodes.append((fields["instance"], fields["to"]))


@pytest.mark.parametrize(
    ("run", "launched", "new"),
    [
        ("20261120T093000-4f2a9c", {TWO: "09:00", THREE: "09:31"}, [THREE]),
        ("20261120T093000-4f2a9c", {TWO: "09:00"}, [THREE]),  # EC2 does not know it yet
        ("20261120T090000-4f2a9c", {TWO: "09:00", THREE: "09:31"}, [TWO, THREE]),
        ("", {}, []),
        ("r-1", {}, []),
    ],
    ids=["a sick old one", "unknown to EC2", "both of the run", "no run", "a run without a moment"],
)
def test_in_the_first_look_only_who_was_launched_since_the_run_began_is_new(
    run: str, launched: dict[str, str], new: list[str]
) -> None:
    told = Told(run)
    look = Look((*standings(ONE), *standings(TWO, THREE, reason="no_node")), 1, 3)
    with scripted_aws() as script:
        if launched:
            entries = [
                {**instance_entry(name), "LaunchTime": datetime(2026, 11, 20, int(at[:2]), int(at[3:]), tzinfo=UTC)}
                for name, at in launched.items()
            ]
            request = {"Filters": [{"Name": "instance-id", "Values": [TWO, THREE]}]}
            script.expect("ec2", "describe_instances", {"Reservations": [{"Instances": entries}]}, **request)
        arrivals = Arrivals(SimpleNamespace(clock=script.clock, journal=told), script.aws)
        assert arrivals.seen(look) is look
        arrivals.seen(look)
    assert told.nodes == [(name, "launched") for name in new]


def test_later_whoever_comes_is_new_and_nobody_is_asked() -> None:
    told = Told("20261120T093000-4f2a9c")
    with scripted_aws() as script:
        arrivals = Arrivals(SimpleNamespace(clock=script.clock, journal=told), script.aws)
        arrivals.seen(Look((), 0, 1))
        arrivals.seen(Look(standings(TWO, reason="no_node"), 0, 1))
        script.clock.sleep(30)
        arrivals.seen(Look(standings(TWO), 1, 1))
    assert told.nodes == [(TWO, "launched"), (TWO, "ready")]


def test_where_aws_does_not_answer_the_first_look_tells_nothing_and_fails_nothing() -> None:
    told = Told("20261120T093000-4f2a9c")
    look = Look(standings(TWO, reason="no_node"), 0, 1)
    with scripted_aws() as script:
        request = {"Filters": [{"Name": "instance-id", "Values": [TWO]}]}
        script.fail("ec2", "describe_instances", "UnauthorizedOperation", "You are not authorized.", **request)
        assert Arrivals(SimpleNamespace(clock=script.clock, journal=told), script.aws).seen(look) is look
    assert told.nodes == []
