# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard of a run's lock: it lets changes pass while the lock is held for certain."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.hold import Hold, HoldRecord, LockLost, boot_seconds
from ansible_collections.evergreen.eks.plugins.module_utils.process import Process
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Journal, Lifeline

MYSELF = str(Process.of(os.getpid()))


def record(**changes: Any) -> HoldRecord:
    values = {
        "cluster": "prod",
        "holder": "laptop/b00t/1/2/3",
        "generation": 4,
        "renewed": 1000.0,
        "seconds": 60.0,
        "keeper": MYSELF,
    }
    return HoldRecord(**{**values, **changes})


class Guarded:
    """A lock that was renewed at 1000 s of a clock that moves only while somebody waits."""

    def __init__(self, folder: Path, now: float, patience: float = 300.0) -> None:
        self.path = str(folder / "run.hold")
        self.clock = FakeClock(now)
        self.journal = folder / "journal.jsonl"
        self.hold = Hold(self.path, patience, now=self.clock.now)

    def check(self) -> None:
        self.hold.check(self.clock, Journal(str(self.journal), self.clock))

    @property
    def lines(self) -> list[str]:
        return [json.loads(line)["text"] for line in self.journal.read_text().splitlines()]


def test_a_change_passes_while_the_lock_was_renewed_lately(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, now=1039)
    record().write(guarded.path)
    guarded.hold.check(guarded.clock, Journal(None, guarded.clock))
    assert guarded.clock.sleeps == []
    assert os.stat(guarded.path).st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["run.hold"]


def test_a_change_waits_for_a_lock_that_could_not_be_renewed_and_says_so_once(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, now=1045)
    record(trouble="The API cannot be reached.").write(guarded.path)
    sleep = guarded.clock.sleep

    def sleep_until_renewed(seconds: float) -> None:
        sleep(seconds)
        if guarded.clock.now() >= 1100:
            record(renewed=1100.0).write(guarded.path)

    guarded.clock.sleep = sleep_until_renewed  # type: ignore[method-assign]
    guarded.check()
    guarded.check()
    assert guarded.clock.now() == pytest.approx(1100)
    (line,) = guarded.lines
    assert line == (
        "The lock of cluster prod has not been renewed for 45 s: The API cannot be reached; "
        "nothing is changed until it is held again"
    )


def test_after_its_patience_it_says_why_the_lock_could_not_be_renewed(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, now=1045, patience=10)
    record(trouble="The API cannot be reached.").write(guarded.path)
    with pytest.raises(LockLost, match="not been renewed for 55 s: The API cannot be reached; after 10 s") as error:
        guarded.check()
    assert error.value.reason == "lock_lost"
    assert guarded.clock.now() == pytest.approx(1055)


def test_a_moment_before_the_last_start_of_the_machine_is_not_fresh(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, now=3, patience=10)
    record().write(guarded.path)
    with pytest.raises(LockLost):
        guarded.check()


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (None, "has given its lock back, or its record .* was deleted"),
        (record(lost="Cluster prod is held by berta"), "Cluster prod is held by berta. Run the playbook again"),
        (record(renewed=0.0, keeper="4194305:1"), "The process 4194305 that renewed the lock .* has ended"),
        ("torn", "cannot be read"),
    ],
)
def test_a_lost_lock_fences_at_once(tmp_path: Path, written: Any, sentence: str) -> None:
    guarded = Guarded(tmp_path, now=1001)
    if isinstance(written, HoldRecord):
        written.write(guarded.path)
    elif written:
        Path(guarded.path).write_text(written)
    with pytest.raises(LockLost, match=sentence):
        guarded.check()
    assert guarded.clock.sleeps == []


def test_every_change_of_a_module_passes_the_guard(tmp_path: Path) -> None:
    path = str(tmp_path / "run.hold")
    module = SimpleNamespace(params={"lease": path, "poll_seconds": 0.1}, check_mode=False, _name="node_drain")
    call = Call.of(module)
    call.lifeline = Lifeline(Process.of(os.getpid()))
    record(renewed=boot_seconds()).write(path)
    call.before_change("PATCH /api/v1/nodes/a")
    os.unlink(path)
    with pytest.raises(LockLost):
        call.before_change("PATCH /api/v1/nodes/a")
    with pytest.raises(LockLost):
        call.before_look()
    call.check_mode = True
    call.before_look()


@pytest.mark.parametrize("lease", [None, ""])
def test_without_the_option_there_is_no_guard(lease: Any) -> None:
    module = SimpleNamespace(params={"lease": lease, "poll_seconds": 0.1}, check_mode=False, _name="node_drain")
    assert Call.of(module).hold is None
