# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check mode: what a drain would do now, and what is in its way now. The server is asked with dryRun=All."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain import answers
from ansible_collections.evergreen.eks.plugins.module_utils.drain.answers import read_answer
from ansible_collections.evergreen.eks.plugins.module_utils.drain.engine import evict, name_budgets
from ansible_collections.evergreen.eks.plugins.module_utils.drain.explain import Explainer, NamespaceBudgets
from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import WAIT
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import Departure, NodeDrain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.plan import NOT_CORDONED, REFUSED, Plan, Request
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

DRY_RUN = "dry_run"
AT_ONCE = 8
TRIES = 3


def rehearse(request: Request, plan: Plan, client: KubernetesClient, call: Call) -> dict[str, dict[str, Any]]:
    """The result of each node as the drain would have it: ``evicted`` are the pods that would be evicted, ``blocked``
    those that could not be evicted right now, ``drained`` says whether nothing forbids the drain of this node for good.

    Every eviction is asked as if it were the only one, so a budget that allows one may be named by none."""
    now, timestamp = call.clock.now(), call.clock.timestamp()
    budgets = NamespaceBudgets(client, call.clock, request.poll_seconds)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for drain in plan.drains:
            # The pods of a node that is refused are not asked for: none of them would be evicted.
            asked = [] if drain.refused else drain.due(now, in_order=False)
            for departure in asked:
                drain.sent(departure)
            tries = pool.map(lambda one: ask(client, one.pod, request, call), asked)
            for departure, error in zip(asked, tries):
                answer = name_budgets(budgets, departure.pod, read_answer(error))
                if answer.next == answers.FATAL and error is not None:
                    raise error
                drain.answered(departure, answer, now, timestamp)
    explain_obstacles(plan, client, now, timestamp)
    return {**{drain.node.name: _entry(drain, timestamp) for drain in plan.drains}, **plan.missing}


def ask(client: KubernetesClient, pod: Pod, request: Request, call: Call) -> KubernetesError | None:
    """The server's answer to a dry run: None when the eviction would be accepted.

    It changes nothing, so it is asked again, a few times, of a server in trouble."""
    for attempt in range(TRIES):
        if attempt:
            call.clock.sleep(request.poll_seconds)
        error = evict(client, pod, request.grace_period, dry_run=True)
        if error is None or read_answer(error).reason not in (answers.API_ERROR, answers.RATE_LIMITED):
            break
    return error


def explain_obstacles(plan: Plan, client: KubernetesClient, now: float, timestamp: str) -> None:
    """Diagnose whoever could not be evicted right now, all of them in one look."""
    found = [(drain, departure) for drain in plan.drains for departure in in_the_way(drain)]
    blocked = [departure.blocked(timestamp, drain.node, now) for drain, departure in found]
    for (_drain, departure), diagnosis in zip(found, Explainer(client.briefly).explain(blocked)):
        departure.learn(diagnosis)


def in_the_way(drain: NodeDrain) -> list[Departure]:
    """Who forbids the drain; else who cannot be evicted right now. By name."""
    departures = sorted(drain.departures.values(), key=lambda departure: str(departure.pod))
    refused = sorted(drain.refused, key=lambda departure: str(departure.pod))
    return refused or [one for one in departures if not one.accepted and one.verdict.action != WAIT]


def _entry(drain: NodeDrain, timestamp: str) -> dict[str, Any]:
    departures = sorted(drain.departures.values(), key=lambda departure: str(departure.pod))
    reason = REFUSED if drain.refused else DRY_RUN if drain.node.unschedulable else NOT_CORDONED
    return {
        **drain.result(timestamp),
        "evicted": [str(departure.pod) for departure in departures if departure.accepted],
        "blocked": [departure.record(timestamp) for departure in in_the_way(drain)],
        "drained": not any(departure.hopeless for departure in departures),
        "reason": reason,
        "message": "",
        "seconds": 0.0,
    }
