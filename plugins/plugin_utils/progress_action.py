# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind every module that changes something: it names its playbook's process and shows its progress."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.evergreen.eks.plugins.module_utils.process import CONTROLLER_VARIABLE, Process
from ansible_collections.evergreen.eks.plugins.plugin_utils.journal_tail import JournalTail

display = Display()


class ProgressAction(ActionBase):
    """Runs the module of the action's own name; on the controller also live.

    A module on another machine shares neither our environment nor our files: there it runs as any module does.
    """

    TRANSFERS_FILES = False
    _supports_async = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        arguments = self.module_arguments(dict(self._task.args), variables)
        if self._runs_here():
            # This is a forked worker: its environment ends with the task, and the module's process inherits it.
            os.environ[CONTROLLER_VARIABLE] = str(playbook_process())
        with self._progress_shown(arguments, variables):
            result.update(
                self._execute_module(module_args=arguments, task_vars=variables, wrap_async=self._task.async_val)
            )
        return result

    def module_arguments(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """The module's options; an action that knows more than its task was told adds it here."""
        return arguments

    def _runs_here(self) -> bool:
        return self._connection.transport == "local"

    @contextmanager
    def _progress_shown(self, arguments: dict[str, Any], variables: dict[str, Any]) -> Iterator[None]:
        """While this lasts, what the module appends to its journal appears on standard error.

        Not for no_log tasks, which must stay silent, and not for background tasks, which outlive us. Standard output
        belongs to callbacks: it may be JSON.
        """
        if not self._runs_here() or self._task.no_log or self._task.async_val:
            yield
            return
        with self._journal(arguments) as path:
            arguments["journal"] = path
            group = str(arguments.get("asg_name") or variables.get("inventory_hostname", ""))
            with JournalTail(path, group, show=lambda line: display.display(line, stderr=True)):
                yield

    @contextmanager
    def _journal(self, arguments: dict[str, Any]) -> Iterator[str]:
        """The absolute path of the journal that the task names, or of one that lasts as long as the task."""
        if arguments.get("journal"):
            # Relative to the playbook's folder, where the module itself would look for it.
            yield os.path.join(self._loader.get_basedir(), os.path.expanduser(arguments["journal"]))
            return
        handle, path = tempfile.mkstemp(prefix="evergreen-", suffix=".jsonl")
        os.close(handle)
        try:
            yield path
        finally:
            os.unlink(path)


def playbook_process() -> Process:
    """The process of C(ansible-playbook), whose forked worker we are."""
    parent = multiprocessing.parent_process()
    return Process.of(parent.pid if parent else os.getpid())
