# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a world is made of, as plain data: node groups, workloads, times.

A test states its own world in a few lines::

    Scenario(
        groups=[NodeGroup("shared", size=3)],
        workloads=[Deployment("web", replicas=4, budget=Budget(min_available=3))],
    )
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

GROUP_LABEL = "example.com/node-group"  # on each Node: the name of its node group; workloads select by it
VERSION_LABEL = "example.com/launch-version"  # on each Node: the version of the launch template, where it has one


@dataclass(frozen=True)
class NodeGroup:
    """One Auto Scaling group of the cluster.

    ``size`` is its desired capacity at the start. ``max_size`` defaults to ``size``, as with a group that nobody meant
    to surge. ``outdated``: its launch template has got a newer version since its instances were launched (a group with
    a launch ``configuration`` has got a newer configuration instead). ``launch`` is ``template``, ``mixed`` (a mixed
    instances policy over ``instance_types``) or ``configuration``.
    """

    name: str
    size: int
    min_size: int = 0
    max_size: int | None = None
    instance_type: str = "m5.large"
    instance_types: Sequence[str] = ()
    launch: str = "template"
    template_version: str = "$Latest"  # or "$Default", or a number as text ("1")
    outdated: bool = True
    zones: Sequence[str] = ()  # default: those of the scenario
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    suspended: Sequence[str] = ()
    protected: bool = False  # new instances are protected from scale-in
    hooks: Sequence[Mapping[str, object]] = ()  # arguments of PutLifecycleHook
    target_groups: Sequence[str] = ()  # names; made when the world starts, attached to the group
    load_balancers: Sequence[str] = ()  # classic ones, by name
    managed: str = ""  # the EKS managed node group that it belongs to, by name
    image_parameter: str = ""  # it launches what this parameter of Systems Manager names when the world begins


@dataclass(frozen=True)
class Budget:
    """A PodDisruptionBudget over a workload's pods: numbers, or percentages as text (``"25%"``)."""

    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    unhealthy_pods: str | None = None  # unhealthyPodEvictionPolicy


@dataclass(frozen=True)
class Workload:
    """What all kinds of workloads have in common. ``start`` and ``stop`` are the world's seconds until one of its pods
    is Ready after it was bound, and until it is gone after it was told to go (never longer than ``grace``).
    """

    name: str
    namespace: str = "default"
    replicas: int = 1
    group: str | None = None  # only on the nodes of this node group
    budget: Budget | None = None
    cpu: str = "100m"
    memory: str = "128Mi"
    start: float = 4.0
    stop: float = 3.0
    grace: int = 30
    emptydir: bool = False
    spread: bool = True  # over nodes, and zones
    priority_class: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True)
class Deployment(Workload):
    """Interchangeable pods."""


@dataclass(frozen=True)
class StatefulSet(Workload):
    """Numbered pods, each with an own volume that lives in one zone when ``zonal_volume``."""

    zonal_volume: bool = False
    parallel: bool = False


@dataclass(frozen=True)
class DaemonSet(Workload):
    """One pod on each node; tolerates everything, as those of the system do."""

    namespace: str = "kube-system"
    cpu: str = "25m"
    start: float = 1.0


@dataclass(frozen=True)
class Job(Workload):
    """``replicas`` pods, each of which finishes after ``runs_for`` seconds of the world."""

    runs_for: float = 3600.0


@dataclass(frozen=True)
class Pod(Workload):
    """A pod that nobody manages: once evicted it is gone for good."""


@dataclass(frozen=True)
class Addon:
    """An EKS add-on that is installed; not ``managed``: only its objects are there, and EKS knows nothing of it."""

    name: str
    version: str
    managed: bool = True
    configuration: Mapping[str, object] = field(default_factory=dict)
    role: str = ""  # the ARN of its service account's role


@dataclass(frozen=True)
class FargateProfile:
    """Pods of that namespace with those labels run on Fargate."""

    name: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sidecar:
    """A container that an injector adds to pods with that annotation."""

    annotation: str
    container: str
    value: str = "true"
    image: str = "registry.invalid/sidecar:1"


@dataclass(frozen=True)
class Times:
    """How long things take, in seconds of the world."""

    boot: float = 40.0  # from running until the kubelet registers its Node
    ready: float = 8.0  # from there until the Node is Ready
    fargate: float = 45.0  # from a pod's creation until it has a Fargate node


@dataclass(frozen=True)
class Scenario:
    """A whole world at its beginning."""

    groups: Sequence[NodeGroup]
    workloads: Sequence[Workload] = ()
    name: str = "own"
    cluster: str = "rehearsal"
    region: str = "eu-central-1"
    version: str = "1.34"
    zones: Sequence[str] = ("eu-central-1a", "eu-central-1b", "eu-central-1c")
    times: Times = Times()
    # target groups of the AWS Load Balancer Controller, by name: every node of the cluster is a target
    controller_target_groups: Sequence[str] = ()
    deregistration_delay: int = 300  # of every target group, seconds
    system: bool = True  # the DaemonSets aws-node and kube-proxy run on every node (where no add-on brings them)
    addons: Sequence[Addon] = ()
    fargate: Sequence[FargateProfile] = ()
    sidecars: Sequence[Sidecar] = ()

    def with_group(self, name: str, **changes: object) -> Scenario:
        """The same scenario with one node group changed: ``SMALL.with_group("shared", size=5)``."""
        if name not in [group.name for group in self.groups]:
            raise KeyError(f"scenario {self.name} has no node group {name}")
        return replace(self, groups=[replace(g, **changes) if g.name == name else g for g in self.groups])

    def with_workloads(self, *more: Workload) -> Scenario:
        """The same scenario with more workloads."""
        return replace(self, workloads=[*self.workloads, *more])
