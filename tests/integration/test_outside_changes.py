# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others do to a node group while it is rolled: in every stage, with the outcome that is promised for it.

The promise: what somebody else changed is kept, an instance that somebody else ended counts as finished, and the run
ends right; or it stops, says what is still open, and the next run ends right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from integration.rollouts import problems, roll

from simulator.checks import nothing_changed
from simulator.identities import TOOL
from simulator.record import Call
from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario
from simulator.world import World

WORKLOADS = [
    Deployment("web", replicas=4, group="shared", budget=Budget(min_available=3)),
    Deployment("cache", replicas=1, group="shared", emptydir=True),
]
# Its maximum leaves room, so that an autoscaler can do something at every moment.
ROOMY = Scenario(groups=[NodeGroup("shared", size=2, max_size=6)], workloads=WORKLOADS)
ROOMIER = ROOMY.with_group("shared", size=3, max_size=8)
IN_ONE_WAVE = {"eks_canary": 0, "eks_max_surge": "100%"}


@dataclass(frozen=True)
class Moment:
    """The first such request of ours, once it has been done or (`before`) is about to be."""

    service: str
    operation: str
    chosen: Callable[[Call], bool] | None = None
    before: bool = False
    skip: int = 0


def tags(key: str) -> Callable[[Call], bool]:
    """It puts a tag of this key on."""
    return lambda call: any(tag["Key"] == key for tag in call.params["Tags"])


# Each is a change that is made in that stage, and in no other.
STAGES = {
    "reserve": Moment("autoscaling", "^CreateOrUpdateTags$"),
    "scale_up": Moment("autoscaling", "^CreateOrUpdateTags$", skip=1),  # announced, and not yet made
    "wait_ready": Moment("autoscaling", "^UpdateAutoScalingGroup$", lambda call: "DesiredCapacity" in call.params),
    "cordon": Moment(
        "kubernetes", "^PATCH nodes$", lambda call: "unschedulable" in call.params["body"].get("spec", {})
    ),
    "drain": Moment("kubernetes", "^POST pods/eviction$"),
    "detach": Moment("ec2", "^CreateTags$", tags("evergreen.eks/departure")),
    "terminate": Moment("autoscaling", "^TerminateInstanceInAutoScalingGroup$"),
    "restore": Moment(
        "autoscaling",
        "^UpdateAutoScalingGroup$",
        lambda call: call.params.get("NewInstancesProtectedFromScaleIn") is False,
        before=True,
    ),
}


@dataclass
class Others:
    """What others have done so far, as the invariants want to know it."""

    world: World
    desired: int = 0
    lowest: int = 0
    max_size: int = 0
    ended: list[str] = field(default_factory=list)

    def scale(self, by: int) -> None:
        """An autoscaler, or a person, changes desired capacity."""
        self.world.actors.shift_desired("shared", by)
        self.desired += by
        self.lowest = min(self.lowest, self.desired)

    def lower_maximum(self, to: int) -> None:
        """Somebody lowers the maximum size; where it is below desired capacity, AWS lowers that, too."""
        self.world.actors.reset_max("shared", to)
        self.max_size = to - self.world.beginning.groups["shared"].max_size

    def end_one(self) -> None:
        """The spot market takes an instance: the oldest that is still there."""
        group = self.world.snapshot().groups["shared"]
        running = [one for one in group.instances if one in self.world.snapshot().running]
        self.ended.append(min(running, key=lambda one: (one not in self.world.beginning.running, one)))
        self.world.actors.spot_loss(self.ended[-1])

    def at(self, stage: str, deed: Callable[[], Any]) -> None:
        """Do it in that stage."""
        self.world.actors.when(deed, **vars(STAGES[stage]))

    def problems(self) -> list[str]:
        """What is not as it should be in the end."""
        shifted = {"desired": self.desired, "lowest": self.lowest, "max_size": self.max_size}
        everybody = [*self.world.beginning.groups["shared"].instances, *self.ended]
        return problems(self.world, gone_otherwise=everybody, shifted={"shared": shifted})


@pytest.fixture
def others(world: World) -> Others:
    return Others(world)


DEEDS: dict[str, Callable[[Others], Any]] = {
    "one more": lambda others: others.scale(1),
    "one fewer": lambda others: others.scale(-1),
    "maximum lowered": lambda others: others.lower_maximum(2),
    "spot loss": lambda others: others.end_one(),
}
CELLS = [pytest.param(stage, deed, id=f"{stage}-{deed}") for stage in STAGES for deed in DEEDS]


@pytest.mark.slow
@pytest.mark.scenario(ROOMY)
@pytest.mark.parametrize(("stage", "deed"), CELLS)
def test_one_change_in_one_stage(world: World, others: Others, stage: str, deed: str) -> None:
    others.at(stage, lambda: DEEDS[deed](others))
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert others.problems() == []


