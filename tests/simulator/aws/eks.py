# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS: clusters with the world's endpoint and CA, and control planes that are upgraded, and rolled back, over time.

Rules: UpdateClusterVersion in botocore's model; "Update existing cluster to new Kubernetes version" and "Roll back a
cluster to a previous Kubernetes version" of the User Guide. The texts of refusals are those that EKS's users report.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moto.eks.models import Cluster, eks_backends

from simulator.aws.agenda import Agenda
from simulator.aws.eks_addons import Addons
from simulator.aws.eks_errors import InUse, InvalidParameter, InvalidRequest, InvalidState, NotFound, page
from simulator.aws.eks_inside import Inside, Nobody
from simulator.aws.eks_insights import ROLLBACK, UPGRADE, Insights
from simulator.aws.eks_nodegroups import Nodegroups
from simulator.aws.eks_updates import SUCCESSFUL, VERSION_ROLLBACK, VERSION_UPDATE, Script, Update, Updates
from simulator.aws.eks_versions import BY_VERSION, is_known, minor
from simulator.aws.timings import Timings

if TYPE_CHECKING:
    from simulator.aws.autoscaling import AutoScaling

ROLLBACK_DAYS = 7
ROLLBACK_TIMEOUTS = range(120, 10081)  # minutes: RollbackConfig in botocore's model
NOT_READY = (
    "{what} readiness issues detected. Call the EKS ListInsights API to view {verb} blocking issues detected by EKS. "
    "Pass the force flag to override {verb} readiness errors and proceed with {verb}."
)


@dataclass
class Estate:
    """What the world keeps of a cluster beside moto: its updates, add-ons, insights, node groups, and the way back.

    Tests have a hand in ``script`` (how updates end), ``addons`` and ``insights``, and in the fields that say so.
    """

    updates: Updates
    addons: Addons
    insights: Insights
    nodegroups: Nodegroups
    script: Script
    #: a test: an insight in ERROR forbids an upgrade that is not forced
    enforce_insights: bool = True
    #: a test: the cluster's health issues, as DescribeCluster shows them (code, message, resourceIds)
    health: list[dict[str, Any]] = field(default_factory=list)
    #: a test: when, as parts of an update's time, the endpoint resets connections, and for how many seconds
    disturbances: tuple[tuple[float, float], ...] = ()
    #: a test: for so many seconds after an update the next is still refused, though the cluster is ACTIVE (as users
    #: report: containers-roadmap#2677)
    lingers: float = 0.0
    #: the version before the latest upgrade, and when that ended (unix seconds), as long as it can be rolled back
    came_from: str = ""
    came_at: float = 0.0
    ended_at: float = -1e9  # when the latest update of the cluster itself was over


