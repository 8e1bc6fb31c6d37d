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

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput

#: minors that a kubelet may be older than the API server: three since Kubernetes 1.28, two before
SKEW = 3
EARLIER_SKEW = 2
WIDE_SKEW_SINCE = 28
#: the playbook has so many legs; EKS has never supported versions that are further apart than two need
MOST_LEGS = 3
KEEP = "keep"

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
    """The oldest kubelet of a node group, as the minor of C(1.31); None where it has no node. C(image) is what the
    group is to launch: C(keep), C(recommended) or the id of an image."""

    group: str
    oldest: Optional[int] = None
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
            found.append(Part(BAKE if leg.steps else ADDONS, leg.version))
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


def minor_of(version: str) -> int:
    """31 of C(1.31), C(v1.31.4-eks-abc) or C(1.31+). Raises InvalidInput."""
    found = re.match(r"v?1\.(\d+)", version)
    if not found:
        raise InvalidInput(f"{version!r} is no Kubernetes version", remedy="Name one such as 1.33")
    return int(found[1])


def version_of(minor: int) -> str:
    return f"1.{minor}"


def furthest(oldest_kubelet: int) -> int:
    """The newest minor of a control plane that such a kubelet still works with."""
    wide = oldest_kubelet + SKEW
    return wide if wide >= WIDE_SKEW_SINCE else oldest_kubelet + EARLIER_SKEW


def plan_course(
    now: str, target: str, kubelets: Sequence[Kubelets], others: Optional[Kubelets], fargate: int
) -> Course:
    """The course from the control plane's version of now to ``target``.

    ``others`` is the oldest kubelet of nodes that belong to none of these groups (its C(group) names one), ``fargate``
    the oldest minor of a Fargate node, 0 without any. Raises InvalidInput where there is no course: a downgrade, nodes
    that nobody replaces and that are too old, a group that keeps its image and would have to be replaced twice.
    """
    current, goal = minor_of(now), minor_of(target)
    if goal < current:
        raise InvalidInput(
            f"The control plane is at {now}, and the upgrade is to {target}: EKS takes no downgrade",
            remedy=f"Name {now} or newer with eks_version",
        )
    _refuse_left_behind(goal, others)
    legs: list[Leg] = []
    ages = {one.group: one.oldest if one.oldest is not None else goal for one in kubelets}
    while True:
        reach = min([goal, *(furthest(age) for age in ages.values()), *([furthest(fargate)] if fargate else [])])
        if reach <= current and current < goal:
            reach = current  # nodes first: the control plane cannot go anywhere before they follow
        steps = tuple(version_of(minor) for minor in range(current + 1, reach + 1))
        if reach == goal:
            return _checked(Course((*legs, Leg(target, steps, tuple(ages), fargate=True))), kubelets)
        held_back = tuple(name for name, age in ages.items() if furthest(age) < goal and age < reach)
        if not held_back and not (fargate and fargate < reach):
            raise InvalidInput(
                f"The nodes are too old for {target}, and the control plane at {version_of(reach)} gives them nothing "
                "newer",
                remedy="Look at the versions of the nodes (kubectl get nodes)",
            )
        legs.append(Leg(version_of(reach), steps, held_back, fargate=bool(fargate and furthest(fargate) < goal)))
        ages |= dict.fromkeys(held_back, reach)
        fargate = max(fargate, reach) if fargate else 0
        current = reach


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


def _refuse_left_behind(goal: int, others: Optional[Kubelets]) -> None:
    if others is None or others.oldest is None or furthest(others.oldest) >= goal:
        return
    raise InvalidInput(
        f"Node {others.group} has kubelet {version_of(others.oldest)}, belongs to no node group of this upgrade, and "
        f"would be too old for a control plane at {version_of(goal)}: at most {version_of(furthest(others.oldest))} "
        "works with it",
        remedy="Name its group in eks_node_groups as well, replace it yourself first, or upgrade to "
        f"{version_of(furthest(others.oldest))}",
    )


def _checked(course: Course, kubelets: Sequence[Kubelets]) -> Course:
    """Raise InvalidInput for a course that cannot be followed."""
    images = {one.group: one.image for one in kubelets}
    for leg in course.legs[:-1]:
        fixed = [name for name in leg.groups if images[name] != "recommended"]
        if fixed:
            raise InvalidInput(
                f"The nodes of {', '.join(fixed)} are too old for {course.target} and have to be replaced at "
                f"{leg.version} on the way, once more at {course.target}; the one image of "
                f"{'its' if len(fixed) == 1 else 'their'} launch template cannot be right both times",
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
