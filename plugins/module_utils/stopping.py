# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The request to stop: how it is left for a run, and how a run heeds it."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import CheckpointError, read_marks
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.groups import describe_group
from ansible_collections.evergreen.eks.plugins.module_utils.store import Place, Store
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call


class Stopped(EvergreenError):
    """Somebody asked for the run to stop; it did, after the nodes in hand."""

    default_reason = "stopped"


class StateElsewhere(EvergreenError):
    """The group is being rolled, but that run keeps its checkpoint in another place: it would not see our request."""

    default_reason = "state_elsewhere"


def ask(aws: Aws, store: Store, place: Place, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Leave the request to stop, or take it off (`requested`); answers the module's result.

    Raises StateElsewhere, StoreError, GroupNotFound and the errors of AWS.
    """
    run_id = _unfinished_run(aws, store, place.group)
    before = store.stop_request() or ""
    wanted = before
    if params["requested"] and run_id:
        wanted = before or _who_and_when(params, call)
    elif not params["requested"]:
        wanted = ""
    if wanted != before and not call.check_mode:
        if wanted:
            store.request_stop(wanted)
        else:
            store.clear_stop()
    return {
        "changed": wanted != before,
        "request": wanted,
        "run_id": run_id,
        "checkpoint": store.place,
        "summary": f"{place.group}: {_in_words(run_id, wanted)}",
    }


def _unfinished_run(aws: Aws, store: Store, asg_name: str) -> str:
    """The run whose checkpoint is in this store, "" where nobody rolls the group."""
    marks = read_marks(describe_group(aws, asg_name).tags)
    try:
        checkpoint = store.load()
    except CheckpointError:  # not to be read, but it is here
        return marks.run_id if marks else ""
    known = checkpoint.run_id if checkpoint and not checkpoint.ended else ""
    if marks and marks.run_id != known:
        raise StateElsewhere(
            f"node group {asg_name} is in the hands of run {marks.run_id}, whose checkpoint is not {store.place}",
            remedy="Name the same eks_state_* variables as that run does; with the store file ask on the machine, and "
            "as the user, that it runs on",
        )
    return known


def _who_and_when(params: Mapping[str, Any], call: Call) -> str:
    job = f" in AWX job {params['awx_job_id']}" if params["awx_job_id"] else ""
    return f"{params['operator'] or 'somebody'}{job} at {call.clock.timestamp()}"


def _in_words(run_id: str, request: str) -> str:
    if not run_id:
        return "no run is unfinished here, so there is nothing to stop"
    if not request:
        return f"run {run_id} is not asked to stop"
    return f"run {run_id} is asked to stop after the nodes in hand ({request})"


def heed(store: Store, before: str) -> None:
    """Raise Stopped where somebody asked for that; `before` says before what, in words."""
    request = store.stop_request()
    if request is not None:
        raise Stopped(
            f"the run was asked to stop ({request}), and did so before {before}",
            remedy="The next run takes the request off and goes on",
        )


def leftover(store: Store) -> Optional[str]:
    """Take a request off that a run has no use for (any more); answers who made it when, None where nobody did."""
    request = store.stop_request()
    if request is not None:
        store.clear_stop()
    return request
