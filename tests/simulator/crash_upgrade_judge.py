# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true in the end of an upgrade that was killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote

from simulator.checks import Expected, broken_invariants
from simulator.crash_upgrade import CLUSTER, TARGET
from simulator.identities import TOOLS
from simulator.record import Call
from simulator.world import World

CLUSTER_ITSELF = ":cluster"  # of the cluster's own checkpoint, beside those of its groups


def problems(world: World) -> list[str]:
    """Everything that is not as it should be, after the last run has come to a good end."""
    return [*_asked_once(world), *_upgraded(world), *_nodes(world), *_left_behind(world)]


def _asked_once(world: World) -> Iterator[str]:
    """EKS was asked for each thing once, whoever was killed in between; a launch template got one version."""
    asked = Counter(_subject(call) for call in _done(world, "UpdateClusterVersion", "UpdateAddon"))
    yield from (f"{what} was asked for {times} times" for what, times in asked.items() if times > 1)
    made = len(_done(world, "CreateLaunchTemplateVersion"))
    if made != 1:
        yield f"{made} versions of the launch template were made"


def _upgraded(world: World) -> Iterator[str]:
    """The control plane, its nodes and its add-ons."""
    eks = world.aws()("eks")
    version = eks.describe_cluster(name=CLUSTER.cluster)["cluster"]["version"]
    if version != TARGET:
        yield f"the control plane is at {version}"
    old = sorted(node.name for node in world.snapshot().nodes.values() if node.kubelet != TARGET)
    if old:
        yield f"{', '.join(old)} not at {TARGET}"
    for name in eks.list_addons(clusterName=CLUSTER.cluster)["addons"]:
        addon = eks.describe_addon(clusterName=CLUSTER.cluster, addonName=name)["addon"]
        if addon["status"] != "ACTIVE":
            yield f"add-on {name} is {addon['status']}"


def _nodes(world: World) -> list[str]:
    """The invariants of a rollout; every node of the beginning was selected."""
    after = world.wait_until(lambda now: not now.pods_not_ready, "every pod is Ready")
    selected = {name: sorted(group.instances) for name, group in world.beginning.groups.items()}
    return broken_invariants(world.record, world.beginning, after, Expected(selected=selected, authors=TOOLS))


def _left_behind(world: World) -> Iterator[str]:
    """A checkpoint that was not put aside, of the cluster or of a group."""
    names = [CLUSTER_ITSELF, *(group.name for group in CLUSTER.groups)]
    for path in (world.home / "state").rglob("*.json"):
        if path.name in [f"{quote(name, safe='')}.json" for name in names]:
            yield f"the checkpoint {path.name} was left"


def _done(world: World, *operations: str) -> list[Call]:
    """What tools asked for and were given."""
    return [
        call
        for author in TOOLS
        for operation in operations
        for call in world.record.calls(author=author, operation=operation)
        if call.succeeded
    ]


def _subject(call: Call) -> str:
    return f"{call.operation} {call.params.get('addonName', '')} {call.params.get('version', '')}".strip()
