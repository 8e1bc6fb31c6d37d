# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind every module that waits or changes something: it shows its progress."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ansible import constants
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.utils.display import Display

from ansible_collections.evergreen.eks.plugins.module_utils.journal import QUIET_VARIABLE, SCREEN_VARIABLE
from ansible_collections.evergreen.eks.plugins.plugin_utils.journal_tail import JournalTail
from ansible_collections.evergreen.eks.plugins.plugin_utils.module_action import ModuleAction
from ansible_collections.evergreen.eks.plugins.plugin_utils.progress_lines import Line, Lines

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
        """While this lasts, what the module tells appears on standard error.

        Not for no_log tasks, which must stay silent, and not for background tasks, which outlive us. Standard output
        belongs to callbacks: it may be JSON. The module writes a copy of its events for us alone: others may share the
        journal that the task names, and what they tell is shown by their own tasks. It is in Ansible's own folder of
        this run, which ends with it also where this worker is killed.
        """
        if not self.runs_here() or self._task.no_log or self._task.async_val:
            yield
            return
        group = str(arguments.get("asg_name") or variables.get("inventory_hostname", ""))
        try:
            handle, path = tempfile.mkstemp(prefix="evergreen-", suffix=".jsonl", dir=constants.DEFAULT_LOCAL_TMP)
        except OSError as error:
            display.warning(f"Progress is not shown, the work goes on: {error}")
            yield
            return
        os.close(handle)
        os.environ[SCREEN_VARIABLE] = path  # this is a forked worker, and the module's process inherits it
        try:
            with JournalTail(path, Lines(group, quiet=self._quiet(arguments)), show):
                yield
        finally:
            os.environ.pop(SCREEN_VARIABLE, None)
            with suppress(OSError):
                os.unlink(path)

    def _quiet(self, arguments: dict[str, Any]) -> bool:
        """Whether only warnings, what blocks, and ends are to be shown, by the module's option or its variable."""
        asked = arguments.get("quiet", self.environment.get(QUIET_VARIABLE, os.environ.get(QUIET_VARIABLE)))
        return bool(asked) and boolean(asked, strict=False)


def show(line: Line) -> None:
    """Whether colours are shown is up to Ansible: terminals, C(NO_COLOR), its own settings."""
    display.display(line.text, color=getattr(constants, line.colour) if line.colour else None, stderr=True)
