# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a pod does not leave: one word, the numbers, who else is part of it, and what an operator would do. Pure.

What is decided here is in what order the rules of the eviction API (table 1.1 of the research: eviction.go) can have
said no, seen from outside: from the server's answer, the budgets, the pods and the nodes. Whatever could not be read is
None, and less is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain import answers
from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import ALWAYS_ALLOW, Budget
from ansible_collections.evergreen.eks.plugins.module_utils.drain.case import (
    ALL_UNREADY,
    BUDGET_KINDS,
    BURNED,
    EXHAUSTED,
    FINALIZER,
    IMPOSSIBLE,
    KUBELET_SILENT,
    NOT_STOPPING,
    PERCENT_WITHOUT_CONTROLLER,
    PLAIN_KINDS,
    SEVERAL_BUDGETS,
    STALE,
    STOPPING,
    SYNC_FAILED,
    TERMINATING,
    UNKNOWN,
    Blocked,
    Case,
    Picture,
    Unready,
    study,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.health import PodHealth
from ansible_collections.evergreen.eks.plugins.module_utils.drain.remedies import explain, fitted

UNREADY_NAMED = 5
MAX_DISRUPTED_PODS = 2000  # with more the eviction API says no, whatever the budget allows (rule 9)


@dataclass(frozen=True)
class Diagnosis:
    """Why one pod does not leave. ``kind`` is one of KINDS; ``cause`` and ``remedy`` are for a person."""

    kind: str
    reason: str  # of C(blocked[]): with another one it is out of date
    pod: str
    node: str
    owner: str
    since: str
    cause: str
    remedy: str
    budgets: tuple[Budget, ...] = ()
    unready: tuple[Unready, ...] = ()

    def record(self) -> dict[str, Any]:
        """What it adds to the entry of C(blocked) in the result."""
        return {
            "class": self.kind,
            "node": self.node,
            "owner": self.owner,
            "cause": self.cause,
            "remedy": self.remedy,
            "budgets": [budget.record() for budget in self.budgets],
            "unready": [unready.record() for unready in self.unready[:UNREADY_NAMED]],
            "unready_total": len(self.unready),
        }

    def line(self, others: int = 0) -> str:
        """One line of at most 160 characters, for the journal and the screen; ``others`` are blocked by the same."""
        if others:
            return fitted((f"{self.pod} and {others} more",), self.kind, self.cause, self.remedy)
        where = f" on {self.node.split('.')[0]}" if self.node else ""
        return fitted((f"{self.pod}{where}", self.pod), self.kind, self.cause, self.remedy)


def diagnose(blocked: Blocked, picture: Picture) -> Diagnosis:
    """The diagnosis of one pod, from what was read of its namespace."""
    case = study(blocked, picture)
    kind = kind_of(case)
    cause, remedy = explain(kind, case)
    return Diagnosis(
        kind=kind,
        reason=blocked.reason,
        pod=str(blocked.pod),
        node=blocked.pod.node_name,
        owner=str(case.owner or ""),
        since=blocked.since,
        cause=cause,
        remedy=remedy,
        budgets=case.budgets if kind in BUDGET_KINDS else (),
        unready=case.unready if kind in BUDGET_KINDS else (),
    )


def kind_of(case: Case) -> str:
    """The one word."""
    reason = case.blocked.reason
    if reason == TERMINATING:
        return _kind_of_stopping(case)
    if reason == SEVERAL_BUDGETS:
        return SEVERAL_BUDGETS
    if reason == answers.BUDGET:
        return budget_kind(case) if case.budgets else kind_by_words(case)
    return reason if reason in PLAIN_KINDS else UNKNOWN


def budget_kind(case: Case) -> str:
    """Which of the ways to say no the budget chose.

    Not in the order of eviction.go: a budget that cannot be computed is answered as "still being processed", since its
    observedGeneration never catches up, and its condition tells better.
    """
    budget = case.budget
    if len(case.budgets) > 1:
        return SEVERAL_BUDGETS
    kind = standing_kind(budget, case.covered)
    if kind == SYNC_FAILED or (kind == PERCENT_WITHOUT_CONTROLLER and not budget.stale):
        return kind
    if budget.stale:
        return STALE
    # Only pods that are not healthy meet this: with minAvailable 0 they are guarded for ever (rule 7 asks for more
    # than 0), with more for as long as no other is healthy. Before IMPOSSIBLE, whose remedy would not help them.
    well = case.covered is not None and case.itself is None
    if budget.current_healthy == 0 and not well and budget.unhealthy_policy != ALWAYS_ALLOW:
        return ALL_UNREADY
    if kind:
        return kind
    if len(budget.disrupted_pods) > MAX_DISRUPTED_PODS:
        return BURNED
    if case.burned and budget.current_healthy + len(case.burned) > budget.desired_healthy:
        return BURNED
    return EXHAUSTED


def standing_kind(budget: Budget, covered: Iterable[PodHealth] | None) -> str:
    """Why the budget can never allow anything, whoever is healthy; empty when it can."""
    if budget.sync_failed:
        return SYNC_FAILED
    if budget.counts_replicas and budget.expected_pods == 0:
        # Also when its controllers are scaled to 0: then its pods are about to be deleted.
        uncontrolled = covered is None or all(pod.owner is None for pod in covered)
        return PERCENT_WITHOUT_CONTROLLER if uncontrolled else ""
    return IMPOSSIBLE if budget.unsatisfiable else ""


def kind_by_words(case: Case) -> str:
    """The kind where budgets may not be read, or this one has gone since: by what the server says (eviction.go)."""
    words = case.blocked.message
    if "failed sync" in words:
        return SYNC_FAILED
    if "still being processed" in words:
        return STALE
    if "map too big" in words:
        return BURNED
    if "has 0 currently" in words:
        return ALL_UNREADY
    if "does not allow evicting" in words and case.blocked.pod.controller is None:
        return PERCENT_WITHOUT_CONTROLLER
    return EXHAUSTED


def _kind_of_stopping(case: Case) -> str:
    if case.node_gone or (case.node is not None and not case.node.is_ready):
        return KUBELET_SILENT
    if not case.blocked.overdue:
        return STOPPING
    return FINALIZER if case.blocked.pod.finalizers else NOT_STOPPING
