# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The AWS Load Balancer Controller, as far as a rollout meets it: the targets of instance target groups are the nodes.

It registers every node that is Ready and takes out whoever is not any more, has gone, carries the label
``node.kubernetes.io/exclude-from-external-load-balancers`` or the cluster autoscaler's taint (pkg/backend,
endpoint_utils.go). Auto Scaling knows nothing of these target groups: it does not wait for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from botocore.exceptions import ClientError

from simulator.autoscaler import TAINT
from simulator.aws.server import Cloud
from simulator.clock import Clock
from simulator.identities import AwsClients
from simulator.kubernetes.resources import NODES
from simulator.kubernetes.store import Store
from simulator.nodes import Node, has_taint, is_ready

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


class BalancerController:
    """Looks at the nodes every ``scan`` seconds of the world, as through a watch: only its changes are requests."""

    def __init__(
        self,
        clock: Clock,
        cloud: Cloud,
        store: Store,
        aws: AwsClients,
        target_groups: Callable[[], Iterable[str]],
        scan: float = 5.0,
    ):
        self._clock = clock
        self._cloud = cloud
        self._store = store
        self._elbv2 = aws("elbv2")
        self._target_groups = target_groups
        self._scan = scan
        self._next = clock.now()
        self.working = True  # a test may let it rest

    def step(self) -> None:
        """One look, when it is time for one."""
        if not self.working or self._clock.now() < self._next:
            return
        self._next = self._clock.now() + self._scan
        wanted = {instance_of(stored.object) for stored in self._store.all(NODES) if suitable(stored.object)}
        for arn in self._target_groups():
            with self._cloud.lock:
                exists = arn in self._cloud.balancers.target_groups.target_groups
                registered = self._cloud.balancers.pool(arn).registered() if exists else set()
            if exists:
                with suppress(ClientError):  # refused (it has just ended) or throttled: the next look tries again
                    self._reconcile(arn, wanted, registered)

    def _reconcile(self, arn: str, wanted: set[str], registered: set[str]) -> None:
        if registered - wanted:
            self._elbv2.deregister_targets(TargetGroupArn=arn, Targets=_targets(registered - wanted))
        if wanted - registered:
            self._elbv2.register_targets(TargetGroupArn=arn, Targets=_targets(wanted - registered))


def suitable(node: Node) -> bool:
    """The node may get traffic from outside."""
    excluded = EXCLUDED in (node["metadata"].get("labels") or {}) or has_taint(node, TAINT)
    return is_ready(node) and not excluded and instance_of(node).startswith("i-")  # not Fargate's


def instance_of(node: Node) -> str:
    """The instance behind a Node."""
    return node["spec"].get("providerID", "").rpartition("/")[2]


def _targets(ids: Iterable[str]) -> list[dict[str, str]]:
    return [{"Id": instance_id} for instance_id in sorted(ids)]
