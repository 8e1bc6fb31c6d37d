# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is still to be put back, on one look."""

from __future__ import annotations

import pytest
from unit.checkpoints import a_checkpoint
from unit.manifests import a_node
from unit.scenes import a_member, a_scene

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Obligation, Obligations
from ansible_collections.evergreen.eks.plugins.module_utils.ending import still_open, to_put_back
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import MARKS
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Standing

NEW = "i-9"


@pytest.mark.parametrize(
    ("lifecycle_state", "unprotected", "unmarked"),
    [
        ("InService", [NEW], [NEW]),
        ("Pending:Wait", [NEW], [NEW]),  # it stays: not before it is in service is the run at its end
        ("Terminating:Wait", [], []),  # a hook may hold it for hours; nobody may place pods there meanwhile
        ("Detaching", [], [NEW]),  # its node lives on outside the group
    ],
)
def test_who_is_on_the_way_out_is_not_waited_for(lifecycle_state, unprotected, unmarked):
    members = [a_member("i-1"), a_member(NEW, lifecycle_state, protected=True)]
    nodes = [a_node("ip-1", "i-1"), a_node("ip-9", NEW, unschedulable=True, annotations={MARKS: '{"cordoned": true}'})]
    owed = Obligations(protects_new=Obligation(False, True))
    checkpoint = a_checkpoint(members_before=["i-1"], hosts={}, obligations=owed)
    standing = Standing(checkpoint, a_scene(members, nodes, desired_capacity=2))
    back = to_put_back(standing, 2)
    assert (back["unprotect_instance_ids"], back["node_instance_ids"]) == (unprotected, unmarked)
    assert bool(still_open(standing)) is bool(unprotected or unmarked)
