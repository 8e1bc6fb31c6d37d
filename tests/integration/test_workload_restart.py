# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module workload_restart and the role fargate: new pods once, by their controllers' own ways, awaited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.permissions import grant_only_what_is_documented

from simulator.identities import TOOL
from simulator.runs import kill_group, start_module
from simulator.scenarios import (
    VAULT,
    Budget,
    DaemonSet,
    Deployment,
    FargateProfile,
    Job,
    NodeGroup,
    Pod,
    Scenario,
    Sidecar,
    StatefulSet,
)
from simulator.world import World

CLUSTER = "rehearsal"
MODULE = "evergreen.eks.workload_restart"
WORLD = Scenario(
    version="1.31",
    groups=[NodeGroup("shared", size=2, outdated=False)],
    workloads=[
        Deployment("web", "shop", 4, "shared", Budget(max_unavailable=1), labels={"tier": "front"}),
        StatefulSet("db", "shop", 2, "shared", labels={"tier": "back"}),
        DaemonSet("agent", "shop"),
        Deployment("checkout", "shop", 2, "shared", annotations=VAULT),
        Deployment("reports", "batch", 2),
        Job("nightly", "batch", 1, stop=2),
        Pod("by-hand", "batch"),
    ],
    fargate=[FargateProfile("batch", namespace="batch")],
    sidecars=[Sidecar("vault.hashicorp.com/agent-inject", container="vault-agent")],
)
pytestmark = pytest.mark.scenario(WORLD, speed=120)
BEGAN = "2026-11-21T00:00:00Z"
PATHS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}


def restart(world: World, **options: Any) -> dict[str, Any]:
    check = options.pop("check", False)
    arguments = {"cluster_name": CLUSTER, "poll_seconds": 0.5, **options}
    return world.module(MODULE, arguments, check=check)


def patches(world: World) -> list[str]:
    """What the tool has changed in the cluster, as namespace/name."""
    return [call.target for call in world.record.calls(author=TOOL, service="kubernetes", mutating=True)]


def pods(world: World, namespace: str, start: str) -> dict[str, str]:
    """Name -> uid of the pods whose names begin so."""
    items = world.client().get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    return {
        item["metadata"]["name"]: item["metadata"]["uid"]
        for item in items
        if item["metadata"]["name"].startswith(start) and not item["metadata"].get("deletionTimestamp")
    }


def workload(world: World, kind: str, namespace: str, name: str) -> dict[str, Any]:
    return world.client().get(f"/apis/apps/v1/namespaces/{namespace}/{PATHS[kind]}/{name}")


def restarted_at(world: World, kind: str, namespace: str, name: str) -> str:
    template = workload(world, kind, namespace, name)["spec"]["template"]["metadata"]
    return (template.get("annotations") or {}).get("kubectl.kubernetes.io/restartedAt", "")


def kubelets(world: World, namespace: str = "batch") -> dict[str, str]:
    """Pod -> the version of the kubelet that it runs on."""
    client = world.client()
    nodes = {one["metadata"]["name"]: one["status"]["nodeInfo"] for one in client.get("/api/v1/nodes")["items"]}
    found = client.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    return {one["metadata"]["name"]: nodes[one["spec"]["nodeName"]]["kubeletVersion"] for one in found}


def states(answer: dict[str, Any]) -> dict[str, str]:
    return {f"{one['kind']} {one['namespace']}/{one['name']}": one["state"] for one in answer["workloads"]}


def upgrade(world: World, version: str) -> None:
    """The control plane has this version: what Fargate makes from now on does, too."""
    eks = world.aws()("eks")
    update = eks.update_cluster_version(name=CLUSTER, version=version)["update"]["id"]
    world.wait_until(
        lambda _now: eks.describe_update(name=CLUSTER, updateId=update)["update"]["status"] == "Successful",
        "the control plane upgraded",
        seconds=3600,
    )


