# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as one self-contained page: no script, no request to anybody, for screens of any width and for paper."""

from __future__ import annotations

from ansible_collections.evergreen.eks.plugins.module_utils.report import records, tables, words
from ansible_collections.evergreen.eks.plugins.module_utils.report.chart import chart
from ansible_collections.evergreen.eks.plugins.module_utils.report.markup import definition, section, text
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Report
from ansible_collections.evergreen.eks.plugins.module_utils.report.scale import Scale
from ansible_collections.evergreen.eks.plugins.module_utils.report.style import (
    OUTCOME_CLASSES,
    OUTCOME_SIGNS,
    PATTERNS,
    STYLE,
)
from ansible_collections.evergreen.eks.plugins.module_utils.report.timeline import timeline

# A page that asks nobody for anything, whatever got into it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def to_html(report: Report) -> str:
    scale = Scale(report.began, report.ended, report.gaps)
    names = words.short_names(report.nodes)
    folded = len(report.nodes) > 2 * tables.MOST_PODS
    parts = [
        _ways_on(report),
        _stats(report),
        section("Where the time went", _time(report)),
        section(
            "Timeline",
            timeline(report, scale, names),
            "One row a node: the new ones of a wave, then the old ones. Point at a bar for its times.",
        ),
        section(
            "Capacity against the floor",
            chart(report, scale),
            "The nodes that are Ready and take pods should never fall into the shaded part, below the floor.",
        ),
        section("Old nodes", _foldable(tables.old_nodes(report, names), len(report.old), folded)),
        section("New nodes", _foldable(tables.new_nodes(report, names), len(report.new), folded)),
        section("Pods that were held up", tables.blocked(report), words.briefly(report)),
        section("Forced", tables.forced(report), "Pods that left by the escalation that the operator wrote."),
        section("The cluster before and after", tables.cluster(report), _pictures(report)),
        section("Runs", tables.attempts(report), "Started again, a rollout goes on where it stopped."),
        section("Line by line", tables.log(report)),
    ]
    title = f"{report.group}: {words.headline(report)}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="color-scheme" content="light dark"><title>{text(title)}</title><style>{STYLE}</style></head>\n'
        f"<body>{PATTERNS}{_head(report)}\n<main>"
        + "\n".join(part for part in parts if part)
        + f"</main>\n{_foot(report)}</body></html>\n"
    )


# --- the parts ---------------------------------------------------------------------------------------------------


def _head(report: Report) -> str:
    outcome = report.outcome
    badge = (
        f'<p class="badge {OUTCOME_CLASSES.get(outcome, "warn")}"><i><b>{OUTCOME_SIGNS.get(outcome, "!")}</b></i>'
        f"{text(words.OUTCOMES.get(outcome, outcome))}</p>"
    )
    place = " · ".join(filter(None, (report.region, report.account)))
    facts = "".join(
        (
            definition("", "When", words.period(report.began, report.ended)),
            definition("", "Who", words.who(report)),
            definition("", "Cluster", report.cluster_name, place),
            definition("", "New nodes are launched from", report.target),
            definition("", "Limits", words.limits(report)),
            definition("", "Run", report.run),
        )
    )
    return (
        f'<header class="top"><div class="eyebrow">Rollout of node group</div><h1>{text(report.group)}</h1>{badge}'
        f'<p class="lead">{text(words.headline(report))}</p><p class="story">{text(" ".join(words.story(report)))}</p>'
        f'<dl class="facts">{facts}</dl></header>'
    )


def _ways_on(report: Report) -> str:
    """Why it stopped, or was put back, and the commands to go on and back where there are any."""
    if report.outcome in (records.RUNNING, records.FINISHED):
        return ""
    parts = [f"<p>{text(report.cause)}</p>"] if report.cause else []
    for way, command in (("To go on", report.resume_command), ("To go back", report.restore_command)):
        if command:
            parts.append(f"<div><b>{way}</b><pre>{text(command)}</pre></div>")
    if not parts:
        return ""
    kind = OUTCOME_CLASSES.get(report.outcome, "warn")
    title = "It is not finished" if report.unfinished else words.WHY_PUT_BACK
    return f'<section class="ways {kind}"><h2>{title}</h2>{"".join(parts)}</section>'


def _stats(report: Report) -> str:
    ready = [one.ready for one in report.capacity if one.ready is not None]
    promised = words.promised(report)
    floor = f"{promised} were promised" if promised else ""
    first = report.held_up[0] if report.held_up else None
    worked = f"{words.duration(report.seconds_worked)} without interruptions" if report.gaps else ""
    waves = sum(wave.began is not None for wave in report.waves)
    facts = (
        definition("stat", "Nodes replaced", len(report.replaced), f"of {report.selected} that were selected"),
        definition("stat", "Took", words.duration(report.seconds), worked),
        definition("stat", "Waves", waves or None),
        definition("stat", "Fewest nodes Ready", min(ready) if ready else None, floor),
        definition(
            "stat", "Longest held up", words.duration(first.seconds) if first else "nobody", first.pod if first else ""
        ),
        definition("stat", "Pods forced", len({one["uid"] for one in report.forced}) or "none"),
    )
    return f'<dl class="stats">{"".join(facts)}</dl>'


def _time(report: Report) -> str:
    """What the run was at for how long, the longest first, and the interruptions."""
    rows = [(words.stage_name(one.stage), one.seconds, "") for one in report.phases if one.seconds >= 1]
    rows += [(f"nobody worked on it, from {words.moment(gap.began)}", gap.seconds, " wait") for gap in report.gaps]
    if not rows:
        return ""
    most = max(seconds for _name, seconds, kind in rows if not kind or len(rows) == 1) if report.phases else rows[0][1]
    drawn = "".join(
        f'<span>{text(name[:1].upper() + name[1:])}</span><span class="v">{words.duration(seconds)}</span>'
        f'<span class="b{kind}" style="width:{min(100.0, 100 * seconds / max(most, 1)):.1f}%"></span>'
        for name, seconds, kind in sorted(rows, key=lambda row: (row[2], -row[1]))
    )
    return f'<div class="bars card">{drawn}</div>'


def _foldable(content: str, number: int, folded: bool) -> str:
    """A table of very many nodes is folded up."""
    if not content or not folded:
        return content
    return f"<details><summary>{number} nodes</summary>{content}</details>"


def _pictures(report: Report) -> str:
    cluster = report.cluster
    if cluster.after_at is None:
        return "The picture of the beginning was not compared with any later one." if cluster.before else ""
    worse = "" if cluster.worse else " Nothing was worse then."
    taken = f"The picture of {words.moment(cluster.before_at)}" if cluster.before_at else "The picture of the beginning"
    return f"{taken}, and the last gate's look at {words.moment(cluster.after_at)}.{worse}"


def _foot(report: Report) -> str:
    said = [
        *report.missing,
        f"Written {words.moment(report.written)} by evergreen.eks, all times in UTC.",
        *(f"From {source}." for source in report.sources),
    ]
    return f"<footer>{''.join(f'<div>{text(line)}</div>' for line in said)}</footer>"
