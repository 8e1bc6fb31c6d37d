# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading many objects: list with selectors and pages, and watch with resumption, bookmarks and 410."""

from __future__ import annotations

import base64
import binascii
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulator.kubernetes.errors import ApiError, bad_request, expired
from simulator.kubernetes.resources import PODS, Resource
from simulator.kubernetes.selectors import everything, field_requirements, field_selector, label_selector
from simulator.kubernetes.store import ADDED, DELETED, MODIFIED, Change, Key, Store, Stored, to_json

BOOKMARK, ERROR = "BOOKMARK", "ERROR"
TOO_OLD_PAGE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
INCONSISTENT = -1  # the version in the continue token that such an answer offers


class Selection:
    """What of a resource is asked for: namespace, labelSelector, fieldSelector. ApiError 400 for what is malformed."""

    def __init__(self, resource: Resource, namespace: str, query: dict[str, str]):
        self.resource = resource
        self.namespace = namespace
        self._labels = label_selector(query.get("labelSelector"))
        requirements = field_requirements(query.get("fieldSelector"), resource)
        self._fields = field_selector(requirements, resource)
        equals = {path: value for path, equal, value in requirements if equal}
        self.node = equals.get("spec.nodeName") or "" if resource is PODS else ""
        self.filtered = self._labels is not everything or self._fields is not everything

    def matches(self, stored: Stored) -> bool:
        """The object is one of these."""
        metadata = stored.object["metadata"]
        if self.namespace and metadata.get("namespace") != self.namespace:
            return False
        if not self.filtered:
            return True
        return self._labels(metadata.get("labels") or {}) and self._fields(stored.object)

    def of(self, stored: list[Stored]) -> list[Stored]:
        """Those of them that match."""
        return [item for item in stored if self.matches(item)]

    def current(self, store: Store) -> list[Stored]:
        """All that match now, by namespace and name; the pods of one node come from the index."""
        return self.of(store.all(self.resource, self.namespace, self.node or None))


@dataclass(frozen=True)
class Listing:
    """The answer to a list: rendered from the objects' kept JSON."""

    resource: Resource
    metadata: dict[str, Any]
    items: list[Stored]

    @property
    def raw(self) -> bytes:
        """The whole list as JSON."""
        head = {"kind": f"{self.resource.kind}List", "apiVersion": self.resource.api_version, "metadata": self.metadata}
        return to_json(head)[:-1] + b',"items":[' + b",".join(item.raw for item in self.items) + b"]}"


def list_objects(store: Store, selection: Selection, query: dict[str, str]) -> Listing:
    """A list or a page of one. ApiError 400 (token), 410 (token too old), 504 (a version of the future)."""
    limit = _number(query, "limit")
    token = query.get("continue")
    with store.lock:
        check_version(store, query.get("resourceVersion"))
        if not token:
            version, start, found = store.version, None, selection.current(store)
        else:
            version, start = _read_token(token)
            if version == INCONSISTENT:
                version, found = store.version, selection.current(store)
            elif not store.remembers(selection.resource, version):
                error = expired(TOO_OLD_PAGE)
                error.metadata = {"continue": _token(INCONSISTENT, start)}
                raise error
            else:
                found = selection.of(store.as_of(selection.resource, version))
    if start is not None:
        found = [item for item in found if item.key > start]
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    page = found[:limit] if limit else found
    if len(page) < len(found):
        metadata["continue"] = _token(version, page[-1].key)
        if not selection.filtered:
            metadata["remainingItemCount"] = len(found) - len(page)
    return Listing(selection.resource, metadata, page)


def _number(query: dict[str, str], name: str) -> int:
    try:
        return int(query.get(name) or 0)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{query[name]}": invalid syntax') from None


