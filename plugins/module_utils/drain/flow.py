# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How evictions flow: never more at a time than the API server, a node and each disruption budget can bear. No I/O.

Whoever asks in vain costs the server a decision and gains nothing: two hundred pods under a budget that lets one go
would ask it thousands of times. So the budgets are watched, and a ledger is kept of what each of them still grants:
what its status said last, less what was sent since. Who finds nothing left waits for the budget's next status. The
ledger may be wrong (a status that is on its way, others who evict, too), so now and then it is put to the test: that
costs one eviction a budget, not one a pod.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from ansible_collections.evergreen.eks.plugins.module_utils.drain import answers
from ansible_collections.evergreen.eks.plugins.module_utils.drain.answers import Answer
from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import Budget, budgets_of
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod

EVICTIONS_AT_ONCE = 32
EVICTIONS_AT_ONCE_ON_A_NODE = 8
# In looks (poll_seconds). After so many without news a budget that grants nothing is asked all the same.
PROBE_LOOKS = 12


class Leaving(Protocol):
    """A pod that is to leave."""

    @property
    def pod(self) -> Pod: ...


class Lane(Protocol):
    """Where evictions come from: a node in hand."""

    def wake(self) -> None:
        """Come again at once: there may be something to send now."""


AnyLeaving = TypeVar("AnyLeaving", bound=Leaving)


@dataclass
class Account:
    """What one budget still grants. ``claims``: by pod, when its eviction was accepted, infinity while it is under way;
    a claim ends when a status shows it, or after a look: an eviction may also be none of the budget's business."""

    budget: Budget
    probe_at: float
    claims: dict[str, float] = field(default_factory=dict)
    shut_until: float = 0.0  # it has refused what the ledger granted
    refusals: int = 0
    waiting: dict[Lane, None] = field(default_factory=dict)

    def room(self, now: float, look: float) -> int:
        """How many evictions may be sent now."""
        for pod_name in [name for name, accepted in self.claims.items() if now >= accepted + look]:
            del self.claims[pod_name]
        if now < self.shut_until:
            return 0
        granted = self.budget.grants - len(self.claims)
        return granted if granted > 0 else int(now >= self.probe_at and not self.claims)

    def explain(self) -> str:
        """Why there is no room."""
        if self.budget.grants and self.claims:
            count = len(self.claims)
            return f"The disruption budget {self.budget.name} grants no more than the {count} that are on their way out"
        return self.budget.refusal


