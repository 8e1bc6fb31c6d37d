# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps an instance from being removed: its pods, unless its node is dead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils import removal
from ansible_collections.evergreen.eks.plugins.module_utils.departure import Request
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Instance
from ansible_collections.evergreen.eks.plugins.module_utils.moments import ServerTime
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import node_from
from ansible_collections.evergreen.eks.plugins.module_utils.removal import Removal

ID = "i-0123456789abcdef0"
NOON, LONG_AGO = "2026-11-21T12:00:00Z", "2026-11-21T11:00:00Z"
WEB = {"metadata": {"namespace": "shop", "name": "web-1"}, "status": {"phase": "Running"}}
DELETED = {**WEB, "metadata": {**WEB["metadata"], "deletionTimestamp": LONG_AGO}}
DONE = {**WEB, "status": {"phase": "Succeeded"}}


def node(ready: str, since: str = LONG_AGO) -> dict[str, Any]:
    return {
        "metadata": {"name": "node-a"},
        "spec": {"providerID": f"aws:///eu-central-1a/{ID}"},
        "status": {"conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}]},
    }


class Api:
    """A cluster of one node, at noon."""

    def __init__(self, now: dict[str, Any], pods: list[dict[str, Any]]) -> None:
        self.objects = {"/api/v1/nodes": [now], "/api/v1/pods": pods}
        self.asked: list[str] = []
        self.briefly, self.time = self, ServerTime(FakeClock())
        self.time.hear("Sat, 21 Nov 2026 12:00:00 GMT")

    def list(self, path: str, **_selectors: Any) -> tuple[list[dict[str, Any]], str]:
        self.asked.append(path)
        return self.objects[path], "1"


class Journal(list):
    def write(self, kind: str, **fields: Any) -> None:
        self.append({"kind": kind, **fields})


def obstacle(
    monkeypatch: pytest.MonkeyPatch, seen: dict[str, Any], now: dict[str, Any], pods: list[Any], instance: str
) -> tuple[str, Journal, Api]:
    """Why the instance must not be removed ("" where it may), what was told, and what was asked."""
    monkeypatch.setattr(removal, "describe_instances", lambda _aws, ids: {ID: Instance(ids[0], instance)})
    options = {"asg_name": "shared", "instance_ids": [ID], "decrement": True, "final_state": "terminated"}
    options |= {"method": "auto", "verify_drained": True, "allow_unjoined": False, "dead_node_timeout": 60.0}
    options |= {"min_ready": None, "run_id": "", "wait": True, "timeout": 60.0, "poll_seconds": 5.0}
    api, journal = Api(now, pods), Journal()
    it = Removal(Request.of(options), None, api, SimpleNamespace(clock=FakeClock(), journal=journal))
    fate = it._obstacle(ID, SimpleNamespace(nodes=[node_from(seen)], outside={}))
    return fate.reason if fate else "", journal, api


@pytest.mark.parametrize(
    ("seen", "now", "pods", "instance", "reason"),
    [
        (node("True"), node("True"), [DONE], "running", ""),
        (node("True"), node("True"), [WEB], "running", "not_drained"),
        (node("True"), node("True"), [DELETED], "running", "not_drained"),
        (node("True"), node("True"), [WEB], "terminated", ""),
        (node("Unknown"), node("Unknown"), [WEB, DELETED], "running", ""),
        (node("Unknown", NOON), node("Unknown", NOON), [WEB], "running", "not_drained"),
        (node("Unknown"), node("True", NOON), [WEB], "running", "not_drained"),  # it has come back since the look
        (node("False"), node("False"), [DELETED], "running", ""),
        (node("False"), node("False"), [WEB, DELETED], "running", "not_drained"),
    ],
)
def test_pods_keep_an_instance_unless_its_node_is_dead(
    monkeypatch: pytest.MonkeyPatch, seen: dict, now: dict, pods: list, instance: str, reason: str
) -> None:
    assert obstacle(monkeypatch, seen, now, pods, instance)[0] == reason


def test_who_is_given_up_with_the_instance_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = node("Unknown")
    _reason, (told,), _api = obstacle(monkeypatch, dead, dead, [WEB], "running")
    assert (told["kind"], told["pods"], told["node"]) == ("pods_abandoned", ["shop/web-1"], "node-a")
    assert told["text"] == f"goes with 1 pod: its kubelet has been silent since {LONG_AGO}"


def test_a_node_without_pods_costs_no_further_look(monkeypatch: pytest.MonkeyPatch) -> None:
    _reason, journal, api = obstacle(monkeypatch, node("Unknown"), node("Unknown"), [], "running")
    assert api.asked == ["/api/v1/pods"] and not journal
