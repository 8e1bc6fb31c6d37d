# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout is asked for and cannot be meant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Settings
from ansible_collections.evergreen.eks.plugins.module_utils.rollout_options import refuse_unfit, rollout_of
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

STATE = {"store": "file", "dir": None, "namespace": "kube-system", "bucket": None, "prefix": "evergreen.eks"}
RAW = {
    "select": "all",
    "max_surge": 1,
    "max_unavailable": 0,
    "canary": 1,
    "canary_bake_seconds": 0,
    "suspend_processes": [],
    "ready_timeout": 1200,
    "ignore_checkpoint": False,
    "lock": True,
    "lock_seconds": 60,
    "lock_wait": 90,
    "drain_on_timeout": "fail",
    "drain_escalation": [],
}


def settings(**changes: Any) -> Settings:
    return replace(Settings.of(RAW, poll_seconds=5), **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"canary": -1}, "canary cannot be -1"),
        ({"lock_seconds": 0.5}, "lock_seconds cannot be 0.5"),
        ({"lock_wait": 60}, "lock_wait .* is 60 s, no more than lock_seconds .* Give more than 60, or 0 to wait for"),
        ({"lock_seconds": 2, "lock_wait": 1}, "lock_wait"),
        ({"suspend_processes": ("Launch", "AZRebalancing")}, "names AZRebalancing"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        refuse_unfit(settings(**changes))


@pytest.mark.parametrize(
    "changes", [{}, {"lock_wait": 0}, {"lock_seconds": 2, "lock_wait": 2.5}, {"lock": False, "lock_wait": 1}]
)
def test_what_can_be_meant_is_not(changes: dict[str, Any]) -> None:
    refuse_unfit(settings(**changes))


def test_in_an_awx_job_a_checkpoint_in_its_container_is_refused_before_anything_is_asked() -> None:
    params = {"settings": RAW, "poll_seconds": 5, "state": STATE, "awx_job_id": "17"}
    with pytest.raises(InvalidInput, match="lost with the container of this AWX job.*eks_state_store=configmap"):
        rollout_of(params, Call())


def test_an_escalation_that_cannot_be_meant_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(InvalidInput, match="there is no escalation"):
        Settings.of({**RAW, "drain_on_timeout": "escalate"}, poll_seconds=5)
