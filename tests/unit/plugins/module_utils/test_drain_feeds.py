# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import Budget
from ansible_collections.evergreen.eks.plugins.module_utils.drain.feeds import BudgetFeed, Surroundings, VolumeFeed
from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import SKIP, Remark, Verdict
from ansible_collections.evergreen.eks.plugins.module_utils.drain.flow import Ledger
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import NodeDrain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.drain.volumes import Attachment
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import node_from

FULL = Budget("shop", "web", selector={"matchLabels": {"app": "web"}})
WEB = Pod("shop", "web-1", "uid-1", "node-a", labels={"app": "web"})
FORBIDDEN = KubernetesError("cannot watch", status=403)
STAYS = Verdict(SKIP, (Remark("daemonset", "it would come back"),))


class Claims:
    """Answers each read of a claim by the next in the list."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def get(self, _path: str) -> dict[str, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"spec": {"volumeName": answer}}


class Around(Surroundings):
    """Everything is called at once; ``tell`` plays what the watch learns."""

    def __init__(self, client: Any = None) -> None:
        def at_once(function: Callable[..., None], *news: Any) -> None:
            function(*news)

        super().__init__(client, FakeClock(), 5.0, post=at_once, read=at_once)
        self.watched: list[str] = []
        self.tell: dict[str, Callable[..., None]] = {}

    def watch(self, path: str, keep: Callable[[dict[str, Any]], Any], **listeners: Callable[..., None]) -> Any:
        self.watched.append(path)
        self.tell = listeners
        return self


class Woken:
    """Counts how often somebody was woken."""

    def __init__(self) -> None:
        self.times = 0

    def wake(self) -> None:
        self.times += 1


def held(ledger: Ledger, lane: Woken) -> bool:
    return ledger.refusal(WEB, lane, 0) is not None


@pytest.mark.parametrize(
    ("news", "holds"),
    [
        (("on_all", [FULL]), True),
        (("on_all", []), False),
        (("on_stale", "no answer"), False),  # it is not waited for, the server says no where it must
        (("on_error", FORBIDDEN), False),
    ],
)
def test_evictions_wait_for_the_first_news_of_the_budgets_whatever_it_is(news: tuple[str, Any], holds: bool) -> None:
    around, ledger, everybody = Around(), Ledger(5.0), Woken()
    feed = BudgetFeed(around, ledger, everybody.wake)
    assert not feed.known() and not feed.known() and len(around.watched) == 1
    kind, what = news
    around.tell[kind](what)
    assert feed.known() and everybody.times == 1 and held(ledger, Woken()) is holds


def test_budgets_are_followed_and_forgotten_when_they_may_not_be_read_any_more() -> None:
    around, ledger, lane = Around(), Ledger(5.0), Woken()
    BudgetFeed(around, ledger, lambda: None).known()
    around.tell["on_all"]([])
    around.tell["on_one"](FULL)
    assert held(ledger, lane)
    around.tell["on_gone"]({"namespace": "shop", "name": "web"})
    assert lane.times == 1 and not held(ledger, lane)
    around.tell["on_one"](FULL)
    assert held(ledger, lane)
    around.tell["on_stale"]("no answer")
    assert held(ledger, lane), "what was seen last is better than nothing"
    around.tell["on_error"](FORBIDDEN)
    assert lane.times == 2 and not held(ledger, lane)


@pytest.mark.parametrize("feed", ["budgets", "volumes"])
def test_what_is_no_answer_of_the_server_is_not_taken_for_one(feed: str) -> None:
    around = Around()
    if feed == "budgets":
        BudgetFeed(around, Ledger(5.0), lambda: None).known()
    else:
        VolumeFeed(around).begin(empty_node(), 60, lambda: None)
    with pytest.raises(ZeroDivisionError):
        around.tell["on_error"](ZeroDivisionError())


def empty_node(*staying: Pod) -> NodeDrain:
    drain = NodeDrain(node_from({"metadata": {"name": "node-a"}}), 5.0)
    drain.see_all([(pod, STAYS) for pod in staying], now=0)
    return drain


def test_a_node_is_waited_on_until_its_volumes_are_detached() -> None:
    around, drain, lane = Around(), empty_node(), Woken()
    feed = VolumeFeed(around)
    detaching = feed.begin(drain, 60, lane.wake)
    assert not feed.settled(detaching), "nothing is known yet"
    around.tell["on_all"]([Attachment("1", "node-a", "pv-1"), Attachment("2", "node-b", "pv-2")])
    assert lane.times == 1 and not feed.settled(detaching) and drain.volumes == ["pv-1"]
    around.tell["on_gone"]({"name": "2"})
    assert lane.times == 1, "that was another node's"
    around.tell["on_gone"]({"name": "1"})
    assert lane.times == 2 and feed.settled(detaching) and drain.volumes == []


def test_a_second_node_does_not_list_again_and_the_time_of_each_is_its_own() -> None:
    around, first, second = Around(), empty_node(), empty_node()
    feed = VolumeFeed(around)
    one = feed.begin(first, 60, lambda: None)
    around.tell["on_all"]([Attachment("1", "node-a", "pv-1")])
    around.clock.sleep(59)
    two = feed.begin(second, 60, lambda: None)
    assert len(around.watched) == 1 and not feed.settled(one) and not feed.settled(two)
    around.clock.sleep(1)
    assert feed.settled(one) and first.volumes == ["pv-1"] and not feed.settled(two)


def test_the_volumes_of_pods_that_stay_are_not_waited_for() -> None:
    agent = Pod("shop", "agent", "a", "node-a", claims=("data",))
    outage = KubernetesError("no answer", status=503)
    around = Around(Claims(outage, "pv-agent"))
    feed = VolumeFeed(around)
    detaching = feed.begin(empty_node(agent), 60, lambda: None)
    around.tell["on_all"]([Attachment("1", "node-a", "pv-agent")])
    assert not feed.settled(detaching), "whose it is could not be read"
    assert feed.settled(detaching), "at the next look it could"
    assert not feed.unreadable and detaching.drain.volumes == []


def test_who_stays_is_listed_by_the_thread_that_may_change_it() -> None:
    agent = Pod("shop", "agent", "a", "node-a", claims=("data",))
    around, drain, read = Around(Claims("pv-agent")), empty_node(agent), []
    around.read = lambda function, *subject: read.append((function, subject))
    feed = VolumeFeed(around)
    feed.settled(feed.begin(drain, 60, lambda: None))
    ((function, subject),) = read
    drain.see_gone(agent.uid)
    assert subject[1] == [agent]
    function(*subject)
    assert subject[0].staying == {"pv-agent"}


def test_who_may_not_read_what_belongs_to_it_does_not_wait() -> None:
    agent = Pod("shop", "agent", "a", "node-a", claims=("data",))
    around = Around(Claims(FORBIDDEN))
    feed = VolumeFeed(around)
    detaching = feed.begin(empty_node(agent), 60, lambda: None)
    assert feed.settled(detaching) and "cannot watch" in feed.unreadable
    blind = VolumeFeed(Around())
    waiting = blind.begin(empty_node(), 60, lambda: None)
    blind._around.tell["on_error"](FORBIDDEN)
    assert blind.settled(waiting) and "cannot watch" in blind.unreadable
