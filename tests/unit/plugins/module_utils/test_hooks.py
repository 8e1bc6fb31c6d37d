# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words with which an operator's own task stops a rollout."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.hooks import HookFailed, fail
from ansible_collections.evergreen.eks.plugins.module_utils.run_stage import enter


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("ShopDown is firing\n", "the task 'Alerts' of a.yml, b.yml (before_wave) failed: ShopDown is firing."),
        ("", "the task 'Alerts' of a.yml, b.yml (before_wave) failed."),
    ],
)
def test_the_task_its_files_and_what_it_says_are_named(cause: str, words: str) -> None:
    params = {"failed_stage": "Alerts", "hook": "before_wave", "hook_files": ["a.yml", "b.yml"], "cause": cause}
    with pytest.raises(HookFailed) as caught:
        fail(params)
    assert caught.value.reason == "user_gate"
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("stage", ["hook_begun", "hook_ended"])
def test_their_begin_and_their_end_are_noted(stage: str) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    call = SimpleNamespace(journal=SimpleNamespace(write=lambda kind, **fields: told.append((kind, fields))))
    answer = enter({"stage": stage, "hook": "after_wave", "hook_files": ["own.yml"]}, call)
    assert answer == {"changed": False}
    assert told == [(stage, {"hook": "after_wave", "files": ["own.yml"]})]
