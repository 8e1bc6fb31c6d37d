# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be meant, or cannot be done now: one clear error that names object, cause and remedy; nothing changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from integration.rollouts import checkpoints, roll, roll_until_killed

from simulator.checks import nothing_changed
from simulator.scenarios import Deployment, NodeGroup, Scenario
from simulator.world import World

SHARED = NodeGroup("shared", size=2)
TINY = Scenario(groups=[SHARED], workloads=[Deployment("web", replicas=2)])


@dataclass(frozen=True)
class Case:
    """How the world or the command differs from a good one, and what the error must say."""

    says: tuple[str, ...]
    variables: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    group: dict[str, Any] = field(default_factory=dict)  # how the node group differs
    given: Callable[[World], object] | None = None  # what happened in the world before
    speed: float = 60


def autoscaling(world: World) -> Any:
    return world.aws()("autoscaling")


def start_refresh(world: World) -> None:
    autoscaling(world).start_instance_refresh(AutoScalingGroupName="shared")


def put_warm_pool(world: World) -> None:
    autoscaling(world).put_warm_pool(AutoScalingGroupName="shared", MinSize=1)


def deny(action: str) -> Callable[[World], None]:
    def given(world: World) -> None:
        world.cloud.authorize = lambda author, asked: author != "evergreen" or asked != action

    return given


def deny_listing_nodes(world: World) -> None:
    world.kubernetes.authorize = lambda user, verb, group, resource, subresource: (verb, resource) != ("list", "nodes")


def nobody_in_the_cluster(world: World) -> None:
    for node in world.client("world").list("/api/v1/nodes")[0]:
        world.client("world").delete(f"/api/v1/nodes/{node['metadata']['name']}")


