# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS's refusals, with its codes; the fields beside the message are those of botocore's model."""

from __future__ import annotations

from typing import Any

from moto.eks.exceptions import EKSError


class Refusal(EKSError):
    """A refusal that concerns a cluster, or one of its add-ons."""

    def __init__(self, cluster: str, message: str, addon: str | None = None):
        super().__init__(clusterName=cluster or None, nodegroupName=None, addonName=addon, message=message)


class InvalidParameter(Refusal):
    """A value that EKS does not take."""

    TYPE, STATUS = "InvalidParameterException", 400


class InvalidRequest(Refusal):
    """A request that makes no sense now."""

    TYPE, STATUS = "InvalidRequestException", 400


class InvalidState(Refusal):
    """The cluster is not ready for that."""

    TYPE, STATUS = "InvalidStateException", 400


class NotFound(Refusal):
    """There is no such thing."""

    TYPE, STATUS = "ResourceNotFoundException", 404


class InUse(Refusal):
    """It exists already, or something else is under way."""

    TYPE, STATUS = "ResourceInUseException", 409


def page(items: list[Any], params: Any, key: str, default: int = 100) -> dict[str, Any]:
    """One page of a list, as EKS pages: ``maxResults`` items from ``nextToken`` on."""
    begin = int(params.get("nextToken") or 0)
    end = begin + int(params.get("maxResults") or default)
    return {key: items[begin:end], **({"nextToken": str(end)} if end < len(items) else {})}
