# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The course of an upgrade over one or several minors: in which order, and how often. Pure.

A control plane goes up one minor at a time (EKS user guide, "Update existing cluster to new Kubernetes version"), its
add-ons follow each step, because an add-on is published for some minors only. Nodes are what takes long, so they are
replaced as few times as possible: kubelets may be three minors older than the API server, and never newer (Kubernetes,
"Version Skew Policy").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import (
    Version,
    asked_version,
    furthest_for,
    steps,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput

#: the playbook has so many legs; versions that EKS supports at one time have never been further apart
MOST_LEGS = 2
KEEP, RECOMMENDED = "keep", "recommended"

CONTROL_PLANE, ADDONS, BAKE, NODES, FARGATE, VERIFY = PARTS = (
    "control_plane",
    "addons",
    "bake",
    "nodes",
    "fargate",
    "verify",
)


@dataclass(frozen=True)
class Kubelets:
    """The oldest kubelet of a node group; None where it has no node. C(image) is what the group is to launch: C(keep),
    C(recommended) or the id of an image."""

    group: str
    oldest: Optional[Version] = None
    image: str = KEEP


@dataclass(frozen=True)
class Leg:
    """The way between two replacements of nodes: versions of the control plane, each followed by its add-ons, and the
    node groups that are replaced then."""

    version: str  # of the control plane at its end
    steps: tuple[str, ...]
    groups: tuple[str, ...]
    fargate: bool


@dataclass(frozen=True)
class Part:
    """One thing to be done, and to be recorded as done: C(name) is of C(PARTS), C(group) a node group's."""

    name: str
    version: str
    group: str = ""

    @property
    def key(self) -> str:
        """How it is recorded: C(nodes 1.33 istio)."""
        return " ".join(filter(None, (self.name, self.version, self.group)))

    @property
    def title(self) -> str:
        """In words, for people."""
        return {
            CONTROL_PLANE: f"control plane at {self.version}",
            ADDONS: f"add-ons for {self.version}",
            BAKE: f"bake time of {self.version}",
            NODES: f"node group {self.group} at {self.version}",
            FARGATE: f"pods on Fargate at {self.version}",
            VERIFY: f"verification of {self.version}",
        }[self.name]


@dataclass(frozen=True)
class Course:
    """The legs of an upgrade, in order. Every course has a last leg, also where the control plane is there already."""

    legs: tuple[Leg, ...]

    @property
    def target(self) -> str:
        return self.legs[-1].version

    @property
    def parts(self) -> list[Part]:
        """Everything that is to be done, in order."""
        found: list[Part] = []
        for leg in self.legs:
            for step in leg.steps:
                found += [Part(CONTROL_PLANE, step), Part(ADDONS, step)]
                # EKS may refuse the next step while pods on Fargate are older than the control plane.
                found += [Part(FARGATE, step)] if leg.fargate and step != leg.version else []
            if not leg.steps:
                found.append(Part(ADDONS, leg.version))
            elif leg.groups:
                found.append(Part(BAKE, leg.version))
            found += [Part(NODES, leg.version, group) for group in leg.groups]
            found += [Part(FARGATE, leg.version)] if leg.fargate else []
        return [*found, Part(VERIFY, self.target)]

    def as_list(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [asdict(leg) for leg in self.legs]

    @classmethod
    def of(cls, raw: Sequence[Mapping[str, Any]]) -> Course:
        """From what `as_list` answers. Raises KeyError, TypeError, ValueError."""
        legs = tuple(
            Leg(str(leg["version"]), tuple(leg["steps"]), tuple(leg["groups"]), bool(leg["fargate"])) for leg in raw
        )
        if not legs:
            raise ValueError("a course without legs")
        return cls(legs)

    def with_groups(self, groups: Sequence[str]) -> Course:
        """The same course where other node groups are named now: the last leg replaces those that are new to it, in the
        order in which they are named, and nobody asks for those that are named no more."""
        legs = [replace(leg, groups=tuple(name for name in groups if name in leg.groups)) for leg in self.legs[:-1]]
        return Course((*legs, replace(self.legs[-1], groups=tuple(groups))))


def plan_course(
    now: Version,
    target: str,
    kubelets: Sequence[Kubelets],
    others: Optional[Kubelets] = None,
    fargate: Optional[Version] = None,
) -> Course:
    """The course from the control plane's version of now to ``target``.

    ``others`` is the oldest kubelet of nodes that belong to none of these groups (its C(group) names the node),
    ``fargate`` that of Fargate, None without any. Raises InvalidInput where there is no course: a downgrade, nodes that
    nobody replaces and that are too old, a group that keeps its image and would have to be replaced twice.
    """
    goal = asked_version(target)
    if goal < now:
        raise InvalidInput(
            f"The control plane is at {now}, and {target} is asked for: EKS takes no downgrade",
            remedy=f"Ask for {now} or newer (eks_version)",
        )
    _refuse_left_behind(goal, others)
    legs: list[Leg] = []
    ages = {one.group: one.oldest or goal for one in kubelets}
    while True:
        reach = min([goal, *(furthest_for(age) for age in (*ages.values(), *([fargate] if fargate else [])))])
        reach = max(reach, now)  # nodes that are too old already follow first, before the control plane goes on
        way = tuple(str(step) for step in steps(now, reach))
        if reach == goal:
            return _checked(Course((*legs, Leg(target, way, tuple(ages), fargate=True))), kubelets)
        behind = tuple(name for name, age in ages.items() if furthest_for(age) < goal)
        legs.append(Leg(str(reach), way, behind, fargate=bool(fargate and furthest_for(fargate) < goal)))
        ages |= dict.fromkeys(behind, reach)
        fargate = max(fargate, reach) if fargate else None
        now = reach


def summary(course: Course, now: str) -> list[str]:
    """The course in lines for a person."""
    lines = []
    for number, leg in enumerate(course.legs, 1):
        way = " -> ".join((now, *leg.steps)) if leg.steps else f"{leg.version} (the control plane is there)"
        head = f"leg {number} of {len(course.legs)}: " if len(course.legs) > 1 else ""
        groups = ", ".join(leg.groups) or "none"
        lines.append(f"  {head}control plane {way}, add-ons after each step; node groups: {groups}")
        now = leg.version
    return lines


def _refuse_left_behind(goal: Version, others: Optional[Kubelets]) -> None:
    if others is None or others.oldest is None or furthest_for(others.oldest) >= goal:
        return
    most = furthest_for(others.oldest)
    raise InvalidInput(
        f"Node {others.group} has kubelet {others.oldest}, belongs to no node group of this upgrade, and would be too "
        f"old for a control plane at {goal}: {most} is the newest that works with it",
        remedy=f"Name its group in eks_node_groups, too, replace it yourself first, or upgrade to {most}",
    )


def _checked(course: Course, kubelets: Sequence[Kubelets]) -> Course:
    """Raise InvalidInput for a course that cannot be followed."""
    images = {one.group: one.image for one in kubelets}
    for leg in course.legs[:-1]:
        fixed = [name for name in leg.groups if images[name] != RECOMMENDED]
        if fixed:
            raise InvalidInput(
                f"The nodes of {', '.join(fixed)} are too old for {course.target}: they have to be replaced at "
                f"{leg.version} on the way, and once more at {course.target}, and the one image that "
                f"{'it launches' if len(fixed) == 1 else 'they launch'} cannot be right both times",
                remedy=f"Let it follow with eks_image=recommended, or upgrade in two runs: eks_version={leg.version}, "
                f"then, with a template for it, eks_version={course.target}",
            )
    if len(course.legs) > MOST_LEGS:
        raise InvalidInput(
            f"From here to {course.target} the nodes would be replaced {len(course.legs)} times, of which one upgrade "
            f"does {MOST_LEGS} at most",
            remedy=f"Upgrade to {course.legs[MOST_LEGS - 1].version} first",
        )
    return course
