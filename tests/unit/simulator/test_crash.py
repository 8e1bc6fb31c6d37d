# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How `make crash` counts: where a series of steps ends, and what a run that was not killed proves."""

from __future__ import annotations

import pytest

from simulator.crash import Tally, cases
from simulator.crash_cases import BROKEN, HELD, MISSED, Case, Outcome
from simulator.steps import MOMENTS


def count(tally: Tally, case: Case, length: dict[str, int]) -> Outcome:
    """As if each run had so many steps; by the name of a case it may be another number."""
    steps = length.get(case.name, length[case.series])
    hit = [str(kill) for kill in case.kills if kill.step <= steps]
    verdict = HELD if len(hit) == len(case.kills) else MISSED
    return tally.add(case, Outcome(case.name, verdict, killed_at=tuple(hit)))


def played(length: dict[str, int], only: str, every: int = 1) -> list[str]:
    tally = Tally(every)
    return [count(tally, case, length) and case.name for case in cases(tally, [only])]


@pytest.mark.parametrize(("every", "last"), [(1, 42), (5, 46)])
def test_a_series_ends_where_two_neighbouring_steps_are_missed(every: int, last: int) -> None:
    names = played({"rollout": 40}, "k*", every)
    assert names == [f"k{step:03}-{moment}" for step in range(1, last + 1, every) for moment in MOMENTS]


def test_one_shorter_run_does_not_cut_the_series_off() -> None:
    assert played({"rollout": 40, "k020-after": 19}, "k*")[-1] == "k042-after"


def test_the_way_back_goes_on_where_its_first_run_was_missed() -> None:
    tally = Tally()
    first, *_others = cases(tally, ["back001-*"])
    missed = tally.add(first, Outcome(first.name, MISSED))
    assert missed.verdict == BROKEN
    assert "GIVEN_UP" in missed.problems[0]
    assert tally.missed == {}


def test_a_sample_that_is_not_reached_is_broken() -> None:
    tally = Tally()
    sample, *_others = cases(tally, ["parent-*"])
    assert tally.add(sample, Outcome(sample.name, MISSED)).verdict == BROKEN
    assert tally.broken == 1
