# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server answers when it refuses: Kubernetes' ``Status`` objects, worded as the real one words them."""

from __future__ import annotations

from typing import Any

from simulator.kubernetes.resources import Resource


class ApiError(Exception):
    """A refusal. ``body`` is the Status object that goes over the wire, ``headers`` what goes with it."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ):
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.headers = headers
        self.metadata: dict[str, Any] = {}

    @property
    def causes(self) -> list[dict[str, Any]]:
        """The machine-readable causes, such as the budget that forbids an eviction."""
        return self.details.get("causes", [])

    @property
    def body(self) -> dict[str, Any]:
        """The Status object; the real server leaves out a reason and details that are empty."""
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }
        return {key: value for key, value in status.items() if key == "metadata" or value not in ("", {})}


def success(code: int = 200, details: dict[str, Any] | None = None) -> dict[str, Any]:
    """The Status object of a deed without an object to show."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return {**status, "code": code} if details is None else {**status, "details": details}


def details_of(resource: Resource, name: str, **more: Any) -> dict[str, Any]:
    """The ``details`` of an answer about one object."""
    details = {"name": name, "group": resource.group, "kind": resource.plural, **more}
    return {key: value for key, value in details.items() if value}


def bad_request(message: str) -> ApiError:
    """400: the request makes no sense."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401: the server does not know who asks."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def not_found(resource: Resource, name: str) -> ApiError:
    """404 for one object."""
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', details_of(resource, name))


def no_such_path() -> ApiError:
    """404 for a path that the server does not serve."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed(message: str = "the server does not allow this method on the requested resource") -> ApiError:
    """405."""
    return ApiError(405, "MethodNotAllowed", message)


def already_exists(resource: Resource, name: str) -> ApiError:
    """409 for a name that is taken."""
    return ApiError(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', details_of(resource, name))


def conflict(resource: Resource, name: str, why: str) -> ApiError:
    """409 for a precondition that does not hold."""
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, details_of(resource, name))


def stale(resource: Resource, name: str) -> ApiError:
    """409 for a resourceVersion that is no longer the current one."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, why)


def forbidden(resource: Resource, name: str, why: str, causes: list[dict[str, str]] | None = None) -> ApiError:
    """403, by admission or by rule."""
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    more = {"causes": causes} if causes else {}
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", details_of(resource, name, **more))


def namespace_terminating(resource: Resource, name: str, namespace: str) -> ApiError:
    """403 for whoever creates (or evicts) in a namespace that is going away."""
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    return forbidden(resource, name, why, [cause])


def invalid(resource: Resource, name: str, causes: list[dict[str, str]]) -> ApiError:
    """422: well-formed, but against the rules; ``causes`` as made by ``validation``."""
    texts = [f"{cause['field']}: {cause['message']}" for cause in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    group = {"group": resource.group} if resource.group else {}
    details = {"name": name, **group, "kind": resource.kind, "causes": causes}
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {text}', details)


def expired(message: str) -> ApiError:
    """410: what was asked for is older than what the server remembers."""
    return ApiError(410, "Expired", message)


def too_many_requests(message: str, cause: str, retry_after: int = 0) -> ApiError:
    """429 because of a disruption budget. Only with ``retry_after`` does the header of that name go with it."""
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    headers: tuple[tuple[str, str], ...] = ()
    if retry_after:
        details["retryAfterSeconds"] = retry_after
        headers = (("Retry-After", str(retry_after)),)
    return ApiError(429, "TooManyRequests", message, details, headers)
