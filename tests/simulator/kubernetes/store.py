# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What etcd and the watch cache are to a real API server: the objects, their one growing version, and their history.

The store knows nothing of rules; it keeps what ``registry`` puts in. Objects in it are never changed, only replaced, so
whoever holds one may read it without a lock, and must not write to it.
"""

from __future__ import annotations

import json
import queue
import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from simulator.kubernetes.resources import PODS, RESOURCES, Resource

Key = tuple[str, str]  # (namespace, name); the namespace is empty for cluster-wide objects
ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"


class Stored:
    """One object as it is at one version. ``raw`` is its JSON, made when first wanted and then kept."""

    __slots__ = ("_raw", "object")

    def __init__(self, item: dict[str, Any]):
        self.object = item
        self._raw: bytes | None = None

    @property
    def raw(self) -> bytes:
        """The object as compact JSON."""
        if self._raw is None:
            self._raw = to_json(self.object)
        return self._raw

    def copy(self) -> dict[str, Any]:
        """A copy that may be changed."""
        return json.loads(self.raw)

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return key_of(self.object)


@dataclass(frozen=True)
class Change:
    """One event: how an object became (ADDED, MODIFIED) or what it was last (DELETED), and what it was before."""

    version: int
    kind: str
    stored: Stored
    before: Stored | None


class Subscription:
    """Gets every change of one resource (or of the pods of one node) from the moment it was made."""

    def __init__(self, store: Store, topic: tuple[Resource, str]):
        self._store = store
        self._topic = topic
        self._queue: queue.SimpleQueue[Change | None] = queue.SimpleQueue()
        self.closed = False

    def push(self, change: Change | None) -> None:
        """Called by the store; None ends the subscription."""
        self._queue.put(change)

    def next(self, seconds: float) -> Change | None:
        """The next change, or None when there was none for that many (real) seconds, or when ``closed``."""
        try:
            change = self._queue.get(timeout=max(0.0, seconds)) if seconds > 0 else self._queue.get_nowait()
        except queue.Empty:
            return None
        if change is None:
            self.closed = True
        return change

    def empty(self) -> bool:
        """Nothing is waiting right now."""
        return self._queue.empty()

    def close(self) -> None:
        """No more changes, please."""
        self._store.unsubscribe(self._topic, self)


class Store:
    """All objects. Take ``lock`` around whatever must see or do several things at once."""

    def __init__(self, history: int = 10_000):
        self.lock = threading.RLock()
        self.version = 1
        self._history_limit = history
        self._objects: dict[Resource, dict[Key, Stored]] = {resource: {} for resource in RESOURCES}
        self._pods_by_node: dict[str, dict[Key, Stored]] = defaultdict(dict)
        self._dependents: dict[str, set[tuple[Resource, Key]]] = defaultdict(set)
        self._history: dict[Resource, list[Change]] = {resource: [] for resource in RESOURCES}
        self._forgotten: dict[Resource, int] = dict.fromkeys(RESOURCES, 0)
        self._subscriptions: dict[tuple[Resource, str], list[Subscription]] = defaultdict(list)

    def get(self, resource: Resource, namespace: str, name: str) -> Stored | None:
        """One object, or None."""
        return self._objects[resource].get((namespace, name))

    def all(self, resource: Resource, namespace: str = "", node: str | None = None) -> list[Stored]:
        """The objects of a kind, by namespace and name; of one namespace, or the pods of one node, if asked."""
        with self.lock:
            found = self._pods_by_node.get(node, {}) if node is not None else self._objects[resource]
            keys = sorted(key for key in found if not namespace or key[0] == namespace)
            return [found[key] for key in keys]

    def dependents(self, uid: str) -> list[tuple[Resource, Key]]:
        """The objects that name this uid as an owner."""
        with self.lock:
            return sorted(self._dependents.get(uid, ()), key=lambda item: (item[0].plural, item[1]))

    def put(self, resource: Resource, kind: str, item: dict[str, Any]) -> Stored:
        """Keep (ADDED, MODIFIED) or drop (DELETED) an object under the next version, and tell the subscribers.

        The object belongs to the store from now on.
        """
        with self.lock:
            self.version += 1
            item["metadata"]["resourceVersion"] = str(self.version)
            stored, key = Stored(item), key_of(item)
            before = self._objects[resource].get(key)
            if kind == DELETED:
                self._objects[resource].pop(key, None)
            else:
                self._objects[resource][key] = stored
            self._index(resource, key, before, None if kind == DELETED else stored)
            self._remember(resource, Change(self.version, kind, stored, before))
            return stored

    def _index(self, resource: Resource, key: Key, before: Stored | None, after: Stored | None) -> None:
        if before is not None:
            if resource is PODS:
                self._pods_by_node[node_of(before.object)].pop(key, None)
            for uid in owner_uids(before.object):
                self._dependents[uid].discard((resource, key))
                if not self._dependents[uid]:
                    del self._dependents[uid]
        if after is not None:
            if resource is PODS:
                self._pods_by_node[node_of(after.object)][key] = after
            for uid in owner_uids(after.object):
                self._dependents[uid].add((resource, key))

    def _remember(self, resource: Resource, change: Change) -> None:
        history = self._history[resource]
        history.append(change)
        if len(history) > self._history_limit:
            self.forget(resource, history[len(history) // 2].version)
        for subscription in self._subscriptions.get((resource, ""), ()):
            subscription.push(change)
        if resource is PODS:
            nodes = {node_of(stored.object) for stored in (change.before, change.stored) if stored is not None}
            for node in nodes - {""}:
                for subscription in self._subscriptions.get((resource, node), ()):
                    subscription.push(change)

    def forget(self, resource: Resource, version: int) -> None:
        """Drop the history up to that version (as compaction does): who asks for older gets 410."""
        with self.lock:
            history = self._history[resource]
            kept = bisect_right(history, version, key=lambda change: change.version)
            self._history[resource] = history[kept:]
            self._forgotten[resource] = max(self._forgotten[resource], version)

    def remembers(self, resource: Resource, version: int) -> bool:
        """Whether everything that happened after that version is still known."""
        return version >= self._forgotten[resource]

    def since(self, resource: Resource, version: int) -> list[Change]:
        """What happened to a kind after that version, oldest first."""
        with self.lock:
            history = self._history[resource]
            return history[bisect_right(history, version, key=lambda change: change.version) :]

    def as_of(self, resource: Resource, version: int) -> list[Stored]:
        """The objects of a kind as they were at that version, by namespace and name: the history played backwards."""
        with self.lock:
            found = dict(self._objects[resource])
            for change in reversed(self.since(resource, version)):
                if change.before is None:
                    found.pop(change.stored.key, None)
                else:
                    found[change.before.key] = change.before
        return [found[key] for key in sorted(found)]

    def subscribe(self, resource: Resource, node: str = "") -> Subscription:
        """Hear of each change from now on. Hold ``lock`` to make it one moment with a look at the objects."""
        topic = (resource, node)
        subscription = Subscription(self, topic)
        with self.lock:
            self._subscriptions[topic].append(subscription)
        return subscription

    def unsubscribe(self, topic: tuple[Resource, str], subscription: Subscription) -> None:
        """Hear no more."""
        with self.lock:
            if subscription in self._subscriptions[topic]:
                self._subscriptions[topic].remove(subscription)

    def close_subscriptions(self) -> int:
        """End every subscription (a server that goes away); returns how many there were."""
        with self.lock:
            ended = [subscription for listed in self._subscriptions.values() for subscription in listed]
        for subscription in ended:
            subscription.push(None)
        return len(ended)


def to_json(item: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode()


def key_of(item: dict[str, Any]) -> Key:
    """Namespace (empty for cluster-wide objects) and name."""
    metadata = item["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def node_of(pod: dict[str, Any]) -> str:
    """The node that a pod is bound to, or an empty string."""
    return (pod.get("spec") or {}).get("nodeName") or ""


def owner_uids(item: dict[str, Any]) -> set[str]:
    """The uids of an object's owners."""
    return {owner["uid"] for owner in item["metadata"].get("ownerReferences") or () if owner.get("uid")}


def matching(stored: list[Stored], test: Callable[[dict[str, Any]], bool]) -> Iterator[Stored]:
    """Those whose object passes."""
    return (item for item in stored if test(item.object))
