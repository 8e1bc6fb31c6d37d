# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The budgets of the whole cluster that can never be met, found before anything is touched. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain import remedies
from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import ALWAYS_ALLOW, Budget, alike, budgets_of
from ansible_collections.evergreen.eks.plugins.module_utils.drain.case import (
    SEVERAL_BUDGETS,
    SYNC_FAILED,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.diagnosis import standing_kind
from ansible_collections.evergreen.eks.plugins.module_utils.drain.health import PodHealth
from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted


@dataclass(frozen=True)
class ImpossibleBudget:
    """One budget, or several over the same pods, and the pods that no drain will get past it. ``kind`` is that of
    a diagnosis; ``nodes`` are those that cannot be emptied."""

    kind: str
    budgets: tuple[Budget, ...]
    owners: tuple[str, ...]
    pods: tuple[str, ...]
    nodes: tuple[str, ...]
    cause: str
    remedy: str

    def record(self) -> dict[str, Any]:
        return {
            "class": self.kind,
            "budgets": [budget.record() for budget in self.budgets],
            "owners": list(self.owners),
            "pods": list(self.pods),
            "nodes": list(self.nodes),
            "cause": self.cause,
            "remedy": self.remedy,
        }

    @property
    def line(self) -> str:
        """One line of at most 160 characters, for the journal and the screen."""
        pinned = f"{counted(len(self.pods), 'pod')} on {counted(len(self.nodes), 'node')} cannot leave"
        return remedies.fitted((pinned,), self.kind, self.cause, self.remedy)


def impossible_budgets(budgets: Iterable[Budget], pods: Iterable[PodHealth]) -> list[ImpossibleBudget]:
    """What can never be met, by namespace and name. A budget that pins no pod that a drain would evict is left out."""
    pods_of: dict[str, list[PodHealth]] = defaultdict(list)
    for pod in pods:
        pods_of[pod.namespace].append(pod)
    budgets_in: dict[str, list[Budget]] = defaultdict(list)
    for budget in budgets:
        budgets_in[budget.namespace].append(budget)
    found = [one for name, own in budgets_in.items() for one in _impossible_in_namespace(own, pods_of[name])]
    return sorted(found, key=lambda one: [str(budget) for budget in one.budgets])


def _impossible_in_namespace(budgets: list[Budget], pods: list[PodHealth]) -> list[ImpossibleBudget]:
    by_name = {budget.name: budget for budget in budgets}
    shared: dict[tuple[str, ...], list[PodHealth]] = defaultdict(list)  # names of budgets -> the pods under all of them
    for group in alike(pods):
        shared[tuple(budget.name for budget in budgets_of(group[0], budgets))].extend(group)
    found = []
    for names, under in shared.items():
        over = tuple(by_name[name] for name in names)
        pinned = [pod for pod in under if _pinned(pod, over)]
        if not pinned:
            continue
        covered = [pod for others, group in shared.items() if names[0] in others for pod in group]
        kind = SEVERAL_BUDGETS if len(over) > 1 else _kind(over[0], covered)
        if kind:
            found.append(_entry(kind, over, covered, pinned))
    return found


def _kind(budget: Budget, covered: list[PodHealth]) -> str:
    """The numbers of a status that is not of this spec say nothing, unless it is this spec that cannot be computed."""
    kind = standing_kind(budget, covered)
    return "" if budget.stale and kind != SYNC_FAILED else kind


def _pinned(pod: PodHealth, budgets: tuple[Budget, ...]) -> bool:
    """Whether a drain would have to evict this pod, and these budgets would be asked. More than one always are (rule 5
    comes before rule 6)."""
    if pod.stays or not pod.node_name or not pod.under_budget or not budgets:
        return False
    return pod.ready or len(budgets) > 1 or budgets[0].unhealthy_policy != ALWAYS_ALLOW


def _entry(kind: str, over: tuple[Budget, ...], covered: list[PodHealth], pinned: list[PodHealth]) -> ImpossibleBudget:
    cause, remedy = remedies.explain_standing(kind, over, covered)
    return ImpossibleBudget(
        kind=kind,
        budgets=over,
        owners=tuple(sorted({str(pod.owner) for pod in pinned if pod.owner})),
        pods=tuple(sorted(map(str, pinned))),
        nodes=tuple(sorted({pod.node_name for pod in pinned})),
        cause=cause,
        remedy=remedy,
    )
