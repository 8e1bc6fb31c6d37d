# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions, run by ansible-playbook with stand-ins for the modules: what they show, and what they hand over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[4]
# A module that works for a moment, says so in its journal, and answers with what it was given.
STAND_IN = """\
import json
import os
import time

from ansible.module_utils.basic import AnsibleModule

COMMANDS = ("resume_command", "restore_command")
OPTIONS = ("journal", "quiet", *COMMANDS, "operator", "awx_job_id", "cluster_name", "asg_name", "secret")
SPEC = {**{name: {"type": "str"} for name in OPTIONS}, "state": {"type": "dict"}}

def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    for path in filter(None, (module.params["journal"], os.environ.get("EVERGREEN_SCREEN"))):
        with open(path, "a") as journal:
            for kind, text in (("resettled", "started"), ("pods_blocked", "half way")):
                event = {"time": "2026-11-21T01:02:03Z", "kind": kind, "text": text}
                journal.write(json.dumps(event) + chr(10))
    answer = {name: value for name, value in module.params.items() if name != "secret"}
    seen = {"controller": os.environ.get("EVERGREEN_CONTROLLER"), "screen": os.environ.get("EVERGREEN_SCREEN")}
    module.exit_json(**seen, parent=os.getppid(), **answer)

if __name__ == "__main__":
    main()
"""


