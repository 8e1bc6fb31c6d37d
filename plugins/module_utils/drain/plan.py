# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a drain is asked for, which nodes that means, and the plan of each: who leaves, who stays, who forbids it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain.completion import Completions, Times
from ansible_collections.evergreen.eks.plugins.module_utils.drain.escalation import Step, read_steps
from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import Policy, judge
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import NodeDrain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.order import Order, parse_order
from ansible_collections.evergreen.eks.plugins.module_utils.drain.owners import Owners
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.drain.watch import Judge, list_judged
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node, by_instance, list_nodes
from ansible_collections.evergreen.eks.plugins.module_utils.progress import (
    Heartbeat,
    refuse_negative,
    wait_patiently,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

LISTS_AT_ONCE = 8
REFUSED = "refused"
NOT_CORDONED = "not_cordoned"


@dataclass(frozen=True)
class Request:
    """The options of C(node_drain), checked."""

    node_names: tuple[str, ...]
    instance_ids: tuple[str, ...]
    timeout: float
    max_parallel: int
    policy: Policy
    order: Order
    grace_period: int | None
    asg_name: str | None
    min_ready: int | None
    poll_seconds: float
    volume_timeout: float
    dead_node_timeout: float
    on_timeout: str
    steps: tuple[Step, ...]
    node_events: bool = False

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Request:
        """From the module's options. Raises InvalidInput."""
        if params["timeout"] < 0:
            raise InvalidInput(f"timeout is {params['timeout']}", remedy="Give seconds, or 0 to wait for ever")
        refuse_negative(params, "volume_timeout", "dead_node_timeout")
        if params["max_parallel"] < 1:
            raise InvalidInput(
                f"max_parallel is {params['max_parallel']}", remedy="Give the number of nodes, 1 or more"
            )
        if params["grace_period"] is not None and params["grace_period"] < 1:
            raise InvalidInput(
                f"grace_period is {params['grace_period']}",
                remedy="Give seconds, 1 or more (0 would forget the pods while they still run), or leave it out",
            )
        if params["min_ready"] is not None and params["min_ready"] < 0:
            raise InvalidInput(f"min_ready is {params['min_ready']}", remedy="Give the number of nodes, 0 or more")
        return cls(
            node_names=_distinct(params["nodes"]),
            instance_ids=_distinct(params["instance_ids"]),
            timeout=params["timeout"],
            max_parallel=params["max_parallel"],
            policy=Policy(
                params["delete_emptydir_data"],
                params["evict_unmanaged"],
                Completions.of(params["wait_for_completion"]),
                params["protected_pods"],
            ),
            order=parse_order(params["order"], params["order_timeout"]),
            grace_period=params["grace_period"],
            asg_name=params["asg_name"],
            min_ready=params["min_ready"],
            poll_seconds=params["poll_seconds"],
            volume_timeout=params["volume_timeout"],
            dead_node_timeout=params["dead_node_timeout"],
            on_timeout=params["on_timeout"],
            steps=read_steps(params["on_timeout"], params["escalation"]),
            node_events=params.get("node_events", False),
        )


@dataclass
class Plan:
    """The nodes to drain, each with its pods as of the first list; and what was named but is not there."""

    drains: list[NodeDrain]
    versions: dict[str, str]
    missing: dict[str, dict[str, Any]]
    judge: Judge
    made_at: float

    @property
    def refused(self) -> list[NodeDrain]:
        return [drain for drain in self.drains if drain.refused]

    @property
    def not_cordoned(self) -> list[NodeDrain]:
        return [drain for drain in self.drains if not drain.node.unschedulable]


def plan_patiently(request: Request, client: KubernetesClient, call: Call) -> Plan:
    """The plan, made anew for as long as the call is patient when the API is in trouble while it is read.

    All of it is read with little patience: what judges a pod is still asked when the drain is under way."""
    return wait_patiently(
        lambda: make_plan(request, client.briefly, call),
        lambda _plan: True,
        call=call,
        deadline=Deadline(call.clock, call.patience(request.poll_seconds)),
        interval=request.poll_seconds,
        heartbeat=Heartbeat(call),
        describe=lambda _plan: "",
        connected=lambda: client.answered,
    )


def make_plan(request: Request, client: KubernetesClient, call: Call) -> Plan:
    """Read the nodes and their pods; changes nothing."""
    known = list_nodes(client)
    found, missing = _resolve(request, known)
    owners, times = Owners(client), Times(client.time, call.clock, found)

    def judge_pod(pod: Pod) -> Any:
        return judge(pod, request.policy, owners.exists, times)

    drains = [NodeDrain(node, request.poll_seconds, request.order) for node in found]
    plan = Plan(drains, {}, missing, judge_pod, call.clock.now())
    with ThreadPoolExecutor(LISTS_AT_ONCE) as pool:
        lists = pool.map(lambda drain: list_judged(client, drain.node.name, judge_pod), plan.drains)
        for drain, (pods, version) in zip(plan.drains, lists):
            drain.see_all(pods, call.clock.now())
            plan.versions[drain.node.name] = version
    return plan


def _resolve(request: Request, known: list[Node]) -> tuple[list[Node], dict[str, dict[str, Any]]]:
    """The Nodes that are meant, and an entry of the result for each name that has none (any more)."""
    names, instances = {node.name: node for node in known}, by_instance(known)
    found, missing = {}, {}
    for name in request.node_names:
        if name in names:
            found[name] = names[name]
        else:
            missing[name] = _gone("", "node_gone", f"there is no Node {name} (any more)")
    for instance_id in request.instance_ids:
        if instance_id in instances:
            found[instances[instance_id].name] = instances[instance_id]
        else:
            missing[instance_id] = _gone(instance_id, "no_node", f"no Node has the instance {instance_id} (any more)")
    return list(found.values()), missing


def _gone(instance_id: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "instance_id": instance_id,
        "drained": True,
        "reason": reason,
        "message": message,
        "evicted": [],
        "skipped": [],
        "waited": [],
        "blocked": [],
        "abandoned": [],
        "volumes_pending": [],
        "forced": [],
        "warnings": [],
        "seconds": 0.0,
    }


def _distinct(names: list[str] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names or [] if name))
