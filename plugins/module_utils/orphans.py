# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances that a call of asg_detach_terminate has detached from their group, and was killed before it ended them.

They run on, cost money and are in nobody's list of members. What was meant with them stands in a tag that was put on
before they were detached; so the next run over the group finds them, names them, and finishes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.departure import (
    DETACHED,
    ENDED,
    LEAVING_TAG,
    STOPPED,
    TERMINATED,
    LeavingMark,
    is_leaving,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group, instances_with_tag


@dataclass(frozen=True)
class Orphan:
    """One of them: what was meant with it, by whom, and its state in EC2."""

    instance_id: str
    mark: LeavingMark
    state: str

    def __str__(self) -> str:
        run = f" of {self.mark.run_id}" if self.mark.run_id else ""
        detached = f"{self.instance_id} is {self.state} outside the group: it was detached by asg_detach_terminate{run}"
        if self.state == self.mark.final_state:
            return f"{detached}, and is where it was to go; that tag is to be taken off it"
        return f"{detached}, which was interrupted before it was {self.mark.final_state}"


def find_orphans(aws: Aws, group: Group) -> list[Orphan]:
    """Those of this group, by id, also those that are stopped as was meant, while the tag still says so."""
    found = []
    for instance in instances_with_tag(aws, LEAVING_TAG):
        mark = LeavingMark.parse(instance.tags[LEAVING_TAG])
        needs_nobody = instance.state in ENDED or mark.final_state == DETACHED
        if is_leaving(instance, group.name) and not needs_nobody and not group.member(instance.instance_id):
            found.append(Orphan(instance.instance_id, mark, instance.state))
    return found


def by_final_state(orphans: Sequence[Orphan]) -> list[dict[str, Any]]:
    """`{final_state, instance_ids}` for each call that finishes some of them."""
    found = {
        state: [one.instance_id for one in orphans if one.mark.final_state == state] for state in (TERMINATED, STOPPED)
    }
    return [{"final_state": state, "instance_ids": ids} for state, ids in found.items() if ids]
