# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of a rollout on paper: its waves, node by node, with the sizes of each. Pure.

It is what the stages would do where everything goes as expected: each launch is Ready when it is waited for, in the
zone with the fewest instances, and nobody else changes anything. The decisions are those of the stages themselves.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Collection, Iterable, Mapping, Sequence

from ansible_collections.evergreen.eks.plugins.module_utils import zones
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Host
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Standing
from ansible_collections.evergreen.eks.plugins.module_utils.scene import Scene
from ansible_collections.evergreen.eks.plugins.module_utils.stages import (
    departure,
    left_in,
    settled_wave,
    sizes_of,
    victims_of,
)


@dataclass(frozen=True)
class Step:
    """One wave on paper. Sizes are numbers of instances; `launched` and `successors` count them by zone."""

    number: int
    instances: tuple[str, ...]  # who is expected to leave; settled only once the wave's new nodes are Ready
    settled: bool
    desired_capacity: int  # while its new nodes come
    max_size: int
    extra: int  # of these, beyond the group's own size
    floor: int  # Ready, schedulable members after each cordon
    launched: Mapping[str, int]  # before anybody is cordoned
    successors: Mapping[str, int]  # when its old instances have left
    left: Mapping[str, int]
    desired_after: int

    @property
    def launches(self) -> int:
        return sum(self.launched.values())


@dataclass(frozen=True)
class Course:
    """All waves to come; `surplus`: how many of the run's own instances are too many in the end, and go by name."""

    steps: tuple[Step, ...] = ()
    surplus: int = 0
    zones: Mapping[str, int] = field(default_factory=dict)  # instances by zone now

    @property
    def extra_by_zone(self) -> dict[str, int]:
        """The most instances that each zone has beyond those of now. What leaves has its place until the next wave: an
        instance keeps its addresses while it shuts down."""
        most = dict.fromkeys(self.zones, 0)
        now = dict.fromkeys(self.zones, 0)
        for step in self.steps:
            for zone, number in (Counter(step.launched) + Counter(step.successors)).items():
                now[zone] = now.get(zone, 0) + number
                most[zone] = max(most.get(zone, 0), now[zone])
            for zone, number in step.left.items():
                now[zone] = now.get(zone, 0) - number
        return most


def course_of(checkpoint: Checkpoint, scene: Scene) -> Course:
    """What is ahead of this run. Neither the checkpoint nor the scene is changed."""
    paper = copy.deepcopy(checkpoint)
    scene = replace(scene, hosts=tuple(_come_up(paper, scene)))
    beginning, steps = scene.zones, []
    for number in [wave.number for wave in paper.waves if not wave.finished]:
        wave = paper.wave(number)
        if not left_in(paper, wave):
            paper.replace_wave(replace(wave, finished=True))
            continue
        scene, step = _step(paper, scene, number)
        steps.append(step)
    return Course(tuple(steps), paper.ledger.held, beginning)


def _step(paper: Checkpoint, scene: Scene, number: int) -> tuple[Scene, Step]:
    """One wave: the sizes that it needs, who goes, and who goes without a successor."""
    settled = bool(paper.wave(number).instances)
    sizes = sizes_of(Standing(paper, scene), number)
    paper.ledger = replace(paper.ledger, held=sizes.surge, change=None, departure=None)
    scene, launched = _launched(_resized(scene, sizes.desired_capacity, sizes.max_size), f"{number}-before")
    wave = paper.wave(number) if settled else settled_wave(paper, scene, paper.wave(number))
    paper.replace_wave(wave)
    victims = victims_of(paper, wave)
    decrement, _successors = departure(paper, scene, wave)
    leaving = set(victims)
    left = Counter(host.zone for host in scene.counting if host.instance_id in leaving)
    for name in victims:
        paper.hosts[name] = replace(paper.hosts[name], finished=True)
    paper.replace_wave(replace(wave, finished=True))
    paper.ledger = replace(paper.ledger, held=max(0, sizes.surge - len(decrement)))
    after = sizes.desired_capacity - len(decrement)
    scene, successors = _launched(_resized(_without(scene, victims), after, sizes.max_size), f"{number}-after")
    return scene, Step(
        number=number,
        instances=tuple(victims),
        settled=settled,
        desired_capacity=sizes.desired_capacity,
        max_size=sizes.max_size,
        extra=sizes.surge,
        floor=sizes.floor,
        launched=launched,
        successors=successors,
        left=dict(left),
        desired_after=after,
    )


def _come_up(checkpoint: Checkpoint, scene: Scene) -> Iterable[Host]:
    """The members, those that the run has launched as if they were Ready already."""
    old = {*checkpoint.members_before, *checkpoint.remaining}
    for host in scene.hosts:
        new = host.counts and host.instance_id not in old
        yield replace(host, ready=True, schedulable=True) if new else host


def _resized(scene: Scene, desired: int, most: int) -> Scene:
    return replace(scene, group=replace(scene.group, desired_capacity=desired, max_size=most))


def _without(scene: Scene, instances: Collection[str]) -> Scene:
    gone = set(instances)
    return replace(scene, hosts=tuple(host for host in scene.hosts if host.instance_id not in gone))


def _launched(scene: Scene, label: str) -> tuple[Scene, dict[str, int]]:
    """The scene once its members are as many as desired, and how many were launched in each zone for that."""
    missing = max(0, scene.group.desired_capacity - len(scene.counting))
    names = list(scene.zones)
    before = tuple(scene.zones[name] for name in names)
    after = zones.settled(before, missing) if names else ()
    counts = {name: now - was for name, was, now in zip(names, before, after) if now > was}
    fresh = [_paper_host(f"{label}-{zone}-{n}", zone) for zone, number in counts.items() for n in range(number)]
    return replace(scene, hosts=(*scene.hosts, *fresh)), counts


def _paper_host(name: str, zone: str) -> Host:
    return Host(name, zone, "InService", counts=True, node=name, ready=True, schedulable=True)


def by_wave(steps: Sequence[Step]) -> dict[str, int]:
    """instance id -> the wave in which it is expected to leave."""
    return {name: step.number for step in steps for name in step.instances}
