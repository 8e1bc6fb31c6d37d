# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The crashes that `make crash` rehearses, as data: where a run is killed, how, and what happens until it is run again.

Names are fixed, so that one case can be repeated: ``make crash ONLY=k017-after``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from simulator import crash_upgrade
from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario
from simulator.steps import AFTER, BEFORE, MOMENTS, Step

SEED = 20261121  # of all samples
GIVEN_UP = 28  # the step at which a run is killed that is then given up: among the evictions of its second wave
LAST_STEP = 41  # a run over one group has at least as many steps: samples are taken from 1 to here
LAST_STEP_BACK = 8  # the way back, also from a run that is nearly done, has at least as many

WORKLOADS = [
    Deployment("web", replicas=3, group="shared", budget=Budget(min_available=2)),
    Deployment("cache", group="shared", emptydir=True),
]
# Two waves under a surge of two. Of a load balancer's controller nobody knows beforehand whether it is faster than the
# run, which then has one step less: there is none.
SHARED = NodeGroup("shared", size=3, target_groups=["web"])
DELAY = 30  # seconds for which the target group drains whom it loses
ONE_GROUP = Scenario(name="crash-one-group", groups=[SHARED], workloads=WORKLOADS, deregistration_delay=DELAY)
# The second group is one whose user has himself suspended and protected what the run would, and left room for it.
LOGGING = NodeGroup("logging", size=1, max_size=5, suspended=("AZRebalance", "ScheduledActions"), protected=True)
TWO_GROUPS = Scenario(
    name="crash",
    groups=[SHARED, LOGGING],
    workloads=[*WORKLOADS, Deployment("shipper", replicas=2, group="logging", budget=Budget(max_unavailable=1))],
    deregistration_delay=DELAY,
)

ALL, PARENT, MACHINE = "all", "parent", "machine"
HELD, BROKEN, MISSED = "held", "broken", "missed"


@dataclass(frozen=True)
class Kill:
    """A run's end: at its `step`-th step (of that `kind`, if one is given), before or after it is done, and who dies.

    ``all``: the playbook with all its workers. ``parent``: ``ansible-playbook`` only; its workers must notice.
    ``machine``: all, and the keeper of the lock, which is no worker.
    """

    step: int
    moment: str = AFTER
    victims: str = ALL
    kind: Step | None = None


@dataclass(frozen=True)
class Case:
    """One crash. As many runs as there are `kills` are killed, one after the other; the next one goes to its end.

    `meanwhile` names what happens before that last run (see ``crash_meanwhile``). `select` is its kind of selection.
    `back`: the first run is given up, and all others are the way back, ``evergreen.eks.restore``. `upgrade`: all runs
    are ``evergreen.eks.upgrade``.
    """

    name: str
    kills: tuple[Kill, ...]
    scenario: Scenario = ONE_GROUP
    meanwhile: str = ""
    select: str = "outdated"
    back: bool = False
    upgrade: bool = False  # of the whole cluster
    series: str = ""  # one of a series over the steps of the run that is killed last; it ends where that has no more


@dataclass(frozen=True)
class Outcome:
    """What became of a case. `missed`: all is well, but a run ended before the step at which it was to be killed."""

    name: str
    verdict: str
    problems: tuple[str, ...] = ()
    killed_at: tuple[str, ...] = ()
    seconds: float = 0.0


def every_step(every: int = 1) -> Iterator[Case]:
    """Killed at each step, of which nobody knows beforehand how many there are: it goes on for ever."""
    for step in count(1, every):
        for moment in MOMENTS:
            yield Case(f"k{step:03}-{moment}", (Kill(step, moment),), TWO_GROUPS, series="rollout")


def every_step_back(every: int = 1) -> Iterator[Case]:
    """The way back from a run that was killed in its second wave, killed at each step itself."""
    for step in count(1, every):
        for moment in MOMENTS:
            yield Case(f"back{step:03}-{moment}", (Kill(GIVEN_UP), Kill(step, moment)), back=True, series="back")


