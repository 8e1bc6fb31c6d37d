# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clock, record and faults: what everything in the rehearsal world stands on."""

from __future__ import annotations

import threading

import pytest

from simulator.clock import Clock
from simulator.record import Call, Faults, Record


@pytest.fixture
def clock() -> Clock:
    return Clock(speed=0, start=1_000_000_000.0)


@pytest.fixture
def record(clock: Clock) -> Record:
    return Record(clock)


@pytest.fixture
def faults(clock: Clock) -> Faults:
    return Faults(clock)


def begin(record: Record, operation: str = "SetDesiredCapacity", author: str = "evergreen", **more) -> Call:
    given = {"service": "autoscaling", "target": "shared", "mutating": True, **more}
    return record.begin(author=author, operation=operation, **given)


# ---- clock


def test_a_clock_that_stands_still_moves_only_when_pushed(clock: Clock) -> None:
    assert clock.timestamp() == "2001-09-09T01:46:40Z"
    clock.advance(90)
    assert clock.now() == 1_000_000_090.0
    assert clock.timestamp() == "2001-09-09T01:48:10Z"
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_speed_divides_real_time() -> None:
    clock = Clock(speed=60)
    assert clock.real(120) == 2
    assert Clock(speed=0).real(1) == float("inf")


def test_a_change_of_speed_makes_no_jump() -> None:
    clock = Clock(speed=1000, start=0.0)
    clock.set_speed(0)
    stopped = clock.now()
    assert stopped >= 0
    assert clock.now() == stopped


# ---- record


def test_calls_are_numbered_and_found_by_what_they_are(record: Record) -> None:
    first = begin(record)
    second = begin(record, "DescribeAutoScalingGroups", mutating=False)
    third = begin(record, author="somebody")
    assert [call.number for call in (first, second, third)] == [1, 2, 3]
    assert record.calls(author="evergreen", mutating=True) == [first]
    assert record.calls(operation="DescribeAutoScalingGroups") == [second]
    assert record.calls(since=2) == [third]


def test_a_dry_run_changes_nothing(record: Record) -> None:
    assert not begin(record, dry_run=True).mutating


def test_a_call_succeeds_once_it_was_answered_well(record: Record) -> None:
    call = begin(record)
    assert not call.succeeded
    record.end(call, 400, "ValidationError")
    assert not call.succeeded
    assert str(call) == "#1 evergreen: autoscaling SetDesiredCapacity shared -> 400 ValidationError"
    record.end(call, 200)
    assert call.succeeded


def test_observers_hear_of_a_call_once_it_is_decided(record: Record) -> None:
    heard = []
    record.observe(heard.append)
    call = begin(record)
    assert heard == []
    record.end(call, 200)
    assert heard == [call]


def test_an_empty_record_is_true(record: Record) -> None:
    assert record, "so that `record or Record(clock)` keeps it"


def test_many_threads_get_different_numbers(record: Record) -> None:
    threads = [threading.Thread(target=lambda: [begin(record) for _unused in range(200)]) for _unused in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(call.number for call in record.calls()) == list(range(1, 1601))


# ---- faults


def hits(faults: Faults, calls: list[Call]) -> list[bool]:
    return [faults.take(call).error is not None for call in calls]


def test_a_fault_skips_then_hits_so_many_times(record: Record, faults: Faults) -> None:
    faults.add("autoscaling", "^Set", skip=1, times=2, error=(400, "Throttling", "Rate exceeded"))
    assert hits(faults, [begin(record) for _unused in range(5)]) == [False, True, True, False, False]


def test_a_fault_only_hits_what_it_names(record: Record, faults: Faults) -> None:
    faults.add("autoscaling", "Capacity$", target="^shared$", author="evergreen", times=None, error=(500, "X", "x"))
    others = [
        begin(record, service="ec2"),
        begin(record, "DescribeAutoScalingGroups"),
        begin(record, target="logging"),
        begin(record, author="somebody"),
    ]
    assert hits(faults, others) == [False] * 4
    assert hits(faults, [begin(record), begin(record)]) == [True, True]


def test_a_fault_may_be_limited_in_time(clock: Clock, record: Record, faults: Faults) -> None:
    faults.add(times=None, seconds=60, error=(503, "ServiceUnavailable", "x"))
    assert hits(faults, [begin(record)]) == [True]
    clock.advance(61)
    assert hits(faults, [begin(record)]) == [False]


def test_faults_can_be_taken_back(record: Record, faults: Faults) -> None:
    fault = faults.add(times=None, reset="after")
    assert faults.take(begin(record)).reset == "after"
    faults.remove(fault)
    assert faults.take(begin(record)).reset == ""
    assert fault.hits == 1


def test_callbacks_surround_the_deed(clock: Clock, record: Record, faults: Faults) -> None:
    seen = []
    faults.add(before=lambda call: seen.append(("before", call.number)))
    faults.add(after=lambda call: seen.append(("after", call.number)))
    call = begin(record)
    effect = faults.take(call)
    effect.begin(call, clock)
    assert seen == [("before", 1)]
    effect.finish(call)
    assert seen == [("before", 1), ("after", 1)]


def test_a_stall_lasts_until_the_clock_of_the_world_has_moved_on(record: Record, faults: Faults, clock: Clock) -> None:
    faults.add(stall=600)
    call = begin(record)
    served = threading.Event()

    def serve() -> None:
        faults.take(call).begin(call, clock)
        served.set()

    threading.Thread(target=serve, daemon=True).start()
    assert not served.wait(0.2)
    clock.advance(601)
    assert served.wait(10)


def test_nonsense_is_refused(faults: Faults) -> None:
    with pytest.raises(ValueError, match="reset"):
        faults.add(reset="sometimes")
