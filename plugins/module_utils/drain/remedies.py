# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words of a diagnosis: what is the matter, with numbers, and what an operator would do, with names. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Callable

from ansible_collections.evergreen.eks.plugins.module_utils.drain import case as kinds
from ansible_collections.evergreen.eks.plugins.module_utils.drain import health
from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import ALWAYS_ALLOW, Amount, Budget
from ansible_collections.evergreen.eks.plugins.module_utils.drain.case import Case, Unready
from ansible_collections.evergreen.eks.plugins.module_utils.drain.health import PodHealth
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import DRAIN_TIMEOUT
from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.moments import TIMESTAMP

# DeletionTimeout of pkg/controller/disruption: an eviction without deletion is forgotten after so many seconds.
DISRUPTED_POD_SECONDS = 120
LINE = 160  # characters
WEBHOOK = re.compile(r'admission webhook "([^"]+)"')
ADMISSION_POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']+)'")


def explain(kind: str, case: Case) -> tuple[str, str]:
    """Cause and remedy, each one sentence without its full stop."""
    if kind in kinds.BUDGET_KINDS and not case.budgets:
        return _unread_budget(case)
    if kind in TEXTS:
        cause, remedy = TEXTS[kind](case)
    else:
        cause, remedy = explain_standing(kind, case.budgets, case.covered)
    return cause.rstrip("."), remedy


def fitted(heads: Sequence[str], kind: str, cause: str, remedy: str) -> str:
    """One line for the journal and the screen, with the first of these heads for which there is room. The cause is cut
    before the remedy is, and is the mere word where little of it would be left."""
    head = next((one for one in heads if len(one) + len(cause) + len(remedy) + 4 <= LINE), heads[-1])
    room = LINE - len(head) - len(remedy) - 4
    cause = _clipped(cause, room) if room >= LINE // 4 else kind.replace("_", " ")
    return _clipped(f"{head}: {cause}; {remedy}", LINE)


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


# --- budgets ---------------------------------------------------------------------------------------------------------


def loosen(budget: Budget, covered: Iterable[PodHealth] | None) -> str:
    """How a budget that can never be met is made one that can: more replicas, or a lower demand."""
    limit = f"set {budget.setting} of budget {budget} to {_lower_demand(budget)}"
    replicas = replicas_needed(budget)
    owners = {pod.owner for pod in covered or () if not pod.finished}
    owner = owners.pop() if len(owners) == 1 else None
    if replicas is None or owner is None or not owner.scalable:
        return limit
    return f"scale {owner} to {replicas} replicas, or {limit}"


def replicas_needed(budget: Budget) -> int | None:
    """With how many replicas the budget would allow one disruption; None when with none, or with absurdly many."""
    if budget.max_unavailable is not None or budget.min_available is None:
        return None
    for replicas in range(budget.expected_pods + 1, 2 * budget.expected_pods + 2):
        if scaled(budget.min_available, replicas) < replicas:
            return replicas
    return None


def scaled(amount: Amount, replicas: int) -> int:
    """So many pods are meant; percentages are rounded up, those of maxUnavailable, too (disruption.go)."""
    if isinstance(amount, int):
        return amount
    return math.ceil(int(amount.rstrip("%")) * replicas / 100)


def recount(budget: Budget, covered: Iterable[PodHealth] | None) -> str:
    """How a budget that cannot count its pods' controllers counts pods instead."""
    if not budget.counts_replicas:
        return f"see the condition DisruptionAllowed of budget {budget}"
    pods = sum(not pod.finished for pod in covered or ())
    number = f"{pods - 1}" if pods else "a number"
    return f"give budget {budget} minAvailable {number} instead of {budget.limit}: a number needs no controllers"


def explain_standing(kind: str, budgets: Sequence[Budget], covered: Iterable[PodHealth] | None) -> tuple[str, str]:
    """Cause and remedy of what can never be met: the kinds of C(impossible)."""
    budget = budgets[0]
    if kind == kinds.SEVERAL_BUDGETS:
        names = ", ".join(map(str, budgets))
        return (
            f"budgets {names} select the same pod, which the eviction API does not support",
            f"delete all but one of {names}, or narrow their selectors",
        )
    if kind == kinds.SYNC_FAILED:
        return f"budget {budget} cannot be computed: {budget.condition_message}", recount(budget, covered)
    if kind == kinds.PERCENT_WITHOUT_CONTROLLER:
        cause = f"budget {budget} ({budget.limit}) counts replicas of pods without a controller"
        return cause, recount(budget, covered)
    keeps = "its only pod" if budget.expected_pods == 1 else f"all its {budget.expected_pods} pods"
    return f"budget {budget} ({budget.limit}) keeps {keeps} for ever", loosen(budget, covered)