def test_named_and_selected_ones_of_each_kind_have_new_pods_when_it_ends(world: World, tmp_path: Path) -> None:
    before = {name: pods(world, "shop", name) for name in ("web", "db", "agent", "checkout")}
    journal = tmp_path / "journal.jsonl"
    asked = {
        "workloads": [{"namespace": "shop", "name": "agent", "kind": "DaemonSet"}],
        "label_selector": "tier in (front, back)",
        "restarted_at": BEGAN.replace("Z", "+00:00"),
    }

    planned = restart(world, check=True, **asked)
    assert patches(world) == []
    done = restart(world, journal=str(journal), **asked)
    again = restart(world, **asked)

    names = ["DaemonSet shop/agent", "StatefulSet shop/db", "Deployment shop/web"]
    assert planned["restarted"] == done["restarted"] == names
    assert states(done) == dict.fromkeys(names, "restarted")
    assert (again["changed"], states(again)) == (False, dict.fromkeys(names, "already"))
    assert sorted(patches(world)) == ["shop/agent", "shop/db", "shop/web"]
    assert {restarted_at(world, *name.replace(" ", "/").split("/")) for name in names} == {BEGAN}
    after = {name: pods(world, "shop", name) for name in before}
    assert all(not set(before[name].values()) & set(after[name].values()) for name in ("web", "db", "agent"))
    assert after["checkout"] == before["checkout"]
    assert world.record.notes("budget_violated") == []
    kinds = [json.loads(line)["kind"] for line in journal.read_text().splitlines()]
    assert (kinds.count("restart"), kinds.count("restarted")) == (3, 3)


def test_on_fargate_only_what_is_behind_and_never_what_would_not_come_back(world: World, tmp_path: Path) -> None:
    """The role, in somebody else's play, with nothing but the documented permissions; then again."""
    asked = grant_only_what_is_documented(world, upgrade=True)
    upgrade(world, "1.32")
    others = pods(world, "batch", "nightly") | pods(world, "batch", "by-hand")

    first = run_role(world, tmp_path, fargate_version="1.32", fargate_restarted_at="")
    second = run_role(world, tmp_path, fargate_version="1.32", fargate_restarted_at="")

    assert first["restarted"] == ["Deployment batch/reports"]
    reports = {pod: version for pod, version in kubelets(world).items() if pod.startswith("reports")}
    assert [version[:5] for version in reports.values()] == ["v1.32", "v1.32"]
    assert {(one["object"].split("/")[1][:7], one["reason"]) for one in first["left"]} == {
        ("by-hand", "no_controller"),
        ("nightly", "job"),
    }
    assert pods(world, "batch", "nightly") | pods(world, "batch", "by-hand") == others
    assert (first["behind"], second["restarted"], second["changed"]) == ([], [], False)
    assert patches(world) == ["batch/reports"]
    assert ("patch", "apps", "deployments", "") in asked.verbs


def run_role(world: World, folder: Path, **variables: Any) -> dict[str, Any]:
    """The role fargate with these variables, all text; its answer."""
    given = {"fargate_cluster_name": CLUSTER, "fargate_poll_seconds": "0.5", "fargate_max_parallel": "3", **variables}
    content = {"content": "{{ fargate_result | to_json }}", "dest": str(folder / "result.json"), "mode": "0600"}
    tasks = [
        {"name": "Fargate", "ansible.builtin.import_role": {"name": "evergreen.eks.fargate"}, "vars": given},
        {"name": "What it answers", "ansible.builtin.copy": content},
    ]
    playbook = folder / "play.yml"
    play = {"name": "New pods", "hosts": "localhost", "gather_facts": False, "tasks": tasks}
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    run = world.playbook(str(playbook), {})
    assert run.rc == 0, run.output
    assert "is left alone" in run.output, "as a warning"
    return json.loads((folder / "result.json").read_text())


def test_pods_that_came_without_their_sidecar_get_it(world: World) -> None:
    asked = {"sidecars": [{"annotation": "vault.hashicorp.com/agent-inject", "container": "vault-agent"}]}
    world.injector.working = False
    without = restart(world, **asked)
    world.injector.working = True

    given_back = restart(world, missing_sidecars_only=True, **asked)
    again = restart(world, missing_sidecars_only=True, **asked)

    assert len(without["without_sidecar"]) == 2
    assert "does its injector work" in str(without["warnings"])
    assert (given_back["restarted"], given_back["without_sidecar"]) == (["Deployment shop/checkout"], [])
    assert again["restarted"] == []


