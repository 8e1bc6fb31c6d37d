# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of an upgrade: nodes as few times as their kubelets allow, add-ons after every step."""

from __future__ import annotations

from typing import Optional

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.course import (
    Course,
    Kubelets,
    Part,
    plan_course,
    summary,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import parse_version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput


def course(now: str, target: str, others: str = "", fargate: str = "", image: str = "recommended", **ages: str):
    """The course for these node groups, each with the version of its oldest kubelet ("": it has no node)."""
    kubelets = [Kubelets(name, parse_version(age), image) for name, age in ages.items()]
    stranger = Kubelets("ip-10-0-0-1", parse_version(others)) if others else None
    return plan_course(parse_version(now), target, kubelets, stranger, parse_version(fargate))


def legs(found: Course) -> list[tuple[str, str, str]]:
    """Each leg as (version, steps, groups)."""
    return [(leg.version, " ".join(leg.steps), " ".join(leg.groups)) for leg in found.legs]


def refusal(*versions: str, **given: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        course(*versions, **given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("now", "target", "ages", "expected"),
    [
        ("1.31", "1.31", {"a": "1.31"}, [("1.31", "", "a")]),
        ("1.31", "1.32", {"a": "1.31"}, [("1.32", "1.32", "a")]),
        ("1.31", "1.33", {"a": "1.31", "b": "1.31"}, [("1.33", "1.32 1.33", "a b")]),
        ("1.31", "1.34", {"a": "1.31"}, [("1.34", "1.32 1.33 1.34", "a")]),
        ("1.33", "1.33", {"a": "1.31"}, [("1.33", "", "a")]),
        ("1.31", "1.33", {"a": ""}, [("1.33", "1.32 1.33", "a")]),
        # three minors are as far as a kubelet goes: then its group is replaced on the way
        ("1.30", "1.34", {"a": "1.30"}, [("1.33", "1.31 1.32 1.33", "a"), ("1.34", "1.34", "a")]),
        ("1.32", "1.34", {"a": "1.30", "b": "1.32"}, [("1.33", "1.33", "a"), ("1.34", "1.34", "a b")]),
        ("1.31", "1.33", {"a": "1.28"}, [("1.31", "", "a"), ("1.33", "1.32 1.33", "a")]),
        ("1.28", "1.34", {"a": "1.28"}, [("1.31", "1.29 1.30 1.31", "a"), ("1.34", "1.32 1.33 1.34", "a")]),
        # kubelets of before 1.25 go two minors
        ("1.24", "1.27", {"a": "1.24"}, [("1.26", "1.25 1.26", "a"), ("1.27", "1.27", "a")]),
    ],
)
def test_the_control_plane_goes_as_far_as_the_oldest_kubelet_of_a_leg(now, target, ages, expected) -> None:
    assert legs(course(now, target, **ages)) == expected


def test_fargate_holds_the_control_plane_back_like_any_node_and_is_restarted_on_the_way() -> None:
    found = course("1.31", "1.33", fargate="1.29", a="1.31")

    assert legs(found) == [("1.32", "1.32", ""), ("1.33", "1.33", "a")]
    assert [leg.fargate for leg in found.legs] == [True, True]


def test_the_parts_stand_in_order_and_add_ons_after_every_step() -> None:
    assert [part.key for part in course("1.31", "1.33", istio="1.31", shared="1.31").parts] == [
        "control_plane 1.32",
        "addons 1.32",
        "fargate 1.32",
        "control_plane 1.33",
        "addons 1.33",
        "bake 1.33",
        "nodes 1.33 istio",
        "nodes 1.33 shared",
        "fargate 1.33",
        "verify 1.33",
    ]


def test_nobody_waits_for_a_control_plane_to_stand_where_no_nodes_follow() -> None:
    keys = [part.key for part in course("1.31", "1.32").parts]
    assert keys == ["control_plane 1.32", "addons 1.32", "fargate 1.32", "verify 1.32"]


def test_where_the_control_plane_is_there_already_there_is_nothing_to_bake() -> None:
    keys = [part.key for part in course("1.33", "1.33", shared="1.32").parts]
    assert keys == ["addons 1.33", "nodes 1.33 shared", "fargate 1.33", "verify 1.33"]


@pytest.mark.parametrize(
    ("now", "target", "given", "words"),
    [
        ("1.33", "1.32", {"a": "1.33"}, "The control plane is at 1.33, and 1.32 is asked for: EKS takes no downgrade"),
        ("1.31", "latest", {"a": "1.31"}, "'latest' is not a Kubernetes version of EKS"),
        (
            "1.31",
            "1.34",
            {"a": "1.31", "others": "1.30"},
            (
                "Node ip-10-0-0-1 has kubelet 1.30, belongs to no node group of this upgrade, and would be too old for "
                "a control plane at 1.34: 1.33 is the newest that works with it"
            ),
        ),
        (
            "1.30",
            "1.34",
            {"a": "1.30", "image": "keep"},
            (
                "The nodes of a are too old for 1.34: they have to be replaced at 1.33 on the way, and once more at "
                "1.34, and the one image that it launches cannot be right both times. Let it follow with "
                "eks_image=recommended, or upgrade in two runs: eks_version=1.33, then, with a template for it, "
                "eks_version=1.34"
            ),
        ),
        ("1.24", "1.35", {"a": "1.24"}, "From here to 1.35 the nodes would be replaced 4 times, of which one upgrade"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_ways_out(now, target, given, words) -> None:
    assert refusal(now, target, **given).startswith(words)


def test_a_group_that_keeps_its_image_is_fine_where_it_is_replaced_once() -> None:
    found = course("1.32", "1.34", image="keep", old="", a="1.32")
    assert legs(found) == [("1.34", "1.33 1.34", "old a")]


@pytest.mark.parametrize(("groups", "first", "last"), [(["b"], [], ["b"]), (["c", "a"], ["a"], ["c", "a"])])
def test_other_groups_join_the_last_leg_and_those_not_named_any_more_are_left_out(groups, first, last) -> None:
    found = course("1.32", "1.34", a="1.30", b="1.32").with_groups(groups)
    assert [list(leg.groups) for leg in found.legs] == [first, last]


def test_a_course_survives_a_file() -> None:
    found = course("1.30", "1.34", a="1.30")
    assert Course.of(found.as_list()) == found


@pytest.mark.parametrize("broken", [[], [{}], [{"version": "1.33", "steps": None, "groups": [], "fargate": False}]])
def test_what_is_no_course_is_refused(broken: Optional[list]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Course.of(broken)


def test_the_course_reads_well() -> None:
    assert summary(course("1.30", "1.34", a="1.30"), "1.30") == [
        "  leg 1 of 2: control plane 1.30 -> 1.31 -> 1.32 -> 1.33, add-ons after each step; node groups: a",
        "  leg 2 of 2: control plane 1.33 -> 1.34, add-ons after each step; node groups: a",
    ]


def test_every_part_has_a_title() -> None:
    titles = [part.title for part in course("1.32", "1.33", shared="1.32").parts]
    assert titles[0] == "control plane at 1.33"
    assert titles[3] == "node group shared at 1.33"
    assert Part("nodes", "1.33", "a").key == "nodes 1.33 a"
