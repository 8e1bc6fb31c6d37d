# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a part of an upgrade that is recorded as done still is so: reality decides, by as few reads as it takes."""

from __future__ import annotations

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.course import (
    ADDONS,
    CONTROL_PLANE,
    FARGATE,
    NODES,
    VERIFY,
    Part,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.api import ask
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import ACTIVE, read_cluster
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import asked_version, kubelets_of
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import list_nodes
from ansible_collections.evergreen.eks.plugins.module_utils.scene import look
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade import Upgrade
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_checkpoint import PartRecord


def disproof(upgrade: Upgrade, part: Part, record: PartRecord) -> str:
    """Why the part is not done any more, in words; "" where it is.

    Once the control plane has gone on, what was done for its former version is that of later parts.
    """
    if part.name != VERIFY and _passed(upgrade, part):
        return ""
    checks = {CONTROL_PLANE: _control_plane, ADDONS: _addons, NODES: _nodes, FARGATE: _fargate, VERIFY: _verify}
    check = checks.get(part.name)
    return check(upgrade, part, record) if check else ""


def rolled(upgrade: Upgrade, part: Part, record: PartRecord) -> bool:
    """Whether the group's rollout came to its end in an earlier attempt of this part, which died before it noted that.

    Then nobody is selected again whose instance is as it should be, whatever was asked for.
    """
    if part.name != NODES or not record.began:
        return False
    store = upgrade.rollouts(part.group)
    return any(one and not one.given_up and one.ended >= record.began for one in (store.load(), store.former()))


def settled(upgrade: Upgrade, part: Part, record: PartRecord) -> bool:
    """Whether a rollout of the group that this part began is unfinished: what its new nodes are to be stays as it was
    then, also where AWS recommends another image by now."""
    if part.name != NODES or not record.began:
        return False
    rollout = upgrade.rollouts(part.group).load()
    return rollout is not None and not rollout.ended and rollout.started >= record.began


def left_behind(upgrade: Upgrade, part: Part) -> bool:
    """Whether the control plane is past the version of this part, by whose hand ever, so that only later parts matter:
    it does not go back, and its add-ons and Fargate go with what it is now."""
    return part.name in (CONTROL_PLANE, ADDONS, FARGATE) and _passed(upgrade, part)


def _passed(upgrade: Upgrade, part: Part) -> bool:
    return read_cluster(upgrade.aws, upgrade.cluster_name).version > asked_version(part.version)


def _control_plane(upgrade: Upgrade, part: Part, _record: PartRecord) -> str:
    now = read_cluster(upgrade.aws, upgrade.cluster_name).version
    return "" if now >= asked_version(part.version) else f"the control plane is at {now}"


def _addons(upgrade: Upgrade, part: Part, record: PartRecord) -> str:
    for name, version in sorted((record.facts.get("addons") or {}).items()):
        try:
            found = ask(
                upgrade.aws,
                "DescribeAddon",
                f"add-on {name} of cluster {upgrade.cluster_name}",
                clusterName=upgrade.cluster_name,
                addonName=name,
            )["addon"]
        except AwsError as error:
            if error.reason != "not_found":
                raise
            return f"add-on {name} is not installed any more"
        if found["addonVersion"] != version or found["status"] != ACTIVE:
            return f"add-on {name} is {found['status']} at {found['addonVersion']}"
    return ""


def _nodes(upgrade: Upgrade, part: Part, _record: PartRecord) -> str:
    outdated = [host.instance_id for host in look(upgrade.aws, upgrade.client, part.group).counting if host.outdated]
    return f"{outdated[0]} is outdated" if outdated else ""


def _fargate(upgrade: Upgrade, part: Part, _record: PartRecord) -> str:
    wanted = asked_version(part.version)
    old = [one.node for one in kubelets_of(list_nodes(upgrade.client)) if one.fargate and one.version < wanted]
    return f"{old[0]} is older" if old else ""


def _verify(_upgrade: Upgrade, _part: Part, _record: PartRecord) -> str:
    """What was healthy then may not be so now: the looks themselves are the proof."""
    return "a cluster is looked at anew"
