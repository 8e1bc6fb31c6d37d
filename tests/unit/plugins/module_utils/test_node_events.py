# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events on Nodes: what they say, when none is sent, and that nothing waits for them."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils import node_events
from ansible_collections.evergreen.eks.plugins.module_utils.journal import Journal
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.moments import ServerTime
from ansible_collections.evergreen.eks.plugins.module_utils.node_events import (
    BLOCKED,
    CORDONED,
    DRAINED,
    NodeEvents,
    event_of,
)
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import node_from
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

NOW = "2026-11-21T01:02:03Z"
NODE = node_from({"metadata": {"name": "node-a", "uid": "uid-a"}})
OTHER = node_from({"metadata": {"name": "node-b", "uid": "uid-b"}})


class Api:
    """Notes what is announced, and answers with these errors first."""

    def __init__(self, *errors: Exception, slow: float = 0.0) -> None:
        self.time = ServerTime(FakeClock())
        self.sent: list[dict[str, Any]] = []
        self._errors, self._slow = list(errors), slow

    def announce(self, path: str, body: dict[str, Any]) -> None:
        assert path == "/api/v1/namespaces/default/events"
        time.sleep(self._slow)
        self.sent.append(body)
        if self._errors:
            raise self._errors.pop(0)


def call(*, check_mode: bool = False) -> Call:
    clock = FakeClock()
    return Call(clock=clock, journal=Journal(None, clock, run="r-1"), check_mode=check_mode)


def refusal(status: int) -> KubernetesError:
    return KubernetesError("Kubernetes says no", status=status)


def test_an_event_is_as_those_of_the_kubelet() -> None:
    event = event_of(CORDONED, NODE, "Cordoned by run r-1", "r-1", NOW)

    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "node-a", "uid": "uid-a"}
    assert event["metadata"]["namespace"] == "default" and event["metadata"]["name"].startswith("node-a.")
    assert (event["reason"], event["type"], event["count"]) == ("EvergreenCordoned", "Normal", 1)
    assert event["firstTimestamp"] == event["lastTimestamp"] == NOW


@pytest.mark.parametrize(
    ("node", "reason", "run", "same"),
    [(NODE, CORDONED, "r-1", True), (NODE, CORDONED, "r-2", False), (NODE, DRAINED, "r-1", False)]
    + [(OTHER, CORDONED, "r-1", False)],
)
def test_a_rerun_says_the_same_under_the_same_name(node: Any, reason: str, run: str, same: bool) -> None:
    first = event_of(CORDONED, NODE, "one", "r-1", NOW)["metadata"]["name"]
    assert (event_of(reason, node, "two", run, NOW)["metadata"]["name"] == first) is same


def test_what_blocks_is_a_warning_and_no_longer_than_the_api_takes() -> None:
    event = event_of(BLOCKED, NODE, "x" * 3000, "", NOW)
    assert event["type"] == "Warning" and len(event["message"]) == 1000 and event["message"].endswith("...")


def test_what_the_module_keeps_secret_is_in_no_event() -> None:
    clock, api = FakeClock(), Api()
    events = NodeEvents(api, Call(clock=clock, journal=Journal(None, clock, secrets=["hunter2"], run="r-1")))
    events.tell(BLOCKED, NODE, "the webhook says hunter2 with Bearer abc.def")
    events.close()

    assert [one["message"] for one in api.sent] == ["the webhook says ******** with Bearer ********"]


def test_each_reason_is_told_once_for_a_node() -> None:
    api = Api()
    events = NodeEvents(api, call())
    for node in (NODE, NODE, OTHER):
        events.tell(CORDONED, node, "cordoned")
    events.tell(DRAINED, NODE, "drained")
    events.close()
    assert [(one["involvedObject"]["name"], one["reason"]) for one in api.sent] == [
        ("node-a", CORDONED),
        ("node-b", CORDONED),
        ("node-a", DRAINED),
    ]


@pytest.mark.parametrize("events", [NodeEvents(None, call()), NodeEvents(Api(), call(check_mode=True))])
def test_without_a_client_and_in_check_mode_none_is_sent(events: NodeEvents) -> None:
    threads = threading.active_count()
    events.tell(CORDONED, NODE, "cordoned")
    events.close()
    assert threading.active_count() == threads


def test_a_missing_right_is_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(node_events, "warn", warnings.append)
    api = Api(refusal(403), refusal(403))
    events = NodeEvents(api, call())
    events.tell(CORDONED, NODE, "cordoned")
    events.tell(CORDONED, OTHER, "cordoned")
    events.close()
    assert len(api.sent) == 1
    (warning,) = warnings
    assert "Grant the verb create on events in namespace default" in warning and "eks_node_events" in warning


@pytest.mark.parametrize("status", [409, 429, 503])
def test_other_troubles_are_nobodys_business(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(node_events, "warn", warnings.append)
    api = Api(refusal(status))
    events = NodeEvents(api, call())
    events.tell(CORDONED, NODE, "cordoned")
    events.tell(CORDONED, OTHER, "cordoned")
    events.close()
    assert len(api.sent) == 2 and warnings == []


def test_nothing_waits_for_a_server_that_is_slow() -> None:
    api = Api(slow=0.5)
    events = NodeEvents(api, call())
    began = time.monotonic()
    for number in range(20):
        events.tell(CORDONED, node_from({"metadata": {"name": f"node-{number}", "uid": "u"}}), "cordoned")
    assert time.monotonic() - began < 0.4
    events.close(seconds=0.1)
    time.sleep(0.6)
    assert len(api.sent) <= 2, "what was not sent in time is not sent after the end"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_end_does_not_wait_for_what_nobody_sends_any_more() -> None:
    events = NodeEvents(Api(ValueError("a bug")), call())
    events.tell(CORDONED, NODE, "cordoned")
    began = time.monotonic()
    events.close()
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("hold", "alive", "check_mode", "may"),
    [
        (None, True, False, True),
        (None, True, True, False),
        (None, False, False, False),
        (SimpleNamespace(certain=lambda: True), True, False, True),
        (SimpleNamespace(certain=lambda: False), True, False, False),
    ],
)
def test_a_run_that_may_have_lost_its_lock_tells_nobody(hold: Any, alive: bool, check_mode: bool, may: bool) -> None:
    lifeline = SimpleNamespace(controller=SimpleNamespace(alive=lambda: alive))
    asked = Call(clock=FakeClock(), lifeline=lifeline, check_mode=check_mode, hold=hold)
    assert asked.may_announce() is may
