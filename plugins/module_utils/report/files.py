# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a report: from which it is told, and into which it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional
from urllib.parse import quote

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint, read_checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.private_file import disk_is_full, replace_privately
from ansible_collections.evergreen.eks.plugins.module_utils.report.document import to_json
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import Event, each_event, events_of, last_run
from ansible_collections.evergreen.eks.plugins.module_utils.report.markdown import to_markdown
from ansible_collections.evergreen.eks.plugins.module_utils.report.page import to_html
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Ending, Report
from ansible_collections.evergreen.eks.plugins.module_utils.report.story import tell
from ansible_collections.evergreen.eks.plugins.module_utils.store_file import files_anywhere

WRITERS: Mapping[str, tuple[str, Callable[[Report], str]]] = {
    "html": ("html", to_html),
    "markdown": ("md", to_markdown),
    "json": ("json", to_json),
}
FORMATS = tuple(WRITERS)
JOURNAL = ".journal.jsonl"
#: the options of the dictionary that says which reports a run leaves
WISH_OPTIONS: Mapping[str, Any] = {
    "formats": {"type": "list", "elements": "str", "choices": list(FORMATS), "default": list(FORMATS)},
    "dir": {"type": "path"},
}


class ReportError(EvergreenError):
    """A report that cannot be made; C(reason) is no_run, journal_unreadable or report_unwritable."""


@dataclass(frozen=True)
class Wish:
    """Which reports are wanted, and where; "" is beside the journal."""

    formats: tuple[str, ...] = ()
    directory: str = ""

    @classmethod
    def of(cls, raw: Optional[Mapping[str, Any]]) -> Wish:
        return cls(tuple(raw["formats"] or ()), raw["dir"] or "") if raw else cls()

    def folder(self, journal: Path) -> Path:
        return Path(self.directory).expanduser().absolute() if self.directory else journal.parent


@dataclass(frozen=True)
class Sources:
    """What a report is told from: the journal of a group, and the checkpoint of one of its runs."""

    group: str
    journal: Path
    checkpoint: Optional[Checkpoint] = None
    checkpoint_place: str = ""
    missing: tuple[str, ...] = ()  # what could not be had, in words


def make_report(
    sources: Sources,
    now: float,
    *,
    run: str = "",
    alive: Optional[bool] = None,
    ending: Optional[Ending] = None,
) -> Report:
    """The report of this run, or of the last one. ``now`` is seconds since 1970. Raises ReportError."""
    run = run or (sources.checkpoint.run_id if sources.checkpoint else "")
    run, own, missing = _events(sources, run)
    checkpoint = sources.checkpoint if sources.checkpoint and sources.checkpoint.run_id == run else None
    if not run or not (own or checkpoint):
        raise ReportError(
            f"node group {sources.group} has no run {run}".rstrip() + f" in {sources.journal}",
            reason="no_run",
            remedy="Name the folder of its journal and checkpoint (eks_state_dir), and the store (eks_state_store)",
        )
    report = tell(sources.group, run, own, checkpoint, now, alive=alive, ending=ending)
    report.sources = [f"journal {sources.journal}"] if own else []
    report.sources += [f"checkpoint {sources.checkpoint_place}"] if checkpoint and sources.checkpoint_place else []
    report.missing = [*missing, *sources.missing]
    return report


def write_report(report: Report, folder: Path, formats: Sequence[str]) -> dict[str, str]:
    """Write it in these formats, each file in one step, readable by its owner only; the path of each.

    Raises ReportError where one cannot be written.
    """
    written = {}
    for name, path in paths_of(report, folder, formats).items():
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_privately(path, WRITERS[name][1](report).encode())
        except OSError as error:
            raise ReportError(
                f"report {path} cannot be written: {error.strerror or error}",
                reason="report_unwritable",
                remedy=(
                    "Free the disk, then make it with evergreen.eks.report"
                    if disk_is_full(error)
                    else "Name a folder that you may write to (eks_report_dir)"
                ),
            ) from error
        written[name] = str(path)
    return written


def paths_of(report: Report, folder: Path, formats: Sequence[str]) -> dict[str, str]:
    """The file of each format: C(<group, percent-encoded>.<run id>.report.html)."""
    base = f"{quote(report.group, safe='')}.{quote(report.run, safe='')}.report"
    return {name: folder / f"{base}.{WRITERS[name][0]}" for name in FORMATS if name in formats}


def find_journal(directory: str, cluster: str, group: str) -> Optional[Path]:
    """The journal of a group, of whichever account and region it is, where nobody can be asked which: the one that was
    written last."""
    return max(files_anywhere(directory, cluster, group, JOURNAL), key=lambda path: path.stat().st_mtime, default=None)


def beside(journal: Path, run: str) -> tuple[Path, Path]:
    """Where the store C(file) keeps the checkpoint of a run of this journal's group: while it lasts, and after it."""
    base = journal.name.removesuffix(JOURNAL)
    return journal.with_name(f"{base}.json"), journal.with_name(f"{base}.{run}.done.json")


def checkpoint_beside(journal: Path, run: str) -> tuple[Optional[Checkpoint], str]:
    """The checkpoint of this run that the store C(file) keeps there, in use or put aside, and its path."""
    for path in beside(journal, run):
        with suppress(OSError, EvergreenError):
            checkpoint = read_checkpoint(path.read_bytes(), str(path))
            if checkpoint.run_id == run:
                return checkpoint, str(path)
    return None, ""


def _events(sources: Sources, run: str) -> tuple[str, list[Event], list[str]]:
    """The run, the last one where none is named, and what the journal holds of it, of which nothing else is kept.

    A journal that cannot be read is said, where there is a checkpoint to tell from.
    """
    try:
        with sources.journal.open(encoding="utf-8", errors="replace") as lines:
            if not run:
                run = last_run(each_event(lines))
                lines.seek(0)
            return run, events_of(lines, run) if run else [], []
    except OSError as error:
        if sources.checkpoint is None:
            raise ReportError(
                f"journal {sources.journal} cannot be read: {error.strerror or error}",
                reason="no_run" if isinstance(error, FileNotFoundError) else "journal_unreadable",
                remedy="Name the folder of its journal and checkpoint (eks_state_dir), and the store (eks_state_store)",
            ) from error
        return run, [], [f"The journal {sources.journal} could not be read: told from the checkpoint alone."]
