# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented permissions, and a world that grants nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from simulator.world import World

PERMISSIONS = Path(__file__).resolve().parents[2] / "docs" / "permissions"
# What only one store needs is named so.
STATEMENTS_FOR_S3 = "CheckpointsInS3"
# What a rollout does without: the control plane, add-ons, images, restarts, verification.
STATEMENTS_FOR_UPGRADES = "Upgrade"
ROLE_FOR_CONFIG_MAPS = "evergreen-eks-checkpoints"
ROLE_FOR_ESCALATION = "evergreen-eks-escalation"
ROLE_FOR_UPGRADES = "evergreen-eks-upgrade"


def granted_actions(store: str = "file", *, upgrade: bool = False) -> set[str]:
    """The IAM actions that a rollout, or an upgrade, with this store is said to need."""
    policy = json.loads((PERMISSIONS / "iam-policy.json").read_text(encoding="utf-8"))
    return {
        action
        for statement in policy["Statement"]
        if store == "s3" or not statement["Sid"].startswith(STATEMENTS_FOR_S3)
        if upgrade or not statement["Sid"].startswith(STATEMENTS_FOR_UPGRADES)
        for action in statement["Action"]
    }


def granted_rules(store: str = "file", *, escalation: bool = False, upgrade: bool = False) -> list[dict[str, Any]]:
    """The rules of all roles for this store, each with the ``namespace`` that it is limited to ("" for none)."""
    items = yaml.safe_load((PERMISSIONS / "rbac.yml").read_text(encoding="utf-8"))["items"]
    return [
        {"namespace": item["metadata"].get("namespace", ""), **rule}
        for item in items
        if item["kind"] in ("ClusterRole", "Role")
        and (store == "configmap" or item["metadata"]["name"] != ROLE_FOR_CONFIG_MAPS)
        and (escalation or item["metadata"]["name"] != ROLE_FOR_ESCALATION)
        and (upgrade or item["metadata"]["name"] != ROLE_FOR_UPGRADES)
        for rule in item["rules"]
    ]


def granted_verbs(
    store: str = "file", *, escalation: bool = False, upgrade: bool = False
) -> set[tuple[str, str, str, str]]:
    """(verb, API group, resource, subresource) of all rules, wherever they hold."""
    return {
        (verb, group, *(resource.split("/") + [""])[:2])
        for rule in granted_rules(store, escalation=escalation, upgrade=upgrade)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def objects_of_limited_rules(resource: str, store: str = "file") -> set[str]:
    """What the rules about a resource are limited to, as the record names it: ``namespace/`` is the collection."""
    return {
        f"{rule['namespace']}/{name}"
        for rule in granted_rules(store)
        if resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


@dataclass
class Asked:
    """What was asked for by the collection, allowed or not."""

    actions: set[str] = field(default_factory=set)
    verbs: set[tuple[str, str, str, str]] = field(default_factory=set)


def grant_only_what_is_documented(
    world: World, store: str = "file", *, escalation: bool = False, upgrade: bool = False
) -> Asked:
    """From now on the collection may do in this world what the documents say, and nothing else."""
    actions = granted_actions(store, upgrade=upgrade)
    verbs, asked = granted_verbs(store, escalation=escalation, upgrade=upgrade), Asked()

    def documented_action(author: str, action: str) -> bool:
        if author != "evergreen":
            return True
        asked.actions.add(action)
        return action in actions or action == "sts:GetCallerIdentity"  # which nobody can be denied

    def documented_verb(user: str, verb: str, group: str, resource: str, subresource: str) -> bool:
        if "evergreen" not in user:
            return True
        asked.verbs.add((verb, group, resource, subresource))
        return (verb, group, resource, subresource) in verbs

    world.cloud.authorize = documented_action
    world.kubernetes.authorize = documented_verb
    return asked
