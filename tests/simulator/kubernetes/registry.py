# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs on objects, with the rules that the API server applies: versions, identity, halves, grace, owners.

Everything here is one step under the store's lock. Answers are ``Stored``: the object and its JSON.
"""

from __future__ import annotations

import copy
import random
import uuid
from collections.abc import Callable
from typing import Any

from simulator.clock import Clock
from simulator.kubernetes import deletion, validation
from simulator.kubernetes.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    namespace_terminating,
    not_found,
    stale,
)
from simulator.kubernetes.garbage import GarbageCollector
from simulator.kubernetes.resources import (
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Resource,
)
from simulator.kubernetes.selectors import dig
from simulator.kubernetes.store import ADDED, DELETED, MODIFIED, Store, Stored

# What the server decides about an object, whatever a PUT or PATCH says.
SYSTEM_FIELDS = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
COUNTS_GENERATIONS = (PODS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, JOBS, POD_DISRUPTION_BUDGETS)
SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
FIRST_STATUS: dict[Resource, dict[str, Any]] = {
    PODS: {"phase": "Pending"},
    NAMESPACES: {"phase": "Active"},
    PERSISTENT_VOLUMES: {"phase": "Pending"},
    PERSISTENT_VOLUME_CLAIMS: {"phase": "Pending"},
    POD_DISRUPTION_BUDGETS: {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0},
}

Change = Callable[[dict[str, Any]], dict[str, Any]]


class Registry:
    """Create, read, update, delete. ``seed`` makes uids and generated names the same in every run."""

    def __init__(self, store: Store, clock: Clock, seed: int = 1):
        self.store = store
        self.clock = clock
        self._random = random.Random(seed)
        self._garbage = GarbageCollector(self)
        #: webhooks: each may change a new object; the store's lock is held meanwhile
        self.admission: list[Callable[[Resource, dict[str, Any]], None]] = []

    def get(self, resource: Resource, namespace: str, name: str) -> Stored:
        """One object; ApiError 404."""
        stored = self.store.get(resource, namespace, name)
        if stored is None:
            raise not_found(resource, name)
        return stored

    def create(self, resource: Resource, namespace: str, body: Any, dry_run: bool = False) -> Stored:
        """A new object. ApiError 400, 403 (namespace going away), 404 (no such namespace), 409, 422."""
        item = copy.deepcopy(validation.fits(resource, namespace, body))
        metadata = item["metadata"] = dict(item.get("metadata") or {})
        if metadata.get("resourceVersion"):
            raise ApiError(500, "InternalError", "resourceVersion should not be set on objects to be created")
        with self.store.lock:
            self._name(metadata)
            if resource.namespaced:
                metadata["namespace"] = namespace
                self.check_namespace(resource, namespace, metadata.get("name", ""))
            self._begin_life(resource, item)
            for admit in self.admission:
                admit(resource, item)
            validation.fill_in(resource, item)
            validation.check(resource, item)
            if self.store.get(resource, metadata.get("namespace", ""), metadata["name"]):
                raise already_exists(resource, metadata["name"])
            item = _in_order(resource, item)
            return Stored(item) if dry_run else self.store.put(resource, ADDED, item)

    def _name(self, metadata: dict[str, Any]) -> None:
        if not metadata.get("name") and metadata.get("generateName"):
            suffix = "".join(self._random.choices(SUFFIX_LETTERS, k=5))
            metadata["name"] = metadata["generateName"] + suffix

    def check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        """A namespace takes new content; ApiError 404 or 403."""
        if deletion.is_terminating(self.get(NAMESPACES, "", namespace).object):
            raise namespace_terminating(resource, name, namespace)

    def _begin_life(self, resource: Resource, item: dict[str, Any]) -> None:
        metadata = item["metadata"]
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            metadata.pop(field, None)
        metadata["uid"] = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = self.clock.timestamp()
        if resource in COUNTS_GENERATIONS:
            metadata["generation"] = 1
        if resource.has_status and not resource.status_at_creation:
            item["status"] = dict(FIRST_STATUS.get(resource, {}))

    def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Change,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Stored:
        """Replace an object by what ``change`` makes of a copy of it. ApiError 404, 409, 422.

        The main resource writes everything but the status, ``status`` the status and the metadata, ``finalize`` a
        namespace's own finalizers. An update that changes nothing makes no new version.
        """
        with self.store.lock:
            before = self.get(resource, namespace, name)
            item = change(before.copy())
            self._check_identity(resource, before.object, item)
            _keep_what_is_not_theirs(resource, before.object, item, subresource)
            item = _in_order(resource, item)
            validation.check(resource, item, before.object)
            if item == before.object:
                return before
            if resource in COUNTS_GENERATIONS and item.get("spec") != before.object.get("spec"):
                item["metadata"]["generation"] = before.object["metadata"].get("generation", 1) + 1
            if dry_run:
                return Stored(item)
            if deletion.may_vanish(resource, item):
                return self._remove(resource, item)
            return self.store.put(resource, MODIFIED, item)

    def _check_identity(self, resource: Resource, before: dict[str, Any], item: dict[str, Any]) -> None:
        old, new = before["metadata"], item.setdefault("metadata", {})
        if new.get("name", old["name"]) != old["name"]:
            text = f"the name of the object ({new['name']}) does not match the name on the URL ({old['name']})"
            raise bad_request(text)
        if new.get("uid", old["uid"]) != old["uid"]:
            text = f"Precondition failed: UID in precondition: {new['uid']}, UID in object meta: {old['uid']}"
            raise conflict(resource, old["name"], text)
        if new.get("resourceVersion") and new["resourceVersion"] != old["resourceVersion"]:
            raise stale(resource, old["name"])

    def replace(
        self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = "", dry_run: bool = False
    ) -> tuple[Stored, bool]:
        """PUT: the object as sent; True when that created it. ApiError as for ``update`` and ``create``."""
        item = validation.fits(resource, namespace, body)
        metadata = item.get("metadata") or {}
        with self.store.lock:
            missing = self.store.get(resource, namespace, name) is None
            if missing and metadata.get("uid"):
                raise conflict(resource, name, _nothing_has(metadata["uid"], resource, namespace, name))
            if missing and resource.creates_on_put and not subresource:
                item = {**item, "metadata": {**metadata, "name": metadata.get("name", name), "resourceVersion": ""}}
                return self.create(resource, namespace, item, dry_run), True
            if not missing and resource.needs_version and not metadata.get("resourceVersion"):
                text = "Invalid value: 0: must be specified for an update"
                field = {"reason": "FieldValueInvalid", "message": text, "field": "metadata.resourceVersion"}
                raise invalid(resource, name, [field])
            replaced = self.update(
                resource, namespace, name, lambda _unused: copy.deepcopy(item), subresource=subresource, dry_run=dry_run
            )
            return replaced, False

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        options: dict[str, Any] | None = None,
        dry_run: bool = False,
    ) -> tuple[Stored, bool]:
        """DELETE with DeleteOptions. Returns the object, and True when it is gone (not merely on its way)."""
        options = options or {}
        with self.store.lock:
            before = self.get(resource, namespace, name)
            deletion.check_preconditions(resource, before.object, options)
            if resource is NAMESPACES and deletion.is_terminating(before.object):
                text = (
                    "The system is ensuring all content is removed from this namespace.  Upon completion, "
                    "this namespace will automatically be purged by the system."
                )
                raise conflict(resource, name, text)
            item = before.copy()
            deletion.mark_deleted(resource, item, options, self.clock)
            if deletion.may_vanish(resource, item):
                return (Stored(item) if dry_run else self._remove(resource, item)), True
            if item == before.object or dry_run:
                return Stored(item), False
            stored = self.store.put(resource, MODIFIED, item)
            self._garbage.marked(resource, item)
            return self.store.get(resource, namespace, name) or stored, False

    def _remove(self, resource: Resource, item: dict[str, Any]) -> Stored:
        stored = self.store.put(resource, DELETED, item)
        self._garbage.removed(item)
        return stored

    def bind(self, namespace: str, name: str, body: dict[str, Any], dry_run: bool = False) -> None:
        """pods/binding: the scheduler gives a pod to a node. ApiError 404, 409 when it has one or is going."""
        node = dig(body, "target.name")
        if not node:
            raise invalid(PODS, name, [validation.required("target.name")])
        with self.store.lock:
            pod = self.get(PODS, namespace, name).copy()
            wanted = dig(body, "metadata.uid")
            if wanted and wanted != pod["metadata"]["uid"]:
                raise conflict(PODS, name, f"Precondition failed: UID in precondition: {wanted}")
            if deletion.is_terminating(pod):
                raise conflict(PODS, name, f"pod {name} is being deleted, cannot be assigned to a host")
            if pod["spec"].get("nodeName"):
                raise conflict(PODS, name, f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"')
            pod["spec"]["nodeName"] = node
            scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": self.clock.timestamp()}
            others = [c for c in dig(pod, "status.conditions") or [] if c["type"] != "PodScheduled"]
            pod.setdefault("status", {})["conditions"] = [*others, scheduled]
            if not dry_run:
                self.store.put(PODS, MODIFIED, pod)


def _keep_what_is_not_theirs(
    resource: Resource, before: dict[str, Any], item: dict[str, Any], subresource: str
) -> None:
    """Put back the fields that this kind of update must not touch."""
    metadata = item["metadata"]
    for field in (*SYSTEM_FIELDS, "resourceVersion", "generation"):
        metadata.pop(field, None)
        if field in before["metadata"]:
            metadata[field] = before["metadata"][field]
    if subresource == "finalize":
        item["spec"], item["status"] = {"finalizers": dig(item, "spec.finalizers") or []}, before.get("status", {})
        return
    for key in set(before) | set(item):
        belongs_to_status = key == "status"
        theirs = key in ("apiVersion", "kind", "metadata") or (
            belongs_to_status == (subresource == "status") or not resource.has_status
        )
        if theirs:
            continue
        item.pop(key, None)
        if key in before:
            item[key] = before[key]
    if resource is NAMESPACES and "spec" in before:
        item["spec"] = before["spec"]


def _in_order(resource: Resource, item: dict[str, Any]) -> dict[str, Any]:
    """In the usual order, and without the empty values that the server never shows."""
    metadata = item["metadata"]
    for field in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields", "generateName"):
        if field in metadata and (not metadata[field] or field == "managedFields"):
            del metadata[field]
    if resource is NODES:
        for field in ("taints", "unschedulable"):
            if not dig(item, f"spec.{field}", default=True):
                del item["spec"][field]
    rest = {key: value for key, value in item.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    status = {"status": item["status"]} if "status" in item else {}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **rest, **status}


def _nothing_has(uid: str, resource: Resource, namespace: str, name: str) -> str:
    """What etcd says to who would replace an object that was deleted."""
    key = "/".join(part for part in ("/registry", resource.plural, namespace, name) if part)
    return (
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
    )
