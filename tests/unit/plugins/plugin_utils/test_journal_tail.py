# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The live view of a journal: every complete line once, whenever it was written."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.journal import event_in
from ansible_collections.evergreen.eks.plugins.plugin_utils.journal_tail import JournalTail
from ansible_collections.evergreen.eks.plugins.plugin_utils.progress_lines import Lines


def event(text: str, **fields: str) -> str:
    return json.dumps({"time": "2026-11-21T01:02:03Z", "kind": "resettled", "text": text, **fields}) + "\n"


def append(journal: Path, text: str) -> None:
    with journal.open("a", encoding="utf-8") as file:
        file.write(text)


def tail_of(journal: Path, shown: list[Any], interval: float = 0.01) -> JournalTail:
    return JournalTail(str(journal), Lines("shared"), shown.append, interval)


def test_lines_of_earlier_runs_are_not_shown_again(tmp_path: Path) -> None:
    journal, shown = tmp_path / "shared.jsonl", []
    append(journal, event("of an earlier run"))

    with tail_of(journal, shown):
        append(journal, event("first"))
        append(journal, event("second"))

    assert [line.text for line in shown] == ["   01:02:03Z [shared] first", "   01:02:03Z [shared] second"]


def test_a_line_that_is_still_being_written_is_shown_when_it_is_complete(tmp_path: Path) -> None:
    journal, shown = tmp_path / "shared.jsonl", []
    whole = event("Überraschung")
    tail = tail_of(journal, shown)

    append(journal, whole[:40])
    tail.look(last=True)
    assert shown == []

    append(journal, whole[40:])
    tail.look(last=True)
    tail.look(last=True)
    assert [line.text for line in shown] == ["   01:02:03Z [shared] Überraschung"]


def test_the_journal_need_not_exist_at_first(tmp_path: Path) -> None:
    journal, shown = tmp_path / "later.jsonl", []
    with tail_of(journal, shown):
        append(journal, event("here now"))

    assert [line.text for line in shown] == ["   01:02:03Z [shared] here now"]


def test_what_happens_is_shown_within_a_second_while_the_module_works(tmp_path: Path) -> None:
    journal, shown = tmp_path / "shared.jsonl", []
    with tail_of(journal, shown, interval=0.25):
        written = time.monotonic()
        append(journal, event("now"))
        while not shown and time.monotonic() - written < 5:
            time.sleep(0.02)
        seconds = time.monotonic() - written

    assert len(shown) == 1 and seconds < 1.5, "a second, and what a busy machine adds"


@pytest.mark.parametrize("line", ["", "no json", "[]", "7", "null", '{"time": "2026-'])
def test_what_is_no_event_is_passed_over(line: str) -> None:
    assert event_in(line.encode()) is None
