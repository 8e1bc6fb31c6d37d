# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The garbage collector: what becomes of an object's dependents when the object goes.

In a real cluster this is a controller that follows a moment later; here it works in the same step, and unrecorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.kubernetes.resources import BY_KIND, Resource
from simulator.kubernetes.store import Key

if TYPE_CHECKING:
    from simulator.kubernetes.registry import Registry


class GarbageCollector:
    """Told by the registry what is marked for deletion and what is gone."""

    def __init__(self, registry: Registry):
        self._registry = registry

    def marked(self, resource: Resource, item: dict[str, Any]) -> None:
        """An owner waits for its dependents: ``orphan`` lets them go, ``foregroundDeletion`` deletes them first."""
        finalizers, uid = item["metadata"].get("finalizers") or [], item["metadata"]["uid"]
        if "orphan" in finalizers:
            for dependent in self._dependents(uid):
                self._disown(*dependent, uid)
            self._take_finalizer(resource, item, "orphan")
        elif "foregroundDeletion" in finalizers:
            for dependent in self._dependents(uid):
                self._delete_or_disown(*dependent, uid, {"propagationPolicy": "Foreground"})
            self._finish_foreground(resource, item)

    def removed(self, item: dict[str, Any]) -> None:
        """An object is gone: its dependents follow it, and an owner that waited for it may go too."""
        uid = item["metadata"]["uid"]
        for dependent in self._dependents(uid):
            self._delete_or_disown(*dependent, uid, {})
        for owner in item["metadata"].get("ownerReferences") or []:
            resource = BY_KIND.get((owner.get("apiVersion", ""), owner.get("kind", "")))
            if resource is None:
                continue
            namespace = item["metadata"].get("namespace", "") if resource.namespaced else ""
            found = self._registry.store.get(resource, namespace, owner["name"])
            if found is not None and found.object["metadata"]["uid"] == owner.get("uid"):
                self._finish_foreground(resource, found.object)

    def _dependents(self, uid: str) -> list[tuple[Resource, Key]]:
        return self._registry.store.dependents(uid)

    def _delete_or_disown(self, resource: Resource, key: Key, uid: str, options: dict[str, Any]) -> None:
        found = self._registry.store.get(resource, *key)
        if found is None:
            return
        others = [owner for owner in found.object["metadata"]["ownerReferences"] if owner.get("uid") != uid]
        if others:
            self._disown(resource, key, uid)
        elif not found.object["metadata"].get("deletionTimestamp"):
            self._registry.delete(resource, *key, options)

    def _disown(self, resource: Resource, key: Key, uid: str) -> None:
        def without_owner(item: dict[str, Any]) -> dict[str, Any]:
            owners = item["metadata"].get("ownerReferences") or []
            item["metadata"]["ownerReferences"] = [owner for owner in owners if owner.get("uid") != uid]
            return item

        self._registry.update(resource, *key, without_owner)

    def _finish_foreground(self, resource: Resource, item: dict[str, Any]) -> None:
        waits = "foregroundDeletion" in (item["metadata"].get("finalizers") or [])
        if waits and not self._blocking(item["metadata"]["uid"]):
            self._take_finalizer(resource, item, "foregroundDeletion")

    def _blocking(self, uid: str) -> bool:
        for resource, key in self._dependents(uid):
            found = self._registry.store.get(resource, *key)
            owners = found.object["metadata"].get("ownerReferences") or [] if found else []
            if any(owner.get("uid") == uid and owner.get("blockOwnerDeletion") for owner in owners):
                return True
        return False

    def _take_finalizer(self, resource: Resource, item: dict[str, Any], finalizer: str) -> None:
        def without_finalizer(current: dict[str, Any]) -> dict[str, Any]:
            finalizers = current["metadata"].get("finalizers") or []
            current["metadata"]["finalizers"] = [name for name in finalizers if name != finalizer]
            return current

        metadata = item["metadata"]
        self._registry.update(resource, metadata.get("namespace", ""), metadata["name"], without_finalizer)
