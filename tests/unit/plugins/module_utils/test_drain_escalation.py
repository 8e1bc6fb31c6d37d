# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which step of an escalation is due for which pod, when a node may still be hoped for, and what a step does."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.drain.answers import Answer
from ansible_collections.evergreen.eks.plugins.module_utils.drain.escalation import (
    Ladder,
    normal_step,
    read_steps,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.explain import NamespaceBudgets
from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import EVICT, REFUSE, WAIT, Remark, Verdict
from ansible_collections.evergreen.eks.plugins.module_utils.drain.forcing import Forcer
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import PATIENCE_LOOKS, Departure
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.forced import read_forced
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import PATIENCE_POLLS, Call, Journal

POLL = 5.0
DELETE = {"after": "10m", "action": "delete"}
GRACE_1 = {"after": "20m", "action": "delete_grace_1"}
FORCE = {"after": "30m", "action": "force"}
BATCH = {"selector": "tier=batch"}
POD = Pod("shop", "web-1", "uid-1", "node-a", grace_seconds=30, labels={"tier": "batch", "app": "web"})
BUDGET = Answer("retry", "budget", "The disruption budget web needs 2", "web")
IN_TROUBLE = Answer("retry", "api_error", "connection reset")


def ladder(*steps: dict[str, Any]) -> Ladder:
    return Ladder(read_steps("escalate", steps), 0.0, POLL)


def refused(**changes: Any) -> Departure:
    """A pod whose eviction its budget has refused."""
    return Departure(POD, Verdict(EVICT), obstacle=BUDGET, attempts=1, **changes)


def stopping(since: float = 0.0, **changes: Any) -> Departure:
    """A pod that was asked to stop."""
    return Departure(replace(POD, terminating=True, **changes), Verdict(WAIT), terminating_since=since)


def actions(it: Ladder, departure: Departure, now: float) -> list[str]:
    return [step.action for _departure, step in it.due([departure], now)]


@pytest.mark.parametrize(
    ("on_timeout", "steps", "says"),
    [
        ("fail", [DELETE], "on_timeout is fail, so none of its steps would ever be taken"),
        ("carry", [DELETE], "on_timeout is carry"),
        ("escalate", [], "there is no escalation"),
        ("escalate", [FORCE], "forces '' after 1800 s without a delete before"),
        ("escalate", [{**DELETE, **BATCH}, FORCE], "without a delete before"),
        ("escalate", [{**DELETE, "after": "40m"}, FORCE], "without a delete before"),
        ("escalate", [{**DELETE, "after": "soon"}], "'soon' is not a duration"),
        ("escalate", [{**DELETE, "selector": "tier in batch"}], "label selector"),
    ],
)
def test_what_cannot_be_meant_is_refused(on_timeout: str, steps: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(InvalidInput, match="(?s)" + says.replace("(", r"\(")):
        read_steps(on_timeout, steps)


def test_steps_are_taken_in_the_order_of_their_times() -> None:
    steps = read_steps(
        "escalate", [FORCE, FORCE, {**DELETE, "after": 600}, {**GRACE_1, **BATCH, "budgets": "overrule"}]
    )
    assert [(step.after, step.action, step.overrules) for step in steps] == [
        (600, "delete", False),
        (1200, "delete_grace_1", True),
        (1800, "force", False),
    ]
    assert [step.grace_period for step in steps] == [None, 1, 0]


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"after": 0, "action": "delete"}, ""),
        ({"action": "delete"}, "a step lacks after"),
        ({"after": "", "action": "delete"}, "a step lacks after"),
        ({"after": "1m", "action": "kill"}, "action is one of delete, delete_grace_1, force, not kill"),
        ({"after": "1m", "action": "delete", "budgets": "ignore"}, "budgets is one of keep, overrule"),
        ({"after": "1m", "action": "delete", "label": "x"}, "a step has after, action, selector, budgets, not label"),
    ],
)
def test_a_step_as_a_variable(step: dict[str, Any], says: str) -> None:
    if says:
        with pytest.raises(InvalidInput, match=says):
            normal_step(step)
    else:
        assert normal_step(step) == {"after": "0", "action": "delete", "selector": "", "budgets": "keep"}


