# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""evergreen.eks.lb_targets against the world, judged by the world's record and its final state."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from integration.permissions import grant_only_what_is_documented, granted_actions

from simulator import runs
from simulator.balancer_controller import EXCLUDED
from simulator.identities import SOMEBODY, TOOL
from simulator.record import Call
from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario
from simulator.world import World

# Three kinds of load balancers: attached to the group, one of them classic, and one of the cluster's controller.
SHOP = Scenario(
    groups=[NodeGroup("shared", size=3, max_size=6, target_groups=["own"], load_balancers=["classic"])],
    workloads=[Deployment("web", replicas=3, stop=10, budget=Budget(max_unavailable=1))],
    controller_target_groups=["nodes"],
    deregistration_delay=60,
)
ALL = ("own", "classic", "nodes")
MARK = "evergreen.eks/out-of/"
DEREGISTRATIONS = ("DeregisterTargets", "DeregisterInstancesFromLoadBalancer")
pytestmark = pytest.mark.scenario(SHOP)


def options(world: World, state: str, ids: list[str] | None = None, **more: Any) -> dict[str, Any]:
    base = {"asg_name": "shared", "cluster_name": "rehearsal", "state": state, "poll_seconds": 0.1, "timeout": 20}
    return {**base, **({} if ids is None else {"instance_ids": ids}), "run_id": "r1", **more}


def targets(
    world: World, state: str, ids: list[str] | None = None, *, check: bool = False, diff: bool = False, **more: Any
) -> dict[str, Any]:
    return world.module("evergreen.eks.lb_targets", options(world, state, ids, **more), check=check, diff=diff)


def killed(world: World, arguments: dict[str, Any], operation: str, skip: int = 0, before: bool = False) -> None:
    """The module as a process that gets SIGKILL at that request of its own: before it arrives, or once it is done."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ansible_collections.evergreen.eks.plugins.modules.lb_targets"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**world.env(), "PYTHONPATH": str(runs.COLLECTIONS)},
        cwd=runs.REPOSITORY,
        text=True,
    )
    lost = (500, "InternalFailure", "the request has never arrived")
    moment: dict[str, Any] = {("before" if before else "after"): lambda _call: process.kill()}
    moment |= {"error": lost} if before else {}
    fault = world.faults.add(None, f"^{operation}$", author=TOOL, skip=skip, **moment)
    said, _unused = process.communicate(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), timeout=60)
    assert (process.returncode, fault.hits) == (-9, 1), said


def arn(world: World, name: str) -> str:
    return world.provisioner.target_groups.get(name, name)


def pool(world: World, name: str) -> dict[str, str]:
    """instance -> state"""
    with world.cloud.lock:
        world.cloud.settle()
        found = world.cloud.balancers.pool(arn(world, name)).targets.values()
        return {target.target_id: target.state for target in found}


def members(world: World) -> list[str]:
    return sorted(world.snapshot().groups["shared"].instances)


def marks(world: World) -> dict[str, list[str]]:
    """instance -> the keys of the marks that it carries"""
    found = {one: [key for key in tags if key.startswith(MARK)] for one, tags in world.snapshot().running.items()}
    return {one: sorted(keys) for one, keys in found.items() if keys}


def changes(world: World, *operations: str) -> list[Call]:
    found = world.record.calls(author=TOOL, mutating=True)
    return [call for call in found if not operations or call.operation in operations]


def reasons(answer: dict[str, Any]) -> dict[str, str]:
    assert "instances" in answer, answer
    return {instance_id: entry["reason"] for instance_id, entry in answer["instances"].items()}


def places(answer: dict[str, Any], instance_id: str) -> dict[str, str]:
    return {entry["balancer"]: entry["reason"] for entry in answer["instances"][instance_id]["balancers"]}


def exclude(world: World, ids: list[str], value: str | None = "true") -> None:
    for instance_id in ids:
        name = world.snapshot().nodes[instance_id].name
        world.client(SOMEBODY).patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": {EXCLUDED: value}}})


def rest(world: World) -> None:
    """The controller in the cluster does nothing: all of it is the module's doing."""
    world.balancer_controller.working = False


