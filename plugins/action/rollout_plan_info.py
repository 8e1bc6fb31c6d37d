# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display

from ansible_collections.evergreen.eks.plugins.modules import rollout_plan_info
from ansible_collections.evergreen.eks.plugins.plugin_utils.module_action import ModuleAction

display = Display()


class ActionModule(ModuleAction):
    """The module of the same name; its table is shown as it is, which no callback puts into quotes.

    On standard error, for standard output belongs to callbacks: it may be JSON. A task with no_log, or that is to be
    quiet, stays silent.
    """

    MODULE = rollout_plan_info

    def run_module(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        result = super().run_module(arguments, variables)
        plan = result.get("plan") or {}
        given = result.get("invocation", {}).get("module_args", {})
        if plan.get("table") and not (self._task.no_log or given.get("quiet")):
            # At once: node groups that are planned side by side would mix their lines.
            lines = [f"   The plan of node group {plan['asg_name']}", "", *plan["table"]]
            display.display("\n".join(lines), stderr=True)
        return result