@pytest.mark.parametrize(
    ("departure", "now", "due"),
    [
        (refused(), 599, []),
        (refused(), 600, ["delete"]),
        (refused(), 1200, ["delete_grace_1"]),  # of two that are due the last
        (refused(), 1800, ["delete_grace_1"]),  # nobody is forced who was not asked to stop
        # Nobody has refused its eviction: it is being sent, was not sent, or the API is in trouble.
        (refused(sending=True), 1800, []),
        (replace(refused(), obstacle=None), 1800, []),
        (replace(refused(), obstacle=IN_TROUBLE), 1800, []),
        # It must not be evicted.
        (replace(refused(), verdict=Verdict(REFUSE, (Remark("local_storage", ""),))), 1800, []),
        # It was asked to stop: a delete would change nothing, 1 second would, force only once its time is over.
        (stopping(since=590), 600, []),
        (stopping(since=1170), 1200, ["delete_grace_1"]),
        (stopping(since=1170, grace_seconds=1), 1200, []),
        (stopping(since=1770), 1800, ["delete_grace_1"]),
        # Long after, because the run goes on, or its turn came late: it is given a moment all the same.
        (refused(blocked_at=9000), 9029, []),
        (refused(blocked_at=9000), 9030, ["delete_grace_1"]),
        (stopping(since=9000, grace_seconds=3600), 9029, []),
        (stopping(since=9000, grace_seconds=3600), 9030, ["delete_grace_1"]),
        # Somebody else has asked it to stop, and it is not for us to hurry it.
        (replace(stopping(), verdict=Verdict(WAIT, (Remark("completing", ""),))), 1800, []),
        (stopping(since=1765), 1800, ["force"]),
    ],
)
def test_which_step_is_due(departure: Departure, now: float, due: list[str]) -> None:
    assert actions(ladder(DELETE, GRACE_1, FORCE), departure, now) == due


def test_only_who_is_selected() -> None:
    other = replace(refused(), pod=replace(POD, uid="uid-2", labels={"app": "web"}))
    it = ladder({**DELETE, **BATCH})
    assert [departure.pod.uid for departure, _step in it.due([other, refused()], 600)] == [POD.uid]


def test_a_whole_climb() -> None:
    it, departure = ladder(DELETE, GRACE_1, FORCE), refused()
    ((_departure, delete),) = it.due([departure], 600)
    it.taken(departure, delete, 600)
    assert actions(it, departure, 601) == []  # it was accepted, and is not seen yet
    departure = replace(stopping(since=602), obstacle=None)
    assert actions(it, departure, 1199) == []
    ((_departure, sooner),) = it.due([departure], 1200)
    it.taken(departure, sooner, 1200)
    departure = stopping(since=602, grace_seconds=1)
    assert actions(it, departure, 1799) == []
    ((_departure, force),) = it.due([departure], 1800)
    it.taken(departure, force, 1800)
    assert actions(it, departure, 99999) == []


def test_who_goes_on_with_a_drain_does_not_begin_at_its_first_step() -> None:
    it = ladder(DELETE, GRACE_1)
    it.began = -1300
    assert actions(it, refused(), 0) == ["delete_grace_1"]


def test_who_is_spared_is_looked_at_again_and_a_gentler_step_may_still_be_taken() -> None:
    it, departure = ladder({**DELETE, "budgets": "overrule"}, GRACE_1), refused()
    ((_departure, step),) = it.due([departure], 1200)
    it.spared(departure, step, 1200)
    assert actions(it, departure, 1201) == ["delete"]
    assert actions(it, departure, 1230) == ["delete_grace_1"]


