# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of an upgrade as one self-contained page, in the look of a rollout's. Pure."""

from __future__ import annotations

from urllib.parse import quote

from ansible_collections.evergreen.eks.plugins.module_utils.report import words
from ansible_collections.evergreen.eks.plugins.module_utils.report.markup import cell, definition, section, table, text
from ansible_collections.evergreen.eks.plugins.module_utils.report.page import POLICY
from ansible_collections.evergreen.eks.plugins.module_utils.report.style import OUTCOME_CLASSES, OUTCOME_SIGNS, STYLE
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_forms import (
    OUTCOMES,
    headline,
    link,
    state,
    who,
)
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_records import PartStory, UpgradeReport


def upgrade_page(report: UpgradeReport) -> str:
    title = f"{report.cluster_name}: {headline(report)}"
    rows = [_row(part) for part in report.parts]
    parts = [
        _ways_on(report),
        section("Parts", table(["part", "began", "took", "state"], rows), "In the order in which they are done."),
        *(section(part.title, _details(part)) for part in report.parts),
        section("The cluster before and after", _difference(report)),
        section("Runs", _attempts(report), "Started again, an upgrade goes on where it stopped."),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="color-scheme" content="light dark"><title>{text(title)}</title><style>{STYLE}</style></head>\n'
        f"<body>{_head(report)}\n<main>" + "\n".join(part for part in parts if part) + "</main>\n"
        f"{_foot(report)}</body></html>\n"
    )


def _head(report: UpgradeReport) -> str:
    outcome = report.outcome
    badge = (
        f'<p class="badge {OUTCOME_CLASSES.get(outcome, "warn")}"><i><b>{OUTCOME_SIGNS.get(outcome, "!")}</b></i>'
        f"{text(OUTCOMES.get(outcome, outcome))}</p>"
    )
    facts = "".join(
        (
            definition("", "When", words.period(report.began, report.ended)),
            definition("", "Took", words.duration(report.seconds)),
            definition("", "Who", who(report)),
            definition("", "Account", report.account, report.region),
            definition("", "Run", report.run),
        )
    )
    return (
        f'<header class="top"><div class="eyebrow">Upgrade of cluster</div><h1>{text(report.cluster_name)}</h1>{badge}'
        f'<p class="lead">{text(headline(report))}</p><dl class="facts">{facts}</dl></header>'
    )


def _ways_on(report: UpgradeReport) -> str:
    ending = report.ending
    parts = [f"<p>{text(ending.cause)}</p>"] if ending.cause else []
    if ending.resume_command:
        parts.append(f"<div><b>To go on</b><pre>{text(ending.resume_command)}</pre></div>")
    if not parts:
        return ""
    kind = OUTCOME_CLASSES.get(report.outcome, "warn")
    return f'<section class="ways {kind}"><h2>It is not finished</h2>{"".join(parts)}</section>'


def _row(part: PartStory) -> str:
    return (
        cell(part.title, kind="k")
        + cell(part.began, "began")
        + cell(words.duration(part.seconds), "took")
        + cell(state(part), "state")
    )


def _details(part: PartStory) -> str:
    """What was answered of it, and the way to the report of its rollout."""
    items = "".join(f"<li>{text(line)}</li>" for line in part.lines)
    page = part.reports.get("html")
    if page:
        items += f'<li><a href="{quote(link(page))}">{text(link(page))}</a></li>'
    return f'<ul class="plain">{items}</ul>' if items else ""


def _difference(report: UpgradeReport) -> str:
    return f"<pre>{text(report.difference.strip())}</pre>" if report.difference.strip() else ""


def _attempts(report: UpgradeReport) -> str:
    if len(report.attempts) < 2:
        return ""
    rows = [
        cell(words.period(one.began, one.ended), kind="k")
        + cell(words.duration(one.ended - one.began), "took")
        + cell(one.operator, "who", small=f"AWX job {one.awx_job_id}" if one.awx_job_id else "")
        + cell(OUTCOMES.get(one.outcome, one.outcome).lower(), "ended", "long", small=one.cause)
        for one in report.attempts
    ]
    return table(["when", "took", "who", "how it ended"], rows)


def _foot(report: UpgradeReport) -> str:
    said = [
        f"Written {words.moment(report.written)} by evergreen.eks, all times in UTC.",
        *(f"From {source}." for source in report.sources),
    ]
    return f"<footer>{''.join(f'<div>{text(line)}</div>' for line in said)}</footer>"
