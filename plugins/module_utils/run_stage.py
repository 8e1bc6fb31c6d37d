# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the name of a stage to what it does."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Mapping, Optional

from ansible_collections.evergreen.eks.plugins.module_utils import (
    baking,
    ending,
    going_back,
    hooks,
    stages,
    stragglers,
)
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.report.files import Wish, checkpoint_beside, find_journal
from ansible_collections.evergreen.eks.plugins.module_utils.report.leave import leave_report, shown
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import FAILED, PUT_BACK, STOPPED, Ending
from ansible_collections.evergreen.eks.plugins.module_utils.rollout_options import rollout_of
from ansible_collections.evergreen.eks.plugins.module_utils.stopping import Stopped
from ansible_collections.evergreen.eks.plugins.module_utils.store import default_directory
from ansible_collections.evergreen.eks.plugins.module_utils.store_file import find_checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.unfinished import (
    UNREADABLE,
    LastWords,
    Progress,
    Unfinished,
    fail,
    stopped_between,
    trail_of,
    unfinished,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

TAKES_IN_HAND = {"reserve": stages.reserve, "abandon": going_back.abandon}
WHO_AND_HOW = ("operator", "awx_job_id", "resume_command")
IN_A_WAVE = {"bake": baking.bake, "scale_up": stages.scale_up, "cordon": stages.cordon}
OF_THE_RUN = {
    "further_waves": stragglers.further_waves,
    "surplus": stages.surplus,
    "give_up": stages.give_up,
    "restore": ending.restore,
    "sizes_back": ending.sizes_back,
    "finished": ending.finish,
}


def enter(params: dict[str, Any], call: Call) -> dict[str, Any]:
    """Enter the stage that the module's options name; answers what is to be done there, and where it is recorded."""
    if params["stage"] == "failed":
        _fail(params, call)
    if params["stage"] == "hook_failed":
        hooks.fail(params)
    if params["stage"] in (hooks.BEGUN, hooks.ENDED):
        return hooks.tell(params, call.journal)
    rollout = rollout_of(params, call)
    stage = params["stage"]
    if stage in TAKES_IN_HAND:
        answer = TAKES_IN_HAND[stage](rollout, {name: params[name] for name in WHO_AND_HOW})
    elif stage == "detach":
        answer = stages.detach(rollout, params["wave"], params["carried"])
    elif stage in IN_A_WAVE:
        answer = IN_A_WAVE[stage](rollout, params["wave"])
    else:
        answer = OF_THE_RUN[stage](rollout)
    if stage == "finished" and not answer["again"]:
        answer["result"]["stopped"] = stopped_between(answer["result"], params["resume_command"] or "")
    return {**answer, "journal": str(rollout.journal), "checkpoint": rollout.store.place}


def _fail(params: Mapping[str, Any], call: Call) -> None:
    """Fail with where the run stopped and the ways on and back, also when AWS or Kubernetes do not answer any more.

    The words are shown line by line first: the message of a failure is one long line to most callbacks.
    """
    try:
        _say_last(params, call)
    except Unfinished as failure:
        end = _ending(failure, params, call)
        if failure.trail.ours:  # else the journal is that of a run that goes on in other hands
            call.journal.write("run_ended", reason=params["cause_reason"], **asdict(end))
        failure.details["reports"] = _leave_report(failure, end, params, call)
        for line in filter(None, (*failure.lines, shown(failure.details["reports"]))):
            call.journal.write("last_words", text=line)
        raise


def _ending(failure: Unfinished, params: Mapping[str, Any], call: Call) -> Ending:
    """How the run ends, in the words of its journal and its report: both without the secrets of the options."""
    outcome = STOPPED if params["cause_reason"] == Stopped.default_reason else FAILED
    if params["put_back"].get("asg_name") == params["asg_name"]:
        outcome = PUT_BACK
    ways = (failure.details[name] for name in ("resume_command", "restore_command"))
    return Ending(outcome, *(call.journal.clean(text) for text in (params["cause"], *ways)))


def _leave_report(failure: Unfinished, end: Ending, params: Mapping[str, Any], call: Call) -> dict[str, str]:
    """The reports of a run that stopped; none of one that had not begun, or that another run has in hand."""
    trail, wish = failure.trail, Wish.of(params["report"])
    if not trail.ours or trail.journal is None:
        return {}
    return leave_report(wish, params["asg_name"], trail.journal, trail.checkpoint, end, call, trail.place)


def _told_without_apis(
    words: LastWords, params: Mapping[str, Any], call: Call
) -> tuple[LastWords, Progress, Optional[Checkpoint]]:
    """What a file of this machine tells, where AWS does not even say which account this is."""
    found = None
    if params["state"]["store"] == "file":
        directory = params["state"]["dir"] or default_directory()
        holder = Holder.here(call.lifeline).label
        found = find_checkpoint(directory, params["cluster_name"], params["asg_name"], holder)
    if found is None:
        return words, Progress(lines=(UNREADABLE,) if words.begun else ()), None
    return replace(words, begun=True), Progress.of(found), found


def _say_last(params: Mapping[str, Any], call: Call) -> None:
    words = LastWords(
        stage=params["failed_stage"],
        cause=params["cause"],
        reason=params["cause_reason"],
        begun=params["begun"],
        resume_command=params["resume_command"] or "",
        restore_command=params["restore_command"] or "",
        put_back=params["put_back"] if params["put_back"].get("asg_name") == params["asg_name"] else {},
    )
    try:
        # Last words come promptly, also in the outage that they are about.
        rollout = rollout_of(dict(params), call.in_a_hurry())
    except EvergreenError:
        words, progress, checkpoint = _told_without_apis(words, params, call)
        directory = params["state"]["dir"] or default_directory()
        journal = find_journal(directory, params["cluster_name"], params["asg_name"])
        place, run = "", words.put_back.get("run_id") or call.journal.run
        if checkpoint is None and journal is not None:
            checkpoint, place = checkpoint_beside(journal, run)
        trail = trail_of(words, journal, checkpoint, place)
        raise unfinished(params["asg_name"], params["cluster_name"], words, progress, trail) from None
    fail(rollout, words)
