# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal world's traffic: who is behind its load balancers, and that its users notice what goes wrong."""

from __future__ import annotations

import pytest

from simulator.balancer_controller import EXCLUDED
from simulator.identities import BALANCER_CONTROLLER, SOMEBODY
from simulator.scenarios import Deployment, NodeGroup, Scenario
from simulator.world import World

SHOP = Scenario(
    groups=[NodeGroup("shared", size=3, max_size=6, target_groups=["own"], load_balancers=["classic"])],
    workloads=[Deployment("web", replicas=3, stop=10)],
    controller_target_groups=["nodes"],
    deregistration_delay=30,
)
pytestmark = pytest.mark.scenario(SHOP)


def pool(world: World, name: str) -> dict[str, str]:
    """instance -> state"""
    with world.cloud.lock:
        world.cloud.settle()
        targets = world.cloud.balancers.pool(world.provisioner.target_groups.get(name, name)).targets.values()
        return {target.target_id: target.state for target in targets}


def test_all_nodes_are_healthy_in_all_of_them_when_the_world_begins(world: World) -> None:
    members = dict.fromkeys(world.beginning.groups["shared"].instances, "healthy")

    assert [pool(world, name) for name in ("own", "classic", "nodes")] == [members] * 3


def test_a_new_node_is_healthy_only_after_it_has_come_up(world: World) -> None:
    old = set(world.beginning.groups["shared"].instances)
    world.actors.set_desired("shared", 4)
    world.wait_until(lambda now: len(pool(world, "own")) == 4, "a fourth target")
    (new,) = set(pool(world, "own")) - old

    assert pool(world, "own")[new] == "initial"
    assert new not in pool(world, "nodes")
    world.wait_until(lambda now: pool(world, "nodes").get(new) == "healthy", "the fourth node is healthy")
    assert world.snapshot().nodes[new].ready


def test_the_controller_heeds_the_label_and_puts_back(world: World) -> None:
    instance, node = next((one, node.name) for one, node in world.beginning.nodes.items())
    somebody = world.client(SOMEBODY)
    somebody.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {EXCLUDED: "true"}}})
    world.wait_until(lambda now: pool(world, "nodes").get(instance) == "draining", "it is taken out")
    world.wait_until(lambda now: instance not in pool(world, "nodes"), "it is out")
    somebody.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {EXCLUDED: None}}})
    world.wait_until(lambda now: pool(world, "nodes").get(instance) == "healthy", "it is back")

    changes = [call.operation for call in world.record.calls(author=BALANCER_CONTROLLER, mutating=True)]
    assert changes == ["DeregisterTargets", "RegisterTargets"]
    assert pool(world, "own")[instance] == "healthy"


def test_users_get_their_answers_from_all_nodes(world: World) -> None:
    clients = [world.add_client(balancer, "web") for balancer in ("own", "classic", "nodes")]
    world.wait_until(lambda now: all(sum(client.sent.values()) > 60 for client in clients), "some requests")

    assert [client.failures for client in clients] == [[], [], []]
    for client in clients:
        assert set(client.sent) == set(world.beginning.nodes)
        assert max(client.sent.values()) - min(client.sent.values()) <= 1


def test_users_notice_an_instance_that_goes_while_it_is_a_target(world: World) -> None:
    client = world.add_client("nodes", "web")
    lost = next(iter(world.beginning.nodes))
    world.wait_until(lambda now: client.sent[lost] > 3, "some requests")
    world.actors.spot_loss(lost)
    world.wait_until(lambda now: lost not in pool(world, "nodes"), "it is let go")

    assert {note["instance"] for note in client.failures if note["why"].startswith("the target")} == {lost}
    assert client.failures == world.record.notes("request_failed")


def test_auto_scaling_waits_for_the_draining_of_what_it_is_attached_to_only(world: World) -> None:
    attached, others = world.add_client("own", "web"), world.add_client("nodes", "web")
    victim = next(iter(world.beginning.nodes))
    world.aws(SOMEBODY)("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=victim, ShouldDecrementDesiredCapacity=True
    )
    world.wait_until(lambda now: victim not in now.running, "it is on its way out")
    world.wait_until(lambda now: victim not in pool(world, "nodes"), "it is let go")

    assert [note["why"] for note in attached.failures if note["why"].startswith("the target")] == []
    assert any(note["why"].startswith("the target") for note in others.failures)


def test_users_notice_that_nobody_is_there(world: World) -> None:
    client = world.add_client("nodes", "nobody")
    world.wait_until(lambda now: len(client.failures) > 3, "some requests")

    assert {note["why"] for note in client.failures} == {"no pod is Ready"}
