# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""evergreen.eks.health_gate against the world: a picture is taken, something happens, and the gate says what."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.permissions import grant_only_what_is_documented, objects_of_limited_rules

from simulator.identities import TOOL
from simulator.scenarios import Deployment, NodeGroup, Scenario, StatefulSet
from simulator.scenarios.model import VERSION_LABEL
from simulator.world import World

FAST = 120.0
ON_NEW_NODES = {"simulator/troubled-on": f"{VERSION_LABEL}=2"}
WEB = Deployment("web", replicas=2)
SMALL = Scenario(groups=[NodeGroup("shared", size=2, max_size=4)], workloads=[WEB])
CRASHING = Deployment("web", replicas=2, annotations={"simulator/crashes-after": "1", **ON_NEW_NODES})
WITHOUT_IMAGE = StatefulSet("db", replicas=1, annotations={"simulator/image-pull-fails": "true", **ON_NEW_NODES})


@pytest.fixture
def picture(world: World) -> Path:
    return world.home / "cluster.picture"


def gate(world: World, state: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    arguments = {"cluster_name": world.scenario.cluster, "state": state, "poll_seconds": 0.1, **options}
    return world.module("evergreen.eks.health_gate", arguments, check=check)


def passed(world: World, picture: Path, **options: Any) -> dict[str, Any]:
    given = {"timeout": 3, "settle_seconds": 0.5, "looks": 3, **options}
    return gate(world, "passed", picture=str(picture), **given)


def let_it_age() -> None:
    """A picture of just now counts as a look; its time is in whole seconds."""
    time.sleep(1.5)


def kinds(answer: dict[str, Any]) -> dict[str, str]:
    return {item["object"]: item["kind"] for item in answer["worse"]}


def pods_of(world: World, app: str) -> list[dict[str, Any]]:
    items, _version = world.client().list("/api/v1/pods", label_selector=f"app={app}")
    return items


def reasons(world: World, app: str) -> set[str]:
    """Why its containers wait."""
    statuses = [one for pod in pods_of(world, app) for one in pod["status"].get("containerStatuses", [])]
    return {status["state"].get("waiting", {}).get("reason", "") for status in statuses}


def old_nodes(world: World) -> list[str]:
    return [node.name for node in world.beginning.nodes.values()]


def move_to_a_new_node(world: World, app: str) -> None:
    """A node of the new version comes, and a pod has to go there."""
    world.actors.set_desired("shared", 3)
    world.wait_until(lambda now: sum(node.ready for node in now.nodes.values()) == 3, "the new node Ready")
    for name in old_nodes(world):
        world.actors.cordon(name)
    pod = pods_of(world, app)[0]["metadata"]
    world.actors.delete_pod(pod["namespace"], pod["name"])


# ---- nothing happens


@pytest.mark.scenario(SMALL, speed=FAST)
def test_a_cluster_that_stays_as_it_was_passes_and_only_lists_are_asked_for(world: World, picture: Path) -> None:
    asked = grant_only_what_is_documented(world)
    taken = gate(world, "taken", picture=str(picture))
    assert taken["changed"] and taken["place"] == str(picture) and picture.stat().st_mode & 0o777 == 0o600
    assert taken["numbers"] == {
        "nodes": 2,
        "nodes_ready": 2,
        "pods": 6,
        "pods_ready": 6,
        "workloads": 3,
        "workloads_whole": 3,
    }
    young = passed(world, picture, looks=100, timeout=30)
    assert young["passed"] and young["looked"] == 1
    let_it_age()
    world.record.clear()
    answer = passed(world, picture)
    assert answer["passed"] and not answer["changed"] and answer["looked"] == 3
    assert (answer["taken"], answer["numbers"], answer["numbers_before"]) == (
        taken["taken"],
        taken["numbers"],
        taken["numbers"],
    )
    calls = Counter(call.operation for call in world.record.calls(author=TOOL, service="kubernetes"))
    assert calls == {
        "GET namespaces": 1,
        **{f"GET {kind}": 3 for kind in ("nodes", "pods", "deployments", "statefulsets", "daemonsets")},
    }
    assert {verb for verb, *_rest in asked.verbs} == {"get", "list"}


@pytest.mark.scenario(SMALL, speed=FAST)
def test_a_picture_is_kept_for_its_run_and_replaced_by_the_next(world: World, picture: Path) -> None:
    first = gate(world, "taken", picture=str(picture), run_id="run-1")
    world.actors.scale("web", 1)
    world.wait_until(lambda _now: len(pods_of(world, "web")) == 1, "one pod")
    again = gate(world, "taken", picture=str(picture), run_id="run-1")
    assert not again["changed"] and (again["taken"], again["numbers"]) == (first["taken"], first["numbers"])
    foretold = gate(world, "taken", picture=str(picture), run_id="run-2", check=True)
    assert foretold["changed"] and not gate(world, "taken", picture=str(picture), run_id="run-1")["changed"]
    other = gate(world, "taken", picture=str(picture), run_id="run-2")
    assert other["changed"] and other["numbers"]["pods"] == first["numbers"]["pods"] - 1
    assert gate(world, "taken", picture=str(picture), run_id="run-2", force=True)["changed"]


# ---- what closes the gate


@pytest.mark.scenario(
    Scenario(groups=[NodeGroup("shared", size=2, max_size=4)], workloads=[CRASHING, WITHOUT_IMAGE]), speed=FAST
)
def test_pods_that_do_not_work_on_new_nodes_close_the_gate_until_they_are_put_right(
    world: World, picture: Path
) -> None:
    gate(world, "taken", picture=str(picture))
    move_to_a_new_node(world, "web")
    world.wait_until(lambda _now: "CrashLoopBackOff" in reasons(world, "web"), "web crashing")
    move = pods_of(world, "db")[0]["metadata"]
    world.actors.delete_pod(move["namespace"], move["name"])
    world.wait_until(lambda _now: "ImagePullBackOff" in reasons(world, "db"), "db without image")
    world.clock.advance(600)  # by now web waits for five minutes between two crashes

    answer = passed(world, picture)
    assert answer["failed"] and answer["reason"] == "gate_closed" and not answer["passed"]
    assert kinds(answer) == {"Deployment default/web": "pod_crash_loop", "StatefulSet default/db": "pod_image"}
    assert "(CrashLoopBackOff) since" in answer["msg"] and ", on new nodes; it was well in the picture" in answer["msg"]
    assert answer["looked"] > 3

    looked = passed(world, picture, check=True)
    assert not looked["failed"] and not looked["passed"]
    assert kinds(looked).keys() == kinds(answer).keys(), "between two crashes it is web's restarts that are told"
    assert passed(world, picture, max_new_unhealthy=2)["passed"]
    assert passed(world, picture, ignore=[{"selector": "app in (web,db)"}])["passed"]

    for name in old_nodes(world):
        world.actors.cordon(name, False)
    (new,) = {node.name for node in world.snapshot().nodes.values()} - set(old_nodes(world))
    world.actors.cordon(new)
    for pod in [*pods_of(world, "web"), *pods_of(world, "db")]:
        if pod["spec"]["nodeName"] == new:
            world.actors.delete_pod("default", pod["metadata"]["name"])
    assert passed(world, picture, timeout=20)["passed"]


@pytest.mark.scenario(SMALL, speed=FAST)
def test_a_pod_that_finds_no_node_closes_the_gate_in_the_schedulers_words(world: World, picture: Path) -> None:
    gate(world, "taken", picture=str(picture))
    for name in old_nodes(world):
        world.actors.cordon(name)
    world.actors.delete_pod("default", pods_of(world, "web")[0]["metadata"]["name"])
    world.wait_until(lambda _now: any(p["status"]["phase"] == "Pending" for p in pods_of(world, "web")), "Pending")
    answer = passed(world, picture)
    assert answer["reason"] == "gate_closed" and kinds(answer) == {"Deployment default/web": "pod_pending"}
    (pending,) = [pod for pod in pods_of(world, "web") if pod["status"]["phase"] == "Pending"]
    (scheduled,) = [item for item in pending["status"]["conditions"] if item["type"] == "PodScheduled"]
    assert scheduled["message"] and scheduled["message"] in answer["msg"]
    assert "(now it has 1 of 2 Ready)" in answer["msg"]


@pytest.mark.scenario(SMALL, speed=FAST)
def test_a_node_that_turns_not_ready_closes_the_gate_and_opens_it_when_it_is_back(world: World, picture: Path) -> None:
    gate(world, "taken", picture=str(picture))
    hung = next(iter(world.beginning.nodes.values()))
    world.machines.frozen.add(hung.instance_id)
    world.wait_until(lambda now: not now.nodes[hung.instance_id].ready, "not Ready")
    answer = passed(world, picture)
    # Its DaemonSets' pods, which are not Ready with it, are not named again.
    assert answer["reason"] == "gate_closed" and kinds(answer)[f"Node {hung.name}"] == "node_not_ready"
    assert set(kinds(answer)) <= {f"Node {hung.name}", "Deployment default/web"}
    assert f"Node {hung.name} ({hung.instance_id}) is not Ready since" in answer["msg"]
    world.machines.frozen.clear()
    assert passed(world, picture, timeout=20)["passed"]


# ---- what does not


@pytest.mark.scenario(SMALL, speed=FAST)
def test_a_workload_that_somebody_scales_is_compared_with_what_it_wants_now(world: World, picture: Path) -> None:
    gate(world, "taken", picture=str(picture))
    world.actors.scale("web", 1)
    world.wait_until(lambda _now: len(pods_of(world, "web")) == 1, "one pod")
    assert passed(world, picture)["worse"] == []
    world.actors.scale("web", 6)
    assert passed(world, picture)["passed"]


@pytest.mark.scenario(SMALL, speed=FAST)
def test_what_was_bad_before_is_not_held_against_anybody(world: World, picture: Path) -> None:
    annotations = {"template": {"metadata": {"annotations": {"simulator/image-pull-fails": "true"}}}}
    world.client().patch("/apis/apps/v1/namespaces/default/deployments/web", {"spec": annotations})
    world.wait_until(lambda _now: "ImagePullBackOff" in reasons(world, "web"), "web without image")
    ill = [pod["metadata"] for pod in pods_of(world, "web") if pod["status"]["phase"] == "Pending"]
    gate(world, "taken", picture=str(picture))
    for pod in ill:  # its successor has another name
        world.actors.delete_pod(pod["namespace"], pod["name"])
    assert passed(world, picture)["worse"] == []


# ---- the operator's own conditions


def two_gates(expression: str) -> list[dict[str, str]]:
    return [
        {"name": "web is there", "expression": "length(pods[?labels.app=='web' && ready]) == `2`"},
        {"name": "mine", "expression": expression, "msg": "Ask the shop team."},
    ]


@pytest.mark.scenario(SMALL, speed=FAST)
def test_a_condition_of_the_operator_closes_the_gate(world: World, picture: Path) -> None:
    gate(world, "taken", picture=str(picture))
    assert passed(world, picture, gates=two_gates("length(nodes) == length(before.nodes)"))["passed"]
    answer = passed(world, picture, gates=two_gates("length(nodes) > `2`"))
    assert answer["failed"] and answer["reason"] == "user_gate"
    assert "gate 'mine' is not met: Ask the shop team" in answer["msg"]
    assert [item["name"] for item in answer["unmet"]] == ["mine"]


@pytest.mark.scenario(SMALL, speed=FAST)
@pytest.mark.parametrize("state", ["taken", "passed"])
def test_a_broken_condition_is_refused_before_anything_is_read(world: World, picture: Path, state: str) -> None:
    answer = gate(world, state, picture=str(picture), gates=two_gates("lenght(nodes) > `2`"))
    assert answer["failed"] and answer["reason"] == "invalid_input" and "gate 'mine'" in answer["msg"]
    assert world.record.calls(author=TOOL, service="kubernetes") == []


# ---- where the picture is


def beside_checkpoint(world: World, store: str, state: str, **options: Any) -> dict[str, Any]:
    checkpoints = {"store": store, **({"bucket": "state"} if store == "s3" else {})}
    return gate(world, state, asg_name="shared", checkpoints=checkpoints, timeout=3, **options)


def kept_in_a_file(world: World) -> bool:
    (found,) = (world.home / "state").rglob("*.picture")
    return found.name == "shared.picture" and found.stat().st_mode & 0o777 == 0o600


def kept_in_a_config_map(world: World) -> bool:
    found = world.client().get("/api/v1/namespaces/kube-system/configmaps/evergreen-eks-shared")
    return list(found["binaryData"]) == ["picture.gz"]


def kept_in_a_bucket(world: World) -> bool:
    keys = [one["Key"] for one in world.aws()("s3").list_objects_v2(Bucket="state")["Contents"]]
    return keys == ["evergreen.eks/123456789012/eu-central-1/rehearsal/shared.picture"]


@pytest.mark.scenario(SMALL, speed=FAST)
@pytest.mark.parametrize(
    ("store", "kept"),
    [("file", kept_in_a_file), ("configmap", kept_in_a_config_map), ("s3", kept_in_a_bucket)],
)
def test_the_picture_of_a_rollout_is_with_its_checkpoint(
    world: World, store: str, kept: Callable[[World], bool]
) -> None:
    world.aws()("s3").create_bucket(Bucket="state", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    grant_only_what_is_documented(world, store)
    assert beside_checkpoint(world, store, "taken", run_id="run-1", check=True)["changed"]
    missing = beside_checkpoint(world, store, "passed", run_id="run-1")
    assert missing["reason"] == "picture_missing" and "state: taken" in missing["msg"]
    assert beside_checkpoint(world, store, "passed", run_id="run-1", check=True)["passed"]

    assert beside_checkpoint(world, store, "taken", run_id="run-1")["changed"]
    assert kept(world)
    assert not beside_checkpoint(world, store, "taken", run_id="run-1")["changed"]
    assert beside_checkpoint(world, store, "passed", run_id="run-1")["passed"]
    assert beside_checkpoint(world, store, "passed", run_id="run-2")["reason"] == "picture_missing"
    maps = {call.target for call in world.record.calls(author=TOOL) if call.operation.endswith(" configmaps")}
    named = {name.replace("GROUP", "shared") for name in objects_of_limited_rules("configmaps", store)}
    assert maps <= named


@pytest.mark.scenario(SMALL, speed=FAST)
def test_a_picture_of_another_cluster_and_what_is_none_are_refused(world: World, picture: Path) -> None:
    gate(world, "taken", picture=str(picture))
    document = json.loads(picture.read_text())
    picture.write_text(json.dumps({**document, "cluster": "another"}))
    assert passed(world, picture)["reason"] == "picture_foreign"
    picture.write_text("not a picture")
    assert passed(world, picture)["reason"] == "picture_unreadable"
    assert gate(world, "taken", picture=str(picture))["reason"] == "picture_unreadable"
    assert picture.read_text() == "not a picture"
    assert gate(world, "taken", picture=str(picture), force=True)["changed"]


# ---- trouble


@pytest.mark.scenario(SMALL, speed=FAST)
def test_an_outage_of_the_control_plane_is_no_look_and_is_waited_out(world: World, picture: Path) -> None:
    gate(world, "taken", picture=str(picture))
    let_it_age()
    journal = world.home / "journal.jsonl"
    world.actors.when(lambda: world.outage(180), operation="^GET nodes$")
    answer = passed(world, picture, timeout=20, journal=str(journal))
    assert answer["passed"] and answer["looked"] == 3
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert "trouble" in [line["kind"] for line in lines]
    assert [line["kind"] for line in lines[-2:]] == ["picture_compared", "gate_passed"]


@pytest.mark.scenario(SMALL, speed=FAST)
def test_a_missing_right_is_named(world: World, picture: Path) -> None:
    world.kubernetes.authorize = lambda _user, _verb, _group, resource, _sub: resource != "deployments"
    answer = gate(world, "taken", picture=str(picture))
    assert answer["failed"] and answer["reason"] == "kubernetes_forbidden"
    assert "Grant the verb list on deployments.apps" in answer["msg"] and not picture.exists()


@pytest.mark.scenario(SMALL, speed=FAST)
def test_as_a_task_it_answers_the_same(world: World, picture: Path) -> None:
    options = {"cluster_name": world.scenario.cluster, "picture": str(picture), "poll_seconds": 0.1, "timeout": 2}
    assert world.task("evergreen.eks.health_gate", {**options, "state": "taken"})["changed"]
    gates = [{"name": "mine", "expression": "length(nodes) > `2`"}]
    answer = world.task("evergreen.eks.health_gate", {**options, "state": "passed", "gates": gates})
    assert answer["failed"] and answer["reason"] == "user_gate" and answer["looked"] > 3
