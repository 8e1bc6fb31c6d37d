# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In which order the pods of a node leave: in waves, the next of which begins when the former is gone. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.label_selector import LabelSelector, parse_selector
from ansible_collections.evergreen.eks.plugins.module_utils.moments import parse_duration

PRIORITY = "priority"
# The last wave, as with Karpenter (pkg/controllers/node/termination/terminator/terminator.go, groupPodsByPriority).
CRITICAL = ("system-cluster-critical", "system-node-critical")
FORMS = "'priority', or a list of {priority_class: NAME} and {selector: LABELS}"


@dataclass(frozen=True)
class Wave:
    """The pods of one entry of a user's list: of a priority class, or selected by their labels."""

    priority_class: str = ""
    selector: LabelSelector | None = None

    def takes(self, pod: Pod) -> bool:
        if self.selector is not None:
            return self.selector.matches(pod.labels)
        return pod.priority_class == self.priority_class


@dataclass(frozen=True)
class Order:
    """The waves that are named, and after how many seconds the next one begins although the former is not gone; 0 is
    never. Without any named ones it is the order C(priority)."""

    waves: tuple[Wave, ...] = ()
    timeout: float = 0.0

    def rank(self, pod: Pod) -> int:
        """The wave of this pod: the first that takes it. Who is not named comes after those, and the critical last."""
        for number, wave in enumerate(self.waves):
            if wave.takes(pod):
                return number
        return len(self.waves) + (pod.priority_class in CRITICAL)


BY_PRIORITY = Order()


class Turns:
    """Whose turn it is on one node. Times are seconds of the drain's clock."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._began: dict[int, float] = {}  # rank -> since when it is its turn
        self.next_at: float | None = None  # when the next wave's turn comes, if the former is still there

    def open(self, ranks: Iterable[int], now: float) -> int:
        """The last wave whose turn it is, where pods of these are left: the first, and those after it for as long as
        the time of each is over."""
        present = sorted(set(ranks))
        self._began = {rank: began for rank, began in self._began.items() if rank in present}
        self.next_at = None
        for rank in present[:-1]:
            ends = self._began.setdefault(rank, now) + self._order.timeout
            if not self._order.timeout:
                return rank
            if now < ends:
                self.next_at = ends
                return rank
        return present[-1] if present else 0


def parse_order(raw: Any, timeout: Any = 0) -> Order:
    """What the options C(order) and C(order_timeout) mean; a list may come as its JSON. Raises InvalidInput."""
    try:
        seconds = parse_duration(timeout)
    except InvalidInput as error:
        raise InvalidInput(f"order_timeout: {error.message}", remedy=error.remedy) from None
    given = raw
    if isinstance(raw, str) and raw.strip().startswith("["):
        try:
            given = json.loads(raw)
        except ValueError:
            raise unfit(raw) from None
    if given in (None, "", PRIORITY):
        return Order(timeout=seconds)
    if not isinstance(given, (list, tuple)) or not given:
        raise unfit(raw)
    return Order(tuple(_wave(entry) for entry in given), seconds)


def _wave(entry: Any) -> Wave:
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise unfit(entry)
    kind, value = next(iter(entry.items()))
    if kind == "priority_class" and isinstance(value, str) and value.strip():
        return Wave(priority_class=value.strip())
    if kind == "selector" and isinstance(value, str):
        return Wave(selector=parse_selector(value))
    raise unfit(entry)


def unfit(value: Any) -> InvalidInput:
    return InvalidInput(f"order cannot be {value!r}", remedy=f"Give {FORMS}")
