# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput, WaitTimeout
from ansible_collections.evergreen.eks.plugins.module_utils.progress import (
    Heartbeat,
    Stand,
    about,
    refuse_negative,
    wait_patiently,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline, Journal

THROTTLED = AwsError("AWS throttles", reason="throttled")
DENIED = AwsError("AWS denies", reason="access_denied")


@pytest.fixture
def call(tmp_path: Path) -> Call:
    clock = FakeClock()
    return Call(clock=clock, journal=Journal(str(tmp_path / "journal"), clock))


def told(tmp_path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in (tmp_path / "journal").read_text().splitlines()]


def wait_for_ready(call: Call, *looks: Any, seconds: float = 60, connected: bool = True) -> Any:
    """Wait until a look is "ready"; a look that is an error is raised, the last one is repeated."""
    script = list(looks)

    def look() -> Any:
        seen = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(seen, Exception):
            raise seen
        return seen

    return wait_patiently(
        look,
        lambda seen: seen == "ready",
        call=call,
        deadline=Deadline(call.clock, seconds),
        interval=5,
        heartbeat=Heartbeat(call),
        describe=lambda seen: f"it is {seen}",
        connected=lambda: connected,
    )


def test_throttling_is_waited_out_and_said(call: Call, tmp_path: Path) -> None:
    assert wait_for_ready(call, THROTTLED, THROTTLED, "ready") == "ready"
    assert told(tmp_path) == ["no answer for now, trying on: AWS throttles"]


def test_what_will_not_pass_is_raised_at_once(call: Call) -> None:
    with pytest.raises(AwsError, match="denies"):
        wait_for_ready(call, "pending", DENIED, "ready")


def test_an_address_that_never_answered_is_not_waited_for(call: Call) -> None:
    with pytest.raises(AwsError, match="throttles"):
        wait_for_ready(call, THROTTLED, "ready", connected=False)
    assert wait_for_ready(call, "pending", THROTTLED, "ready", connected=False) == "ready"


def test_an_outage_that_outlasts_the_deadline_is_the_error(call: Call) -> None:
    with pytest.raises(AwsError, match="throttles"):
        wait_for_ready(call, "pending", THROTTLED, seconds=12)


def test_the_time_out_carries_what_was_seen(call: Call) -> None:
    with pytest.raises(WaitTimeout) as caught:
        wait_for_ready(call, "pending", seconds=12)
    assert caught.value.last == "pending"


def test_a_wait_says_soon_what_it_waits_for_and_then_every_half_minute(call: Call, tmp_path: Path) -> None:
    wait_for_ready(call, *["pending"] * 14, "ready", seconds=0)
    assert told(tmp_path) == ["it is pending"] * 3, "at 5, 35 and 65 seconds"


def test_a_wait_that_is_short_needs_no_words(call: Call, tmp_path: Path) -> None:
    wait_for_ready(call, "pending", "ready")
    assert told(tmp_path) == []


def test_what_is_told_meanwhile_puts_the_heartbeat_off(call: Call, tmp_path: Path) -> None:
    heartbeat = Heartbeat(call)
    call.clock.sleep(4)
    call.journal.write("node_stage", text="Ready")
    call.clock.sleep(4)
    heartbeat.beat("waits")
    call.clock.sleep(1)
    heartbeat.beat("waits")
    call.clock.sleep(29)
    call.journal.write("node_stage", text="Ready")
    call.clock.sleep(29)
    heartbeat.beat("waits")
    call.clock.sleep(1)
    heartbeat.beat("waits")
    assert told(tmp_path) == ["Ready", "waits", "Ready", "waits"]


@pytest.mark.parametrize(
    ("looks", "lines"),
    [
        # (seconds since the wait began, nodes that are done)
        ([(5, 0)], ["[..........] 0/12 nodes: waits"]),
        ([(5, 7), (35, 7)], ["[#####.....] 7/12 nodes: waits"] * 2),
        ([(5, 2), (65, 7)], ["[#.........] 2/12 nodes: waits", "[#####.....] 7/12 nodes, about 60 s left: waits"]),
        ([(5, 0), (605, 6)], ["[..........] 0/12 nodes: waits", "[#####.....] 6/12 nodes, about 10 min left: waits"]),
    ],
)
def test_a_heartbeat_has_a_bar_and_an_estimate_of_what_was_measured(
    call: Call, tmp_path: Path, looks: list[tuple[float, int]], lines: list[str]
) -> None:
    heartbeat, began = Heartbeat(call), call.clock.now()
    for at, done in looks:
        call.clock.sleep(began + at - call.clock.now())
        heartbeat.beat(Stand("waits", done, 12))
    assert told(tmp_path) == lines


@pytest.mark.parametrize(
    ("seconds", "words"), [(3, "about 10 s"), (44, "about 40 s"), (89, "about 90 s"), (100, "about 2 min")]
)
def test_an_estimate_is_no_more_exact_than_it_can_be(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_one_node_needs_no_bar(call: Call, tmp_path: Path) -> None:
    heartbeat = Heartbeat(call)
    call.clock.sleep(5)
    heartbeat.beat(Stand("waits", 0, 1))
    assert told(tmp_path) == ["waits"]


def test_negative_numbers_are_refused_by_name() -> None:
    refuse_negative({"timeout": 0, "min_ready": None}, "timeout", "min_ready")
    with pytest.raises(InvalidInput, match="timeout is -1"):
        refuse_negative({"timeout": -1.0}, "timeout")