class Ledger:
    """What the disruption budgets grant, by namespace and name; nothing where they may not be read."""

    def __init__(self, poll_seconds: float) -> None:
        self._look = poll_seconds
        self._accounts: dict[str, dict[str, Account]] = {}
        self._covering: dict[tuple[str, frozenset[tuple[str, str]]], list[Account]] = {}

    def see_all(self, budgets: Iterable[Budget], now: float) -> list[Lane]:
        """All budgets of the cluster, as of now; answers who need not wait any more."""
        budgets = list(budgets)
        present = {(budget.namespace, budget.name) for budget in budgets}
        gone = [key for key in self._keys() if key not in present]
        woken = [lane for budget in budgets for lane in self.see(budget, now)]
        return woken + [lane for key in gone for lane in self.see_gone(*key)]

    def see(self, budget: Budget, now: float) -> list[Lane]:
        """One budget as it is now."""
        accounts = self._accounts.setdefault(budget.namespace, {})
        account = accounts.get(budget.name)
        if account is None or account.budget.selector != budget.selector:
            self._covering.clear()
        if account is None:
            account = accounts[budget.name] = Account(budget, now + self._probe_pause)
        elif account.budget != budget:
            account.budget, account.probe_at = budget, now + self._probe_pause
            account.shut_until, account.refusals = 0.0, 0
        for pod_name in set(account.claims).intersection(budget.disrupted_pods):
            del account.claims[pod_name]
        return self._next(account, account.room(now, self._look))

    def see_gone(self, namespace: str, name: str) -> list[Lane]:
        """A budget is not there any more."""
        account = self._accounts.get(namespace, {}).pop(name, None)
        self._covering.clear()
        return list(account.waiting) if account else []

    def forget(self) -> list[Lane]:
        """The budgets cannot be read (any more): the server alone knows what they grant."""
        woken = [lane for key in self._keys() for lane in self.see_gone(*key)]
        self._accounts.clear()
        return woken

    def refusal(self, pod: Pod, lane: Lane, now: float) -> Answer | None:
        """Why the eviction of this pod would be refused now, and ``lane`` has to wait; None when it may be sent.

        With several budgets it is sent: no waiting helps, and the server says so."""
        account = self._account(pod)
        if account is None or account.budget.spares(pod) or account.room(now, self._look) > 0:
            return None
        account.waiting[lane] = None
        return Answer(answers.RETRY, answers.BUDGET, account.explain(), budget=account.budget.name)

    def sent(self, pod: Pod, now: float) -> None:
        """Its eviction is under way."""
        account = self._account(pod)
        if account is not None and not account.budget.spares(pod):
            account.claims[pod.name] = math.inf
            account.probe_at = now + self._probe_pause

    def answered(self, pod: Pod, answer: Answer, now: float) -> None:
        """What the server said; an answer that was lost may have been a yes."""
        granted = answer.next == answers.ACCEPTED or answer.reason == answers.API_ERROR
        # The budget that it was sent under; it may be covered by another one, or by more, since.
        for claims in (account.claims for account in self._accounts.get(pod.namespace, {}).values()):
            if pod.name in claims and granted:
                claims[pod.name] = now
            elif pod.name in claims:
                del claims[pod.name]
        account = self._account(pod)
        if account is not None and answer.reason == answers.BUDGET:
            account.shut_until = now + min(2**account.refusals, PROBE_LOOKS) * self._look
            account.refusals += 1

    def leave(self, lane: Lane) -> None:
        """It has nothing to send any more."""
        for accounts in self._accounts.values():
            for account in accounts.values():
                account.waiting.pop(lane, None)

    @property
    def _probe_pause(self) -> float:
        return PROBE_LOOKS * self._look

    def _keys(self) -> list[tuple[str, str]]:
        return [(namespace, name) for namespace, accounts in self._accounts.items() for name in accounts]

    def _account(self, pod: Pod) -> Account | None:
        """That of the one budget that covers the pod."""
        key = (pod.namespace, frozenset(pod.labels.items()))
        if key not in self._covering:
            accounts = self._accounts.get(pod.namespace, {})
            budgets = budgets_of(pod, (account.budget for account in accounts.values()))
            self._covering[key] = [accounts[budget.name] for budget in budgets]
        covering = self._covering[key]
        return covering[0] if len(covering) == 1 else None

    @staticmethod
    def _next(account: Account, count: int) -> list[Lane]:
        """Who has waited longest, as many as there is room for."""
        woken = list(account.waiting)[:count]
        for lane in woken:
            del account.waiting[lane]
        return woken


class Flow(Generic[AnyLeaving]):
    """Says which of the evictions that are due may be sent now, and wakes who has to wait when there is room again."""

    def __init__(self, poll_seconds: float) -> None:
        self.ledger = Ledger(poll_seconds)
        self._poll_seconds = poll_seconds
        self._under_way: dict[Lane, int] = {}
        self._starved: deque[Lane] = deque()  # have evictions to send, and wait for a place
        self.held_until = 0.0  # the server's flow control has asked everybody to wait

    def admit(
        self, lane: Lane, due: Sequence[AnyLeaving], now: float, allowed: Callable[[], bool] = lambda: True
    ) -> tuple[list[AnyLeaving], list[tuple[AnyLeaving, Answer]]]:
        """Those that are to be sent now, which count as sent from here on; and those that a budget does not let go.

        Whether anything is ``allowed`` at all is only asked where something could be sent: it costs a look."""
        places = EVICTIONS_AT_ONCE - sum(self._under_way.values())
        own = EVICTIONS_AT_ONCE_ON_A_NODE - self._under_way.get(lane, 0)
        sent: list[AnyLeaving] = []
        refused: list[tuple[AnyLeaving, Answer]] = []
        if now < self.held_until:
            return sent, refused
        for one in due:
            refusal = self.ledger.refusal(one.pod, lane, now)
            if refusal is not None:
                refused.append((one, refusal))
            elif not allowed():
                break
            elif len(sent) < min(places, own):
                self.ledger.sent(one.pod, now)
                sent.append(one)
            elif len(sent) < own and lane not in self._starved:
                self._starved.append(lane)
        self._under_way[lane] = self._under_way.get(lane, 0) + len(sent)
        return sent, refused

    def answered(self, lane: Lane, pod: Pod, answer: Answer, now: float) -> None:
        """One has come back."""
        self._under_way[lane] -= 1
        self.ledger.answered(pod, answer, now)
        if answer.everybody:
            self.held_until = max(self.held_until, now + (answer.pause or self._poll_seconds))
        lane.wake()
        if self._starved:
            self._starved.popleft().wake()

    def leave(self, lane: Lane) -> None:
        """Nothing more will come from there."""
        self.ledger.leave(lane)
        if lane in self._starved:
            self._starved.remove(lane)
