# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a report is told from and written into, and that a run ends as it would without."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from unit.checkpoints import a_checkpoint
from unit.fakes import FakeClock
from unit.journals import RUN, finished_journal, resumed_journal

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.report import leave, module
from ansible_collections.evergreen.eks.plugins.module_utils.report.files import (
    FORMATS,
    ReportError,
    Sources,
    Wish,
    beside,
    find_journal,
    make_report,
    paths_of,
    write_report,
)
from ansible_collections.evergreen.eks.plugins.module_utils.report.leave import leave_report, shown
from ansible_collections.evergreen.eks.plugins.module_utils.report.module import is_alive, report_rollout
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Ending
from ansible_collections.evergreen.eks.plugins.module_utils.store import Place, journal_path
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

PLACE = Place("111122223333", "eu-central-1", "prod", "a/b")
NOW = 1_800_000_000.0


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """The journal of a rollout that has finished, where the store would have it."""
    path = journal_path(str(tmp_path), PLACE)
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(finished_journal().lines) + "\n", encoding="utf-8")
    return path


def test_the_files_stand_beside_the_journal_private_and_whole(journal: Path) -> None:
    report = make_report(Sources("a/b", journal), NOW)
    written = write_report(report, Wish(FORMATS).folder(journal), FORMATS)

    base = journal.parent / f"a%2Fb.{RUN}.report"
    assert written == {"html": f"{base}.html", "markdown": f"{base}.md", "json": f"{base}.json"}
    assert {path.stat().st_mode & 0o777 for path in map(Path, written.values())} == {0o600}
    assert [path.name for path in journal.parent.iterdir() if path.suffix == ".tmp"] == []
    assert json.loads(Path(written["json"]).read_text(encoding="utf-8"))["sources"] == [f"journal {journal}"]


def test_only_the_formats_and_the_folder_that_are_wished_for(journal: Path, tmp_path: Path) -> None:
    wish = Wish.of({"formats": ["json"], "dir": str(tmp_path / "new" / "folder")})
    report = make_report(Sources("a/b", journal), NOW)

    assert list(write_report(report, wish.folder(journal), wish.formats)) == ["json"]
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [f"a%2Fb.{RUN}.report.json"]
    assert Wish.of(None) == Wish()
    assert paths_of(report, tmp_path, ()) == {}


def test_a_report_that_cannot_be_written_names_the_file_and_a_remedy(journal: Path, tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("", encoding="utf-8")
    with pytest.raises(ReportError) as failure:
        write_report(make_report(Sources("a/b", journal), NOW), occupied, FORMATS)

    assert failure.value.reason == "report_unwritable"
    assert str(occupied) in failure.value.message
    assert "eks_report_dir" in failure.value.remedy


@pytest.mark.parametrize(("run", "lines"), [("", []), ("another", finished_journal().lines)])
def test_a_run_that_nobody_knows_is_named(tmp_path: Path, run: str, lines: list[str]) -> None:
    path = tmp_path / "j.journal.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ReportError) as failure:
        make_report(Sources("shared", path), NOW, run=run)

    assert failure.value.reason == "no_run"
    assert failure.value.remedy


def test_without_a_journal_it_is_told_from_the_checkpoint_and_says_so(tmp_path: Path) -> None:
    report = make_report(Sources("shared", tmp_path / "none", a_checkpoint(), "ConfigMap x"), NOW)

    assert (report.run, len(report.old), report.sources) == (RUN, 2, ["checkpoint ConfigMap x"])
    assert "could not be read" in report.missing[0]


def test_a_checkpoint_of_another_run_is_not_mixed_in(journal: Path) -> None:
    sources = Sources("a/b", journal, a_checkpoint(run_id="another"))

    assert len(make_report(sources, NOW, run=RUN).old) == 6


# --- at the end of a run ---------------------------------------------------------------------------------------------


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(leave, "warn", said.append)
    return said


def call() -> Call:
    return Call(clock=FakeClock())


def test_a_run_leaves_its_report_with_the_end_that_it_knows(journal: Path, warnings: list[str]) -> None:
    journal.write_text("\n".join(finished_journal().lines[:30]), encoding="utf-8")
    ending = Ending("failed", "no reason", "go on", "go back")
    reports = leave_report(Wish(("json",)), "a/b", journal, None, ending, call())
    told = json.loads(Path(reports["json"]).read_text(encoding="utf-8"))

    assert (told["outcome"], told["cause"], told["resume_command"]) == ("failed", "no reason", "go on")
    assert warnings == []
    assert shown(reports) == f"report: {reports['json']}"


@pytest.mark.parametrize("mistake", [OSError("full"), EvergreenError("no"), KeyError("x"), RecursionError()])
def test_whatever_goes_wrong_is_a_warning(
    mistake: Exception, journal: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_named: Any) -> None:
        raise mistake

    monkeypatch.setattr(leave, "make_report", fail)

    assert leave_report(Wish(FORMATS), "a/b", journal, None, Ending(), call()) == {}
    assert warnings[0].startswith("The report of node group a/b was not written")
    assert shown({}) == ""


def test_who_wishes_for_none_gets_none(journal: Path) -> None:
    assert leave_report(Wish(), "a/b", journal, None, Ending(), call()) == {}
    assert not list(journal.parent.glob("*.report.*"))


# --- when it is asked for -------------------------------------------------------------------------------------------


def test_where_nobody_knows_the_account_the_journal_that_was_written_last_is_meant(tmp_path: Path) -> None:
    older, newer = (
        journal_path(str(tmp_path), Place(account, "eu-central-1", "prod", "a/b")) for account in ("1", "2")
    )
    for number, path in enumerate((older, newer)):
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (number, number))

    assert find_journal(str(tmp_path), "prod", "a/b") == newer
    assert find_journal(str(tmp_path), "prod", "other") is None


