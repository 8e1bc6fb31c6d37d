# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented permissions are enough for a rollout, and none of them is idle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.rollouts import problems, roll

from simulator.scenarios import Budget, Deployment, Job, NodeGroup, Pod, Scenario, StatefulSet
from simulator.world import World

PERMISSIONS = Path(__file__).resolve().parents[2] / "docs" / "permissions"
# Asked for by other groups than those here: launch configurations, images behind resolve:ssm:, a launch that
# does not come, controllers of a kind that hardly anybody has.
ELSEWHERE = {
    "autoscaling:DescribeLaunchConfigurations",
    "autoscaling:DescribeLifecycleHooks",
    "ec2:DescribeLaunchTemplates",
    "ssm:GetParameters",
}
ALL_KINDS = Scenario(
    groups=[NodeGroup("shared", size=2)],
    workloads=[
        Deployment("web", replicas=2, budget=Budget(min_available=1)),
        StatefulSet("db", replicas=1),
        Job("report", replicas=1, stop=2),
        Pod("alone", replicas=1),
    ],
)


def granted_actions() -> set[str]:
    policy = json.loads((PERMISSIONS / "iam-policy.json").read_text(encoding="utf-8"))
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def granted_rules() -> list[dict[str, Any]]:
    """The rules of all roles, each with the ``namespace`` that it is limited to ("" for none)."""
    items = yaml.safe_load((PERMISSIONS / "rbac.yml").read_text(encoding="utf-8"))["items"]
    return [
        {"namespace": item["metadata"].get("namespace", ""), **rule}
        for item in items
        if item["kind"] in ("ClusterRole", "Role")
        for rule in item["rules"]
    ]


def granted_verbs() -> set[tuple[str, str, str, str]]:
    """(verb, API group, resource, subresource) of all rules, wherever they hold."""
    return {
        (verb, group, *(resource.split("/") + [""])[:2])
        for rule in granted_rules()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def objects_of_limited_rules(resource: str) -> set[str]:
    """What the rules about a resource are limited to, as the record names it: ``namespace/`` is the collection."""
    return {
        f"{rule['namespace']}/{name}"
        for rule in granted_rules()
        if resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


@pytest.mark.scenario(ALL_KINDS)
def test_the_documented_permissions_are_enough_and_none_is_idle(world: World):
    actions, verbs = granted_actions(), granted_verbs()
    asked: set[str] = set()

    def only_documented_actions(author: str, action: str) -> bool:
        if author != "evergreen":
            return True
        asked.add(action)
        return action in actions or action == "sts:GetCallerIdentity"  # which nobody can be denied

    def only_documented_verbs(user: str, verb: str, group: str, resource: str, subresource: str) -> bool:
        return "evergreen" not in user or (verb, group, resource, subresource) in verbs

    world.cloud.authorize = only_documented_actions
    world.kubernetes.authorize = only_documented_verbs
    run = roll(world, eks_evict_unmanaged=True)
    assert run.rc == 0, run.output
    assert problems(world) == []
    assert actions - asked == ELSEWHERE
    leases = {call.target for call in world.record.calls(author="evergreen") if call.operation.endswith(" leases")}
    assert leases == objects_of_limited_rules("leases")