@pytest.mark.parametrize(
    ("departure", "now", "hope"),
    [
        (refused(), 599, True),  # a step is to come
        (refused(), 600, True),  # one is due
        (replace(refused(), verdict=Verdict(REFUSE)), 0, False),
        (replace(refused(), pod=replace(POD, labels={})), 0, False),
        (stopping(since=1795), 1800, True),  # its time is not over: then it is forced
        (refused(blocked_at=1799), 1800, True),  # its moment is not over
        (replace(stopping(), verdict=Verdict(WAIT, (Remark("protected", ""),))), 1800, False),
        (replace(refused(), obstacle=IN_TROUBLE), 1800, False),
    ],
)
def test_whether_there_is_hope(departure: Departure, now: float, hope: bool) -> None:
    assert ladder({**DELETE, **BATCH}, {**FORCE, **BATCH}).helps([departure], now) is hope


def test_hope_ends_some_looks_after_the_last_step() -> None:
    it, departure = ladder(DELETE), refused()
    ((_departure, step),) = it.due([departure], 600)
    it.taken(departure, step, 600)
    end = 600 + POD.grace_seconds + PATIENCE_LOOKS * POLL
    departure = stopping(since=601)
    assert it.helps([departure], end - 1) and not it.helps([departure], end)


def test_a_step_that_may_have_been_taken_is_given_its_time() -> None:
    it, departure = ladder(DELETE), refused()
    ((_departure, step),) = it.due([departure], 600)
    it.troubled(departure, step, 600, perhaps=True)
    assert it.helps([stopping(since=601)], 602)
    assert actions(it, departure, 610) == ["delete"]  # it had no effect: once more
    it = ladder(DELETE)
    it.troubled(departure, step, 600)
    assert not it.helps([stopping(since=601)], 602)  # it was somebody else


def test_hope_ends_where_a_budget_is_not_to_be_overruled_or_the_api_stays_in_trouble() -> None:
    it, departure = ladder(DELETE), refused()
    ((_departure, step),) = it.due([departure], 600)
    it.spared(departure, step, 600)
    assert not it.helps([departure], 601)

    it = ladder(DELETE)
    for attempt in range(PATIENCE_POLLS):
        now = 600 + attempt * POLL
        assert it.helps([departure], now) and actions(it, departure, now) == ["delete"]
        it.troubled(departure, step, now)
        assert actions(it, departure, now) == []
    assert not it.helps([departure], now)


# --- what a step does ------------------------------------------------------------------------------------------------


class Api:
    """A Kubernetes API with these budgets, whose answer to a DELETE is `error`."""

    def __init__(self, *budgets: Any, error: KubernetesError | None = None, unreadable: KubernetesError | None = None):
        self.budgets, self.error, self.unreadable = budgets, error, unreadable
        self.deleted: list[dict[str, Any]] = []
        self.lists = 0

    def list(self, path: str, keep: Any) -> tuple[list[Any], str]:
        assert path == "/apis/policy/v1/namespaces/shop/poddisruptionbudgets"
        self.lists += 1
        if self.unreadable:
            raise self.unreadable
        return list(map(keep, self.budgets)), "1"

    def delete(self, path: str, body: dict[str, Any]) -> None:
        assert path == POD.path
        self.deleted.append(body)
        if self.error:
            raise self.error


def budget(name: str = "web", app: str = "web") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": name, "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": app}}, "maxUnavailable": 0},
        "status": {},
    }


def error(status: int | None, text: str = "no", **rest: Any) -> KubernetesError:
    return KubernetesError(text, status=status, text=text, **rest)


def take(api: Api, tmp_path: Any, *steps: dict[str, Any]) -> tuple[list[Any], list[dict[str, Any]]]:
    """The outcomes of these steps for POD, and what the journal says of them."""
    journal = tmp_path / "journal.jsonl"
    clock = FakeClock()
    forcer = Forcer(api, Call(clock, Journal(str(journal), clock)), 60, NamespaceBudgets(api, clock, POLL))
    outcomes = [forcer.take(POD, step) for step in read_steps("escalate", steps)]
    return outcomes, [json.loads(line) for line in journal.read_text().splitlines()]


