# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the instances that asg_detach_terminate has tagged are left to be finished, and which tags are in vain."""

from __future__ import annotations

import pytest
from unit.scripted_aws import instance_entry, scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.departure import LEAVING_TAG
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group, Instance, Member, Target
from ansible_collections.evergreen.eks.plugins.module_utils.orphans import Orphan, by_final_state, find_orphans
from ansible_collections.evergreen.eks.plugins.module_utils.scene import Scene

ONE, TWO = "i-0123456789abcdef0", "i-0fedcba9876543210"


def found(state: str, final_state: str, asg_name: str = "shared") -> list[Orphan]:
    tag = {"Key": LEAVING_TAG, "Value": f"mine/{final_state}/{asg_name}"}
    entry = instance_entry(ONE, State={"Name": state}, Tags=[tag])
    with scripted_aws() as script:
        answer = {"Reservations": [{"Instances": [entry]}]}
        filters = [{"Name": "tag-key", "Values": [LEAVING_TAG]}]
        script.expect("ec2", "describe_instances", answer, Filters=filters)
        return find_orphans(script.aws, Group("shared", "arn", 0, 3, 2))


@pytest.mark.parametrize(
    ("state", "final_state", "words"),
    [
        ("running", "terminated", "which was interrupted before it was terminated"),
        ("stopped", "terminated", "which was interrupted before it was terminated"),
        ("running", "stopped", "which was interrupted before it was stopped"),
        ("stopped", "stopped", "and is where it was to go; that tag is to be taken off it"),
    ],
)
def test_what_is_left_to_be_finished_is_named(state: str, final_state: str, words: str) -> None:
    (orphan,) = found(state, final_state)
    assert words in str(orphan)
    assert by_final_state([orphan]) == [{"final_state": final_state, "instance_ids": [ONE]}]


@pytest.mark.parametrize(
    ("state", "final_state", "asg_name"),
    [("shutting-down", "terminated", "shared"), ("running", "detached", "shared"), ("running", "terminated", "other")],
)
def test_what_needs_nobody_is_left_alone(state: str, final_state: str, asg_name: str) -> None:
    assert found(state, final_state, asg_name) == []


@pytest.mark.parametrize(("lifecycle", "in_vain"), [("InService", [ONE]), ("Standby", [ONE]), ("Detaching", [])])
def test_a_tag_is_in_vain_on_who_stays_a_member(lifecycle: str, in_vain: list[str]) -> None:
    members = tuple(Member(name, "eu-west-1a", lifecycle) for name in (ONE, TWO))
    tagged = {ONE: Instance(ONE, "running", tags={LEAVING_TAG: "mine/stopped/shared"}), TWO: Instance(TWO, "running")}
    scene = Scene(Group("shared", "arn", 0, 3, 2, members=members), tagged, {}, Target("template"), (), None)
    assert scene.marked_in_vain == in_vain
