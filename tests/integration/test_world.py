# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal world itself: does it behave like a cluster, and does its witness see what matters?"""

from __future__ import annotations

import pytest

from simulator import checks
from simulator.identities import AUTOSCALER, SOMEBODY, STRANGER_KEY, TOOL
from simulator.kubernetes.client import ApiClient
from simulator.runs import refuse_foreign_endpoints
from simulator.scenarios import Budget, DaemonSet, Deployment, NodeGroup, Pod, Scenario, StatefulSet
from simulator.snapshot import Snapshot
from simulator.world import World

FAST = 120.0

THREE_NODES = Scenario(
    groups=[NodeGroup("shared", size=3, max_size=4)],
    workloads=[Deployment("web", replicas=3, group="shared", budget=Budget(min_available=2))],
)


def evict(client: ApiClient, pod: str) -> None:
    namespace, name = pod.split("/")
    client.create(
        f"/api/v1/namespaces/{namespace}/pods/{name}/eviction",
        {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}},
    )


def ready_nodes(now: Snapshot) -> int:
    return sum(1 for node in now.nodes.values() if node.ready)


# ---- instances and nodes


@pytest.mark.scenario(THREE_NODES, speed=FAST)
def test_a_launched_instance_becomes_a_ready_node_in_the_emptiest_zone(world: World) -> None:
    world.actors.set_desired("shared", 4)
    now = world.wait_until(lambda now: ready_nodes(now) == 4, "a fourth node Ready")
    (new,) = set(now.nodes) - set(world.beginning.nodes)
    assert now.groups["shared"].instances[new].version == "2", "the newest template version is launched"
    assert now.nodes[new].labels["topology.kubernetes.io/zone"] == now.groups["shared"].instances[new].zone
    assert not now.nodes[new].taints, "its start-up taints are gone"


@pytest.mark.scenario(THREE_NODES, speed=FAST)
def test_a_terminated_instance_takes_its_node_along(world: World) -> None:
    victim = next(iter(world.beginning.nodes))
    world.actors.spot_loss(victim)
    now = world.wait_until(
        lambda now: victim not in now.nodes and ready_nodes(now) == 3, "the node gone and its replacement Ready"
    )
    assert victim not in now.running


@pytest.mark.scenario(THREE_NODES, speed=FAST)
def test_a_stopped_instance_leaves_a_silent_node(world: World) -> None:
    victim, node = next(iter(world.beginning.nodes.items()))
    world.actors.suspend("shared", "ReplaceUnhealthy", "Terminate")
    world.actors.stop_instance(victim)
    taint = "node.cloudprovider.kubernetes.io/shutdown"
    now = world.wait_until(lambda now: taint in now.nodes[victim].taints, "the node tainted as shut down")
    assert not now.nodes[victim].ready
    found = world.client().get(f"/api/v1/nodes/{node.name}")
    (ready,) = [one for one in found["status"]["conditions"] if one["type"] == "Ready"]
    assert ready["status"] == "Unknown"


@pytest.mark.scenario(THREE_NODES, speed=FAST)
def test_a_detached_instance_keeps_running_with_its_node(world: World) -> None:
    victim = next(iter(world.beginning.nodes))
    world.aws()("autoscaling").detach_instances(
        AutoScalingGroupName="shared", InstanceIds=[victim], ShouldDecrementDesiredCapacity=True
    )
    now = world.wait_until(lambda now: victim not in now.groups["shared"].instances, "it detached")
    assert victim in now.running
    assert now.nodes[victim].ready
    orphan = checks.Expected(selected={"shared": [victim]})
    assert checks.right_instances_removed(world.record, world.beginning, now, orphan) == [
        f"{victim} runs outside its group"
    ]


@pytest.mark.scenario(THREE_NODES, speed=FAST)
def test_machines_of_a_bad_image_never_get_ready(world: World) -> None:
    world.machines.broken_groups.add("shared")
    world.actors.set_desired("shared", 4)
    now = world.wait_until(lambda now: len(now.nodes) == 4, "the fourth node registered")
    world.clock.advance(600)
    now = world.snapshot()
    assert ready_nodes(now) == 3


# ---- pods


@pytest.mark.scenario(THREE_NODES, speed=FAST)
def test_pods_are_spread_and_an_evicted_one_comes_back_elsewhere(world: World) -> None:
    homes = world.beginning.pods
    assert len(homes) == 3
    assert len(set(homes.values())) == 3, "one on each node"
    pod, home = next(iter(homes.items()))
    world.actors.cordon(home)
    evict(world.client(SOMEBODY), pod)
    now = world.wait_until(lambda now: pod not in now.pods and len(now.pods) == 3, "the pod replaced")
    now = world.wait_until(lambda now: not now.pods_not_ready, "the replacement Ready")
    assert home not in now.pods.values()
    assert [(note["pod"], note["node"], note["author"]) for note in world.record.notes("evicted")] == [
        (pod, home, SOMEBODY)
    ]
    assert world.record.notes("budget_violated") == []