def more_nodes(world: World, size: int) -> list[str]:
    """The group grows; answers the new members, once they are in service."""
    old = set(members(world))
    world.actors.set_desired("shared", size)

    def in_service(now: Any) -> bool:
        states = [one.lifecycle for one in now.groups["shared"].instances.values()]
        return states == ["InService"] * size

    world.wait_until(in_service, f"{size} members in service")
    return sorted(set(members(world)) - old)


class TestHealthy:
    def test_new_instances_are_waited_for_in_every_load_balancer(self, world: World) -> None:
        old = members(world)
        new = more_nodes(world, 5)

        answer = targets(world, "healthy", exclude_instance_ids=old)

        assert reasons(answer) == dict.fromkeys(new, "healthy")
        assert places(answer, new[0]) == dict.fromkeys(ALL, "healthy")
        assert [pool(world, name)[one] for name in ALL for one in new] == ["healthy"] * 6
        assert not answer["changed"] and changes(world) == []

    def test_a_look_costs_one_describe_a_load_balancer(self, world: World) -> None:
        checks, own, old = world.cloud.balancers.checks, arn(world, "own"), members(world)
        checks[own] = lambda instance_id: instance_id in old
        more_nodes(world, 6)
        world.actors.when(lambda: checks.pop(own), operation="^DescribeTargetHealth$", skip=5)
        assert not targets(world, "healthy", poll_seconds=0.3)["failed"]

        calls = world.record.calls(author=TOOL)
        looks = sum(call.operation == "DescribeInstanceHealth" for call in calls)
        describes = [call.target for call in calls if call.operation == "DescribeTargetHealth"]
        assert looks > 2
        assert {name: describes.count(arn(world, name)) for name in ("own", "nodes")} == {"own": looks, "nodes": looks}
        assert sum(call.operation == "DescribeTargetGroups" for call in calls) == 1

    def test_what_fails_its_health_checks_is_named_with_what_aws_says(self, world: World) -> None:
        sick = members(world)[0]
        world.cloud.balancers.checks[arn(world, "own")] = lambda instance_id: instance_id != sick
        world.wait_until(lambda now: pool(world, "own")[sick] == "unhealthy", "one is unhealthy")

        answer = targets(world, "healthy", timeout=1)

        assert answer["failed"] and answer["reason"] == "unhealthy"
        assert places(answer, sick) == {"own": "unhealthy", "classic": "healthy", "nodes": "healthy"}
        for words in (sick, "target group own", "Target.FailedHealthChecks: Health checks failed", "security groups"):
            assert words in answer["msg"]

    @pytest.mark.slow
    def test_nodes_without_a_local_pod_need_not_be_healthy(self, world: World) -> None:
        """externalTrafficPolicy: Local, known by the health check that its controller has set."""
        checks = {"healthcheck_port": "32123", "healthcheck_path": "/healthz", "healthcheck_protocol": "HTTP"}
        tags = {"kubernetes.io/cluster/rehearsal": "owned"}
        local = world.cloud.create_target_group("local", world.provisioner.network.vpc_id, tags=tags, **checks)
        here, *elsewhere = members(world)
        world.cloud.balancers.checks[local] = lambda instance_id: instance_id == here
        registered = [{"Id": one} for one in (here, *elsewhere)]
        world.aws()("elbv2").register_targets(TargetGroupArn=local, Targets=registered)
        world.wait_until(lambda now: pool(world, local)[elsewhere[0]] == "unhealthy", "health checks fail")

        answer = targets(world, "healthy", timeout=5)

        assert not answer["failed"]
        assert {one: places(answer, one)["local"] for one in (here, *elsewhere)} == {
            here: "healthy",
            **dict.fromkeys(elsewhere, "no_local_pod"),
        }
        last = targets(world, "gone", [here], cluster_name="rehearsal")
        assert places(last, here)["local"] == "left_to_pods" and pool(world, local)[here] == "healthy"

    @pytest.mark.slow
    def test_who_is_not_registered_is_waited_for_and_who_has_ended_is_not(self, world: World) -> None:
        rest(world)
        (new,) = more_nodes(world, 4)

        late = targets(world, "healthy", [new], timeout=3)
        assert late["failed"] and late["reason"] == "not_registered"
        assert places(late, new)["nodes"] == "not_registered"
        assert "exclude-from-external-load-balancers" in late["msg"]

        world.actors.spot_loss(new)
        world.wait_until(lambda now: new not in now.running, "it goes")
        answer = targets(world, "healthy", [new])
        assert not answer["failed"] and reasons(answer) == {new: "instance_gone"}

    @pytest.mark.slow
    def test_without_the_name_of_the_cluster_only_what_is_attached_is_looked_at(self, world: World) -> None:
        answer = targets(world, "healthy", cluster_name="")

        assert [entry["balancer"] for entry in answer["balancers"]] == ["classic", "own"]
        assert [call for call in world.record.calls(author=TOOL) if call.operation == "DescribeTags"] == []

    @pytest.mark.slow
    def test_in_check_mode_it_looks_once_and_does_not_fail(self, world: World) -> None:
        world.cloud.balancers.checks["classic"] = lambda _instance_id: False
        (new,) = more_nodes(world, 4)

        answer = targets(world, "healthy", [new], check=True)

        assert not answer["failed"] and places(answer, new)["classic"] in ("initial", "nobody_healthy")
        assert len([call for call in world.record.calls(author=TOOL) if call.target == "classic"]) == 1


