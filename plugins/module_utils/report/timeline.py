# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The timeline: a row for each node, wave by wave, on one time axis. Pure.

Each row is a small inline SVG of its own, drawn in shares of its width, so that the page fits any screen without a
script.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.evergreen.eks.plugins.module_utils.errors import counted
from ansible_collections.evergreen.eks.plugins.module_utils.report import records, words
from ansible_collections.evergreen.eks.plugins.module_utils.report.markup import text
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Blocked, NodeStory, Report, Span
from ansible_collections.evergreen.eks.plugins.module_utils.report.scale import Scale, percent
from ansible_collections.evergreen.eks.plugins.module_utils.report.style import STAGE_CLASSES

OVER = '<use href="#idle-time"/>'
OPEN_UP_TO = 120  # with more nodes the waves are folded up
THIN = (records.SERVING, records.READY)
LEGEND = (
    *(records.SERVING, records.CORDONED, records.DEREGISTERED, records.DRAINING, records.DRAINED),
    *(records.NOT_DRAINED, records.TERMINATING, records.LAUNCHED, records.READY),
)
LEGEND_NAMES = {
    records.SERVING: "old node serves",
    records.LAUNCHED: "new node starts",
    records.READY: "new node is Ready",
}


def timeline(report: Report, scale: Scale, names: Mapping[str, str]) -> str:
    """Nothing where nothing is known of any node."""
    if not any(node.spans for node in report.nodes):
        return ""
    blocked = _blocked_by_node(report.blocked)
    over = OVER if report.gaps else ""
    rows = {number: [_row(node, names, blocked, scale, over) for node in nodes] for number, nodes in _by_wave(report)}
    grid = _grid(report, scale)
    several = "".join(
        _wave(report, number, rows[number], len(report.nodes) <= OPEN_UP_TO) for number in rows if rows[number]
    )
    return f'{grid}{_legend(report)}<div class="time">{_axis(report, scale)}{_waves_row(report, scale)}</div>{several}'


# --- the parts ---------------------------------------------------------------------------------------------------


def _by_wave(report: Report) -> list[tuple[int, list[NodeStory]]]:
    found: dict[int, list[NodeStory]] = {}
    for node in report.nodes:
        found.setdefault(node.wave, []).append(node)
    return sorted(found.items(), key=lambda item: item[0] or float("inf"))


def _blocked_by_node(blocked: Iterable[Blocked]) -> dict[str, list[Blocked]]:
    found: dict[str, list[Blocked]] = {}
    for one in blocked:
        found.setdefault(one.node, []).append(one)
    return found


def _grid(report: Report, scale: Scale) -> str:
    """What is behind every row: the ticks of the axis, and the interruptions."""
    lines = "".join(
        f'<line class="grid" x1="{percent(scale.share(at))}" x2="{percent(scale.share(at))}" y1="0" y2="100%"/>'
        for at in scale.ticks(report.gaps)
    )
    idle = "".join(
        _bar(scale, gap.began, gap.ended, "pause", 0, "100%") + _bar(scale, gap.began, gap.ended, "idle", 0, "100%")
        for gap in report.gaps
    )
    return (
        '<svg width="0" height="0" class="defs" aria-hidden="true"><defs>'
        f'<g id="grid">{lines}</g><g id="idle-time">{idle}</g></defs></svg>'
    )


def _bar(scale: Scale, began: float, ended: float, kind: str, top: float, height: object, title: str = "") -> str:
    first, last = scale.share(began), scale.share(ended)
    shape = (
        f'class="{kind}" x="{percent(first)}" width="{percent(max(last - first, 0.0012))}" y="{top}" height="{height}"'
    )
    return f"<rect {shape}><title>{text(title)}</title></rect>" if title else f"<rect {shape}/>"


def _axis(report: Report, scale: Scale) -> str:
    ticks = [
        f'<text class="tick{" more" if number % 2 else ""}" x="{percent(scale.share(at))}" y="14">'
        f"{words.clock(at, with_seconds=scale.step < 60)}</text>"
        for number, at in enumerate(scale.ticks(report.gaps))
        if scale.share(at) < 0.985
    ]
    return f'<span class="n">time (UTC)</span><svg class="axis" aria-hidden="true">{"".join(ticks)}</svg>'


