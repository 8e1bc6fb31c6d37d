# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The request to stop: how it is left for a run, and how a run heeds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import CheckpointError, read_marks
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.groups import describe_group
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.lease import Lease, read_lease
from ansible_collections.evergreen.eks.plugins.module_utils.store import Place, Store
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

# Between who asked when, and the label of the playbook run that held the cluster then, which is the one that is asked.
ASKED_OF = ", asked of "


class Stopped(EvergreenError):
    """Somebody asked for the run to stop; it did, after the nodes in hand."""

    default_reason = "stopped"


class StateElsewhere(EvergreenError):
    """The group is being rolled, but that run keeps its checkpoint in another place: it would not see our request."""

    default_reason = "state_elsewhere"


class GivenUp(EvergreenError):
    """The run is being put back: it goes back to its end, or is killed."""

    default_reason = "given_up"


@dataclass(frozen=True)
class Asked:
    """Who can be asked: the run of this group that is unfinished ("": none), and the playbook run that holds the
    cluster (None: none, as far as it can be seen), which may come to this group yet."""

    run_id: str = ""
    given_up: bool = False
    lease: Optional[Lease] = None

    @property
    def label(self) -> str:
        return self.lease.identity if self.lease else ""


def ask(
    aws: Aws, client: KubernetesClient, store: Store, place: Place, params: Mapping[str, Any], call: Call
) -> dict[str, Any]:
    """Leave the request to stop, or take it off (`requested`); answers the module's result.

    Raises StateElsewhere, GivenUp, StoreError, GroupNotFound and the errors of AWS.
    """
    asked = _asked(aws, client, store, place.group, call)
    before = store.stop_request() or ""
    if params["requested"] and asked.given_up:
        raise GivenUp(
            f"run {asked.run_id} of node group {place.group} is being put back, which cannot be asked to stop",
            remedy="Let it come to its end, or kill it, which is safe at any moment: the same command goes on",
        )
    wanted = request_for(asked, before, _who_and_when(params, call)) if params["requested"] else ""
    if wanted != before and not call.check_mode:
        if wanted:
            store.request_stop(wanted)
        else:
            store.clear_stop()
    return {
        "changed": wanted != before,
        "request": who_asked(wanted),
        "run_id": asked.run_id,
        "checkpoint": store.place,
        "summary": f"{place.group}: {in_words(asked, wanted)}",
    }


def request_for(asked: Asked, before: str, fresh: str) -> str:
    """The request that is to stand, where `before` stands: that one, if it is of the run that is asked."""
    if not (asked.run_id or asked.label):
        return before
    if before and (not asked.label or is_of(before, asked.label)):
        return before
    return f"{fresh}{ASKED_OF}{asked.label}" if asked.label else fresh


def is_of(request: str, label: str) -> bool:
    """Whether the playbook run of this label was asked, and held the cluster already."""
    return request.partition(ASKED_OF)[2] == label


def who_asked(request: str) -> str:
    """Who asked when."""
    return request.partition(ASKED_OF)[0]


def in_words(asked: Asked, request: str) -> str:
    """What has come of it, for who asked."""
    if not (asked.run_id or asked.label):
        return "no run is unfinished here, so there is nothing to stop"
    who = f"run {asked.run_id}" if asked.run_id else "no run is unfinished here; the one of the cluster"
    if not request:
        return f"{who} is not asked to stop"
    if asked.run_id:
        return f"{who} is asked to stop after the nodes in hand ({who_asked(request)})"
    return f"{who}, {asked.lease}, is asked to stop before it begins here ({who_asked(request)})"


def _asked(aws: Aws, client: KubernetesClient, store: Store, asg_name: str, call: Call) -> Asked:
    """Who is there to be asked. Raises StateElsewhere where the run of the group would not see it."""
    lease = _living(client, Holder.here(call.lifeline))
    marks = read_marks(describe_group(aws, asg_name).tags)
    try:
        checkpoint = store.load()
    except CheckpointError:  # not to be read, but it is here
        return Asked(marks.run_id, marks.given_up, lease) if marks else Asked(lease=lease)
    if checkpoint and checkpoint.ended:
        checkpoint = None
    known = checkpoint.run_id if checkpoint else ""
    if marks and marks.run_id != known:
        raise StateElsewhere(
            f"node group {asg_name} is in the hands of run {marks.run_id}, whose checkpoint is not {store.place}",
            remedy="Name the same eks_state_* variables as that run does; with the store file ask on the machine, and "
            "as the user, that it runs on",
        )
    return Asked(known, bool(checkpoint and checkpoint.given_up), lease)


def _living(client: KubernetesClient, here: Holder) -> Optional[Lease]:
    """The lock of the cluster where a run holds it that has not provably ended; None also where we may not look."""
    try:
        lease = read_lease(client)
    except KubernetesError:
        return None
    if lease is None or not lease.identity or (lease.holder and lease.holder.gone(here)):
        return None
    return lease


def _who_and_when(params: Mapping[str, Any], call: Call) -> str:
    job = f" in AWX job {params['awx_job_id']}" if params["awx_job_id"] else ""
    return f"{params['operator'] or 'somebody'}{job} at {call.clock.timestamp()}"


def heed(store: Store, before: str) -> None:
    """Raise Stopped where somebody asked for that; `before` says before what, in words."""
    request = store.stop_request()
    if request is not None:
        raise Stopped(
            f"the run was asked to stop ({who_asked(request)}), and did so before {before}",
            remedy="The next run takes the request off and goes on",
        )


def leftover(store: Store, label: str = "") -> Optional[str]:
    """Take a request off that a run has no use for (any more), unless it is of the playbook run of this label.

    Answers who made it when, None where there was none.
    """
    request = store.stop_request()
    if request is None or (label and is_of(request, label)):
        return None
    store.clear_stop()
    return who_asked(request)
