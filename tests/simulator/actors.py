# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everybody else who is at work in the cluster while a rollout runs: an autoscaler, people, the spot market.

All of them use the APIs like anybody else, under their own names. What they do can be done at once, at a moment of the
world's time, or when a certain request is seen::

    world.actors.reset_max("shared", 3)
    world.actors.at(120, lambda: world.actors.spot_loss("i-0123"))
    world.actors.when(lambda: world.actors.new_version("shared"), operation="^SetDesiredCapacity$")
    world.actors.add_autoscaler()
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from typing import Any

from simulator.autoscaler import ClusterAutoscaler
from simulator.clock import Clock
from simulator.identities import SOMEBODY, TOOL, AwsClients
from simulator.kubernetes.client import ApiClient
from simulator.provisioning import Provisioner
from simulator.record import Call, Fault, Faults
from simulator.scenarios.model import Scenario

LOG = logging.getLogger("simulator.actors")

Deed = Callable[[], Any]


class Actors:
    """The deeds of others, and when they are due."""

    def __init__(
        self,
        scenario: Scenario,
        clock: Clock,
        faults: Faults,
        provisioner: Provisioner,
        aws: Callable[[str], AwsClients],
        kubernetes: Callable[[str], ApiClient],
    ):
        self.scenario = scenario
        self._clock = clock
        self._faults = faults
        self._provisioner = provisioner
        self._aws = aws
        self._kubernetes = kubernetes
        self._lock = threading.Lock()
        self._agenda: list[tuple[float, int, Deed]] = []
        self._numbers = itertools.count()
        self._autoscalers: list[ClusterAutoscaler] = []

    # ---- when

    def at(self, seconds: float, deed: Deed) -> None:
        """Do it that many seconds of the world from now."""
        with self._lock:
            self._agenda.append((self._clock.now() + seconds, next(self._numbers), deed))
            self._agenda.sort()

    def when(
        self,
        deed: Deed,
        *,
        operation: str,
        service: str | None = None,
        target: str | None = None,
        author: str | None = TOOL,
        chosen: Callable[[Call], bool] | None = None,
        skip: int = 0,
        before: bool = False,
    ) -> Fault:
        """Do it once when such a request (regular expressions; see ``Faults.add``) has been done, or is about to be."""

        def react(_unused: Call) -> None:
            deed()

        moment: dict[str, Callable[[Call], None]] = {"before": react} if before else {"after": react}
        return self._faults.add(service, operation, target=target, author=author, chosen=chosen, skip=skip, **moment)

    def step(self) -> None:
        """Let everybody do what is due; called by the world's ticker."""
        while (deed := self._next_due()) is not None:
            try:
                deed()
            except Exception:  # a deed that fails must not stop the world; the record shows its request
                LOG.exception("an actor failed")
        for autoscaler in list(self._autoscalers):
            autoscaler.step()

    def _next_due(self) -> Deed | None:
        with self._lock:
            if self._agenda and self._agenda[0][0] <= self._clock.now():
                return self._agenda.pop(0)[2]
            return None

    # ---- the cluster autoscaler

    def add_autoscaler(self, **options: Any) -> ClusterAutoscaler:
        """From now on a cluster autoscaler is at work; see its class for the options."""
        autoscaler = ClusterAutoscaler(
            [group.name for group in self.scenario.groups],
            self._clock,
            self._aws("cluster-autoscaler"),
            self._kubernetes("cluster-autoscaler"),
            **options,
        )
        self._autoscalers.append(autoscaler)
        return autoscaler

    # ---- what people and the cloud do

    def reset_max(self, group: str, max_size: int) -> None:
        """Somebody (Terraform, say) puts a group's maximal size back to what it wrote down."""
        self._aws(SOMEBODY)("autoscaling").update_auto_scaling_group(AutoScalingGroupName=group, MaxSize=max_size)

    def set_desired(self, group: str, desired: int) -> None:
        """Somebody scales a group."""
        self._aws(SOMEBODY)("autoscaling").set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=desired)

    def spot_loss(self, instance_id: str) -> None:
        """An instance goes without having been asked for, as spot instances do."""
        self._aws(SOMEBODY)("ec2").terminate_instances(InstanceIds=[instance_id])

    def stop_instance(self, instance_id: str) -> None:
        """Somebody stops an instance."""
        self._aws(SOMEBODY)("ec2").stop_instances(InstanceIds=[instance_id])

    def new_version(self, group: str) -> str:
        """Somebody publishes a newer image in a newer version of what the group launches; returns that version."""
        wanted = next(one for one in self.scenario.groups if one.name == group)
        return self._provisioner.renew(wanted, self._provisioner.new_image())

    def suspend(self, group: str, *processes: str) -> None:
        """Somebody suspends processes of a group."""
        self._aws(SOMEBODY)("autoscaling").suspend_processes(
            AutoScalingGroupName=group, ScalingProcesses=list(processes)
        )

    def resume(self, group: str, *processes: str) -> None:
        """Somebody lets processes of a group run again."""
        self._aws(SOMEBODY)("autoscaling").resume_processes(
            AutoScalingGroupName=group, ScalingProcesses=list(processes)
        )

    def shift_desired(self, group: str, by: int) -> None:
        """Somebody, an autoscaler say, scales a group up or down from where it is now."""
        sizes = self._aws(SOMEBODY)("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        self.set_desired(group, sizes["AutoScalingGroups"][0]["DesiredCapacity"] + by)

    def unprotect(self, group: str) -> None:
        """Somebody takes the scale-in protection off a group and all its members."""
        autoscaling = self._aws(SOMEBODY)("autoscaling")
        found = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"][0]
        serving = [one["InstanceId"] for one in found["Instances"] if one["LifecycleState"] == "InService"]
        autoscaling.update_auto_scaling_group(AutoScalingGroupName=group, NewInstancesProtectedFromScaleIn=False)
        autoscaling.set_instance_protection(AutoScalingGroupName=group, InstanceIds=serving, ProtectedFromScaleIn=False)

    def stand_by(self, group: str, instance_id: str, decrement: bool = False) -> None:
        """Somebody sets a member aside, to look at it."""
        self._aws(SOMEBODY)("autoscaling").enter_standby(
            AutoScalingGroupName=group, InstanceIds=[instance_id], ShouldDecrementDesiredCapacity=decrement
        )

    def back_in_service(self, group: str, instance_id: str) -> None:
        """Somebody has looked at it long enough."""
        self._aws(SOMEBODY)("autoscaling").exit_standby(AutoScalingGroupName=group, InstanceIds=[instance_id])

    def start_refresh(self, group: str, **preferences: Any) -> None:
        """Somebody starts an instance refresh; by default it waits for protected members."""
        self._aws(SOMEBODY)("autoscaling").start_instance_refresh(AutoScalingGroupName=group, Preferences=preferences)

    def cancel_refresh(self, group: str) -> None:
        """Somebody cancels it."""
        self._aws(SOMEBODY)("autoscaling").cancel_instance_refresh(AutoScalingGroupName=group)

    def delete_group(self, group: str) -> None:
        """Somebody deletes a whole node group."""
        self._aws(SOMEBODY)("autoscaling").delete_auto_scaling_group(AutoScalingGroupName=group, ForceDelete=True)

    def scale(self, workload: str, replicas: int, namespace: str = "default", kind: str = "deployments") -> None:
        """Somebody scales a workload."""
        path = f"/apis/apps/v1/namespaces/{namespace}/{kind}/{workload}"
        self._kubernetes(SOMEBODY).patch(path, {"spec": {"replicas": replicas}})

    def cordon(self, node: str, unschedulable: bool = True) -> None:
        """Somebody cordons a node, or takes that back."""
        self._kubernetes(SOMEBODY).patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": unschedulable or None}})

    def delete_pod(self, namespace: str, name: str) -> None:
        """Somebody deletes a pod."""
        self._kubernetes(SOMEBODY).delete(f"/api/v1/namespaces/{namespace}/pods/{name}")