class TestGone:
    def test_they_are_taken_out_everywhere_and_their_connections_are_waited_for(self, world: World) -> None:
        draining = {"ConnectionDraining": {"Enabled": True, "Timeout": 120}}
        world.aws()("elb").modify_load_balancer_attributes(LoadBalancerName="classic", LoadBalancerAttributes=draining)
        first, second, third = members(world)
        exclude(world, [first, second])

        answer = targets(world, "gone", [first, second], diff=True)

        assert answer["changed"] and answer["changed_instances"] == [first, second]
        assert reasons(answer) == {first: "gone", second: "gone"}
        assert [set(pool(world, name)) for name in ALL] == [{third}] * 3
        classic = changes(world, "DeregisterInstancesFromLoadBalancer")
        assert [len(call.params["Instances"]) for call in classic] == [2]
        assert world.clock.now() - classic[0].at >= 120
        assert [len(call.params["Targets"]) for call in changes(world, "DeregisterTargets")][0] == 2
        assert answer["diff"]["before"]["registered"]["target group own"] == [first, second]
        assert answer["diff"]["after"]["registered"]["target group own"] == []
        assert set(marks(world)) == {first, second}

        before = len(changes(world))
        again = targets(world, "gone", [first, second])
        assert not again["changed"] and reasons(again) == {first: "not_registered", second: "not_registered"}
        assert len(changes(world)) == before

    @pytest.mark.parametrize("delay", [pytest.param(0, marks=pytest.mark.slow), 300])
    def test_the_deregistration_delay_is_waited_out(self, world: World, delay: int) -> None:
        attribute = {"Key": "deregistration_delay.timeout_seconds", "Value": str(delay)}
        world.aws()("elbv2").modify_target_group_attributes(TargetGroupArn=arn(world, "own"), Attributes=[attribute])
        leaving = members(world)[0]

        answer = targets(world, "gone", [leaving], cluster_name="", timeout=1)

        assert not answer["failed"], answer
        (sent,) = changes(world, "DeregisterTargets")
        assert leaving not in pool(world, "own")
        assert world.clock.now() - sent.at >= delay

    def test_killed_at_any_call_and_run_again_it_goes_on(self, world: World) -> None:
        leaving = members(world)[:2]
        rest(world)
        arguments = options(world, "gone", leaving)

        killed(world, arguments, "CreateTags", before=True)
        assert marks(world) == {} and changes(world, *DEREGISTRATIONS) == []
        killed(world, arguments, "CreateTags")
        assert set(marks(world)) == set(leaving) and changes(world, *DEREGISTRATIONS) == []
        killed(world, arguments, "DeregisterTargets")
        killed(world, arguments, "DescribeTargetHealth", skip=3)
        answer = targets(world, "gone", leaving)

        assert reasons(answer) == dict.fromkeys(leaving, "gone") or not answer["changed"]
        for name in ALL:
            assert not set(leaving) & set(pool(world, name))
        assert {one: len(keys) for one, keys in marks(world).items()} == dict.fromkeys(leaving, 3)
        tagged = [call for call in changes(world, "CreateTags") if call.succeeded]
        assert [len(call.params["Resources"]) for call in tagged] == [2]

    def test_two_minutes_of_throttling_are_waited_out(self, world: World) -> None:
        leaving = members(world)[:1]
        rest(world)

        def throttle() -> None:
            for service in ("elbv2", "elb"):
                error = (400, "Throttling", "Rate exceeded")
                world.faults.add(service, author=TOOL, error=error, seconds=120, times=None)

        for operation in ("DescribeTargetGroups", "CreateTags"):  # while it looks, and while it takes out
            world.actors.when(throttle, operation=f"^{operation}$")
        answer = targets(world, "gone", leaving)

        assert not answer["failed"], answer
        assert [one for name in ALL for one in pool(world, name) if one in leaving] == []
        throttled = {call.operation for call in world.record.calls(author=TOOL) if call.error == "Throttling"}
        assert {"DescribeTargetGroups", "DeregisterInstancesFromLoadBalancer"} <= throttled

    def test_a_target_group_that_is_deleted_meanwhile_is_no_obstacle(self, world: World) -> None:
        leaving = members(world)[:1]
        rest(world)

        def delete() -> None:
            world.aws(SOMEBODY)("elbv2").delete_target_group(TargetGroupArn=arn(world, "nodes"))

        world.actors.when(delete, operation="^DeregisterTargets$", before=True)
        answer = targets(world, "gone", leaving)

        assert not answer["failed"], answer
        assert places(answer, leaving[0]) == {"classic": "gone", "own": "gone", "nodes": "balancer_gone"}
        assert {entry["balancer"]: entry["exists"] for entry in answer["balancers"]}["nodes"] is False

    def test_the_last_healthy_one_stays_until_another_is_healthy(self, world: World) -> None:
        old = members(world)
        late = targets(world, "gone", old, cluster_name="", timeout=1, min_healthy=2)

        assert late["failed"] and late["reason"] == "too_few_healthy"
        assert "2 healthy there, and 2 must stay" in late["msg"] and "min_healthy" in late["msg"]
        assert list(pool(world, "own").values()).count("healthy") == 2

        new = more_nodes(world, 5)
        assert not targets(world, "healthy", new, cluster_name="")["failed"]
        answer = targets(world, "gone", old, cluster_name="", min_healthy=2)
        assert not answer["failed"], answer
        assert set(pool(world, "own")) == set(new)

    @pytest.mark.slow
    def test_told_so_it_takes_out_the_last_one(self, world: World) -> None:
        answer = targets(world, "gone", members(world), cluster_name="", min_healthy=0)

        assert not answer["failed"]
        assert pool(world, "own") == pool(world, "classic") == {}

    @pytest.mark.parametrize("suspended", [False, pytest.param(True, marks=pytest.mark.slow)])
    def test_with_elb_health_checks_members_are_left_to_their_group(self, world: World, suspended: bool) -> None:
        world.aws()("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName="shared", HealthCheckType="ELB", HealthCheckGracePeriod=0
        )
        if suspended:
            world.actors.suspend("shared", "ReplaceUnhealthy")
        leaving = members(world)[0]
        rest(world)

        answer = targets(world, "gone", [leaving])
        world.clock.advance(60)

        stays = {} if suspended else {"own": "left_to_group", "classic": "left_to_group"}
        assert places(answer, leaving) == {"own": "gone", "classic": "gone", "nodes": "gone"} | stays
        assert (leaving in pool(world, "own")) is not suspended
        assert world.snapshot().groups["shared"].instances[leaving].lifecycle == "InService"
        assert world.record.notes("instance_removed") == []

    @pytest.mark.slow
    def test_a_fight_with_who_registers_them_again_ends_with_his_name(self, world: World) -> None:
        """Without the label on its node the controller puts back what we take out."""
        leaving = members(world)[0]

        answer = targets(world, "gone", [leaving], poll_seconds=0.3)

        assert answer["failed"] and answer["reason"] == "registered_again"
        assert EXCLUDED in answer["msg"]
        assert places(answer, leaving) == {"own": "gone", "classic": "gone", "nodes": "registered_again"}
        tries = [call for call in changes(world, "DeregisterTargets") if call.target == arn(world, "nodes")]
        assert len(tries) == 5

    @pytest.mark.slow
    def test_what_is_of_others_is_left_alone(self, world: World) -> None:
        network, leaving = world.provisioner.network.vpc_id, members(world)[0]
        ours = {"elbv2.k8s.aws/cluster": "rehearsal"}
        pods = world.cloud.create_target_group("pods", network, target_type="ip", tags=ours)
        other = world.cloud.create_target_group("other", network, tags={"elbv2.k8s.aws/cluster": "rehearsal-2"})
        elbv2 = world.aws()("elbv2")
        elbv2.register_targets(TargetGroupArn=pods, Targets=[{"Id": "10.20.0.99"}])
        elbv2.register_targets(TargetGroupArn=other, Targets=[{"Id": leaving}])
        rest(world)

        answer = targets(world, "gone", [leaving])

        assert sorted(places(answer, leaving)) == sorted(ALL)
        assert (set(pool(world, pods)), set(pool(world, other))) == ({"10.20.0.99"}, {leaving})
        assert not {call.target for call in world.record.calls(author=TOOL)} & {pods, other}

    def test_check_mode_predicts(self, world: World) -> None:
        leaving, *others = members(world)

        answer = targets(world, "gone", [leaving], check=True, diff=True)
        few = targets(world, "gone", [leaving, *others], check=True)

        assert answer["changed"] and answer["changed_instances"] == [leaving]
        assert reasons(answer) == {leaving: "gone"}
        assert answer["diff"]["before"]["registered"]["target group own"] == [leaving]
        assert answer["diff"]["after"]["registered"]["target group own"] == []
        assert not few["failed"] and "too_few_healthy" in reasons(few).values()
        assert "3 healthy there, and 1 must stay" in str(few["warnings"])
        assert changes(world) == []
        assert pool(world, "own")[leaving] == "healthy"

    @pytest.mark.slow
    def test_a_missing_permission_is_named_and_what_is_done_is_told(self, world: World) -> None:
        leaving = members(world)[0]
        denied = (403, "AccessDenied", "User is not authorized")
        world.faults.add("elbv2", "^DeregisterTargets$", author=TOOL, error=denied)

        answer = targets(world, "gone", [leaving])

        assert answer["failed"] and answer["reason"] == "access_denied"
        assert "Allow the action elasticloadbalancing:DeregisterTargets" in answer["msg"]
        assert answer["changed_instances"] == [leaving] and reasons(answer)[leaving] == "registered"

    def test_mistakes_are_refused_before_anything_is_changed(self, world: World) -> None:
        leaving = members(world)[:1]
        mistakes: list[tuple[dict[str, Any], str, str]] = [
            ({"asg_name": "shard"}, "group_not_found", "Did you mean shared"),
            ({"instance_ids": ["ip-10-0-0-1"]}, "invalid_input", "cannot be the id of an EC2 instance"),
            ({"instance_ids": None}, "invalid_input", "every member of the group"),
            ({"min_healthy": -1}, "invalid_input", "min_healthy is -1"),
            ({"lease": "/nowhere/lease"}, "lock_lost", "given its lock back"),
        ]

        answers = [targets(world, "gone", leaving, **more) for more, _reason, _words in mistakes]

        assert [answer["reason"] for answer in answers] == [reason for _more, reason, _words in mistakes]
        assert [words for answer, (_more, _reason, words) in zip(answers, mistakes) if words not in answer["msg"]] == []
        assert changes(world) == []


