# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds a restart up, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.evergreen.eks.plugins.module_utils.picture import PodState
from ansible_collections.evergreen.eks.plugins.module_utils.restarts.workloads import Workload

NAMED = 3


def stand(workload: Workload) -> str:
    """C(1 of 2 pods are new and Ready)."""
    return f"{workload.new_and_ready} of {workload.state.wanted} pods are new and Ready"


def holdup(workload: Workload, pods: Iterable[PodState]) -> str:
    """Why the update is not complete: what the controller says, pods that do not come up, pods that do not go."""
    unready = sorted((pod for pod in pods if not pod.ready and not pod.leaving), key=lambda pod: pod.name)
    leaving = sorted(pod.name for pod in pods if pod.leaving)
    parts = [workload.trouble] if workload.trouble else []
    parts += [_trouble_of(pod) for pod in unready[:NAMED]]
    if len(unready) > NAMED:
        parts.append(f"{len(unready) - NAMED} more pods are not Ready")
    if leaving:
        more = f" and {len(leaving) - NAMED} more" if len(leaving) > NAMED else ""
        parts.append(f"still going: {', '.join(leaving[:NAMED])}{more}")
    return "; ".join([stand(workload), *(part.strip().rstrip(".") for part in parts)])


def _trouble_of(pod: PodState) -> str:
    reasons = ", ".join(pod.reasons)
    why = ": ".join(part for part in (reasons, pod.message) if part)
    where = f" on {pod.node}" if pod.node else ""
    return (
        f"pod {pod.name} is {pod.phase if pod.phase != 'Running' else 'not Ready'}{where}{f' ({why})' if why else ''}"
    )
