# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run that stops is told: what is written of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.checkpoints import a_checkpoint
from unit.fakes import FakeClock
from unit.journals import RUN, finished_journal

from ansible_collections.evergreen.eks.plugins.module_utils import run_stage
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.hold import LockLost
from ansible_collections.evergreen.eks.plugins.module_utils.journal import Journal
from ansible_collections.evergreen.eks.plugins.module_utils.report.files import FORMATS, beside
from ansible_collections.evergreen.eks.plugins.module_utils.store import Place, journal_path
from ansible_collections.evergreen.eks.plugins.module_utils.unfinished import Trail, Unfinished
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

SECRET = "hunter2"


def test_neither_journal_nor_report_holds_what_the_options_keep_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "shared.journal.jsonl"
    journal.write_text("\n".join(finished_journal().lines[:30]) + "\n", encoding="utf-8")
    command = f"ansible-playbook evergreen.eks.rollout --key {SECRET}"
    trail = Trail(True, journal, a_checkpoint(), "shared.json")
    failure = Unfinished("it stopped", trail=trail, resume_command=command, restore_command=command)

    def say_last(*_arguments: Any) -> None:
        raise failure

    monkeypatch.setattr(run_stage, "_say_last", say_last)
    params = {
        "journal": str(journal),
        "stage": "failed",
        "asg_name": "shared",
        "cause": f"the proxy refuses {SECRET}",
        "cause_reason": "unexpected",
        "put_back": {},
        "report": {"formats": list(FORMATS), "dir": None},
    }
    module = SimpleNamespace(params=params, check_mode=False, _name="rollout_stage", no_log_values={SECRET})
    clock = FakeClock()
    with pytest.raises(Unfinished):
        run_stage.enter(params, Call(clock=clock, journal=Journal.of(module, clock)))

    assert sorted(failure.details["reports"]) == sorted(FORMATS)
    for path in (journal, *failure.details["reports"].values()):
        text = Path(path).read_text(encoding="utf-8")
        assert "the proxy refuses" in text
        assert SECRET not in text, f"the secret is in {path}"


@pytest.mark.parametrize(
    ("ours", "kinds"),
    [(True, ["run_ended", "last_words"]), (False, ["last_words"])],
    ids=["ours", "in other hands"],
)
def test_a_run_that_lost_its_group_does_not_end_the_run_of_another_in_their_journal(
    monkeypatch: pytest.MonkeyPatch, ours: bool, kinds: list[str]
) -> None:
    def say_last(_params: Any, _call: Any) -> None:
        details = {"resume_command": "", "restore_command": ""}
        raise Unfinished("it stopped", lines=("it stopped",), trail=Trail(ours=ours), **details)

    monkeypatch.setattr(run_stage, "_say_last", say_last)
    told: list[str] = []

    def write(kind: str, **_fields: Any) -> None:
        told.append(kind)

    call = SimpleNamespace(journal=SimpleNamespace(write=write, clean=lambda value: value))
    params = {
        "stage": "failed",
        "asg_name": "shared",
        "cause": "the lock is lost",
        "cause_reason": LockLost.default_reason,
        "put_back": {},
        "report": None,
    }
    with pytest.raises(Unfinished):
        run_stage.enter(params, call)
    assert told == kinds


@pytest.mark.parametrize("known_by", ["result", "journal"])
def test_without_aws_a_run_that_was_put_back_is_told_from_its_archived_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known_by: str
) -> None:
    def rollout_of(*_arguments: Any) -> None:
        raise EvergreenError("STS does not answer")

    monkeypatch.setattr(run_stage, "rollout_of", rollout_of)
    journal = journal_path(str(tmp_path), Place("111122223333", "eu-central-1", "prod", "shared"))
    journal.parent.mkdir(parents=True)
    journal.write_text("\n".join(finished_journal().lines[:30]) + "\n", encoding="utf-8")
    _unfinished, archived = beside(journal, RUN)
    archived.write_text(a_checkpoint(ended="2026-11-21T01:20:00Z", given_up=True).to_json(), encoding="utf-8")
    result = {"asg_name": "shared", "replaced": [], "kept": [], **({"run_id": RUN} if known_by == "result" else {})}
    params = {
        "stage": "failed",
        "cluster_name": "prod",
        "asg_name": "shared",
        "failed_stage": "Drain",
        "cause": "node ip-1 was not drained",
        "cause_reason": "drain_timeout",
        "begun": True,
        "resume_command": "go on",
        "restore_command": "go back",
        "put_back": result,
        "state": {"store": "file", "dir": str(tmp_path)},
        "report": {"formats": ["json"], "dir": None},
    }
    clock = FakeClock()
    with pytest.raises(Unfinished) as stopped:
        run_stage.enter(params, Call(clock=clock, journal=Journal(str(journal), clock, run=RUN)))
    told = json.loads(Path(stopped.value.details["reports"]["json"]).read_text(encoding="utf-8"))

    assert (told["outcome"], told["cause"]) == ("put_back", "node ip-1 was not drained")
    assert f"checkpoint {archived}" in told["sources"]
