# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is still to be put back, on one look."""

from __future__ import annotations

import pytest
from unit.checkpoints import a_checkpoint
from unit.manifests import a_node
from unit.scenes import a_member, a_scene

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import HostProgress, Obligation, Obligations
from ansible_collections.evergreen.eks.plugins.module_utils.ending import still_open, to_put_back
from ansible_collections.evergreen.eks.plugins.module_utils.gather import Found
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import MARKS
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Standing

NEW = "i-9"
OUT_OF = "evergreen.eks/out-of/tg/web/73e2d6bc24d8a067"


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


@pytest.mark.parametrize(
    ("value", "lifecycle_state", "hosts", "out"),
    [
        ("20261121T010203-4f2a9c/31080", "InService", {}, [NEW]),
        ("an earlier run/31080", "InService", {}, [NEW]),
        ("/31080", "InService", {}, []),  # an operator has taken it out, not a run
        ("20261121T010203-4f2a9c/31080", "InService", {NEW: HostProgress("selected")}, []),  # it is still to go
        ("20261121T010203-4f2a9c/31080", "Terminating:Wait", {}, []),  # Auto Scaling takes it out
        ("20261121T010203-4f2a9c/31080", "Standby", {}, []),  # it comes back with whoever puts it back in service
    ],
)
def test_who_stays_is_put_back_into_load_balancers(value, lifecycle_state, hosts, out):
    members = [a_member("i-1"), a_member(NEW, lifecycle_state)]
    scene = a_scene(members, tags={NEW: {OUT_OF: value}}, desired_capacity=len(members))
    standing = Standing(a_checkpoint(members_before=["i-1"], hosts=hosts), scene)
    assert to_put_back(standing, 2)["returning_instance_ids"] == out
    assert [text for text in still_open(standing) if "load balancers" in text] == [
        f"{name} still out of load balancers" for name in out
    ]
    assert Found(None).swept(scene) is not bool(scene.out_of_balancers)
