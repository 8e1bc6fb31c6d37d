# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a rollout, as its operator gets it: at the end of every run, and whenever it is asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from integration.rollouts import problems, restore, roll, roll_until_killed, variables

from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario
from simulator.world import World

REPORT = "evergreen.eks.report"
TWO_NODES = Scenario(groups=[NodeGroup("shared", size=2)], workloads=[Deployment("web", replicas=3, group="shared")])
BLOCKED = Scenario(
    groups=[NodeGroup("shared", size=1)],
    workloads=[Deployment("web", replicas=1, group="shared", budget=Budget(min_available=1))],
)


def reports(world: World) -> dict[str, Path]:
    """The files of the one report in the state directory, by their endings."""
    return {path.suffix: path for path in (world.home / "state").rglob("*.report.*")}


def document(world: World) -> dict[str, Any]:
    return json.loads(reports(world)[".json"].read_text(encoding="utf-8"))


def assert_private_and_without_secrets(world: World) -> None:
    secrets = [world.env()["AWS_SECRET_ACCESS_KEY"], "k8s-aws-v1."]
    assert set(reports(world)) == {".html", ".md", ".json"}
    for path in reports(world).values():
        assert path.stat().st_mode & 0o777 == 0o600
        assert not [secret for secret in secrets if secret in path.read_text(encoding="utf-8")]


@pytest.mark.scenario(TWO_NODES)
def test_a_rollout_that_was_killed_and_resumed_is_one_report(world: World) -> None:
    roll_until_killed(world, "autoscaling", "^TerminateInstance", skip=1)
    assert reports(world) == {}, "who is killed says nothing"

    asked = world.playbook(REPORT, variables(world))
    assert asked.rc == 0, asked.output
    killed = document(world)
    assert (killed["outcome"], killed["selected"], len(killed["attempts"])) == ("interrupted", 2, 1)
    assert killed["resume_command"].startswith("ansible-playbook evergreen.eks.rollout -e ")
    assert killed["restore_command"].startswith("ansible-playbook evergreen.eks.restore -e eks_cluster_name=rehearsal")
    assert f"{reports(world)['.html']}" in asked.stdout
    assert_private_and_without_secrets(world)

    run = roll(world)
    assert run.rc == 0, run.output
    assert problems(world) == []
    assert f"report: {reports(world)['.html']}" in run.output
    told = document(world)
    assert (told["run"], told["outcome"], told["replaced"]) == (killed["run"], "finished", 2)
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["interrupted", "finished"]
    assert len(told["interruptions"]) == 1
    old = {node["instance_id"]: node for node in told["nodes"] if node["old"]}
    assert set(old) == set(world.beginning.groups["shared"].instances)
    assert {node["outcome"] for node in old.values()} == {"replaced"}
    assert all("draining" in [stage["stage"] for stage in node["stages"]] for node in old.values())
    new = {node["instance_id"] for node in told["nodes"] if not node["old"]}
    assert set(world.snapshot().groups["shared"].instances) <= new
    assert told["capacity"]
    assert told["lowest_ready"] >= told["limits"]["floor"] == 2
    assert told["picture"]["before"]["nodes_ready"] == told["picture"]["after"]["nodes_ready"]
    assert told["missing"] == []
    assert_private_and_without_secrets(world)


@pytest.mark.scenario(BLOCKED)
def test_a_rollout_that_fails_leaves_its_report_too_and_so_does_the_way_back(world: World) -> None:
    run = roll(world, eks_drain_timeout=2)
    assert run.rc != 0
    assert f"report: {reports(world)['.html']}" in run.output
    told = document(world)
    assert (told["outcome"], told["replaced"]) == ("failed", 0)
    assert "web" in told["cause"]
    assert told["blocked"][0]["budget"].endswith("web")
    assert told["restore_command"].startswith("ansible-playbook evergreen.eks.restore -e ")
    assert "not_drained" in [stage for node in told["nodes"] for stage in _stages(node)]
    assert_private_and_without_secrets(world)

    back = restore(world)
    assert back.rc == 0, back.output
    put_back = document(world)
    assert (put_back["run"], put_back["outcome"], put_back["replaced"]) == (told["run"], "put_back", 0)
    assert {node["outcome"] for node in put_back["nodes"] if node["old"]} == {"kept"}
    assert f"report: {reports(world)['.html']}" in back.output
    assert_private_and_without_secrets(world)


def _stages(node: dict[str, Any]) -> list[str]:
    return [stage["stage"] for stage in node["stages"]]


@pytest.mark.scenario(TWO_NODES)
def test_where_nothing_was_rolled_there_is_nothing_to_tell(world: World) -> None:
    options = {"cluster_name": world.scenario.cluster, "asg_name": "shared", "poll_seconds": 0.1}
    answer = world.module("evergreen.eks.rollout_report", options)

    assert answer["failed"]
    assert answer["reason"] == "no_run"
    assert "eks_state_dir" in answer["msg"]
    assert world.record.calls(author="evergreen", mutating=True) == []


@pytest.mark.scenario(TWO_NODES)
def test_without_aws_it_is_told_from_this_machine(world: World) -> None:
    roll_until_killed(world, "autoscaling", "^TerminateInstance", eks_state_store="configmap")
    options = {"cluster_name": world.scenario.cluster, "asg_name": "shared", "poll_seconds": 0.01}
    state = {"store": "configmap", "dir": os.path.join(world.home, "state", "evergreen.eks")}
    here = {**options, "state": state, "dir": str(world.home / "reports"), "formats": ["json"]}

    preview = world.module("evergreen.eks.rollout_report", here, check=True)
    assert not Path(preview["reports"]["json"]).exists()
    both = world.module("evergreen.eks.rollout_report", here)
    assert (both["report"]["outcome"], both["report"]["selected"]) == ("interrupted", 2)
    told = json.loads(Path(both["reports"]["json"]).read_text(encoding="utf-8"))
    assert any("ConfigMap" in source for source in told["sources"])

    world.faults.add("sts", ".*", error=(503, "ServiceUnavailable", "down"), times=None)
    alone = world.module("evergreen.eks.rollout_report", here)
    told = json.loads(Path(alone["reports"]["json"]).read_text(encoding="utf-8"))
    assert (told["run"], told["selected"]) == (both["report"]["run"], 2)
    assert any("AWS was not asked" in text for text in told["missing"])
    assert all("ConfigMap" not in source for source in told["sources"])
