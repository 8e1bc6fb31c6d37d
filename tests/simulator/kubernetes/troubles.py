# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a real API server refuses when it is in trouble: for ``world.faults.add(..., error=TIMEOUT)``.

Worded and coded as in the sources of Kubernetes that are named with each; paths are below staging/src/k8s.io.
"""

from __future__ import annotations

from simulator.record import Failure


def plain(status: int, text: str, **headers: str) -> Failure:
    """What Go's http.Error writes: no Status, but text and a line feed."""
    named = {"X-Content-Type-Options": "nosniff", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Failure(status, "", f"{text}\n", tuple(named.items()), plain=True)


def flow_control(retry_after: int = 1) -> Failure:
    """Priority and fairness has no place: apiserver/pkg/server/filters/priority-and-fairness.go, maxinflight.go."""
    return plain(429, "Too many requests, please try again later.", Retry_After=str(retry_after))


def denied(message: str, status: int = 403, reason: str = "Forbidden") -> Failure:
    """A webhook says no, with a status of its choice: apiserver/pkg/admission/plugin/webhook/errors/statuserror.go."""
    return Failure(status, reason, f'admission webhook "guard.example.com" denied the request: {message}')


# A server that is about to end sends its clients to another: apiserver/pkg/server/filters/with_retry_after.go.
SHUTTING_DOWN = plain(
    429, "The apiserver is shutting down, please try again later.", Retry_After="5", Connection="close"
)
# A watch cache that is not filled yet, a 429 that is a Status: apiserver/pkg/storage/cacher/cacher.go.
INITIALIZING = Failure(
    429, "TooManyRequests", "storage is (re)initializing", (("Retry-After", "1"),), {"retryAfterSeconds": 1}
)
# An error that nobody has made a Status of, here of etcd: apiserver/pkg/endpoints/handlers/responsewriters/status.go.
ETCD = Failure(500, "", "etcdserver: leader changed")
# NewInternalError (apimachinery/pkg/api/errors/errors.go), for a webhook that cannot be asked.
WEBHOOK_UNREACHABLE = Failure(
    500,
    "InternalError",
    'Internal error occurred: failed calling webhook "guard.example.com": failed to call webhook: '
    'Post "https://guard.default.svc:443/pods?timeout=10s": context deadline exceeded',
    details={"causes": [{"message": 'failed calling webhook "guard.example.com": failed to call webhook'}]},
)
# NewServerTimeout, same place: a storage that was too slow, and a pause that is asked for.
SERVER_TIMEOUT = Failure(
    500,
    "ServerTimeout",
    "The get operation against nodes could not be completed at this time, please try again.",
    (("Retry-After", "1"),),
    {"name": "get", "kind": "nodes", "retryAfterSeconds": 1},
)
# What stands in front of the API server does not reach it: kube-aggregator/pkg/apiserver/handler_proxy.go; a balancer.
UNAVAILABLE = plain(503, "service unavailable")
BAD_GATEWAY = Failure(502, "", "<html><body><h1>502 Bad Gateway</h1></body></html>\n", plain=True)
# NewTimeoutError, by apiserver/pkg/server/filters/timeout.go: nobody says whether it was done.
TIMEOUT = Failure(504, "Timeout", "Timeout: request did not complete within the allotted timeout")
# A watch whose version etcd has forgotten: apiserver/pkg/storage/etcd3/errors.go.
TOO_OLD = Failure(410, "Expired", "The resourceVersion for the provided watch is too old.")
