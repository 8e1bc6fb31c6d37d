# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controllers know of the cluster: shared informers, fed by the store's changes.

The real informers list once and then watch; this cache does the same within the process. It is brought up to date
before every single decision, so a controller never acts on an old view unless somebody else writes at that very moment.
Objects in it belong to the store: read them, never write to them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from simulator.kubernetes.controllers.objects import Key, Object, controller_of, key_of, node_of
from simulator.kubernetes.resources import RESOURCES, Resource
from simulator.kubernetes.store import ADDED, DELETED, MODIFIED, Store, Subscription

BY_PLURAL = {resource.plural: resource for resource in RESOURCES}


@dataclass(frozen=True)
class Event:
    """A change: ``kind`` is ADDED, MODIFIED or DELETED, ``resource`` the plural, ``old`` what was before."""

    kind: str
    resource: str
    object: Object
    old: Object | None


def path_to(resource: str, namespace: str | None = None, name: str = "", sub: str = "") -> str:
    """``/apis/apps/v1/namespaces/shop/replicasets/web``: the path of a collection, an object or a subresource."""
    kind = BY_PLURAL[resource]
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    inside = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    return "/".join(part for part in (f"{root}{inside}", resource, name, sub) if part)


class Cache:
    """The objects of the watched kinds by key, and pods also by node and by owner."""

    def __init__(self, store: Store):
        self._store = store
        self._version = -1
        self._subscriptions: dict[Resource, Subscription] = {}
        self._objects: dict[str, dict[Key, Object]] = defaultdict(dict)
        self._by_namespace: dict[tuple[str, str], dict[Key, Object]] = defaultdict(dict)
        self._pods_by_node: dict[str, dict[Key, Object]] = defaultdict(dict)
        self._pods_by_owner: dict[str, dict[Key, Object]] = defaultdict(dict)
        self._listeners: dict[str, list[Callable[[Event], None]]] = defaultdict(list)

    def listen(self, resources: Iterable[str], listener: Callable[[Event], None]) -> None:
        """Tell the listener of every change of these kinds. All listen before the first ``refresh``."""
        for resource in resources:
            self._listeners[resource].append(listener)

    # --- reading

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        return self._objects[resource].get((namespace, name))

    def all(self, resource: str) -> list[Object]:
        return list(self._objects[resource].values())

    def count(self, resource: str) -> int:
        return len(self._objects[resource])

    def namespaced(self, resource: str, namespace: str) -> list[Object]:
        return list(self._by_namespace.get((resource, namespace), {}).values())

    def pods_on(self, node: str) -> list[Object]:
        return list(self._pods_by_node.get(node, {}).values())

    def nodes_with_pods(self) -> set[str]:
        """The names of the nodes that pods are bound to, whether such nodes exist or not."""
        return {name for name, pods in self._pods_by_node.items() if name and pods}

    def pods_of(self, owner_uid: str) -> list[Object]:
        """The pods whose controller has this UID."""
        return list(self._pods_by_owner.get(owner_uid, {}).values())

    # --- keeping up

    def refresh(self) -> None:
        """Take in what has happened since, in the order in which it happened, and tell the listeners."""
        if self._store.version == self._version:
            return
        with self._store.lock:  # whoever is writing has told its subscribers when we get the lock
            version = self._store.version
        changes = []
        for name in self._listeners:
            resource = BY_PLURAL[name]
            subscription = self._subscriptions.get(resource)
            if subscription is None or subscription.closed:
                self._relist(resource)
                continue
            while (change := subscription.next(0)) is not None:
                before = change.before.object if change.before is not None else None
                changes.append((change.version, Event(change.kind, name, change.stored.object, before)))
            if subscription.closed:
                self._relist(resource)
        self._version = version
        for _unused, event in sorted(changes, key=lambda change: change[0]):
            self._apply(event)

    def _relist(self, resource: Resource) -> None:
        """List and watch anew: at the start, and after the server has ended the watch."""
        with self._store.lock:
            self._subscriptions[resource] = self._store.subscribe(resource)
            found = {stored.key: stored.object for stored in self._store.all(resource)}
        for key, known in list(self._objects[resource.plural].items()):
            if key not in found:
                self._apply(Event(DELETED, resource.plural, known, known))
        for key, item in found.items():
            old = self._objects[resource.plural].get(key)
            if old is None or old["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                self._apply(Event(ADDED if old is None else MODIFIED, resource.plural, item, old))

    def _apply(self, event: Event) -> None:
        key, resource = key_of(event.object), event.resource
        known = self._objects[resource].get(key)
        if known is not None:
            self._forget(resource, key, known)
        if event.kind != DELETED:
            self._remember(resource, key, event.object)
        for listener in self._listeners[resource]:
            listener(event)

    def _remember(self, resource: str, key: Key, item: Object) -> None:
        self._objects[resource][key] = item
        self._by_namespace[resource, key[0]][key] = item
        if resource == "pods":
            self._pods_by_node[node_of(item)][key] = item
            owner = controller_of(item)
            if owner is not None:
                self._pods_by_owner[owner["uid"]][key] = item

    def _forget(self, resource: str, key: Key, item: Object) -> None:
        self._objects[resource].pop(key, None)
        self._by_namespace[resource, key[0]].pop(key, None)
        if resource == "pods":
            self._pods_by_node[node_of(item)].pop(key, None)
            owner = controller_of(item)
            if owner is not None:
                self._pods_by_owner[owner["uid"]].pop(key, None)
                if not self._pods_by_owner[owner["uid"]]:
                    del self._pods_by_owner[owner["uid"]]