def _lower_demand(budget: Budget) -> int:
    return 1 if budget.max_unavailable is not None else max(0, budget.expected_pods - 1)


def _numbers(budget: Budget) -> str:
    limit = f" ({budget.limit})" if budget.limit else ""
    has = f"has {budget.current_healthy} of {budget.expected_pods}"
    return f"budget {budget}{limit} needs {counted(budget.desired_healthy, 'healthy pod')} and {has}"


def _exhausted(case: Case) -> tuple[str, str]:
    budget = case.budget
    if budget.disruptions_allowed > 0:
        cause = f"budget {budget} ({budget.limit}) allows {budget.disruptions_allowed} now, others were first"
        return cause, "wait, it is tried again"
    cause = _numbers(budget)
    if case.itself or case.unready:
        sick = (*case.unready, *([case.itself] if case.itself else []))
        # Were it well it would not be let go either, but one that is not Ready can be set free by the policy.
        guarded = case.itself and budget.unhealthy_policy != ALWAYS_ALLOW
        policy = f", or set unhealthyPodEvictionPolicy of budget {budget} to AlwaysAllow" if guarded else ""
        return f"{cause}; not Ready: {_short(sick)}", f"{_mend(sick[0])}{policy}"
    present = sum(not pod.finished for pod in case.covered or ())
    if case.covered is not None and present < budget.expected_pods:
        owner = case.owner or "their controller"
        return f"{cause}; only {present} exist", f"see why {owner} has not all its pods (kubectl describe)"
    return cause, "wait, it is tried again"


def _all_unready(case: Case) -> tuple[str, str]:
    budget = case.budget
    cause = f"none of the {budget.expected_pods} pods of budget {budget} is healthy, and it guards unready pods, too"
    sick = case.itself or next(iter(case.unready), None)
    if sick:
        cause += f"; {sick.message}"
    policy = f"set unhealthyPodEvictionPolicy of budget {budget} to AlwaysAllow"
    return cause, f"{_mend(sick)}, or {policy}" if sick else policy


def _burned(case: Case) -> tuple[str, str]:
    budget, names = case.budget, case.burned or tuple(case.budget.disrupted_pods)
    granted = "an eviction that was" if len(names) == 1 else f"{len(names)} evictions that were"
    cause = f"budget {budget} ({budget.limit}) still counts {granted} granted and never happened: {_first(names)}"
    until = when_forgotten(budget.disrupted_pods[name] for name in names)
    return cause, f"wait until {until}, then it is forgotten" if until else "wait two minutes, then it is forgotten"


def when_forgotten(granted: Iterable[str]) -> str:
    """When the first of these entries of disruptedPods falls; empty where none can be read."""
    try:
        first = min(datetime.strptime(at, TIMESTAMP) for at in granted)
    except ValueError:
        return ""
    return (first + timedelta(seconds=DISRUPTED_POD_SECONDS)).strftime(TIMESTAMP)


def _stale(case: Case) -> tuple[str, str]:
    return (
        f"budget {case.budget} has been changed, and the disruption controller has not looked at it since",
        "wait; if it lasts, the cluster's controller manager is in trouble",
    )


def _unread_budget(case: Case) -> tuple[str, str]:
    """The budget may not be read, or has gone since: its own words are all there is."""
    pod, name = case.blocked.pod, case.blocked.budget
    where = f"poddisruptionbudget {name.replace(', ', ' ')}" if name else "poddisruptionbudgets"
    return case.blocked.message.rstrip("."), f"see kubectl describe {where} -n {pod.namespace}"


def _mend(sick: Unready) -> str:
    """What would make this pod healthy."""
    if sick.reason == health.NODE_NOT_READY:
        instance = f"its instance {sick.instance_id}" if sick.instance_id else "its instance"
        return f"bring node {sick.node} back, or terminate {instance}, for {sick.pod}"
    if sick.reason == health.UNSCHEDULABLE:
        return f"make room for {sick.pod}"
    if sick.reason == health.STARTING:
        return f"wait for {sick.pod}, which is starting"
    if sick.reason == health.STOPPING:
        return f"wait for {sick.pod}, which is stopping"
    return f"mend {sick.pod}"


def _short(unready: tuple[Unready, ...]) -> str:
    """The worst of them in words, and how many more there are."""
    worst, more = unready[0], len(unready) - 1
    return f"{worst.pod} ({worst.message.rstrip('.')})" + (f" and {more} more" if more else "")