class TestRegistered:
    def test_what_was_taken_out_comes_back_and_nothing_else(self, world: World) -> None:
        kept, others_doing, third = members(world)
        exclude(world, [kept, others_doing])
        world.aws(SOMEBODY)("elbv2").deregister_targets(
            TargetGroupArn=arn(world, "own"), Targets=[{"Id": others_doing}]
        )
        world.wait_until(lambda now: set(pool(world, "nodes")) == {third}, "the controller has taken them out")
        targets(world, "gone", [kept])
        exclude(world, [kept], None)

        answer = targets(world, "registered")

        assert answer["changed"] and answer["changed_instances"] == [kept]
        assert reasons(answer) == {kept: "registered", others_doing: "unmarked", third: "unmarked"}
        assert marks(world) == {}
        assert others_doing not in pool(world, "own")
        healthy = targets(world, "healthy", [kept])
        assert reasons(healthy) == {kept: "healthy"}
        assert [pool(world, name)[kept] for name in ALL] == ["healthy"] * 3

        before = len(changes(world))
        again = targets(world, "registered")
        assert not again["changed"] and set(reasons(again).values()) == {"unmarked"}
        assert len(changes(world)) == before

    def test_killed_in_the_middle_of_either_way_it_comes_back(self, world: World) -> None:
        kept = members(world)[:2]
        rest(world)
        killed(world, options(world, "gone", kept), "DeregisterTargets")
        killed(world, options(world, "registered", kept), "RegisterTargets", before=True)
        killed(world, options(world, "registered", kept), "RegisterTargets")
        killed(world, options(world, "registered", kept), "DeleteTags", before=True)
        assert set(marks(world)) == set(kept)
        answer = targets(world, "registered", kept)

        assert reasons(answer) == dict.fromkeys(kept, "registered")
        assert marks(world) == {}
        for name in ALL:
            assert set(kept) <= set(pool(world, name)) and "draining" not in pool(world, name).values()

    @pytest.mark.slow
    def test_who_still_drains_comes_back_at_once_on_his_own_port(self, world: World) -> None:
        one = members(world)[0]
        elbv2 = world.aws()("elbv2")
        attribute = {"Key": "deregistration_delay.timeout_seconds", "Value": "1800"}
        elbv2.modify_target_group_attributes(TargetGroupArn=arn(world, "own"), Attributes=[attribute])
        elbv2.register_targets(TargetGroupArn=arn(world, "own"), Targets=[{"Id": one, "Port": 32000}])
        killed(world, options(world, "gone", [one], cluster_name=""), "DeregisterTargets")
        assert set(pool(world, "own").values()) == {"draining", "healthy"}

        assert not targets(world, "registered", [one])["failed"]

        found = elbv2.describe_target_health(TargetGroupArn=arn(world, "own"))["TargetHealthDescriptions"]
        ports = {
            entry["Target"]["Port"]: entry["TargetHealth"]["State"] for entry in found if entry["Target"]["Id"] == one
        }
        assert set(ports) == {31080, 32000} and "draining" not in ports.values()

    @pytest.mark.slow
    def test_where_it_cannot_come_back_the_mark_goes_too(self, world: World) -> None:
        one, ended, third = members(world)
        rest(world)
        targets(world, "gone", [one, ended])
        world.aws(SOMEBODY)("elbv2").delete_target_group(TargetGroupArn=arn(world, "nodes"))
        world.actors.spot_loss(ended)
        world.wait_until(lambda now: ended not in now.running, "it goes")

        answer = targets(world, "registered", [one, ended])

        assert not answer["failed"], answer
        assert places(answer, one) == {"own": "registered", "classic": "registered", "nodes": "balancer_gone"}
        assert reasons(answer)[ended] == "instance_gone"
        assert marks(world) == {}
        assert ended not in {
            target["Id"] for call in changes(world, "RegisterTargets") for target in call.params["Targets"]
        }

    @pytest.mark.slow
    def test_check_mode_predicts(self, world: World) -> None:
        kept = members(world)[0]
        targets(world, "gone", [kept], cluster_name="")
        before = len(changes(world))

        answer = targets(world, "registered", check=True, diff=True)

        assert answer["changed"] and answer["changed_instances"] == [kept]
        assert reasons(answer)[kept] == "registered"
        sides = [answer["diff"][side]["registered"]["target group own"] for side in ("before", "after")]
        assert (kept in sides[0], kept in sides[1]) == (False, True)
        assert len(changes(world)) == before and kept not in pool(world, "own")