@pytest.mark.scenario(
    Scenario(
        groups=[NodeGroup("shared", size=3)],
        workloads=[StatefulSet("database", replicas=3, zonal_volume=True), DaemonSet("agent"), Pod("lonely")],
    ),
    speed=FAST,
)
def test_zonal_volumes_pin_daemons_are_everywhere_and_unmanaged_pods_do_not_come_back(world: World) -> None:
    zone_of = {node.name: node.labels["topology.kubernetes.io/zone"] for node in world.beginning.nodes.values()}
    homes = world.beginning.pods
    zones = {zone_of[home] for pod, home in homes.items() if "database" in pod}
    assert zones == set(world.scenario.zones), "each replica sits where its volume is"
    pods, _unused = world.client().list("/api/v1/namespaces/kube-system/pods")
    assert sum(1 for pod in pods if pod["metadata"]["labels"].get("app") == "agent") == 3
    evict(world.client(SOMEBODY), "default/lonely")
    now = world.wait_until(lambda now: "default/lonely" not in now.pods, "the pod gone")
    world.clock.advance(60)
    assert len(now.pods) == 3


# ---- the witness


@pytest.mark.scenario(THREE_NODES, speed=FAST)
def test_the_witness_counts_what_is_left_after_each_cordon(world: World) -> None:
    names = [node.name for node in world.beginning.nodes.values()]
    for name in names[:2]:
        world.client(TOOL).patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
    world.client(TOOL).patch(f"/api/v1/nodes/{names[0]}", {"metadata": {"labels": {"a": "b"}}})
    assert [note["ready"] for note in world.record.notes("cordoned")] == [2, 1]
    expected = checks.Expected(selected={}, max_unavailable={"shared": 1})
    assert checks.strength_kept(world.record, world.beginning, expected) == [
        f"after {names[1]} was cordoned, shared had 1 nodes left, not 2"
    ]


@pytest.mark.scenario(THREE_NODES, speed=FAST)
def test_the_witness_sees_pods_that_were_lost_and_by_whom(world: World) -> None:
    victim, node = next(iter(world.beginning.nodes.items()))
    (pod,) = [name for name, home in world.beginning.pods.items() if home == node.name]
    world.aws(TOOL)("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=victim, ShouldDecrementDesiredCapacity=False
    )
    world.wait_until(lambda now: victim not in now.running, "the instance terminated")
    assert [(note["pod"], note["author"]) for note in world.record.notes("pod_lost")] == [(pod, TOOL)]
    expected = checks.Expected(selected={"shared": [victim]})
    assert len(checks.nothing_lost(world.record, expected)) == 1


@pytest.mark.scenario(THREE_NODES, speed=FAST)
def test_lowering_desired_is_blamed_on_who_lowered_it(world: World) -> None:
    world.aws(TOOL)("autoscaling").set_desired_capacity(AutoScalingGroupName="shared", DesiredCapacity=2)
    world.wait_until(lambda now: world.record.notes("instance_removed"), "an instance removed")
    (note,) = world.record.notes("instance_removed")
    assert note["author"] == TOOL
    expected = checks.Expected(selected={"shared": []})
    problems = checks.right_instances_removed(world.record, world.beginning, world.snapshot(), expected)
    assert problems == [f"{note['instance']} was removed, but had not been selected"]


@pytest.mark.scenario(THREE_NODES, speed=FAST)
def test_deleting_pods_past_their_budget_is_noted(world: World) -> None:
    for pod in list(world.beginning.pods)[:2]:
        world.actors.delete_pod(*pod.split("/"))
    notes = world.record.notes("budget_violated")
    assert [(note["budget"], note["author"], note["healthy"], note["wanted"]) for note in notes] == [
        ("default/web", SOMEBODY, 1, 2)
    ]


@pytest.mark.scenario(THREE_NODES, speed=FAST)
def test_a_world_left_alone_breaks_no_invariant(world: World) -> None:
    world.clock.advance(900)
    world.wait_until(lambda now: not now.pods_not_ready, "everything Ready")
    expected = checks.Expected(selected={})
    assert checks.broken_invariants(world.record, world.beginning, world.snapshot(), expected) == []
    assert checks.nothing_changed(world.record) == []


# ---- other actors


