# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints of runs that are over without their knowledge."""

from __future__ import annotations

import pytest
from unit.checkpoints import a_checkpoint

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import (
    CheckpointError,
    Marks,
    Obligation,
    Obligations,
)
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Ledger
from ansible_collections.evergreen.eks.plugins.module_utils.stale import why_stale

PLACE = "s3://state/shared.json"
BEGUN = a_checkpoint(
    stages={"reserve": "2026-11-21T01:02:03Z"},
    obligations=Obligations(max_size=Obligation(6, 8), processes=("AZRebalance",)),
    ledger=Ledger(held=2),
)


def test_a_run_that_was_finished_from_another_store_is_over():
    assert "finished, or put back, from elsewhere" in why_stale(BEGUN, None, (), PLACE)


def test_another_run_has_begun_since():
    marks = Marks(run_id="run-2", target="sha256:1", started="2026-11-22T01:02:03Z")
    assert "the group is marked by run run-2" in why_stale(BEGUN, marks, ("i-1",), PLACE)


def test_a_run_that_was_killed_before_its_first_mark_changed_nothing():
    assert "ended before it changed anything" in why_stale(a_checkpoint(stages={}), None, ("i-1",), PLACE)


def test_marks_that_somebody_took_off_the_group_only_are_not_guessed_at():
    with pytest.raises(CheckpointError, match="maximum size was 6, AZRebalance is suspended, 2 .* extra") as caught:
        why_stale(BEGUN, None, ("i-1",), PLACE)
    assert caught.value.reason == "marks_corrupt"
    assert f"take the tag evergreen.eks/member off the instances and run again: its checkpoint {PLACE}" in str(
        caught.value
    )
