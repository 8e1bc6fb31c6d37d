# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an Auto Scaling group, its members and its activities are, in the rehearsal world."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from simulator.aws.agenda import Due

PENDING = ("Pending", "Pending:Wait", "Pending:Proceed")
TERMINATING = ("Terminating", "Terminating:Wait", "Terminating:Proceed", "Terminated")
#: the states that count towards the desired capacity
COUNTING = (*PENDING, "InService")
#: https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
PROCESSES = (
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
)


@dataclass
class Activity:
    """One scaling activity, as DescribeScalingActivities tells it."""

    group: str
    description: str
    cause: str
    started: datetime
    status: str
    progress: int
    zone: str = ""
    subnet: str = ""
    message: str = ""
    ended: datetime | None = None
    activity_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def over(self) -> bool:
        """It has come to its end, good or bad."""
        return self.status in ("Successful", "Failed", "Cancelled")

    def to(self, status: str, progress: int) -> None:
        """It goes on."""
        self.status, self.progress = status, progress

    def finish(self, at: datetime, status: str = "Successful", message: str = "") -> None:
        """It has come to its end."""
        self.status, self.progress, self.ended, self.message = status, 100, at, message


@dataclass(frozen=True)
class TemplateRef:
    """A launch template and one of its versions, by number, as an instance was launched from it."""

    template_id: str
    name: str
    version: str


@dataclass
class HookWait:
    """One lifecycle hook that a member waits for."""

    hook: str
    token: str
    heartbeat: float
    default_result: str
    due: Due | None = None


@dataclass
class Member:
    """An instance as its group sees it."""

    instance_id: str
    zone: str
    subnet: str
    instance_type: str
    launched_at: float
    state: str = "Pending"
    healthy: bool = True
    protected: bool = False
    template: TemplateRef | None = None
    configuration: str = ""
    weight: int = 1
    weighted: bool = False
    activity: Activity | None = None
    waits: list[HookWait] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        """Part of the group's strength."""
        return self.state in COUNTING

    @property
    def terminating(self) -> bool:
        """On its way out for good."""
        return self.state in TERMINATING


@dataclass
class Hook:
    """A lifecycle hook; ``transition`` is "autoscaling:EC2_INSTANCE_LAUNCHING" or "..._TERMINATING"."""

    name: str
    transition: str
    heartbeat: int = 3600
    default_result: str = "ABANDON"
    target_arn: str = ""
    role_arn: str = ""
    metadata: str = ""


@dataclass
class Refresh:
    """An instance refresh, far enough that one can be under way, be cancelled, and replace instances."""

    refresh_id: str
    started: datetime
    preferences: dict[str, Any]
    status: str = "Pending"
    reason: str = ""
    percentage: int = 0
    to_update: int = 0
    old: set[str] = field(default_factory=set)
    ended: datetime | None = None


@dataclass
class Group:
    """An Auto Scaling group."""

    name: str
    arn: str
    created: datetime
    min_size: int
    max_size: int
    desired: int
    #: subnet id -> zone, in the order given
    subnets: dict[str, str]
    #: as given: {"LaunchTemplateId"|"LaunchTemplateName", "Version"}
    launch_template: dict[str, Any] | None = None
    launch_configuration: str = ""
    mixed_policy: dict[str, Any] | None = None
    termination_policies: list[str] = field(default_factory=lambda: ["Default"])
    default_cooldown: int = 300
    health_check_type: str = "EC2"
    health_check_grace: int = 300
    protects_new: bool = False
    capacity_rebalance: bool = False
    placement_group: str = ""
    max_instance_lifetime: int | None = None
    default_warmup: int | None = None
    #: "units", "vcpu" or "memory-mib"; empty: not said, which means units
    capacity_type: str = ""
    maintenance_policy: dict[str, Any] | None = None
    service_role: str = ""
    load_balancers: list[str] = field(default_factory=list)
    target_groups: list[str] = field(default_factory=list)
    tags: dict[str, dict[str, Any]] = field(default_factory=dict)
    suspended: dict[str, str] = field(default_factory=dict)
    hooks: dict[str, Hook] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    activities: list[Activity] = field(default_factory=list)
    refreshes: list[Refresh] = field(default_factory=list)
    warm_pool: dict[str, Any] | None = None
    metrics: list[str] = field(default_factory=list)
    deleting: bool = False
    #: why the capacity is about to change, for the next activities' cause
    reasons: list[str] = field(default_factory=list)
    #: how many unhealthy members have left and are to be replaced
    to_replace: int = 0
    #: members launched only to balance the zones, and not yet in service
    balancing: set[str] = field(default_factory=set)
    #: the current wish to scale in has been reported as impossible
    stuck_reported: bool = False
    reconcile_due: Due | None = None
    rebalance_due: Due | None = None

    @property
    def zones(self) -> list[str]:
        """Its availability zones, each once."""
        return list(dict.fromkeys(self.subnets.values()))

    def counting(self) -> list[Member]:
        """The members that count towards its desired capacity."""
        return [member for member in self.members.values() if member.counts]

    def runs(self, process: str) -> bool:
        """The process is not suspended."""
        return process not in self.suspended

    def by_zone(self) -> dict[str, list[Member]]:
        """The counting members of each of its zones."""
        found: dict[str, list[Member]] = {zone: [] for zone in self.zones}
        for member in self.counting():
            found.setdefault(member.zone, []).append(member)
        return found
