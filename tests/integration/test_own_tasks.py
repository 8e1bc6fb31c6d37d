# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator's own tasks as the role runs them, without a world around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.runs import REPOSITORY

PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: evergreen.eks.rollout, tasks_from: hook}
"""


def run_own_tasks(tmp_path: Path, tasks: list[dict[str, object]]) -> str:
    """What is printed where these tasks fail."""
    (tmp_path / "own.yml").write_text(json.dumps(tasks), encoding="utf-8")
    (tmp_path / "play.yml").write_text(PLAY, encoding="utf-8")
    values = {
        "rollout_cluster_name": "production",
        "rollout_asg_name": "shared",
        "ansible_python_interpreter": sys.executable,
        "__rollout_reserved": {"run_id": "r1"},
        "__rollout_hook": "after_wave",
        "__rollout_hook_files": [str(tmp_path / "own.yml")],
        "__rollout_hook_wave": {"number": 1, "of": 2, "instance_ids": ["i-1"]},
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), str(tmp_path / "play.yml")]
    run = subprocess.run(
        [*command, "--extra-vars", json.dumps(values)],
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode != 0, run.stdout
    return run.stdout + run.stderr


@pytest.mark.parametrize("own", [{"no_log": True}, {}])
def test_what_a_task_says_that_must_not_be_logged_is_not_repeated(tmp_path: Path, own: dict[str, object]) -> None:
    said = {"msg": "HTTP 403 for https://chat.example.com/{{ rollout_hook.instance_ids[0] }}"}
    printed = run_own_tasks(tmp_path, [{"name": "Tell the team", "ansible.builtin.fail": said, **own}])

    words, *_same = [line for line in printed.splitlines() if "the task 'Tell the team' of" in line]
    assert "own.yml (after_wave) failed" in words
    assert ("https://chat.example.com/i-1" in words) is not own.get("no_log", False)
