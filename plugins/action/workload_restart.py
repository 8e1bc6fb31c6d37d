# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.evergreen.eks.plugins.modules import workload_restart
from ansible_collections.evergreen.eks.plugins.plugin_utils.progress_action import ProgressAction


class ActionModule(ProgressAction):
    """Live progress of the module of the same name."""

    MODULE = workload_restart
