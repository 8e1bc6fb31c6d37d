# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Kubernetes API as plain JSON: one small REST client, whose connection comes from kubernetes_connection."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes_connection import (
    Connection,
    connect,
    kubernetes_argument_spec,
)
from ansible_collections.evergreen.eks.plugins.module_utils.moments import ServerTime
from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import LOOK_POLLS, Call

__all__ = ["KubernetesClient", "KubernetesError", "kubernetes_argument_spec"]

PAGE = 500
CONNECT_TIMEOUT = 5
# The API server may hold an eviction for 10 s (conflict retries with a wrong UID), so never less than that.
READ_TIMEOUT = 30
# The server itself ends a watch in time; one that is silent for so much longer has lost its connection.
WATCH_MARGIN = 5
# Before the first answer a wrong address is likelier than an outage: seconds, or three polls where these are less.
FIRST_ANSWER_SECONDS, FIRST_ANSWER_POLLS = 15, 3
# At most so long a pause is granted to a server that asks for one: a minute. Flow control asks for 32 s at most
# (apiserver/pkg/util/flowcontrol/dropped_requests_tracker.go).
LONGEST_RETRY_AFTER_POLLS = 12
# A server that has accepted us before may refuse us for a moment, when its way to IAM is disturbed.
UNAUTHORIZED_POLLS = 6
RETRIED_METHODS = ("GET", "PATCH")
PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
REASONS = {
    0: "kubernetes_unreachable",
    401: "kubernetes_unauthorized",
    403: "kubernetes_forbidden",
    404: "kubernetes_not_found",
    409: "kubernetes_conflict",
}


class KubernetesError(EvergreenError):
    """A request that failed.

    ``status`` is the HTTP status, 0 when there was no answer. ``api_reason``, ``causes`` (a list of dicts with
    ``reason``, ``message``, ``field``) and ``text`` are what the API's Status object says, ``retry_after`` the
    seconds of that header, kept within reason. Reasons: kubernetes_unreachable, kubernetes_unauthorized,
    kubernetes_forbidden, kubernetes_not_found, kubernetes_conflict, kubernetes_error.
    """

    default_reason = "kubernetes_error"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        api_reason: str = "",
        causes: list[dict[str, Any]] | None = None,
        text: str = "",
        retry_after: float | None = None,
        permanent: bool = False,
        **rest: Any,
    ) -> None:
        super().__init__(message, reason=rest.pop("reason", REASONS.get(status)), **rest)
        self.status = status
        self.api_reason = api_reason
        self.causes = causes or []
        self.text = text
        self.retry_after = retry_after
        self._permanent = permanent

    @property
    def budget_causes(self) -> list[str]:
        """What the disruption budgets say that forbid an eviction; the server's flow control names none."""
        return [cause.get("message", "") for cause in self.causes if cause.get("reason") == "DisruptionBudget"]

    @property
    def transient(self) -> bool:
        """Whether the same request may well succeed a little later.

        The no of a disruption budget is none of these, although it is a 429, too: it is a decision about this pod,
        and whoever gets it looks at the pod before asking again.
        """
        if self._permanent or self.budget_causes:
            return False
        return self.status in (0, 429) or self.status >= 500


@dataclass
class Contact:
    """What is known of a server by its answers, by all who use the same client."""

    answered: bool
    time: ServerTime
    accepted: bool = False  # it knew who we are


