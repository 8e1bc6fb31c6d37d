# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What several modules tell alike in the journal: the numbers of a group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group
from ansible_collections.evergreen.eks.plugins.module_utils.journal import LAUNCHED, READY, Journal
from ansible_collections.evergreen.eks.plugins.module_utils.moments import parse_timestamp, timestamp_of
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import FloorView, Node
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Host


def tell_capacity(journal: Journal, group: Group, ready: int, floor: int | None = None, **after: Any) -> None:
    """The numbers of the group, unless this call has just told the same.

    ``ready``: members that are Ready and take pods; ``floor``: how many must remain so, where that is known. ``after``
    overrides what has been changed since the group was read.
    """
    numbers = {
        "desired": group.desired_capacity,
        "max": group.max_size,
        "members": len(group.strength),
        "ready": ready,
        **({} if floor is None else {"floor": floor}),
        **after,
    }
    journal.write_new("capacity", **numbers)


def tell_floor(journal: Journal, view: FloorView) -> None:
    """The same as one look at the floor saw it."""
    tell_capacity(journal, view.group, view.ready_schedulable, view.min_ready)


def tell_newcomers(journal: Journal, hosts: Iterable[Host], nodes: Mapping[str, Node], now: str) -> None:
    """When exactly each of these was launched, and its node got Ready: whoever waited for it saw that later, or not.

    Moments are those of AWS and Kubernetes; one that is ahead of C(now), of our own clock, tells nothing.
    """
    for host in hosts:
        node = nodes[host.instance_id]
        where = {"node": node.name, "instance": host.instance_id, "old": False, "zone": host.zone}
        ready_at = parse_timestamp(node.ready_since)
        took = {"seconds": round((ready_at - host.launched).total_seconds())} if ready_at and host.launched else {}
        journal.write("node_stage", to=LAUNCHED, **_at(host.launched, now), **where)
        journal.write("node_stage", to=READY, **_at(ready_at, now), **took, **where)


def _at(moment: Optional[datetime], now: str) -> dict[str, str]:
    text = timestamp_of(moment) if moment else ""
    return {"at": text} if text and text <= now else {}
