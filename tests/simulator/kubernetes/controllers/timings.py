# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long things take in the rehearsal cluster, and how a pod says that it takes longer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# Annotations of a pod (in practice of a workload's pod template). The values are seconds of the world, or "never".
STARTS_AFTER = "simulator/starts-after"  # from being bound, with its volumes attached, until its containers run
READY_AFTER = "simulator/ready-after"  # from running until Ready; "never" = a pod that does not get Ready
STOPS_AFTER = "simulator/stops-after"  # from SIGTERM until the processes end; "never" = ignores SIGTERM
HANGS = "simulator/hangs"  # "true": its processes wait for a device that is gone, not even SIGKILL ends them
CRASHES_AFTER = "simulator/crashes-after"  # from each start until the container fails (exit code 1)
FINISHES_AFTER = "simulator/finishes-after"  # from each start until the container ends well (exit code 0)
IMAGE_PULL_FAILS = "simulator/image-pull-fails"  # "true": waits in ErrImagePull, ImagePullBackOff
TROUBLED_ON = "simulator/troubled-on"  # "label=value": it crashes, or lacks its image, only on nodes with that label

# Annotation of a node: names of the static pods in its manifests folder, joined by commas.
STATIC_PODS = "simulator/static-pods"


@dataclass(frozen=True)
class Timings:
    """Seconds of the world. The defaults are those of the real controllers, or plausible for an EKS cluster."""

    # kubelet and container runtime
    machine_poll: float = 1.0  # how soon a kubelet goes on after its machine came back
    pod_starts: float = 2.0
    pod_gets_ready: float = 0.0
    pod_stops: float = 1.0
    finite_pod_runs: float = 60.0  # pods with restartPolicy Never or OnFailure that do not say
    crash_backoff: float = 10.0  # doubled with each restart ...
    crash_backoff_limit: float = 300.0  # ... up to five minutes

    # node lifecycle controller: --node-monitor-period, --node-monitor-grace-period (50 s since 1.32, before it 40 s),
    # and the tolerationSeconds that the admission plug-in DefaultTolerationSeconds gives every pod
    node_monitor_period: float = 5.0
    node_monitor_grace: float = 50.0
    default_toleration: float = 300.0

    # pod garbage collector: gcCheckPeriod and quarantineTime of pkg/controller/podgc
    podgc_period: float = 20.0
    podgc_quarantine: float = 40.0

    # disruption controller: DeletionTimeout of pkg/controller/disruption
    disrupted_pod_timeout: float = 120.0

    # namespace controller: namespaceDeletionGracePeriod
    namespace_deletion: float = 5.0

    # Amazon EBS volumes; maxWaitForUnmountDuration of the attach/detach controller
    volume_provisions: float = 2.0
    volume_attaches: float = 3.0
    volume_detaches: float = 5.0
    volume_force_detach: float = 360.0

    # job controller: the back-off before a failed pod is replaced
    job_backoff: float = 10.0

    # work queues: after an error, doubled each time
    retry: float = 1.0
    retry_limit: float = 60.0


def seconds_from(obj: dict[str, Any], annotation: str, default: float) -> float:
    """The duration in ``annotation`` of the object; infinity for "never".

    Raises ValueError, naming object and annotation, when the value is neither.
    """
    value = (obj["metadata"].get("annotations") or {}).get(annotation)
    if value is None:
        return default
    if value == "never":
        return math.inf
    try:
        return float(value)
    except ValueError:
        name = obj["metadata"].get("name", "?")
        raise ValueError(f'{name}: annotation {annotation} is "{value}"; give seconds or "never"') from None
