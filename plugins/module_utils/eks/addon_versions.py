# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version of an add-on a cluster gets, and by which steps: decisions over what EKS offers at this moment.

There is no table here: EKS says which versions go with which Kubernetes version (DescribeAddonVersions).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.eks.api import ask_all
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError

DEFAULT, LATEST = "default", "latest"
# EKS takes these up or down by one minor version at a time ("Update the Amazon VPC CNI" of the User Guide, and the
# refusal of UpdateAddon).
BY_MINOR_VERSIONS = ("vpc-cni",)
# `v1.20.4-eksbuild.2`, `v1.33.0-minimal-eksbuild.2`, `v1.20.4`, `v0.9.0-rc.1-eksbuild.3`
VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?P<more>[-+.].*?)??(?:-eksbuild\.(\d+))?")
SHOWN = 6

VersionKey = tuple[int, int, int, bool, tuple[int, ...], int]


class AddonVersionError(EvergreenError):
    """A version that cannot be had; `reason` is unknown_version, version_unreachable or unknown_addon."""


@dataclass(frozen=True)
class Offer:
    """A version of an add-on, as EKS offers it for one Kubernetes version; `default`: EKS's own choice there."""

    version: str
    default: bool = False


@dataclass(frozen=True)
class Offers:
    """What EKS offers of one add-on for one Kubernetes version; `namespace` is where it usually lives."""

    addon: str
    kubernetes: str
    versions: tuple[Offer, ...]
    namespace: str = "kube-system"

    @property
    def default(self) -> str:
        """EKS's own choice; the newest version where it has none."""
        return next((offer.version for offer in self.versions if offer.default), self.latest)

    @property
    def latest(self) -> str:
        """The newest version, whatever order EKS lists them in."""
        return max((offer.version for offer in self.versions), key=version_key)

    def has(self, version: str) -> bool:
        """Whether that version goes with this Kubernetes version, whoever built it."""
        return any(same_release(offer.version, version) for offer in self.versions)

    def shown(self) -> str:
        """The newest of them, for messages."""
        newest = sorted((offer.version for offer in self.versions), key=version_key, reverse=True)
        more = f" and {len(newest) - SHOWN} older" if len(newest) > SHOWN else ""
        return f"{', '.join(newest[:SHOWN])}{more}"


@dataclass(frozen=True)
class Choice:
    """The version that an add-on gets, and why it is not another one ("" where that needs no words)."""

    version: str
    why: str = ""


def read_offers(aws: Aws, addon: str, kubernetes: str) -> Offers:
    """Ask EKS. Raises AddonVersionError (unknown_addon) where it offers nothing for that Kubernetes version."""
    subject = f"the EKS add-on {addon}"
    found = ask_all(aws, "DescribeAddonVersions", subject, "addons", addonName=addon, kubernetesVersion=kubernetes)
    offers = offers_from(addon, kubernetes, found)
    if not offers.versions:
        raise AddonVersionError(
            f"EKS has no version of the add-on {addon} for Kubernetes {kubernetes}",
            reason="unknown_addon",
            remedy="Check its name; leave it out until its publisher supports that version",
            addon=addon,
        )
    return offers


def offers_from(addon: str, kubernetes: str, answer: Sequence[dict[str, Any]]) -> Offers:
    """The same from the C(addons) of DescribeAddonVersions."""
    offers = tuple(
        Offer(version["addonVersion"], bool(fit.get("defaultVersion")))
        for item in answer
        for version in item.get("addonVersions", ())
        for fit in version.get("compatibilities", ())
        if fit.get("clusterVersion") == kubernetes
    )
    namespace = next((item["defaultNamespace"] for item in answer if item.get("defaultNamespace")), "kube-system")
    return Offers(addon, kubernetes, offers, namespace)


def version_key(version: str) -> VersionKey:
    """What versions are compared by: release, finished before unfinished (`-rc.1`), build. Others come first."""
    found = VERSION.fullmatch(version.replace("-minimal-", "-"))
    if not found:
        return (0, 0, 0, False, tuple(int(number) for number in re.findall(r"\d+", version)), 0)
    major, minor, patch, more, build = found.groups()
    numbers = tuple(int(number) for number in re.findall(r"\d+", more or ""))
    return (int(major), int(minor), int(patch or 0), not more, numbers, int(build or 0))


def minor_of(version: str) -> tuple[int, int]:
    """Major and minor version: C((1, 20))."""
    return version_key(version)[:2]


def same_release(one: str, other: str) -> bool:
    """Whether they are the same, as far as both say: C(v1.20.4) of AWS's manifests is C(v1.20.4-eksbuild.2), too."""
    if "-eksbuild." in one and "-eksbuild." in other:
        return version_key(one) == version_key(other)
    return version_key(one)[:-1] == version_key(other)[:-1]


def choose(offers: Offers, asked: str, installed: str) -> Choice:
    """The version that the add-on is to have.

    `default` and `latest` never step down: a newer version that goes with this Kubernetes version stays.
    Raises AddonVersionError (unknown_version).
    """
    if asked not in (DEFAULT, LATEST):
        if asked in {offer.version for offer in offers.versions}:
            return Choice(asked)
        raise AddonVersionError(
            f"There is no version {asked} of the add-on {offers.addon} for Kubernetes {offers.kubernetes}",
            reason="unknown_version",
            remedy=f"Name one of {offers.shown()}, or default, or latest",
            addon=offers.addon,
        )
    wanted = offers.latest if asked == LATEST else offers.default
    if version_key(installed) <= version_key(wanted):
        return Choice(wanted)
    if offers.has(installed):
        return Choice(installed, f"it is newer than {wanted}, the {asked} version for Kubernetes {offers.kubernetes}")
    raise AddonVersionError(
        f"The add-on {offers.addon} is at {installed}, which does not go with Kubernetes {offers.kubernetes}, and is "
        f"newer than {wanted}, its {asked} version there",
        reason="unknown_version",
        remedy=f"A step down is taken only when it is asked for: name the version, one of {offers.shown()}",
        addon=offers.addon,
    )


def steps(offers: Offers, installed: str, wanted: str) -> list[str]:
    """The versions that the add-on comes to, one after the other; none where it is there.

    In between it is the newest version of each minor. Raises AddonVersionError (version_unreachable) where EKS offers
    none of one of them.
    """
    if installed == wanted:
        return []
    if offers.addon not in BY_MINOR_VERSIONS:
        return [wanted]
    (major, here), (last_major, there) = minor_of(installed), minor_of(wanted)
    if major != last_major or abs(there - here) <= 1:
        return [wanted]
    direction = 1 if there > here else -1
    between = [_newest(offers, (major, minor)) for minor in range(here + direction, there, direction)]
    if None not in between:
        return [*(version for version in between if version), wanted]
    raise AddonVersionError(
        f"The add-on {offers.addon} is at {installed} and goes by one minor version at a time, but EKS offers nothing "
        f"between that and {wanted} for Kubernetes {offers.kubernetes}",
        reason="version_unreachable",
        remedy="Bring it nearer while the cluster is at an older version, or install it anew; "
        f"there are {offers.shown()}",
        addon=offers.addon,
    )


def _newest(offers: Offers, minor: tuple[int, int]) -> Optional[str]:
    found = [offer.version for offer in offers.versions if minor_of(offer.version) == minor]
    return max(found, key=version_key) if found else None
