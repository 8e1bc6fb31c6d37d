# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes versions: read, put in order, taken step by step, and held against kubelets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import (
    Kubelet,
    Version,
    asked_version,
    furthest,
    furthest_for,
    kubelets_of,
    named,
    parse_version,
    steps,
    too_old,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput


def version(text: str) -> Version:
    found = parse_version(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("1.33", "1.33"),
        ("v1.33.4-eks-99d6cc0", "1.33"),
        ("v1.30.0+rke2r1", "1.30"),
        ("1.9", "1.9"),
        (" 1.33 ", "1.33"),
        ("", "None"),
        ("latest", "None"),
        ("1", "None"),
        ("1.33x", "None"),
    ],
)
def test_what_is_read_as_a_version(text: str, read: str) -> None:
    assert str(parse_version(text)) == read


@pytest.mark.parametrize("text", ["1.33.4", "v1.33", "latest", "", "1"])
def test_who_asks_for_a_version_names_a_minor_one(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a Kubernetes version of EKS. Give a minor version in quotes"):
        asked_version(text)
    assert str(asked_version(" 1.33 ")) == "1.33"


@pytest.mark.parametrize(
    ("present", "wanted", "way"),
    [
        ("1.31", "1.33", ["1.32", "1.33"]),
        ("1.9", "1.10", ["1.10"]),
        ("1.33", "1.33", []),
        ("1.34", "1.33", []),
    ],
)
def test_the_steps_of_a_way(present: str, wanted: str, way: list[str]) -> None:
    assert [str(step) for step in steps(version(present), version(wanted))] == way


@pytest.mark.parametrize(
    ("kubelet", "control_plane"), [("1.31", "1.34"), ("1.28", "1.31"), ("1.25", "1.28"), ("1.24", "1.26")]
)
def test_how_far_a_control_plane_may_be_ahead_of_a_kubelet(kubelet: str, control_plane: str) -> None:
    assert str(furthest_for(version(kubelet))) == control_plane


def test_the_oldest_kubelets_say_how_far_it_may_go() -> None:
    kubelets = [
        Kubelet("b", version("1.31")),
        Kubelet("a", version("1.31")),
        Kubelet("fargate-c", version("1.30"), fargate=True),
        Kubelet("d", version("1.33")),
    ]
    assert str(furthest(kubelets)) == "1.33"
    assert furthest([]) is None
    assert [one.node for one in too_old(kubelets, version("1.34"))] == ["fargate-c"]
    assert [one.node for one in too_old(kubelets, version("1.35"))] == ["fargate-c", "a", "b"]
    assert too_old(kubelets, version("1.33")) == []
    assert named(too_old(kubelets, version("1.35"))) == "fargate-c (1.30, Fargate), a (1.31), b (1.31)"
    assert named([Kubelet(str(number), version("1.31")) for number in range(7)]).endswith("4 (1.31) and 2 more")


def test_the_kubelets_of_nodes() -> None:
    labels = {"eks.amazonaws.com/compute-type": "fargate"}
    nodes = [
        SimpleNamespace(name="a", kubelet_version="v1.31.2-eks-1", labels={}),
        SimpleNamespace(name="b", kubelet_version="v1.32.0-eks-1", labels=labels),
        SimpleNamespace(name="c", kubelet_version="", labels={}),
    ]
    assert kubelets_of(nodes) == [Kubelet("a", version("1.31")), Kubelet("b", version("1.32"), fargate=True)]