@dataclass(frozen=True)
class Outcome:
    """What a run of one task showed, and what the module answered."""

    answer: dict[str, Any]
    stdout: str
    stderr: str
    pid: int


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection with its real actions, and a stand-in for each of their modules."""
    root = tmp_path_factory.mktemp("collections")
    plugins = root / "ansible_collections" / "evergreen" / "eks" / "plugins"
    (plugins / "modules").mkdir(parents=True)
    for folder in ("action", "plugin_utils", "module_utils"):
        (plugins / folder).symlink_to(REPOSITORY / "plugins" / folder)
    for action in (REPOSITORY / "plugins" / "action").glob("*.py"):
        (plugins / "modules" / action.name).write_text(STAND_IN, encoding="utf-8")
    return root


@pytest.fixture
def run(collections: Path, tmp_path: Path):
    """Run one task as ansible-playbook does, with keywords for the task and arguments for the command."""

    def run_task(
        module: str,
        options: dict[str, Any],
        *arguments: str,
        settings: Mapping[str, str] = MappingProxyType({}),
        **keywords: Any,
    ) -> Outcome:
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable, "ansible_async_dir": str(tmp_path / "async")},
            "tasks": [
                {"name": "Work", f"evergreen.eks.{module}": options, "register": "answer", **keywords},
                {
                    "name": "Keep the answer",
                    "ansible.builtin.copy": {"content": "{{ answer | to_json }}", "dest": "answer.json"},
                },
            ],
        }
        playbook = tmp_path / "play.yml"
        playbook.write_text(json.dumps([play]), encoding="utf-8")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8"),
            "USER": "ann",
            "LOGNAME": "ann",
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            **settings,
        }
        command = [str(Path(sys.executable).parent / "ansible-playbook"), str(playbook), *arguments]
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stdout + stderr
        answer = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
        return Outcome(answer, stdout, stderr, process.pid)

    return run_task


def lines_shown(outcome: Outcome) -> list[str]:
    return [line for line in outcome.stderr.splitlines() if "01:02:03Z" in line]


def test_progress_appears_on_standard_error_while_the_module_works(run) -> None:
    outcome = run("node_drain", {"asg_name": "shared"})

    assert lines_shown(outcome) == ["   01:02:03Z [shared] started", "   01:02:03Z [shared] half way"]
    assert "half way" not in outcome.stdout
    screen = Path(outcome.answer["screen"])
    assert not screen.exists(), "what is written for the screen is temporary"
    assert screen.parent.name.startswith("ansible-local-"), "Ansible's own folder of a run ends with the run"


def test_a_named_journal_is_kept_and_only_what_is_new_in_it_is_shown(run, tmp_path: Path) -> None:
    first = run("node_ready", {"journal": "shared.jsonl"})
    second = run("node_ready", {"journal": "shared.jsonl"})

    assert (
        lines_shown(first)
        == lines_shown(second)
        == ["   01:02:03Z [localhost] started", "   01:02:03Z [localhost] half way"]
    )
    assert len((tmp_path / "shared.jsonl").read_text(encoding="utf-8").splitlines()) == 4


def test_what_others_write_into_the_same_journal_is_shown_by_their_own_tasks_only(run, tmp_path: Path) -> None:
    outcome = run("node_ready", {"journal": "shared.jsonl", "asg_name": "{{ item }}"}, loop=["istio", "shared"])

    assert lines_shown(outcome) == [
        f"   01:02:03Z [{group}] {text}" for group in ("istio", "shared") for text in ("started", "half way")
    ]


@pytest.mark.parametrize(
    ("options", "keywords"),
    [({"quiet": True}, {}), ({}, {"environment": {"EVERGREEN_QUIET": "{{ 'yes' }}"}})],
)
def test_where_people_want_it_quiet_only_what_matters_is_shown(run, options: dict, keywords: dict) -> None:
    outcome = run("node_drain", {"asg_name": "shared", **options}, **keywords)

    assert lines_shown(outcome) == ["   01:02:03Z [shared] half way"]


@pytest.mark.parametrize(("setting", "colour"), [({"ANSIBLE_FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_shown_where_ansible_shows_them(run, setting: dict[str, str], colour: bool) -> None:
    outcome = run("node_drain", {"asg_name": "shared"}, settings=setting)

    assert ("\x1b[" in "".join(lines_shown(outcome))) is colour


def test_standard_output_stays_what_a_callback_makes_of_it(run) -> None:
    outcome = run("node_drain", {"asg_name": "shared"}, settings={"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.tree"})

    assert len(lines_shown(outcome)) == 2 and "01:02:03Z" not in outcome.stdout


def test_a_task_with_no_log_stays_silent(run) -> None:
    outcome = run("node_cordon", {"asg_name": "shared", "journal": "shared.jsonl"}, no_log=True)

    assert lines_shown(outcome) == []
    assert "half way" not in outcome.stdout


def test_a_task_in_the_background_works_without_progress(run) -> None:
    outcome = run("asg_capacity", {"asg_name": "shared"}, **{"async": 30, "poll": 1})

    assert outcome.answer["asg_name"] == "shared"
    assert lines_shown(outcome) == []


def test_a_module_knows_the_process_of_its_playbook(run) -> None:
    outcome = run("asg_processes", {"asg_name": "shared"})

    pid, _colon, started = outcome.answer["controller"].partition(":")
    assert int(pid) == outcome.pid
    assert int(pid) != outcome.answer["parent"], "the module's own parent is a shell or a worker"
    assert started or sys.platform == "darwin"


def test_the_state_learns_who_started_the_run_and_how_to_go_on(run) -> None:
    outcome = run(
        "rollout_state",
        {
            "awx_job_id": "given",
            "cluster_name": "{{ cluster }}",
            "asg_name": "shared",
            "state": {"store": "configmap", "dir": "", "prefix": "evergreen.eks"},
        },
        "-e",
        "eks_cluster_name=prod",
        "-e",
        "eks_secret_key=hunter2",
        vars={"cluster": "prod"},
    )

    command = outcome.answer["resume_command"]
    assert command.startswith("ansible-playbook ") and command.endswith("play.yml -e eks_cluster_name=prod")
    back = outcome.answer["restore_command"]
    assert back == (
        "ansible-playbook evergreen.eks.restore -e eks_cluster_name=prod -e eks_node_groups=shared "
        "-e eks_state_store=configmap"
    )
    assert outcome.answer["operator"] == "ann"
    assert outcome.answer["awx_job_id"] == "given", "what the task says itself is not overwritten"


def test_in_awx_the_job_is_relaunched_and_its_user_is_the_operator(run) -> None:
    outcome = run("rollout_state", {}, "-e", "awx_job_id=4711", "-e", "awx_user_name=berta")

    assert outcome.answer["resume_command"] == "relaunch this job"
    assert outcome.answer["restore_command"] == "launch a job of evergreen.eks.restore with the same variables"
    assert (outcome.answer["operator"], outcome.answer["awx_job_id"]) == ("berta", "4711")
