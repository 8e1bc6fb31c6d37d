# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from typing import Any

from ansible import context

from ansible_collections.evergreen.eks.plugins.module_utils.variables import PLAYBOOK_PREFIX, PLAYBOOK_VARIABLES
from ansible_collections.evergreen.eks.plugins.modules import rollout_groups_info
from ansible_collections.evergreen.eks.plugins.plugin_utils.module_action import ModuleAction
from ansible_collections.evergreen.eks.plugins.plugin_utils.provenance import awx_job_id

# Connection options may be secret. They reach the modules through module_defaults, never through a module's output.
KEPT_BACK = {f"{PLAYBOOK_PREFIX}{variable.name}" for variable in PLAYBOOK_VARIABLES if variable.kind == "options"}


class ActionModule(ModuleAction):
    """Hands the module what only the controller knows: the playbook's variables and where it was started."""

    MODULE = rollout_groups_info

    def run_module(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        known = {
            "variables": self._playbook_variables(variables),
            "working_directory": os.getcwd(),
            "forks": context.CLIARGS.get("forks"),
            "awx_job_id": awx_job_id(variables),
        }
        return super().run_module({**known, **arguments}, variables)

    def _playbook_variables(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {
            name: self._templar.template(value)
            for name, value in variables.items()
            if name.startswith(PLAYBOOK_PREFIX) and name not in KEPT_BACK
        }
