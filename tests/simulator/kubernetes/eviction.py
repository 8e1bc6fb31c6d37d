# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pods/eviction: what the server decides, in the order in which it decides it.

Source: pkg/registry/core/pod/storage/eviction.go of Kubernetes 1.36; the surprises were measured on a running 1.36.2:
a wrong UID spends the budget all the same, never matters while the budget is exhausted, and holds the answer up for ten
seconds where the budget does not apply.
"""

from __future__ import annotations

import time
from typing import Any

from simulator.clock import Clock
from simulator.kubernetes.deletion import FINISHED, check_preconditions, is_terminating
from simulator.kubernetes.errors import ApiError, bad_request, forbidden, success, too_many_requests
from simulator.kubernetes.registry import Registry
from simulator.kubernetes.resources import POD_DISRUPTION_BUDGETS, PODS
from simulator.kubernetes.selectors import dig, selects

# The server tries a conflicting deletion this often, that many seconds of the world apart: 9.97 s in all.
TRIES = 20
PAUSE = 9.97 / (TRIES - 1)
MAX_DISRUPTED_PODS = 2000
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
API_VERSIONS = (None, "policy/v1", "policy/v1beta1")


class Evictions:
    """Decides on evictions. Holds the store's lock while it decides, never while it waits."""

    def __init__(self, registry: Registry, clock: Clock):
        self._registry = registry
        self._clock = clock

    def evict(self, namespace: str, name: str, body: Any, dry_run: bool = False) -> dict[str, Any]:
        """Evict a pod, or say why not: ApiError 400, 403, 404, 409, 429 or 500. Success is 201 with a Status."""
        options = self._read(namespace, name, body)
        dry_run = dry_run or "All" in (options.get("dryRun") or [])
        if not self._evict_without_budget(namespace, name, options, dry_run):
            with self._registry.store.lock:
                self._evict_within_budget(namespace, name, options, dry_run)
        return success(201)

    def _read(self, namespace: str, name: str, body: Any) -> dict[str, Any]:
        """The DeleteOptions of a well-formed Eviction for this pod, in a namespace that is not going away."""
        if not isinstance(body, dict) or body.get("apiVersion") not in API_VERSIONS:
            raise bad_request('no kind "Eviction" is registered for that version of the policy API')
        self._registry.check_namespace(PODS, namespace, name)
        if dig(body, "metadata.name") != name:
            raise bad_request("name in URL does not match name in Eviction object")
        return body.get("deleteOptions") or {}

    def _evict_without_budget(self, namespace: str, name: str, options: dict[str, Any], dry_run: bool) -> bool:
        """Finished, pending and terminating pods just go. False when the pod is none of these.

        A conflict is tried again, although a wrong UID never becomes right: hence the ten seconds.
        """
        tries = 1 if dig(options, "preconditions.resourceVersion") else TRIES
        while True:
            tries -= 1
            with self._registry.store.lock:
                pod = self._registry.get(PODS, namespace, name).object
                if not ignores_budget(pod):
                    return False
                try:
                    self._delete(pod, options, dry_run)
                    return True
                except ApiError as error:
                    if error.code != 409 or tries <= 0:
                        raise
            self._sleep(PAUSE)

    def _evict_within_budget(self, namespace: str, name: str, options: dict[str, Any], dry_run: bool) -> None:
        pod = self._registry.get(PODS, namespace, name).object
        budgets = self._budgets_of(pod)
        if len(budgets) > 1:
            raise ApiError(500, "", SEVERAL)
        if budgets and not spares_budget(pod, budgets[0]):
            check_budget(budgets[0])
            if not dry_run:
                # Spent before the preconditions are looked at: with a wrong UID it stays spent.
                self._spend(budgets[0], name)
        self._delete(pod, options, dry_run)

    def _budgets_of(self, pod: dict[str, Any]) -> list[dict[str, Any]]:
        namespace = pod["metadata"]["namespace"]
        budgets = (stored.object for stored in self._registry.store.all(POD_DISRUPTION_BUDGETS, namespace))
        return [budget for budget in budgets if selects(dig(budget, "spec.selector"), pod)]

    def _spend(self, budget: dict[str, Any], pod_name: str) -> None:
        def spent(item: dict[str, Any]) -> dict[str, Any]:
            status = item["status"]
            status["disruptionsAllowed"] -= 1
            status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod_name: self._clock.timestamp()}
            for condition in status.get("conditions") or []:
                if condition["type"] == "DisruptionAllowed" and status["disruptionsAllowed"] == 0:
                    condition.update(status="False", reason="InsufficientPods")
            return item

        metadata = budget["metadata"]
        self._registry.update(
            POD_DISRUPTION_BUDGETS, metadata["namespace"], metadata["name"], spent, subresource="status"
        )

    def _delete(self, pod: dict[str, Any], options: dict[str, Any], dry_run: bool) -> None:
        """Put the condition DisruptionTarget on the pod, then delete it with the caller's options."""
        check_preconditions(PODS, pod, options)
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if not dry_run:
            self._registry.update(PODS, namespace, name, self._with_condition, subresource="status")
        # The condition has made a new version: the precondition on the old one has been checked already.
        wanted = {key: value for key, value in (options.get("preconditions") or {}).items() if key == "uid"}
        self._registry.delete(PODS, namespace, name, {**options, "preconditions": wanted}, dry_run)

    def _with_condition(self, pod: dict[str, Any]) -> dict[str, Any]:
        conditions = dig(pod, "status.conditions") or []
        present = any(c["type"] == "DisruptionTarget" and c["status"] == "True" for c in conditions)
        if not present:
            target = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
                "lastTransitionTime": self._clock.timestamp(),
            }
            others = [c for c in conditions if c["type"] != "DisruptionTarget"]
            pod.setdefault("status", {})["conditions"] = [*others, target]
        return pod

    def _sleep(self, world_seconds: float) -> None:
        """In pieces, since a test may push the world's clock ahead."""
        until = self._clock.now() + world_seconds
        while (left := until - self._clock.now()) > 0:
            time.sleep(min(0.05, self._clock.real(left)))