class Clusters:
    """The EKS clusters of one account and region."""

    def __init__(self, agenda: Agenda, timings: Timings, scaling: AutoScaling, account: str, region: str):
        self._scaling = scaling
        self._agenda = agenda
        self._timings = timings
        self.backend = eks_backends[account][region]
        #: cluster name -> what the world keeps of it
        self.estates: dict[str, Estate] = {}
        #: the inside of the cluster (one Kubernetes to a world)
        self.inside: Inside = Nobody()

    def create(self, name: str, version: str, role_arn: str, network: dict[str, Any], tags: dict[str, str]) -> Cluster:
        """An ACTIVE cluster; give it an endpoint before anybody talks to it."""
        cluster = self.backend.create_cluster(
            name=name, version=version, role_arn=role_arn, resources_vpc_config=network, tags=tags
        )
        cluster.created_at = self._agenda.datetime()
        updates, script = Updates(name), Script()

        def inside() -> Inside:
            return self.inside

        def version_now() -> str:
            return cluster.version

        shared = (self._agenda, self._timings, updates, script, inside, version_now)
        addons = Addons(name, cluster.arn, *shared)
        nodegroups = Nodegroups(name, cluster.arn, *shared, self._scaling)
        insights = Insights(
            name,
            self._agenda,
            self._timings,
            addons,
            inside,
            version_now,
            lambda: self.rollback_target(name),
            lambda: self.health(name),
        )
        estate = self.estates[name] = Estate(updates, addons, insights, nodegroups, script)
        estate.disturbances = self._timings.endpoint_disturbances
        return cluster

    def set_endpoint(self, name: str, endpoint: str, ca_pem: str) -> None:
        """Where its Kubernetes API is, and the CA that vouches for it (PEM)."""
        cluster = self.find(name)
        cluster.endpoint = endpoint
        cluster.certificate_authority = {"data": base64.b64encode(ca_pem.encode()).decode()}

    # ---- looking

    def find(self, name: str) -> Cluster:
        """The cluster, or AWS's refusal."""
        if name not in self.backend.clusters:
            raise NotFound(name, f"No cluster found for name: {name}.")
        return self.backend.clusters[name]

    def estate(self, name: str) -> Estate:
        """What belongs to the cluster, or AWS's refusal. A cluster that was made through the API has no estate yet."""
        cluster = self.find(name)
        if name not in self.estates:
            raise InvalidRequest(name, f"The rehearsal world keeps no add-ons and updates of cluster {cluster.name}.")
        return self.estates[name]

    def describe(self, name: str) -> dict[str, Any]:
        """As DescribeCluster shows it."""
        cluster = self.find(name)
        platform = BY_VERSION[cluster.version].platform if cluster.version in BY_VERSION else "eks.1"
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
            "platformVersion": platform,
            "tags": cluster.tags,
            "health": {"issues": self.health(name)},
            "accessConfig": {"authenticationMode": "API"},
            "upgradePolicy": {"supportType": "EXTENDED"},
        }

    def health(self, name: str) -> list[dict[str, Any]]:
        """The cluster's own health issues."""
        return self.estates[name].health if name in self.estates else []

    def rollback_target(self, name: str) -> str:
        """The version that the cluster may be rolled back to now; empty when none."""
        estate = self.estates.get(name)
        if estate is None or self._agenda.now() > estate.came_at + ROLLBACK_DAYS * 86400:
            return ""
        return estate.came_from

    # ---- updates

    def update_version(self, params: Mapping[str, Any]) -> Update:
        """UpdateClusterVersion: one minor version up, or back again; only when nothing else is under way."""
        name, wanted = params["name"], params["version"]
        cluster, estate = self.find(name), self.estate(name)
        token = params.get("clientRequestToken") or ""
        repeated = estate.updates.repeated(token)
        if repeated is not None:
            return repeated
        self._check_free(cluster, estate)
        back = bool(wanted) and wanted == self.rollback_target(name)
        self._check_step(cluster, wanted, back, params)
        self._check_nodegroups(cluster, estate, back)
        self._check_insights(estate, name, wanted, back, bool(params.get("force")))
        given = {"Version": wanted, "PlatformVersion": BY_VERSION[wanted].platform}
        kind = VERSION_ROLLBACK if back else VERSION_UPDATE
        update = estate.updates.add(Update(kind, given, self._agenda.datetime(), token=token))
        cluster.status = "UPDATING"
        whole = self._timings.cluster_update
        for part, seconds in estate.disturbances:
            if part < 1:
                self._agenda.after(part * whole, lambda long=seconds: self.inside.disturb(long))
        self._agenda.after(whole, lambda: self._end(cluster, estate, update))
        return update

    def find_update(self, params: Mapping[str, Any]) -> Update:
        """DescribeUpdate, of the cluster or of one of its add-ons or node groups."""
        addon, nodegroup = params.get("addonName") or "", params.get("nodegroupName") or ""
        return self.estate(params["name"]).updates.find(params["updateId"], addon, nodegroup)

    def list_updates(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """ListUpdates, of the cluster or of one of its add-ons or node groups."""
        estate = self.estate(params["name"])
        addon, nodegroup = params.get("addonName") or "", params.get("nodegroupName") or ""
        if addon:
            estate.addons.find(addon)
        if nodegroup:
            estate.nodegroups.find(nodegroup)
        return page(estate.updates.ids(addon, nodegroup), params, "updateIds")

    def cancel_update(self, params: Mapping[str, Any]) -> Update:
        """CancelUpdate: only of a rollback of EKS Auto Mode, which the world has not."""
        update = self.find_update(params)
        text = f"Update {update.update_id} of type {update.kind} cannot be cancelled"
        raise InvalidRequest(params["name"], text)

    def _check_free(self, cluster: Cluster, estate: Estate) -> None:
        lingering = self._agenda.now() < estate.ended_at + estate.lingers
        if cluster.status != "ACTIVE" or lingering:
            text = f"Cannot VersionUpdate because cluster {cluster.name} currently has an update in progress"
            raise InUse(cluster.name, text)

    def _check_step(self, cluster: Cluster, wanted: str, back: bool, params: Mapping[str, Any]) -> None:
        if not is_known(wanted):
            raise InvalidParameter(cluster.name, "unsupported Kubernetes version")
        if not back and minor(wanted) != minor(cluster.version) + 1:
            text = f"Unsupported Kubernetes minor version update from {cluster.version} to {wanted}"
            raise InvalidParameter(cluster.name, text)
        minutes = (params.get("rollbackConfig") or {}).get("timeoutMinutes")
        if minutes is not None and (not back or minutes not in ROLLBACK_TIMEOUTS):
            raise InvalidParameter(cluster.name, f"Invalid rollbackConfig timeoutMinutes: {minutes}")

    def _check_nodegroups(self, cluster: Cluster, estate: Estate, back: bool) -> None:
        """ "All of your node groups' Kubernetes versions must match the cluster's" (UpdateClusterVersion)."""
        behind = estate.nodegroups.behind()
        if behind and not back:
            text = f"must be updated to match cluster version {cluster.version} before updating cluster version"
            raise InvalidParameter(cluster.name, f"Nodegroups {', '.join(behind)} {text}")

    def _check_insights(self, estate: Estate, name: str, wanted: str, back: bool, force: bool) -> None:
        blocking = estate.insights.blocking(ROLLBACK if back else UPGRADE, wanted)
        if blocking and estate.enforce_insights and not force:
            what, verb = ("Rollback", "rollback") if back else ("Upgrade", "upgrade")
            raise InvalidState(name, NOT_READY.format(what=what, verb=verb))

    def _end(self, cluster: Cluster, estate: Estate, update: Update) -> None:
        """The last API server gives way; or the update has come to nothing, and everything is as before."""
        if estate.script.holds(update):
            self._agenda.after(self._timings.update_look, lambda: self._end(cluster, estate, update))
            return
        cluster.status = "ACTIVE"
        estate.ended_at = self._agenda.now()
        if estate.script.ends(update):
            return
        back = update.kind == VERSION_ROLLBACK
        estate.came_from = "" if back else cluster.version  # the way back is open once
        estate.came_at = self._agenda.now()
        cluster.version, update.status = update.params["Version"], SUCCESSFUL
        self.inside.serve(cluster.version)
        for part, seconds in estate.disturbances:
            if part >= 1:
                self.inside.disturb(seconds)
        estate.insights.look()
