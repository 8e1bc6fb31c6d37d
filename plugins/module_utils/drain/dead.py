# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dead nodes: when a pod need not be waited for because nobody will ever tell that it has ended.

One rule for the drain, which gives such pods up, and for the removal of the instance, which lets it go with them. It is
made of what stands on the objects alone, in the API server's time, so that both come to the same answer, and so does
whoever is run again.

- Where nothing runs on the instance any more (EC2 has ended it, or does not know it and its kubelet is silent), nothing
  on it is waited for. An unknown instance with a kubelet that answers is another account's or region's.
- Where the kubelet is silent (Ready is Unknown, which the node lifecycle controller says after 50 s without a sign),
  its pods are waited for a little longer (``patience``). Kubernetes itself deletes them after five minutes (taint
  node.kubernetes.io/unreachable), past all budgets; but its objects stay for as long as the Node does.
- Where the kubelet says itself that it is not Ready it still stops pods, mostly: those that it was asked to stop have
  their grace, and ``patience`` on top. The others are evicted like anywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.groups import describe_instances
from ansible_collections.evergreen.eks.plugins.module_utils.moments import ServerTime, parse_timestamp
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Clock

ALIVE = "alive"
NOT_READY = "not_ready"  # the kubelet says so
UNREACHABLE = "unreachable"  # the kubelet says nothing
INSTANCE_ENDED = "instance_ended"  # there is nobody to say anything

GONE = "gone"  # EC2 does not know the instance (any more)
# Nothing runs on an instance in these states, so there is nothing to drain.
SILENT = ("shutting-down", "terminated", "stopped", GONE)
# What a pod on such a node is given to stop: the least that does not forget it while it may still run.
DEAD_GRACE = 1
INSTANCE_LOOKS = 6  # EC2 is asked at most every so many looks


@dataclass(frozen=True)
class Vitals:
    """How alive a node is, as of one look. ``instance_state``: EC2's, "" where it was not asked or does not say."""

    node: Node
    instance_state: str = ""

    @property
    def kind(self) -> str:
        """The first that holds of INSTANCE_ENDED, ALIVE, UNREACHABLE and NOT_READY."""
        if self.instance_state in SILENT and (self.instance_state != GONE or self.node.ready == "Unknown"):
            return INSTANCE_ENDED
        if self.node.is_ready:
            return ALIVE
        return UNREACHABLE if self.node.ready == "Unknown" and self.node.ready_since else NOT_READY

    @property
    def dead(self) -> bool:
        """Nobody there stops a pod: what is asked is only asked for the record, and so that others replace it."""
        return self.kind in (UNREACHABLE, INSTANCE_ENDED)

    def holds(self, deleted_at: str, time: ServerTime, patience: float) -> bool:
        """Whether a pod on it is to be waited for. ``deleted_at``: its deletionTimestamp, which includes its grace, ""
        where it was not asked to stop; ``patience``: seconds."""
        if self.kind in (ALIVE, INSTANCE_ENDED):
            return self.kind == ALIVE
        since = parse_timestamp(self.node.ready_since if self.kind == UNREACHABLE else deleted_at)
        return since is None or -time.seconds_until(since) < patience

    def explain(self) -> str:
        """Why nobody tells what becomes of its pods, in a clause."""
        if self.kind == INSTANCE_ENDED:
            return f"its instance {self.node.instance_id} is {self.instance_state}"
        if self.kind == UNREACHABLE:
            return f"its kubelet has been silent since {self.node.ready_since}"
        return f"it is not Ready since {self.node.ready_since}: {self.node.ready_message}"


class InstanceStates:
    """What EC2 says of the instances of nodes that are not Ready. Whoever may not ask it goes by the Node alone."""

    def __init__(self, aws: Aws, clock: Clock, poll_seconds: float) -> None:
        self._aws, self._clock, self._pause = aws, clock, INSTANCE_LOOKS * poll_seconds
        self._known: dict[str, tuple[float, str]] = {}  # when it was asked, and the answer
        self._silent = False

    def state_of(self, instance_id: str) -> str:
        """The instance's state, GONE where EC2 does not know it, "" where it does not say. Needs ec2:DescribeInstances,
        if it may."""
        asked, state = self._known.get(instance_id, (None, ""))
        now = self._clock.now()
        if self._silent or not instance_id or (asked is not None and now < asked + self._pause):
            return state
        try:
            found = describe_instances(self._aws, [instance_id]).get(instance_id)
            state = found.state if found else GONE
        except EvergreenError as error:
            self._silent = not getattr(error, "transient", False)
        self._known[instance_id] = (now, state)
        return state
