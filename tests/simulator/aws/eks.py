# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS: clusters with the world's endpoint and CA, and control-plane updates that take their time."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moto.eks.exceptions import InvalidParameterException, ResourceInUseException, ResourceNotFoundException
from moto.eks.models import Cluster, eks_backends

from simulator.aws.agenda import Agenda
from simulator.aws.timings import Timings

VERSIONS = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36")
DEFAULT_VERSION = "1.35"


@dataclass
class Update:
    """One EKS update; ``status`` is "InProgress", "Successful" or "Failed"."""

    kind: str
    params: dict[str, str]
    created: datetime
    status: str = "InProgress"
    errors: list[dict[str, Any]] = field(default_factory=list)
    update_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def answer(self) -> dict[str, Any]:
        """As DescribeUpdate shows it."""
        return {
            "id": self.update_id,
            "status": self.status,
            "type": self.kind,
            "params": [{"type": key, "value": value} for key, value in self.params.items()],
            "createdAt": self.created,
            "errors": self.errors,
        }


class Clusters:
    """The EKS clusters of one account and region."""

    def __init__(self, agenda: Agenda, timings: Timings, account: str, region: str):
        self._agenda = agenda
        self._timings = timings
        self.backend = eks_backends[account][region]
        #: cluster name -> update id -> update
        self.updates: dict[str, dict[str, Update]] = {}

    def create(self, name: str, version: str, role_arn: str, network: dict[str, Any], tags: dict[str, str]) -> Cluster:
        """An ACTIVE cluster; give it an endpoint before anybody talks to it."""
        cluster = self.backend.create_cluster(
            name=name, version=version, role_arn=role_arn, resources_vpc_config=network, tags=tags
        )
        cluster.created_at = self._agenda.datetime()
        return cluster

    def set_endpoint(self, name: str, endpoint: str, ca_pem: str) -> None:
        """Where its Kubernetes API is, and the CA that vouches for it (PEM)."""
        cluster = self.find(name)
        cluster.endpoint = endpoint
        cluster.certificate_authority = {"data": base64.b64encode(ca_pem.encode()).decode()}

    def find(self, name: str) -> Cluster:
        """The cluster, or AWS's refusal."""
        if name not in self.backend.clusters:
            raise _refusal(ResourceNotFoundException, name, f"No cluster found for name: {name}.")
        return self.backend.clusters[name]

    def describe(self, name: str) -> dict[str, Any]:
        """As DescribeCluster shows it."""
        cluster = self.find(name)
        return {
            "name": cluster.name,
            "arn": cluster.arn,
            "createdAt": cluster.created_at,
            "version": cluster.version,
            "endpoint": cluster.endpoint,
            "roleArn": cluster.role_arn,
            "resourcesVpcConfig": {"endpointPublicAccess": True} | dict(cluster.resources_vpc_config),
            "kubernetesNetworkConfig": cluster.kubernetes_network_config,
            "identity": cluster.identity,
            "status": cluster.status,
            "certificateAuthority": cluster.certificate_authority,
            "platformVersion": "eks.1",
            "tags": cluster.tags,
            "health": {"issues": []},
            "accessConfig": {"authenticationMode": "API"},
            "upgradePolicy": {"supportType": "STANDARD"},
        }

    def update_version(self, name: str, version: str) -> Update:
        """UpdateClusterVersion: one minor version up, and only when nothing else is under way."""
        cluster = self.find(name)
        if cluster.status != "ACTIVE":
            raise _refusal(ResourceInUseException, name, f"Cluster already has update in progress: {name}")
        if version not in VERSIONS:
            raise _refusal(InvalidParameterException, name, f"unsupported Kubernetes version {version}")
        if VERSIONS.index(version) != VERSIONS.index(cluster.version) + 1:
            text = f"Unsupported Kubernetes minor version update from {cluster.version} to {version}"
            raise _refusal(InvalidParameterException, name, text)
        cluster.status = "UPDATING"
        params = {"Version": version, "PlatformVersion": "eks.1"}
        update = Update("VersionUpdate", params, self._agenda.datetime())
        self.updates.setdefault(name, {})[update.update_id] = update
        self._agenda.after(self._timings.cluster_update, lambda: self._updated(cluster, update))
        return update

    def find_update(self, name: str, update_id: str) -> Update:
        """DescribeUpdate."""
        self.find(name)
        if update_id not in self.updates.get(name, {}):
            raise _refusal(ResourceNotFoundException, name, f"No update found for ID: {update_id}")
        return self.updates[name][update_id]

    def update_ids(self, name: str) -> list[str]:
        """ListUpdates."""
        self.find(name)
        return list(self.updates.get(name, {}))

    @staticmethod
    def _updated(cluster: Cluster, update: Update) -> None:
        cluster.status, cluster.version, update.status = "ACTIVE", update.params["Version"], "Successful"


def _refusal(kind: Any, cluster: str, message: str) -> Exception:
    return kind(clusterName=cluster, nodegroupName=None, addonName=None, message=message)
