# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who was waited for on a node instead of being evicted, and what came of it. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain.completion import Hold
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod

# What came of it: the words of C(waited[].outcome).
WAITING = "waiting"
SUCCEEDED, FAILED = "succeeded", "failed"  # the pod's own end
GONE = "gone"
EVICTED = "evicted"  # when its time was over, or nothing held it any more
OVERDUE = "overdue"  # its time is over, and it is still there
ABANDONED = "abandoned"  # it was given up with its node
RELEASED = "released"  # it has opted out of the drain meanwhile


@dataclass
class Wait:
    """One pod that was waited for. ``outcome`` is empty while it is there."""

    pod: Pod
    hold: Hold
    outcome: str = ""


class Waits:
    """Those of one node, by their UIDs."""

    def __init__(self) -> None:
        self._waits: dict[str, Wait] = {}

    def __iter__(self) -> Iterator[Wait]:
        return iter(self._waits.values())

    def began(self, pod: Pod, hold: Hold) -> None:
        """It is waited for, from now on or still."""
        wait = self._waits.setdefault(pod.uid, Wait(pod, hold))
        wait.pod, wait.hold, wait.outcome = pod, hold, ""

    def ended(self, pod: Pod) -> None:
        """It is to stay where it is: it has come to its end, or opted out."""
        if pod.uid in self._waits:
            outcomes = {"Succeeded": SUCCEEDED, "Failed": FAILED}
            self._waits[pod.uid].outcome = outcomes.get(pod.phase, RELEASED)

    def gone(self, uid: str, *, evicted: bool) -> None:
        """It is not there any more."""
        if uid in self._waits and not self._waits[uid].outcome:
            self._waits[uid].outcome = EVICTED if evicted else GONE

    def records(self, on_hold: Collection[str], abandoned: Collection[str] = ()) -> list[dict[str, Any]]:
        """The list C(waited) of the result, by name. By their UIDs: who is waited for now, and whom nobody can wait for
        any more, because the node is dead."""
        records = [
            {
                "pod": str(wait.pod),
                "reason": wait.hold.reason,
                "until": wait.hold.deadline,
                "outcome": wait.outcome or _standing(wait.pod.uid, on_hold, abandoned),
            }
            for wait in self._waits.values()
        ]
        return sorted(records, key=lambda record: record["pod"])


def _standing(uid: str, on_hold: Collection[str], abandoned: Collection[str]) -> str:
    """What is to be said of a pod that is still there."""
    if uid in abandoned:
        return ABANDONED
    return WAITING if uid in on_hold else OVERDUE
