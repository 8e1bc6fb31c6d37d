# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door of the simulated AWS: who asks for what, may they, what is to go wrong; and it is all written down.

``Gateway`` is the WSGI application that the server runs. moto stands behind it.
"""

from __future__ import annotations

import io
import logging
import re
import socket
import struct
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from moto.moto_server.werkzeug_app import create_backend_app
from moto.s3.models import s3_backends

from simulator.aws import wire
from simulator.record import READS, Call

if TYPE_CHECKING:
    from simulator.aws.server import Cloud

log = logging.getLogger(__name__)

CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request")
ERROR_CODE = re.compile(rb"<Code>([^<]+)</Code>|\"__type\":\s*\"(?:[^\"#]*#)?([^\"]+)\"")
ELBV2_VERSION = "2015-12-01"
IAM_PREFIX = {"elb": "elasticloadbalancing", "elbv2": "elasticloadbalancing"}
IAM_ACTION = {"s3:HeadObject": "s3:GetObject", "s3:ListObjectsV2": "s3:ListBucket", "s3:HeadBucket": "s3:ListBucket"}
#: what a call is about: the first of these parameters that it has
TARGETS = (
    "AutoScalingGroupName",
    "AutoScalingGroupNames",
    "InstanceId",
    "InstanceIds",
    "Resources",
    "LaunchTemplateId",
    "LaunchTemplateName",
    "TargetGroupArn",
    "TargetGroupArns",
    "LoadBalancerName",
    "LoadBalancerNames",
    "clusterName",
    "name",
    "Name",
    "Names",
)

Answer = tuple[int, list[tuple[str, str]], bytes]


@dataclass
class Asked:
    """One request, understood."""

    access_key: str = ""
    region: str = ""
    service: str = "unknown"
    operation: str = ""
    protocol: str = "query"
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def dry_run(self) -> bool:
        """EC2 only says whether it would."""
        return str(self.params.get("DryRun", False)).lower() == "true"

    @property
    def mutating(self) -> bool:
        """It is no read."""
        return not READS.match(self.operation)

    @property
    def action(self) -> str:
        """The action that an IAM policy must allow."""
        action = f"{IAM_PREFIX.get(self.service, self.service)}:{self.operation}"
        return IAM_ACTION.get(action, action)

    @property
    def target(self) -> str:
        """What it is about, in one string."""
        if self.service == "s3":
            return "/".join(str(self.params[key]) for key in ("Bucket", "Key") if self.params.get(key))
        if self.service == "autoscaling" and self.params.get("Tags"):
            return ",".join(dict.fromkeys(str(tag.get("ResourceId")) for tag in self.params["Tags"]))
        for key in TARGETS:
            value = self.params.get(key)
            if value:
                return ",".join(map(str, value)) if isinstance(value, list) else str(value)
        return ""


def understand(environ: dict[str, Any], body: bytes) -> Asked:
    """Read a request's signature and content, without checking either."""
    query = parse_qs(environ.get("QUERY_STRING", ""))
    presigned = query.get("X-Amz-Credential", [""])[0]
    found = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION") or f"Credential={presigned}")
    if found is None:
        return Asked()
    asked = Asked(access_key=found[1], region=found[3], service=found[4].lower())
    if asked.service == "elasticloadbalancing":
        asked.service = "elbv2" if ELBV2_VERSION.encode() in body else "elb"
    try:
        model = get_service_model(asked.service)
        request = Request({**environ, "wsgi.input": io.BytesIO(body)})
        asked.protocol = determine_request_protocol(model, request.content_type)
        operation, in_path = get_service_router(asked.service).match(request)
        asked.operation = operation.name
        content = {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": body,
            "url_path": request.path,
            "url_params": in_path,
        }
        asked.params = dict(PROTOCOL_PARSERS[asked.protocol](operation).parse(content))
        asked.params.pop("Body", None)  # of an S3 object
    except Exception as error:  # the record must never stand in a request's way
        log.debug("a request that is not understood: %s %s", asked, error)
    return asked


