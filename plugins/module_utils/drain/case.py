# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a pod that does not leave: gathered here, judged in C(diagnosis), told in C(remedies). Pure.

Whatever could not be read is None, and less is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from ansible_collections.evergreen.eks.plugins.module_utils.drain import answers, completion
from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import Budget, alike, budgets_of
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
PROTECTED = completion.PROTECTED  # by an annotation of its own
COMPLETING = completion.COMPLETING  # it is to complete first
NOT_COMPLETED = completion.NOT_COMPLETED
NOT_ITS_TURN = "not_its_turn"  # pods of an earlier wave of this node are still there
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
    PROTECTED,
    COMPLETING,
    NOT_COMPLETED,
    NOT_ITS_TURN,
    KEEPS_RETURNING,
    BELOW_FLOOR,
    NOT_SENT,
)
KINDS = (*BUDGET_KINDS, *STOPPING_KINDS, *PLAIN_KINDS, UNKNOWN)

# What passes by itself, mostly, and says nothing about the pod.
PASSING_KINDS = (RATE_LIMITED, API_ERROR, CONFLICT, NOT_SENT)

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


class Picture:
    """What was read of one namespace, and of the nodes by name; None is what could not be read.

    Hundreds of pods may be blocked by one budget: which pods it covers is found out once."""

    def __init__(
        self,
        budgets: Sequence[Budget] | None = None,
        pods: Sequence[PodHealth] | None = None,
        nodes: Mapping[str, Node] | None = None,
    ) -> None:
        self.budgets, self.nodes = budgets, nodes
        self._alike = None if pods is None else alike(pods)
        self._covered: dict[tuple[str, ...], tuple[PodHealth, ...]] = {}
        self._unready: dict[tuple[str, ...], dict[str, Unready]] = {}

    def covered(self, budgets: tuple[Budget, ...]) -> tuple[PodHealth, ...] | None:
        """The pods that any of these budgets selects."""
        if self._alike is None:
            return None
        names = tuple(budget.name for budget in budgets)
        if names not in self._covered:
            found = (pods for pods in self._alike if any(budget.covers(pods[0]) for budget in budgets))
            self._covered[names] = tuple(chain.from_iterable(found))
        return self._covered[names]

    def unready(self, budgets: tuple[Budget, ...]) -> Mapping[str, Unready]:
        """Those of them that are not healthy, by UID, the worst first."""
        names = tuple(budget.name for budget in budgets)
        if names not in self._unready:
            judged = {pod.uid: self._judged(pod) for pod in self.covered(budgets) or ()}
            sick = [(uid, one) for uid, one in judged.items() if one is not None]
            self._unready[names] = dict(sorted(sick, key=lambda item: (TROUBLES.index(item[1].reason), item[1].pod)))
        return self._unready[names]

    def _judged(self, pod: PodHealth) -> Unready | None:
        node = (self.nodes or {}).get(pod.node_name)
        reason, message = trouble_on(pod, node, nodes_known=self.nodes is not None)
        if not reason:
            return None
        return Unready(str(pod), pod.node_name, reason, message, pod.since, node.instance_id if node else "")


@dataclass(frozen=True)
class Case:
    """All that is known of one blocked pod. ``covered``: the pods that its budgets select, itself among them, None when
    pods could not be listed; those of them that are not healthy are ``itself`` and, the worst first, ``unready``."""

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


def study(blocked: Blocked, picture: Picture) -> Case:
    """Pick what concerns this pod from all that was read."""
    pod, nodes, controller = blocked.pod, picture.nodes, blocked.pod.controller
    budgets = tuple(budgets_of(pod, picture.budgets or ()))
    unready = dict(picture.unready(budgets))
    return Case(
        blocked=blocked,
        budgets=budgets,
        covered=picture.covered(budgets),
        itself=unready.pop(pod.uid, None),
        unready=tuple(unready.values()),
        owner=owner_of(pod.namespace, controller.kind, controller.name, pod.labels) if controller else None,
        node=blocked.node if nodes is None else nodes.get(pod.node_name),
        node_gone=nodes is not None and pod.node_name not in nodes,
    )
