# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind every module: on the controller, the module is a fork of the worker that runs its task.

Ansible packs a module with all that it imports into an archive, and starts a Python that compiles it: more than a
second of every task, and a rollout has thirty. The controller loads an action's class before it forks the worker of
its task, so what is imported here is loaded once in a run, and every module of ours finds it there.
"""

from __future__ import annotations

import gc
import io
import json
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import cached_property
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, ClassVar

from ansible.plugins.action import ActionBase
from ansible.vars.clean import remove_internal_keys

from ansible_collections.evergreen.eks.plugins.module_utils.aws import load_service_models
from ansible_collections.evergreen.eks.plugins.module_utils.process import CONTROLLER_VARIABLE, Process, work_for

try:
    from ansible.module_utils import _internal
    from ansible.module_utils.common.json import Direction, get_module_encoder
except ImportError:  # ansible-core 2.18 and older: there our modules run as all others do
    _internal = get_module_encoder = None
PROFILE = "legacy"  # how options and results are written, for every module that does not say so itself
FORKS = get_module_encoder is not None and sys.platform == "linux"  # libraries of macOS may abort a fork
END_SECONDS = 5.0  # for a fork that is told to end

if FORKS:
    with suppress(Exception):  # only time is lost: the module reads what it needs, or says what is missing
        load_service_models("autoscaling", "ec2", "eks", "sts")


class ModuleAction(ActionBase):
    """Runs a module: here where that is possible, else as Ansible runs any module."""

    TRANSFERS_FILES = False
    _supports_async = True
    _supports_check_mode = True
    MODULE: ClassVar[ModuleType]

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        result.update(self.run_module(dict(self._task.args), variables))
        return result

    def run_module(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """The module's result."""
        if self.runs_here():
            # This is a forked worker: its environment ends with the task, and the module's process inherits it.
            os.environ[CONTROLLER_VARIABLE] = str(playbook_process())
        if not self._runs_in_a_fork(variables):
            return self._execute_module(
                module_args=arguments, task_vars=variables, wrap_async=bool(self._task.async_val)
            )
        self._update_module_args(self._task.action, arguments, variables)
        encoder = get_module_encoder(PROFILE, Direction.CONTROLLER_TO_MODULE)
        options = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}, cls=encoder)
        output = in_a_fork(self.MODULE.main, options, self.environment, self._loader.get_basedir())
        result = self._parse_returned_data(output, PROFILE)
        remove_internal_keys(result)
        return result

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What the task, its blocks and its play add to the module's environment."""
        environment: dict[str, Any] = {}
        self._compute_environment_string(environment)
        return environment

    def runs_here(self) -> bool:
        """Whether the module works on the controller: else it shares neither our environment nor our files."""
        return self._connection.transport == "local"

    def _runs_in_a_fork(self, variables: dict[str, Any]) -> bool:
        """Not in the background, which outlives us; not as another user; not with another Python."""
        if not (FORKS and self.runs_here()) or self._task.async_val or self._connection.become:
            return False
        return self._templar.template(variables.get("ansible_python_interpreter")) == sys.executable


def in_a_fork(main: Callable[[], None], options: str, environment: Mapping[str, Any], directory: str) -> dict[str, Any]:
    """Run a module's ``main`` in a fork of this process; its C(rc), C(stdout) and C(stderr), as those of a command.

    It reads its ``options`` (JSON) from standard input, like a module that is run by hand. Whatever ends the wait for
    it, such as the task's timeout, ends it, too.
    """
    ours, its = multiprocessing.Pipe(duplex=False)
    fork = multiprocessing.get_context("fork").Process(target=_work, args=(main, options, environment, directory, its))
    fork.start()
    its.close()
    try:
        answer = _received(ours)
        fork.join()
    except BaseException:
        _end(fork)
        raise
    finally:
        ours.close()
    return {"rc": fork.exitcode, **answer}


def _received(answer: Connection) -> dict[str, str]:
    try:
        return answer.recv()
    except EOFError:
        return {"stdout": "", "stderr": "The process of the module ended without an answer"}


def _end(fork: BaseProcess) -> None:
    fork.terminate()
    fork.join(END_SECONDS)
    if fork.is_alive():
        fork.kill()
        fork.join()


def _work(
    main: Callable[[], None], options: str, environment: Mapping[str, Any], directory: str, answer: Connection
) -> None:
    """The fork: a process of its own in everything that a module may touch."""
    gc.freeze()  # what came with the fork is not gone through: a collection would copy its pages
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # a worker's own way to end is none for us
    code = 0
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        try:
            _become_a_module(environment, directory)
            sys.argv = [main.__module__]
            sys.stdin = io.TextIOWrapper(io.BytesIO(options.encode()))
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 1
    answer.send({"stdout": stdout.getvalue(), "stderr": stderr.getvalue()})
    sys.exit(code)


def _become_a_module(environment: Mapping[str, Any], directory: str) -> None:
    os.environ.update({name: str(value) for name, value in environment.items()})
    os.chdir(directory)
    work_for(Process.parse(os.environ[CONTROLLER_VARIABLE]))
    if hasattr(_internal, "is_controller"):
        _internal.is_controller = False  # else warnings are shown at once, and are no part of the result


def playbook_process() -> Process:
    """The process of C(ansible-playbook), whose forked worker we are."""
    parent = multiprocessing.parent_process()
    return Process.of(parent.pid if parent else os.getpid())
