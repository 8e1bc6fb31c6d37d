# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stages of a rollout decide on one look."""

from __future__ import annotations

import pytest
from unit.checkpoints import a_checkpoint
from unit.manifests import a_node
from unit.scenes import a_member, a_scene

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import SURPLUS, HostProgress
from ansible_collections.evergreen.eks.plugins.module_utils.stages import never_joined

OLD, NEW = "i-1", "i-9"


@pytest.mark.parametrize(
    ("leaving", "progress", "nodes", "unjoined"),
    [
        (NEW, HostProgress(SURPLUS), [], [NEW]),
        (NEW, HostProgress("template_version"), [], [NEW]),  # selected anew: launched for a target that was moved on
        (NEW, HostProgress("template_version", "ip-9"), [], []),  # it was a node, and perhaps runs pods
        (NEW, HostProgress(SURPLUS), [a_node("ip-9", NEW)], []),  # it joined a moment ago
        (OLD, HostProgress("template_version"), [], []),  # a member of the start: nobody knows what runs on it
    ],
)
def test_who_never_joined_is_removed_without_a_node(leaving, progress, nodes, unjoined):
    checkpoint = a_checkpoint(members_before=[OLD], hosts={leaving: progress})
    scene = a_scene([a_member(OLD), a_member(NEW)], nodes)
    assert never_joined(checkpoint, scene, [leaving]) == unjoined