def ignores_budget(pod: dict[str, Any]) -> bool:
    """Evicting such a pod disrupts nothing (any more)."""
    return dig(pod, "status.phase") in (*FINISHED, "Pending") or is_terminating(pod)


def is_ready(pod: dict[str, Any]) -> bool:
    """The condition Ready is True."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in dig(pod, "status.conditions") or [])


def spares_budget(pod: dict[str, Any], budget: dict[str, Any]) -> bool:
    """An unready pod may go without touching the budget: by policy, or when enough others are healthy."""
    if is_ready(pod):
        return False
    if dig(budget, "spec.unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    healthy, desired = dig(budget, "status.currentHealthy", 0), dig(budget, "status.desiredHealthy", 0)
    return healthy >= desired > 0


def check_budget(budget: dict[str, Any]) -> None:
    """The budget allows one more disruption; ApiError 429 or 403 with the reason otherwise."""
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    prefix = f"The disruption budget {name}"
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 1):
        raise too_many_requests(REFUSED, f"{prefix} is still being processed by the server.", retry_after=10)
    if status.get("disruptionsAllowed", 0) < 0:
        raise forbidden(POD_DISRUPTION_BUDGETS, name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or {}) > MAX_DISRUPTED_PODS:
        text = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise forbidden(POD_DISRUPTION_BUDGETS, name, text)
    if status.get("disruptionsAllowed", 0) == 0:
        raise too_many_requests(REFUSED, f"{prefix} {_why_exhausted(status)}")


def _why_exhausted(status: dict[str, Any]) -> str:
    conditions = status.get("conditions") or []
    allowed = next((c for c in conditions if c["type"] == "DisruptionAllowed"), {})
    if allowed.get("status") == "False" and allowed.get("reason") == "SyncFailed" and allowed.get("message"):
        return f"does not allow evicting pods currently because it failed sync: {allowed['message']}"
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if healthy <= desired:
        return f"needs {desired} healthy pods and has {healthy} currently"
    return "does not allow evicting pods currently"
