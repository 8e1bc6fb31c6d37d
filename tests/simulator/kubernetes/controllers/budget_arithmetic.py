# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PodDisruptionBudget allows, as pure functions (pkg/controller/disruption/disruption.go)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from simulator.kubernetes.controllers.objects import (
    Object,
    controller_of,
    is_ready,
    is_terminating,
    scaled,
    seconds_of,
)


class CannotCount(Exception):
    """The number of expected pods cannot be known; the text becomes the message of the SyncFailed condition."""


@dataclass(frozen=True)
class Scale:
    """What stands behind a pod: the UID of the outermost controller, and how many replicas it wants."""

    uid: str
    replicas: int


# The scale behind a controller reference (first argument) of a pod (second). Raises CannotCount.
FindScale = Callable[[Object, Object], Scale]


@dataclass(frozen=True)
class Expectation:
    expected: int
    desired_healthy: int


def expectation(budget: Object, pods: list[Object], find_scale: FindScale) -> Expectation:
    """How many pods there should be, and how many of them must be healthy.

    An integer ``minAvailable`` counts the pods that are there. Everything else asks their controllers for the scale;
    pods without a controller then count for nothing (which is why a percentage over such pods never allows anything).
    Raises CannotCount when a controller has no scale.
    """
    spec = budget["spec"]
    if spec.get("maxUnavailable") is not None:
        expected = expected_scale(pods, find_scale)
        return Expectation(expected, max(0, expected - scaled(spec["maxUnavailable"], expected)))
    minimum = spec.get("minAvailable")
    if minimum is None:
        return Expectation(0, 0)
    if isinstance(minimum, int):
        return Expectation(len(pods), minimum)
    expected = expected_scale(pods, find_scale)
    return Expectation(expected, scaled(minimum, expected))


def expected_scale(pods: Iterable[Object], find_scale: FindScale) -> int:
    """The sum of the replicas of all controllers behind these pods, each counted once."""
    asked: dict[str, Scale] = {}
    for pod in pods:
        reference = controller_of(pod)
        if reference is not None and reference["uid"] not in asked:
            asked[reference["uid"]] = find_scale(reference, pod)
    return sum({scale.uid: scale.replicas for scale in asked.values()}.values())


def still_disrupted(budget: Object, pods: Iterable[Object], now: float, timeout: float) -> dict[str, str]:
    """Evictions granted but not yet seen as deletions: pod name -> time. Forgotten when they came, or after a time."""
    granted = (budget.get("status") or {}).get("disruptedPods") or {}
    waiting = {pod["metadata"]["name"] for pod in pods if not is_terminating(pod)}
    return {name: at for name, at in granted.items() if name in waiting and seconds_of(at) + timeout >= now}


def healthy(pods: Iterable[Object], disrupted: dict[str, str]) -> int:
    """Ready, and neither on the way out nor about to be."""
    return sum(
        1 for pod in pods if is_ready(pod) and not is_terminating(pod) and pod["metadata"]["name"] not in disrupted
    )


def status_after(budget: Object, pods: list[Object], find_scale: FindScale, now: float, timeout: float) -> Object:
    """The numbers of the budget's new status, without its conditions. Raises CannotCount."""
    expect = expectation(budget, pods, find_scale)
    disrupted = still_disrupted(budget, pods, now, timeout)
    current = healthy(pods, disrupted)
    # A budget over no expected pods allows nothing: its first pods may appear before it is computed again.
    allowed = max(0, current - expect.desired_healthy) if expect.expected > 0 else 0
    return {
        "currentHealthy": current,
        "desiredHealthy": expect.desired_healthy,
        "expectedPods": expect.expected,
        "disruptionsAllowed": allowed,
        "disruptedPods": disrupted,
        "observedGeneration": budget["metadata"].get("generation", 1),
    }
