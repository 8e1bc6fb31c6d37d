# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a moment is drawn on the time axis. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Gap

# An interruption is drawn at most so wide, of the whole axis: a night between two runs must not hide the runs.
WIDEST_GAP = 0.06
ALL_GAPS = 0.4  # and all of them together at most so wide
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
TICKS = 8


@dataclass(frozen=True)
class Piece:
    """A part of the axis that is drawn to one scale: seconds from..to at the shares of the width first..last."""

    began: float
    ended: float
    first: float
    last: float


class Scale:
    """Moments (seconds) as shares (0 to 1) of the width; interruptions are drawn narrower than they were."""

    def __init__(self, began: float, ended: float, gaps: Sequence[Gap] = ()) -> None:
        ended = max(ended, began + 1.0)
        cuts = [gap for gap in gaps if began <= gap.began < gap.ended <= ended]
        widest = min(WIDEST_GAP, ALL_GAPS / len(cuts)) if cuts else 0.0
        worked = (ended - began) - sum(gap.seconds for gap in cuts)
        # A gap that is short beside the work is drawn as long as it was.
        narrow = {gap for gap in cuts if gap.seconds > widest * (ended - began)}
        drawn = 1.0 - widest * len(narrow)
        to_scale = max(1.0, worked + sum(gap.seconds for gap in cuts if gap not in narrow))
        self.pieces: list[Piece] = []
        at, share = began, 0.0
        for gap in sorted(narrow, key=lambda one: one.began):
            share = self._add(at, gap.began, share, drawn * (gap.began - at) / to_scale)
            share = self._add(gap.began, gap.ended, share, widest)
            at = gap.ended
        self._add(at, ended, share, 1.0 - share)
        self._starts = [piece.began for piece in self.pieces]
        self.began, self.ended = began, ended
        self._to_scale = to_scale

    def share(self, at: float) -> float:
        piece = self.pieces[max(0, bisect_right(self._starts, at) - 1)]
        inside = min(max(at, piece.began), piece.ended) - piece.began
        return piece.first + (piece.last - piece.first) * inside / max(piece.ended - piece.began, 1e-9)

    @property
    def step(self) -> int:
        """Seconds between two ticks."""
        return next((one for one in STEPS if self._to_scale / one <= TICKS), STEPS[-1])

    def ticks(self, gaps: Sequence[Gap] = ()) -> list[float]:
        """Round moments, some eight on the axis, none within an interruption."""
        step = self.step
        first = -(-self.began // step) * step
        count = int((self.ended - first) // step) + 1
        if count > 1000:  # days of interruption at a scale of minutes: only what was worked gets ticks
            spots = (piece for piece in self.pieces if piece.last - piece.first > WIDEST_GAP)
            moments = [-(-piece.began // step) * step for piece in spots]
        else:
            moments = [first + number * step for number in range(max(0, count))]
        return [at for at in moments if not any(gap.began < at < gap.ended for gap in gaps)]

    def _add(self, began: float, ended: float, share: float, width: float) -> float:
        self.pieces.append(Piece(began, ended, share, share + width))
        return share + width


def percent(share: Optional[float]) -> str:
    """For an attribute of SVG: C(12.3%)."""
    return f"{100 * (share or 0):.2f}".rstrip("0").rstrip(".") + "%"
