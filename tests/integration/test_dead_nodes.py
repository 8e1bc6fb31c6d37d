# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts of groups with dead nodes: nobody waits for hours for what will never stop."""

from __future__ import annotations

import pytest
from integration.rollouts import problems, roll

from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario, StatefulSet
from simulator.world import World

HOURS = 4 * 3600


@pytest.mark.slow
@pytest.mark.scenario(
    Scenario(
        zones=("eu-central-1a",),
        groups=[NodeGroup("shared", size=2)],
        workloads=[
            Deployment("web", replicas=4, budget=Budget(min_available=3), grace=HOURS),
            StatefulSet("db", replicas=2, zonal_volume=True, grace=HOURS),
        ],
    )
)
def test_a_node_that_is_dead_is_replaced_like_the_others(world: World) -> None:
    """Its pods eat up the budget of the others, and would have hours to stop."""
    dead = sorted(world.beginning.groups["shared"].instances)[1]
    world.machines.frozen.add(dead)
    world.wait_until(lambda now: not now.nodes[dead].ready, "its kubelet is silent")
    run = roll(world)
    assert run.rc == 0, run.output
    assert "given up: its kubelet has been silent since" in run.output
    assert problems(world) == []
    assert {note["instance"] for note in world.record.notes("pod_lost")} == {dead}
    (cordoned,) = [
        note.at for note in world.record.notes("cordoned") if note["node"] == world.beginning.nodes[dead].name
    ]
    (removed,) = [note.at for note in world.record.notes("instance_removed") if note["instance"] == dead]
    assert removed - cordoned < HOURS / 2
