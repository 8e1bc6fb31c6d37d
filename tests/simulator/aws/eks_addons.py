# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-ons of one cluster: created, updated and deleted as EKS does it, over time, with their Kubernetes objects.

An update is applied after a moment; where somebody has changed fields that it would change too, ``resolveConflicts``
decides (UpdateAddon in botocore's model). Then EKS waits for the pods. The texts of refusals and health issues are
those that EKS's users report.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import yaml

from simulator.aws import eks_catalogue
from simulator.aws.agenda import Agenda
from simulator.aws.eks_errors import InUse, InvalidParameter, InvalidRequest, NotFound
from simulator.aws.eks_inside import Inside
from simulator.aws.eks_manifests import addon_objects
from simulator.aws.eks_updates import ADDON_UPDATE, SUCCESSFUL, Script, Update, Updates
from simulator.aws.eks_versions import minor
from simulator.aws.fields import applied, foreign, written
from simulator.aws.timings import Timings

Manifest = dict[str, Any]
MODES = ("NONE", "OVERWRITE", "PRESERVE")
BUSY = ("CREATING", "UPDATING", "DELETING")
CONFLICT = "Conflicts found when trying to apply. Will not continue due to resolve conflicts mode. Conflicts:\n"
TOO_FEW = "The add-on is unhealthy because it doesn't have the desired number of replicas."
EMPTY: Manifest = {}


@dataclass
class Addon:
    """One add-on as it is installed. ``version`` and ``values`` are what EKS applied last."""

    name: str
    version: str
    created: datetime
    modified: datetime
    arn: str
    status: str = "CREATING"
    issues: list[dict[str, Any]] = field(default_factory=list)
    values: str = ""  # configuration values, as they were given
    role: str = ""
    identities: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    token: str = ""  # of the request that created it, by which a repeated one is known
    wanting: bool = False  # EKS has given up waiting for its pods: DEGRADED until they come up after all


class Addons:
    """See the module's docstring. ``cluster_version`` tells the cluster's Kubernetes version."""

    def __init__(
        self,
        cluster: str,
        arn: str,
        agenda: Agenda,
        timings: Timings,
        updates: Updates,
        script: Script,
        inside: Callable[[], Inside],
        cluster_version: Callable[[], str],
    ):
        self._cluster, self._arn = cluster, arn
        self._agenda, self._timings = agenda, timings
        self._updates, self._script = updates, script
        self._inside = inside
        self._cluster_version = cluster_version
        self.installed: dict[str, Addon] = {}
        #: add-on -> the health issue that a test has given it
        self.troubles: dict[str, dict[str, Any]] = {}

    @property
    def region(self) -> str:
        """Where the cluster is, from its ARN."""
        return self._arn.split(":")[3]

    # ---- a test's hand

    def degrade(
        self, name: str, code: str = "InsufficientNumberOfReplicas", message: str = TOO_FEW, *resources: str
    ) -> None:
        """From now on the add-on has this health issue, until ``recover``."""
        self.find(name)
        self.troubles[name] = {"code": code, "message": message, "resourceIds": list(resources)}

    def recover(self, name: str) -> None:
        """It is well again."""
        self.troubles.pop(name, None)

    def install(self, name: str, version: str, values: str = "", role: str = "") -> None:
        """It has been there for long (for scenarios); its objects are applied at once."""
        addon = self._new(name, {"addonVersion": version, "configurationValues": values, "serviceAccountRoleArn": role})
        for manifest in self._objects(name, version, values):
            self._inside().apply(manifest)
        addon.status = "ACTIVE"
        self.installed[name] = addon

    def install_self_managed(self, name: str, version: str) -> None:
        """Somebody has put its objects there, and EKS knows nothing of it."""
        for manifest in self._objects(name, version, ""):
            self._inside().apply(manifest)

    # ---- EKS's operations

    def names(self) -> list[str]:
        """ListAddons."""
        return sorted(self.installed)

    def find(self, name: str) -> Addon:
        """The add-on, or EKS's refusal."""
        if name not in self.installed:
            raise NotFound(self._cluster, f"No addon: {name} found in cluster: {self._cluster}", name)
        return self.installed[name]

    def describe(self, name: str) -> dict[str, Any]:
        """As DescribeAddon shows it, with its health as of now."""
        addon = self.find(name)
        self._look_at_health(addon)
        answer = {
            "addonName": addon.name,
            "clusterName": self._cluster,
            "status": addon.status,
            "addonVersion": addon.version,
            "health": {"issues": addon.issues},
            "addonArn": addon.arn,
            "createdAt": addon.created,
            "modifiedAt": addon.modified,
            "tags": addon.tags,
            "podIdentityAssociations": addon.identities,
        }
        if addon.role:
            answer["serviceAccountRoleArn"] = addon.role
        if addon.values:
            answer["configurationValues"] = addon.values
        return answer

    def create(self, params: Mapping[str, Any]) -> Addon:
        """CreateAddon; over the objects of a self-managed one it applies as an update does."""
        name, token = params["addonName"], params.get("clientRequestToken", "")
        if name in self.installed:
            if token and self.installed[name].token == token:
                return self.installed[name]
            raise InUse(self._cluster, "Addon already exists.", name)
        self._check_version(name, params.get("addonVersion"))
        mode = self._check_mode(name, params)
        self._check_values(name, params.get("configurationValues"))
        addon = self.installed[name] = self._new(name, params)
        self._agenda.after(self._timings.addon_apply, lambda: self._create(addon, mode))
        return addon

    def update(self, params: Mapping[str, Any]) -> Update:
        """UpdateAddon. A role that is not named again is taken away; configuration values that are not given stay."""
        addon = self.find(params["addonName"])
        repeated = self._updates.repeated(params.get("clientRequestToken", ""))
        if repeated is not None:
            return repeated
        self._check_free(addon)
        version = params.get("addonVersion") or addon.version
        self._check_version(addon.name, version)
        self._check_step(addon, version)
        mode = self._check_mode(addon.name, params)
        self._check_values(addon.name, params.get("configurationValues"))
        given = {
            "AddonVersion": params.get("addonVersion"),
            "ServiceAccountRoleArn": params.get("serviceAccountRoleArn"),
            "ResolveConflicts": params.get("resolveConflicts"),
            "ConfigurationValues": params.get("configurationValues"),
        }
        told = {key: value for key, value in given.items() if value is not None}
        token = params.get("clientRequestToken", "")
        update = self._updates.add(Update(ADDON_UPDATE, told, self._agenda.datetime(), addon=addon.name, token=token))
        addon.status, addon.issues = "UPDATING", []
        values = addon.values if params.get("configurationValues") is None else params["configurationValues"]
        after = Addon(addon.name, version, addon.created, addon.modified, addon.arn, values=values)
        after.role = params.get("serviceAccountRoleArn") or ""
        after.identities = self._identities(params, addon.identities)
        self._agenda.after(self._timings.addon_apply, lambda: self._apply_update(addon, after, update, mode))
        return update

    def delete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """DeleteAddon: with ``preserve`` its objects stay, self-managed from then on."""
        addon = self.find(params["addonName"])
        if addon.status in BUSY:
            raise InvalidRequest(
                self._cluster, f"Addon {addon.name} cannot be deleted as it is currently in {addon.status} state"
            )
        addon.status = "DELETING"
        self._agenda.after(self._timings.addon_delete, lambda: self._delete(addon, bool(params.get("preserve"))))
        return self.describe(addon.name)

    # ---- checks

    def _check_free(self, addon: Addon) -> None:
        if self._updates.running() is not None:
            raise InUse(
                self._cluster,
                f"Cannot AddonUpdate because cluster {self._cluster} currently has an update in progress",
                addon.name,
            )
        if addon.status in BUSY:
            text = f"Addon {addon.name} cannot be updated as it is currently in {addon.status} state"
            raise InUse(self._cluster, text, addon.name)

    def _check_version(self, name: str, version: str | None) -> None:
        cluster = self._cluster_version()
        if name not in eks_catalogue.BY_NAME:
            text = f"Addon {name} specified is not supported in {cluster} kubernetes version"
            raise InvalidParameter(self._cluster, text, name)
        kind = eks_catalogue.BY_NAME[name]
        if version and version not in [one.version for one in kind.fitting(cluster)]:
            raise InvalidParameter(self._cluster, "Addon version specified is not supported", name)

    def _check_step(self, addon: Addon, version: str) -> None:
        if addon.name == "vpc-cni" and abs(minor(version) - minor(addon.version)) > 1:
            text = "Updating VPC-CNI can only go up or down 1 minor version at a time"
            raise InvalidParameter(self._cluster, text, addon.name)

    def _check_mode(self, name: str, params: Mapping[str, Any]) -> str:
        mode = params.get("resolveConflicts") or "NONE"
        if mode not in MODES:
            raise InvalidParameter(self._cluster, f"Invalid resolveConflicts value: {mode}", name)
        return mode

    def _check_values(self, name: str, values: str | None) -> None:
        """The first level of the schema only; YAML is as good as JSON."""
        start = "ConfigurationValue provided in request is not supported"
        try:
            given = yaml.safe_load(values or "{}")
        except yaml.YAMLError:
            given = None
        if not isinstance(given, dict):
            raise InvalidParameter(self._cluster, start, name)
        for key in given:
            if key not in eks_catalogue.BY_NAME[name].settings:
                where = f"[$.{key}: is not defined in the schema and the schema does not allow additional properties]"
                text = f"{start}: Json schema validation failed with error: {where}"
                raise InvalidParameter(self._cluster, text, name)

    # ---- what happens then

    def _new(self, name: str, params: Mapping[str, Any]) -> Addon:
        version = params.get("addonVersion") or eks_catalogue.BY_NAME[name].default(self._cluster_version())
        now = self._agenda.datetime()
        arn = f"{self._arn.replace(':cluster/', ':addon/')}/{name}/{uuid.uuid4()}"
        addon = Addon(name, version, now, now, arn, values=params.get("configurationValues") or "")
        addon.role = params.get("serviceAccountRoleArn") or ""
        addon.identities = self._identities(params, [])
        addon.tags = dict(params.get("tags") or {})
        addon.token = params.get("clientRequestToken", "")
        return addon

    def _identities(self, params: Mapping[str, Any], before: list[str]) -> list[str]:
        given = params.get("podIdentityAssociations")
        if given is None:
            return before
        start = self._arn.replace(":cluster/", ":podidentityassociation/")
        return [f"{start}/a-{one['serviceAccount']}" for one in given]

    def _objects(self, name: str, version: str, values: str) -> list[Manifest]:
        return addon_objects(name, version, self.region, yaml.safe_load(values or "{}"))

    def _create(self, addon: Addon, mode: str) -> None:
        conflicts = self._apply(addon, None, mode)
        if conflicts:
            addon.status = "CREATE_FAILED"
            addon.issues = [{"code": "ConfigurationConflict", "message": CONFLICT + conflicts, "resourceIds": []}]
        else:
            self._await(addon, None)

    def _apply_update(self, addon: Addon, after: Addon, update: Update, mode: str) -> None:
        if self._script.holds(update):
            self._again(lambda: self._apply_update(addon, after, update, mode))
            return
        if self._script.ends(update):
            addon.status = "UPDATE_FAILED"
            addon.issues = [_issue(update)]
            return
        conflicts = self._apply(after, addon, mode)
        if conflicts:
            update.fail("ConfigurationConflict", CONFLICT + conflicts)
            addon.status, addon.issues = "UPDATE_FAILED", [_issue(update)]
            return
        addon.version, addon.values, addon.modified = after.version, after.values, self._agenda.datetime()
        addon.role, addon.identities = after.role, after.identities
        self._await(addon, update)

    def _apply(self, after: Addon, before: Addon | None, mode: str) -> str:
        """Apply the objects; or, where conflicts forbid it, answer with them and change nothing."""
        inside = self._inside()
        old = self._objects(before.name, before.version, before.values) if before else []
        known = {(one["kind"], one["metadata"]["name"]): one for one in old}
        todo, conflicts = [], []
        for want in self._objects(after.name, after.version, after.values):
            metadata = want["metadata"]
            live = inside.find(want["kind"], metadata["namespace"], metadata["name"])
            was = known.get((want["kind"], metadata["name"]), EMPTY)
            if live is None:
                todo.append(want)
                continue
            theirs = foreign(was, live, want)
            conflicts += [f"{_called(want)} - {written(path)}" for path in theirs]
            todo.append(applied(was, live, want, theirs if mode == "PRESERVE" else {}))
        # On creation PRESERVE is no more than NONE (CreateAddon in botocore's model).
        if conflicts and (mode == "NONE" or (mode == "PRESERVE" and before is None)):
            return "\n".join(conflicts)
        for manifest in todo:
            inside.apply(manifest)
        return ""

    def _await(self, addon: Addon, update: Update | None, since: float | None = None) -> None:
        """Look every few seconds whether the pods are up to date and Ready."""
        since = self._agenda.now() if since is None else since
        waiting = [_called(one) for one in self._workloads(addon) if not rolled_out(one)]
        late = self._agenda.now() - since >= self._timings.addon_patience
        if waiting and not late:
            self._again(lambda: self._await(addon, update, since))
            return
        addon.status, addon.modified, addon.wanting = "ACTIVE", self._agenda.datetime(), bool(waiting)
        if update is not None:
            update.status = SUCCESSFUL
            if waiting:
                update.fail("InsufficientNumberOfReplicas", TOO_FEW)

    def _delete(self, addon: Addon, preserve: bool) -> None:
        if not preserve:
            for one in self._objects(addon.name, addon.version, addon.values):
                self._inside().remove(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"])
        self.installed.pop(addon.name, None)

    def _again(self, action: Callable[[], None]) -> None:
        self._agenda.after(self._timings.update_look, action)

    def _workloads(self, addon: Addon) -> list[Manifest]:
        wanted = self._objects(addon.name, addon.version, addon.values)
        places = [(one["kind"], one["metadata"]) for one in wanted if one["kind"] in ("DaemonSet", "Deployment")]
        found = [self._inside().find(kind, metadata["namespace"], metadata["name"]) for kind, metadata in places]
        return [one for one in found if one is not None]

    def _look_at_health(self, addon: Addon) -> None:
        """A Deployment without a single Ready pod makes its add-on DEGRADED, for as long as that is so; and so do pods
        that an update has waited for in vain."""
        if addon.status not in ("ACTIVE", "DEGRADED"):
            return
        workloads = self._workloads(addon)
        addon.wanting = addon.wanting and not all(map(rolled_out, workloads))
        issues = [self.troubles[addon.name]] if addon.name in self.troubles else []
        if addon.wanting or any(map(_is_down, workloads)):
            issues.append({"code": "InsufficientNumberOfReplicas", "message": TOO_FEW, "resourceIds": []})
        addon.issues = issues
        addon.status = "DEGRADED" if issues else "ACTIVE"


def _is_down(workload: Manifest) -> bool:
    wanted = workload["kind"] == "Deployment" and workload["spec"].get("replicas")
    return bool(wanted) and not (workload.get("status") or {}).get("readyReplicas")


def rolled_out(workload: Manifest) -> bool:
    """Its controller has seen it, and all its pods are of the newest template and Ready (kubectl rollout status)."""
    status = workload.get("status") or {}
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 1):
        return False
    if workload["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return status.get("updatedNumberScheduled", 0) >= wanted and status.get("numberAvailable", 0) >= wanted
    wanted = workload["spec"].get("replicas", 1)
    replicas, updated = status.get("replicas", 0), status.get("updatedReplicas", 0)
    return updated >= wanted and replicas <= updated and status.get("availableReplicas", 0) >= wanted


def as_values(values: Mapping[str, Any]) -> str:
    """Configuration values as EKS takes them."""
    return json.dumps(dict(values)) if values else ""


def _issue(update: Update) -> dict[str, Any]:
    error = update.errors[0]
    return {"code": error["errorCode"], "message": error["errorMessage"], "resourceIds": error["resourceIds"]}


def _called(manifest: Manifest) -> str:
    """``DaemonSet.apps aws-node``."""
    group = manifest["apiVersion"].rpartition("/")[0]
    return f"{manifest['kind']}{'.' + group if group else ''} {manifest['metadata']['name']}"
