# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `lb_targets` does: one of three works, by the state that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.arrival import Arrival
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.decisions import GONE, REGISTERED, Request
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.departure import Departure
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.records import HEALTHY
from ansible_collections.evergreen.eks.plugins.module_utils.balancers.returning import Return
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

WORKS = {HEALTHY: Arrival, GONE: Departure, REGISTERED: Return}


def direct(params: Mapping[str, Any], aws: Aws, call: Call) -> dict[str, Any]:
    """Do what the options of `lb_targets` say; answers the module's result.

    Raises InvalidInput, GroupNotFound, and EvergreenError with the reason of the instances that are least far.
    """
    request = Request.of(params)
    work = WORKS[request.state](request, aws, call)
    return work.foretell() if call.check_mode else work.run()
