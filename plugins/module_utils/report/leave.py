# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report that a run leaves at its end, whichever that is. Nothing here may keep the run from its end."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from ansible.module_utils.common.warnings import warn

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import seconds_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.files import Sources, Wish, make_report, write_report
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Ending
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call


def leave_report(
    wish: Wish, group: str, journal: Path, checkpoint: Optional[Checkpoint], ending: Ending, call: Call, place: str = ""
) -> dict[str, str]:
    """Write the reports that are wished for; the path of each. What goes wrong is a warning."""
    if not wish.formats:
        return {}
    try:
        now = seconds_of(call.clock.timestamp()) or 0.0
        sources = Sources(group, journal, checkpoint, place)
        report = make_report(sources, now, alive=True, ending=ending)
        return write_report(report, wish.folder(journal), wish.formats)
    except Exception as error:  # a mistake in a report must not change how the run ends
        warn(f"The report of node group {group} was not written: {error}")
        return {}


def shown(reports: dict[str, str]) -> str:
    """The one that people open, in words; "" where there is none."""
    path = next(iter(reports.values()), "")
    return f"report: {path}" if path else ""
