# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a rollout is expected to take, and that a mistake in the look ahead keeps no run from going on."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from unit.checkpoints import a_checkpoint
from unit.scenes import a_member, a_scene

from ansible_collections.evergreen.eks.plugins.module_utils import plan_outlook
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import HostProgress
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.gather import Gathered
from ansible_collections.evergreen.eks.plugins.module_utils.plan import Wave
from ansible_collections.evergreen.eks.plugins.module_utils.plan_outlook import baking_left, outlook

NOW = datetime(2026, 11, 21, 1, tzinfo=timezone.utc)
OLD = [f"i-{number}" for number in range(1, 6)]


@pytest.fixture(autouse=True)
def no_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_outlook, "with_impossible_budgets", lambda plan, _client: dict(plan))


def a_rollout(bake: float = 0) -> Any:
    settings = SimpleNamespace(canary_bake_seconds=bake, decisive={})
    return SimpleNamespace(settings=settings, client=SimpleNamespace(time=SimpleNamespace(now=lambda: NOW)))


def gathered(stages: dict[str, str] | None = None, finished: bool = False) -> Gathered:
    """A canary and a wave of four; with `finished`, the canary's wave is."""
    hosts = {name: HostProgress("all", f"ip-{name}", "eu-central-1a") for name in OLD}
    hosts["i-1"].finished = finished
    waves = [Wave(1, 1, ("i-1",) if finished else (), finished), Wave(2, 4)]
    checkpoint = a_checkpoint(hosts=hosts, waves=waves, members_before=OLD, surge=4, stages=stages or {})
    members = [a_member(name) for name in (["i-9", *OLD[1:]] if finished else OLD)]
    return Gathered(a_scene(members), checkpoint, resumed=finished)


@pytest.mark.parametrize(
    ("asked", "drain_seconds"),
    [(None, 60 + 60), (2, 60 + 2 * 60), (1, 60 + 4 * 60)],
)
def test_as_many_drains_at_a_time_as_the_rollout_will_do(asked: int | None, drain_seconds: int) -> None:
    at_once = outlook(a_rollout(), gathered(), None)["expected_seconds"] - 60 - 60
    assert outlook(a_rollout(), gathered(), None, asked)["expected_seconds"] - at_once == drain_seconds


@pytest.mark.parametrize(
    ("stages", "finished", "seconds"),
    [
        ({}, False, 600),
        ({}, True, 600),
        ({"baking": "2026-11-21T00:56:40Z"}, True, 400),
        ({"baking": "2026-11-21T00:46:40Z"}, True, 0),
        ({"baking": "2026-11-21T00:46:40Z", "baked": "2026-11-21T00:56:40Z"}, True, 0),
    ],
)
def test_the_canary_stands_once_also_where_a_run_goes_on(stages: dict[str, str], finished: bool, seconds: int) -> None:
    without = outlook(a_rollout(), gathered(stages, finished), None)["expected_seconds"]
    assert outlook(a_rollout(bake=600), gathered(stages, finished), None)["expected_seconds"] - without == seconds


def test_a_time_that_cannot_be_read_is_none() -> None:
    assert baking_left(a_checkpoint(stages={"baking": "soon"}), 600, NOW + timedelta(days=1)) == 600


def test_a_mistake_in_the_look_ahead_is_a_note_for_a_run_and_an_error_for_who_asks_for_the_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(*_arguments: Any) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(plan_outlook, "course_of", wrong)
    plan = outlook(a_rollout(), gathered(), None, needed=False)

    assert (plan["outcome"], plan["remaining"], plan["ahead"]) == ("planned", OLD, [1, 2])
    for lines in (plan["notes"], plan["summary"]):
        assert "please report this: ZeroDivisionError division by zero" in lines[-1]
    with pytest.raises(ZeroDivisionError):
        outlook(a_rollout(), gathered(), None)


def test_an_answer_that_does_not_come_is_no_such_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_arguments: Any) -> None:
        raise EvergreenError("no answer")

    monkeypatch.setattr(plan_outlook, "course_of", away)
    with pytest.raises(EvergreenError, match="no answer"):
        outlook(a_rollout(), gathered(), None, needed=False)
