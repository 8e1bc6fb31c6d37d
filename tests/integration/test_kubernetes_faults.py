# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes API in trouble while a rollout runs: what passes is outlived, what does not stops the run resumably.

Every fault is one of the wire: an answer as real API servers give it (``simulator/kubernetes/troubles.py``), a lost
connection, silence. A test states how it ends, and judges that by the world's record.
"""

from __future__ import annotations

from typing import Any

import pytest
from integration.rollouts import problems, roll

from simulator.identities import TOOL, TOOL_KEY
from simulator.kubernetes import troubles
from simulator.kubernetes.authentication import everything_allowed
from simulator.record import Call, Fault
from simulator.runs import Run
from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario
from simulator.world import World

EVICTION = "POST pods/eviction"
IN_ONE_WAVE = {"eks_canary": 0, "eks_max_surge": "100%"}
TWO_NODES = Scenario(
    groups=[NodeGroup("shared", size=2)],
    workloads=[
        Deployment("web", replicas=4, group="shared", budget=Budget(min_available=3)),
        Deployment("cache", replicas=1, group="shared", emptydir=True),
    ],
)
STANDING = NodeGroup("shared", size=3, outdated=False)
ONE_BY_ONE = Scenario(
    groups=[STANDING],
    workloads=[Deployment("web", replicas=9, stop=120, grace=120, budget=Budget(max_unavailable=1))],
)

BEFORE, AFTER = {"reset": "before"}, {"reset": "after"}


def disturb(world: World, operation: str, *effects: dict[str, Any], skip: int = 0) -> list[Fault]:
    """One trouble after the other for the tool's requests of that kind: each request meets the next of them."""
    return [
        world.faults.add("kubernetes", operation, author=TOOL, skip=skip + number, **effect)
        for number, effect in enumerate(effects)
        if effect
    ]


def answers(*failures: Any) -> list[dict[str, Any]]:
    return [{"error": failure} for failure in failures]


def unmet(faults: list[Fault]) -> list[str]:
    """The troubles that nobody met: then a test has proved less than it says."""
    return [
        f"{fault.operation.pattern} {fault.error or fault.reset or fault.stream}" for fault in faults if not fault.hits
    ]


def evictions(world: World, status: int | None = None) -> list[Call]:
    found = world.record.calls(author=TOOL, operation=EVICTION)
    return [call for call in found if status in (None, call.status)]


def node_with(world: World, workload: str) -> str:
    return next(node for pod, node in sorted(world.snapshot().pods.items()) if pod.startswith(f"default/{workload}"))


def pods_on(world: World, node: str) -> list[str]:
    return sorted(pod for pod, where in world.snapshot().pods.items() if where == node)


def cordoned(world: World, workload: str) -> str:
    """A node with pods of that workload, cordoned by the operator."""
    node = node_with(world, workload)
    world.client().patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})
    world.record.clear()
    return node


def drain(world: World, node: str, **options: Any) -> dict[str, Any]:
    arguments = {"cluster_name": world.scenario.cluster, "nodes": [node], "poll_seconds": 0.2, "timeout": 60}
    return world.module("evergreen.eks.node_drain", {**arguments, **options})


# --- what passes -----------------------------------------------------------------------------------------------------


