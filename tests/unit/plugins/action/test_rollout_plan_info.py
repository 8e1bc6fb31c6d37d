# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of rollout_plan_info: what it shows of the module's answer, and when it is silent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.action import rollout_plan_info as plugin
from ansible_collections.evergreen.eks.plugins.plugin_utils.module_action import ModuleAction

LINES = ["   wave  node", "      1  ip-1", ""]
PLAN = {"plan": {"asg_name": "shared", "table": LINES}}


@pytest.mark.parametrize(
    ("answer", "no_log", "shown"),
    [
        (PLAN, False, True),
        (PLAN, True, False),
        ({**PLAN, "invocation": {"module_args": {"quiet": True}}}, False, False),
        ({**PLAN, "invocation": {"module_args": {"quiet": False}}}, False, True),
        ({"plan": {"asg_name": "shared", "table": []}}, False, False),
        ({"plan": {"asg_name": "shared", "summary": ["the way back has no table"]}}, False, False),
        ({"failed": True, "msg": "no"}, False, False),
    ],
)
def test_the_table_is_shown_in_one_piece_and_not_where_standard_output_is_read(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], no_log: bool, shown: bool
) -> None:
    told: list[tuple[str, bool]] = []
    monkeypatch.setattr(ModuleAction, "run_module", lambda *_arguments: answer)
    monkeypatch.setattr(plugin, "display", SimpleNamespace(display=lambda text, stderr: told.append((text, stderr))))
    action = plugin.ActionModule.__new__(plugin.ActionModule)
    action._task = SimpleNamespace(no_log=no_log)

    assert action.run_module({}, {}) is answer
    text = "\n".join(["   The plan of node group shared", "", *LINES])
    assert told == ([(text, True)] if shown else [])
