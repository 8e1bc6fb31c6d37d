# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables of the page. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.evergreen.eks.plugins.module_utils.report import records, words
from ansible_collections.evergreen.eks.plugins.module_utils.report.markdown import policy_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.markup import cell, table, text
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import NodeStory, Report

MOST_PODS = 300
MOST_LINES = 3000  # the journal has them all


def old_nodes(report: Report, names: Mapping[str, str]) -> str:
    """The nodes that were to go: before, when, and what became of them."""
    days = words.several_days(report)
    rows = [
        cell(names[node.instance], kind="k", small=node.instance)
        + cell(node.wave or "", "wave")
        + cell(node.zone, "zone")
        + cell(words.reason_name(node.reason), "why", "long")
        + cell(_at(node, records.CORDONED, days), "cordoned")
        + cell(_drained(node), "drain", small=_pods(node))
        + cell(_at(node, records.TERMINATED, days), "gone")
        + cell(words.NODE_OUTCOMES.get(node.outcome, node.outcome), "outcome")
        for node in report.old
    ]
    return table(["node", "wave", "zone", "why", "cordoned", "drain took", "gone", "outcome"], rows)


def new_nodes(report: Report, names: Mapping[str, str]) -> str:
    days = words.several_days(report)
    rows = [
        cell(names[node.instance], kind="k", small=node.instance)
        + cell(node.wave or "", "wave")
        + cell(node.zone, "zone")
        + cell(_at(node, records.LAUNCHED, days), "launched")
        + cell(_at(node, records.READY, days), "Ready")
        + cell(words.duration(node.seconds_to_ready), "took")
        + cell(words.NODE_OUTCOMES.get(node.outcome, node.outcome), "outcome")
        for node in report.new
    ]
    return table(["node", "wave", "zone", "launched", "Ready", "took", "outcome"], rows)


def blocked(report: Report) -> str:
    rows = [
        cell(one.pod, kind="k", small=one.node.partition(".")[0])
        + cell(words.duration(one.seconds), "for", "t", small="" if one.until is not None else "to the end")
        + cell(words.blocked_by(one), "by")
        + cell(one.message, "why", "long")
        + cell(one.remedy, "what helps", "long")
        for one in report.held_up[:MOST_PODS]
    ]
    more = len(report.held_up) - MOST_PODS
    rest = f'<p class="note">And {more} more, in the JSON.</p>' if more > 0 else ""
    return table(["pod", "for", "by", "why", "what helps"], rows) + rest


def forced(report: Report) -> str:
    rows = [
        cell(one.get("pod", ""), kind="k", small=str(one.get("node", "")).partition(".")[0])
        + cell(words.ACTIONS.get(str(one.get("action")), one.get("action", "")), "what was done", "long")
        + cell(policy_of(one), "policy", "long")
        + cell(", ".join(one.get("budgets") or ()) or "none", "budgets overruled")
        + cell(str(one.get("time", "")).replace("T", " ").replace("Z", " UTC"), "time")
        for one in report.forced
    ]
    return table(["pod", "what was done", "by which policy", "budgets overruled", "time"], rows)


def cluster(report: Report) -> str:
    """The numbers of both pictures, and what was worse in the second."""
    seen = report.cluster
    rows = []
    for name, before in seen.before.items():
        after = seen.after.get(name)
        change = "" if after in (None, before) else f"{after - before:+d}"
        label = words.NUMBERS.get(name, name.replace("_", " "))
        rows.append(
            cell(label, kind="k")
            + cell(before, "before")
            + cell("" if after is None else after, "after")
            + cell(change, "change")
        )
    content = table(["", "before", "after", "change"], rows)
    for title, texts in (("Worse than before", seen.worse), ("Better than before", seen.better)):
        if texts:
            items = "".join(f"<li>{text(item)}</li>" for item in texts[:MOST_PODS])
            content += f'<h3>{title}</h3><ul class="plain">{items}</ul>'
    return content


def attempts(report: Report) -> str:
    if len(report.attempts) < 2:
        return ""
    rows = [
        cell(words.period(one.began, one.ended), kind="k", small="the way back" if one.purpose == "restore" else "")
        + cell(words.duration(one.seconds), "took")
        + cell(one.operator, "who", small=f"AWX job {one.awx_job_id}" if one.awx_job_id else "")
        + cell(words.OUTCOMES.get(one.outcome, one.outcome).lower(), "ended", "long", small=one.cause)
        for one in report.attempts
    ]
    return table(["when", "took", "who", "how it ended"], rows)


def log(report: Report) -> str:
    """What people saw while it ran, line by line."""
    if not report.lines:
        return ""
    shown = report.lines[-MOST_LINES:]
    left = len(report.lines) - len(shown)
    lead = f'<p class="note">The first {left} lines are left out; the journal has them.</p>' if left else ""
    lines = "".join(f"<li><time>{words.clock(line.at)}</time>{text(line.text)}</li>" for line in shown)
    log_lines = f'{lead}<ol class="log mono">{lines}</ol>'
    return f'<details class="screen"><summary>{len(shown)} lines</summary>{log_lines}</details>'


def _at(node: NodeStory, stage: str, with_day: bool) -> str:
    at = node.times.get(stage)
    if at is None:
        return ""
    return f"{words.day(at)[5:]} {words.clock(at)}" if with_day else words.clock(at)


def _drained(node: NodeStory) -> str:
    took = node.seconds_in(records.DRAINING)
    return words.duration(took) if records.DRAINING in node.times else ""


def _pods(node: NodeStory) -> str:
    return "" if node.pods is None else f"{node.pods} pod{'' if node.pods == 1 else 's'}"
