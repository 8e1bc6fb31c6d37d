# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.aws import AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.drain import dead
from ansible_collections.evergreen.eks.plugins.module_utils.drain.dead import (
    ALIVE,
    GONE,
    INSTANCE_ENDED,
    INSTANCE_LOOKS,
    NOT_READY,
    UNREACHABLE,
    InstanceStates,
    Vitals,
)
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Instance
from ansible_collections.evergreen.eks.plugins.module_utils.moments import ServerTime
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node, node_from

NOON = "2026-11-21T12:00:00Z"
PATIENCE = 60
ID = "i-0123456789abcdef0"


def node(ready: str | None, since: str = NOON) -> Node:
    conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": since, "message": "no network"}]
    return node_from(
        {
            "metadata": {"name": "node-a"},
            "spec": {"providerID": f"aws:///eu-central-1a/{ID}"},
            "status": {"conditions": conditions if ready else []},
        }
    )


def after_noon(seconds: int) -> ServerTime:
    time = ServerTime(FakeClock())
    time.hear(f"Sat, 21 Nov 2026 12:{seconds // 60:02}:{seconds % 60:02} GMT")
    return time


@pytest.mark.parametrize(
    ("ready", "instance_state", "kind", "is_dead"),
    [
        ("True", "", ALIVE, False),
        ("True", "running", ALIVE, False),
        ("False", "", NOT_READY, False),
        ("False", "running", NOT_READY, False),
        ("Unknown", "", UNREACHABLE, True),
        ("Unknown", "stopping", UNREACHABLE, True),
        (None, "", NOT_READY, False),  # its kubelet has not reported yet
        ("True", "shutting-down", INSTANCE_ENDED, True),
        ("Unknown", "terminated", INSTANCE_ENDED, True),
        ("False", "stopped", INSTANCE_ENDED, True),
        ("Unknown", GONE, INSTANCE_ENDED, True),
        ("False", GONE, NOT_READY, False),  # its kubelet answers: EC2 was asked in another region
    ],
)
def test_how_alive_a_node_is(ready: str | None, instance_state: str, kind: str, is_dead: bool) -> None:
    vitals = Vitals(node(ready), instance_state)
    assert (vitals.kind, vitals.dead) == (kind, is_dead)


@pytest.mark.parametrize(
    ("ready", "instance_state", "deleted_at", "seconds", "holds"),
    [
        ("True", "", "", 100_000, True),
        ("True", "", NOON, 100_000, True),  # a finalizer, or a kubelet that hangs: an operator's matter
        ("Unknown", "", "", 59, True),
        ("Unknown", "", "", 60, False),  # no budget keeps what is dead already
        ("Unknown", "running", NOON, 60, False),
        ("False", "", "", 100_000, True),  # it may well be running
        ("False", "", NOON, 59, True),
        ("False", "", NOON, 60, False),
        ("False", "", "2026-11-21T13:00:00Z", 3600, True),  # its grace is an hour
        (None, "", "", 100_000, True),
        ("True", "terminated", "", 0, False),
        ("Unknown", GONE, "", 0, False),
    ],
)
def test_when_a_pod_need_not_be_waited_for(
    ready: str | None, instance_state: str, deleted_at: str, seconds: int, holds: bool
) -> None:
    assert Vitals(node(ready), instance_state).holds(deleted_at, after_noon(seconds), PATIENCE) is holds


def test_what_is_written_otherwise_than_kubernetes_does_counts_for_nothing() -> None:
    assert Vitals(node("Unknown", since="at noon")).holds("", after_noon(1000), PATIENCE)


@pytest.mark.parametrize(
    ("ready", "instance_state", "words"),
    [
        ("Unknown", "", f"its kubelet has been silent since {NOON}"),
        ("False", "", f"it is not Ready since {NOON}: no network"),
        ("Unknown", "terminated", f"its instance {ID} is terminated"),
    ],
)
def test_it_says_why(ready: str, instance_state: str, words: str) -> None:
    assert Vitals(node(ready), instance_state).explain() == words


class Ec2:
    """Stands for describe_instances: answers one after the other, the last for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, _aws: Any, ids: list[str]) -> dict[str, Instance]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {ids[0]: Instance(ids[0], answer)} if answer else {}


@pytest.mark.parametrize(
    ("answers", "states", "asked"),
    [
        (["running", "terminated"], ["running", "running", "terminated"], 2),
        ([None], [GONE, GONE, GONE], 2),
        ([AwsError("no", reason="throttled"), "terminated"], ["", "", "terminated"], 2),
        ([AwsError("no", reason="access_denied")], ["", "", ""], 1),
    ],
)
def test_ec2_is_asked_now_and_then_and_never_again_by_who_may_not(
    monkeypatch: pytest.MonkeyPatch, answers: list[Any], states: list[str], asked: int
) -> None:
    ec2, clock = Ec2(*answers), FakeClock()
    monkeypatch.setattr(dead, "describe_instances", ec2)
    it = InstanceStates(None, clock, poll_seconds=5)
    seen = []
    for pause in (0, 1, INSTANCE_LOOKS * 5):
        clock.sleep(pause)
        seen.append(it.state_of(ID))
    assert (seen, ec2.asked) == (states, asked)
    assert it.state_of("") == "" and ec2.asked == asked, "not every node has an instance"
