# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a pod that does not leave: gathered here, judged in C(diagnosis), told in C(remedies). Pure.

Whatever could not be read is None, and less is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.evergreen.eks.plugins.module_utils.drain import answers
from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import Budget, budgets_of
from ansible_collections.evergreen.eks.plugins.module_utils.drain.health import (
    TROUBLES,
    Owner,
    PodHealth,
    owner_of,
    trouble_on,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node

# A budget says no.
EXHAUSTED = "exhausted"  # too few of its pods are healthy now
IMPOSSIBLE = "impossible"  # with all of them healthy it would say no all the same
ALL_UNREADY = "all_unready"  # none is healthy, and it guards those that are not, too
PERCENT_WITHOUT_CONTROLLER = "percent_without_controller"  # it counts replicas, and its pods have no controller
SYNC_FAILED = "sync_failed"  # its numbers cannot be computed
SEVERAL_BUDGETS = answers.SEVERAL_BUDGETS
STALE = "stale"  # its status is of a former spec
BURNED = "burned"  # it counts evictions that were granted and never happened
# Something else does.
WEBHOOK_DENIED = answers.WEBHOOK_DENIED
NAMESPACE_TERMINATING = answers.NAMESPACE_TERMINATING
RATE_LIMITED = answers.RATE_LIMITED
API_ERROR = answers.API_ERROR
CONFLICT = answers.CONFLICT
REJECTED = answers.REJECTED
# It was asked to stop.
STOPPING = "stopping"  # and has time left
FINALIZER = "finalizer"  # its time is over, and somebody holds the object
KUBELET_SILENT = "kubelet_silent"  # on a node that is not Ready: nobody there tells whether it has
NOT_STOPPING = "not_stopping"  # its time is over, on a Ready node, and nobody holds it
# We do not ask.
UNMANAGED = "unmanaged"
LOCAL_STORAGE = "local_storage"
KEEPS_RETURNING = "keeps_returning"
BELOW_FLOOR = "below_floor"
NOT_SENT = "not_sent"
UNKNOWN = "unknown"

BUDGET_KINDS = (
    SEVERAL_BUDGETS,
    SYNC_FAILED,
    STALE,
    PERCENT_WITHOUT_CONTROLLER,
    ALL_UNREADY,
    IMPOSSIBLE,
    BURNED,
    EXHAUSTED,
)
STOPPING_KINDS = (STOPPING, FINALIZER, KUBELET_SILENT, NOT_STOPPING)
# The kinds that are also words of C(blocked[].reason).
PLAIN_KINDS = (
    WEBHOOK_DENIED,
    NAMESPACE_TERMINATING,
    RATE_LIMITED,
    API_ERROR,
    CONFLICT,
    REJECTED,
    UNMANAGED,
    LOCAL_STORAGE,
    KEEPS_RETURNING,
    BELOW_FLOOR,
    NOT_SENT,
)
KINDS = (*BUDGET_KINDS, *STOPPING_KINDS, *PLAIN_KINDS, UNKNOWN)

TERMINATING = "terminating"  # the word of C(blocked[].reason) for STOPPING_KINDS


@dataclass(frozen=True)
class Blocked:
    """A pod that is in the way, as the drain knows it. ``reason``, ``message``, ``budget``: of C(blocked[]) in the
    result; ``node``: as last seen; ``overdue``: it was asked to stop, and its grace is over."""

    pod: Pod
    reason: str
    message: str = ""
    budget: str = ""
    since: str = ""
    node: Node | None = None
    overdue: bool = False


@dataclass(frozen=True)
class Unready:
    """A pod that eats of a budget by not being healthy. ``reason`` is one of health.TROUBLES."""

    pod: str
    node: str
    reason: str
    message: str
    since: str
    instance_id: str = ""

    def record(self) -> dict[str, str]:
        return {
            "pod": self.pod,
            "node": self.node,
            "reason": self.reason,
            "message": self.message,
            "since": self.since,
        }


@dataclass(frozen=True)
class Case:
    """All that is known of one blocked pod. ``covered``: the pods that its budgets select, itself among them, None when
    pods could not be listed; ``itself`` and the others of ``unready`` are judged together with their nodes."""

    blocked: Blocked
    budgets: tuple[Budget, ...] = ()
    covered: tuple[PodHealth, ...] | None = None
    itself: Unready | None = None
    unready: tuple[Unready, ...] = ()
    owner: Owner | None = None
    node: Node | None = None
    node_gone: bool = False

    @property
    def budget(self) -> Budget:
        return self.budgets[0]

    @property
    def burned(self) -> tuple[str, ...]:
        """The pods that are there, well, and counted as evicted."""
        granted = self.budget.disrupted_pods
        return tuple(sorted(pod.name for pod in self.covered or () if pod.ready and pod.name in granted))


def study(
    blocked: Blocked,
    budgets: Sequence[Budget] | None,
    pods: Sequence[PodHealth] | None,
    nodes: Mapping[str, Node] | None,
) -> Case:
    """Pick what concerns this pod from all that was read."""
    pod = blocked.pod
    mine = tuple(budgets_of(pod, budgets or ()))
    covered = None
    if pods is not None and mine:
        covered = tuple(item for item in pods if any(budget.covers(item) for budget in mine))
    judged = {item.uid: found for item in covered or () if (found := _unready(item, nodes)) is not None}
    itself = judged.pop(pod.uid, None)
    controller = pod.controller
    return Case(
        blocked=blocked,
        budgets=mine,
        covered=covered,
        itself=itself,
        unready=tuple(sorted(judged.values(), key=lambda one: (TROUBLES.index(one.reason), one.pod))),
        owner=owner_of(pod.namespace, controller.kind, controller.name, pod.labels) if controller else None,
        node=blocked.node if nodes is None else nodes.get(pod.node_name),
        node_gone=nodes is not None and pod.node_name not in nodes,
    )


def _unready(pod: PodHealth, nodes: Mapping[str, Node] | None) -> Unready | None:
    """What keeps this pod from being healthy; None when nothing does."""
    node = (nodes or {}).get(pod.node_name)
    reason, message = trouble_on(pod, node, nodes_known=nodes is not None)
    if not reason:
        return None
    instance_id = node.instance_id if node else ""
    return Unready(str(pod), pod.node_name, reason, message, pod.since, instance_id)
