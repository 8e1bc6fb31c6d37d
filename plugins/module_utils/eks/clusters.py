# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A control plane as EKS describes it, and the Kubernetes versions that EKS offers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.eks.api import ask, ask_all
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version, parse_version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError

ACTIVE, UPDATING = "ACTIVE", "UPDATING"
# Health issues that an upgrade mends, or that say nothing of what it needs; all others make it fail (User Guide,
# "Cluster health FAQs and error codes with resolution paths").
HARMLESS_ISSUES = ("UnsupportedVersion",)


@dataclass(frozen=True)
class Issue:
    """A health issue of a cluster, in EKS's words."""

    code: str
    message: str
    resources: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f" [{', '.join(self.resources)}]" if self.resources else ""
        return f"{self.code}: {' '.join(self.message.split())}{where}"

    @property
    def forbids_update(self) -> bool:
        return self.code not in HARMLESS_ISSUES

    @property
    def record(self) -> dict[str, Any]:
        """As a module answers it."""
        return {"code": self.code, "message": self.message, "resources": list(self.resources)}


@dataclass(frozen=True)
class Cluster:
    """What we need of a cluster; ``platform`` is EKS's own version of the control plane ("eks.12")."""

    name: str
    arn: str
    version: Version
    platform: str
    status: str
    issues: tuple[Issue, ...] = ()


def cluster_from(answer: Mapping[str, Any]) -> Cluster:
    """The record of a Cluster as EKS answers it."""
    version = parse_version(answer.get("version") or "")
    if version is None:
        raise EvergreenError(
            f"EKS names no Kubernetes version for cluster {answer['name']}: its status is {answer.get('status')}",
            reason="cluster_not_active",
            remedy="Wait until the cluster is ACTIVE",
        )
    return Cluster(
        name=answer["name"],
        arn=answer.get("arn", ""),
        version=version,
        platform=answer.get("platformVersion", ""),
        status=answer.get("status", ""),
        issues=tuple(
            Issue(issue.get("code", "Other"), issue.get("message", ""), tuple(issue.get("resourceIds") or ()))
            for issue in (answer.get("health") or {}).get("issues") or ()
        ),
    )


def read_cluster(aws: Aws, name: str) -> Cluster:
    """The cluster as EKS describes it now. Raises AwsError, with the reason cluster_not_found where there is none."""
    with cluster_named(aws, name):
        answer = ask(aws, "DescribeCluster", f"the EKS cluster {name} in {aws.region}", name=name)
    return cluster_from(answer["cluster"])


@contextmanager
def cluster_named(aws: Aws, name: str) -> Iterator[None]:
    """Around a request about the cluster itself: that there is none of that name is said as such."""
    try:
        yield
    except AwsError as error:
        if error.reason != "not_found":
            raise
        raise AwsError(
            f"EKS knows no cluster {name} in {aws.region}",
            reason="cluster_not_found",
            code=error.code,
            remedy="Check the name and the region",
        ) from error


def offered_versions(aws: Aws) -> list[Version]:
    """The Kubernetes versions that EKS supports now, oldest first."""
    found = ask_all(aws, "DescribeClusterVersions", "the Kubernetes versions of EKS", "clusterVersions")
    return sorted_versions(entry.get("clusterVersion") or "" for entry in found)


def sorted_versions(texts: Iterable[str]) -> list[Version]:
    """The versions that can be read of these, each once, oldest first."""
    return sorted({version for version in map(parse_version, texts) if version is not None})


def node_groups(aws: Aws, name: str) -> list[str]:
    """The names of the cluster's EKS managed node groups."""
    return sorted(ask_all(aws, "ListNodegroups", f"EKS cluster {name}", "nodegroups", clusterName=name))
