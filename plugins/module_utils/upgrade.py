# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The upgrade of one cluster: its doors, its look at the cluster, and its checkpoint as several processes share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint, CheckpointError
from ansible_collections.evergreen.eks.plugins.module_utils.course import KEEP, Course, Kubelets, plan_course
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import UPDATING, Cluster, read_cluster
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import (
    FARGATE,
    FARGATE_LABEL,
    Version,
    parse_version,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group, describe_groups
from ansible_collections.evergreen.eks.plugins.module_utils.hold import Hold
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder, RunInProgress
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.lease import confirm
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node, list_nodes
from ansible_collections.evergreen.eks.plugins.module_utils.report.files import Wish
from ansible_collections.evergreen.eks.plugins.module_utils.store import CheckpointConflict, Place, Store
from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_checkpoint import UpgradeCheckpoint
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

# How often a change of the checkpoint is made anew because a node group of the same run was faster.
AMENDMENTS = 20


class UpgradeChanged(EvergreenError):
    """The unfinished upgrade is for another version than this run is asked for."""

    default_reason = "target_changed"


@dataclass(frozen=True)
class UpgradeSettings:
    """What an upgrade is asked for, typed. Times are seconds."""

    version: str
    images: Mapping[str, str]  # of the node groups, in the order in which they are named
    bake_seconds: float
    poll_seconds: float
    ignore_checkpoint: bool
    lock: bool
    lock_seconds: float
    lock_wait: float


@dataclass(frozen=True)
class Upgrade:
    """The upgrade of one cluster: the doors to AWS and Kubernetes, its checkpoint, its journal and its lock.

    C(take_hold) takes the lock of the cluster for this playbook run, or does nothing where none is wanted. C(hold) is
    the file by which the run knows that it has it, "" before or without that. C(wish) says which reports it leaves,
    C(rollouts) where the checkpoint of a node group's rollout is.
    """

    aws: Aws
    client: KubernetesClient
    call: Call
    store: Store[UpgradeCheckpoint]
    place: Place
    journal: Path
    settings: UpgradeSettings
    holder: Holder
    take_hold: Callable[[], str]
    rollouts: Callable[[str], Store[Checkpoint]]
    hold: str = ""
    wish: Wish = Wish()

    @property
    def cluster_name(self) -> str:
        return self.place.cluster

    def say(self, kind: str, text: str, **fields: Any) -> None:
        """One line for those who watch, and the same as data."""
        self.call.journal.write(kind, text=text, **fields)

    def amend(self, change: Callable[[UpgradeCheckpoint], Any]) -> UpgradeCheckpoint:
        """Change the checkpoint as it is now and save it; anew where another process of this run was faster.

        Raises what `taken_up` does, and CheckpointConflict.
        """
        for attempt in range(AMENDMENTS):
            checkpoint = taken_up(self)
            change(checkpoint)
            try:
                self.store.save(checkpoint)
                return checkpoint
            except CheckpointConflict:
                if attempt == AMENDMENTS - 1:
                    raise
                self.call.clock.sleep(min(1.0, self.settings.poll_seconds / 4))
        raise AssertionError("unreachable")


@dataclass(frozen=True)
class View:
    """The cluster at one moment, as far as its course depends on it."""

    cluster: Cluster
    uid: str
    kubelets: tuple[Kubelets, ...]
    others: Optional[Kubelets]
    fargate: Optional[Version]

    @property
    def updating(self) -> bool:
        return self.cluster.status == UPDATING

    def course(self, target: str) -> Course:
        """The course from here. Raises InvalidInput."""
        return plan_course(self.cluster.version, target, self.kubelets, self.others, self.fargate)


def view(upgrade: Upgrade) -> View:
    """Look at the control plane, the nodes and the groups that they belong to. Raises GroupNotFound and API errors."""
    cluster = read_cluster(upgrade.aws, upgrade.cluster_name)
    uid = upgrade.client.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
    nodes = list_nodes(upgrade.client)
    groups = describe_groups(upgrade.aws, names=list(upgrade.settings.images)) if upgrade.settings.images else []
    return View(cluster, uid, *sorted_nodes(nodes, groups, upgrade.settings.images))


def sorted_nodes(
    nodes: Sequence[Node], groups: Sequence[Group], images: Mapping[str, str]
) -> tuple[tuple[Kubelets, ...], Optional[Kubelets], Optional[Version]]:
    """The oldest kubelet of each group, of the nodes that belong to none of them, and of Fargate's. Pure."""
    group_of = {member.instance_id: group.name for group in groups for member in group.members}
    oldest: dict[str, Version] = {}
    others: Optional[Kubelets] = None
    fargate: Optional[Version] = None
    for node in sorted(nodes, key=lambda one: one.name):
        version = parse_version(node.kubelet_version)
        if version is None:
            continue
        name = group_of.get(node.instance_id)
        if node.labels.get(FARGATE_LABEL) == FARGATE:
            fargate = min(fargate, version) if fargate else version
        elif name:
            oldest[name] = min(oldest.get(name, version), version)
        elif others is None or others.oldest is None or version < others.oldest:
            others = Kubelets(node.name, version)
    kubelets = tuple(Kubelets(group.name, oldest.get(group.name), images.get(group.name, KEEP)) for group in groups)
    return kubelets, others, fargate


def taken_up(upgrade: Upgrade) -> UpgradeCheckpoint:
    """The checkpoint of the upgrade that this run has in hand.

    Raises LockLost or RunInProgress when another run holds the cluster, or the upgrade, by now, and CheckpointError
    when its record is gone.
    """
    if upgrade.hold:
        if not Hold(upgrade.hold, patience=0).record().kept():
            upgrade.take_hold()
        confirm(upgrade.client, upgrade.hold)
    checkpoint = upgrade.store.load()
    if checkpoint is None or checkpoint.ended:
        raise CheckpointError(
            f"the record of the upgrade of cluster {upgrade.cluster_name} disappeared while it was under way",
            reason="checkpoint_foreign",
            remedy="Run it again: what is done already is found to be so",
        )
    if checkpoint.holder != upgrade.holder.label:
        raise RunInProgress(
            f"the upgrade of cluster {upgrade.cluster_name} was taken up meanwhile by another run: {checkpoint.holder}",
            remedy="Let that run come to its end",
        )
    upgrade.call.journal.about(run=checkpoint.run_id)
    return checkpoint


def unfinished_upgrade(upgrade: Upgrade, seen: View) -> tuple[Optional[UpgradeCheckpoint], str]:
    """The upgrade to be gone on with, None where there is none; and the run of a checkpoint that is to be put aside.

    One that has changed nothing yet is begun anew.

    Raises UpgradeChanged for one that is for another version, CheckpointError for one of another cluster.
    """
    known = upgrade.store.load()
    if known is None:
        return None, ""
    if known.ended:
        return None, known.run_id
    if known.cluster["uid"] != seen.uid:
        raise CheckpointError(
            f"the checkpoint {upgrade.store.place} belongs to another cluster than {upgrade.cluster_name} as you are "
            "connected to it",
            reason="checkpoint_foreign",
            remedy="Check which cluster you are connected to, or take the checkpoint away",
        )
    if upgrade.settings.ignore_checkpoint:
        return None, known.run_id
    if not known.touched(str(seen.cluster.version), seen.updating):
        return None, known.run_id  # its snapshot, and its course, are of a cluster that may have changed meanwhile
    if known.version == upgrade.settings.version:
        return known, ""
    raise UpgradeChanged(
        f"the upgrade of cluster {upgrade.cluster_name} to {known.version}, begun {known.started}, is not finished "
        f"(run {known.run_id}), and this run is asked for {upgrade.settings.version}",
        was=known.version,
        now=upgrade.settings.version,
        open=[part.title for part in known.open],
        remedy=f"Finish it first (eks_version={known.version}), or run with eks_ignore_checkpoint=true to begin a new "
        "one: what it has done stays so, for a control plane does not go back",
    )
