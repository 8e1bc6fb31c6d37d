# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as Markdown, for a ticket or a merge request: short, and read well as plain text, too. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ansible_collections.evergreen.eks.plugins.module_utils.cleaning import without_secrets
from ansible_collections.evergreen.eks.plugins.module_utils.report import records, words
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import NodeStory, Report

MOST_NODES = 200  # a ticket is no place for a thousand rows: the page and the JSON have them all
MOST_PODS = 20
SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~])")
# What GitHub and GitLab take for people, issues, merge requests and epics, whatever is escaped; and HTML's entities.
REFERENCE = re.compile(r"([@#&](?=[\w#\\])|!(?=\d))")
NO_SPACE = "\u200b"  # of no width: between the sign and the name nobody sees it, and nobody is called


def to_markdown(report: Report) -> str:
    """Every part that has something to say, in the order of the page."""
    parts = [
        *_head(report),
        *_ways_on(report),
        *_time(report),
        *_nodes("Old nodes", report.old, _old_row, _OLD, report),
        *_nodes("New nodes", report.new, _new_row, _NEW, report),
        *_blocked(report),
        *_forced(report),
        *_cluster(report),
        *_attempts(report),
        *(f"_{plain(text)}_" for text in report.missing),
    ]
    return "\n\n".join(parts) + "\n"


def plain(text: object) -> str:
    """Text in which nothing means anything to Markdown or calls anybody, and no line ends."""
    return REFERENCE.sub(rf"\1{NO_SPACE}", SPECIAL.sub(r"\\\1", " ".join(without_secrets(str(text)).split())))


def code(text: str) -> str:
    """One line of code, whatever is in it."""
    clean = " ".join(without_secrets(text).split())
    fence = "`" * (max((len(run) for run in re.findall("`+", clean)), default=0) + 1)
    return f"{fence} {clean} {fence}" if "`" in clean else f"`{clean}`"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _head in heads) + " |"]
    lines += ["| " + " | ".join(plain(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


# --- the parts ---------------------------------------------------------------------------------------------------

_OLD = ("wave", "node", "instance", "zone", "why", "cordoned", "drain", "pods", "gone", "outcome")
_NEW = ("wave", "node", "instance", "zone", "launched", "Ready after", "outcome")


def _head(report: Report) -> list[str]:
    title = f"# Rollout of {plain(report.group)}: {words.OUTCOMES.get(report.outcome, report.outcome).lower()}"
    facts = [
        ("When", f"{words.period(report.began, report.ended)} ({words.duration(report.seconds)})"),
        ("Who", words.who(report)),
        ("Cluster", ", ".join(filter(None, (report.cluster_name, report.region, report.account)))),
        ("Target", report.target),
        ("Limits", words.limits(report)),
        ("Run", report.run),
    ]
    lines = "\n".join(f"- **{name}:** {plain(value)}" for name, value in facts if value)
    return [title, f"**{plain(words.headline(report))}.** {plain(' '.join(words.story(report)))}", lines]


def _ways_on(report: Report) -> list[str]:
    if report.outcome == records.PUT_BACK:
        return [f"## {words.WHY_PUT_BACK}", plain(report.cause)] if report.cause else []
    if not report.unfinished:
        return []
    lines = [f"- Why: {plain(report.cause)}"] if report.cause else []
    for title, command in (("To go on", report.resume_command), ("To go back", report.restore_command)):
        if command:
            lines.append(f"- {title}: {code(command)}")
    return ["## How to go on", "\n".join(lines)] if lines else []


def _time(report: Report) -> list[str]:
    if not report.phases:
        return []
    rows = [
        (words.stage_name(phase.stage), words.duration(phase.seconds))
        for phase in sorted(report.phases, key=lambda phase: -phase.seconds)
    ]
    rows += [
        (f"interruption, {words.period(gap.began, gap.ended)}", words.duration(gap.seconds)) for gap in report.gaps
    ]
    return ["## Where the time went", table(("stage", "time"), rows)]


def _nodes(title: str, nodes: Sequence[NodeStory], row, heads: Sequence[str], report: Report) -> list[str]:
    if not nodes:
        return []
    names = words.short_names(report.nodes)
    found = [f"## {title}", table(heads, (row(node, names[node.instance]) for node in nodes[:MOST_NODES]))]
    return found + ([f"And {len(nodes) - MOST_NODES} more."] if len(nodes) > MOST_NODES else [])


def _old_row(node: NodeStory, name: str) -> tuple[object, ...]:
    drain = node.seconds_in(records.DRAINING)
    return (
        node.wave or "",
        name,
        node.instance,
        node.zone,
        words.reason_name(node.reason),
        words.clock(node.times.get(records.CORDONED)),
        words.duration(drain) if drain else "",
        "" if node.pods is None else node.pods,
        words.clock(node.times.get(records.TERMINATED)),
        words.NODE_OUTCOMES.get(node.outcome, node.outcome),
    )


def _new_row(node: NodeStory, name: str) -> tuple[object, ...]:
    return (
        node.wave or "",
        name,
        node.instance,
        node.zone,
        words.clock(node.times.get(records.LAUNCHED)),
        words.duration(node.seconds_to_ready),
        words.NODE_OUTCOMES.get(node.outcome, node.outcome),
    )


def _blocked(report: Report) -> list[str]:
    if not report.held_up:
        return []
    rows = [
        (
            one.pod,
            words.blocked_by(one),
            words.duration(one.seconds) + ("" if one.until is not None else ", still" if report.unfinished else ""),
            one.message,
            one.remedy,
        )
        for one in report.held_up[:MOST_PODS]
    ]
    more = len(report.held_up) - MOST_PODS
    found = ["## Pods that were held up", table(("pod", "by", "for", "why", "what helps"), rows)]
    return found + ([f"And {more} more."] if more > 0 else [])


def _forced(report: Report) -> list[str]:
    if not report.forced:
        return []
    rows = [
        (
            one.get("pod", ""),
            one.get("node", ""),
            words.ACTIONS.get(str(one.get("action")), one.get("action", "")),
            policy_of(one),
            ", ".join(one.get("budgets") or ()),
            one.get("time", ""),
        )
        for one in report.forced
    ]
    return ["## Forced", table(("pod", "node", "what was done", "by which policy", "budgets overruled", "time"), rows)]


def policy_of(forced: dict) -> str:
    """The step of the escalation that was taken."""
    return forced.get("policy") or f"escalation step of {forced.get('after')} s"


def _cluster(report: Report) -> list[str]:
    cluster = report.cluster
    if not cluster.after:
        return []
    rows = [
        (words.NUMBERS.get(name, name), before, cluster.after.get(name, ""), _change(before, cluster.after.get(name)))
        for name, before in cluster.before.items()
    ]
    found = ["## The cluster before and after", table(("", "before", "after", "change"), rows)]
    worse = "\n".join(f"- worse: {plain(text)}" for text in cluster.worse)
    return found + ([worse] if worse else [])


def _change(before: int, after: object) -> str:
    return f"{after - before:+d}" if isinstance(after, int) and after != before else ""


def _attempts(report: Report) -> list[str]:
    if len(report.attempts) < 2:
        return []
    rows = [
        (
            number,
            words.period(one.began, one.ended),
            words.duration(one.seconds),
            one.operator,
            words.OUTCOMES.get(one.outcome, one.outcome).lower(),
            one.cause,
        )
        for number, one in enumerate(report.attempts, 1)
    ]
    return ["## Runs", table(("run", "when", "took", "who", "ended", "why"), rows)]
