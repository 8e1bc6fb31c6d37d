# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who was forced, as the journal and the checkpoint remember it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.checkpoints import a_checkpoint

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import read_checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.forced import in_words, note_forced, read_forced

STARTED = "2026-11-21T01:02:03Z"


def event(uid: str, action: str = "delete", kind: str = "pod_forced", time: str = STARTED, **rest: Any) -> str:
    """One line of a journal."""
    fields = {"node": "ip-1", "pod": f"shop/{uid}", "uid": uid, "action": action, "after": 600, "budgets": []}
    return json.dumps({"time": time, "schema": 1, "kind": kind, "text": "...", **fields, **rest})


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([event("a"), event("b", "force")], [("a", "delete"), ("b", "force")]),
        ([event("a"), event("a", "delete_grace_1")], [("a", "delete"), ("a", "delete_grace_1")]),
        ([event("a"), event("a")], [("a", "delete")]),  # tried once more
        ([event("a"), event("a", kind="pod_not_forced")], []),
        ([event("a"), event("a", kind="pod_not_forced"), event("a")], [("a", "delete")]),
        ([event("a", time="2026-11-20T23:00:00Z")], []),  # of an earlier run
        (
            ['{"kind": "pod_forced"', '"pod_forced"', '{"kind": "text", "text": "pod_forced"}', event("a")],
            [("a", "delete")],
        ),
        ([], []),
    ],
)
def test_what_the_journal_tells(lines: list[str], found: list[tuple[str, str]], tmp_path: Path) -> None:
    journal = tmp_path / "shared.journal.jsonl"
    journal.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert [(one["uid"], one["action"]) for one in read_forced(journal, STARTED)] == found


def test_the_checkpoint_remembers_where_the_journal_is_another_one(tmp_path: Path) -> None:
    journal, elsewhere = tmp_path / "here.jsonl", tmp_path / "elsewhere.jsonl"
    journal.write_text(event("a", time="2026-11-21T02:00:00Z") + "\n", encoding="utf-8")
    elsewhere.write_text(event("b", time="2026-11-21T01:30:00Z") + "\n", encoding="utf-8")
    checkpoint = a_checkpoint()
    note_forced(checkpoint, journal)
    checkpoint = read_checkpoint(checkpoint.to_json(), "here")
    for path in (elsewhere, journal, tmp_path / "none.jsonl"):
        note_forced(checkpoint, path)
    assert [one["pod"] for one in checkpoint.forced] == ["shop/b", "shop/a"]
    assert in_words(checkpoint.forced) == "2 pods were forced: shop/b (delete), shop/a (delete)"
    assert in_words([]) == ""
