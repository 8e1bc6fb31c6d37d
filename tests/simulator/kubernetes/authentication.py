# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks, and what they may: EKS bearer tokens, and an authorizer that a test can replace.

An EKS token is ``k8s-aws-v1.`` and the base64url of a presigned ``sts:GetCallerIdentity`` URL that signs the header
``x-k8s-aws-id``. The real cluster sends that URL to STS; here the access key in it is looked up.
Source: aws-iam-authenticator, pkg/token/token.go.
"""

from __future__ import annotations

import base64
import binascii
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import parse_qs, urlsplit

from simulator.kubernetes.errors import unauthorized

PREFIX = "k8s-aws-v1."
CLUSTER_HEADER = "x-k8s-aws-id"
TOKEN_LIFETIME = 15 * 60
LONGEST_EXPIRY = 900
CLOCK_SKEW = 60


@dataclass(frozen=True)
class Identity:
    """Who asks: the Kubernetes user, and the author under which the world records the request."""

    user: str
    author: str
    groups: tuple[str, ...] = ("system:authenticated",)
    component: bool = False  # a part of the cluster itself: never refused, never disturbed by faults


ANONYMOUS = Identity("system:anonymous", "anonymous", ("system:unauthenticated",))

# The access key id in a token -> (user, author), or None for a key that nobody has.
FindUser = Callable[[str], "tuple[str, str] | None"]
# user, verb, API group, resource, subresource -> allowed?
Authorize = Callable[[str, str, str, str, str], bool]


def everything_allowed(user: str, verb: str, group: str, resource: str, subresource: str) -> bool:
    """The authorizer that the server starts with."""
    return True


class Authenticator:
    """Knows the users by their tokens.

    ``find_user`` maps the access key of an EKS token. ``tokens`` are plain bearer tokens (service accounts, tests).
    ``lifetime`` is how long an EKS token lives, in real seconds of ``now``: clients count in real time too.
    ``forget_tokens`` lets all EKS tokens of now expire at once.
    """

    def __init__(self, find_user: FindUser | None = None, now: Callable[[], float] = time.time):
        self.find_user = find_user or (lambda access_key: None)
        self.tokens: dict[str, Identity] = {}
        self.lifetime: float = TOKEN_LIFETIME
        self.now = now
        self._forgotten_before = 0.0

    def forget_tokens(self) -> None:
        """All EKS tokens that were signed so far are refused from now on; new ones are accepted.

        Their time stamps count whole seconds, so this waits for the next one to begin.
        """
        self._forgotten_before = math.floor(self.now()) + 1
        while self.now() < self._forgotten_before:
            time.sleep(0.02)

    def identify(self, authorization: str | None) -> Identity:
        """The user behind an Authorization header; anonymous without one. ApiError 401 for what is not accepted."""
        if not authorization:
            return ANONYMOUS
        scheme, _unused, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise unauthorized()
        if token in self.tokens:
            return self.tokens[token]
        found = self.find_user(self._access_key(token))
        if found is None:
            raise unauthorized()
        return Identity(*found)

    def _access_key(self, token: str) -> str:
        """The access key that signed an EKS token; ApiError 401 for one that is malformed or has expired."""
        try:
            query = _presigned_query(token)
            signed_at = (
                datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
            )
            expiry = int(query["X-Amz-Expires"])
            access_key = query["X-Amz-Credential"].split("/")[0]
            headers = query["X-Amz-SignedHeaders"].lower().split(";")
        except (ValueError, KeyError, binascii.Error):
            raise unauthorized() from None
        age = self.now() - signed_at
        good = (
            query.get("Action") == "GetCallerIdentity"
            and CLUSTER_HEADER in headers
            and 0 < expiry <= LONGEST_EXPIRY
            and -CLOCK_SKEW <= age <= self.lifetime
            and signed_at >= self._forgotten_before
        )
        if not good:
            raise unauthorized()
        return access_key


def _presigned_query(token: str) -> dict[str, str]:
    if not token.startswith(PREFIX):
        raise ValueError("not an EKS token")
    encoded = token[len(PREFIX) :]
    url = urlsplit(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode())
    if url.scheme not in ("http", "https"):
        raise ValueError("not a URL")
    return {name: values[-1] for name, values in parse_qs(url.query).items()}
