# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan before a rollout: what it says of the world, as lines, as data and as a file that the rollout follows."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from integration.rollouts import problems, roll, roll_until_killed, variables

from simulator.checks import nothing_changed
from simulator.runs import Run
from simulator.scenarios import Budget, Deployment, NodeGroup, Pod, Scenario
from simulator.world import World

PLAN = "evergreen.eks.plan"
BLOCKED = Scenario(
    groups=[NodeGroup("shared", size=4, max_size=6)],
    workloads=[
        Deployment("web", "shop", replicas=4, group="shared", budget=Budget(min_available=4)),
        Pod("alone", "shop", group="shared"),
    ],
)
CALM = Scenario(
    groups=[NodeGroup("shared", size=2, max_size=5, outdated=False)],
    workloads=[Deployment("web", replicas=3, group="shared")],
)


def plan(world: World, check: bool = False, **options: Any) -> dict[str, Any]:
    """The answer of the module."""
    arguments = {"cluster_name": world.scenario.cluster, "asg_name": "shared", "poll_seconds": 0.1, **options}
    return world.module("evergreen.eks.rollout_plan_info", arguments, check=check)


def plan_book(world: World, *arguments: str, **own: Any) -> Run:
    return world.playbook(PLAN, variables(world, **own), *arguments)


def table_of(run: Run) -> list[str]:
    """The lines between the name of the group and the estimate."""
    lines = run.stderr.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("   The plan of node group"))
    end = next(number for number, line in enumerate(lines) if line.startswith("   Expected to take"))
    return lines[begin : end + 1]


