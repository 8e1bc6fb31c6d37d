# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of an upgrade as data and as Markdown, and the words of both and of the page. Pure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.cleaning import cleaned, without_secrets
from ansible_collections.evergreen.eks.plugins.module_utils.report import records, words
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import timestamp_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.markdown import code, plain, table
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_records import (
    PARTIAL,
    PartStory,
    UpgradeReport,
)

SCHEMA = 1
OUTCOMES = {**words.OUTCOMES, PARTIAL: "Some parts done"}


def upgrade_json(report: UpgradeReport) -> str:
    return json.dumps(upgrade_document(report), indent=1, default=str) + "\n"


def upgrade_document(report: UpgradeReport) -> dict[str, Any]:
    """The document, without any secret that a passed on message held: docs/upgrade.md describes it."""
    return cleaned(
        {
            "schema": SCHEMA,
            "written": timestamp_of(report.written),
            "run": report.run,
            "outcome": report.outcome,
            "cause": report.ending.cause,
            "resume_command": report.ending.resume_command,
            "cluster": {"name": report.cluster_name, "account": report.account, "region": report.region},
            "version_before": report.was,
            "version": report.version,
            "began": timestamp_of(report.began),
            "ended": timestamp_of(report.ended),
            "seconds": round(report.seconds),
            "parts": [part.as_dict() for part in report.parts],
            "attempts": [
                {
                    "began": timestamp_of(one.began),
                    "ended": timestamp_of(one.ended),
                    "outcome": one.outcome,
                    "operator": one.operator,
                    "awx_job_id": one.awx_job_id,
                    "cause": one.cause,
                }
                for one in report.attempts
            ],
            "difference": report.difference.splitlines(),
            "sources": list(report.sources),
        }
    )


def upgrade_markdown(report: UpgradeReport) -> str:
    """Every part that has something to say, in the order of the page."""
    outcome = OUTCOMES.get(report.outcome, report.outcome).lower()
    facts = [
        ("When", f"{words.period(report.began, report.ended)} ({words.duration(report.seconds)})"),
        ("Who", who(report)),
        ("Account", f"{report.account}, {report.region}"),
        ("Run", report.run),
    ]
    parts = [
        f"# Upgrade of {plain(report.cluster_name)} from {report.was} to {report.version}: {outcome}",
        f"**{plain(headline(report))}.**",
        "\n".join(f"- **{name}:** {plain(value)}" for name, value in facts if value),
        *_ways_on(report),
        "## Parts",
        table(("part", "began", "took", "state"), (_row(part) for part in report.parts)),
        *(_details(part) for part in report.parts if part.lines or part.reports),
        *_difference(report),
        *_attempts(report),
    ]
    return "\n\n".join(parts) + "\n"


def headline(report: UpgradeReport) -> str:
    """All of it in one sentence."""
    done = f"{len(report.done)} of {len(report.parts)} parts done"
    if report.outcome == records.FINISHED:
        return f"Upgraded from {report.was} to {report.version} in {words.duration(report.seconds)}"
    return f"{done} on the way from {report.was} to {report.version}"


def who(report: UpgradeReport) -> str:
    """Everybody who ran it, each once."""
    names = [
        f"{one.operator} (AWX job {one.awx_job_id})" if one.awx_job_id else one.operator for one in report.attempts
    ]
    return ", ".join(dict.fromkeys(filter(None, names)))


def state(part: PartStory) -> str:
    """How far a part has come, in words."""
    if part.finished:
        return "done" if part.attempts < 2 else f"done at attempt {part.attempts}"
    return "begun, not finished" if part.began else "not begun"


def link(path: str) -> str:
    """A report of the same folder is named relative to this one, so that both may be moved together."""
    return Path(path).name


def _row(part: PartStory) -> tuple[object, ...]:
    return part.title, part.began, words.duration(part.seconds), state(part)


def _details(part: PartStory) -> str:
    lines = [f"### {plain(part.title)}", ""]
    lines += [f"- {plain(line)}" for line in part.lines]
    lines += [f"- report: {code(path)}" for path in part.reports.values()]
    return "\n".join(lines)


def _ways_on(report: UpgradeReport) -> list[str]:
    lines = [f"- Why: {plain(report.ending.cause)}"] if report.ending.cause else []
    if report.ending.resume_command:
        lines.append(f"- To go on: {code(report.ending.resume_command)}")
    return ["## How to go on", "\n".join(lines)] if lines else []


def _difference(report: UpgradeReport) -> list[str]:
    """As it stands: the lines are aligned for people."""
    lines = [f"    {without_secrets(line)}" for line in report.difference.splitlines()]
    return ["## The cluster before and after", "\n".join(lines)] if lines else []


def _attempts(report: UpgradeReport) -> list[str]:
    if len(report.attempts) < 2:
        return []
    rows = [
        (
            number,
            words.period(one.began, one.ended),
            one.operator,
            OUTCOMES.get(one.outcome, one.outcome).lower(),
            one.cause,
        )
        for number, one in enumerate(report.attempts, 1)
    ]
    return ["## Runs", table(("run", "when", "who", "ended", "why"), rows)]