@pytest.mark.scenario(THREE_NODES, speed=FAST)
def test_actors_act_at_a_time_or_when_a_request_is_seen(world: World) -> None:
    world.actors.when(lambda: world.actors.reset_max("shared", 3), operation="^UpdateAutoScalingGroup$", author=TOOL)
    world.actors.at(30, lambda: world.actors.new_version("shared"))
    world.aws(TOOL)("autoscaling").update_auto_scaling_group(AutoScalingGroupName="shared", MaxSize=9)
    assert world.snapshot().groups["shared"].max_size == 3
    authors = [call.author for call in world.record.calls(operation="UpdateAutoScalingGroup")]
    assert authors == [TOOL, SOMEBODY]
    template = world.provisioner.templates["shared"]

    def versions() -> int:
        answer = world.aws()("ec2").describe_launch_template_versions(LaunchTemplateId=template)
        return len(answer["LaunchTemplateVersions"])

    world.wait_until(lambda now: versions() == 3, "the third template version")


@pytest.mark.scenario(
    Scenario(groups=[NodeGroup("shared", size=2, max_size=4)], workloads=[Deployment("web", cpu="1500m", replicas=2)]),
    speed=FAST,
)
def test_the_autoscaler_scales_up_for_pending_pods_and_down_again(world: World) -> None:
    world.actors.add_autoscaler()
    scale = "/apis/apps/v1/namespaces/default/deployments/web"
    world.client().patch(scale, {"spec": {"replicas": 3}})
    now = world.wait_until(lambda now: len(now.pods) == 3 and not now.pods_not_ready, "the third pod Ready")
    assert now.groups["shared"].desired == 3
    world.client().patch(scale, {"spec": {"replicas": 2}})
    now = world.wait_until(lambda now: len(now.groups["shared"].instances) == 2, "the idle node removed")
    assert now.groups["shared"].desired == 2
    assert {note["author"] for note in world.record.notes("instance_removed")} == {AUTOSCALER}
    assert world.record.notes("pod_lost") == []


@pytest.mark.scenario(Scenario(groups=[NodeGroup("shared", size=2)]), speed=FAST)
def test_the_autoscaler_leaves_nodes_alone_that_say_so(world: World) -> None:
    mark = {"metadata": {"annotations": {"cluster-autoscaler.kubernetes.io/scale-down-disabled": "true"}}}
    for node in world.beginning.nodes.values():
        world.client().patch(f"/api/v1/nodes/{node.name}", mark)
    autoscaler = world.actors.add_autoscaler(unneeded=20)
    world.clock.advance(60)
    autoscaler.step()
    world.clock.advance(60)
    autoscaler.step()
    assert len(world.snapshot().groups["shared"].instances) == 2
    assert world.record.calls(author=AUTOSCALER, mutating=True) == []


# ---- running Ansible against it


def test_a_module_runs_in_an_environment_of_the_world_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("KUBECONFIG", "/home/operator/.kube/config")
    environment = world.env()
    assert "AWS_PROFILE" not in environment
    assert "KUBECONFIG" not in environment
    result = world.module("evergreen.eks.asg_info", {"names": ["shared"]})
    assert not result["failed"], result
    assert result["groups"][0]["desired_capacity"] == 3
    assert checks.nothing_changed(world.record) == []
    assert {call.author for call in world.record.calls(service="autoscaling")} == {TOOL}


def test_a_failing_module_says_so_in_its_result(world: World) -> None:
    result = world.module("evergreen.eks.asg_info", {"names": ["nowhere"]})
    assert result["failed"]
    assert "nowhere" in result["msg"]


def test_the_cluster_is_reached_with_the_token_of_its_aws_identity(world: World) -> None:
    node = next(iter(world.beginning.nodes.values()))
    arguments = {"cluster_name": world.scenario.cluster, "instance_ids": [node.instance_id], "poll_seconds": 0.1}
    result = world.module("evergreen.eks.node_ready", {**arguments, "timeout": 30})
    assert not result["failed"], result
    assert world.record.calls(author=TOOL, service="eks", operation="DescribeCluster")
    assert world.record.calls(author=TOOL, service="kubernetes")
    strange = world.module(
        "evergreen.eks.node_ready", {**arguments, "timeout": 30}, env={"AWS_ACCESS_KEY_ID": STRANGER_KEY}
    )
    assert strange["failed"]
    assert strange["reason"] == "kubernetes_unauthorized"


def test_only_loopback_is_talked_to() -> None:
    with pytest.raises(ValueError, match="AWS_ENDPOINT_URL is not set"):
        refuse_foreign_endpoints({"PATH": "/bin"})
    with pytest.raises(ValueError, match="only talks to loopback"):
        refuse_foreign_endpoints({"AWS_ENDPOINT_URL": "https://autoscaling.eu-central-1.amazonaws.com"})
    refuse_foreign_endpoints({"AWS_ENDPOINT_URL": "http://127.0.0.1:5000"})