class KubernetesClient:
    """GET, LIST, WATCH, POST, PUT, PATCH and DELETE on plain paths ("/api/v1/nodes") with plain dicts.

    Safe for threads. GET and PATCH are repeated on 429, 5xx and lost connections for the patience of the call; a patch
    that must not be applied twice carries a resourceVersion. POST, PUT and DELETE are sent once: their callers look at
    the world before they try again.
    """

    def __init__(self, connection: Connection, call: Call, *, poll_seconds: float = 5.0) -> None:
        self._connection = connection
        self._call = call
        self._poll_seconds = poll_seconds
        self._first_pause = min(poll_seconds, 1.0)
        self._longest_pause = 3 * poll_seconds
        self._contact = Contact(call.established, ServerTime(call.clock))
        self._heartbeat: Heartbeat | None = Heartbeat(call)
        self._most_patience = math.inf
        self.read_timeout: float = READ_TIMEOUT

    @classmethod
    def connect(cls, params: dict[str, Any], aws: Aws, call: Call, pool_size: int = 32) -> KubernetesClient:
        """The client for the module's options. Raises InvalidInput, MissingLibrary, AwsError; sends no request to
        Kubernetes yet."""
        connection = connect(params, aws, call.clock, pool_size)
        return cls(connection, call, poll_seconds=params.get("poll_seconds") or 5.0)

    def after_fork(self, call: Call, *, read_timeout: float) -> KubernetesClient:
        """The same API for a process that was forked from this one, over connections of its own.

        Each request is sent once, and its answer awaited for ``read_timeout`` seconds.
        """
        self._connection.pool.clear()
        client = KubernetesClient(self._connection, call).once
        client.read_timeout = read_timeout
        return client

    @property
    def host(self) -> str:
        """The URL of the API server."""
        return self._connection.host

    @property
    def answered(self) -> bool:
        """Whether the server is known to answer at this address: what fails then is no wrong address."""
        return self._contact.answered

    @property
    def time(self) -> ServerTime:
        """What time it is at the server: the clock of all timestamps on objects."""
        return self._contact.time

    @property
    def briefly(self) -> KubernetesClient:
        """The same client with little patience, for a wait: it looks again by itself, and tells what it waits for."""
        return self._within(LOOK_POLLS * self._poll_seconds)

    @property
    def once(self) -> KubernetesClient:
        """The same client without patience, for what would come too late the second time."""
        return self._within(0)

    def _within(self, seconds: float) -> KubernetesClient:
        view = copy.copy(self)
        view._most_patience = min(seconds, self._most_patience)
        view._heartbeat = None
        return view

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._request("GET", path, query=query)

    def list(
        self,
        path: str,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        keep: Callable[[dict[str, Any]], Any] | None = None,
    ) -> tuple[list[Any], str]:
        """All objects and the resourceVersion of the list, read in pages of 500.

        ``keep`` says what is kept of each object, where all of all of them would be too much: pods are 6 KB each.
        When a page's continue token has expired (410) the list is read again from its start, in one piece: who was too
        slow for the pages once would be so again.
        """
        query = {"labelSelector": label_selector, "fieldSelector": field_selector, "limit": PAGE}
        items: list[Any] = []
        token = ""
        while True:
            try:
                page = self._request("GET", path, query={**query, "continue": token})
            except KubernetesError as error:
                if error.status != 410 or not token:
                    raise
                items, token, query["limit"] = [], "", None
                continue
            objects = page.get("items") or []
            items.extend(map(keep, objects) if keep else objects)
            token = page["metadata"].get("continue", "")
            if not token:
                return items, page["metadata"].get("resourceVersion", "")

    def watch(
        self,
        path: str,
        *,
        resource_version: str,
        field_selector: str | None = None,
        label_selector: str | None = None,
        timeout_seconds: int = 240,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events since ``resource_version`` as (type, object), bookmarks included.

        Ends when the server or the network ends it, or when what comes makes no sense: then it is to be listed again.
        Sent once. Raises KubernetesError, with status 410 when that version is too old and the list must be read again.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": timeout_seconds,
            "fieldSelector": field_selector,
            "labelSelector": label_selector,
        }
        response = self._send_authorized("GET", path, query, None, None, read_timeout=timeout_seconds + WATCH_MARGIN)
        try:
            for line in _lines(response):
                try:
                    event = json.loads(line)
                    kind, item = event["type"], event["object"]
                except (ValueError, KeyError, TypeError):
                    return
                if kind == "ERROR":
                    status = item if isinstance(item, dict) else {}
                    raise _error_of("GET", path, query, status.get("code", 500), {}, json.dumps(item).encode())
                yield kind, item
        finally:
            response.close()

    def create(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        return self._request("POST", path, query=_dry(dry_run), body=body)

    def announce(self, path: str, body: dict[str, Any]) -> None:
        """Create what only tells others something, such as an Event: sent once, and not by a run whose lock is not
        certain at this moment. Raises KubernetesError; AwsError when it is AWS that refuses the credentials."""
        if self._call.may_announce():
            _parsed(self._send_authorized("POST", path, {}, body, "application/json"), self.host)

    def replace(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._request("PUT", path, body=body)

    def patch(self, path: str, body: Any, *, kind: str = "merge", dry_run: bool = False) -> dict[str, Any]:
        """``kind`` is merge, strategic or json (then ``body`` is a list of operations)."""
        return self._request("PATCH", path, query=_dry(dry_run), body=body, content_type=PATCH_TYPES[kind])

    def delete(self, path: str, body: dict[str, Any] | None = None, *, dry_run: bool = False) -> dict[str, Any]:
        """``body`` holds DeleteOptions: gracePeriodSeconds, preconditions, propagationPolicy."""
        return self._request("DELETE", path, query=_dry(dry_run), body=body)

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        query = query or {}
        clock = self._call.clock
        began, pause = clock.now(), self._first_pause
        while True:
            # Before each attempt: in the outage that it outlived the run may have lost its lock.
            if method != "GET" and query.get("dryRun") != "All":
                self._call.before_change(f"{method} {path}")
            try:
                return _parsed(self._send_authorized(method, path, query, body, content_type), self.host)
            except KubernetesError as error:
                waited = clock.now() - began
                if method not in RETRIED_METHODS or not error.transient or waited >= self._patience:
                    raise
                if self._heartbeat and not self._call.looking and waited >= self._poll_seconds:
                    self._heartbeat.trouble(error.message)
                wait = self._pause(error, pause)
            clock.sleep(min(wait, self._patience - waited))
            pause = min(2 * pause, self._longest_pause)

    @property
    def _patience(self) -> float:
        """Seconds for which a request is repeated; it grows with the first answer."""
        patience = min(self._call.patience(self._poll_seconds), self._most_patience)
        if self._contact.answered:
            return patience
        return min(patience, FIRST_ANSWER_SECONDS, FIRST_ANSWER_POLLS * self._poll_seconds)

    def _pause(self, error: KubernetesError, own: float) -> float:
        """Seconds until the next attempt: our own, or as long as the server asks; never the same for everybody."""
        if error.retry_after is None:
            return own * random.uniform(0.5, 1.0)
        return error.retry_after * random.uniform(1.0, 1.25)

    def _send_authorized(
        self,
        method: str,
        path: str,
        query: dict[str, Any],
        body: Any,
        content_type: str | None,
        read_timeout: float | None = None,
    ) -> Any:
        """An answer with a status below 300. After a 401 it is asked for once more with a new token, and for some polls
        on by a server that has accepted us before. Raises AwsError when it is AWS that refuses the credentials."""
        clock = self._call.clock
        began, attempts = clock.now(), 0
        while True:
            attempts += 1
            try:
                return self._send(method, path, query, body, content_type, read_timeout)
            except KubernetesError as error:
                if error.status != 401 or not self._connection.renew():
                    raise
                if attempts == 2:
                    self._connection.check_credentials()
                patience = min(UNAUTHORIZED_POLLS * self._poll_seconds, self._patience) if self._contact.accepted else 0
                if attempts > 1 and clock.now() - began >= patience:
                    raise
            if attempts > 1:
                clock.sleep(self._first_pause)

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, Any],
        body: Any,
        content_type: str | None,
        read_timeout: float | None,
    ) -> Any:
        from urllib3 import exceptions
        from urllib3.util import Timeout

        given = {name: value for name, value in query.items() if value not in (None, "")}
        url = self._connection.host + quote(path, safe="/:@") + (f"?{urlencode(given)}" if given else "")
        headers = self._connection.headers()
        headers["Accept"] = "application/json"
        # A gzipped watch would be held back until enough events fill a block.
        headers["Accept-Encoding"] = "identity" if "watch" in query else "gzip"
        if body is not None:
            headers["Content-Type"] = content_type or "application/json"
        try:
            response = self._connection.pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                retries=False,
                redirect=False,
                preload_content="watch" not in query,
                timeout=Timeout(connect=CONNECT_TIMEOUT, read=read_timeout or self.read_timeout),
            )
            self._contact.answered = True
            self._contact.time.hear(response.headers.get("Date"))
            if response.status >= 300:
                error = _error_of(method, path, query, response.status, response.headers, response.data)
                error.retry_after = self._within_reason(error.retry_after)
                raise error
            self._contact.accepted = True
            return response
        except (exceptions.HTTPError, OSError) as error:
            raise _unreachable(self._connection.host, error) from error

    def _within_reason(self, retry_after: float | None) -> float | None:
        """The pause that a server asks for: 0 would be a hot loop, and hours are a mistake of a proxy."""
        if retry_after is None:
            return None
        return min(max(retry_after, self._first_pause), LONGEST_RETRY_AFTER_POLLS * self._poll_seconds)