class Gateway:
    """A WSGI application in front of moto's."""

    def __init__(self, cloud: Cloud, services: Iterable[str]):
        self._cloud = cloud
        self._services = frozenset(services)
        self._apps: dict[str, Any] = {}

    def _moto(self, service: str) -> Any:
        """moto's application for a service; it answers classic and newer load balancers with the same one."""
        name = "elb" if service == "elbv2" else service
        if name not in self._services:
            raise NotImplementedError(service)
        if name not in self._apps:
            self._apps[name] = create_backend_app(name)
        return self._apps[name]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        cloud = self._cloud
        body = _read(environ)
        asked = understand(environ, body)
        call = cloud.record.begin(
            author=cloud.author_of(asked.access_key),
            service=asked.service,
            operation=asked.operation,
            target=asked.target,
            mutating=asked.mutating,
            dry_run=asked.dry_run,
            params=asked.params,
        )
        effect = cloud.faults.take(call)
        effect.begin(call, cloud.clock)
        if effect.reset == "before":
            cloud.record.end(call, 0, "reset")
            _drop(environ)
        if effect.error is not None:
            failure = effect.error
            error = wire.WireError(failure.status, failure.code, failure.message, failure.headers)
            status, headers, content = wire.write(error, asked.protocol)
        else:
            status, headers, content = self._answer(environ, body, asked, call)
        cloud.record.end(call, status, _error_code(status, headers, content))
        effect.finish(call)
        if effect.reset == "after":
            _drop(environ)
        start_response(f"{status} {'OK' if status < 400 else 'Error'}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else content]

    def _answer(self, environ: dict[str, Any], body: bytes, asked: Asked, call: Call) -> Answer:
        cloud = self._cloud
        refusal = self._refusal(asked, call) or self._redirect(asked)
        if refusal is not None:
            return wire.write(refusal, asked.protocol)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = cloud.account
        environ[wire.PARAMS] = asked.params
        taken: dict[str, Any] = {}

        def take(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
            taken["status"], taken["headers"] = int(status.split()[0]), headers
            return lambda _data: None

        try:
            with cloud.lock:
                cloud.settle()
                content = b"".join(self._moto(asked.service)(environ, take))
        except NotImplementedError:
            return wire.write(wire.not_simulated(asked.service, asked.operation), asked.protocol)
        except Exception as error:
            cloud.errors.append(f"{call}: {traceback.format_exc()}")
            broken = wire.WireError(500, "InternalFailure", f"The rehearsal world broke: {error!r}")
            return wire.write(broken, asked.protocol)
        if taken["status"] == 404 and b"<title>404 Not Found</title>" in content:
            return wire.write(wire.not_simulated(asked.service, asked.operation), asked.protocol)
        if taken["status"] == 404 and asked.action == "s3:GetObject" and not self._may(call.author, "s3:ListBucket"):
            # Who may not list a bucket is not told what is not in it.
            return wire.write(wire.denied("s3", cloud.arn_of(call.author), "s3:ListBucket"), asked.protocol)
        return taken["status"], taken["headers"], content

    def _refusal(self, asked: Asked, call: Call) -> wire.WireError | None:
        cloud = self._cloud
        if not asked.access_key:
            return wire.missing_credentials()
        if not cloud.knows(asked.access_key):
            return wire.unknown_credentials(asked.service)
        if asked.access_key in cloud.expired:
            return wire.expired_credentials(asked.service)
        if asked.operation != "GetCallerIdentity" and not self._may(call.author, asked.action):
            return wire.denied(asked.service, cloud.arn_of(call.author), asked.action)
        return None

    def _may(self, author: str, action: str) -> bool:
        return self._cloud.authorize is None or self._cloud.authorize(author, action)

    def _redirect(self, asked: Asked) -> wire.WireError | None:
        """A bucket answers in its own region only; elsewhere S3 says where that is."""
        if asked.service != "s3":
            return None
        bucket = s3_backends[self._cloud.account]["aws"].buckets.get(asked.params.get("Bucket", ""))
        if bucket is None or bucket.region_name == asked.region or asked.operation == "CreateBucket":
            return None
        return wire.another_region(bucket.region_name)


def _read(environ: dict[str, Any]) -> bytes:
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        body = stream.read()
        environ["CONTENT_LENGTH"] = str(len(body))
        return body
    return stream.read(int(environ.get("CONTENT_LENGTH") or 0))


def _drop(environ: dict[str, Any]) -> None:
    """Cut the connection, as a network does: the client sees a reset, no answer."""
    connection = environ.get("werkzeug.socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    raise ConnectionAbortedError("dropped by an injected fault")


def _error_code(status: int, headers: list[tuple[str, str]], content: bytes) -> str:
    """AWS's code, from the body; EKS has it in a header."""
    if status < 400:
        return ""
    found = ERROR_CODE.search(content)
    if found:
        return (found[1] or found[2]).decode()
    return next((value for name, value in headers if name.lower() == "x-amzn-errortype"), "")