VALUES = {
    "surge": Case(("eks_max_surge", "-1"), {"eks_max_surge": "-1"}),
    "percent": Case(("eks_max_surge", "150%"), {"eks_max_surge": "150%"}),
    "both 0": Case(("shared", "both 0"), {"eks_max_surge": "0", "eks_max_unavailable": "0"}),
    "negative canary": Case(("eks_canary", "-2"), {"eks_canary": "-2"}),
    "drain timeout": Case(("eks_drain_timeout", "soon"), {"eks_drain_timeout": "soon"}),
    "unknown variable": Case(("eks_max_serge", "eks_max_surge"), {"eks_max_serge": "2"}),
    "unknown key": Case(("max_serge", "max_surge"), {"eks_node_groups": [{"name": "shared", "max_serge": 2}]}),
    "no groups": Case(("eks_node_groups",), {"eks_node_groups": ""}),
    "no cluster": Case(("eks_cluster_name",), {"eks_cluster_name": ""}),
    "select": Case(("eks_select", "newest"), {"eks_select": "newest"}),
    "expression": Case(("JMESPath",), {"eks_select": {"expression": "[?"}}),
    "instances": Case(("eks_select", "i-0123456789abcdefg"), {"eks_select": {"instances": ["i-0123456789abcdefg"]}}),
}
NAMES = {
    "unknown group": Case(("nowhere", "shared"), {"eks_node_groups": "shared,nowhere"}),
    "unknown cluster": Case(("other", "eks"), {"eks_cluster_name": "other"}),
    "another cluster": Case(("shared", "2 of 2 instances", "does not know"), given=nobody_in_the_cluster),
}
CREDENTIALS = {
    "missing": Case(("credentials",), env={"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": ""}),
    "expired": Case(("expired",), given=lambda world: world.cloud.expired.add("AKIAEVERGREENTOOL00")),
    "reading denied": Case(
        ("autoscaling:DescribeAutoScalingGroups",), given=deny("autoscaling:DescribeAutoScalingGroups")
    ),
    "cluster denied": Case(("eks:DescribeCluster",), given=deny("eks:DescribeCluster")),
    "no region": Case(("region",), env={"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}),
}
KUBERNETES = {
    "unreachable": Case(
        ("https://127.0.0.1:9",),
        {"eks_kubernetes": {"host": "https://127.0.0.1:9", "api_key": "x", "verify_ssl": False}},
    ),
    "unauthorized": Case(("401",), {"eks_kubernetes": {"api_key": "not-a-token"}}),
    "forbidden": Case(("list", "nodes"), given=deny_listing_nodes),
}
GROUPS = {
    "empty": Case(("shared", "desired capacity of 0"), given=lambda world: world.actors.set_desired("shared", 0)),
    "weighted": Case(("shared", "weight"), group={"launch": "mixed", "instance_types": ("m5.large",)}),
    "warm pool": Case(("shared", "warm pool"), given=put_warm_pool),
    "refreshing": Case(("shared", "instance refresh"), given=start_refresh, speed=1),
    "managed": Case(("shared", "managed node group ng-1"), group={"tags": {"eks:nodegroup-name": "ng-1"}}),
    **{
        process: Case(("shared", process, "suspended"), group={"suspended": (process,)})
        for process in ("Launch", "Terminate", "HealthCheck", "AddToLoadBalancer")
    },
}
ALL = {
    f"{kind}: {name}": case
    for kind, cases in (
        ("values", VALUES),
        ("names", NAMES),
        ("credentials", CREDENTIALS),
        ("kubernetes", KUBERNETES),
        ("groups", GROUPS),
    )
    for name, case in cases.items()
}


def refused(world: World, says: tuple[str, ...], env: dict[str, str] | None = None, **variables: Any) -> None:
    """The rollout fails, says this, changes nothing, and shows nobody a traceback."""
    calls_so_far = len(world.record.calls())
    run = roll(world, env=env, **variables)
    assert run.rc != 0, run.output
    assert "Traceback" not in run.output
    for words in says:
        assert words in run.output, run.output
    assert nothing_changed(world.record, since=calls_so_far) == []


# One of each kind of check; `make test-slow` runs the others.
QUICK = {"surge", "unknown variable", "select", "unknown group", "unknown cluster", "expired", "cluster denied"}
QUICK |= {"unreachable", "forbidden", "refreshing", "Launch"}


def each_refusal() -> list[Any]:
    names = [name for name in ALL if name != "groups: weighted"]
    return [name if name.split(": ")[1] in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", each_refusal())
def test_refused(name: str):
    case = ALL[name]
    scenario = TINY.with_group("shared", **case.group)
    with World.start(scenario, speed=case.speed) as world:
        if case.given:
            case.given(world)
        refused(world, case.says, case.env, **case.variables)


def weigh(world: World) -> None:
    group = autoscaling(world).describe_auto_scaling_groups(AutoScalingGroupNames=["shared"])["AutoScalingGroups"][0]
    policy = group["MixedInstancesPolicy"]
    policy["LaunchTemplate"]["Overrides"] = [{"InstanceType": "m5.large", "WeightedCapacity": "2"}]
    policy["LaunchTemplate"]["LaunchTemplateSpecification"].pop("LaunchTemplateName", None)
    autoscaling(world).update_auto_scaling_group(AutoScalingGroupName="shared", MixedInstancesPolicy=policy)


@pytest.mark.scenario(TINY.with_group("shared", launch="mixed", instance_types=("m5.large",)))
def test_weights_are_refused(world: World):
    weigh(world)
    refused(world, ("shared", "weight"))


class TestCheckpoint:
    """A checkpoint that cannot be used; what must be put back is left alone until somebody decides."""

    @pytest.fixture
    def path(self, world: World) -> Path:
        roll_until_killed(world, "kubernetes", "^PATCH nodes$", eks_node_groups="shared")
        (path,) = checkpoints(world)
        return path

    @pytest.mark.scenario(TINY)
    @pytest.mark.parametrize(
        ("text", "says"),
        [('{"schema": 1, "run_', "is not a checkpoint"), ('{"schema": 99}', "schema 99")],
        ids=["torn", "newer"],
    )
    def test_content(self, world: World, path: Path, text: str, says: str):
        path.write_text(text)
        refused(world, (str(path), says), eks_node_groups="shared")

    @pytest.mark.scenario(TINY)
    def test_of_another_cluster(self, world: World, path: Path):
        document = json.loads(path.read_text())
        document["cluster"]["uid"] = "somebody-else"
        path.write_text(json.dumps(document))
        refused(world, (str(path), "another cluster"), eks_node_groups="shared")

    @pytest.mark.scenario(TINY)
    def test_in_an_unwritable_place(self, world: World, tmp_path: Path):
        (tmp_path / "123456789012").write_text("a file where a folder is needed")
        refused(world, (str(tmp_path), "eks_state_dir"), eks_state_dir=str(tmp_path))