def _parsed(response: Any, host: str) -> dict[str, Any]:
    """The JSON object of an answer. Raises KubernetesError for anything else: that is not the Kubernetes API."""
    try:
        parsed = json.loads(response.data or b"{}")
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        return parsed
    raise KubernetesError(
        f"What answers at {host} is not the Kubernetes API: {response.data[:100].decode(errors='replace')!r}",
        status=response.status,
        remedy="Check the address, and whether a proxy stands in between",
    )


def _dry(dry_run: bool) -> dict[str, Any]:
    return {"dryRun": "All"} if dry_run else {}


def _lines(response: Any) -> Iterator[bytes]:
    """The lines of a watch; a connection that breaks ends them, and half a line is dropped."""
    from urllib3 import exceptions

    pending = b""
    try:
        for chunk in response.stream(amt=None, decode_content=True):
            *complete, pending = (pending + chunk).split(b"\n")
            yield from (line for line in complete if line.strip())
    except (exceptions.HTTPError, OSError):
        return


def _unreachable(host: str, error: Exception) -> KubernetesError:
    """No answer. A certificate that does not verify will not verify later either."""
    certificate = "CERTIFICATE_VERIFY_FAILED" in str(error)
    # A connection that broke is told twice: ('Connection aborted.', ConnectionResetError(104, 'Connection reset ...')).
    causes = [cause for cause in error.args if isinstance(cause, Exception)]
    return KubernetesError(
        f"The Kubernetes API {host} cannot be reached: {causes[-1] if causes else error}",
        status=0,
        text=str(error),
        permanent=certificate,
        remedy=(
            "Name the cluster's certificate authority in ca_cert"
            if certificate
            else "Check the address, the network and the cluster's endpoint access, then run again"
        ),
    )


