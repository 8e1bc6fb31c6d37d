# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API for the parts of the cluster that live in this process: controllers, kubelets, actors, tests.

Same request path as over HTTP (and recorded under the client's author), but no token, no JSON, no faults. What ``list``
and ``watch`` hand out are the server's own objects, as in a controller's cache: read them, never write to them; what
the other verbs return is the caller's own copy.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from simulator.kubernetes import patches
from simulator.kubernetes.api import ApiServer, Dropped, Request, Response
from simulator.kubernetes.authentication import Identity
from simulator.kubernetes.errors import ApiError
from simulator.kubernetes.queries import Event, Listing, Watch
from simulator.kubernetes.store import Stored

PATCHES = {"merge": patches.MERGE, "strategic": patches.STRATEGIC, "json": patches.JSON}

__all__ = ["ApiClient", "ApiError", "LiveWatch"]


class LiveWatch:
    """A watch in this process. ``pending`` takes what has happened so far; ``next`` waits; ``close`` when done."""

    def __init__(self, watch: Watch):
        self._watch = watch

    def pending(self) -> list[tuple[str, dict[str, Any]]]:
        """All events since the last look, without waiting. ApiError 410 when history was lost."""
        return [_checked(event) for event in self._watch.pending()]

    def next(self, seconds: float) -> tuple[str, dict[str, Any]] | None:
        """The next event, or None after that many real seconds without one."""
        event = self._watch.next(seconds)
        return _checked(event) if event else None

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Events for ever, until the server ends the watch."""
        while not self._watch.ended:
            event = self._watch.next(60.0)
            if event:
                yield _checked(event)

    def close(self) -> None:
        """No more events."""
        self._watch.close()


class ApiClient:
    """Talks to ``server`` as ``author``. Every verb raises ApiError (``code``, ``reason``, ``causes``)."""

    def __init__(self, server: ApiServer, author: str):
        self._server = server
        self._identity = Identity(f"system:{author}", author, ("system:masters",), component=True)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """One object (or anything else that is read with GET and is not a list or a watch)."""
        return _own(self._ask("GET", path, query))

    def list(
        self, path: str, *, label_selector: str | None = None, field_selector: str | None = None
    ) -> tuple[list[dict[str, Any]], str]:
        """All objects and the resourceVersion of the look. Not to be written to."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        listing = self._ask("GET", path, query).value
        assert isinstance(listing, Listing), f"{path} is not a collection"
        return [stored.object for stored in listing.items], listing.metadata["resourceVersion"]

    def watch(
        self,
        path: str,
        *,
        resource_version: str = "",
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> LiveWatch:
        """What happens after that version; without one, first ADDED for all that is there. Not to be written to."""
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        watch = self._ask("GET", path, {"watch": "true", "resourceVersion": resource_version, **selectors}).value
        assert isinstance(watch, Watch), f"{path} is not a collection"
        return LiveWatch(watch)

    def create(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """POST: an object into a collection, or to pods/eviction, pods/binding."""
        return _own(self._ask("POST", path, _dry(dry_run), body))

    def replace(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """PUT."""
        return _own(self._ask("PUT", path, _dry(dry_run), body))

    def patch(self, path: str, body: Any, *, kind: str = "merge", dry_run: bool = False) -> dict[str, Any]:
        """PATCH; ``kind`` is merge, strategic or json."""
        return _own(self._ask("PATCH", path, _dry(dry_run), body, PATCHES[kind]))

    def delete(self, path: str, body: dict[str, Any] | None = None, **query: Any) -> dict[str, Any]:
        """DELETE with optional DeleteOptions."""
        return _own(self._ask("DELETE", path, query, body))

    def _ask(
        self, method: str, path: str, query: dict[str, Any], body: Any = None, content_type: str = "application/json"
    ) -> Response:
        said = {key: str(value) for key, value in query.items() if value is not None}
        request = Request(method, path, said, copy.deepcopy(body), content_type, identity=self._identity)
        try:
            response = self._server.handle(request)
        except Dropped:
            raise ConnectionResetError(f"{method} {path}") from None
        if response.status >= 400:
            raise _error(response)
        return response


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _own(response: Response) -> dict[str, Any]:
    value = response.value
    if isinstance(value, Stored):
        return value.copy()
    if isinstance(value, Listing):
        return {"metadata": dict(value.metadata), "items": [stored.copy() for stored in value.items]}
    assert isinstance(value, dict), "not an object"
    return copy.deepcopy(value)


def _error(response: Response) -> ApiError:
    value = response.value if isinstance(response.value, dict) else {"message": response.body.decode()}
    return ApiError(
        response.status, value.get("reason", ""), value.get("message", ""), value.get("details"), response.headers
    )


def _checked(event: Event) -> tuple[str, dict[str, Any]]:
    if event.kind == "ERROR":
        status = event.stored.object
        raise ApiError(status["code"], status["reason"], status["message"])
    return event.kind, event.stored.object
