# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as data, for machines: docs/report.md describes it. Times are UTC timestamps, durations seconds."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.cleaning import cleaned
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import timestamp_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Attempt, Blocked, NodeStory, Report

SCHEMA = 1


def to_json(report: Report) -> str:
    return json.dumps(as_document(report), indent=1, default=str) + "\n"


def as_document(report: Report) -> dict[str, Any]:
    """The document, without any secret that a passed on message held."""
    return cleaned(_document(report))


def _document(report: Report) -> dict[str, Any]:
    cluster = report.cluster
    return {
        "schema": SCHEMA,
        "written": timestamp_of(report.written),
        **_summary(report),
        "cluster": {"name": report.cluster_name, "account": report.account, "region": report.region},
        "target": report.target,
        "limits": {"surge": report.surge, "unavailable": report.unavailable, "floor": report.floor},
        "attempts": [_attempt(one) for one in report.attempts],
        "interruptions": [
            {
                "began": timestamp_of(gap.began),
                "ended": timestamp_of(gap.ended),
                "seconds": round(gap.seconds),
                "after": gap.outcome,
            }
            for gap in report.gaps
        ],
        "stages": [{"stage": phase.stage, "seconds": round(phase.seconds)} for phase in report.phases],
        "waves": [
            {
                "number": wave.number,
                "began": timestamp_of(wave.began),
                "ended": timestamp_of(wave.ended),
                "instances": list(wave.instances),
            }
            for wave in report.waves
        ],
        "nodes": [_node(node) for node in report.nodes],
        "capacity": [
            {
                "time": timestamp_of(one.at),
                **{name: getattr(one, name) for name in ("desired", "max", "members", "ready", "floor")},
            }
            for one in report.capacity
        ],
        "blocked": [_blocked(one) for one in report.blocked],
        "forced": [dict(one) for one in report.forced],
        "gates": [
            {"time": timestamp_of(gate.at), "passed": gate.passed, "wave": gate.wave, "text": gate.text}
            for gate in report.gates
        ],
        "picture": {
            "taken": timestamp_of(cluster.before_at),
            "compared": timestamp_of(cluster.after_at),
            "before": dict(cluster.before),
            "after": dict(cluster.after),
            "worse": list(cluster.worse),
            "better": list(cluster.better),
        },
        "sources": report.sources,
        "missing": report.missing,
    }


def summary_of(report: Report) -> dict[str, Any]:
    """The first part of the document, which is also part of the module's result."""
    return cleaned(_summary(report))


def _summary(report: Report) -> dict[str, Any]:
    seen = [one.ready for one in report.capacity if one.ready is not None]
    return {
        "group": report.group,
        "run": report.run,
        "outcome": report.outcome,
        "cause": report.cause,
        "began": timestamp_of(report.began),
        "ended": timestamp_of(report.ended),
        "seconds": round(report.seconds),
        "seconds_worked": round(report.seconds_worked),
        "selected": report.selected,
        "replaced": len(report.replaced),
        "lowest_ready": min(seen, default=None),
        "below_floor": bool(report.below_floor),
        "resume_command": report.resume_command,
        "restore_command": report.restore_command,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "began": timestamp_of(attempt.began),
        "ended": timestamp_of(attempt.ended),
        "seconds": round(attempt.seconds),
        "outcome": attempt.outcome,
        "resumed": attempt.resumed,
        "purpose": attempt.purpose,
        "operator": attempt.operator,
        "awx_job_id": attempt.awx_job_id,
        "cause": attempt.cause,
    }


def _node(node: NodeStory) -> dict[str, Any]:
    return {
        "instance_id": node.instance,
        "node": node.node,
        "old": node.old,
        "zone": node.zone,
        "wave": node.wave,
        "reason": node.reason,
        "outcome": node.outcome,
        "pods": node.pods,
        "stages": [
            {"stage": span.stage, "began": timestamp_of(span.began), "seconds": round(span.seconds)}
            for span in node.spans
        ],
        "gone": timestamp_of(node.times.get("terminated")),
    }


def _blocked(blocked: Blocked) -> dict[str, Any]:
    return {
        "pod": blocked.pod,
        "node": blocked.node,
        "since": timestamp_of(blocked.since),
        "until": timestamp_of(blocked.until),
        "seconds": round(blocked.seconds),
        "reason": blocked.reason,
        "budget": blocked.budget,
        "message": blocked.message,
        "remedy": blocked.remedy,
    }
