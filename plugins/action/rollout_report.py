# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.evergreen.eks.plugins.modules import rollout_report
from ansible_collections.evergreen.eks.plugins.plugin_utils.progress_action import ProgressAction
from ansible_collections.evergreen.eks.plugins.plugin_utils.provenance import restore_command


class ActionModule(ProgressAction):
    """Live progress, and what only the controller knows: how a run is gone back from."""

    MODULE = rollout_report

    def module_arguments(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        return {"restore_command": restore_command(variables, arguments), **arguments}
