# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo` promises: killed in the middle of a drain and started again, it ends right."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.runs import REPOSITORY

LIMIT = 600.0  # real seconds


@pytest.fixture
def terminal(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests"), "SIMULATOR_FOLDER": str(tmp_path)}
    environment |= {"AWS_PROFILE": "production", "KUBECONFIG": "/nowhere/config"}

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "simulator", *arguments],
            env=environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    yield start
    start("demo-stop").communicate(timeout=60)


def test_the_demonstration_survives_a_kill_in_the_middle_of_a_drain(terminal, tmp_path: Path) -> None:
    first = terminal("demo")
    give_up = time.monotonic() + LIMIT
    for line in first.stdout:
        if re.search(r"\] wave \d/\d .*\bdrain", line):
            break
        assert time.monotonic() < give_up, "no drain was seen"
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()

    output, _unused = terminal("demo").communicate(timeout=LIMIT)
    assert "going on where it stands" in output
    assert "lost pods: 0" in output
    assert "nobody yet" not in output
    assert output.rstrip().splitlines()[-1].startswith("Done in "), output

    status = json.loads(terminal("status").communicate(timeout=60)[0])
    sizes = {name: group["min/max/desired"] for name, group in status["groups"].items()}
    assert sizes == {"istio": "0/2/2", "shared": "0/8/6", "logging": "0/3/3"}
    versions = {one.split()[-1] for group in status["groups"].values() for one in group["instances"].values()}
    assert versions == {"v2"}
    assert status["troubles"] == []
