# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version an add-on gets, and by which steps: tables of decisions."""

from __future__ import annotations

from typing import Any

import pytest
from unit.scripted_aws import scripted_aws

from ansible_collections.evergreen.eks.plugins.module_utils.eks.addon_versions import (
    AddonVersionError,
    Offer,
    Offers,
    choose,
    offers_from,
    read_offers,
    same_release,
    steps,
    version_key,
)

CNI = Offers(
    "vpc-cni",
    "1.33",
    (
        Offer("v1.20.1-eksbuild.3"),
        Offer("v1.20.4-eksbuild.2", default=True),
        Offer("v1.21.1-eksbuild.1"),
        Offer("v1.19.2-eksbuild.1"),
        Offer("v1.19.2-eksbuild.10"),
    ),
)
DNS = Offers("coredns", "1.33", (Offer("v1.11.4-eksbuild.2"), Offer("v1.12.1-eksbuild.2", default=True)))


def answer(*versions: tuple[str, str, bool]) -> list[dict[str, Any]]:
    """The C(addons) of DescribeAddonVersions: version, Kubernetes version, whether it is the default there."""
    found = [
        {"addonVersion": version, "compatibilities": [{"clusterVersion": kubernetes, "defaultVersion": default}]}
        for version, kubernetes, default in versions
    ]
    return [{"addonName": "coredns", "addonVersions": found}]


def test_versions_are_compared_by_their_numbers() -> None:
    ordered = [
        "something",
        "v0.9.0-rc.1-eksbuild.3",
        "v0.9.0-rc.2-eksbuild.1",
        "v0.9.0-eksbuild.1",
        "v1.9.4-eksbuild.1",
        "v1.18.3",
        "v1.20.4-eksbuild.2",
        "v1.20.4-eksbuild.10",
        "2.0.0-eksbuild.1",
    ]
    assert sorted([*ordered[4:], *ordered[:4]], key=version_key) == ordered
    assert version_key("v1.31.2-minimal-eksbuild.2") == version_key("v1.31.2-eksbuild.2")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("v1.20.4-eksbuild.2", "v1.20.4-eksbuild.2", True),
        ("v1.20.4-eksbuild.2", "v1.20.4-eksbuild.3", False),
        ("v1.20.4", "v1.20.4-eksbuild.3", True),
        ("v1.20.4", "v1.20.3-eksbuild.3", False),
    ],
)
def test_a_release_without_a_build_is_all_of_its_builds(one: str, other: str, same: bool) -> None:
    assert same_release(one, other) is same


@pytest.mark.parametrize(
    ("asked", "installed", "version", "why"),
    [
        ("default", "v1.19.2-eksbuild.1", "v1.20.4-eksbuild.2", ""),
        ("default", "v1.20.4-eksbuild.2", "v1.20.4-eksbuild.2", ""),
        ("latest", "v1.19.2-eksbuild.1", "v1.21.1-eksbuild.1", ""),
        ("default", "v1.21.1-eksbuild.1", "v1.21.1-eksbuild.1", "newer than v1.20.4-eksbuild.2, the default version"),
        ("v1.19.2-eksbuild.10", "v1.21.1-eksbuild.1", "v1.19.2-eksbuild.10", ""),
        ("default", "v1.20.4", "v1.20.4-eksbuild.2", ""),
        ("default", "v1.21.1", "v1.21.1", "newer than"),
    ],
)
def test_the_version_that_an_addon_gets(asked: str, installed: str, version: str, why: str) -> None:
    choice = choose(CNI, asked, installed)
    assert choice.version == version
    assert why in choice.why and bool(why) is bool(choice.why)


