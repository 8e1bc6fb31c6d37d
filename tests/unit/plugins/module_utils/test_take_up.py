# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a run at the start of each of its stages."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils import rollout as module
from ansible_collections.evergreen.eks.plugins.module_utils.hold import HoldRecord, LockLost, boot_seconds
from ansible_collections.evergreen.eks.plugins.module_utils.process import Process

MYSELF, KILLED = str(Process.of(os.getpid())), "4194305:1"


def stage(folder: Path, monkeypatch: pytest.MonkeyPatch, **record: str) -> list[str]:
    """Begin a stage of a run whose hold file says that; what is done about the lock."""
    done: list[str] = []
    path = str(folder / "run.hold")
    HoldRecord("prod", "laptop/b00t/1/2/3", 4, boot_seconds(), 60.0, **record).write(path)
    monkeypatch.setattr(module, "confirm", lambda _client, _path: done.append("confirmed"))
    module.confirm_hold(SimpleNamespace(hold=path, client=None, take_hold=lambda: done.append("kept on")))
    return done


def test_a_keeper_that_was_killed_is_replaced_before_the_next_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert stage(tmp_path, monkeypatch, keeper=KILLED) == ["kept on", "confirmed"]


def test_a_keeper_that_lives_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert stage(tmp_path, monkeypatch, keeper=MYSELF) == ["confirmed"]


def test_a_lock_that_was_lost_is_not_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(LockLost, match="taken over"):
        stage(tmp_path, monkeypatch, keeper=KILLED, lost="The lock was taken over by ci-7")
