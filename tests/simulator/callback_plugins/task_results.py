# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write each task's result as one JSON line into $SIMULATOR_RESULTS, so that a test can read it."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: task_results
type: aggregate
short_description: Results of tasks as JSON lines, for the tests of the rehearsal world
description: Appends one line a task to the file that the environment variable SIMULATOR_RESULTS names.
requirements: []
"""


class CallbackModule(CallbackBase):
    """One line a finished task: {"task": name, "result": {...}}."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_results"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, finished) -> None:
        result = json.loads(self._dump_results(finished._result, indent=0))
        if "diff" in finished._result:  # which _dump_results leaves out
            result["diff"] = json.loads(self._dump_results({"diff of": finished._result["diff"]}, indent=0))["diff of"]
        line = json.dumps({"task": finished._task.get_name(), "result": result})
        with open(os.environ["SIMULATOR_RESULTS"], "a", encoding="utf-8") as results:
            results.write(line + "\n")

    def v2_runner_on_ok(self, result) -> None:
        self._write(result)

    def v2_runner_on_failed(self, result, ignore_errors=False) -> None:
        self._write(result)

    def v2_runner_on_skipped(self, result) -> None:
        self._write(result)

    def v2_runner_on_unreachable(self, result) -> None:
        self._write(result)
