# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks for what a run of ours has left behind: marks, suspensions, protection, cordons, the lock. Pure decisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import (
    ALL_INSTANCE_TAGS,
    GROUP_TAGS,
    PROCESSES_TAG,
    PROTECTION_TAG,
)
from ansible_collections.evergreen.eks.plugins.module_utils.departure import LEAVING_TAG
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, counted
from ansible_collections.evergreen.eks.plugins.module_utils.lease import NAME, NAMESPACE
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import (
    EXCLUDE_FROM_LOAD_BALANCERS,
    MARKS,
    Node,
    NodeMarks,
    read_node_marks,
)
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import (
    ERROR,
    WARNING,
    Finding,
    NodeGroup,
    Scene,
    Wanted,
)

RESTORE = "Run evergreen.eks.restore for this node group, or evergreen.eks.rollout, which finishes it"
# While one of these rests nobody replaces what is lost; others rest in many clusters for good (AZRebalance).
NEEDED = ("Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy", "AddToLoadBalancer")
NAMED = 5


def marks(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """No tag of ours is left on groups and instances, and no annotation on nodes."""
    del wanted
    for group in scene.cloud.groups:
        tags = sorted(key for key in group.group.tags if key.startswith(GROUP_TAGS))
        if tags:
            message = f"{group.title} carries {', '.join(tags)}: a run has not finished it"
            yield Finding("marks", ERROR, group.title, message, RESTORE)
    for instance in scene.cloud.marked:
        tags = sorted({*ALL_INSTANCE_TAGS, LEAVING_TAG} & set(instance.tags))
        name = f"Instance {instance.instance_id}"
        yield Finding("marks", ERROR, name, f"{name} ({instance.state}) carries {', '.join(tags)}", RESTORE)
    for node in scene.nodes.values():
        if MARKS in node.annotations:
            message = f"Node {node.name} carries {MARKS}: {_carried(node)}"
            remedy = "evergreen.eks.node_cordon with state: uncordoned takes off what is ours"
            yield Finding("marks", ERROR, f"Node {node.name}", message, remedy)


def _carried(node: Node) -> str:
    """What our annotation says that we put on."""
    found = _marks_of(node)
    if found is None:
        return "it cannot be read"
    things = ["the cordon"] if found.cordoned else []
    things += [f"label {key}" for key in found.labels]
    things += [f"annotation {key}" for key in found.annotations]
    things += [f"taint {key}" for key in found.taints]
    return f"{', '.join(things) or 'nothing'} of run {found.run or 'unknown'}"


def _marks_of(node: Node) -> NodeMarks | None:
    try:
        return read_node_marks(node)
    except EvergreenError:
        return None


def suspensions(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """No process of a group rests because of us; one that others have suspended, and that is needed, is told."""
    del wanted
    for group in scene.cloud.groups:
        suspended = sorted(group.group.suspended)
        ours = [name for name in group.group.tags.get(PROCESSES_TAG, "").split("/") if name in suspended]
        others = [name for name in suspended if name in NEEDED and name not in ours]
        if ours:
            message = f"{group.title} rests in {', '.join(ours)}, which a run has suspended"
            yield Finding("suspensions", ERROR, group.title, message, RESTORE)
        if others:
            message = f"{group.title} rests in {', '.join(others)}, which somebody has suspended"
            yield Finding("suspensions", WARNING, group.title, message, f"Resume it: {_resume(group, others)}")


def _resume(group: NodeGroup, processes: Sequence[str]) -> str:
    names = " ".join(processes)
    return f"aws autoscaling resume-processes --auto-scaling-group-name {group.name} --scaling-processes {names}"


def protection(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """No group protects its new members from scale-in because of us, and none has protected members without that."""
    del wanted
    for group in scene.cloud.groups:
        protected = [member.instance_id for member in group.group.members if member.protected]
        if PROTECTION_TAG in group.group.tags and group.group.protects_new:
            message = f"{group.title} protects new members from scale-in, as a run has told it to"
            yield Finding("protection", ERROR, group.title, message, RESTORE)
        elif protected and not group.group.protects_new:
            more = f" and {len(protected) - NAMED} more" if len(protected) > NAMED else ""
            yield Finding(
                "protection",
                WARNING,
                group.title,
                f"{group.title} has {counted(len(protected), 'member')} protected from scale-in, although it does not "
                f"protect new ones: {', '.join(protected[:NAMED])}{more}",
                "evergreen.eks.asg_protection with protected: false, if nobody wants that",
            )


def cordons(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """No node is cordoned by us; one that somebody else has cordoned, or taken out of load balancers, is told."""
    del wanted
    for node in scene.nodes.values():
        if EXCLUDE_FROM_LOAD_BALANCERS in node.labels:
            message = (
                f"Node {node.name} gets no traffic from load balancers: it has the label {EXCLUDE_FROM_LOAD_BALANCERS}"
            )
            remedy = f"kubectl label node {node.name} {EXCLUDE_FROM_LOAD_BALANCERS}-"
            yield Finding("cordons", WARNING, f"Node {node.name}", message, remedy)
        if node.unschedulable:
            found = _marks_of(node)
            ours = found is not None and found.cordoned
            who = f"run {found.run or 'unknown'}" if ours and found else "somebody"
            yield Finding(
                "cordons",
                ERROR if ours else WARNING,
                f"Node {node.name}",
                f"Node {node.name} is cordoned by {who}",
                f"kubectl uncordon {node.name}, or replace it",
            )


def lease(scene: Scene, wanted: Wanted) -> Iterator[Finding]:
    """The lock of the cluster is free, or held by the run that asks."""
    name = f"Lease {NAMESPACE}/{NAME}"
    if scene.lease_hidden:
        message = "The lock of the cluster cannot be read, so nobody knows whether a run has left it behind"
        remedy = f"Grant the verb get on leases.coordination.k8s.io {NAME} in {NAMESPACE}, or leave this check out"
        yield Finding("lease", WARNING, name, message, remedy)
    found = scene.lease
    if found is None or not found.identity or wanted.here is None or found.identity == wanted.here.label:
        return
    other = found.holder
    gone = bool(other and other.gone(wanted.here))
    yield Finding(
        "lease",
        ERROR if gone else WARNING,
        name,
        f"The lock of the cluster is held by {found}, {'whose process has ended' if gone else 'another run'}",
        f"kubectl -n {NAMESPACE} delete lease {NAME}" if gone else "Wait for that run to end",
        passes=not gone,
    )
