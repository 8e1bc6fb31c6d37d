# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pods that were in the way of a drain, and for how long. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Mapping, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.report.events import Event, seconds_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Blocked


class BlockBook:
    """Collects the events C(pod_blocked), C(pod_diagnosed) and C(pod_unblocked)."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Blocked] = {}
        self._closed: list[Blocked] = []

    def note(self, event: Event) -> None:
        key = event.text("node"), event.text("pod")
        if not key[1]:
            return
        if event.kind == "pod_unblocked":
            self._close(key, event.at, event.seconds("seconds"))
        else:
            self._open[key] = _merged(self._open.get(key), event)

    def node_left(self, node: str, at: float) -> None:
        """The node is empty, so nothing is in the way on it any more."""
        for key in [key for key in self._open if key[0] == node]:
            self._close(key, at, None)

    def all_left(self, at: float) -> None:
        """Nobody waits any more: the attempt is over. Whoever is still blocked stays so until the next one looks."""
        for key, blocked in self._open.items():
            self._open[key] = replace(blocked, seconds=max(0.0, at - blocked.since))

    def stories(self, ended: float) -> list[Blocked]:
        """The longest first; of one pod that was blocked again and again, every time."""
        still = [
            replace(one, seconds=one.seconds or max(0.0, ended - one.since), until=None) for one in self._open.values()
        ]
        return sorted([*self._closed, *still], key=lambda one: (-one.seconds, one.since, one.pod))

    def _close(self, key: tuple[str, str], at: float, seconds: Optional[float]) -> None:
        blocked = self._open.pop(key, None)
        if blocked is None:
            return
        lasted = seconds if seconds is not None else max(0.0, at - blocked.since)
        self._closed.append(replace(blocked, until=at, since=at - lasted, seconds=lasted))


def _merged(known: Optional[Blocked], event: Event) -> Blocked:
    """What this event adds to what is known of a pod: the latest word on the cause, the earliest on since when."""
    since = seconds_of(event.fields.get("since"))
    since = event.at if since is None or since > event.at else since
    known = known or Blocked(event.text("pod"), event.text("node"), since, None, 0.0)
    return replace(
        known,
        since=min(known.since, since),
        reason=event.text("reason") or known.reason,
        budget=event.text("budget") or _first_budget(event.fields) or known.budget,
        message=event.text("cause") or event.text("message") or known.message,
        remedy=event.text("remedy") or known.remedy,
    )


def _first_budget(fields: Mapping[str, Any]) -> str:
    budgets = fields.get("budgets")
    if not isinstance(budgets, list) or not budgets:
        return ""
    first = budgets[0]
    return str(first.get("name", "")) if isinstance(first, Mapping) else str(first)