def _first(names: Sequence[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


# --- the rest --------------------------------------------------------------------------------------------------------


def _stopping(case: Case) -> tuple[str, str]:
    return f"it was asked to stop, and has {case.blocked.pod.grace_seconds} s for that", "wait"


def _finalizer(case: Case) -> tuple[str, str]:
    pod = case.blocked.pod
    return (
        f"it has stopped or should have, and its finalizers hold it: {', '.join(pod.finalizers)}",
        f"see why their controller does not take them off pod {pod}",
    )


def _kubelet_silent(case: Case) -> tuple[str, str]:
    pod, node = case.blocked.pod, case.node
    if case.node_gone or node is None:
        return (
            f"it was asked to stop, and its node {pod.node_name} is gone",
            "wait, the pod garbage collector removes it within a minute",
        )
    instance = f"instance {node.instance_id}" if node.instance_id else f"node {node.name}"
    return (
        f"it was asked to stop, and nobody can tell whether it did: Ready of {node.name} is {node.ready}",
        f"bring the node back, or terminate {instance}",
    )


def _not_stopping(case: Case) -> tuple[str, str]:
    pod = case.blocked.pod
    return (
        f"it was asked to stop, its {pod.grace_seconds} s are over, and its Ready node has not ended it",
        f"see kubectl describe pod {pod.name} -n {pod.namespace}, and the kubelet's log on {pod.node_name}",
    )


def _webhook(case: Case) -> tuple[str, str]:
    policy, named = ADMISSION_POLICY.search(case.blocked.message), WEBHOOK.search(case.blocked.message)
    if policy:
        return case.blocked.message, f"see kubectl describe validatingadmissionpolicy {policy.group(1)}"
    return case.blocked.message, f"ask whoever runs the webhook {named.group(1) if named else ''}".rstrip()


def _namespace(case: Case) -> tuple[str, str]:
    namespace = case.blocked.pod.namespace
    return (
        f"namespace {namespace} is being deleted, and with it the pod, in a while",
        f"wait; if it lasts, see what holds it: kubectl describe namespace {namespace}",
    )


def _keeps_returning(case: Case) -> tuple[str, str]:
    owner = case.owner or "its controller"
    return case.blocked.message, f"scale {owner} down, or take away its toleration of cordoned nodes or its nodeName"


def _plain(remedy: str) -> Callable[[Case], tuple[str, str]]:
    """The server's own words, or the drain's, with a remedy that is always the same."""

    def text(case: Case) -> tuple[str, str]:
        return case.blocked.message, remedy

    return text


TEXTS: dict[str, Callable[[Case], tuple[str, str]]] = {
    kinds.EXHAUSTED: _exhausted,
    kinds.ALL_UNREADY: _all_unready,
    kinds.STALE: _stale,
    kinds.BURNED: _burned,
    kinds.WEBHOOK_DENIED: _webhook,
    kinds.NAMESPACE_TERMINATING: _namespace,
    kinds.RATE_LIMITED: _plain("wait, it is tried again; if it lasts, see who floods the API server"),
    kinds.API_ERROR: _plain("wait, it is tried again; if it lasts, see the state of the control plane"),
    kinds.CONFLICT: _plain("wait, the pod is looked at and tried again"),
    kinds.REJECTED: _plain("see what the API server says, and grant or mend it"),
    kinds.STOPPING: _stopping,
    kinds.FINALIZER: _finalizer,
    kinds.KUBELET_SILENT: _kubelet_silent,
    kinds.NOT_STOPPING: _not_stopping,
    kinds.UNMANAGED: lambda case: (
        case.blocked.message,
        f"set evict_unmanaged, or delete pod {case.blocked.pod} yourself",
    ),
    kinds.LOCAL_STORAGE: lambda case: (
        case.blocked.message,
        f"set delete_emptydir_data, or save its data and delete pod {case.blocked.pod} yourself",
    ),
    kinds.PROTECTED: lambda case: (
        case.blocked.message,
        f"take the annotation off pod {case.blocked.pod}, or set protected_pods to wait or evict",
    ),
    kinds.COMPLETING: _plain("wait, it is to complete by itself"),
    kinds.NOT_COMPLETED: lambda case: (
        case.blocked.message,
        f"give pod {case.blocked.pod} more time ({DRAIN_TIMEOUT}), or set wait_for_completion.then to evict",
    ),
    kinds.NOT_ITS_TURN: _plain("wait for those before it, or set order_timeout"),
    kinds.KEEPS_RETURNING: _keeps_returning,
    kinds.BELOW_FLOOR: _plain("wait until enough nodes of the group are Ready, or see why they are not"),
    kinds.NOT_SENT: _plain("run again, it goes on from here"),
    kinds.UNKNOWN: _plain("see kubectl describe pod, and what else says no"),
}
