# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine on which the lock cannot be kept: the cause and the remedy are named."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils import detached, keeper
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.hold import HoldRecord
from ansible_collections.evergreen.eks.plugins.module_utils.process import Process

LOCK = SimpleNamespace(cluster="prod", holder=SimpleNamespace(label="laptop/b00t/1/2/3"), seconds=60.0)
HELD = SimpleNamespace(lease=SimpleNamespace(generation=4), renewed=1000.0)


def fails_with(number: int) -> Any:
    def fail(*_arguments: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_hold_file_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HoldRecord, "write", fails_with(errno.ENOSPC))
    with pytest.raises(EvergreenError, match="run.hold cannot be written: No space left.*Free the disk") as error:
        keeper.keep(LOCK, HELD, str(tmp_path / "run.hold"), Process(1))
    assert error.value.reason == "lock_unwritable"


def test_a_directory_that_takes_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper.fcntl, "flock", fails_with(errno.ENOLCK))
    module = keeper._one_module_at_a_time(str(tmp_path / "run.hold"))
    with pytest.raises(EvergreenError, match="No locks available.*eks_state_dir") as error:
        module.__enter__()
    assert error.value.reason == "lock_unwritable"


def test_a_machine_without_room_for_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", fails_with(errno.EAGAIN))
    open_before = len(os.listdir("/dev/fd"))
    with pytest.raises(EvergreenError, match="could not be started: Resource temp.*out of memory") as error:
        detached.run_detached(lambda _ready: None)
    assert error.value.reason == "lock_unwritable"
    assert len(os.listdir("/dev/fd")) == open_before