def test_what_its_controller_would_not_or_must_not_replace_is_left_alone(world: World) -> None:
    client = world.client()
    client.patch("/apis/apps/v1/namespaces/shop/deployments/checkout", {"spec": {"paused": True}})
    client.patch("/apis/apps/v1/namespaces/shop/daemonsets/agent", {"spec": {"updateStrategy": {"type": "OnDelete"}}})
    client.patch("/apis/apps/v1/namespaces/shop/deployments/web", {"spec": {"strategy": {"type": "Recreate"}}})
    asked = {
        "workloads": [
            {"namespace": "shop", "name": "checkout"},
            {"namespace": "shop", "name": "agent", "kind": "DaemonSet"},
            {"namespace": "shop", "name": "web"},
        ]
    }

    spared = restart(world, **asked)
    overruled = restart(world, budgets="overrule", **asked)

    left = {one["object"]: one["reason"] for one in spared["left"]}
    assert left == {
        "Deployment shop/checkout": "paused",
        "DaemonSet shop/agent": "on_delete",
        "Deployment shop/web": "budget",
    }
    assert spared["restarted"] == []
    assert overruled["restarted"] == ["Deployment shop/web"]


def test_a_restart_that_does_not_get_through_says_what_holds_it_up(world: World, tmp_path: Path) -> None:
    """Fargate has no capacity for the new pod; a rerun of the same run goes on, and restarts nothing twice."""
    world.fargate.working = False
    journal = tmp_path / "journal.jsonl"
    asked = {"on_fargate": True, "restarted_at": BEGAN}

    failure = restart(world, timeout=10, journal=str(journal), **asked)
    world.fargate.working = True
    done = restart(world, **asked)

    assert (failure["failed"], failure["reason"]) == (True, "restart_timeout")
    for words in ("Deployment batch/reports: 0 of 2 pods are new and Ready", "has timed out progressing", "is Pending"):
        assert words in failure["msg"]
    assert states(failure) == {"Deployment batch/reports": "waiting"}
    blocked = [json.loads(line) for line in journal.read_text().splitlines() if "restart_blocked" in line]
    assert [one["workload"] for one in blocked] == ["Deployment batch/reports"]
    assert states(done) == {"Deployment batch/reports": "already"}
    assert patches(world) == ["batch/reports"]


def test_a_killed_one_is_taken_up_and_lost_answers_and_outages_are_ridden_out(world: World) -> None:
    asked = {
        "cluster_name": CLUSTER,
        "poll_seconds": 0.5,
        "label_selector": "tier",
        "max_parallel": 1,
        "restarted_at": BEGAN,
    }
    dying = start_module(world.env(), MODULE, asked)
    world.faults.add("kubernetes", "^PATCH ", author=TOOL, after=lambda call: kill_group(dying))
    dying.communicate(timeout=60)
    assert dying.returncode == -9
    world.faults.add("kubernetes", "^PATCH ", author=TOOL, reset="after")
    world.faults.add("kubernetes", "^GET ", author=TOOL, skip=8, times=6, error=(503, "ServiceUnavailable", "down"))

    done = restart(world, **asked)

    assert states(done) == {"StatefulSet shop/db": "already", "Deployment shop/web": "restarted"}
    assert done["restarted"] == ["Deployment shop/web"]
    assert {restarted_at(world, "Deployment", "shop", "web"), restarted_at(world, "StatefulSet", "shop", "db")} == {
        BEGAN
    }


def test_bad_input_is_refused_with_nothing_restarted(world: World) -> None:
    """One world for all: none of them may leave anything behind."""
    for reason, named, options in (
        ("invalid_input", "label_selector", {}),
        ("invalid_input", "label selector", {"label_selector": "tier in"}),
        ("invalid_input", "no moment", {"on_fargate": True, "restarted_at": "yesterday"}),
        ("invalid_input", "clock", {"on_fargate": True, "restarted_at": "2096-11-21T00:00:00Z"}),
        ("invalid_input", "version", {"on_fargate": True, "version": "33"}),
        ("invalid_input", "max_parallel", {"on_fargate": True, "max_parallel": 0}),
        ("workload_not_found", "web", {"workloads": [{"namespace": "shop", "name": "wbe"}]}),
        ("workload_not_found", "none in shpo", {"workloads": [{"namespace": "shpo", "name": "web"}]}),
    ):
        failure = restart(world, **options)
        assert failure["failed"], named
        assert (failure["reason"], named in failure["msg"]) == (reason, True), failure["msg"]
    assert patches(world) == []
