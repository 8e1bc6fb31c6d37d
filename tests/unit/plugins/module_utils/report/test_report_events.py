# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A journal as it is read: what is torn, of another release or of another run, and what must not be passed on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.cleaning import MASK
from ansible_collections.evergreen.eks.plugins.module_utils.report import events
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import (
    Event,
    as_event,
    events_of,
    last_run,
    read_events,
    timestamp_of,
)

AT = 1795222923.0  # 2026-11-21T01:02:03Z


def line(kind: str = "capacity", time: str = "2026-11-21T01:02:03Z", schema: int = 2, **fields: Any) -> str:
    return json.dumps({"time": time, "schema": schema, "kind": kind, **fields})


def test_an_event_has_its_moment_its_kind_and_its_run() -> None:
    event = as_event(line(run="r-1", desired=6, text="six", resumed=True))

    assert (event.at, event.kind, event.run) == (AT, "capacity", "r-1")
    assert (event.number("desired"), event.text("text"), event.flag("resumed")) == (6, "six", True)


@pytest.mark.parametrize(
    "broken",
    ["", "{", "null", "[]", '"text"', '{"kind": "x"}', line(time="yesterday"), line()[:40], json.dumps({"time": 1})],
)
def test_what_is_torn_or_no_event_is_passed_over(broken: str) -> None:
    assert read_events([broken, line()]) == read_events([line()])
    assert len(read_events([broken, line()])) == 1


def test_a_newer_schema_and_unknown_kinds_are_read_as_far_as_they_go() -> None:
    events = read_events([line("something_new", schema=9, run="r-1", wave=2)])

    assert [(event.kind, event.number("wave")) for event in events] == [("something_new", 2)]


@pytest.mark.parametrize("value", ["six", None, True, {"a": 1}, [6]])
def test_a_field_of_an_unexpected_type_is_as_if_it_were_not_there(value: Any) -> None:
    assert as_event(line(desired=value)).number("desired") is None


def test_an_event_without_a_run_belongs_to_the_one_that_was_named_last() -> None:
    events = read_events([line("run_begun", run="r-1"), line(), line("run_begun", run="r-2"), line(run="")])

    assert [event.run for event in events] == ["r-1", "r-1", "r-2", "r-2"]
    assert last_run(events) == "r-2"


def test_the_events_of_one_run_are_read_without_decoding_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = [line("run_begun", run="r-1"), line(), "torn", line(text="r-2")]
    others = [line("run_begun", run="r-2"), *(line(run="r-2") for _number in range(50)), line()]
    again = [line("run_begun", run="r-1")]
    decoded: list[str] = []
    plain = json.loads
    monkeypatch.setattr(events.json, "loads", lambda text: decoded.append(text) or plain(text))

    assert [event.kind for event in events_of([*others, *mine, *others, *again], "r-1")] == [
        *("run_begun", "capacity", "capacity", "run_begun")
    ]
    assert len(decoded) < 20, "of the others only the first line behind ours"


def test_the_beginning_and_the_end_of_a_run_are_understood_in_journals_of_schema_1() -> None:
    lines = [
        line("reserve", schema=1, run="r-1", resumed=True),
        line("picture", schema=1, nodes=11, nodes_ready=10),
        line("failed", schema=1, text="stopped in 'Drain'"),
    ]
    begun, picture, ended = read_events(lines)

    assert (begun.kind, begun.flag("resumed")) == ("run_begun", True)
    assert (picture.kind, picture.numbers("numbers")) == ("picture_taken", {"nodes": 11, "nodes_ready": 10})
    assert (ended.kind, ended.text("outcome")) == ("run_ended", "failed")


def test_secrets_in_passed_on_messages_are_masked() -> None:
    text, clean = "key AKIAIOSFODNN7EXAMPLE was refused", f"key {MASK} was refused"
    assert Event(0.0, "x", "", {"text": text}).text("text") == clean
    assert Event(0.0, "x", "", {"worse": [{"message": text}]}).names("worse") == (clean,)


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e400", "1" + "0" * 400])
def test_a_number_without_a_size_is_none(number: str) -> None:
    event = as_event(line().replace("{", f'{{"wave": {number}, ', 1))

    assert (event.number("wave"), event.seconds("wave")) == (None, None)


def test_moments_are_written_as_they_are_read() -> None:
    assert timestamp_of(AT) == "2026-11-21T01:02:03Z"
    assert timestamp_of(None) == ""
