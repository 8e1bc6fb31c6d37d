# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disruption budgets: what a PodDisruptionBudget says, in numbers, and which pods it selects. Pure.

The numbers are those of the disruption controller (pkg/controller/disruption/disruption.go of Kubernetes 1.36), which
alone writes a budget's status.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, Union

Amount = Union[int, str]  # a number of pods, or a percentage as text ("25%")

ALWAYS_ALLOW = "AlwaysAllow"
IF_HEALTHY = "IfHealthyBudget"
DISRUPTED_NAMED = 5
UNCOUNTED_PHASES = ("Pending", "Succeeded", "Failed")
MAX_DISRUPTED_PODS = 2000  # eviction.go: with more of them unconfirmed the server grants nothing


class Labelled(Protocol):
    """Whatever is known of a pod, it has these."""

    @property
    def namespace(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, str]: ...


class Evictable(Labelled, Protocol):
    """A pod as the server looks at it when it is to be evicted."""

    @property
    def phase(self) -> str: ...

    @property
    def ready(self) -> bool: ...


AnyPod = TypeVar("AnyPod", bound=Labelled)


@dataclass(frozen=True)
class Budget:
    """One PodDisruptionBudget. ``disrupted_pods`` are the evictions that were granted and whose deletion the disruption
    controller has not seen yet: pod name -> when (RFC 3339)."""

    namespace: str
    name: str
    selector: Mapping[str, Any] | None = None
    min_available: Amount | None = None
    max_unavailable: Amount | None = None
    unhealthy_policy: str = IF_HEALTHY
    generation: int = 1
    observed_generation: int = 1
    desired_healthy: int = 0
    current_healthy: int = 0
    expected_pods: int = 0
    disruptions_allowed: int = 0
    disrupted_pods: Mapping[str, str] = field(default_factory=dict)
    condition_reason: str = ""  # of DisruptionAllowed: SufficientPods, InsufficientPods, SyncFailed
    condition_message: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def setting(self) -> str:
        """Which of the two fields sets the limit."""
        return "maxUnavailable" if self.max_unavailable is not None else "minAvailable"

    @property
    def limit(self) -> str:
        """What the spec says: ``minAvailable 3``, ``maxUnavailable 25%``, empty where it says nothing."""
        amount = self.max_unavailable if self.max_unavailable is not None else self.min_available
        return "" if amount is None else f"{self.setting} {amount}"

    @property
    def counts_replicas(self) -> bool:
        """Whether it asks the pods' controllers for the number of pods; a plain minAvailable counts pods instead."""
        return self.max_unavailable is not None or isinstance(self.min_available, str)

    @property
    def sync_failed(self) -> bool:
        return self.condition_reason == "SyncFailed"

    @property
    def stale(self) -> bool:
        """Its status is still that of a former spec, or of none."""
        return self.observed_generation < self.generation

    @property
    def grants(self) -> int:
        """How many evictions the server would grant now (rules 8 to 11): none while its status is out of order."""
        in_order = not self.stale and len(self.disrupted_pods) <= MAX_DISRUPTED_PODS
        return max(0, self.disruptions_allowed) if in_order else 0

    @property
    def refusal(self) -> str:
        """What the server says when it grants none, in its own words."""
        if self.stale:
            return f"The disruption budget {self.name} is still being processed by the server."
        if self.sync_failed and self.condition_message:
            why = f"because it failed sync: {self.condition_message}"
            return f"The disruption budget {self.name} does not allow evicting pods currently {why}"
        if self.current_healthy <= self.desired_healthy:
            numbers = f"needs {self.desired_healthy} healthy pods and has {self.current_healthy} currently"
            return f"The disruption budget {self.name} {numbers}"
        return f"The disruption budget {self.name} does not allow evicting pods currently"

    def spares(self, pod: Evictable) -> bool:
        """Whether the pod may go without being counted: pending and finished ones (rule 4), and unready ones by policy
        (rule 6) or while enough others are healthy (rule 7)."""
        if pod.phase in UNCOUNTED_PHASES:
            return True
        if pod.ready:
            return False
        return self.unhealthy_policy == ALWAYS_ALLOW or self.current_healthy >= self.desired_healthy > 0

    @property
    def unsatisfiable(self) -> bool:
        """With every pod healthy it would still allow nothing: maxUnavailable 0, minAvailable of all pods, 100 %."""
        return self.desired_healthy >= self.expected_pods > 0

    def covers(self, pod: Labelled) -> bool:
        return pod.namespace == self.namespace and selects(self.selector, pod.labels)

    def record(self) -> dict[str, Any]:
        """The entry of C(blocked[].budgets) in a result."""
        return {
            "name": str(self),
            "limit": self.limit,
            "unhealthy_pod_eviction_policy": self.unhealthy_policy,
            "expected_pods": self.expected_pods,
            "desired_healthy": self.desired_healthy,
            "current_healthy": self.current_healthy,
            "disruptions_allowed": self.disruptions_allowed,
            "disrupted_pods": dict(sorted(self.disrupted_pods.items())[:DISRUPTED_NAMED]),
            "message": self.condition_message,
        }


def budget_from(manifest: Mapping[str, Any]) -> Budget:
    """The record of one budget as the API answers it; one without a status has not been looked at by its controller."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    conditions = status.get("conditions") or []
    allowed = next((item for item in conditions if item.get("type") == "DisruptionAllowed"), {})
    return Budget(
        namespace=metadata["namespace"],
        name=metadata["name"],
        selector=spec.get("selector"),
        min_available=spec.get("minAvailable"),
        max_unavailable=spec.get("maxUnavailable"),
        unhealthy_policy=spec.get("unhealthyPodEvictionPolicy") or IF_HEALTHY,
        generation=metadata.get("generation", 1),
        observed_generation=status.get("observedGeneration", 0),
        desired_healthy=status.get("desiredHealthy", 0),
        current_healthy=status.get("currentHealthy", 0),
        expected_pods=status.get("expectedPods", 0),
        disruptions_allowed=status.get("disruptionsAllowed", 0),
        disrupted_pods=dict(status.get("disruptedPods") or {}),
        condition_reason=allowed.get("reason", ""),
        condition_message=allowed.get("message", ""),
    )


def budgets_of(pod: Labelled, budgets: Iterable[Budget]) -> list[Budget]:
    """The budgets that select the pod, by name."""
    return sorted((budget for budget in budgets if budget.covers(pod)), key=lambda budget: budget.name)


def alike(pods: Iterable[AnyPod]) -> list[list[AnyPod]]:
    """Pods of one namespace by their labels: what selects one of them selects all, and need be asked only once."""
    groups: dict[frozenset[tuple[str, str]], list[AnyPod]] = defaultdict(list)
    for pod in pods:
        groups[frozenset(pod.labels.items())].append(pod)
    return list(groups.values())


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether the LabelSelector of a policy/v1 budget matches: without a selector none, with an empty one all."""
    if selector is None:
        return False
    wanted = (selector.get("matchLabels") or {}).items()
    return all(labels.get(key) == value for key, value in wanted) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions") or []
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) is (operator == "Exists")
