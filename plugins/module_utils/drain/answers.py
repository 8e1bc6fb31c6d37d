# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the answer to an eviction means. Pure: the server's decision table, read from the client's side."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesError

# What to do next with the pod.
ACCEPTED = "accepted"  # it is on its way out: wait
GONE = "gone"  # there is no such pod any more
RETRY = "retry"  # look again, then try again
PERMANENT = "permanent"  # no attempt will ever succeed; the other pods are still drained
FATAL = "fatal"  # no attempt for any pod will succeed: stop

# Why a pod has not left; the words of C(blocked[].reason) that come from an answer.
BUDGET = "budget"
SEVERAL_BUDGETS = "several_budgets"
NAMESPACE_TERMINATING = "namespace_terminating"
WEBHOOK_DENIED = "webhook_denied"
REJECTED = "rejected"
CONFLICT = "conflict"
RATE_LIMITED = "rate_limited"
API_ERROR = "api_error"

ADMISSION_POLICY = "forbidden: ValidatingAdmissionPolicy '"
BUDGET_NAME = re.compile(r"The disruption budget (\S+) ")


@dataclass(frozen=True)
class Answer:
    """What the server decided on one eviction."""

    next: str
    reason: str = ""
    message: str = ""
    budget: str = ""
    pause: float | None = None  # seconds that the server asked for
    everybody: bool = False  # the pause concerns every request, not only this pod


def read_answer(error: KubernetesError | None) -> Answer:
    """The meaning of an eviction's answer; None stands for success (201)."""
    if error is None:
        return Answer(ACCEPTED)
    if error.status == 404:
        return Answer(GONE)
    if error.status == 429:
        return _too_many(error)
    if error.status == 403:
        return _forbidden(error)
    if error.status == 409:
        # Another UID has this name now, or the pod changed under the server's hands: the next look tells.
        return Answer(RETRY, CONFLICT, error.text)
    if error.status == 500 and "more than one PodDisruptionBudget" in error.text:
        return Answer(PERMANENT, SEVERAL_BUDGETS, error.text)
    if denied_by_admission(error):
        return Answer(RETRY, WEBHOOK_DENIED, error.text)
    if error.transient:
        # 5xx, no answer, a lost connection: the eviction may have been done or not.
        return Answer(RETRY, API_ERROR, error.text, pause=error.retry_after)
    if error.status == 401:
        return Answer(FATAL, REJECTED, error.text)
    return Answer(RETRY, REJECTED, error.text)


def _too_many(error: KubernetesError) -> Answer:
    """A budget says no (it names its cause), or the server's flow control does (it names none)."""
    causes = error.budget_causes
    if causes:
        name = BUDGET_NAME.search(causes[0] + " ")
        # A budget that is "still being processed" asks for 10 s; our own pauses are about that long.
        return Answer(RETRY, BUDGET, "; ".join(causes), budget=name.group(1) if name else "")
    if denied_by_admission(error):
        # Admission may choose any status; it speaks of this pod only.
        return Answer(RETRY, WEBHOOK_DENIED, error.text)
    return Answer(RETRY, RATE_LIMITED, error.text, pause=error.retry_after, everybody=True)


def _forbidden(error: KubernetesError) -> Answer:
    if any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes):
        # The namespace controller deletes the pod itself, seconds later.
        return Answer(RETRY, NAMESPACE_TERMINATING, error.text)
    if denied_by_admission(error):
        return Answer(RETRY, WEBHOOK_DENIED, error.text)
    if 'cannot create resource "pods/eviction"' in error.text or "system:anonymous" in error.text:
        return Answer(FATAL, REJECTED, error.text)
    # "DisruptedPods map too big", "pdb disruptions allowed is negative": the budget is out of order for a while.
    budget = re.search(r'poddisruptionbudgets?\.policy "([^"]+)"', error.text)
    if budget:
        return Answer(RETRY, BUDGET, error.text, budget=budget.group(1))
    return Answer(FATAL, REJECTED, error.text)


def denied_by_admission(error: KubernetesError) -> bool:
    """Whether a webhook or a ValidatingAdmissionPolicy says no (plugin/policy/validating/dispatcher.go), by its words:
    the status is theirs to choose."""
    return error.text.startswith("admission webhook ") or ADMISSION_POLICY in error.text
