# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that runs in a fork of Ansible's worker is a process of its own: it answers, and leaves the worker alone."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.process import CONTROLLER_VARIABLE, Process, modules_of
from ansible_collections.evergreen.eks.plugins.plugin_utils.module_action import in_a_fork

CONTROLLER = Process(4_000_000_000, started="1")  # no such process


@pytest.fixture(autouse=True)
def controller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONTROLLER_VARIABLE, str(CONTROLLER))


def run(main: Callable[[], None], tmp_path: Path, options: Any = None, **environment: Any) -> dict[str, Any]:
    return in_a_fork(main, json.dumps(options), environment, str(tmp_path))


def test_it_reads_its_options_and_what_it_prints_is_its_answer(tmp_path: Path) -> None:
    def main() -> None:
        options = json.load(sys.stdin)
        os.environ["LEFT_BEHIND"] = "1"
        print(json.dumps([options, os.environ["REGION"], os.environ["ESTABLISHED"], os.getcwd(), os.getpid()]))
        print("trouble", file=sys.stderr)
        sys.exit(3)

    before = os.getcwd(), sys.argv, sys.stdin
    answer = run(main, tmp_path, {"asg_name": "shared"}, REGION="eu-central-1", ESTABLISHED=True)

    options, *rest, pid = json.loads(answer["stdout"])
    assert (options, rest) == ({"asg_name": "shared"}, ["eu-central-1", "True", str(tmp_path)])
    assert (answer["rc"], answer["stderr"]) == (3, "trouble\n")
    assert pid != os.getpid()
    assert (os.getcwd(), sys.argv, sys.stdin) == before
    assert "LEFT_BEHIND" not in os.environ


def test_what_nobody_caught_is_its_error_output(tmp_path: Path) -> None:
    def main() -> None:
        raise KeyError("unknown")

    answer = run(main, tmp_path)

    assert (answer["rc"], answer["stdout"]) == (1, "")
    assert answer["stderr"].endswith("KeyError: 'unknown'\n")


def test_one_that_is_killed_has_no_answer(tmp_path: Path) -> None:
    answer = run(lambda: os.kill(os.getpid(), signal.SIGKILL), tmp_path)

    assert answer == {
        "rc": -signal.SIGKILL,
        "stdout": "",
        "stderr": "The process of the module ended without an answer",
    }


def test_it_ends_when_it_is_told_to_whatever_its_worker_does_then(tmp_path: Path) -> None:
    previous = signal.signal(signal.SIGTERM, lambda *_signal: None)
    try:
        answer = run(lambda: os.kill(os.getpid(), signal.SIGTERM), tmp_path)
    finally:
        signal.signal(signal.SIGTERM, previous)

    assert answer["rc"] == -signal.SIGTERM


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux tells what other processes have open")
def test_others_see_for_which_playbook_it_works(tmp_path: Path) -> None:
    go = tmp_path / "go"

    def main() -> None:
        print(os.getpid())
        while not go.exists():
            time.sleep(0.01)

    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(run(main, tmp_path)))
    thread.start()
    end = time.monotonic() + 30
    while not (seen := modules_of(CONTROLLER)) and time.monotonic() < end:
        time.sleep(0.01)
    go.touch()
    thread.join()

    assert seen == [int(answers[0]["stdout"])]
    assert modules_of(CONTROLLER) == []
    assert modules_of(Process(CONTROLLER.pid, started="2")) == []
