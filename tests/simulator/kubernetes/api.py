# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server without its network: a request goes in, an answer comes out, and the world's record knows of it.

    request -> who asks -> what is asked -> Record -> Faults -> may they -> verb -> answer

``serving`` puts it behind HTTPS; ``client`` is for the parts of the cluster that live in the same process.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from simulator.clock import Clock
from simulator.kubernetes import discovery, errors
from simulator.kubernetes.authentication import (
    ANONYMOUS,
    Authenticator,
    Authorize,
    FindUser,
    Identity,
    everything_allowed,
)
from simulator.kubernetes.errors import ApiError
from simulator.kubernetes.eviction import Evictions
from simulator.kubernetes.patches import apply_patch
from simulator.kubernetes.queries import Listing, Selection, Watch, list_objects
from simulator.kubernetes.registry import Registry
from simulator.kubernetes.resources import BY_PATH, EVENTS, NAMESPACES, PODS, Resource
from simulator.kubernetes.scale import change_scale, scale_of
from simulator.kubernetes.store import Store, Stored, to_json
from simulator.record import NOTHING, Call, Effect, Failure, Faults, Record

LOG = logging.getLogger("simulator.kubernetes")
FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
UNKNOWN = Identity("", "unknown")
REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False, ())
ROUTES = {**BY_PATH, (REVIEWS.group, REVIEWS.version, REVIEWS.plural): REVIEWS}
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
TRUE = ("1", "true", "True")


