# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sizes of the group over time, against the floor that was promised. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.evergreen.eks.plugins.module_utils.report import words
from ansible_collections.evergreen.eks.plugins.module_utils.report.markup import text
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Capacity, Report
from ansible_collections.evergreen.eks.plugins.module_utils.report.scale import Scale, percent

WIDTH, HEIGHT = 1000, 180  # of the drawing itself, in its own units; it is stretched to the width of the page
TOP = 12
LINES = {  # in the order in which they are drawn: the floor on top
    "desired": "desired capacity",
    "members": "instances in the group",
    "ready": "nodes Ready and taking pods",
    "floor": "promised floor",
}
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
GRID_LINES = 5


def chart(report: Report, scale: Scale) -> str:
    """Nothing where the sizes were not seen."""
    seen = [getattr(one, name) for one in report.capacity for name in LINES if getattr(one, name) is not None]
    if not seen:
        return ""
    low, high = bounds(min(seen), max(seen))
    step = next(one for one in STEPS if (high - low) / one <= GRID_LINES or one == STEPS[-1])

    def height(value: float) -> float:
        return round(HEIGHT * (high - value) / (high - low), 1)

    levels = range(-(-low // step) * step, high + 1, step)
    grid = "".join(
        f'<line class="grid" x1="0" x2="100%" y1="{TOP + height(level)}" y2="{TOP + height(level)}"/>'
        f'<text class="tick" style="text-anchor:start" x="2" y="{TOP + height(level) - 3}">{level}</text>'
        for level in levels
    )
    ticks = "".join(
        f'<text class="tick{" more" if number % 2 else ""}" x="{percent(scale.share(at))}" y="{TOP + HEIGHT + 18}">'
        f"{words.clock(at, with_seconds=scale.step < 60)}</text>"
        for number, at in enumerate(scale.ticks(report.gaps))
        if 0.02 < scale.share(at) < 0.985
    )
    paths = "".join(
        f'<path class="l l-{name}" d="{path}"/>'
        for name in LINES
        if (path := steps(report.capacity, name, scale, height, report.ended))
    )
    floor = steps(report.capacity, "floor", scale, height, report.ended)
    under = f'<path class="under" d="{floor}V{HEIGHT}H{_first_x(report.capacity, "floor", scale)}Z"/>' if floor else ""
    idle = "".join(
        f'<rect class="idle" x="{percent(scale.share(gap.began))}" y="{TOP}" height="{HEIGHT}" '
        f'width="{percent(scale.share(gap.ended) - scale.share(gap.began))}"/>'
        for gap in report.gaps
    )
    inner = (
        f'<svg y="{TOP}" width="100%" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">'
        f"{under}{paths}</svg>"
    )
    legend = "".join(
        f'<li><svg width="30" height="8" aria-hidden="true"><path class="l-{name}" d="M0 4H30"/></svg>{label}</li>'
        for name, label in LINES.items()
        if any(getattr(one, name) is not None for one in report.capacity)
    )
    return (
        f'<ul class="legend">{legend}</ul><svg class="chart" role="img" aria-label="{text(in_words(report.capacity))}">'
        f"{grid}{idle}{inner}{ticks}</svg>"
    )


def bounds(lowest: int, highest: int) -> tuple[int, int]:
    """The least and the greatest value that are drawn: the changes fill the upper half, and below the lowest there is
    room to fall."""
    room = max(1, round(0.6 * (highest - lowest)))
    low = max(0, lowest - room)
    return (0 if low <= 0.2 * highest else low), highest + max(1, (highest - low) // 10)


def steps(capacity: Sequence[Capacity], name: str, scale: Scale, height, ended: float) -> str:
    """The path of one size: level until it changes. "" where it was never seen."""
    parts: list[str] = []
    last = None
    for one in capacity:
        value = getattr(one, name)
        if value is None or value == last:
            continue
        x = _x(scale, one.at)
        parts.append(f"M{x} {height(value)}" if last is None else f"H{x}V{height(value)}")
        last = value
    return "".join(parts) + f"H{_x(scale, ended)}" if parts else ""


def in_words(capacity: Sequence[Capacity]) -> str:
    """For who cannot see it."""
    said = []
    for name, label in LINES.items():
        values = [getattr(one, name) for one in capacity if getattr(one, name) is not None]
        if values:
            least, most = min(values), max(values)
            said.append(f"{label} {least}" + (f" to {most}" if most != least else ""))
    return ", ".join(said)


def _x(scale: Scale, at: float) -> float:
    return round(WIDTH * scale.share(at), 1)


def _first_x(capacity: Sequence[Capacity], name: str, scale: Scale) -> float:
    return next(_x(scale, one.at) for one in capacity if getattr(one, name) is not None)
