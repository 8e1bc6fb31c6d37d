# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who started this run, and how it is started again."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.variables import ROLE_VARIABLES
from ansible_collections.evergreen.eks.plugins.plugin_utils.command_line import printable_command

ROLLOUT = "evergreen.eks.rollout"
RESTORE = "evergreen.eks.restore"
UPGRADE = "evergreen.eks.upgrade"
# Where the checkpoint is (`eks_state_<name>`), with the defaults, which need not be named.
STATE = {
    variable.name.removeprefix("state_"): variable.default
    for variable in ROLE_VARIABLES
    if variable.name.startswith("state_")
}


def awx_job_id(variables: Mapping[str, Any]) -> str:
    """The number of the AWX (or Tower) job that this run is, "" outside of AWX."""
    return str(variables.get("awx_job_id") or variables.get("tower_job_id") or "")


def operator(variables: Mapping[str, Any]) -> str:
    """The name of the person who started the run: AWX's user, else the user of this machine."""
    in_awx = variables.get("awx_user_name") or variables.get("tower_user_name")
    if in_awx:
        return str(in_awx)
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return str(os.getuid())


def resume_command(variables: Mapping[str, Any]) -> str:
    """What to do to go on with this run: its command line, secrets left out, or AWX's relaunch."""
    return "relaunch this job" if awx_job_id(variables) else printable_command(sys.argv)


def without_tags(words: Iterable[str]) -> Iterator[str]:
    """A command line of ansible-playbook without the tags that select tasks of a playbook."""
    pending = iter(words)
    for word in pending:
        if word in ("-t", "--tags", "--skip-tags"):
            next(pending, "")
        elif not word.startswith(("-t", "--tags=", "--skip-tags=")):
            yield word


def restore_command(variables: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """What to do to put back what this run took: the restore playbook with the same variables.

    A run that is part of somebody's own playbook has its variables there: then the node group is named, and where its
    checkpoint is, as the module's options (`arguments`) have them.
    """
    if awx_job_id(variables):
        return f"launch a job of {RESTORE} with the same variables"
    if ROLLOUT in sys.argv or UPGRADE in sys.argv:
        typed = [RESTORE if word in (ROLLOUT, UPGRADE) else word for word in sys.argv]
        return printable_command(list(without_tags(typed)))  # restore has no tags: it would do nothing
    state = arguments.get("state") or {}
    named = {
        "cluster_name": arguments.get("cluster_name", "CLUSTER"),
        "node_groups": arguments.get("asg_name", "GROUP"),
        **{f"state_{name}": state.get(name) for name in STATE if state.get(name) not in (None, "", STATE[name])},
    }
    extra = [word for name, value in named.items() for word in ("-e", f"eks_{name}={value}")]
    return shlex.join(["ansible-playbook", RESTORE, *extra])
