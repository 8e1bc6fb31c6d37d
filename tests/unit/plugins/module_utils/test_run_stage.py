# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages that say how a run ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils import run_stage
from ansible_collections.evergreen.eks.plugins.module_utils.hold import LockLost
from ansible_collections.evergreen.eks.plugins.module_utils.unfinished import Trail, Unfinished


@pytest.mark.parametrize(
    ("ours", "kinds"),
    [(True, ["run_ended", "last_words"]), (False, ["last_words"])],
    ids=["ours", "in other hands"],
)
def test_a_run_that_lost_its_group_does_not_end_the_run_of_another_in_their_journal(
    monkeypatch: pytest.MonkeyPatch, ours: bool, kinds: list[str]
) -> None:
    def say_last(_params: Any, _call: Any) -> None:
        details = {"resume_command": "", "restore_command": ""}
        raise Unfinished("it stopped", lines=("it stopped",), trail=Trail(ours=ours), **details)

    monkeypatch.setattr(run_stage, "_say_last", say_last)
    told: list[str] = []
    call = SimpleNamespace(journal=SimpleNamespace(write=lambda kind, **_fields: told.append(kind)))
    params = {
        "stage": "failed",
        "asg_name": "shared",
        "cause": "the lock is lost",
        "cause_reason": LockLost.default_reason,
        "put_back": {},
        "report": None,
    }
    with pytest.raises(Unfinished):
        run_stage.enter(params, call)
    assert told == kinds
