# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pods that are not evicted yet: those that are to complete first, and those that are to be left alone. Pure.

Both are asked for on the pod itself, by labels and annotations that are also Cluster API's, Karpenter's and the cluster
autoscaler's; what becomes of that is what the user of the drain allows (C(filters)).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import (
    DO_NOT_DISRUPT,
    DRAIN_TIMEOUT,
    SAFE_TO_EVICT,
    Pod,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.label_selector import LabelSelector, parse_selector
from ansible_collections.evergreen.eks.plugins.module_utils.moments import (
    ServerTime,
    parse_duration,
    parse_go_duration,
    parse_timestamp,
    timestamp_of,
)
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import WAIT_COMPLETED, Node, read_node_marks
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Clock

COMPLETION_SECONDS = 20 * 3600
FAIL = "fail"
THEN = (FAIL, "evict")

# Why a pod is not evicted; words of C(blocked[].reason).
COMPLETING = "completing"
NOT_COMPLETED = "not_completed"  # and its time is over
PROTECTED = "protected"
UNREADABLE = "unreadable_annotation"


class Times:
    """When what is written on objects comes due, in seconds of the drain's own clock."""

    def __init__(self, server: ServerTime, clock: Clock, nodes: Iterable[Node] = ()) -> None:
        self._server, self._clock = server, clock
        now = server.now()
        self._cordoned = {node.name: min(cordoned_since(node) or now, now) for node in nodes}
        self._met = now

    def cordoned(self, node_name: str) -> datetime:
        """Since when the node is cordoned for us; where nothing on it says so, since we know it."""
        return self._cordoned.get(node_name, self._met)

    def at(self, moment: datetime) -> float:
        return self._clock.now() + self._server.seconds_until(moment)

    def is_over(self, moment: datetime) -> bool:
        return self._server.now() >= moment

    def lasts(self, hold: Hold) -> bool:
        return hold.lasts(self._clock.now())


def cordoned_since(node: Node) -> datetime | None:
    """Since when the node is cordoned, by our mark on it; None where that does not say, or it is not cordoned."""
    try:
        return parse_timestamp(read_node_marks(node).since) if node.unschedulable else None
    except EvergreenError:
        return None  # whoever cordons or releases the node complains about it


@dataclass(frozen=True)
class Hold:
    """A pod that is to leave is not evicted before ``until``, in seconds of the drain's clock (None: for as long as
    nothing changes); C(deadline) is the same moment for people, empty for None."""

    reason: str  # COMPLETING or PROTECTED
    message: str
    until: float | None = None
    deadline: str = ""

    def lasts(self, now: float) -> bool:
        return self.until is None or now < self.until


def longest(holds: Iterable[Hold]) -> Hold | None:
    """The one that lasts longest."""
    return max(holds, key=lambda hold: float("inf") if hold.until is None else hold.until, default=None)


# --- to complete -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Completions:
    """The option C(wait_for_completion): who is waited for besides those that ask for it, for how many seconds since
    the node was cordoned, and what then."""

    selector: LabelSelector | None = None
    seconds: float = COMPLETION_SECONDS
    then: str = FAIL

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> Completions:
        """From the module's option. Raises InvalidInput."""
        given = given or {}
        timeout = given.get("timeout")
        try:
            seconds = COMPLETION_SECONDS if timeout in (None, "") else parse_duration(timeout)
        except InvalidInput as error:
            raise InvalidInput(f"wait_for_completion.timeout: {error.message}", remedy=error.remedy) from None
        selector = given.get("selector") or ""
        return cls(parse_selector(selector) if selector.strip() else None, seconds, given.get("then") or FAIL)

    def concern(self, pod: Pod) -> bool:
        """Whether this pod is to complete rather than to be evicted."""
        selected = self.selector is not None and self.selector.matches(pod.labels)
        return selected or pod.drain_wish == WAIT_COMPLETED

    def hold(self, pod: Pod, times: Times) -> Hold:
        """Until when it is waited for: the pod's own annotation beats the option."""
        own, _unreadable = own_seconds(pod)
        seconds = self.seconds if own is None else own
        moment = times.cordoned(pod.node_name) + timedelta(seconds=seconds)
        deadline = timestamp_of(moment)
        message = f"it is waited for until it has completed, until {deadline} at the longest"
        return Hold(COMPLETING, message, times.at(moment), deadline)


def own_seconds(pod: Pod) -> tuple[float | None, str]:
    """How long the pod itself asks to be waited for, and what it says where that cannot be understood."""
    text = pod.annotations.get(DRAIN_TIMEOUT, "")
    if not text:
        return None, ""
    try:
        return parse_duration(text), ""
    except InvalidInput:
        return None, f"{DRAIN_TIMEOUT} is {text!r}, which is no duration, and is passed over"


# --- to be left alone ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Protection:
    """What of its annotations protects a pod from those who remove nodes, and what of them cannot be understood."""

    holds: tuple[Hold, ...] = ()
    unreadable: tuple[str, ...] = field(default=())

    @property
    def hold(self) -> Hold | None:
        return longest(self.holds)


def protection_of(pod: Pod, times: Times) -> Protection:
    """As the cluster autoscaler (utils/drain/drain.go: the one value "false") and Karpenter (utils/pod/scheduling.go,
    IsDoNotDisruptActive: "true", or the age until which the pod is to run; anything else does not count) read them."""
    holds, unreadable = [], []
    if pod.annotations.get(SAFE_TO_EVICT) == "false":
        holds.append(Hold(PROTECTED, f"{SAFE_TO_EVICT} is false"))
    wish = pod.annotations.get(DO_NOT_DISRUPT, "")
    age = parse_go_duration(wish)
    if wish == "true":
        holds.append(Hold(PROTECTED, f"{DO_NOT_DISRUPT} is true"))
    elif age:
        hold = _until_age(pod, wish, age, times)
        holds += [hold] if hold else []
    elif wish not in ("", "false"):
        unreadable.append(f"{DO_NOT_DISRUPT} is {wish!r}, neither true nor a duration, and is passed over")
    return Protection(tuple(holds), tuple(unreadable))


def _until_age(pod: Pod, wish: str, age: float, times: Times) -> Hold | None:
    """None where the pod is old enough. One whose start is not known is not, as with Karpenter."""
    started = parse_timestamp(pod.started)
    if started is None:
        return Hold(PROTECTED, f"{DO_NOT_DISRUPT} is {wish}, and when it started is not known")
    moment = started + timedelta(seconds=age)
    if times.is_over(moment):
        return None
    deadline = timestamp_of(moment)
    return Hold(PROTECTED, f"{DO_NOT_DISRUPT} is {wish}: until {deadline}", times.at(moment), deadline)
