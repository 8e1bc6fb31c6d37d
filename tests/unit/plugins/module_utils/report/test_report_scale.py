# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The time axis: linear where somebody worked, narrow where nobody did."""

from __future__ import annotations

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Gap
from ansible_collections.evergreen.eks.plugins.module_utils.report.scale import WIDEST_GAP, Scale, percent

HOUR = 3600.0


def test_without_interruptions_it_is_linear() -> None:
    scale = Scale(100, 200)

    assert [scale.share(at) for at in (100, 125, 200)] == [0, 0.25, 1]


@pytest.mark.parametrize(("at", "share"), [(50, 0), (250, 1)])
def test_what_lies_outside_is_drawn_at_the_edge(at: float, share: float) -> None:
    assert Scale(100, 200).share(at) == share


def test_a_night_between_two_runs_is_drawn_narrow() -> None:
    gap = Gap(600, 600 + 10 * HOUR, "interrupted")
    scale = Scale(0, 1200 + 10 * HOUR, [gap])

    assert scale.share(gap.ended) - scale.share(gap.began) == pytest.approx(WIDEST_GAP)
    assert scale.share(gap.began) == pytest.approx((1 - WIDEST_GAP) / 2)
    assert scale.share(1200 + 10 * HOUR) == 1


def test_a_short_interruption_is_as_wide_as_it_was() -> None:
    scale = Scale(0, 1000, [Gap(500, 510, "failed")])

    assert scale.share(510) - scale.share(500) == pytest.approx(0.01)


def test_many_interruptions_leave_room_for_the_work() -> None:
    gaps = [Gap(100 * number + 10, 100 * number + 99, "interrupted") for number in range(50)]
    scale = Scale(0, 5000, gaps)
    idle = sum(scale.share(gap.ended) - scale.share(gap.began) for gap in gaps)

    assert idle == pytest.approx(0.4)
    shares = [scale.share(at) for at in range(0, 5001, 7)]
    assert shares == sorted(shares)


def test_ticks_are_round_few_and_none_is_in_an_interruption() -> None:
    gap = Gap(600, 600 + 10 * HOUR, "interrupted")
    ticks = Scale(0, 1200 + 10 * HOUR, [gap]).ticks([gap])

    assert ticks
    assert len(ticks) <= 12
    assert all(at % 60 == 0 and not gap.began < at < gap.ended for at in ticks)


def test_weeks_of_interruption_do_not_make_thousands_of_ticks() -> None:
    gap = Gap(600, 600 + 1000 * HOUR, "interrupted")

    assert len(Scale(0, 1200 + 1000 * HOUR, [gap]).ticks([gap])) < 20


def test_a_run_that_has_just_begun_has_an_axis() -> None:
    assert Scale(100, 100).share(100) == 0


@pytest.mark.parametrize(("share", "text"), [(0, "0%"), (0.5, "50%"), (0.12345, "12.35%"), (1, "100%"), (None, "0%")])
def test_shares_are_written_short(share: float | None, text: str) -> None:
    assert percent(share) == text
