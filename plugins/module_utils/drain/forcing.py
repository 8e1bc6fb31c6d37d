# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes one step of an escalation for one pod: looks at the budgets, says so in the journal, and deletes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain.answers import denied_by_admission
from ansible_collections.evergreen.eks.plugins.module_utils.drain.escalation import (
    DELETE,
    DELETE_GRACE_1,
    FORCE,
    Step,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.explain import NamespaceBudgets
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.marks import decide_taken_in_hand, settle
from ansible_collections.evergreen.eks.plugins.module_utils.moments import parse_timestamp
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node, read_node_marks
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

# The events of the journal; the second takes the first back.
FORCED, NOT_FORCED = "pod_forced", "pod_not_forced"
# What came of it.
TAKEN, SPARED, TROUBLED = "taken", "spared", "troubled"

NOT_FOUND, CONFLICT, FLOW_CONTROL = 404, 409, 429
IN_WORDS = {
    DELETE: "deleted",
    DELETE_GRACE_1: "deleted with 1 s to stop",
    FORCE: "deleted without waiting for it to stop",
}


@dataclass(frozen=True)
class Outcome:
    """What came of a step for a pod, why in words, and the entry of C(forced) in the result where it was taken, or may
    have been: of a request whose answer was lost nobody knows."""

    kind: str
    message: str = ""
    record: dict[str, Any] | None = None


class Forcer:
    """Safe for threads."""

    def __init__(
        self, client: KubernetesClient, call: Call, grace_period: int | None, budgets: NamespaceBudgets
    ) -> None:
        self._client, self._call = client, call
        self._grace_period, self._budgets = grace_period, budgets
        self._perhaps: set[tuple[str, str]] = set()  # UID and action of requests whose answer was lost

    def take(self, pod: Pod, step: Step) -> Outcome:
        """Take this step for this pod. Raises KubernetesError for what no other attempt would get done either."""
        try:
            over = self._budgets.over(pod)
        except KubernetesError as error:
            return Outcome(TROUBLED, error.message)
        budgets = None if over is None else [str(budget) for budget in over]
        if not step.overrules and budgets != []:
            which = "its budgets cannot be read" if budgets is None else f"budget {', '.join(budgets)} selects it"
            return Outcome(SPARED, f"{which}, and this step does not overrule budgets")
        record = {"pod": str(pod), "uid": pod.uid, "action": step.action, "after": step.after, "budgets": budgets or []}
        overruled = f", overruling budget {', '.join(budgets)}" if budgets else ""
        text = f"{pod} is {IN_WORDS[step.action]}, as written for {step.after} s{overruled}"
        # Before the deed: nobody is forced without a trace, whenever we are killed.
        self._call.journal.write(FORCED, text=text, node=pod.node_name, **record)
        outcome = self._delete(pod, step, record)
        if outcome.record is None:
            text = f"{pod} was not {IN_WORDS[step.action]}: {outcome.message}"
            self._call.journal.write(NOT_FORCED, text=text, node=pod.node_name, **record)
        return outcome

    def _delete(self, pod: Pod, step: Step, record: dict[str, Any]) -> Outcome:
        """The pod of this UID: another one of its name is not meant."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.uid}}
        grace = self._grace_period if step.grace_period is None else step.grace_period
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        attempt = pod.uid, step.action
        try:
            self._client.delete(pod.path, options)
        except KubernetesError as error:
            if error.status in (NOT_FOUND, CONFLICT):  # with CONFLICT another pod has its name by now
                by_us = attempt in self._perhaps
                return Outcome(TAKEN, record=record) if by_us else Outcome(SPARED, "it had gone by itself")
            if error.status == FLOW_CONTROL:
                return Outcome(TROUBLED, error.message)
            if error.transient:
                self._perhaps.add(attempt)
                return Outcome(TROUBLED, error.message, record)
            if denied_by_admission(error):
                return Outcome(SPARED, error.text)
            raise
        return Outcome(TAKEN, record=record)


def seconds_in_hand(client: KubernetesClient, node: Node) -> float | None:
    """For how long the node has been in the hands of a drain, by the API server's clock, also of one that was killed.

    It is written on the Node, with our marks; one without marks does not tell, and is left as it is (None). Needs the
    verb patch on nodes. Raises KubernetesError.
    """
    now = client.time.timestamp()
    change = settle(client, node, lambda fresh: decide_taken_in_hand(fresh, now), check_mode=False)
    began = parse_timestamp(now if change.changed else read_node_marks(change.node).drained_since)
    return None if began is None else max(0.0, -client.time.seconds_until(began))
