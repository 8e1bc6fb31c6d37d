# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what explains why pods do not leave: one list of budgets and one of pods a namespace, however many are blocked.

Without the verb C(list) on C(poddisruptionbudgets.policy), or while the API is in trouble, it says less.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.drain import answers
from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import (
    Budget,
    Labelled,
    budget_from,
    budgets_of,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.case import Blocked, Picture
from ansible_collections.evergreen.eks.plugins.module_utils.drain.diagnosis import Diagnosis, diagnose
from ansible_collections.evergreen.eks.plugins.module_utils.drain.health import PodHealth, health_from
from ansible_collections.evergreen.eks.plugins.module_utils.drain.impossible import (
    ImpossibleBudget,
    impossible_budgets,
)
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node, node_from
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Clock

BUDGETS = "/apis/policy/v1/poddisruptionbudgets"
BUDGETS_OF_NAMESPACE = "/apis/policy/v1/namespaces/{}/poddisruptionbudgets"
PODS = "/api/v1/pods"
PODS_OF_NAMESPACE = "/api/v1/namespaces/{}/pods"
NODES = "/api/v1/nodes"
BY_BUDGET = (answers.BUDGET, answers.SEVERAL_BUDGETS)


class Explainer:
    """Explains with what it may read. What it must not read it does not ask for again."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client
        self._forbidden: set[str] = set()
        self._silent = False  # the API did not answer in this look: it is not asked about the other namespaces

    def explain(self, blocked: Sequence[Blocked]) -> list[Diagnosis]:
        """The diagnosis of each, in this order. Reads only where a budget is in the way, and the nodes, in one list,
        only where pods of such a namespace are not Ready."""
        self._silent = False
        namespaces = sorted({one.pod.namespace for one in blocked if one.reason in BY_BUDGET})
        budgets = {name: self._list(BUDGETS_OF_NAMESPACE.format(name), budget_from) for name in namespaces}
        pods = {name: self._pods(name) for name in namespaces if budgets[name]}
        nodes = self._nodes(pods.values())
        pictures = {name: Picture(budgets[name], pods.get(name), nodes) for name in namespaces}
        return [diagnose(one, pictures.get(one.pod.namespace, Picture())) for one in blocked]

    def impossible_budgets(self) -> list[ImpossibleBudget] | None:
        """The budgets of the whole cluster that can never be met; None when they cannot be read.

        One list of budgets and, where there are any, one of pods, of which little is kept."""
        self._silent = False
        budgets = self._list(BUDGETS, budget_from)
        pods = self._list(PODS, health_from) if budgets else []
        return None if budgets is None or pods is None else impossible_budgets(budgets, pods)

    def _pods(self, namespace: str) -> list[PodHealth] | None:
        return self._list(PODS_OF_NAMESPACE.format(namespace), health_from)

    def _nodes(self, pods: Iterable[list[PodHealth] | None]) -> Mapping[str, Node] | None:
        if not any(pod.trouble and pod.node_name for listed in pods for pod in listed or ()):
            return None
        nodes = self._list(NODES, node_from)
        return None if nodes is None else {node.name: node for node in nodes}

    def _list(self, path: str, keep: Callable[[dict[str, Any]], Any]) -> list[Any] | None:
        if path in self._forbidden or self._silent:
            return None
        try:
            items, _version = self._client.list(path, keep=keep)
        except (AwsError, KubernetesError) as error:
            if isinstance(error, KubernetesError) and error.status == 403:
                self._forbidden.add(path)
            self._silent = error.transient
            return None
        return items


class NamespaceBudgets:
    """The budgets over single pods, for those who cannot wait for a watch. Safe for threads: a namespace is listed when
    it is first asked for, and again where its list is older than a look."""

    def __init__(self, client: KubernetesClient, clock: Clock, poll_seconds: float) -> None:
        self._client, self._clock, self._poll_seconds = client, clock, poll_seconds
        self._lock = threading.Lock()
        self._lists: dict[str, tuple[float, list[Budget] | None]] = {}

    def over(self, pod: Labelled) -> list[Budget] | None:
        """The budgets that select the pod; None where nobody lets us see them. Raises KubernetesError for what passes,
        and AwsError."""
        with self._lock:
            read_at, budgets = self._lists.get(pod.namespace, (float("-inf"), None))
            now = self._clock.now()
            if now - read_at > self._poll_seconds:
                budgets = self._list(pod.namespace)
                self._lists[pod.namespace] = now, budgets
        return None if budgets is None else budgets_of(pod, budgets)

    def _list(self, namespace: str) -> list[Budget] | None:
        try:
            items, _version = self._client.list(BUDGETS_OF_NAMESPACE.format(namespace), keep=budget_from)
        except KubernetesError as error:
            if error.transient:
                raise
            return None
        return items
