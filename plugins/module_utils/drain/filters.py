# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which pods of a node leave, which stay, and which forbid that the node is drained at all. Pure decisions.

The filters are those of kubectl drain (k8s.io/kubectl/pkg/drain), with every warning kept and not only the last, and
with four differences: pods of a DaemonSet that no longer exists leave; pods that are already on their way out are
waited for, whatever they are; what a pod asks for is heeded (C(completion)); one refusal keeps the whole node from
being touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ansible_collections.evergreen.eks.plugins.module_utils.drain.completion import (
    FAIL,
    NOT_COMPLETED,
    PROTECTED,
    UNREADABLE,
    Completions,
    Hold,
    Times,
    longest,
    own_seconds,
    protection_of,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Controller, Pod
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import SKIP_DRAIN

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
    """What the user allows. ``protected_pods`` is REFUSE, WAIT or EVICT."""

    delete_emptydir_data: bool = False
    evict_unmanaged: bool = False
    completions: Completions = Completions()
    protected_pods: str = REFUSE


@dataclass(frozen=True)
class Remark:
    """A reason (a word from a fixed list) and its message: of a refusal, of a skip, or of a warning."""

    reason: str
    message: str


@dataclass(frozen=True)
class Verdict:
    """What becomes of a pod, why (refusals, or the reason of a skip; of one that is terminating what would forbid that
    we evict it), and what should be known about it. With a ``hold`` that becomes of it only when the hold is over."""

    action: str
    reasons: tuple[Remark, ...] = ()
    warnings: tuple[Remark, ...] = ()
    hold: Hold | None = None

    @property
    def leaves(self) -> bool:
        """The node is not empty while this pod is there."""
        return self.action in (EVICT, WAIT)


def judge(pod: Pod, policy: Policy, owner_exists: OwnerExists, times: Times) -> Verdict:
    """The verdict on one pod. Reasons of a skip: mirror, daemonset, opted_out, completed; of a refusal: local_storage,
    unmanaged, protected, not_completed. Warnings: local_storage, host_path, unmanaged, owner_gone, orphaned_daemonset,
    protected, eviction_responders, unreadable_annotation."""
    if pod.mirror:
        return Verdict(SKIP, (Remark("mirror", "it is a static pod, which the kubelet runs from a file"),))
    owner_gone = pod.controller is not None and not pod.finished and owner_exists(pod, pod.controller) is False
    if pod.daemon and not owner_gone:
        return Verdict(SKIP, (Remark("daemonset", f"{pod.controller} would put it back at once"),))
    if pod.drain_wish == SKIP_DRAIN:
        return Verdict(SKIP, (Remark("opted_out", "it asks to be left where it is until its node goes"),))
    if pod.terminating:
        return Verdict(WAIT, () if pod.finished else _objections(_judge_running(pod, policy, owner_gone, times), times))
    if pod.finished and policy.completions.concern(pod):
        # Whoever started it may still read how it ended.
        return Verdict(SKIP, (Remark("completed", f"it has ended: {pod.phase}"),))
    return Verdict(DELETE) if pod.finished else _judge_running(pod, policy, owner_gone, times)


def _objections(verdict: Verdict, times: Times) -> tuple[Remark, ...]:
    """What is said against evicting a pod now: somebody else has asked it to stop, and it is not for us to hurry it."""
    hold = verdict.hold if verdict.hold and times.lasts(verdict.hold) else None
    return (Remark(hold.reason, hold.message),) if hold else verdict.reasons


def _judge_running(pod: Pod, policy: Policy, owner_gone: bool, times: Times) -> Verdict:
    """That on a pod that has neither ended nor been asked to."""
    protection = protection_of(pod, times)
    refusals, warnings = _remarks(pod, policy, owner_gone, protection.hold)
    warnings += [Remark(UNREADABLE, text) for text in (*protection.unreadable, own_seconds(pod)[1]) if text]
    hold = protection.hold if policy.protected_pods == WAIT else None
    hold = replace(hold, message=f"{hold.message}, and protected_pods is wait") if hold else None
    verdict = Verdict(REFUSE if refusals else EVICT, tuple(refusals), tuple(warnings), hold)
    if policy.completions.concern(pod):
        return _completing(verdict, pod, policy.completions, times)
    # What would be refused in the end is refused at once.
    return replace(verdict, hold=None) if refusals else verdict


def _completing(verdict: Verdict, pod: Pod, completions: Completions, times: Times) -> Verdict:
    """The same for a pod that is to complete: what stands in the way of its eviction counts when its time is over."""
    hold = completions.hold(pod, times)
    hold = longest([hold, *([verdict.hold] if verdict.hold else [])])
    if completions.then == FAIL:
        message = f"it has not completed by {hold.deadline}, and wait_for_completion.then is fail"
        return replace(verdict, action=REFUSE, reasons=(Remark(NOT_COMPLETED, message),), hold=hold)
    return replace(verdict, hold=hold)


def _remarks(pod: Pod, policy: Policy, owner_gone: bool, protection: Hold | None) -> tuple[list[Remark], list[Remark]]:
    """What forbids that this pod is evicted, and what should be known where it is."""
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
    if pod.host_paths:
        paths = ", ".join(pod.host_paths)
        warnings.append(Remark("host_path", f"what it keeps in hostPath volumes stays behind on this node ({paths})"))
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
    if protection and policy.protected_pods == REFUSE:
        refusals.append(Remark(PROTECTED, f"{protection.message}, and protected_pods is refuse"))
    elif protection and policy.protected_pods == EVICT:
        warnings.append(Remark(PROTECTED, f"{protection.message}, and protected_pods is evict"))
    if pod.eviction_responders:
        responders = ", ".join(filter(None, pod.eviction_responders)) or "its evictionResponders"
        # KEP-4563: they would be told by an EvictionRequest, which is of another API and not served by every cluster.
        warnings.append(Remark("eviction_responders", f"{responders} would rather be asked than see it evicted"))
    return refusals, warnings
