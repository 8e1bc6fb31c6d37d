# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as AWS puts them on the wire, in each of its protocols, and the refusals that every service knows."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from xml.sax.saxutils import escape

INVALID = "The security token included in the request is invalid."
EXPIRED = "The security token included in the request is expired"
PARAMS = "simulator.params"  # where a WSGI environment carries the request's parameters, as botocore's model names them


@dataclass(frozen=True)
class WireError:
    """An error answer before it is written: HTTP status, AWS's code, message."""

    status: int
    code: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()


def unknown_credentials(service: str) -> WireError:
    """The access key is not known."""
    if service == "ec2":
        return WireError(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
    if service == "s3":
        text = "The AWS Access Key Id you provided does not exist in our records."
        return WireError(403, "InvalidAccessKeyId", text)
    if service in ("eks", "ssm"):
        return WireError(403 if service == "eks" else 400, "UnrecognizedClientException", INVALID)
    return WireError(403, "InvalidClientTokenId", INVALID)


def expired_credentials(service: str) -> WireError:
    """The session token's time is over."""
    if service == "ec2":
        return WireError(400, "RequestExpired", "Request has expired.")
    if service == "s3":
        return WireError(400, "ExpiredToken", "The provided token has expired.")
    if service in ("eks", "ssm"):
        return WireError(403 if service == "eks" else 400, "ExpiredTokenException", EXPIRED)
    return WireError(403, "ExpiredToken", EXPIRED)


def missing_credentials() -> WireError:
    """The request is not signed."""
    return WireError(403, "MissingAuthenticationToken", "Missing Authentication Token")


def denied(service: str, arn: str, action: str) -> WireError:
    """No policy allows this."""
    because = (
        f"User: {arn} is not authorized to perform: {action} "
        f"because no identity-based policy allows the {action} action"
    )
    if service == "ec2":
        return WireError(403, "UnauthorizedOperation", f"You are not authorized to perform this operation. {because}")
    if service in ("eks", "ssm"):
        return WireError(403 if service == "eks" else 400, "AccessDeniedException", because)
    return WireError(403, "AccessDenied", because)


def another_region(region: str) -> WireError:
    """S3: the bucket is not here."""
    text = (
        "The bucket you are attempting to access must be addressed using the specified endpoint. "
        "Please send all future requests to this endpoint."
    )
    return WireError(301, "PermanentRedirect", text, (("x-amz-bucket-region", region),))


def not_simulated(service: str, operation: str) -> WireError:
    """The rehearsal world does not know this; a client error, so that no SDK retries it."""
    text = f"The rehearsal world does not implement {operation or 'this request'} of {service}."
    return WireError(400, "InvalidAction", text)


def write(error: WireError, protocol: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of an error in "ec2", "query", "rest-xml", "json" or "rest-json"."""
    request_id = str(uuid.uuid4())
    headers = [*error.headers, ("x-amzn-RequestId", request_id)]
    code, message = escape(error.code), escape(error.message)
    if protocol in ("json", "rest-json"):
        headers += [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", error.code)]
        body = json.dumps({"__type": error.code, "message": error.message})
    elif protocol == "ec2":
        headers.append(("Content-Type", "text/xml;charset=UTF-8"))
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
    elif protocol == "rest-xml":
        headers.append(("Content-Type", "application/xml"))
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{request_id}</RequestId></Error>"
        )
    else:
        headers.append(("Content-Type", "text/xml"))
        kind = "Sender" if error.status < 500 else "Receiver"
        body = (
            f"<ErrorResponse><Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return error.status, headers, body.encode()