@pytest.mark.slow
@pytest.mark.scenario(ROOMY.with_group("shared", min_size=2))
@pytest.mark.parametrize("stage", ["wait_ready", "detach"])
def test_desired_capacity_that_somebody_sets_to_the_minimum_costs_the_group_none_of_its_own(
    world: World, others: Others, stage: str
) -> None:
    """A scheduled action sets the size that it knows. In the middle of the removal the run stops: rerun, it ends."""
    others.at(stage, lambda: world.actors.set_desired("shared", 2))
    run = roll(world, **IN_ONE_WAVE)
    if stage == "detach":
        assert "below its min_size 2" in run.stdout, run.output
        run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert others.problems() == []


# --- several in one run: what every change of this collection is tried with -----------------------------------------


@pytest.mark.scenario(ROOMIER)
@pytest.mark.parametrize("first", [1, pytest.param(-1, marks=pytest.mark.slow)], ids=["up first", "down first"])
def test_an_autoscaler_scales_up_and_down_in_every_stage(world: World, others: Others, first: int) -> None:
    for number, stage in enumerate(STAGES):
        others.at(stage, lambda by=first if number % 2 == 0 else -first: others.scale(by))
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert others.problems() == []


MANY = Scenario(groups=[NodeGroup("shared", size=8)], workloads=WORKLOADS)
LATE_STAGES = ["cordon", "drain", "terminate", "restore"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "stages",
    [
        pytest.param(LATE_STAGES, marks=pytest.mark.scenario(MANY.with_group("shared", size=4)), id="late stages"),
        pytest.param(list(STAGES), marks=pytest.mark.scenario(MANY), id="every stage"),
    ],
)
def test_the_spot_market_takes_an_instance_in_one_stage_after_the_other(
    world: World, others: Others, stages: list[str]
) -> None:
    for stage in stages:
        others.at(stage, others.end_one)
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert len(others.ended) == len(stages)
    assert others.problems() == []


@pytest.mark.slow
@pytest.mark.scenario(ROOMY)
def test_protection_and_processes_that_somebody_puts_back_too_early_stay_as_he_left_them(
    world: World, others: Others
) -> None:
    others.at("wait_ready", lambda: world.actors.resume("shared", "AZRebalance"))
    others.at("drain", lambda: world.actors.unprotect("shared"))
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert others.problems() == []


# --- what stops the run ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["wait_ready", "drain"])
@pytest.mark.scenario(ROOMY)
def test_a_group_that_somebody_deletes_is_left_alone(world: World, others: Others, stage: str) -> None:
    others.at(stage, lambda: world.actors.delete_group("shared"))
    run = roll(world, **IN_ONE_WAVE, eks_ready_timeout=20)
    assert run.rc != 0
    assert "is being deleted" in run.stdout or "was deleted" in run.stdout
    assert world.record.calls(author=TOOL, operation="TerminateInstanceInAutoScalingGroup") == []


TWO_WAVES = {"eks_canary": 1, "eks_max_surge": 1}


@pytest.mark.slow
@pytest.mark.scenario(ROOMY)
def test_an_instance_refresh_that_begins_meanwhile_stops_the_run_before_its_next_wave(
    world: World, others: Others
) -> None:
    others.at("drain", lambda: world.actors.start_refresh("shared"))
    run = roll(world, **TWO_WAVES)
    assert run.rc != 0
    assert "has an instance refresh under way" in run.stdout
    assert "To go on: ansible-playbook evergreen.eks.rollout" in run.stdout
    assert len(world.record.calls(author=TOOL, operation="TerminateInstanceInAutoScalingGroup")) == 1
    calls_so_far = world.record.calls()[-1].number
    refused = roll(world, **TWO_WAVES)
    assert refused.rc != 0
    assert "has an instance refresh under way" in refused.stdout
    assert nothing_changed(world.record, since=calls_so_far) == []
    world.actors.cancel_refresh("shared")
    run = roll(world, **TWO_WAVES)
    assert run.rc == 0, run.output
    assert others.problems() == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["reserve", "wait_ready"])
@pytest.mark.parametrize("decrement", [False, True], ids=["replaced", "not replaced"])
@pytest.mark.scenario(ROOMY)
def test_an_old_member_in_standby_is_left_to_who_put_it_there(
    world: World, others: Others, stage: str, decrement: bool
) -> None:
    """The run does the others, and ends unfinished; once the member is back in service the next one ends."""
    aside = sorted(world.beginning.groups["shared"].instances)[0]
    others.at(stage, lambda: world.actors.stand_by("shared", aside, decrement))
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc != 0
    assert f"{aside} is Standby" in run.stdout
    assert aside in world.snapshot().groups["shared"].instances
    world.actors.back_in_service("shared", aside)
    others.desired = 0 if decrement else 1
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert others.problems() == []
