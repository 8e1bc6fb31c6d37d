# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.moments import (
    ServerTime,
    parse_duration,
    parse_timestamp,
    timestamp_of,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        (90, 90),
        ("90s", 90),
        ("30m", 1800),
        ("12h", 43200),
        ("7d", 604800),
        ("1d12h", 129600),
        ("1W", 604800),
    ],
)
def test_durations(text: Any, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-5m", "7 days", "5 m", "d7", "1.5h", True])
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(InvalidInput, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-21", None])
def test_what_is_no_timestamp(text: Any) -> None:
    assert parse_timestamp(text) is None


def test_a_timestamp_there_and_back() -> None:
    assert timestamp_of(parse_timestamp("2026-11-21T01:02:03Z")) == "2026-11-21T01:02:03Z"


@pytest.mark.parametrize("date", [None, "", "whenever"])
def test_a_server_that_does_not_tell_the_time_has_ours(date: str | None) -> None:
    time = ServerTime(FakeClock())
    time.hear(date)
    assert time.timestamp() == "2026-11-21T01:02:03Z"


def test_the_time_of_the_server_goes_on_between_its_answers() -> None:
    clock = FakeClock()
    time = ServerTime(clock)
    time.hear("Sat, 21 Nov 2026 12:00:00 GMT")
    clock.sleep(90)
    assert time.timestamp() == "2026-11-21T12:01:30Z"
    assert time.seconds_until(parse_timestamp("2026-11-21T12:02:00Z")) == 30
    time.hear("Sat, 21 Nov 2026 13:00:00 GMT")
    assert time.seconds_until(parse_timestamp("2026-11-21T12:59:00Z")) == -60
