# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS's updates: what is under way on a cluster or one of its add-ons, and how it is to end.

``Script`` is the tests' hand in it: the next update of a kind fails, is cancelled, or does not end::

    world.eks.script.fail("VersionUpdate", "IpNotAvailable", "No free IP addresses in subnet-1")
    world.eks.script.hold("AddonUpdate", of="coredns")
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from simulator.aws.eks_errors import NotFound

VERSION_UPDATE, VERSION_ROLLBACK, ADDON_UPDATE = "VersionUpdate", "VersionRollback", "AddonUpdate"
IN_PROGRESS, SUCCESSFUL, FAILED, CANCELLED = "InProgress", "Successful", "Failed", "Cancelled"


@dataclass
class Update:
    """One update. ``addon`` and ``nodegroup`` are empty for those of the cluster itself."""

    kind: str
    params: dict[str, str]
    created: datetime
    addon: str = ""
    nodegroup: str = ""
    token: str = ""  # the client's, by which a repeated request is known
    status: str = IN_PROGRESS
    errors: list[dict[str, Any]] = field(default_factory=list)
    update_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def of(self) -> str:
        """The add-on or node group that is updated; empty: the cluster itself."""
        return self.addon or self.nodegroup

    def fail(self, code: str, message: str, resources: list[str] | None = None, status: str = FAILED) -> None:
        """It has ended badly."""
        self.status = status
        self.errors = [{"errorCode": code, "errorMessage": message, "resourceIds": list(resources or [])}]

    def answer(self) -> dict[str, Any]:
        """As DescribeUpdate shows it."""
        return {
            "id": self.update_id,
            "status": self.status,
            "type": self.kind,
            "params": [{"type": key, "value": value} for key, value in self.params.items()],
            "createdAt": self.created,
            "errors": self.errors,
        }


class Updates:
    """All updates of one cluster, oldest first. EKS keeps those of the cluster, of each add-on and node group apart."""

    def __init__(self, cluster: str):
        self._cluster = cluster
        self._all: dict[str, Update] = {}

    def add(self, update: Update) -> Update:
        """It begins."""
        self._all[update.update_id] = update
        return update

    def find(self, update_id: str, addon: str = "", nodegroup: str = "") -> Update:
        """DescribeUpdate: an add-on's update is found only by who names the add-on, and so on."""
        update = self._all.get(update_id)
        if update is None or (update.addon, update.nodegroup) != (addon, nodegroup):
            raise NotFound(self._cluster, f"No update found for ID: {update_id}", addon or None)
        return update

    def ids(self, addon: str = "", nodegroup: str = "") -> list[str]:
        """ListUpdates."""
        return [key for key, one in self._all.items() if (one.addon, one.nodegroup) == (addon, nodegroup)]

    def running(self) -> Update | None:
        """The update of the cluster itself that is under way."""
        mine = (one for one in self._all.values() if not one.addon and not one.nodegroup)
        return next((one for one in mine if one.status == IN_PROGRESS), None)

    def repeated(self, token: str) -> Update | None:
        """The update that an earlier request with this client token has begun: EKS does not begin it twice."""
        return next((one for one in self._all.values() if token and one.token == token), None)


@dataclass
class Order:
    """What a test has in store for updates of one kind."""

    kind: str
    of: str  # the add-on or node group; empty: any add-on, or the cluster itself
    times: int
    status: str = FAILED  # or CANCELLED, or IN_PROGRESS: it is held
    code: str = "Unknown"
    message: str = ""
    resources: list[str] = field(default_factory=list)


class Script:
    """The orders of a test, first come first served."""

    def __init__(self) -> None:
        self._orders: list[Order] = []

    def fail(
        self,
        kind: str = VERSION_UPDATE,
        code: str = "Unknown",
        message: str = "The update failed.",
        *,
        of: str = "",
        resources: list[str] | None = None,
        times: int = 1,
    ) -> None:
        """The next ``times`` updates of that kind end Failed, with one of botocore's ErrorCodes."""
        self._orders.append(Order(kind, of, times, FAILED, code, message, list(resources or [])))

    def cancel(self, kind: str = VERSION_UPDATE, *, of: str = "", times: int = 1) -> None:
        """They end Cancelled."""
        self._orders.append(Order(kind, of, times, CANCELLED, "Unknown", "The update was cancelled."))

    def hold(self, kind: str = VERSION_UPDATE, *, of: str = "") -> None:
        """No update of that kind ends until ``release``."""
        self._orders.append(Order(kind, of, 1, IN_PROGRESS))

    def release(self) -> None:
        """What is held goes on, at its next look (every five seconds)."""
        self._orders = [order for order in self._orders if order.status != IN_PROGRESS]

    def holds(self, update: Update) -> bool:
        """The update must wait."""
        return self._take(update, IN_PROGRESS, keep=True) is not None

    def ends(self, update: Update) -> bool:
        """End the update as ordered; False when nothing was."""
        order = self._take(update, FAILED) or self._take(update, CANCELLED)
        if order is None:
            return False
        update.fail(order.code, order.message, order.resources, order.status)
        return True

    def _take(self, update: Update, status: str, keep: bool = False) -> Order | None:
        for order in self._orders:
            whole = not order.of and not update.nodegroup
            if (order.kind, order.status) == (update.kind, status) and (whole or order.of == update.of):
                order.times -= 0 if keep else 1
                if order.times <= 0:
                    self._orders.remove(order)
                return order
        return None