@dataclass(frozen=True)
class Request:
    """One request. ``body`` is the parsed JSON, or the ApiError that reading it gave."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"
    authorization: str | None = None
    identity: Identity | None = None  # set by clients in this process, who need no token

    @classmethod
    def parse(cls, method: str, url: str, headers: dict[str, str], payload: bytes) -> Request:
        """From what came over the wire; header names in lower case."""
        parts = urlsplit(url)
        try:
            body = json.loads(payload) if payload else None
        except ValueError as error:
            body = errors.bad_request(f"the object provided is unrecognized: {error}")
        return cls(
            method,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            body,
            headers.get("content-type", "application/json").split(";")[0].strip(),
            headers.get("authorization"),
        )


@dataclass(frozen=True)
class Response:
    """An answer. ``value`` is an object (or a Status), a list, the text of a health check, or a running watch."""

    status: int
    value: dict[str, Any] | Stored | Listing | Watch | bytes
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def body(self) -> bytes:
        """The bytes to send (not for a watch)."""
        if isinstance(self.value, bytes):
            return self.value
        return self.value.raw if isinstance(self.value, (Stored, Listing)) else to_json(self.value)


class Dropped(Exception):
    """A fault wants the connection to be reset instead of an answer."""


@dataclass(frozen=True)
class Target:
    """What a path is about: a resource, and which of its objects, and which side of it."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def operation(self) -> str:
        """``pods`` or ``pods/eviction``."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    @property
    def label(self) -> str:
        """``namespace/name``, ``name``, or for a collection the namespace with a slash, or nothing."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def find_target(path: str) -> Target | None:
    """The target of a path; None for paths that are not resources. ApiError 404 for an unknown resource."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in NAMESPACES.subresources:
        namespace, rest = rest[1], rest[2:]
    resource = ROUTES.get((group, version, rest[0]))
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        raise errors.no_such_path()
    name, subresource = (*rest[1:], "", "")[:2]
    if (subresource and subresource not in resource.subresources) or (name and resource.namespaced and not namespace):
        raise errors.no_such_path()
    return Target(resource, namespace, name, subresource)


class ApiServer:
    """A cluster's API server: ``handle`` answers requests.

    ``find_user`` maps the access key of an EKS token to (user, author); ``authorize`` may be replaced at any time to
    rehearse missing rights; ``authenticator.tokens`` takes plain tokens. ``version`` is Kubernetes' minor version.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        record: Record | None = None,
        faults: Faults | None = None,
        *,
        version: str = "1.33",
        find_user: FindUser | None = None,
        authorize: Authorize = everything_allowed,
        seed: int = 1,
    ):
        self.clock = clock or Clock()
        self.record = record or Record(self.clock)
        self.faults = faults or Faults(self.clock)
        self.version = version
        self.authenticator = Authenticator(find_user)
        self.authorize = authorize
        self.store = Store()
        self.registry = Registry(self.store, self.clock, seed)
        self._evictions = Evictions(self.registry, self.clock)
        for name in FIRST_NAMESPACES:
            self.registry.create(NAMESPACES, "", {"metadata": {"name": name}})

    def handle(self, request: Request) -> Response:
        """Answer one request. Raises Dropped when a fault wants the connection to be reset."""
        identity, target, refusal = self._recognise(request)
        call = self._begin(request, identity, target)
        effect = NOTHING if identity.component else self.faults.take(call)
        effect.begin(call, self.clock)
        if effect.reset == "before":
            self.record.end(call, 0, "ConnectionReset")
            raise Dropped
        response = self._answer(request, identity, target, refusal, effect)
        self.record.end(call, response.status, _reason(response))
        effect.finish(call)
        if effect.reset == "after":
            if isinstance(response.value, Watch):
                response.value.close()
            raise Dropped
        if isinstance(response.value, Watch):
            response.value.trouble = effect.stream
        return response

    def _recognise(self, request: Request) -> tuple[Identity, Target | None, ApiError | None]:
        """Who asks for what; what is wrong with it is kept for the answer, so that it is recorded first."""
        identity, target, refusal = request.identity or ANONYMOUS, None, None
        try:
            if request.identity is None:
                identity = self.authenticator.identify(request.authorization)
            target = find_target(request.path)
            if isinstance(request.body, ApiError):
                refusal = request.body
        except ApiError as error:
            refusal = error
            identity = UNKNOWN if error.code == 401 else identity
        return identity, target, refusal

    def _begin(self, request: Request, identity: Identity, target: Target | None) -> Call:
        watching = request.method == "GET" and request.query.get("watch") in TRUE
        method = "WATCH" if watching else request.method
        body = request.body if not isinstance(request.body, ApiError) else None
        return self.record.begin(
            author=identity.author,
            service="kubernetes",
            operation=f"{method} {target.operation if target else request.path}",
            target=target.label if target else "",
            mutating=request.method != "GET" and (target is None or target.resource not in (REVIEWS, EVENTS)),
            dry_run=_is_dry_run(request),
            params={"query": request.query, "body": body},
        )

    def _answer(
        self,
        request: Request,
        identity: Identity,
        target: Target | None,
        refusal: ApiError | None,
        effect: Effect,
    ) -> Response:
        try:
            if effect.error:
                return _failure(effect.error)
            if refusal:
                raise refusal
            if target is None:
                return self._describe(request, identity)
            self._authorize(request, identity, target)
            return self._serve(request, identity, target)
        except ApiError as error:
            return Response(error.code, error.body, error.headers)
        except Exception as error:
            LOG.exception("%s %s", request.method, request.path)
            return _failure(Failure(500, "InternalError", f"Internal error occurred: {error}"))

    def _describe(self, request: Request, identity: Identity) -> Response:
        if identity is ANONYMOUS and request.path not in discovery.PUBLIC:
            text = f'forbidden: User "{identity.user}" cannot {request.method.lower()} path "{request.path}"'
            raise ApiError(403, "Forbidden", text, {})
        if request.method != "GET":
            raise errors.method_not_allowed()
        return Response(200, discovery.answer(request.path, self.version))

    def _authorize(self, request: Request, identity: Identity, target: Target) -> None:
        verb = _verb(request, target)
        resource, subresource = target.resource, target.subresource
        if identity.component or resource is REVIEWS:
            return
        if identity is not ANONYMOUS and self.authorize(
            identity.user, verb, resource.group, resource.plural, subresource
        ):
            return
        where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
        text = (
            f'User "{identity.user}" cannot {verb} resource "{target.operation}" '
            f'in API group "{resource.group}" {where}'
        )
        raise errors.forbidden(resource, target.name, text)

    def _serve(self, request: Request, identity: Identity, target: Target) -> Response:
        if target.resource is REVIEWS:
            return self._review(request, identity)
        verbs: dict[str, Callable[[Request, Target], Response]] = {
            "GET": self._get if target.name else self._list,
            "POST": self._post_subresource if target.subresource else self._create,
            "PUT": self._put,
            "PATCH": self._patch,
            "DELETE": self._delete if target.name else self._delete_collection,
        }
        on_one_object = request.method in ("PUT", "PATCH") or bool(target.subresource)
        on_collection = request.method == "POST" and not target.subresource
        if (
            request.method not in verbs
            or (on_one_object and not target.name)
            or (on_collection and target.name)
            or (request.method == "DELETE" and target.subresource)
        ):
            raise errors.method_not_allowed()
        return verbs[request.method](request, target)

    def _get(self, request: Request, target: Target) -> Response:
        if target.subresource not in ("", "status", "scale"):
            raise errors.method_not_allowed()
        stored = self.registry.get(target.resource, target.namespace, target.name)
        return Response(200, scale_of(stored.object) if target.subresource == "scale" else stored)

    def _list(self, request: Request, target: Target) -> Response:
        selection = Selection(target.resource, target.namespace, request.query)
        if request.query.get("watch") in TRUE:
            return Response(200, Watch(self.store, selection, request.query))
        return Response(200, list_objects(self.store, selection, request.query))

    def _create(self, request: Request, target: Target) -> Response:
        namespace = target.namespace
        if target.resource.namespaced and not namespace:
            raise errors.method_not_allowed()
        return Response(201, self.registry.create(target.resource, namespace, request.body, _is_dry_run(request)))

    def _post_subresource(self, request: Request, target: Target) -> Response:
        where, body, dry_run = (target.namespace, target.name), request.body, _is_dry_run(request)
        if target.resource is PODS and target.subresource == "eviction":
            return Response(201, self._evictions.evict(*where, body, dry_run))
        if target.resource is PODS and target.subresource == "binding":
            self.registry.check_namespace(PODS, *where)
            self.registry.bind(*where, body or {}, dry_run)
            return Response(201, errors.success(201))
        raise errors.method_not_allowed()

    def _put(self, request: Request, target: Target) -> Response:
        where, dry_run = (target.resource, target.namespace, target.name), _is_dry_run(request)
        if target.subresource == "scale":
            stored = self.registry.update(*where, lambda item: change_scale(item, request.body), dry_run=dry_run)
            return Response(200, scale_of(stored.object))
        if target.subresource not in ("", "status", "finalize"):
            raise errors.method_not_allowed()
        stored, created = self.registry.replace(*where, request.body, subresource=target.subresource, dry_run=dry_run)
        return Response(201 if created else 200, stored)

    def _patch(self, request: Request, target: Target) -> Response:
        def patched(item: dict[str, Any]) -> dict[str, Any]:
            if target.subresource == "scale":
                return change_scale(item, apply_patch(request.content_type, scale_of(item), request.body))
            return apply_patch(request.content_type, item, request.body)

        if target.subresource not in ("", "status", "scale"):
            raise errors.method_not_allowed()
        stored = self.registry.update(
            target.resource,
            target.namespace,
            target.name,
            patched,
            subresource="" if target.subresource == "scale" else target.subresource,
            dry_run=_is_dry_run(request),
        )
        return Response(200, scale_of(stored.object) if target.subresource == "scale" else stored)

    def _delete(self, request: Request, target: Target) -> Response:
        resource, options = target.resource, _delete_options(request)
        stored, gone = self.registry.delete(
            resource, target.namespace, target.name, options, dry_run=_is_dry_run(request)
        )
        if gone and not resource.answers_object:
            details = errors.details_of(resource, target.name, uid=stored.object["metadata"]["uid"])
            return Response(200, errors.success(details=details))
        return Response(200, stored)

    def _delete_collection(self, request: Request, target: Target) -> Response:
        if target.resource.namespaced and not target.namespace:
            raise errors.method_not_allowed()
        listing = list_objects(self.store, Selection(target.resource, target.namespace, request.query), request.query)
        for stored in listing.items:
            try:
                self.registry.delete(target.resource, *stored.key, _delete_options(request), _is_dry_run(request))
            except ApiError as error:
                if error.code != 404:
                    raise
        return Response(200, listing)

    def _review(self, request: Request, identity: Identity) -> Response:
        """SelfSubjectAccessReview: may I?"""
        if request.method != "POST" or not isinstance(request.body, dict):
            raise errors.method_not_allowed()
        asked = (request.body.get("spec") or {}).get("resourceAttributes") or {}
        wanted = (asked.get(name, "") for name in ("verb", "group", "resource", "subresource"))
        allowed = identity.component or (identity is not ANONYMOUS and self.authorize(identity.user, *wanted))
        head = {"kind": REVIEWS.kind, "apiVersion": REVIEWS.api_version, "metadata": {"creationTimestamp": None}}
        return Response(201, {**head, "spec": request.body.get("spec"), "status": {"allowed": bool(allowed)}})