def _error_of(
    method: str, path: str, query: dict[str, Any], status: int, headers: Any, data: bytes | None
) -> KubernetesError:
    """The error for an answer: a Status object mostly, plain text where a proxy or the flow control answers."""
    try:
        body = json.loads(data or b"{}")
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    text = body.get("message") or (data or b"").decode(errors="replace").strip()[:500] or f"HTTP status {status}"
    target = describe_request(method, path, query)
    remedy = ""
    if status == 401:
        remedy = (
            "Check that the identity in use has an access entry in the EKS cluster (or stands in aws-auth), "
            "or renew the token or kubeconfig given"
        )
    elif status == 403 and not body.get("details", {}).get("causes"):
        remedy = (
            f"Grant the verb {target.verb} on {target.resource} to the identity in use"
            if "system:anonymous" not in text
            else "The request carried no credentials: check the exec plugin or the token of the kubeconfig"
        )
    return KubernetesError(
        f"The Kubernetes API answers {status} to {target}: {text}",
        status=status,
        api_reason=body.get("reason", ""),
        causes=(body.get("details") or {}).get("causes") or [],
        text=text,
        retry_after=_seconds(headers.get("Retry-After")),
        remedy=remedy,
    )


def _seconds(header: str | None) -> float | None:
    """A Retry-After header in seconds; the form with a date is not used by Kubernetes."""
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


class RequestTarget:
    """What RBAC calls a request: the verb, the resource with its group ("poddisruptionbudgets.policy"), and where."""

    def __init__(self, verb: str, resource: str, namespace: str, name: str) -> None:
        self.verb, self.resource, self.namespace, self.name = verb, resource, namespace, name

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{f' {self.name}' if self.name else ''}{where}"


def describe_request(method: str, path: str, query: dict[str, Any]) -> RequestTarget:
    """Name a request the way an RBAC rule does."""
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return RequestTarget(VERBS.get(method, "get"), path, "", "")
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    resource = "/".join([rest[0], *rest[2:]]) if rest else path
    verb = VERBS.get(method) or ("get" if name else "watch" if query.get("watch") else "list")
    return RequestTarget(verb, f"{resource}.{group}" if group else resource, namespace, name)
