# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run is started again, and how its node groups are put back."""

from __future__ import annotations

import sys

import pytest

from ansible_collections.evergreen.eks.plugins.plugin_utils.provenance import restore_command

GROUPS = ["-e", "eks_node_groups=istio"]


@pytest.mark.parametrize(
    ("typed", "restored"),
    [
        (["evergreen.eks.rollout", *GROUPS], "evergreen.eks.restore -e eks_node_groups=istio"),
        (["evergreen.eks.upgrade", *GROUPS], "evergreen.eks.restore -e eks_node_groups=istio"),
        (["evergreen.eks.upgrade", "--tags", "nodes", *GROUPS], "evergreen.eks.restore -e eks_node_groups=istio"),
        (["evergreen.eks.upgrade", "-tnodes", "--skip-tags=verify"], "evergreen.eks.restore"),
    ],
)
def test_the_way_back_is_the_same_command_with_restore_and_without_tags(monkeypatch, typed, restored) -> None:
    monkeypatch.setattr(sys, "argv", ["ansible-playbook", *typed])
    assert restore_command({}, {}) == f"ansible-playbook {restored}"


def test_in_awx_a_job_is_launched() -> None:
    assert restore_command({"awx_job_id": 7}, {}) == "launch a job of evergreen.eks.restore with the same variables"
