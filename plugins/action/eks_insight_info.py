# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.evergreen.eks.plugins.modules import eks_insight_info
from ansible_collections.evergreen.eks.plugins.plugin_utils.module_action import ModuleAction


class ActionModule(ModuleAction):
    """The module of the same name."""

    MODULE = eks_insight_info
