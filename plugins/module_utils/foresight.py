# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan can tell of the drain to come: the budgets of the whole cluster that no drain will ever get past."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.evergreen.eks.plugins.module_utils.drain.explain import Explainer
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient

UNREADABLE = (
    "budgets that can never be met are not foretold: poddisruptionbudgets.policy, or pods, of the whole cluster cannot "
    "be listed"
)


def with_impossible_budgets(plan: Mapping[str, Any], client: KubernetesClient) -> dict[str, Any]:
    """The plan, and the budgets that can never be met, as records and in a line each.

    Of the whole cluster, whichever nodes the plan is about: whoever is told of one of them puts all of them right.
    """
    found = Explainer(client).impossible_budgets()
    lines = [UNREADABLE] if found is None else [f"budget that can never be met: {one.line}" for one in found]
    return {
        **plan,
        "impossible_budgets": [one.record() for one in found or ()],
        "summary": [*plan["summary"], *(f"{plan['asg_name']}: {line}" for line in lines)],
    }
