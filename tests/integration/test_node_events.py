# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubectl get events shows of a cordon and a drain."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.scenarios import Deployment, NodeGroup, Scenario
from simulator.world import World

SMALL = Scenario(groups=[NodeGroup("shared", size=3, outdated=False)], workloads=[Deployment("web", replicas=3)])
PATH = "/api/v1/namespaces/default/events"


def work(world: World, node: str, **options: Any) -> list[dict[str, Any]]:
    """Cordon and drain a node; the answers of the two modules."""
    common = {"cluster_name": world.scenario.cluster, "nodes": [node], "poll_seconds": 0.2, **options}
    about = {"about": {"run": "r-1", "wave": 2, "waves": 5}}
    return [world.module(f"evergreen.eks.{name}", {**common, **about}) for name in ("node_cordon", "node_drain")]


def told(world: World, node: str) -> list[tuple[str, str]]:
    """Reason and message of the Events about a node that come from us, in the order in which they were made."""
    found = [item for item in world.client().get(PATH)["items"] if item["source"].get("component") == "evergreen.eks"]
    mine = [item for item in found if item["involvedObject"]["name"] == node]
    mine.sort(key=lambda item: int(item["metadata"]["resourceVersion"]))
    return [(item["reason"], item["message"]) for item in mine]


@pytest.mark.scenario(SMALL)
def test_others_are_told_once_and_the_work_goes_on_without_the_right_to_tell_them(world: World) -> None:
    first, second, third = sorted(node.name for node in world.snapshot().nodes.values())

    answers = work(world, first, node_events=True)
    assert not any(answer["failed"] for answer in answers), answers
    reasons, messages = zip(*told(world, first))
    assert reasons == ("EvergreenCordoned", "EvergreenDraining", "EvergreenDrained")
    assert messages[0].startswith("Cordoned by run r-1, wave 2 of 5: ")
    assert "evicted in" in messages[2]
    work(world, first, node_events=True)
    assert len(told(world, first)) == 3, "the same again is no further Event"

    work(world, second)
    assert told(world, second) == [], "nobody asked for them"

    world.kubernetes.authorize = (
        lambda user, _verb, _group, resource, _sub: "evergreen" not in user or resource != "events"
    )
    world.record.clear()
    answers = work(world, third, node_events=True)
    assert [answer["changed"] for answer in answers] == [True, True] and told(world, third) == []
    for answer in answers:
        (warning,) = answer["warnings"]
        assert "Grant the verb create on events in namespace default" in str(warning)
    assert len(world.record.calls(author="evergreen", operation="POST events")) == 2, "one attempt of each module"
