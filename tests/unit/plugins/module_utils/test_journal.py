# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: its events, its files, and the table of kinds that every write and its document are held against."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils import journal as journals
from ansible_collections.evergreen.eks.plugins.module_utils.drain import forcing
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.journal import (
    COMMON_FIELDS,
    KINDS,
    STAGES,
    SUBJECT_FIELDS,
    WAVE_FIELDS,
    Journal,
    context_of,
)

REPOSITORY = Path(__file__).resolve().parents[4]
DOCUMENT = (REPOSITORY / "docs" / "journal.md").read_text(encoding="utf-8")
WRITERS = {"write", "write_new", "say", "_write", "_tell"}
NO_FIELDS = {*COMMON_FIELDS, *WAVE_FIELDS, *SUBJECT_FIELDS}


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# ---- one event


def test_each_event_is_one_line_with_time_schema_and_context(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    Journal(str(path), FakeClock(), module="node_drain").write("in_sight", node="a", text="Node a is in sight")
    Journal(str(path), FakeClock()).write("in_sight")
    first, second = events(path)
    assert first == {
        "time": "2026-11-21T01:02:03Z",
        "schema": 2,
        "kind": "in_sight",
        "module": "node_drain",
        "node": "a",
        "text": "Node a is in sight",
    }
    assert second["kind"] == "in_sight"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("params", "context"),
    [
        ({}, {"run": "", "group": "", "stage": ""}),
        ({"asg_name": "shared", "run_id": "r-1", "about": None}, {"run": "r-1", "group": "shared", "stage": ""}),
        (
            {"asg_name": "shared", "about": {"run": "r-2", "stage": "drain", "wave": 2, "waves": 5, "group": None}},
            {"run": "r-2", "group": "shared", "stage": "drain", "wave": 2, "waves": 5},
        ),
        ({"about": {"group": "istio", "wave": 0, "waves": 3}}, {"run": "", "group": "istio", "stage": ""}),
    ],
)
def test_what_all_events_of_a_task_have_in_common(params: dict[str, Any], context: dict[str, Any]) -> None:
    assert context_of(params) == context


def test_no_event_holds_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    module = SimpleNamespace(
        params={"journal": str(path)}, check_mode=False, _name="node_drain", no_log_values={"hunter2"}
    )
    Journal.of(module, FakeClock()).write(
        "trouble",
        text="the proxy refuses hunter2 at https://ann:s3cret@proxy:3128",
        trouble={"deep": ["Bearer k8s-aws-v1.aHR0cHM6Ly9zdHM", "hunter2"]},
    )
    text = path.read_text(encoding="utf-8")
    assert not [secret for secret in ("hunter2", "s3cret", "aHR0cHM6Ly9zdHM") if secret in text]
    assert "https://proxy:3128" in text


def test_the_secrets_of_an_inline_kubeconfig_are_those_of_the_module(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    kubeconfig = {"kind": "Config", "users": [{"name": "ann", "user": {"client-key-data": "c2VjcmV0"}}]}
    params = {"journal": str(path), "kubeconfig": kubeconfig}
    module = SimpleNamespace(params=params, check_mode=False, _name="node_drain", no_log_values=set())
    Journal.of(module, FakeClock()).write("trouble", text="ann is refused with c2VjcmV0")

    assert module.no_log_values == {"c2VjcmV0"}, "Ansible cuts them out of the result"
    assert "c2VjcmV0" not in path.read_text(encoding="utf-8")


def test_what_is_told_again_only_when_it_is_new(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "run.jsonl"), FakeClock())
    for ready in (3, 3, 4, 3):
        journal.write_new("capacity", ready=ready)
    assert [event["ready"] for event in events(tmp_path / "run.jsonl")] == [3, 4, 3]


def test_what_people_are_told_is_remembered_by_its_moment() -> None:
    clock = FakeClock()
    journal = Journal(None, clock)
    journal.write("capacity", ready=3)
    assert journal.told_at < clock.now()
    journal.write("in_sight", text="Node a is in sight")
    assert journal.told_at == clock.now()


# ---- the files


def test_a_file_that_is_known_later_gets_what_was_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "screen.jsonl").touch()
    monkeypatch.setenv("EVERGREEN_SCREEN", str(tmp_path / "screen.jsonl"))
    journal = Journal.of(SimpleNamespace(params={}, check_mode=False, _name="rollout_state"), FakeClock())
    journal.write("swept", instances=["i-1"])
    journal.about(run="r-1")
    journal.also(str(tmp_path / "own.jsonl"))
    journal.also(str(tmp_path / "own.jsonl"))
    journal.write("run_begun")
    assert [(event["kind"], event["run"]) for event in events(tmp_path / "own.jsonl")] == [
        ("swept", "r-1"),
        ("run_begun", "r-1"),
    ]
    assert [event["kind"] for event in events(tmp_path / "screen.jsonl")] == ["swept", "run_begun"]


