# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of a rollout on paper: who leaves in which wave, at which sizes, and that it keeps what is promised."""

from __future__ import annotations

import copy
import json
from collections import Counter

import pytest
from unit.checkpoints import a_checkpoint
from unit.scenes import a_member, a_scene

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import SURPLUS, HostProgress
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Ledger, Wave, plan_waves
from ansible_collections.evergreen.eks.plugins.module_utils.plan_course import Course, course_of

ZONES = "abc"


def a_course(size, surge, unavailable=0, canary=1, held=0, gone=(), waves=None, new=0):
    """Of a group of `size` old instances in three zones; `new` are launched by the run already, and Ready."""
    old = [f"i-{number:02}" for number in range(size)]
    left = [name for name in old if name not in gone]
    fresh = [f"i-9{number}" for number in range(new)]
    members = [a_member(name, zone=ZONES[number % 3]) for number, name in enumerate([*left, *fresh])]
    hosts = {name: HostProgress("all", finished=name in gone, wave=int(name in gone)) for name in old}
    known = waves or []
    checkpoint = a_checkpoint(
        members_before=old,
        hosts=hosts,
        waves=plan_waves(known, left, surge, unavailable, canary),
        surge=surge,
        unavailable=unavailable,
        ledger=Ledger(held=held),
        zones_before=dict(Counter(ZONES[number % 3] for number in range(size))),
    )
    scene = a_scene(members, desired_capacity=size + held, max_size=size + held)
    before = copy.deepcopy(checkpoint)
    course = course_of(checkpoint, scene)
    assert checkpoint == before, "it is only on paper"
    return course


@pytest.mark.parametrize(
    ("size", "surge", "unavailable", "canary", "sizes"),
    [
        # (leaving, desired capacity, floor, launched before, successors, desired capacity after)
        (3, 1, 0, 1, [(1, 4, 3, 1, 1, 4), (1, 4, 3, 0, 1, 4), (1, 4, 3, 0, 0, 3)]),
        (2, 2, 0, 0, [(2, 4, 2, 2, 0, 2)]),
        (2, 0, 1, 1, [(1, 2, 1, 0, 1, 2), (1, 2, 1, 0, 1, 2)]),
        (6, 3, 0, 1, [(1, 9, 6, 3, 1, 9), (2, 9, 6, 0, 2, 9), (3, 9, 6, 0, 0, 6)]),
        (4, 1, 1, 0, [(2, 5, 3, 1, 2, 5), (2, 5, 3, 0, 1, 4)]),
    ],
)
def test_the_sizes_at_every_step(size, surge, unavailable, canary, sizes):
    course = a_course(size, surge, unavailable, canary)
    assert [
        (len(s.instances), s.desired_capacity, s.floor, s.launches, sum(s.successors.values()), s.desired_after)
        for s in course.steps
    ] == sizes
    assert course.surplus == 0


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize(("surge", "unavailable"), [(1, 0), (0, 1), (2, 0), (3, 1), (99, 0)])
@pytest.mark.parametrize("canary", [0, 1])
def test_everybody_leaves_once_the_group_stays_strong_and_ends_as_it_began(size, surge, unavailable, canary):
    surge = min(surge, size)
    course = a_course(size, surge, unavailable, canary)
    leaving = [name for step in course.steps for name in step.instances]
    assert sorted(leaving) == [f"i-{number:02}" for number in range(size)]
    members = size
    for step in course.steps:
        members += step.launches
        assert members - len(step.instances) >= step.floor >= size - unavailable
        members += sum(step.successors.values()) - len(step.instances)
        assert step.desired_capacity <= size + surge and step.max_size >= step.desired_capacity
    assert members - course.surplus == size
    assert course.steps[-1].desired_after - course.surplus == size


def test_a_run_that_goes_on_has_only_what_is_ahead_and_keeps_who_is_settled():
    """The first of four is gone, the second is settled: it was cordoned when the run was killed."""
    known = [Wave(1, 1, ("i-00",), finished=True), Wave(2, 1, ("i-02",))]
    course = a_course(4, 1, held=1, gone=["i-00"], waves=known, new=2)
    assert [step.number for step in course.steps] == [2, 3, 4]
    assert (course.steps[0].instances, course.steps[0].settled) == (("i-02",), True)
    assert not course.steps[1].settled
    assert [step.launches for step in course.steps] == [0, 0, 0], "what it holds is there already"
    assert course.steps[-1].desired_after == 4


def test_a_wave_of_which_nobody_is_left_is_no_step():
    course = a_course(2, 1, gone=["i-00", "i-01"], waves=[Wave(1, 1), Wave(2, 1)], new=2)
    assert course == Course((), 0, course.zones)


def test_what_is_too_many_leaves_in_a_wave_without_any_surge():
    hosts = {"i-9": HostProgress(SURPLUS, wave=1)}
    members = [a_member("i-1"), a_member("i-9")]
    checkpoint = a_checkpoint(
        members_before=["i-1"], hosts=hosts, waves=[Wave(1, 1, ("i-9",))], surge=1, ledger=Ledger(held=1)
    )
    (step,) = course_of(checkpoint, a_scene(members, desired_capacity=2)).steps
    assert (step.launches, step.desired_capacity, step.desired_after) == (0, 2, 1)


def test_the_most_extra_instances_of_each_zone_are_those_that_come_before_the_old_have_shut_down():
    course = a_course(6, 3)
    assert sum(step.launches for step in course.steps) == 3
    most = course.extra_by_zone
    assert set(most) == set(ZONES)
    assert 3 <= sum(most.values()) <= 6
    assert all(number <= 2 for number in most.values()), json.dumps(most)
