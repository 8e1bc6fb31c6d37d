# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of an upgrade's report. Nothing here may keep the run from its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from ansible.module_utils.common.warnings import warn

from ansible_collections.evergreen.eks.plugins.module_utils.private_file import replace_privately
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import Event, events_of, seconds_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.files import FORMATS, Wish
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import RUNNING, Ending
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_forms import upgrade_json, upgrade_markdown
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_page import upgrade_page
from ansible_collections.evergreen.eks.plugins.module_utils.report.upgrade_records import (
    UpgradeReport,
    ending_of,
    tell_upgrade,
)
from ansible_collections.evergreen.eks.plugins.module_utils.store import CLUSTER_ITSELF
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_checkpoint import UpgradeCheckpoint
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

WRITERS: Mapping[str, tuple[str, Callable[[UpgradeReport], str]]] = {
    "html": ("html", upgrade_page),
    "markdown": ("md", upgrade_markdown),
    "json": ("json", upgrade_json),
}


def leave_upgrade_report(
    wish: Wish,
    journal: Path,
    checkpoint: UpgradeCheckpoint,
    ending: Ending,
    call: Call,
    place: str,
    difference: str = "",
) -> dict[str, str]:
    """Write the reports that are wished for; the path of each. What goes wrong is a warning.

    C(difference) says how the cluster differs from what it was before, in lines.
    """
    if not wish.formats:
        return {}
    try:
        now = seconds_of(call.clock.timestamp()) or 0.0
        sources = (f"journal {journal}", f"checkpoint {place}")
        report = tell_upgrade(checkpoint, _events(journal, checkpoint.run_id), now, ending, sources, difference)
        return _write(report, wish.folder(journal), wish)
    except Exception as error:  # a mistake in a report must not change how the run ends
        warn(f"The report of the upgrade was not written: {error}")
        return {}


def told_later(
    wish: Wish, journal: Path, checkpoint: UpgradeCheckpoint, alive: bool, call: Call, place: str
) -> tuple[UpgradeReport, dict[str, str]]:
    """The report of an upgrade that has ended, was killed or still runs, and the path of each file. Raises OSError."""
    events = _events(journal, checkpoint.run_id)
    ending = ending_of(checkpoint, events, alive)
    now = seconds_of(call.clock.timestamp()) or 0.0
    at = now if ending.outcome == RUNNING else max((event.at for event in events), default=now)
    report = tell_upgrade(checkpoint, events, at, ending, (f"journal {journal}", f"checkpoint {place}"))
    return report, {} if call.check_mode else _write(report, wish.folder(journal), wish)


def _write(report: UpgradeReport, folder: Path, wish: Wish) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = {}
    for name in (one for one in FORMATS if one in wish.formats):
        ending, writer = WRITERS[name]
        path = folder / f"{quote(CLUSTER_ITSELF, safe='')}.{quote(report.run, safe='')}.report.{ending}"
        replace_privately(path, writer(report).encode())
        written[name] = str(path)
    return written


def _events(journal: Path, run: str) -> list[Event]:
    """What the journal holds of this run; nothing where it cannot be read."""
    try:
        with journal.open(encoding="utf-8", errors="replace") as lines:
            return events_of(lines, run)
    except OSError:
        return []