def replace_nodes(world: World, old: list[str], with_balancers: bool) -> None:
    """What a rollout does with one wave, in its order."""
    own: dict[str, Any] = {"poll_seconds": 0.1, "cluster_name": "rehearsal", "instance_ids": old}
    if with_balancers:
        assert not targets(world, "healthy", exclude_instance_ids=old)["failed"]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("node_cordon", {**own, "state": "cordoned", "exclude_from_load_balancers": with_balancers}),
        ("node_drain", {**own, "timeout": 60}),
        ("asg_detach_terminate", {**own, "asg_name": "shared", "decrement": True, "timeout": 60}),
    ]
    for name, arguments in steps:
        if name == "node_drain" and with_balancers:
            assert not targets(world, "gone", old)["failed"]
        answer = world.module(f"evergreen.eks.{name}", arguments)
        assert not answer["failed"], answer


class TestTraffic:
    def test_users_lose_no_request_while_all_nodes_are_replaced(self, world: World) -> None:
        clients = [world.add_client(name, "web", every=0.5, takes=3) for name in ALL]
        old = members(world)
        new = more_nodes(world, 6)
        for wave in (old[:1], old[1:]):
            replace_nodes(world, wave, with_balancers=True)

        assert members(world) == new
        assert world.record.notes("request_failed") == []
        for client in clients:
            assert sum(client.sent.values()) > 200
            assert set(old) | set(new) <= set(client.sent)

    def test_without_it_they_do(self, world: World) -> None:
        """The proof that the test above can fail."""
        world.add_client("nodes", "web", every=0.5, takes=3)
        more_nodes(world, 6)
        replace_nodes(world, members(world)[:3], with_balancers=False)

        assert {note["why"] for note in world.record.notes("request_failed")} <= {
            "the target went",
            "the target does not answer",
        }
        assert world.record.notes("request_failed")


def test_the_documented_permissions_are_enough_and_none_is_idle(world: World) -> None:
    asked = grant_only_what_is_documented(world)
    leaving = members(world)[0]
    rest(world)
    for state in ("healthy", "gone", "registered"):
        answer = targets(world, state, [leaving])
        assert not answer["failed"], answer

    documented = {action for action in granted_actions() if action.startswith("elasticloadbalancing:")}
    assert {action for action in asked.actions if action.startswith("elasticloadbalancing:")} == documented
    assert asked.actions - documented == {
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:CreateTags",
        "ec2:DeleteTags",
        "ec2:DescribeInstances",
    }