@pytest.mark.parametrize(
    ("asked", "installed", "message"),
    [
        ("v9.9.9-eksbuild.1", "v1.19.2-eksbuild.1", "There is no version v9.9.9-eksbuild.1 of the add-on vpc-cni for"),
        ("default", "v1.22.0-eksbuild.1", "does not go with Kubernetes 1.33, and is newer than v1.20.4-eksbuild.2"),
        ("latest", "v1.22.0-eksbuild.1", "A step down is taken only when it is asked for: name the version"),
    ],
)
def test_a_version_that_cannot_be_had(asked: str, installed: str, message: str) -> None:
    with pytest.raises(AddonVersionError) as caught:
        choose(CNI, asked, installed)
    assert message in str(caught.value) and "one of v1.21.1-eksbuild.1, v1.20.4-eksbuild.2" in str(caught.value)
    assert caught.value.reason == "unknown_version"


@pytest.mark.parametrize(
    ("offers", "installed", "wanted", "path"),
    [
        (CNI, "v1.20.4-eksbuild.2", "v1.20.4-eksbuild.2", []),
        (CNI, "v1.20.1-eksbuild.3", "v1.21.1-eksbuild.1", ["v1.21.1-eksbuild.1"]),
        (CNI, "v1.19.2-eksbuild.1", "v1.21.1-eksbuild.1", ["v1.20.4-eksbuild.2", "v1.21.1-eksbuild.1"]),
        (CNI, "v1.18.3", "v1.20.1-eksbuild.3", ["v1.19.2-eksbuild.10", "v1.20.1-eksbuild.3"]),
        (CNI, "v1.21.1-eksbuild.1", "v1.19.2-eksbuild.1", ["v1.20.4-eksbuild.2", "v1.19.2-eksbuild.1"]),
        (DNS, "v1.9.3-eksbuild.1", "v1.12.1-eksbuild.2", ["v1.12.1-eksbuild.2"]),
    ],
)
def test_the_steps_there(offers: Offers, installed: str, wanted: str, path: list[str]) -> None:
    assert steps(offers, installed, wanted) == path


def test_a_minor_version_in_between_that_is_not_offered() -> None:
    with pytest.raises(AddonVersionError, match="by one minor version at a time") as caught:
        steps(CNI, "v1.17.1-eksbuild.1", "v1.20.4-eksbuild.2")
    assert caught.value.reason == "version_unreachable"


def test_what_eks_offers_for_one_kubernetes_version() -> None:
    found = answer(("v1.0.0-eksbuild.1", "1.32", True), ("v1.1.0-eksbuild.1", "1.33", False))
    offers = offers_from("coredns", "1.33", found)
    assert [offer.version for offer in offers.versions] == ["v1.1.0-eksbuild.1"]
    assert offers.default == offers.latest == "v1.1.0-eksbuild.1", "where EKS has no choice it is the newest"
    assert (offers.has("v1.1.0-eksbuild.1"), offers.has("v1.0.0-eksbuild.1")) == (True, False)
    assert offers.namespace == "kube-system"


def test_versions_are_read_page_by_page() -> None:
    asked = {"addonName": "coredns", "kubernetesVersion": "1.33"}
    with scripted_aws() as script:
        first = {"addons": answer(("v1.0.0-eksbuild.1", "1.33", True)), "nextToken": "more"}
        script.expect("eks", "describe_addon_versions", first, **asked)
        second = {"addons": answer(("v1.1.0-eksbuild.1", "1.33", False))}
        script.expect("eks", "describe_addon_versions", second, nextToken="more", **asked)
        offers = read_offers(script.aws, "coredns", "1.33")
    assert (offers.default, offers.latest) == ("v1.0.0-eksbuild.1", "v1.1.0-eksbuild.1")


def test_an_addon_that_eks_does_not_offer_there() -> None:
    asked = {"addonName": "acme_agent", "kubernetesVersion": "1.33"}
    with scripted_aws() as script:
        script.expect("eks", "describe_addon_versions", {"addons": []}, **asked)
        with pytest.raises(AddonVersionError, match="EKS has no version of the add-on acme_agent for Kubernetes 1.33"):
            read_offers(script.aws, "acme_agent", "1.33")
