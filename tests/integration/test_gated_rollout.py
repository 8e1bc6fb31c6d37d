# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout with users behind its load balancers, with gates, and with its operator's own tasks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from integration.rollouts import (
    lose_checkpoints,
    own_tasks,
    problems,
    restore,
    roll,
    roll_until_killed,
    told,
)

from simulator.checks import EXCLUDE_FROM_BALANCERS
from simulator.identities import TOOL
from simulator.runs import REPOSITORY
from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario
from simulator.scenarios.model import VERSION_LABEL
from simulator.world import World

# Three kinds of load balancers: attached to the group, one of them classic, and one of the cluster's controller.
ALL = ("own", "classic", "nodes")
SHOP = Scenario(
    groups=[NodeGroup("shared", size=2, target_groups=["own"], load_balancers=["classic"])],
    workloads=[Deployment("web", replicas=2, stop=10, budget=Budget(max_unavailable=1))],
    controller_target_groups=["nodes"],
    deregistration_delay=60,
)
ONE_NODE = replace(SHOP.with_group("shared", size=1), workloads=[Deployment("web", replicas=2)])
CRASHES_ON_NEW_NODES = {"simulator/crashes-after": "1", "simulator/troubled-on": f"{VERSION_LABEL}=2"}
CRASHING = Scenario(
    groups=[NodeGroup("shared", size=2)],
    workloads=[Deployment("web", replicas=2, annotations=CRASHES_ON_NEW_NODES)],
)
IN_ONE_WAVE = {"eks_canary": 0, "eks_max_surge": "100%"}
HOOKS = REPOSITORY / "examples" / "hooks"
OPEN_SHOP = {"name": "the shop is open", "expression": "length(pods[?labels.app=='web' && ready]) >= `1`"}


def pool(world: World, name: str) -> dict[str, str]:
    """instance -> state"""
    with world.cloud.lock:
        world.cloud.settle()
        found = world.cloud.balancers.pool(world.provisioner.target_groups.get(name, name)).targets.values()
        return {target.target_id: target.state for target in found}