@pytest.mark.parametrize(
    ("api", "step", "kind"),
    [
        (Api(), {}, "taken"),
        (Api(budget(app="other")), {}, "taken"),
        (Api(budget()), {}, "spared"),
        (Api(budget()), {"budgets": "overrule"}, "taken"),
        (Api(unreadable=error(403)), {}, "spared"),
        (Api(unreadable=error(403)), {"budgets": "overrule"}, "taken"),
        (Api(unreadable=error(503)), {}, "troubled"),
        (Api(error=error(404)), {}, "spared"),
        (Api(error=error(409)), {}, "spared"),
        (Api(error=error(503)), {}, "troubled"),
        (Api(error=error(400, 'admission webhook "x" denied the request')), {}, "spared"),
        (Api(error=error(403, "forbidden: ValidatingAdmissionPolicy 'x' denied request: no")), {}, "spared"),
    ],
)
def test_what_comes_of_a_step(api: Api, step: dict[str, Any], kind: str, tmp_path: Any) -> None:
    (outcome,), _journal = take(api, tmp_path, {**DELETE, **step})
    assert outcome.kind == kind
    if kind != "troubled":
        assert bool(outcome.record) is (kind == "taken")


def test_a_pod_is_deleted_by_its_uid_and_the_journal_says_so_before(tmp_path: Any) -> None:
    api = Api(budget())
    (outcome, _second), journal = take(
        api, tmp_path, {**DELETE, "budgets": "overrule"}, {**GRACE_1, "budgets": "overrule"}
    )
    record = {"pod": "shop/web-1", "uid": "uid-1", "action": "delete", "after": 600, "budgets": ["shop/web"]}
    assert outcome.kind == "taken" and outcome.record == record
    assert [event["kind"] for event in journal] == 2 * ["pod_forced"]
    assert {key: journal[0][key] for key in record} == record
    assert journal[0]["text"] == "shop/web-1 is deleted, as written for 600 s, overruling budget shop/web"
    assert api.deleted[0]["preconditions"] == {"uid": "uid-1"} and api.deleted[0]["gracePeriodSeconds"] == 60
    assert api.deleted[1]["gracePeriodSeconds"] == 1
    assert api.lists == 1  # a look at the budgets serves for both


def test_a_missing_right_is_passed_on_as_it_is(tmp_path: Any) -> None:
    with pytest.raises(KubernetesError, match="cannot delete"):
        take(
            Api(error=error(403, 'pods "web-1" is forbidden: User "u" cannot delete resource "pods"')), tmp_path, DELETE
        )


@pytest.mark.parametrize(
    ("first", "second", "kinds", "listed"),
    [
        (error(429), None, ["troubled", "taken"], [False, True]),  # nothing was done yet
        # An answer that was lost may have been a yes; what is found then tells.
        (error(0), None, ["troubled", "taken"], [True, True]),
        (error(503), error(404), ["troubled", "taken"], [True, True]),
        (error(504), error(409), ["troubled", "taken"], [True, True]),
        (error(429), error(404), ["troubled", "spared"], [False, False]),
    ],
)
def test_a_pod_whose_answer_was_lost_counts_as_forced(first, second, kinds, listed, tmp_path: Any) -> None:
    journal, clock, api = tmp_path / "journal.jsonl", FakeClock(), Api()
    forcer = Forcer(api, Call(clock, Journal(str(journal), clock)), None, NamespaceBudgets(api, clock, POLL))
    (step,) = read_steps("escalate", [DELETE])
    outcomes = []
    for api.error in (first, second):
        outcomes.append(forcer.take(POD, step))
    assert [outcome.kind for outcome in outcomes] == kinds
    assert [outcome.record is not None for outcome in outcomes] == listed
    assert len(read_forced(journal, "")) == int(listed[-1])
