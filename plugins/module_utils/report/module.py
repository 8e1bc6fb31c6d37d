# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of the module rollout_report: finds what there is of a run, and writes its report."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.report import words
from ansible_collections.evergreen.eks.plugins.module_utils.report.document import summary_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import each_event, last_run, seconds_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.files import (
    ReportError,
    Sources,
    Wish,
    checkpoint_beside,
    find_journal,
    make_report,
    paths_of,
    write_report,
)
from ansible_collections.evergreen.eks.plugins.module_utils.rollout_options import stored_run
from ansible_collections.evergreen.eks.plugins.module_utils.store import default_directory, journal_path
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call


def report_rollout(params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """The module's result. Raises ReportError, InvalidInput."""
    if not params["cluster_name"]:
        raise InvalidInput("cluster_name is not set", remedy="Name the EKS cluster whose nodes these are")
    sources = sources_of(params, call)
    now = seconds_of(call.clock.timestamp()) or 0.0
    report = make_report(sources, now, run=params["run_id"] or "", alive=is_alive(sources.checkpoint, call))
    if report.unfinished and not report.restore_command:
        report.restore_command = call.journal.clean(params["restore_command"] or "")
    wish = Wish(tuple(params["formats"]), params["dir"] or "")
    paths = {name: str(path) for name, path in paths_of(report, wish.folder(sources.journal), wish.formats).items()}
    if not call.check_mode:
        write_report(report, wish.folder(sources.journal), wish.formats)
    lines = [f"{report.group}: {words.headline(report)}", *words.story(report), *report.missing]
    return {
        "changed": bool(paths),
        "reports": paths,
        "report": summary_of(report),
        "summary": [*lines, *paths.values()],
    }


def sources_of(params: Mapping[str, Any], call: Call) -> Sources:
    """The journal, and the checkpoint of the run that is asked for, or else of the last one.

    Without AWS nobody knows which account's files are meant; then the journal that was written last is taken.
    """
    directory, group, run = params["state"]["dir"] or default_directory(), params["asg_name"], params["run_id"] or ""
    hurried = call.in_a_hurry()
    try:
        _aws, _client, place, store = stored_run(dict(params), hurried)
    except InvalidInput:
        raise
    except EvergreenError as error:
        journal = find_journal(directory, params["cluster_name"], group)
        if journal is None:
            raise ReportError(
                f"node group {group} has no journal below {directory}, and it cannot be asked which account it is in: "
                f"{error.message}",
                reason="no_run",
                remedy=error.remedy,
            ) from error
        return _local(group, journal, run, (f"AWS was not asked: {error.message}.",))
    sources = Sources(group, journal_path(directory, place))
    try:
        for checkpoint in (store.load(), store.former()):
            if checkpoint and run in ("", checkpoint.run_id):
                return replace(sources, checkpoint=checkpoint, checkpoint_place=store.place)
    except EvergreenError as error:
        sources = replace(sources, missing=(f"The checkpoint could not be read: {error.message}.",))
    return _local(group, sources.journal, run, sources.missing)


def is_alive(checkpoint: Optional[Checkpoint], call: Call) -> Optional[bool]:
    """Whether the process lives that worked on it last; None where that cannot be known."""
    holder = Holder.parse(checkpoint.holder) if checkpoint else None
    gone = holder.gone(Holder.here(call.lifeline)) if holder else None
    return None if gone is None else not gone


def _local(group: str, journal: Path, run: str, missing: tuple[str, ...]) -> Sources:
    """What lies on this machine: the checkpoint beside the journal, of an unfinished or of an archived run."""
    with suppress(OSError), journal.open(encoding="utf-8", errors="replace") as lines:
        run = run or last_run(each_event(lines))
    return Sources(group, journal, *checkpoint_beside(journal, run), missing)
