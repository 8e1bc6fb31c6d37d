# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout of two waves killed at a call of each kind, each rerun a kind further; `make crash` kills at every call.

The same call is made for different ends: `make test` has each call once, `make test-slow` each call and end."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from integration.rollouts import problems, variables

from simulator.crash_cases import ALL, ONE_GROUP, PARENT, Kill
from simulator.crash_meanwhile import delete
from simulator.crash_play import Runs, out_of_balancers, silent_since
from simulator.identities import TOOL
from simulator.steps import AFTER, BEFORE, Step
from simulator.world import World

LEASE, NODE, EVICTION = "POST leases", "PATCH nodes", "POST pods/eviction"
GROUP, TAGS, MEMBERS = "UpdateAutoScalingGroup", "CreateOrUpdateTags", "SetInstanceProtection"
TERMINATE = "TerminateInstanceInAutoScalingGroup"

UP_TO_THE_SURGE = [
    Step("kubernetes", LEASE),
    Step("ec2", "CreateTags", "evergreen.eks/member"),
    Step("autoscaling", TAGS, "evergreen.eks/run"),
    Step("autoscaling", GROUP, '"NewInstancesProtectedFromScaleIn": true'),
    Step("autoscaling", MEMBERS, '"ProtectedFromScaleIn": true'),
    Step("autoscaling", "SuspendProcesses"),
    Step("kubernetes", NODE, "scale-down-disabled"),
    Step("autoscaling", TAGS, "was=3 to=5"),
    Step("autoscaling", GROUP, '"DesiredCapacity": 5'),
    Step("autoscaling", TAGS, "held=2"),
]
FROM_THE_DRAIN_ON = [
    Step("ec2", "CreateTags", "evergreen.eks/out-of/tg/web"),
    Step("elbv2", "DeregisterTargets"),
    Step("kubernetes", EVICTION),
    Step("autoscaling", TERMINATE, '"ShouldDecrementDesiredCapacity": false'),  # the one node of the first wave
    Step("kubernetes", NODE, '"unschedulable": true'),
    Step("ec2", "CreateTags", "evergreen.eks/departure"),
    Step("autoscaling", TAGS, "leaving=2"),
    Step("autoscaling", TERMINATE, '"ShouldDecrementDesiredCapacity": true'),  # the first of two of the second wave
    Step("autoscaling", TAGS, "held=0"),
    Step("autoscaling", GROUP, '"MaxSize": 3'),
    Step("autoscaling", GROUP, '"NewInstancesProtectedFromScaleIn": false'),
    Step("autoscaling", MEMBERS, '"ProtectedFromScaleIn": false'),
    Step("kubernetes", NODE, '"evergreen.eks/marks": null'),
    Step("autoscaling", "ResumeProcesses"),
    Step("autoscaling", "DeleteTags"),
    Step("ec2", "DeleteTags"),
]


def first_of_each(steps: list[Step], but: Collection[Step] = ()) -> list[Step]:
    """Each call once, as the first of its ends, and none that is among `but`."""
    firsts: dict[tuple[str, str], Step] = {}
    for step in steps:
        firsts.setdefault((step.service, step.operation), step)
    had = {(step.service, step.operation) for step in but}
    return [step for call, step in firsts.items() if call not in had]


@pytest.fixture
def runs(world: World, tmp_path: Path) -> Iterator[Runs]:
    made = Runs(world, tmp_path, variables(world, eks_max_surge=2, eks_canary=0), authors=[TOOL])
    yield made
    made.end()


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(first_of_each(UP_TO_THE_SURGE), id="each call up to the surge"),
        pytest.param(first_of_each(FROM_THE_DRAIN_ON, but=UP_TO_THE_SURGE), id="each other call from the drain on"),
        pytest.param(UP_TO_THE_SURGE, id="each call and end up to the surge", marks=pytest.mark.slow),
        pytest.param(FROM_THE_DRAIN_ON, id="each call and end from the drain on", marks=pytest.mark.slow),
    ],
)
@pytest.mark.scenario(ONE_GROUP)
def test_killed_at_each_kind_of_call_it_goes_on(world: World, runs: Runs, kinds: list[Step]):
    """Every third time the checkpoint is lost, too: what stands on the group, the instances and the nodes must do."""
    for number, kind in enumerate(kinds):
        # After the first DeleteTags nothing would be left for the second.
        moment = BEFORE if number % 2 or kind.operation == "DeleteTags" else AFTER
        kill = Kill(1, moment, PARENT if kind.operation == EVICTION else ALL, kind)
        struck = runs.run(kill)
        assert struck, f"{kind} never came:\n{runs.output}"
        assert silent_since(world, runs, struck, kill) == []
        if number % 3 == 2:
            delete(world)
    runs.run()
    assert runs.returncode == 0, runs.output
    assert problems(world) == []
    assert out_of_balancers(world, world.snapshot()) == []
