# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.errors import (
    EvergreenError,
    InvalidInput,
    ParentGone,
    WaitTimeout,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    Deadline,
    Lifeline,
    Process,
    controller_process,
    failures_reported,
    wait_until,
)


class FailJson(Exception):
    """What the stand-in for an AnsibleModule raises instead of leaving the process."""


class StandInModule:
    def __init__(self, check_mode: bool = False, verbosity: int = 0, **params: Any) -> None:
        self.params, self.check_mode, self._verbosity, self._name = params, check_mode, verbosity, "node_drain"

    def fail_json(self, **failure: Any) -> None:
        raise FailJson(failure)


@pytest.mark.parametrize("never", [0, None])
def test_a_deadline_of_zero_or_none_never_comes(never: Any) -> None:
    deadline = Deadline(FakeClock(), never)
    assert deadline.remaining() == math.inf and not deadline.expired()


def test_a_deadline_expires_when_its_seconds_have_passed() -> None:
    clock = FakeClock()
    deadline = Deadline(clock, 10)
    clock.sleep(9)
    assert deadline.remaining() == 1 and not deadline.expired()
    clock.sleep(1)
    assert deadline.expired()


def test_wait_until_answers_the_look_that_was_good_and_tells_of_the_others() -> None:
    clock, looks, waited = FakeClock(), iter([1, 2, 3]), []
    seen = wait_until(
        lambda: next(looks),
        lambda look: look == 3,
        clock=clock,
        deadline=Deadline(clock, 60),
        interval=5,
        on_wait=waited.append,
    )
    assert (seen, waited, clock.sleeps) == (3, [1, 2], [5, 5])


def test_wait_until_looks_once_more_at_the_deadline_and_then_says_what_it_saw() -> None:
    clock, looks = FakeClock(), []
    with pytest.raises(WaitTimeout) as error:
        wait_until(
            lambda: looks.append(clock.now()) or "not yet",
            lambda look: False,
            clock=clock,
            deadline=Deadline(clock, 7),
            interval=5,
        )
    assert looks == [1000, 1005, 1007]
    assert error.value.last == "not yet"


def test_a_process_is_alive_until_it_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = Process.of(child.pid)
    assert process.alive() and Process.parse(str(process)) == process
    child.communicate(b"\n")
    assert not process.alive()


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="only Linux tells when a process started")
def test_a_later_process_with_the_same_number_is_another() -> None:
    assert not Process(os.getpid(), started="1").alive()


def test_the_action_plugin_names_the_controller_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_CONTROLLER", str(Process.of(os.getpid())))
    assert controller_process().pid == os.getpid()


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="ancestors are read from /proc")
def test_the_shells_that_start_a_module_are_not_its_controller() -> None:
    code = (
        "from ansible_collections.evergreen.eks.plugins.module_utils.waiting import controller_process;"
        "print(controller_process().pid)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("EVERGREEN_CONTROLLER", None)
    script = f"""/bin/sh -c '{sys.executable} -c "{code}" && sleep 0'; true"""
    answer = subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == str(os.getpid())


def test_nothing_is_changed_for_a_controller_that_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = Process.of(child.pid)
    child.wait()
    with pytest.raises(ParentGone, match=f"{child.pid} .* has ended"):
        Call(lifeline=Lifeline(process)).before_change("PATCH /api/v1/nodes/a")


def test_a_watched_module_ends_with_its_controller(tmp_path: Path) -> None:
    code = (
        "import sys, time;"
        "from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Lifeline, Process;"
        "Lifeline(Process.of(int(sys.argv[1]))).watch(0.05); time.sleep(30)"
    )
    controller = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    worker = subprocess.Popen([sys.executable, "-c", code, str(controller.pid)], env=environment)
    controller.communicate(b"\n")
    assert worker.wait(timeout=20) == 1


def test_a_change_in_check_mode_is_a_programming_error() -> None:
    with pytest.raises(RuntimeError, match="check mode"):
        Call(check_mode=True).before_change("autoscaling:SetDesiredCapacity")


def test_check_mode_writes_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    Call.of(StandInModule(check_mode=True, journal=str(path), poll_seconds=1)).journal.write("drained")
    assert not path.exists()


def test_a_poll_interval_of_zero_is_refused() -> None:
    with pytest.raises(InvalidInput, match="poll_seconds must be above 0"):
        Call.of(StandInModule(poll_seconds=0))


def test_an_error_of_ours_fails_the_module_with_message_and_reason() -> None:
    with pytest.raises(FailJson) as failure, failures_reported(StandInModule()):
        raise EvergreenError("Group shared is gone", reason="not_found")
    assert failure.value.args[0] == {"msg": "Group shared is gone.", "reason": "not_found"}


@pytest.mark.parametrize(("verbosity", "shown"), [(0, False), (3, True)])
def test_any_other_error_is_one_sentence_and_a_traceback_only_when_asked_for(verbosity: int, shown: bool) -> None:
    with pytest.raises(FailJson) as failure, failures_reported(StandInModule(verbosity=verbosity)):
        SimpleNamespace().missing  # noqa: B018
    assert "Unexpected AttributeError: " in failure.value.args[0]["msg"]
    assert ("exception" in failure.value.args[0]) is shown
