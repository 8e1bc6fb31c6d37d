# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The world in a process of its own, as `make demo` uses it: started, asked, disturbed and stopped from outside."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.runs import REPOSITORY


class Terminal:
    """Somebody's shell, with settings of a real account in it that must not matter."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY / "tests"),
            "SIMULATOR_FOLDER": str(folder),
            "AWS_PROFILE": "production",
            "AWS_ENDPOINT_URL": "https://aws.invalid",
            "KUBECONFIG": "/nowhere/config",
            "HTTPS_PROXY": "http://proxy.invalid:3128",
            "HTTP_PROXY": "http://proxy.invalid:3128",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "simulator", *arguments]
        return subprocess.run(
            command, env=self.environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
        )

    def known(self) -> dict:
        return json.loads((self.folder / "world.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path_factory.mktemp("world"))
    started = terminal.run("start", "small", "--speed", "60")
    assert started.returncode == 0, started.stdout + started.stderr
    yield terminal
    terminal.run("stop")


def test_it_runs_in_a_session_of_its_own_and_tells_nobody_else(terminal: Terminal) -> None:
    pid = terminal.known()["pid"]
    assert os.getsid(pid) == pid, "Ctrl-C in the terminal must not reach it"
    assert stat.S_IMODE((terminal.folder / "world.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(terminal.folder.stat().st_mode) == 0o700


def test_starting_it_twice_starts_one(terminal: Terminal) -> None:
    pid = terminal.known()["pid"]
    again = terminal.run("start", "small")
    assert again.returncode == 0
    assert f"running already: small, pid {pid}" in again.stdout
    assert terminal.known()["pid"] == pid


def test_its_environment_holds_nothing_of_the_terminal(terminal: Terminal) -> None:
    environment = terminal.known()["environment"]
    assert not {"AWS_PROFILE", "KUBECONFIG", "HTTPS_PROXY", "HTTP_PROXY"} & set(environment)
    assert environment["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert environment["HOME"] == str(terminal.folder / "home")


def test_others_act_when_told(terminal: Terminal) -> None:
    assert terminal.run("act", "reset_max", "logging", "7").returncode == 0
    status = json.loads(terminal.run("status").stdout)
    assert status["groups"]["logging"]["min/max/desired"] == "0/7/2"
    assert "somebody: autoscaling UpdateAutoScalingGroup logging -> 200" in terminal.run("calls").stdout


def test_a_refused_deed_is_told_in_one_line(terminal: Terminal) -> None:
    refused = terminal.run("act", "reset_max", "logging")
    assert refused.returncode == 1
    assert "max_size" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_nobody_gets_in_without_the_token(terminal: Terminal) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        opener.open(terminal.known()["url"] + "/status", timeout=10)


def test_without_a_world_one_sentence_says_how_to_get_one(tmp_path: Path) -> None:
    answer = Terminal(tmp_path).run("status")
    assert answer.returncode == 1
    assert answer.stderr == "no world is running here; start one with `make demo`, or `python -m simulator start`\n"


def test_stopped_it_leaves_no_process(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    assert terminal.run("start", "small").returncode == 0
    pid = terminal.known()["pid"]
    assert terminal.run("stop").stdout == "The world has ended.\n"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert terminal.run("stop").stdout == "No world was running.\n"
