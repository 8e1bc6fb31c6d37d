# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The live view of a journal: every complete line once, whenever it was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.evergreen.eks.plugins.plugin_utils.journal_tail import JournalTail, as_line


def event(text: str, **fields: str) -> str:
    return json.dumps({"time": "2026-11-21T01:02:03Z", "kind": "progress", "text": text, **fields}) + "\n"


def append(journal: Path, text: str) -> None:
    with journal.open("a", encoding="utf-8") as file:
        file.write(text)


def test_lines_of_earlier_runs_are_not_shown_again(tmp_path: Path) -> None:
    journal, shown = tmp_path / "shared.jsonl", []
    append(journal, event("of an earlier run"))

    with JournalTail(str(journal), "shared", shown.append, interval=0.01):
        append(journal, event("first"))
        append(journal, event("second"))

    assert shown == ["   01:02:03Z [shared] first", "   01:02:03Z [shared] second"]


def test_a_line_that_is_still_being_written_is_shown_when_it_is_complete(tmp_path: Path) -> None:
    journal, shown = tmp_path / "shared.jsonl", []
    whole = event("Überraschung")
    tail = JournalTail(str(journal), "shared", shown.append)

    append(journal, whole[:40])
    tail.look()
    assert shown == []

    append(journal, whole[40:])
    tail.look()
    tail.look()
    assert shown == ["   01:02:03Z [shared] Überraschung"]


def test_the_journal_need_not_exist_at_first(tmp_path: Path) -> None:
    journal, shown = tmp_path / "later.jsonl", []
    with JournalTail(str(journal), "shared", shown.append, interval=0.01):
        append(journal, event("here now"))

    assert shown == ["   01:02:03Z [shared] here now"]


@pytest.mark.parametrize("line", ["", "no json", "[]", "7", '{"kind": "silent"}', '{"text": "  "}'])
def test_what_has_no_text_is_not_shown(line: str) -> None:
    assert as_line(line.encode(), "shared") is None


def test_a_text_stays_one_line_and_an_event_may_name_its_group() -> None:
    assert as_line(event("two\nlines\x1b", group="istio").encode(), "shared") == "   01:02:03Z [istio] two lines"