@pytest.mark.scenario(BLOCKED)
def test_what_a_plan_says_of_each_node_of_the_sizes_of_addresses_and_of_who_is_in_the_way(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    run = plan_book(world, eks_max_surge=2, eks_plan_file=str(path))

    assert run.rc == 0, run.output
    lines = table_of(run)
    assert all(len(line) <= 100 and line.isascii() for line in lines)
    assert "PLAY RECAP" in run.stdout and "The plan of node group" not in run.stdout, "one of both, and not in JSON"
    assert f"the plan is written to {path}" in run.stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text(encoding="utf-8")
    assert world.env()["AWS_SECRET_ACCESS_KEY"] not in text
    found = json.loads(text)["groups"]["shared"]
    assert "\n".join(found["table"]) in run.stderr

    now = world.snapshot()
    old = now.groups["shared"].instances
    assert {one["instance_id"] for one in found["selected"]} == set(old)
    for one in found["selected"]:
        assert (one["zone"], one["node"]) == (old[one["instance_id"]].zone, now.nodes[one["instance_id"]].name)
        assert (one["why"], one["came_from"]["launch_version"]) == ("version 1 -> 2", "1")
        assert one["age_seconds"] > 0 and one["launched"] < found["made"]
        (line,) = [line.split() for line in lines if one["instance_id"] in line]
        assert (line[0], line[1]) == (str(one["expected_wave"]), one["node"].partition(".")[0])
    pods = {name: node for name, node in now.pods.items() if name.startswith("shop/")}
    assert {pod: one["node"] for one in found["selected"] for pod in one["moves"]} == pods
    sizes = [(wave["desired_capacity"], wave["max_size"], wave["floor"], wave["launches"]) for wave in found["waves"]]
    assert sizes == [(6, 6, 4, 2), (6, 6, 4, 0), (6, 6, 4, 0)]
    assert [len(wave["expected"]) for wave in found["waves"]] == [1, 1, 2]

    causes = {entry["class"]: entry for entry in found["blocked"]}
    assert set(causes) == {"impossible", "unmanaged"}
    assert "to do: scale Deployment shop/web to 5 replicas" in "\n".join(lines)
    assert "to do: set evict_unmanaged" in "\n".join(lines)
    addresses = found["addresses"]
    assert (addresses["per_node"], addresses["enough"]) == (59, True), "its aws-node says nothing, a node takes 58 pods"
    assert all(zone["addresses_free"] > 4000 for zone in addresses["zones"])
    assert (found["pace"]["source"], found["expected_seconds"] > 0) == ("assumed", True)
    assert nothing_changed(world.record) == []
    assert list((world.home / "state").rglob("*")) == []


@pytest.mark.scenario(BLOCKED)
def test_who_may_not_see_everything_gets_the_rest_and_who_plans_in_check_mode_writes_nothing(
    world: World, tmp_path: Path
) -> None:
    world.cloud.authorize = lambda author, action: author != "evergreen" or action != "ec2:DescribeSubnets"
    world.kubernetes.authorize = lambda user, verb, _group, resource, sub: not (
        "evergreen" in user and ((verb, resource, sub) == ("create", "pods", "eviction") or resource == "daemonsets")
    )
    path = tmp_path / "plan.json"
    answer = plan(world, check=True, rehearse={"evict_unmanaged": True}, plan_file=str(path))
    found = answer["plan"]
    assert not answer.get("failed"), answer
    assert (found["rehearsed"], found["blocked"], found["addresses"]["enough"]) == (False, [], None)
    assert any("what would block is not known" in line for line in found["summary"])
    assert any("allow ec2:DescribeSubnets" in line for line in found["table"])
    assert all(one["moves"] is None for one in found["selected"])
    assert not path.exists()

    wrong = plan(world, rehearse={"drain_timeout": 5})
    assert (wrong["failed"], wrong["reason"]) == (True, "invalid_input")
    assert "drain_timeout" in wrong["msg"]


@pytest.mark.scenario(BLOCKED)
def test_a_rollout_refuses_to_be_another_one_than_was_planned(world: World, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    missing = plan(world, settings={"plan_file": str(path)})
    assert (missing["failed"], missing["reason"]) == (True, "plan_missing")
    assert plan(world, plan_file=str(path))["plan"]["remaining"]
    followed = plan(world, settings={"plan_file": str(path)})["plan"]
    assert any("follows the plan of" in note for note in followed["notes"])

    other = plan(world, settings={"plan_file": str(path), "max_surge": 4})
    assert (other["reason"], "max_surge is 4, planned was 25%" in other["msg"]) == ("plan_drift", True)
    world.actors.new_version("shared")
    run = roll(world, eks_plan_file=str(path))
    assert run.rc != 0
    assert "version 3" in run.stdout and "planned was launch template" in run.stdout
    assert nothing_changed(world.record) == []
    assert list((world.home / "state").rglob("*")) == []


@pytest.mark.scenario(CALM)
def test_a_rollout_follows_its_plan_although_the_group_grows_and_the_next_plan_knows_how_long_it_took(
    world: World, tmp_path: Path
) -> None:
    """All were to be replaced; the one that an autoscaler adds after the plan is new, and stays."""
    path, planned = tmp_path / "plan.json", sorted(world.beginning.groups["shared"].instances)
    asked = {"eks_select": "all", "eks_plan_file": str(path), "eks_max_surge": 2, "eks_canary": 0}
    assert plan_book(world, **asked).rc == 0
    world.clock.advance(5)
    world.actors.set_desired("shared", 3)
    world.wait_until(lambda now: len([one for one in now.nodes.values() if one.ready]) == 3, "the third is Ready")

    roll_until_killed(world, "kubernetes", "^POST pods/eviction$", **asked)
    path.unlink()
    run = roll(world, **asked)  # which goes on with what was begun, whatever has become of the plan
    assert run.rc == 0, run.output
    assert problems(world, {"shared": planned}, shifted={"shared": {"desired": 1}}) == []

    again = plan(world, settings={"select": "all", "max_surge": 2, "canary": 0})["plan"]
    assert (again["pace"]["source"], again["pace"]["runs"]) == ("history", 1)
    assert again["pace"]["ready_seconds"] > 30, "measured in the world's own time"