def test_a_journal_that_cannot_be_written_is_refused_before_anything_happens(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file or directory.*Name a file in a directory that exists"):
        Journal(str(tmp_path / "missing" / "run.jsonl"), FakeClock())


@pytest.mark.parametrize(
    "params",
    [
        {"about": {"run": "r-1", "group": "shared", "stage": "drain"}},
        {"run_id": "r-1", "about": None},
        {"stage": "failed", "about": None},
    ],
)
def test_a_run_that_has_begun_goes_on_without_a_journal_that_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, params: dict[str, Any]
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(journals, "warn", warnings.append)
    screen, path = tmp_path / "screen.jsonl", tmp_path / "deleted" / "run.jsonl"
    screen.touch()
    monkeypatch.setenv("EVERGREEN_SCREEN", str(screen))
    module = SimpleNamespace(params={"journal": str(path), **params}, check_mode=False, _name="node_drain")
    Journal.of(module, FakeClock()).write("in_sight", text="Node a is in sight")
    assert warnings == [f"The journal {path} cannot be written: No such file or directory; the work goes on without"]
    assert [event["kind"] for event in events(screen)] == ["in_sight"], "it is shown all the same"


def test_outside_of_a_run_a_module_refuses_a_journal_that_cannot_be_opened(tmp_path: Path) -> None:
    params = {"journal": str(tmp_path / "deleted" / "run.jsonl"), "about": None, "stage": "reserve"}
    with pytest.raises(InvalidInput, match="cannot be written"):
        Journal.of(SimpleNamespace(params=params, check_mode=False, _name="rollout_state"), FakeClock())


def test_a_line_that_was_torn_takes_no_other_event_with_it(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"kind": "run_begun"}\n{"kind": "pod_fo', encoding="utf-8")
    for _call in range(2):
        Journal(str(path), FakeClock()).write("pod_forced", pod="shop/web-1")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ['{"kind": "run_begun"}', '{"kind": "pod_fo']
    assert [json.loads(line)["pod"] for line in lines[2:]] == ["shop/web-1", "shop/web-1"]


def test_a_write_that_was_cut_short_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(journals, "warn", warnings.append)
    path = tmp_path / "run.jsonl"
    journal, write = Journal(str(path), FakeClock()), os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
    journal.write("in_sight")
    journal.write("in_sight")
    assert path.stat().st_size == 10, "nothing is glued to the torn line"
    assert [re.sub(r"of \d+", "of n", text) for text in warnings] == [
        f"The journal {path} cannot be written any more, the work goes on without: only 10 of n bytes were taken"
    ]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_a_journal_on_a_full_disk_is_said_once_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(journals, "warn", warnings.append)
    journal = Journal("/dev/full", FakeClock())
    journal.also(str(tmp_path / "other.jsonl"))
    journal.write("in_sight", text="Node a is in sight")
    journal.write("in_sight", text="Node b is in sight")
    assert warnings == [
        "The journal /dev/full cannot be written any more, the work goes on without: No space left on device"
    ]
    assert len(events(tmp_path / "other.jsonl")) == 2, "the other one goes on"


def test_a_journal_without_a_path_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Journal(None, FakeClock()).write("in_sight")
    assert list(tmp_path.iterdir()) == []


# ---- the table of kinds


def writes() -> Iterator[tuple[str, str, set[str]]]:
    """Every write of an event in the collection: where, its kind, its fields as far as they stand there."""
    for path in sorted((REPOSITORY / "plugins").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args):
                continue
            if call.func.attr not in WRITERS or not _about_a_journal(call.func, path):
                continue
            kind = call.args[0]
            fields = {keyword.arg for keyword in call.keywords if keyword.arg}
            named = kind.value if isinstance(kind, ast.Constant) else getattr(forcing, getattr(kind, "id", ""), "?")
            yield f"{path.relative_to(REPOSITORY)}:{call.lineno}", named, fields


def _about_a_journal(function: ast.Attribute, path: Path) -> bool:
    """`journal.write(...)`, `self._call.journal.write(...)`, `rollout.say(...)`; not the `write` of a file."""
    owner = function.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    if function.attr in ("write", "write_new"):
        return name.lstrip("_") == "journal"
    if function.attr == "say":
        return name in ("rollout", "upgrade") or (name == "self" and path.parent.name == "balancers")
    return name == "self" and path.name == "report.py" and path.parent.name == "drain" and function.attr == "_write"


def test_every_write_is_of_a_kind_that_is_known_with_fields_that_are() -> None:
    # Those hand on what their callers say, who stand in this list themselves.
    passes_on = ("rollout.py", "upgrade.py", "work.py", "report.py", "journal.py")
    found = [one for one in writes() if not (one[1] == "?" and one[0].split(":")[0].endswith(passes_on))]
    assert len(found) > 40
    assert [(where, kind) for where, kind, _fields in found if kind not in KINDS] == []
    unknown = {where: fields - NO_FIELDS - set(KINDS[kind].fields) for where, kind, fields in found}
    assert {where: fields for where, fields in unknown.items() if fields} == {}


def test_every_kind_is_written_by_somebody() -> None:
    assert set(KINDS) - {kind for _where, kind, _fields in writes()} == set()


def test_the_document_has_the_same_table() -> None:
    rows = {
        name: (says, fields, quiet)
        for name, says, fields, quiet in re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (\w*) ?\|$", DOCUMENT, re.M)
    }
    expected = {
        name: (kind.says, ", ".join(f"`{field}`" for field in kind.fields), "yes" if kind.loud else "")
        for name, kind in KINDS.items()
    }
    assert rows == expected


def test_the_document_names_every_stage_of_a_node() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ", DOCUMENT, re.M)
    assert set(STAGES) <= {name for row in rows for name in re.findall(r"`(\w+)`", row)}
