# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.evergreen.eks.plugins.modules import upgrade_state
from ansible_collections.evergreen.eks.plugins.plugin_utils.progress_action import ProgressAction
from ansible_collections.evergreen.eks.plugins.plugin_utils.provenance import awx_job_id, operator, resume_command


class ActionModule(ProgressAction):
    """Live progress, and what only the controller knows: who started this run, and how to start it again."""

    MODULE = upgrade_state

    def module_arguments(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        known = {
            "resume_command": resume_command(variables),
            "operator": operator(variables),
            "awx_job_id": awx_job_id(variables),
        }
        return {**{name: value for name, value in known.items() if value}, **arguments}
