# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long things take in the rehearsal world's AWS."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """Durations in seconds of the world's clock. The defaults are what an operator sees in an ordinary region."""

    #: Auto Scaling notices that desired and actual capacity differ, and acts
    reaction: float = 3.0
    #: EC2: pending -> running
    starting: float = 15.0
    #: Auto Scaling: running -> InService (or Pending:Wait, where a hook waits)
    in_service: float = 10.0
    #: EC2: shutting-down -> terminated
    shutting_down: float = 25.0
    #: EC2: stopping -> stopped
    stopping: float = 20.0
    #: EC2 forgets a terminated instance
    forget_terminated: float = 3600.0
    #: Auto Scaling: Detaching -> gone from the group, EnteringStandby -> Standby
    detaching: float = 4.0
    #: Auto Scaling's EC2 health check notices that an instance has been stopped or terminated
    health_check: float = 15.0
    #: Auto Scaling looks at the balance of the zones, after the group last changed
    rebalance: float = 60.0
    #: Auto Scaling tries again after a launch that failed
    launch_retry: float = 60.0
    #: Load balancers: all their nodes know a new target; its health checks begin (and take interval x threshold)
    registering: float = 5.0
    #: EKS: a new control-plane version
    cluster_update: float = 600.0
    #: EKS: when, as parts of that time, API servers give way to new ones, and for how long the endpoint then resets
    #: connections ("Update existing cluster to new Kubernetes version" speaks of minor interruptions)
    endpoint_disturbances: tuple[tuple[float, float], ...] = ((0.5, 3.0), (1.0, 5.0))
    #: EKS: how often it looks at an update that waits for something
    update_look: float = 5.0
    #: EKS: an add-on's objects are applied, or found to be in conflict
    addon_apply: float = 10.0
    #: EKS: gives up an add-on whose pods do not come up
    addon_patience: float = 900.0
    #: EKS: an add-on is gone
    addon_delete: float = 20.0
    #: EKS, managed node groups: waits for new nodes, for pods to leave ("within 15 minutes"), and between the last pod
    #: and the termination ("60 seconds")
    node_patience: float = 900.0
    eviction_patience: float = 900.0
    before_termination: float = 60.0
    #: EKS: a refresh of insights that was asked for; and how often they are refreshed anyway
    insights_refresh: float = 60.0
    insights_period: float = 86400.0
    #: Instance refresh: each round of replacing
    refresh_warmup: float = 60.0
