# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disruption controller: keeps the status of every PodDisruptionBudget."""

from __future__ import annotations

from collections import defaultdict

from simulator.kubernetes.controllers.budget_arithmetic import CannotCount, Scale, status_after
from simulator.kubernetes.controllers.cache import Event
from simulator.kubernetes.controllers.controller import Controller
from simulator.kubernetes.controllers.objects import (
    Key,
    Object,
    controller_of,
    key_of,
    labels_of,
    seconds_of,
    status_of,
    uid_of,
    with_condition,
)
from simulator.kubernetes.resources import BY_KIND, Resource
from simulator.kubernetes.selectors import Predicate, object_selector

SCALABLE = ("ReplicaSet", "Deployment", "StatefulSet")


class DisruptionController(Controller):
    """Knows at all times which pods each budget covers, so that a change costs only the budgets it concerns."""

    author = "disruption-controller"
    watches = ("poddisruptionbudgets", "pods", "replicasets", "deployments", "statefulsets")

    def start(self) -> None:
        self._selectors: dict[str, dict[Key, tuple[Object | None, Predicate]]] = defaultdict(dict)  # by namespace
        self._pods: dict[Key, set[Key]] = {}  # budget -> the pods it covers
        self._budgets: dict[Key, set[Key]] = defaultdict(set)  # pod -> the budgets that cover it

    def observe(self, event: Event) -> None:
        namespace, _unused = key = key_of(event.object)
        if event.resource == "poddisruptionbudgets":
            self._observe_budget(key, event)
        elif event.resource == "pods":
            self._observe_pod(key, event)
        elif event.kind != "MODIFIED" or event.old is None or _replicas(event.old) != _replicas(event.object):
            for budget in self._selectors[namespace]:
                self.enqueue(budget)

    def _observe_budget(self, key: Key, event: Event) -> None:
        selector = event.object["spec"].get("selector")
        known = self._selectors[key[0]].get(key)
        if event.kind == "DELETED" or known is None or known[0] != selector:
            for pod in self._pods.pop(key, ()):
                self._budgets[pod].discard(key)
            self._selectors[key[0]].pop(key, None)
        if event.kind == "DELETED":
            return
        if key not in self._pods:
            self._pods[key] = set()
            self._selectors[key[0]][key] = (selector, object_selector(selector))
            for pod in self.cache.namespaced("pods", key[0]):
                self._cover(key_of(pod), pod)
        self.enqueue(key)

    def _observe_pod(self, key: Key, event: Event) -> None:
        before = self._budgets.get(key, set())
        for budget in before:
            self.enqueue(budget)
        if event.kind == "DELETED":
            for budget in before:
                self._pods[budget].discard(key)
            self._budgets.pop(key, None)
        elif event.old is None or labels_of(event.old) != labels_of(event.object):
            self._cover(key, event.object)

    def _cover(self, key: Key, pod: Object) -> None:
        """Find out which budgets cover the pod."""
        labels = labels_of(pod)
        for budget, (_unused, selects) in self._selectors[key[0]].items():
            if selects(labels):
                self._pods[budget].add(key)
                self._budgets[key].add(budget)
                self.enqueue(budget)
            else:
                self._pods[budget].discard(key)
                self._budgets[key].discard(budget)

    def reconcile(self, key: Key) -> None:
        budget = self.cache.get("poddisruptionbudgets", *key)
        if budget is None:
            return
        pods = [pod for name in self._pods[key] if (pod := self.cache.get("pods", *name)) is not None]
        timeout = self.timings.disrupted_pod_timeout
        try:
            status = status_after(budget, pods, self._scale, self.clock.now(), timeout)
        except CannotCount as problem:
            self._fail_safe(budget, str(problem))
            return
        for granted in status["disruptedPods"].values():
            self.agenda.put(key, seconds_of(granted) + timeout + 1)
        allowed = ("True", "SufficientPods") if status["disruptionsAllowed"] > 0 else ("False", "InsufficientPods")
        self._write(budget, status, *allowed)

    def _fail_safe(self, budget: Object, message: str) -> None:
        """Nothing may be disrupted. observedGeneration stays behind, so that evictions are told «still processing»."""
        blocked = {
            "currentHealthy": 0,
            "desiredHealthy": 0,
            "expectedPods": 0,
            **{name: value for name, value in status_of(budget).items() if name != "conditions"},
            "disruptionsAllowed": 0,
        }
        self._write(budget, blocked, "False", "SyncFailed", message)

    def _write(self, budget: Object, status: Object, allowed: str, reason: str, message: str = "") -> None:
        conditions = with_condition(budget, self.clock.timestamp(), "DisruptionAllowed", allowed, reason, message)
        generation = {"observedGeneration": status.get("observedGeneration", 0)}
        conditions = [{**item, **generation} if item["type"] == "DisruptionAllowed" else item for item in conditions]
        if not status.get("disruptedPods"):
            status.pop("disruptedPods", None)
        status = {**status, "conditions": conditions}
        if status == status_of(budget):
            return
        # The whole object, because a merge patch would keep the names that are to leave disruptedPods.
        self.replace_status("poddisruptionbudgets", {**budget, "status": status})

    def _scale(self, reference: Object, pod: Object) -> Scale:
        """What stands behind a pod's controller reference: the Deployment rather than its ReplicaSet."""
        namespace = pod["metadata"]["namespace"]
        resource = BY_KIND.get((reference["apiVersion"], reference["kind"]))
        if resource is None:
            raise CannotCount(f'no matches for kind "{reference["kind"]}" in version "{reference["apiVersion"]}"')
        if resource.kind not in SCALABLE:
            raise CannotCount(f"{resource.qualified} does not implement the scale subresource")
        owner = self._owner(resource, namespace, reference)
        if owner is None:
            raise CannotCount(f'found no controllers for pod "{pod["metadata"]["name"]}"')
        above = controller_of(owner)
        if resource.kind == "ReplicaSet" and above is not None and above["kind"] == "Deployment":
            deployment = self._owner(BY_KIND[("apps/v1", "Deployment")], namespace, above)
            if deployment is not None:
                return Scale(uid_of(deployment), _replicas(deployment))
        return Scale(uid_of(owner), _replicas(owner))

    def _owner(self, resource: Resource, namespace: str, reference: Object) -> Object | None:
        owner = self.cache.get(resource.plural, namespace, reference["name"])
        return owner if owner is not None and uid_of(owner) == reference["uid"] else None


def _replicas(workload: Object) -> int:
    return workload["spec"].get("replicas", 1)