@pytest.mark.scenario(TWO_NODES)
def test_whatever_passes_by_itself_is_outlived_in_a_rollout(world: World):
    """Flow control, 5xx of every kind, and lost connections before and after the deed, on every kind of request."""
    met = [
        *disturb(
            world,
            "^GET nodes$",
            *answers(troubles.flow_control(1), troubles.ETCD, troubles.UNAVAILABLE, troubles.BAD_GATEWAY),
            *answers(troubles.TIMEOUT, troubles.SERVER_TIMEOUT, troubles.INITIALIZING),
            BEFORE,
        ),
        *disturb(
            world,
            "^PATCH nodes$",
            *answers(troubles.SHUTTING_DOWN, troubles.TIMEOUT, troubles.WEBHOOK_UNREACHABLE),
            BEFORE,
            AFTER,
            AFTER,
            skip=1,
        ),
        *disturb(
            world,
            f"^{EVICTION}$",
            AFTER,
            *answers(troubles.flow_control(1), troubles.UNAVAILABLE, troubles.TIMEOUT, troubles.WEBHOOK_UNREACHABLE),
            *answers(troubles.denied("not while the backup runs"), troubles.denied("later", 400, ""), troubles.ETCD),
            BEFORE,
            AFTER,
        ),
        *disturb(world, "^WATCH pods$", {"error": troubles.TOO_OLD}, {"stream": "expired"}),
        *disturb(world, "^GET pods$", *answers(troubles.TIMEOUT, troubles.flow_control(0)), AFTER),
        *disturb(world, "^POST leases$", AFTER),
        *disturb(world, "^PUT leases$", AFTER, {"error": troubles.UNAVAILABLE}, BEFORE),
    ]
    run = roll(world, eks_lock_seconds=4, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert unmet(met) == []
    assert problems(world) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_three_minutes_without_a_control_plane_in_every_stage_are_outlived(world: World):
    """One outage as each stage begins to record, and one in the middle of each wait; controllers are away, too.

    Each is longer than the run's lock is good for without being renewed: then nothing is changed until it is again.
    """
    outages: list[str] = []

    def outage(when: str) -> Any:
        def begin() -> None:
            outages.append(when)
            world.outage(180)

        return begin

    # Each call of rollout_state asks who it is before it reads: the plan, reserve, scale_up, cordon, detach, ...
    for number, stage in enumerate(("reserve", "scale_up", "cordon", "detach", "surplus", "restore", "finished"), 1):
        world.actors.when(outage(stage), operation="^GetCallerIdentity$", service="sts", skip=number)
    world.actors.when(outage("wait_ready"), operation="^(SetDesiredCapacity|UpdateAutoScalingGroup)$", skip=1)
    world.actors.when(outage("cordoning"), operation="^PATCH nodes$", skip=4)
    world.actors.when(outage("draining"), operation=f"^{EVICTION}$", skip=1)
    run = roll(world, eks_lock_seconds=2, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert len(outages) == 10, outages
    assert world.server.refused >= len(outages)
    assert "no answer for now, trying on" in run.output
    assert problems(world) == []


@pytest.mark.scenario(ONE_BY_ONE)
def test_a_drain_outlives_all_that_can_happen_to_its_watch(world: World):
    """That of its pods, and that of the budgets."""
    node = cordoned(world, "web")
    there = pods_on(world, node)
    met = disturb(
        world,
        "^WATCH pods$",
        {"stream": "half"},
        {"error": troubles.TOO_OLD},
        {"stream": "expired"},
        {"error": troubles.flow_control(0)},
        {"stream": "end"},
        {"error": troubles.UNAVAILABLE},
        {"stream": "silence"},
    )
    met += disturb(
        world,
        "^WATCH poddisruptionbudgets$",
        {"error": troubles.TOO_OLD},
        {"stream": "half"},
        {"error": troubles.flow_control(0)},
        {"stream": "end"},
        {"error": troubles.UNAVAILABLE},
    )
    met += disturb(world, "^GET poddisruptionbudgets$", {"error": troubles.TIMEOUT})
    answer = drain(world, node)
    assert not answer["failed"], answer
    assert answer["nodes"][node]["evicted"] == there
    assert pods_on(world, node) == []
    assert unmet(met) == []
    assert world.record.notes("budget_violated") == []


@pytest.mark.scenario(ONE_BY_ONE)
def test_flow_control_lets_all_evictions_rest_and_a_budget_only_its_own(world: World):
    """The one asks for a pause of two seconds (two minutes of this world), the other says which budget it is.

    And whatever becomes of the answers, the module knows in the end what it has evicted. It may not read the budgets,
    so it has to try.
    """
    world.kubernetes.authorize = lambda user, verb, group, *_rest: "evergreen" not in user or group != "policy"
    node = cordoned(world, "web")
    there = pods_on(world, node)
    met = disturb(
        world,
        f"^{EVICTION}$",
        *answers(troubles.flow_control(2)),
        {},
        *answers(troubles.UNAVAILABLE, troubles.ETCD),
        BEFORE,
        AFTER,
        AFTER,
        skip=1,
    )
    answer = drain(world, node)
    assert not answer["failed"], answer
    assert unmet(met) == []
    assert answer["nodes"][node]["evicted"] == there
    (limited,) = [call for call in evictions(world, 429) if call.error == ""]
    tries: dict[str, list[Call]] = {}
    for call in evictions(world):
        tries.setdefault(call.target, []).append(call)
    again = [call for calls in tries.values() for call in calls[1:]]
    assert min(call.at for call in again) - limited.at >= 2 * 60
    assert [call for call in evictions(world, 429) if call.error == "TooManyRequests"], "no budget said no"
    assert pods_on(world, node) == []


@pytest.mark.scenario(Scenario(groups=[STANDING], workloads=[Deployment("web", replicas=6, stop=90)]))
def test_a_token_that_ends_in_the_middle_and_an_answer_that_takes_ten_seconds(world: World):
    """A new token is made; and an eviction that the server holds for ten seconds is waited for, not sent twice."""
    node = cordoned(world, "web")
    there = pods_on(world, node)
    world.actors.when(world.kubernetes.authenticator.forget_tokens, operation=f"^{EVICTION}$")
    (slow,) = disturb(world, f"^{EVICTION}$", {"stall": 10 * world.clock.speed}, skip=1)
    answer = drain(world, node)
    assert not answer["failed"], answer
    assert slow.hits == 1
    assert answer["nodes"][node]["evicted"] == there == sorted(call.target for call in evictions(world, 201))
    assert [call for call in world.record.calls(author="unknown") if call.status == 401], "the old token was not used"


@pytest.mark.scenario(Scenario(groups=[STANDING], workloads=[Deployment("web", replicas=3, stop=20)]))
def test_a_drain_whose_time_ends_in_an_outage_is_decided_after_it(world: World):
    """Nothing more is evicted, but a node that is seen to be empty then is drained."""
    node = cordoned(world, "web")
    world.actors.when(lambda: world.outage(240), operation=f"^{EVICTION}$")
    answer = drain(world, node, timeout=2)
    assert not answer["failed"], answer
    assert answer["nodes"][node]["drained"] and answer["changed"]
    assert len(evictions(world)) == 1


@pytest.mark.scenario(Scenario(groups=[STANDING]))
def test_each_cordon_is_decided_on_a_look_of_its_own_also_in_trouble(world: World):
    """A cordon whose answer was lost, or that was refused, is never simply sent again: the floor is looked at first."""
    nodes = sorted(node.name for node in world.snapshot().nodes.values())[:2]
    met = disturb(world, "^PATCH nodes$", AFTER, *answers(troubles.flow_control(1), troubles.TIMEOUT), BEFORE)
    arguments = {"cluster_name": world.scenario.cluster, "nodes": nodes, "asg_name": "shared", "min_ready": 1}
    answer = world.module("evergreen.eks.node_cordon", {**arguments, "poll_seconds": 0.2})
    assert not answer["failed"], answer
    assert unmet(met) == []
    assert [item["reason"] for item in answer["nodes"].values()] == ["changed", "changed"]
    told = [call.operation for call in world.record.calls(author=TOOL, service="kubernetes")]
    assert told.count("PATCH nodes") == 5
    assert all(one != other for one, other in zip(told, told[1:]) if one == "PATCH nodes"), told


# --- what does not pass ----------------------------------------------------------------------------------------------


def stopped(run: Run, *words: str) -> None:
    """The run ended unfinished, said why, and how to go on."""
    assert run.rc != 0
    for text in (*words, "To go on: ansible-playbook evergreen.eks.rollout"):
        assert text in run.stdout, run.output


@pytest.mark.scenario(TWO_NODES)
def test_expired_credentials_and_an_outage_without_end_stop_the_rollout_resumably(world: World):
    """Also where the checkpoint is in the very cluster that is away."""
    options = {**IN_ONE_WAVE, "eks_state_store": "configmap"}
    world.actors.when(lambda: world.cloud.expired.add(TOOL_KEY), operation=f"^{EVICTION}$")
    stopped(roll(world, **options), "The AWS credentials have expired", "Renew the credentials and run again")
    world.cloud.expired.clear()

    hours = 100 * 3600
    began = world.clock.now()
    # It begins when the drain is over: the stage detach asks first who it is.
    world.actors.when(lambda: world.outage(hours), operation="^GetCallerIdentity$", service="sts", skip=4)
    stopped(roll(world, **options), "The Kubernetes API", "cannot be reached")
    assert world.server.refused and world.clock.now() < began + hours, "the last words did not wait for its end"
    world.clock.advance(hours)

    run = roll(world, **options)
    assert run.rc == 0, run.output
    assert problems(world) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_a_right_that_is_taken_away_stops_the_rollout_at_once_and_is_named(world: World):
    def take_it_away() -> None:
        world.kubernetes.authorize = lambda user, verb, group, resource, subresource: subresource != "eviction"

    world.actors.when(take_it_away, operation=f"^{EVICTION}$")
    stopped(roll(world, **IN_ONE_WAVE), "Grant the verb create on pods/eviction to the identity in use")
    assert [call.status for call in evictions(world)].count(403) <= 8, "those under way at that moment"

    world.kubernetes.authorize = everything_allowed
    run = roll(world, **IN_ONE_WAVE)
    assert run.rc == 0, run.output
    assert problems(world) == []


@pytest.mark.scenario(Scenario(groups=[STANDING], workloads=[Deployment("web", replicas=6, stop=60)]))
def test_a_token_that_stays_refused_stops_a_drain_and_another_goes_on(world: World):
    """A cluster that accepted us before gets six polls to do so again; then the missing access entry is named."""
    node = cordoned(world, "web")
    there = pods_on(world, node)
    known = world.kubernetes.authenticator.find_user

    def forget_us() -> None:
        world.kubernetes.authenticator.find_user = lambda access_key: None

    world.actors.when(forget_us, operation=f"^{EVICTION}$", before=True)
    answer = drain(world, node)
    assert answer["failed"] and answer["reason"] == "kubernetes_unauthorized"
    assert "access entry" in answer["msg"] and answer["nodes"][node]["reason"] == "stopped"
    refused = [call for call in world.record.calls(author="unknown") if call.status == 401]
    assert len(refused) > 2, "a moment's refusal is outlived"

    world.kubernetes.authenticator.find_user = known
    again = drain(world, node)
    assert not again["failed"], again
    assert sorted(call.target for call in evictions(world, 201)) == there
