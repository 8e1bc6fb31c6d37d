# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One call of C(node_drain): its options, and what it answers."""

from __future__ import annotations

from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.drain.dead import InstanceStates
from ansible_collections.evergreen.eks.plugins.module_utils.drain.engine import Drain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.escalation import (
    CARRY,
    ESCALATION_OPTION,
    FAIL,
    ON_TIMEOUT,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.plan import Request, plan_patiently
from ansible_collections.evergreen.eks.plugins.module_utils.drain.rehearsal import rehearse
from ansible_collections.evergreen.eks.plugins.module_utils.drain.report import Report, carried, failure, warnings_of
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.node_events import NodeEvents
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import ReadyFloor
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

DRAIN_OPTIONS: dict[str, Any] = {
    "nodes": {"type": "list", "elements": "str"},
    "instance_ids": {"type": "list", "elements": "str"},
    "timeout": {"type": "float", "default": 900},
    "volume_timeout": {"type": "float", "default": 300},
    "dead_node_timeout": {"type": "float", "default": 60},
    "on_timeout": {"type": "str", "default": FAIL, "choices": list(ON_TIMEOUT)},
    "escalation": ESCALATION_OPTION,
    "max_parallel": {"type": "int", "default": 10},
    "delete_emptydir_data": {"type": "bool", "default": False},
    "evict_unmanaged": {"type": "bool", "default": False},
    "wait_for_completion": {
        "type": "dict",
        "options": {
            "selector": {"type": "str"},
            "timeout": {"type": "str", "default": "20h"},
            "then": {"type": "str", "choices": ["fail", "evict"], "default": "fail"},
        },
    },
    "protected_pods": {"type": "str", "choices": ["refuse", "wait", "evict"], "default": "refuse"},
    "order": {"type": "raw", "default": "priority"},
    "order_timeout": {"type": "str", "default": "0"},
    "grace_period": {"type": "int"},
    "asg_name": {"type": "str"},
    "min_ready": {"type": "int"},
    "node_events": {"type": "bool", "default": False},
}


def drain_nodes(request: Request, aws: Aws, client: KubernetesClient, call: Call) -> dict[str, Any]:
    """Drain, or rehearse it in check mode; answers what the module returns. Raises EvergreenError with the results."""
    plan = plan_patiently(request, client, call)
    if call.check_mode:
        nodes = rehearse(request, plan, client, call)
        forbidden = failure(nodes, changed=False)
        warnings = [f"As things are now: {forbidden}"] if forbidden else []
        changed = not plan.refused and any(entry["evicted"] for entry in nodes.values())
        return {"changed": changed, "nodes": nodes, "carried": [], "warnings": warnings}

    passed_on: list[str] = []
    if plan.refused or plan.not_cordoned:
        error = failure(Report(plan, call).refused(), changed=False)
        changed, nodes, warnings = False, {}, []
    else:
        # A few threads read for all nodes: none of them may be kept by AWS for as long as the call is patient.
        aws = aws.briefly
        floor = ReadyFloor(aws, client.briefly, request.asg_name, request.min_ready) if request.asg_name else None
        instances = InstanceStates(aws, call.clock, request.poll_seconds)
        events = NodeEvents(client if request.node_events else None, call)
        drain = Drain(request, plan, client, instances, floor, call, events)
        try:
            nodes, changed = drain.run(), drain.changed
        finally:
            events.close()
        warnings = drain.warnings + warnings_of(nodes)
        passed_on = carried(nodes) if request.on_timeout == CARRY else []
        error = failure(nodes, changed, passed_on)
    if error:
        raise error
    return {
        "changed": changed,
        "nodes": nodes,
        "carried": as_named(request, nodes, passed_on),
        "warnings": warnings,
    }


def as_named(request: Request, nodes: dict[str, Any], names: list[str]) -> list[str]:
    """These nodes, by instance where the instances were named."""
    return [nodes[name]["instance_id"] if request.instance_ids else name for name in names]
