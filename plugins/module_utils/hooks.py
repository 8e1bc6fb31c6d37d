# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator's own tasks in a rollout. Where one of them fails the line stops, as at a gate."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.journal import Journal

BEGUN, ENDED = "hook_begun", "hook_ended"


class HookFailed(EvergreenError):
    """A task of the operator's own failed: he does not want the rollout to go on."""

    default_reason = "user_gate"


def tell(params: Mapping[str, Any], journal: Journal) -> dict[str, Any]:
    """Note that they begin, or have ended: their time is theirs, and silence meanwhile is no dead run."""
    told = {"hook": params["hook"], "files": params["hook_files"]}
    if params["stage"] == BEGUN:
        journal.write("hook_begun", **told)
    else:
        journal.write("hook_ended", **told)
    return {"changed": False}


def fail(params: Mapping[str, Any]) -> None:
    """Always raises HookFailed: which task of which files, and what it says."""
    said = f": {params['cause'].strip()}" if params["cause"].strip() else ""
    raise HookFailed(
        f"the task '{params['failed_stage']}' of {', '.join(params['hook_files'])} ({params['hook']}) failed{said}",
        remedy="Put right what it found, then run again; nothing is put back because of it",
    )
