# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running Ansible against the world the way a user does: as a process of its own, in an environment of its own."""

from __future__ import annotations

import contextlib
import json
import locale
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from simulator.killing import kill_tree

REPOSITORY = Path(__file__).resolve().parents[2]
COLLECTIONS = REPOSITORY / ".ansible" / "collections"
CALLBACKS = Path(__file__).resolve().parent / "callback_plugins"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
DEFAULT_TIMEOUT = 300.0  # real seconds; nothing in the world takes as long


@dataclass(frozen=True)
class Run:
    """How a run of ansible-playbook ended."""

    rc: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Both streams, for the message of an assertion."""
        return self.stdout + self.stderr


def refuse_foreign_endpoints(environment: Mapping[str, str]) -> None:
    """Raise ValueError unless every endpoint that this environment names is on this machine's loopback."""
    urls = {name: url for name, url in environment.items() if name.endswith("_URL") or name.startswith("AWS_ENDPOINT")}
    if "AWS_ENDPOINT_URL" not in urls:
        raise ValueError("AWS_ENDPOINT_URL is not set: the rehearsal must not reach the real AWS")
    for name, url in urls.items():
        if urlsplit(url).hostname not in LOOPBACK:
            raise ValueError(f"{name} is {url}: the rehearsal only talks to loopback addresses")


def scrubbed_environment(home: Path, *, access_key: str, region: str, aws_url: str) -> dict[str, str]:
    """A complete environment in which nothing of the caller's own AWS, Kubernetes or Ansible configuration is left."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(home),
        "TERM": os.environ.get("TERM", "dumb"),
        "LC_ALL": utf8_locale(),
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_URL": aws_url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "*",
        "XDG_STATE_HOME": str(home / "state"),
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_NOCOWS": "1",
        "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",  # macOS: Ansible forks
    }


def utf8_locale() -> str:
    """A UTF-8 locale that exists here (Ansible refuses to start without one)."""
    wanted = [os.environ.get("LC_ALL", ""), os.environ.get("LANG", ""), "C.UTF-8", "en_US.UTF-8", "C.utf8"]
    current = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in wanted:
            if name.upper().replace("-", "").endswith("UTF8"):
                with contextlib.suppress(locale.Error):
                    locale.setlocale(locale.LC_CTYPE, name)
                    return name
    finally:
        locale.setlocale(locale.LC_CTYPE, current)
    return "C.UTF-8"


def ansible_playbook(
    environment: Mapping[str, str],
    playbook: str,
    variables: Mapping[str, Any] | None = None,
    *arguments: str,
    timeout: float = DEFAULT_TIMEOUT,
) -> Run:
    """Run ``ansible-playbook PLAYBOOK -e VARIABLES ARGUMENTS`` to its end; both streams are captured."""
    process = start_ansible_playbook(environment, playbook, variables, *arguments, capture=True)
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill_group(process)
        stdout, stderr = process.communicate()
        raise AssertionError(f"{playbook} did not end within {timeout:g} s:\n{stdout}{stderr}") from None
    return Run(process.returncode, stdout, stderr)


def start_ansible_playbook(
    environment: Mapping[str, str],
    playbook: str,
    variables: Mapping[str, Any] | None = None,
    *arguments: str,
    capture: bool = False,
    into: tuple[IO[str], IO[str]] | None = None,
    through: Sequence[str] = (),
) -> subprocess.Popen[str]:
    """Start ``ansible-playbook``; both streams go to pipes (``capture``), or to two open files (``into``), or are ours.

    Unless they are ours it gets a session of its own, so that Ctrl-C does not reach it. ``through``: a command that
    becomes the one behind it, such as ``env``.
    """
    refuse_foreign_endpoints(environment)
    command = ["ansible-playbook", playbook, *arguments]
    if variables:
        command += ["-e", json.dumps(dict(variables))]
    stdout, stderr = into or ((subprocess.PIPE, subprocess.PIPE) if capture else (None, None))
    return subprocess.Popen(
        [*through, program("ansible-playbook"), *command[1:]],
        env=dict(environment),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=stdout is not None,
    )


def kill_group(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the process and to everything that it started, as when an AWX job's container is ended."""
    if process.poll() is None:
        kill_tree(process.pid)


def run_module(
    environment: Mapping[str, str],
    name: str,
    arguments: Mapping[str, Any],
    *,
    check: bool = False,
    diff: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
) -> dict[str, Any]:
    """Run one module as a process; returns its result, in which ``failed`` tells how it went.

    It is the process that ``ansible-playbook`` would start, without what it costs to start that: two seconds.
    """
    process = start_module(environment, name, arguments, check=check, diff=diff)
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill_group(process)
        raise
    try:
        result: dict[str, Any] = json.loads(stdout)
    except ValueError:
        said = stdout + stderr
        raise AssertionError(f"{name} gave no result (exit code {process.returncode}):\n{said}") from None
    result.setdefault("failed", process.returncode != 0)
    return result


def start_module(
    environment: Mapping[str, str],
    name: str,
    arguments: Mapping[str, Any],
    *,
    check: bool = False,
    diff: bool = False,
) -> subprocess.Popen[str]:
    """Start one module as a process that already has its options; both streams are captured."""
    namespace, collection, module = name.split(".")
    options = {**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as given:
        json.dump({"ANSIBLE_MODULE_ARGS": options}, given)
        given.seek(0)
        return subprocess.Popen(
            [sys.executable, "-m", f"ansible_collections.{namespace}.{collection}.plugins.modules.{module}"],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment, "PYTHONPATH": str(COLLECTIONS)},
            cwd=REPOSITORY,
            text=True,
        )


def run_task(
    environment: Mapping[str, str],
    name: str,
    arguments: Mapping[str, Any],
    *,
    check: bool = False,
    diff: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
) -> dict[str, Any]:
    """Run one module in a one-task playbook; returns its result, in which ``failed`` tells how it went."""
    with one_task_playbook(name, arguments) as (playbook, results):
        run = ansible_playbook(
            {
                **environment,
                "SIMULATOR_RESULTS": str(results),
                "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
                "ANSIBLE_CALLBACKS_ENABLED": "task_results",
            },
            str(playbook),
            None,
            *(["--check"] if check else []),
            *(["--diff"] if diff else []),
            timeout=timeout,
        )
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    if not lines:
        raise AssertionError(f"{name} gave no result (exit code {run.rc}):\n{run.output}")
    result: dict[str, Any] = json.loads(lines[-1])["result"]
    result.setdefault("failed", run.rc != 0)
    return result


@contextlib.contextmanager
def one_task_playbook(name: str, arguments: Mapping[str, Any]) -> Iterator[tuple[Path, Path]]:
    """A temporary playbook with one task, and the path at which its result will be."""
    play = {
        "name": "One module",
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [{"name": name, name: dict(arguments)}],
    }
    with tempfile.TemporaryDirectory(prefix="evergreen-module-") as folder:
        playbook = Path(folder) / "playbook.yml"
        playbook.write_text(json.dumps([play], indent=2), encoding="utf-8")
        yield playbook, Path(folder) / "results.jsonl"


def program(name: str) -> str:
    """The program of that name that belongs to the running Python (a virtual environment's own), else by PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name
