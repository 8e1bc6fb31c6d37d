# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from unit.plugins.module_utils.groups.conftest import no_aws_surroundings, service_models_read_once

__all__ = ["no_aws_surroundings", "service_models_read_once"]