def _verb(request: Request, target: Target) -> str:
    if request.method == "GET":
        watching = request.query.get("watch") in TRUE
        return "get" if target.name else "watch" if watching else "list"
    if request.method == "DELETE":
        return "delete" if target.name else "deletecollection"
    return VERBS.get(request.method, request.method.lower())


def _is_dry_run(request: Request) -> bool:
    body = request.body if isinstance(request.body, dict) else {}
    if request.method == "POST" and body.get("kind") == "Eviction":
        body = body.get("deleteOptions") or {}
    elif request.method != "DELETE":
        body = {}
    return request.query.get("dryRun") == "All" or "All" in (body.get("dryRun") or [])


def _delete_options(request: Request) -> dict[str, Any]:
    """DeleteOptions from the body; what the query says fills the gaps."""
    options: dict[str, Any] = {}
    if "gracePeriodSeconds" in request.query:
        try:
            options["gracePeriodSeconds"] = int(request.query["gracePeriodSeconds"])
        except ValueError:
            raise errors.bad_request("gracePeriodSeconds must be an integer") from None
    if "propagationPolicy" in request.query:
        options["propagationPolicy"] = request.query["propagationPolicy"]
    return {**options, **(request.body or {})}


def _failure(failure: Failure) -> Response:
    """An ordered failure: a Status with its code as the reason, or the plain text that a proxy, or priority and
    fairness, would send."""
    if failure.plain:
        return Response(failure.status, failure.message.encode(), failure.headers)
    error = ApiError(failure.status, failure.code, failure.message, failure.details)
    return Response(failure.status, error.body, failure.headers)


def _reason(response: Response) -> str:
    failed = response.status >= 400 and isinstance(response.value, dict)
    return response.value.get("reason", "") if failed else ""
