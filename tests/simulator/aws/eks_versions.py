# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes versions that EKS offers, and until when it supports each.

Dates: "Understand the Kubernetes version lifecycle on EKS" of the Amazon EKS User Guide (those of 1.36 are estimates).
What is supported is decided once, as of ``AS_OF``, and not by the clock: a test must not fail because a year has gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timezone
from typing import Any

from simulator.aws.eks_errors import InvalidParameter

AS_OF = date(2026, 9, 1)
DEFAULT_VERSION = "1.35"
STATUSES = ("STANDARD_SUPPORT", "EXTENDED_SUPPORT", "UNSUPPORTED")


@dataclass(frozen=True)
class KubernetesVersion:
    """One minor version."""

    version: str
    patch: str
    platform: str  # EKS's own platform version of a cluster that comes to this version
    released: date
    standard_until: date
    extended_until: date

    @property
    def status(self) -> str:
        """One of STATUSES."""
        if self.extended_until < AS_OF:
            return "UNSUPPORTED"
        return "EXTENDED_SUPPORT" if self.standard_until < AS_OF else "STANDARD_SUPPORT"

    def answer(self) -> dict[str, Any]:
        """As DescribeClusterVersions shows it; the older ``status`` says the same in other letters."""
        return {
            "clusterVersion": self.version,
            "clusterType": "eks",
            "defaultPlatformVersion": self.platform,
            "defaultVersion": self.version == DEFAULT_VERSION,
            "releaseDate": _midnight(self.released),
            "endOfStandardSupportDate": _midnight(self.standard_until),
            "endOfExtendedSupportDate": _midnight(self.extended_until),
            "status": self.status.lower().replace("_", "-"),
            "versionStatus": self.status,
            "kubernetesPatchVersion": self.patch,
        }


TABLE = (
    KubernetesVersion("1.30", "1.30.14", "eks.55", date(2024, 5, 23), date(2025, 7, 23), date(2026, 7, 23)),
    KubernetesVersion("1.31", "1.31.14", "eks.46", date(2024, 9, 26), date(2025, 11, 26), date(2026, 11, 26)),
    KubernetesVersion("1.32", "1.32.11", "eks.35", date(2025, 1, 23), date(2026, 3, 23), date(2027, 3, 23)),
    KubernetesVersion("1.33", "1.33.9", "eks.28", date(2025, 5, 29), date(2026, 7, 29), date(2027, 7, 29)),
    KubernetesVersion("1.34", "1.34.6", "eks.18", date(2025, 10, 2), date(2026, 12, 2), date(2027, 12, 2)),
    KubernetesVersion("1.35", "1.35.4", "eks.9", date(2026, 1, 27), date(2027, 3, 27), date(2028, 3, 27)),
    KubernetesVersion("1.36", "1.36.1", "eks.3", date(2026, 6, 2), date(2027, 8, 2), date(2028, 8, 2)),
)
BY_VERSION = {one.version: one for one in TABLE}
VERSIONS = tuple(BY_VERSION)


def minor(version: str) -> int:
    """The minor version as a number: 33 of ``1.33``, ``v1.33.4-eks-1`` and the like."""
    return int(version.lstrip("v").split(".")[1])


def is_known(version: str) -> bool:
    """EKS has this version, and still supports it."""
    return version in BY_VERSION and BY_VERSION[version].status != "UNSUPPORTED"


def describe_versions(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """DescribeClusterVersions, newest first: what is supported, unless ``includeAll`` or a status says otherwise."""
    asked = params.get("versionStatus") or (params.get("status") or "").upper().replace("-", "_")
    if asked and asked not in STATUSES:
        raise InvalidParameter("", f"Invalid value for parameter status: {asked}")
    named = params.get("clusterVersions") or []
    for version in named:
        if version not in BY_VERSION:
            raise InvalidParameter("", f"Version {version} is not a valid EKS version")
    found = []
    for one in reversed(TABLE):
        hidden = one.status == "UNSUPPORTED" and not (params.get("includeAll") or named or asked)
        unwanted = (asked and one.status != asked) or (named and one.version not in named)
        if hidden or unwanted or (params.get("defaultOnly") and one.version != DEFAULT_VERSION):
            continue
        found.append(one.answer())
    return found


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.utc)