def _token(version: int, last: Key) -> str:
    return base64.urlsafe_b64encode(to_json({"v": "meta.k8s.io/v1", "rv": version, "start": last})).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, Key]:
    try:
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = content["start"]
        return int(content["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise bad_request(f"continue key is not valid: {token}") from None


def check_version(store: Store, version: str | None) -> int:
    """A resourceVersion as a number (0 when not given). ApiError 400, or 504 when it lies in the future."""
    try:
        number = int(version or 0)
    except ValueError:
        raise bad_request(f'invalid resource version: strconv.ParseUint: parsing "{version}"') from None
    if number > store.version:
        text = f"Too large resource version: {number}, current: {store.version}"
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        raise ApiError(504, "Timeout", f"Timeout: {text}", {"retryAfterSeconds": 1, "causes": [cause]})
    return number


@dataclass(frozen=True)
class Event:
    """One event of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, with the object (a Status for ERROR)."""

    kind: str
    stored: Stored

    @property
    def raw(self) -> bytes:
        """The line that goes over the wire."""
        return b'{"type":"' + self.kind.encode() + b'","object":' + self.stored.raw + b"}\n"


class Watch:
    """A running watch. It begins with what there is (no resourceVersion, or "0") or with what happened since then.

    ``next`` waits for one event, ``pending`` takes what is there; ``close`` when done. ``trouble`` is what a fault has
    in store for its first event (``record.STREAMS``); who serves it over the network lets that happen.
    """

    def __init__(self, store: Store, selection: Selection, query: dict[str, str]):
        self._store = store
        self._selection = selection
        self.trouble = ""
        resource = selection.resource
        with store.lock:
            version = check_version(store, query.get("resourceVersion"))
            self._version = version or store.version
            self._backlog: deque[Event] = deque()
            self.ended = False
            self._subscription = store.subscribe(resource, selection.node)
            if not version:
                self._backlog.extend(Event(ADDED, item) for item in selection.current(store))
                if query.get("sendInitialEvents") == "true":
                    self._backlog.append(self.bookmark({"k8s.io/initial-events-end": "true"}))
            elif not store.remembers(resource, version):
                status = expired(f"too old resource version: {version} ({store.version})").body
                self._backlog.append(Event(ERROR, Stored(status)))
                self.ended = True
            else:
                translated = map(self._translate, store.since(resource, version))
                self._backlog.extend(event for event in translated if event)

    def next(self, seconds: float) -> Event | None:
        """The next event; None when none came within that many real seconds or when the watch has ended."""
        while True:
            if self._backlog:
                return self._backlog.popleft()
            if self.ended:
                return None
            change = self._subscription.next(seconds)
            if self._subscription.closed:
                self.ended = True
            if change is None:
                return None
            event = self._translate(change)
            if event:
                return event

    @property
    def has_backlog(self) -> bool:
        """Events are waiting to be taken, although the watch may have ended."""
        return bool(self._backlog)

    def pending(self) -> Iterator[Event]:
        """All events that have happened so far and were not taken yet, without waiting."""
        while event := self.next(0):
            yield event

    def bookmark(self, annotations: dict[str, str] | None = None) -> Event:
        """How far this watch has come: a client may go on from there."""
        with self._store.lock:
            if not self._backlog and self._subscription.empty():
                self._version = self._store.version
        resource = self._selection.resource
        metadata: dict[str, Any] = {"resourceVersion": str(self._version), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        item = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return Event(BOOKMARK, Stored(item))

    def close(self) -> None:
        """No more events."""
        self.ended = True
        self._subscription.close()

    def _translate(self, change: Change) -> Event | None:
        """What a change means to this selection: an object that no longer matches counts as deleted."""
        self._version = change.version
        was = change.before is not None and self._selection.matches(change.before)
        is_now = change.kind != DELETED and self._selection.matches(change.stored)
        if is_now:
            return Event(MODIFIED if was else ADDED, change.stored)
        if not was:
            return None
        if change.kind == DELETED:
            return Event(DELETED, change.stored)
        last = change.before.copy()
        last["metadata"]["resourceVersion"] = str(change.version)
        return Event(DELETED, Stored(last))
