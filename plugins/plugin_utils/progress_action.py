# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind every module that waits or changes something: it shows its progress."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.utils.display import Display

from ansible_collections.evergreen.eks.plugins.plugin_utils.journal_tail import JournalTail
from ansible_collections.evergreen.eks.plugins.plugin_utils.module_action import ModuleAction

display = Display()


class ProgressAction(ModuleAction):
    """Runs the module of the action's own name; on the controller live."""

    def run_module(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        arguments = self.module_arguments(arguments, variables)
        with self._progress_shown(arguments, variables):
            return super().run_module(arguments, variables)

    def module_arguments(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """The module's options; an action that knows more than its task was told adds it here."""
        return arguments

    @contextmanager
    def _progress_shown(self, arguments: dict[str, Any], variables: dict[str, Any]) -> Iterator[None]:
        """While this lasts, what the module appends to its journal appears on standard error.

        Not for no_log tasks, which must stay silent, and not for background tasks, which outlive us. Standard output
        belongs to callbacks: it may be JSON.
        """
        if not self.runs_here() or self._task.no_log or self._task.async_val:
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