@contextmanager
def team() -> Iterator[tuple[str, list[tuple[str, str, Any]], list[Any]]]:
    """A chat, a shop and an Alertmanager: their address, what they were asked (verb, path, body), and the alerts."""
    asked: list[tuple[str, str, Any]] = []
    alerts: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(("GET", self.path.partition("?")[0], None))
            self._answer(alerts if self.path.startswith("/api/v2/alerts?") else "welcome")

        def do_POST(self) -> None:
            asked.append(("POST", self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self._answer("ok")

        def _answer(self, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Nothing to the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked, alerts
    finally:
        server.shutdown()
        server.server_close()


def hooks(world: World, url: str) -> dict[str, Any]:
    """The variables with which a run uses all examples of tasks."""
    return {
        "eks_tasks_before_wave": str(HOOKS / "no_alerts.yml"),
        "eks_tasks_after_drain": json.dumps([str(HOOKS / "smoke_test.yml")]),
        "eks_tasks_after_wave": "examples/hooks/tell_the_team.yml",
        "eks_tasks_after_group": ["examples/hooks/record_the_change.yml"],
        "alertmanager_url": url,
        "shop_url": f"{url}/shop",
        "chat_webhook": f"{url}/chat",
        "log_of_changes": str(world.home / "changes.csv"),
    }


@pytest.mark.scenario(SHOP)
def test_users_lose_no_request_and_the_operators_tasks_are_run_at_their_moments(world: World) -> None:
    old = sorted(world.beginning.groups["shared"].instances)
    clients = [world.add_client(name, "web", every=0.5, takes=3) for name in ALL]
    with team() as (url, asked, _alerts):
        run = roll(world, eks_gates=json.dumps([OPEN_SHOP]), **IN_ONE_WAVE, **hooks(world, url))
    assert run.rc == 0, run.output
    assert world.record.notes("request_failed") == []
    assert problems(world) == []

    new = sorted(world.snapshot().groups["shared"].instances)
    for client in clients:
        assert sum(client.sent.values()) > 100
        assert {*old, *new} <= set(client.sent)
    for name in ALL:
        assert pool(world, name) == dict.fromkeys(new, "healthy")
    cordoned = max(note.at for note in world.record.notes("cordoned"))
    left = [call.at for call in world.record.calls(author=TOOL) if call.operation.startswith("Deregister")]
    evicted = min(note.at for note in world.record.notes("evicted"))
    assert cordoned < min(left) and max(left) + SHOP.deregistration_delay <= evicted

    assert [path for _verb, path, _body in asked] == ["/api/v2/alerts", "/shop", "/chat"]
    (said,) = [body["text"] for _verb, _path, body in asked if body]
    assert said.startswith("shared in rehearsal: wave 1 of 1 is done, ")
    assert all(instance in said for instance in old)
    (line,) = (world.home / "changes.csv").read_text().splitlines()
    assert line.endswith(",rehearsal,shared,2")


@pytest.mark.scenario(CRASHING)
def test_a_closed_gate_stops_the_line_keeps_the_capacity_and_the_next_run_goes_on(world: World) -> None:
    gate = {"eks_gate_timeout": "4s", "eks_gate_settle_seconds": 1, "eks_on_failure": "restore"}
    own = own_tasks(world)
    run = roll(world, eks_max_surge=1, eks_tasks_after_wave=own, **gate)
    assert run.rc != 0
    assert "stopped in 'Wait until the cluster is no worse than at the beginning, before wave 2'" in run.stdout
    assert "Deployment default/web" in run.stdout and "CrashLoopBackOff" in run.stdout
    assert "Done: 1" in run.stdout and "Untouched: 1" in run.stdout
    assert "To go on: ansible-playbook evergreen.eks.rollout" in run.stdout
    (untouched,) = set(world.snapshot().groups["shared"].instances) & set(world.beginning.groups["shared"].instances)
    assert not world.snapshot().nodes[untouched].unschedulable
    assert world.snapshot().groups["shared"].desired == 3

    cured = {"template": {"metadata": {"annotations": dict.fromkeys(CRASHES_ON_NEW_NODES)}}}
    world.client().patch("/apis/apps/v1/namespaces/default/deployments/web", {"spec": cured})
    run = roll(world, eks_max_surge=1, eks_tasks_after_wave=own)
    assert run.rc == 0, run.output
    assert problems(world) == []
    # Nobody knows whether those of the first wave had come to their end.
    (replaced,) = set(world.beginning.groups["shared"].instances) - {untouched}
    assert told(world) == [f"after_wave 1 {replaced}", f"after_wave 1 {replaced}", f"after_wave 2 {untouched}"]


@pytest.mark.scenario(SHOP)
def test_conditions_and_tasks_of_the_operator_that_fail_give_nothing_up(world: World) -> None:
    """A condition that is not met, then a task that fails, each before the first wave."""
    never = {"name": "the shop is huge", "expression": "length(pods) > `1000`", "msg": "We want a huge shop."}
    run = roll(world, eks_gates=[never], eks_gate_timeout=1, eks_on_failure="restore")
    assert run.rc != 0
    assert "gate 'the shop is huge' is not met: We want a huge shop." in run.stdout
    assert "To go back: ansible-playbook evergreen.eks.restore" in run.stdout

    with team() as (url, _asked, alerts):
        alerts.append({"labels": {"alertname": "ShopDown", "severity": "critical"}})
        run = roll(world, eks_on_failure="restore", **hooks(world, url))
    assert run.rc != 0
    assert "the task 'Go on only without them' of " in run.stdout
    assert "no_alerts.yml (before_wave) failed: ShopDown before wave 1 of 2" in run.stdout
    assert world.record.notes("cordoned") == world.record.notes("instance_launched") == []
    now = world.snapshot().groups["shared"]
    assert now.protects_new and "evergreen.eks/run" in now.tags, "nothing is put back"


@pytest.mark.scenario(SHOP)
def test_files_and_conditions_that_cannot_be_meant_are_refused_before_any_change(world: World) -> None:
    for own, words in (
        ({"eks_tasks_after_wave": "nowhere.yml"}, f"There is no file {REPOSITORY}/nowhere.yml"),
        ({"eks_gates": [{"name": "open", "expression": "length(pods"}]}, "of gate 'open' (number 1) is not JMESPath"),
    ):
        run = roll(world, **own)
        assert run.rc != 0
        assert words in run.output
    assert world.record.calls(author=TOOL, mutating=True) == []


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.scenario(SHOP)
def test_the_way_back_puts_nodes_into_their_load_balancers_again(world: World, lost: bool) -> None:
    """Killed while it drains; and the way back is killed before it has put anybody back."""
    old = sorted(world.beginning.groups["shared"].instances)
    clients = [world.add_client(name, "web", every=0.5, takes=3) for name in ALL]
    roll_until_killed(world, "kubernetes", "^POST pods/eviction$", before=True, **IN_ONE_WAVE)
    assert not set(old) & set(pool(world, "own"))
    if lost:
        lose_checkpoints(world)
    roll_until_killed(world, "elbv2", "^RegisterTargets$", before=True, playbook="evergreen.eks.restore")
    run = restore(world, eks_load_balancers=lost is False)
    assert run.rc == 0, run.output
    assert problems(world, {"shared": []}) == []
    for name in ALL:
        world.wait_until(lambda _now, name=name: pool(world, name) == dict.fromkeys(old, "healthy"), "healthy again")
    assert all(EXCLUDE_FROM_BALANCERS not in node.labels for node in world.snapshot().nodes.values())
    if not lost:
        assert [client.failures for client in clients] == [[], [], []]


@pytest.mark.slow
@pytest.mark.scenario(SHOP.with_group("shared", outdated=False))
def test_what_an_ended_run_has_left_out_of_load_balancers_is_put_back_and_an_operators_own_is_not(
    world: World,
) -> None:
    ours, theirs = sorted(world.beginning.groups["shared"].instances)
    for instance, run_id in ((ours, "20261121T010203-4f2a9c"), (theirs, "")):
        gone = {"asg_name": "shared", "instance_ids": [instance], "state": "gone", "run_id": run_id, "min_healthy": 0}
        answer = world.module("evergreen.eks.lb_targets", {**gone, "poll_seconds": 0.1})
        assert not answer["failed"], answer
    by_hand = [{"Key": "evergreen.eks/out-of/elb/classic", "Value": "/0"}]
    world.aws()("ec2").create_tags(Resources=[ours], Tags=by_hand)
    run = roll(world)
    assert run.rc == 0, run.output
    assert f"{ours} to be put back into load balancers" in run.stdout
    assert (pool(world, "own"), pool(world, "classic")) == ({ours: "healthy"}, {})


@pytest.mark.slow
@pytest.mark.scenario(SHOP)
def test_new_nodes_that_get_no_traffic_stop_the_rollout_before_any_old_one_is_touched(world: World) -> None:
    old = sorted(world.beginning.groups["shared"].instances)
    client = world.add_client("own", "web", every=0.5, takes=3)
    # One of the old ones fails its health checks, too, and has done so before: that must not be in anybody's way.
    ill, well = old
    world.cloud.balancers.checks[world.provisioner.target_groups["own"]] = lambda instance_id: instance_id == well
    world.wait_until(lambda _now: pool(world, "own")[ill] == "unhealthy", "ill before the rollout")
    run = roll(world, eks_ready_timeout=8, eks_on_failure="restore", **IN_ONE_WAVE)
    assert run.rc != 0
    assert "stopped in 'Wait until its new nodes get traffic, wave 1'" in run.stdout, run.output
    assert "in target group own: unhealthy" in run.stdout and f"{ill} in target group" not in run.stdout
    assert "All that it took is put back." in run.stdout
    cordoned = {note["node"] for note in world.record.notes("cordoned")}
    assert not cordoned & {node.name for node in world.beginning.nodes.values()}
    assert problems(world, {"shared": []}) == []
    assert pool(world, "own") == {ill: "unhealthy", well: "healthy"}
    assert client.failures == []


@pytest.mark.slow
@pytest.mark.scenario(ONE_NODE)
def test_a_group_whose_only_node_may_be_missing_leaves_its_load_balancers_empty_meanwhile(world: World) -> None:
    run = roll(world, eks_max_surge=0, eks_max_unavailable=1)
    assert run.rc == 0, run.output
    assert problems(world, max_unavailable={"shared": 1}) == []
    assert pool(world, "own") == dict.fromkeys(world.snapshot().groups["shared"].instances, "healthy")
