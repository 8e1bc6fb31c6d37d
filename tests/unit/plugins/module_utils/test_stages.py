# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stages of a rollout decide on one look."""

from __future__ import annotations

import pytest
from unit.checkpoints import a_checkpoint
from unit.manifests import a_node
from unit.scenes import a_member, a_scene

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import SURPLUS, HostProgress
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Ledger, Wave
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Standing
from ansible_collections.evergreen.eks.plugins.module_utils.stages import (
    may_be_missing,
    never_joined,
    sizes_of,
    successors_due,
)

OLD, NEW = "i-1", "i-9"


@pytest.mark.parametrize(
    ("leaving", "progress", "nodes", "unjoined"),
    [
        (NEW, HostProgress(SURPLUS), [], [NEW]),
        (NEW, HostProgress("template_version"), [], [NEW]),  # selected anew: launched for a target that was moved on
        (NEW, HostProgress("template_version", "ip-9"), [], []),  # it was a node, and perhaps runs pods
        (NEW, HostProgress(SURPLUS), [a_node("ip-9", NEW)], []),  # it joined a moment ago
        (OLD, HostProgress("template_version"), [], []),  # a member of the start: nobody knows what runs on it
    ],
)
def test_who_never_joined_is_removed_without_a_node(leaving, progress, nodes, unjoined):
    checkpoint = a_checkpoint(members_before=[OLD], hosts={leaving: progress})
    scene = a_scene([a_member(OLD), a_member(NEW)], nodes)
    assert never_joined(checkpoint, scene, [leaving]) == unjoined


@pytest.mark.parametrize(("given_up", "missing"), [(False, 1), (True, 3)])
def test_on_the_way_back_nobody_waits_for_who_was_sick_before(given_up, missing):
    """i-2 is cordoned by its user, i-3 has no Node, i-9 is sick, too, but the run's own."""
    nodes = [
        a_node("ip-1", OLD),
        a_node("ip-2", "i-2", unschedulable=True),
        a_node("ip-9", NEW, ready="False"),
    ]
    scene = a_scene([a_member(name) for name in (OLD, "i-2", "i-3", NEW)], nodes)
    checkpoint = a_checkpoint(members_before=[OLD, "i-2", "i-3"], unavailable=1, given_up=given_up)
    assert may_be_missing(Standing(checkpoint, scene)) == missing


@pytest.mark.parametrize(
    ("there", "desired", "due"),
    [
        ("abbc", 4, False),
        ("bbcc", 5, True),  # the one in a is being launched
        ("abbc", 5, False),  # whoever is missing, the zones are as even as they were
    ],
)
def test_whether_a_launch_is_waited_for(there, desired, due):
    members = [a_member(f"i-{number}", zone=zone) for number, zone in enumerate(there)]
    checkpoint = a_checkpoint(zones_before={"a": 1, "b": 2, "c": 1})
    assert successors_due(checkpoint, a_scene(members, desired_capacity=desired)) is due


@pytest.mark.parametrize(
    ("carried", "held", "needs"),
    [
        ([], 0, (3, 3)),  # the canary is i-1: one more, which must be Ready before i-1 goes
        (["i-1"], 1, (4, 3)),  # it was carried: i-2 needs one more, and i-1 is none of the Ready ones
    ],
)
def test_a_node_that_was_carried_takes_a_place_of_the_surge(carried, held, needs):
    """A group of two, with up to three extra instances and a canary of one: two waves of one."""
    members = ["i-1", "i-2", *(["i-9"] if held else [])]
    nodes = [a_node(f"ip-{name}", name, unschedulable=name in carried) for name in members]
    scene = a_scene([a_member(name) for name in members], nodes, max_size=9)
    checkpoint = a_checkpoint(
        members_before=["i-1", "i-2"],
        hosts={name: HostProgress("all", carried=int(name in carried)) for name in ("i-1", "i-2")},
        waves=[Wave(1, 1), Wave(2, 1)],
        surge=3,
        ledger=Ledger(held=held),
    )
    sizes = sizes_of(Standing(checkpoint, scene), 2 if carried else 1)
    assert (sizes.desired_capacity, sizes.min_ready) == needs
