# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One request to EKS, or all pages of a list; an SDK that is too old for it is named."""

from __future__ import annotations

import sys
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_errors
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError


def ask(aws: Aws, operation: str, subject: str, *, once: bool = False, **request: Any) -> dict[str, Any]:
    """The answer to one request ("DescribeUpdate") about ``subject`` ("EKS cluster production").

    ``once``: it is sent once, whatever comes back; else it is repeated while it fails for a passing reason.
    Raises AwsError, and EvergreenError (missing_library) where the SDK does not know the operation.
    """
    client = aws.client_once("eks") if once else aws.client("eks")
    method = _method(client, operation)
    with aws_errors(f"eks:{operation}", subject):
        return method(**request)


def ask_all(aws: Aws, operation: str, subject: str, key: str, **request: Any) -> list[Any]:
    """What stands under ``key`` in all pages of the answer."""
    found: list[Any] = []
    while True:
        page = ask(aws, operation, subject, **request)
        found.extend(page.get(key) or ())
        if not page.get("nextToken"):
            return found
        request["nextToken"] = page["nextToken"]


def _method(client: Any, operation: str) -> Any:
    from botocore import __version__, xform_name

    method = getattr(client, xform_name(operation), None)
    if method is None:
        raise EvergreenError(
            f"botocore {__version__} of {sys.executable} does not know eks:{operation}",
            reason="missing_library",
            remedy=f"Bring it up to date there ({sys.executable} -m pip install --upgrade boto3)",
        )
    return method