def options(directory: Path, **own: Any) -> dict[str, Any]:
    state = {"store": "file", "dir": str(directory), "namespace": "", "bucket": None, "prefix": ""}
    plain = {"cluster_name": "prod", "asg_name": "a/b", "state": state, "poll_seconds": 0.1}
    return {**plain, "run_id": None, "formats": ["json"], "dir": None, "restore_command": "go back", **own}


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> None:
        raise EvergreenError("STS does not answer", remedy="Log in")

    monkeypatch.setattr(module, "stored_run", fail)


@pytest.mark.usefixtures("no_aws")
def test_without_aws_an_archived_checkpoint_beside_the_journal_is_found(journal: Path, tmp_path: Path) -> None:
    _unfinished, archived = beside(journal, RUN)
    archived.write_text(a_checkpoint(ended="2026-11-21T01:20:00Z").to_json(), encoding="utf-8")
    answer = report_rollout(options(tmp_path), call())
    told = json.loads(Path(answer["reports"]["json"]).read_text(encoding="utf-8"))

    assert told["sources"] == [f"journal {journal}", f"checkpoint {archived}"]
    assert told["missing"] == ["AWS was not asked: STS does not answer."]
    assert answer["summary"][0] == f"a/b: {told['replaced']} nodes replaced in 11 min 40 s"
    assert answer["summary"][-1] == answer["reports"]["json"]
    assert answer["report"]["restore_command"] == "", "there is nothing to go back from"


@pytest.mark.usefixtures("no_aws")
def test_an_unfinished_run_has_its_way_back(journal: Path, tmp_path: Path) -> None:
    lines = [line for line in resumed_journal().lines if '"run_ended"' not in line]
    journal.write_text("\n".join(lines), encoding="utf-8")
    answer = report_rollout(options(tmp_path), call())

    assert answer["report"]["restore_command"] == "go back"
    assert answer["report"]["outcome"] in ("running", "interrupted")


@pytest.mark.usefixtures("no_aws")
def test_where_there_is_no_journal_either_the_cause_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="STS does not answer") as failure:
        report_rollout(options(tmp_path), call())

    assert (failure.value.reason, failure.value.remedy) == ("no_run", "Log in")


@pytest.mark.parametrize(("holder", "alive"), [("", None), ("elsewhere/0/0/1/1", None), ("not a label", None)])
def test_of_another_machine_nobody_knows_whether_it_lives(holder: str, alive: bool | None) -> None:
    assert is_alive(a_checkpoint(holder=holder), call()) is alive
    assert is_alive(None, call()) is None
