# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which pods of a node leave, which stay, and which forbid that the node is drained at all. Pure decisions.

The filters are those of kubectl drain (k8s.io/kubectl/pkg/drain), with every warning kept and not only the last, and
with three differences: pods of a DaemonSet that no longer exists leave; pods that are already on their way out are
waited for, whatever they are; one refusal keeps the whole node from being touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Controller, Pod

# What becomes of a pod.
EVICT = "evict"  # through the eviction API, within its budget
DELETE = "delete"  # finished: goes at once, through the eviction API too, which asks no budget for it (rule 4)
WAIT = "wait"  # already terminating: waited for
SKIP = "skip"  # stays until the node is gone
REFUSE = "refuse"  # forbids that the node is drained

# Whether the controller that a pod names still exists; None when that could not be found out.
OwnerExists = Callable[[Pod, Controller], "bool | None"]


@dataclass(frozen=True)
class Policy:
    """What the user allows."""

    delete_emptydir_data: bool = False
    evict_unmanaged: bool = False


@dataclass(frozen=True)
class Remark:
    """A reason (a word from a fixed list) and its message: of a refusal, of a skip, or of a warning."""

    reason: str
    message: str


@dataclass(frozen=True)
class Verdict:
    """What becomes of a pod, why (refusals, or the reason of a skip), and what should be known about it."""

    action: str
    reasons: tuple[Remark, ...] = ()
    warnings: tuple[Remark, ...] = ()

    @property
    def leaves(self) -> bool:
        """The node is not empty while this pod is there."""
        return self.action in (EVICT, WAIT)


def judge(pod: Pod, policy: Policy, owner_exists: OwnerExists) -> Verdict:
    """The verdict on one pod. Reasons: mirror, daemonset, local_storage, unmanaged.
    Warnings: local_storage, unmanaged, owner_gone, orphaned_daemonset."""
    if pod.mirror:
        return Verdict(SKIP, (Remark("mirror", "it is a static pod, which the kubelet runs from a file"),))
    owner_gone = pod.controller is not None and not pod.finished and owner_exists(pod, pod.controller) is False
    if pod.daemon and not owner_gone:
        return Verdict(SKIP, (Remark("daemonset", f"{pod.controller} would put it back at once"),))
    if pod.terminating:
        return Verdict(WAIT)
    if pod.finished:
        return Verdict(DELETE)

    refusals: list[Remark] = []
    warnings: list[Remark] = []
    if pod.empty_dirs:
        volumes = ", ".join(pod.empty_dirs)
        if policy.delete_emptydir_data:
            warnings.append(Remark("local_storage", f"the data in its emptyDir volumes is lost ({volumes})"))
        else:
            refusals.append(
                Remark("local_storage", f"it has emptyDir volumes ({volumes}), and delete_emptydir_data is not set")
            )
    if pod.controller is None:
        if policy.evict_unmanaged:
            warnings.append(Remark("unmanaged", "no controller starts it again elsewhere"))
        else:
            refusals.append(
                Remark("unmanaged", "no controller would start it again elsewhere, and evict_unmanaged is not set")
            )
    elif owner_gone:
        reason = "orphaned_daemonset" if pod.daemon else "owner_gone"
        warnings.append(Remark(reason, f"its {pod.controller} no longer exists, so nothing starts it again"))
    if refusals:
        return Verdict(REFUSE, tuple(refusals), tuple(warnings))
    return Verdict(EVICT, (), tuple(warnings))
