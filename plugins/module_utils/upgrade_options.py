# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the module C(upgrade_state), the upgrade that they name, and what its stages do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils import upgrade_stages
from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.course import BAKE, NODES, PARTS, Part
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import asked_version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes_connection import kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.report.files import WISH_OPTIONS, Wish
from ansible_collections.evergreen.eks.plugins.module_utils.rollout_options import lock_of, refuse_unfit_lock
from ansible_collections.evergreen.eks.plugins.module_utils.store import (
    CLUSTER_ITSELF,
    Place,
    Store,
    default_directory,
    journal_path,
    refuse_lost_state,
)
from ansible_collections.evergreen.eks.plugins.module_utils.stores import STORE_OPTIONS, store_of
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade import Upgrade, UpgradeSettings
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_checkpoint import read_upgrade
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_facts import facts_of
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_words import fail
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, waiting_argument_spec

BEGIN, PART_BEGUN, PART_FINISHED, BAKING, END, FAILED, STOP, REPORT = STAGES = (
    "begin",
    "part_begun",
    "part_finished",
    "bake",
    "end",
    "failed",
    "stop",
    "report",
)
WHO_AND_HOW = ("operator", "awx_job_id", "resume_command")


def upgrade_argument_spec() -> dict[str, Any]:
    return kubernetes_argument_spec(
        stage={"type": "str", "required": True, "choices": list(STAGES)},
        version={"type": "str", "default": ""},
        node_groups={
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "name": {"type": "str", "required": True},
                "image": {"type": "str", "default": "keep"},
            },
        },
        part={"type": "str", "choices": list(PARTS)},
        part_version={"type": "str", "default": ""},
        asg_name={"type": "str", "default": ""},
        result={"type": "dict", "default": {}},
        difference={"type": "str", "default": ""},
        cause={"type": "str", "default": ""},
        cause_reason={"type": "str", "default": ""},
        failed_task={"type": "str", "default": ""},
        state={"type": "dict", "default": {}, "apply_defaults": True, "options": STORE_OPTIONS},
        settings={
            "type": "dict",
            "default": {},
            "apply_defaults": True,
            "options": {
                "bake_seconds": {"type": "float", "default": 0},
                "ignore_checkpoint": {"type": "bool", "default": False},
                "lock": {"type": "bool", "default": True},
                "lock_seconds": {"type": "float", "default": 60},
                "lock_wait": {"type": "float", "default": 90},
            },
        },
        report={"type": "dict", "options": WISH_OPTIONS},
        operator={"type": "str"},
        awx_job_id={"type": "str"},
        resume_command={"type": "str"},
        **waiting_argument_spec(),
    )


def enter(params: dict[str, Any], call: Call) -> dict[str, Any]:
    """Enter the stage that the module's options name."""
    stage, who_and_how = params["stage"], {name: params[name] for name in WHO_AND_HOW}
    if stage == FAILED:
        fail(lambda: upgrade_of(params, call.in_a_hurry()), params, call)
    upgrade = upgrade_of(params, call)
    if stage == BEGIN:
        return upgrade_stages.begin(upgrade, who_and_how)
    if stage == STOP:
        return upgrade_stages.ask_to_stop(upgrade, who_and_how)
    if stage == REPORT:
        return upgrade_stages.report(upgrade)
    if stage == END:
        return upgrade_stages.end(upgrade, params["resume_command"] or "", params["difference"])
    if stage == BAKING:
        return upgrade_stages.bake(upgrade, Part(BAKE, _version(params)))
    part = part_of(params)
    if stage == PART_BEGUN:
        return upgrade_stages.part_begun(upgrade, part)
    return upgrade_stages.part_finished(upgrade, part, facts_of(part, params["result"]))


def part_of(params: Mapping[str, Any]) -> Part:
    """The part that the options name. Raises InvalidInput."""
    group = params["asg_name"] if params["part"] == NODES else ""
    if params["part"] == NODES and not group:
        raise InvalidInput("No node group is named", remedy="Name it with asg_name")
    return Part(params["part"], _version(params), group)


def upgrade_of(params: dict[str, Any], call: Call) -> Upgrade:
    """The upgrade that the module's options name. Raises InvalidInput before anything is asked of anybody."""
    settings = UpgradeSettings(
        version=str(asked_version(params["version"])) if params["version"] else "",
        images={group["name"]: group["image"] for group in params["node_groups"]},
        poll_seconds=params["poll_seconds"],
        **params["settings"],
    )
    refuse_unfit_lock(settings)
    refuse_lost_state(params["awx_job_id"] or "", params["state"]["store"], params["state"]["dir"] or "")
    if not params["cluster_name"]:
        raise InvalidInput("cluster_name is not set", remedy="Name the EKS cluster that is to be upgraded")
    aws = Aws(params, call)
    client = KubernetesClient.connect(params, aws, call)
    place = Place(aws.account, aws.region, params["cluster_name"], CLUSTER_ITSELF)
    directory = params["state"]["dir"] or default_directory()
    holder = Holder.here(
        call.lifeline,
        operator=params["operator"] or "",
        since=call.clock.timestamp(),
        job=params["awx_job_id"] or "",
    )
    state = {**params["state"], "dir": directory}

    def rollouts(group: str) -> Store[Checkpoint]:
        return store_of(state, replace(place, group=group), aws, client, call, params["poll_seconds"])

    return Upgrade(
        aws=aws,
        client=client,
        call=call,
        store=store_of(state, place, aws, client, call, params["poll_seconds"], read_upgrade),
        place=place,
        journal=journal_path(directory, place),
        settings=settings,
        holder=holder,
        take_hold=lock_of(client, call, holder, place, directory, settings),
        rollouts=rollouts,
        hold=params["lease"] or "",
        wish=Wish.of(params["report"]),
    )


def _version(params: Mapping[str, Any]) -> str:
    if not params["part_version"]:
        raise InvalidInput("No version is named for this part", remedy="Name it with part_version")
    return str(asked_version(params["part_version"]))