def _waves_row(report: Report, scale: Scale) -> str:
    """Which wave was worked on when, and the interruptions by name."""
    drawn = []
    for wave in report.waves:
        if wave.began is None:
            continue
        ended = report.ended if wave.ended is None else wave.ended
        title = f"wave {wave.number}: {words.clock(wave.began)} to {words.clock(ended)}"
        drawn.append(_bar(scale, wave.began, ended, "terminating", 11, 4, title))
        drawn.append(f'<text class="tick start" x="{percent(scale.share(wave.began))}" y="8">{wave.number}</text>')
    if not drawn:
        return ""
    pauses = "".join(
        f'<text class="tick halo" x="{percent((scale.share(gap.began) + scale.share(gap.ended)) / 2)}" y="8">'
        f"{words.duration(gap.seconds)}</text>"
        for gap in report.gaps
    )
    return (
        '<span class="n">waves</span><svg role="img" aria-label="when each wave was worked on">'
        f'<use href="#grid"/>{"".join(drawn)}{OVER if report.gaps else ""}{pauses}</svg>'
    )


def _row(
    node: NodeStory, names: Mapping[str, str], blocked: Mapping[str, list[Blocked]], scale: Scale, over: str
) -> str:
    name = names[node.instance]
    bars = "".join(_span(span, scale) for span in node.spans if span.ended > span.began)
    marks = "".join(
        _bar(
            scale,
            one.since,
            one.since + one.seconds if one.until is None else one.until,
            "blockmark",
            14,
            2.5,
            f"{one.pod} was held up for {words.duration(one.seconds)} by {words.blocked_by(one)}",
        )
        for one in blocked.get(node.node, ())
        if node.old
    )
    outcome = words.NODE_OUTCOMES.get(node.outcome, node.outcome)
    age = "old" if node.old else "new"
    row = f'<use href="#grid"/>{bars}{marks}{over}'
    return (
        f'<span class="n" title="{text(node.name)} {text(node.instance)}"><b>{age}</b> {text(name)}</span>'
        f'<svg role="img" aria-label="{text(name)}, {age}: {text(outcome)}">{row}</svg>'
    )


def _span(span: Span, scale: Scale) -> str:
    thin = span.stage in THIN
    title = (
        f"{words.NODE_STAGES[span.stage]}: {words.clock(span.began)} to {words.clock(span.ended)}, "
        f"{words.duration(span.seconds)}"
    )
    return _bar(scale, span.began, span.ended, STAGE_CLASSES[span.stage], 6 if thin else 2, 4 if thin else 12, title)


def _wave(report: Report, number: int, rows: Sequence[str], unfolded: bool) -> str:
    wave = next((one for one in report.waves if one.number == number), None)
    nodes = [node for node in report.nodes if node.wave == number]
    old = sum(node.old for node in nodes)
    facts = [counted(old, "old node") if old else "", counted(len(nodes) - old, "new node") if len(nodes) > old else ""]
    if wave and wave.began is not None:
        ended = report.ended if wave.ended is None else wave.ended
        idle = sum(gap.seconds for gap in report.gaps if wave.began <= gap.began and gap.ended <= ended)
        took = words.duration(ended - wave.began - idle)
        facts.append(f"{words.clock(wave.began)} to {words.clock(ended) if wave.ended else 'the end'}, {took}")
    title = f"Wave {number}" if number else "Not begun with"
    facts_text = ", ".join(fact for fact in facts if fact)
    return (
        f'<details class="wave"{" open" if unfolded else ""}><summary><b>{title}</b> <span>{text(facts_text)}</span>'
        f'</summary><div class="time">{"".join(rows)}</div></details>'
    )


def _legend(report: Report) -> str:
    seen = {span.stage for node in report.nodes for span in node.spans}
    items = []
    for stage in LEGEND:
        if stage in seen or (stage == records.NOT_DRAINED and records.CARRIED in seen):
            top, height = (4, 4) if stage in THIN else (0, 12)
            items.append(_sample(STAGE_CLASSES[stage], top, height, LEGEND_NAMES.get(stage, words.NODE_STAGES[stage])))
    if report.blocked:
        items.append(_sample("blockmark", 7, 2.5, "a pod is held up"))
    if report.gaps:
        items.append(_sample("idle", 0, 12, "nobody worked on it, drawn shortened"))
    return f'<ul class="legend">{"".join(items)}</ul>'


def _sample(kind: str, top: float, height: float, name: str) -> str:
    shape = f'<rect class="{kind}" width="26" y="{top}" height="{height}"/>'
    return f'<li><svg width="26" height="12" aria-hidden="true">{shape}</svg>{name}</li>'