def samples() -> list[Case]:
    """All other kinds of crashes, at steps that are drawn once and for all."""
    return [*torn(), *lost(), *orphaned(), *machines(), *killed_again(), *disturbed(), *given_up(), *upgrades()]


def torn() -> list[Case]:
    """The checkpoint as a crash in the middle of its writing leaves it."""
    kinds = {
        "half": "a half temporary file beside the checkpoint",
        "cut": "the checkpoint cut in half",
        "empty": "the checkpoint emptied",
    }
    return [
        Case(f"torn-{kind}-{_named(kill)}", (kill,), meanwhile=deed)
        for kind, deed in kinds.items()
        for kill in _drawn(f"torn-{kind}", 3)
    ]


def lost() -> list[Case]:
    """The checkpoint lost, under each kind of selection."""
    return [
        Case(f"lost-{select}-{_named(kill)}", (kill,), meanwhile="the checkpoint deleted", select=select)
        for select in ("outdated", "all", "older_than", "instances", "expression")
        for kill in _drawn(f"lost-{select}", 3)
    ]


def orphaned() -> list[Case]:
    """Only ``ansible-playbook`` itself killed."""
    return [Case(f"parent-{_named(kill)}", (kill,)) for kill in _drawn("parent", 6, victims=PARENT)]


def machines() -> list[Case]:
    """Everything killed, also what is made to outlive the run, the disk lost, and run again on another machine."""
    return [
        Case(f"machine-{_named(kill)}", (kill,), meanwhile="the checkpoint deleted")
        for kill in _drawn("machine", 4, victims=MACHINE)
    ]


def killed_again() -> list[Case]:
    """The rerun killed too."""
    firsts, seconds = _drawn("first", 6), _drawn("second", 6, last=12)
    return [
        Case(f"twice-{_named(one)}-{_named(other)}", (one, other)) for one, other in zip(firsts, seconds, strict=True)
    ]


def disturbed() -> list[Case]:
    """Something outside changed between the kill and the rerun."""
    deeds = {
        "up": ("an autoscaler adds a node", 1, LAST_STEP),
        "down": ("an autoscaler takes a node away", 1, LAST_STEP),
        "max": ("somebody resets the maximum size", 1, LAST_STEP),
        "spot-old": ("an old instance is lost", 1, LAST_STEP - 10),
        "spot-new": ("a new instance is lost", 12, LAST_STEP),
    }
    return [
        Case(f"{kind}-{_named(kill)}", (kill,), meanwhile=deed)
        for kind, (deed, first, last) in deeds.items()
        for kill in _drawn(kind, 4, first=first, last=last)
    ]


def given_up() -> list[Case]:
    """Given up wherever it stood, and the way back killed too; with its checkpoint, and from the marks alone."""
    firsts, seconds = _drawn("given up", 8), _drawn("back", 8, last=LAST_STEP_BACK)
    deeds = ("", "the checkpoint deleted")
    return [
        Case(f"given-up-{_named(one)}-{_named(other)}", (one, other), meanwhile=deeds[number % 2], back=True)
        for number, (one, other) in enumerate(zip(firsts, seconds, strict=True))
    ]


def upgrades() -> list[Case]:
    """The upgrade of a whole cluster, killed at each kind of request that changes something."""
    return [
        Case(f"upgrade-{name}-{moment}", (Kill(number, moment, kind=step),), crash_upgrade.CLUSTER, upgrade=True)
        for name, (step, number) in crash_upgrade.STEPS.items()
        for moment in MOMENTS
    ]


def _drawn(kind: str, number: int, first: int = 1, last: int = LAST_STEP, victims: str = ALL) -> list[Kill]:
    """That many kills, spread over the steps from `first` to `last`, always the same for the same kind."""
    dice = random.Random(f"{SEED} {kind}")
    size = (last - first + 1) / number
    steps = [first + int(size * part + dice.random() * size) for part in range(number)]
    return [Kill(step, dice.choice((BEFORE, AFTER)), victims) for step in steps]


def _named(kill: Kill) -> str:
    return f"k{kill.step:03}-{kill.moment}"
