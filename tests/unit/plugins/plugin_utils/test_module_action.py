# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that runs in a fork of Ansible's worker is a process of its own: it answers, and leaves the worker alone."""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from botocore.exceptions import DataNotFoundError

from ansible_collections.evergreen.eks.plugins.module_utils import aws
from ansible_collections.evergreen.eks.plugins.module_utils.process import CONTROLLER_VARIABLE, Process, modules_of
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import end_with
from ansible_collections.evergreen.eks.plugins.plugin_utils import module_action
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


def test_the_timeout_of_its_task_ends_it(tmp_path: Path) -> None:
    def late(*_signal: Any) -> None:
        raise TimeoutError

    def main() -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGALRM)
        time.sleep(30)

    began = time.monotonic()
    previous = signal.signal(signal.SIGALRM, late)
    try:
        with pytest.raises(TimeoutError):
            run(main, tmp_path)
    finally:
        signal.signal(signal.SIGALRM, previous)

    assert time.monotonic() - began < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    answer = run(lambda: print("not reached"), tmp_path / "gone")

    assert (answer["rc"], answer["stdout"]) == (1, "")
    assert "FileNotFoundError" in answer["stderr"]


@pytest.mark.skipif(not module_action.FORKS, reason="here modules do not run in forks")
def test_its_warnings_are_part_of_its_result_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module_action._internal, "is_controller", True)

    def main() -> None:
        end_with(AnsibleModule({}), {"changed": False, "warnings": ["mind the gap"]})

    answer = json.loads(run(main, tmp_path, {"ANSIBLE_MODULE_ARGS": {}})["stdout"])

    assert "mind the gap" in json.dumps(answer["warnings"])
    assert "deprecations" not in answer
    assert "mind the gap" not in "".join(capfd.readouterr())
    assert module_action._internal.is_controller


@pytest.mark.parametrize(
    ("forks", "transport", "background", "become", "python", "expected"),
    [
        (True, "local", 0, None, sys.executable, True),
        (False, "local", 0, None, sys.executable, False),
        (True, "ssh", 0, None, sys.executable, False),
        (True, "local", 60, None, sys.executable, False),
        (True, "local", 0, "sudo", sys.executable, False),
        (True, "local", 0, None, "/another/python", False),
    ],
)
def test_where_a_fork_would_not_do_ansible_runs_the_module(
    forks: bool,
    transport: str,
    background: int,
    become: Any,
    python: str,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module_action, "FORKS", forks)
    action = module_action.ModuleAction.__new__(module_action.ModuleAction)
    action._connection = SimpleNamespace(transport=transport, become=become)
    action._task = SimpleNamespace(async_val=background)
    action._templar = SimpleNamespace(template=lambda value: value)

    assert action._runs_in_a_fork({"ansible_python_interpreter": python}) is expected


@pytest.mark.parametrize(("platform", "loaded"), [("linux", True), ("darwin", False)])
def test_an_action_can_be_loaded_whatever_botocore_lacks(
    platform: str, loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def lacking(*names: str) -> None:
        asked.extend(names)
        raise DataNotFoundError(data_path="eks")

    monkeypatch.setattr(aws, "load_service_models", lacking)
    monkeypatch.setattr(sys, "platform", platform)
    known = runpy.run_path(module_action.__file__)

    assert known["FORKS"] == bool(asked) == (loaded and module_action.get_module_encoder is not None)


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
