# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which disruption budgets select a pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError


def budgets_of(client: KubernetesClient, pod: Pod) -> list[str]:
    """Names of the PodDisruptionBudgets that select the pod, none when they may not be listed: it only explains."""
    try:
        items, _version = client.list(f"/apis/policy/v1/namespaces/{pod.namespace}/poddisruptionbudgets")
    except KubernetesError:
        return []
    return sorted(
        item["metadata"]["name"] for item in items if selects((item.get("spec") or {}).get("selector"), pod.labels)
    )


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether the LabelSelector of a policy/v1 budget matches: without a selector none, with an empty one all."""
    if selector is None:
        return False
    wanted = (selector.get("matchLabels") or {}).items()
    return all(labels.get(key) == value for key, value in wanted) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions") or []
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) is (operator == "Exists")
