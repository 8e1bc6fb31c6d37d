# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last words of an upgrade that stops: where, why, what is done, and the way on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.course import Part
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, sentence
from ansible_collections.evergreen.eks.plugins.module_utils.report.leave import shown
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import FAILED, STOPPED, Ending
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_files import leave_upgrade_report
from ansible_collections.evergreen.eks.plugins.module_utils.stopping import Stopped
from ansible_collections.evergreen.eks.plugins.module_utils.unfinished import Unfinished
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade import Upgrade
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_checkpoint import UpgradeCheckpoint
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

UNREADABLE = "How far it came stands in its checkpoint, which cannot be read now."
WAY_ON = "To go on: "


def fail(upgrade_of: Callable[[], Upgrade], params: Mapping[str, Any], call: Call) -> None:
    """Say where the upgrade stopped and how to go on, also when nobody answers any more. Always raises Unfinished."""
    upgrade, checkpoint = _found(upgrade_of)
    where = _where(params)
    cause = params["cause"].strip()
    lines = _progress(checkpoint) if checkpoint else []
    if upgrade is None:
        lines = [UNREADABLE]
    head = f"the upgrade of cluster {params['cluster_name']} is not finished: it stopped at {where}"
    way = f"{WAY_ON}{params['resume_command'] or 'run it again'}"
    remedy = "" if WAY_ON in cause else way  # what stopped in a node group has said so, and how to go back
    reports: dict[str, str] = {}
    if upgrade and checkpoint:
        outcome = STOPPED if params["cause_reason"] == Stopped.default_reason else FAILED
        ending = Ending(outcome, call.journal.clean(cause), call.journal.clean(params["resume_command"] or ""))
        call.journal.about(run=checkpoint.run_id)
        call.journal.write("run_ended", reason=params["cause_reason"], **asdict(ending))
        reports = leave_upgrade_report(
            upgrade.wish, upgrade.journal, checkpoint, ending, call, place=upgrade.store.place
        )
    for line in filter(None, (f"stopped at {where}", *lines, remedy, shown(reports))):
        call.journal.write("last_words", text=line)
    raise Unfinished(
        " ".join([*(sentence(text) for text in (head[:1].upper() + head[1:], *lines)), _ended(cause, remedy)]).strip(),
        reason=params["cause_reason"] or None,
        remedy=remedy,
        part=params["part"] or "",
        resume_command=params["resume_command"] or "",
        done=[part.title for part in checkpoint.done] if checkpoint else [],
        open=[part.title for part in checkpoint.open] if checkpoint else [],
        reports=reports,
    )


def _found(upgrade_of: Callable[[], Upgrade]) -> tuple[Optional[Upgrade], Optional[UpgradeCheckpoint]]:
    """The upgrade, and its checkpoint where this run has it in hand; None and None where nobody can read it."""
    with suppress(EvergreenError):
        upgrade = upgrade_of()
        checkpoint = upgrade.store.load()
        if checkpoint and not checkpoint.ended and checkpoint.holder == upgrade.holder.label:
            return upgrade, checkpoint
        return upgrade, None
    return None, None


def _where(params: Mapping[str, Any]) -> str:
    if params["part"] and params["part_version"]:
        return Part(params["part"], params["part_version"], params["asg_name"]).title
    return f"'{params['failed_task']}'"


def _progress(checkpoint: UpgradeCheckpoint) -> list[str]:
    done = [part.title for part in checkpoint.done]
    left = [part.title for part in checkpoint.open]
    return [f"Done: {', '.join(done) or 'nothing'}", f"Left: {', '.join(left) or 'nothing'}"]


def _ended(cause: str, remedy: str) -> str:
    """The cause as a sentence; with a command at its end as it is."""
    return sentence(cause) if remedy else cause
