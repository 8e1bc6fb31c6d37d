# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole rollouts with each store: where AWX finds the state, what happens when it cannot be used, and moving."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from integration.permissions import (
    grant_only_what_is_documented,
    granted_actions,
    granted_verbs,
    objects_of_limited_rules,
)
from integration.rollouts import problems, roll, roll_until_killed
from unit.checkpoints import a_checkpoint

from simulator.identities import TOOL
from simulator.record import Call
from simulator.runs import Run
from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario
from simulator.world import World

TWO_NODES = Scenario(
    groups=[NodeGroup("shared", size=2)],
    workloads=[Deployment("web", replicas=2, group="shared", budget=Budget(min_available=1))],
)
IN_ONE_WAVE = {"eks_canary": 0, "eks_max_surge": "100%"}
CONFIG_MAP = {"eks_state_store": "configmap"}
S3 = {"eks_state_store": "s3", "eks_state_bucket": "state"}
CONFIG_MAP_PATH = "/api/v1/namespaces/kube-system/configmaps/evergreen-eks-shared"
KEY = "evergreen.eks/123456789012/eu-central-1/rehearsal/shared"


@pytest.fixture
def world(world: World) -> World:
    """The world with a bucket in it."""
    world.aws()("s3").create_bucket(Bucket="state", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return world


def objects(world: World) -> list[str]:
    """The objects in the bucket, besides the picture that the gates compare with."""
    found = world.aws()("s3").list_objects_v2(Bucket="state").get("Contents", [])
    return [one["Key"] for one in found if not one["Key"].endswith(".picture")]


def config_map(world: World) -> dict[str, Any]:
    return world.client().get(CONFIG_MAP_PATH)


def files(world: World) -> list[str]:
    """The files of the state directory that are no journals, and no reports."""
    found = (world.home / "state").rglob("*.json")
    return [path.name for path in found if not path.name.startswith("hold-") and ".report." not in path.name]


def changes_of_the_group(world: World, since: int = 0) -> list[str]:
    """What was changed, or tried to, after that call, apart from the lock and the checkpoint."""
    kept_apart = (" leases", " configmaps")
    return [
        str(call)
        for call in world.record.calls(author=TOOL, mutating=True, since=since)
        if call.service != "s3" and not call.operation.endswith(kept_apart)
    ]


def calls_so_far(world: World) -> int:
    return world.record.calls()[-1].number


@pytest.mark.parametrize("store", ["configmap", pytest.param("s3", marks=pytest.mark.slow)])
@pytest.mark.scenario(TWO_NODES)
def test_a_rollout_keeps_its_state_there_with_exactly_the_documented_rights(world: World, store: str):
    asked = grant_only_what_is_documented(world, store)
    run = roll(world, **IN_ONE_WAVE, eks_state_store=store, eks_state_bucket="state", awx_job_id="4711")
    assert run.rc == 0, run.output
    assert problems(world) == []
    assert files(world) == [], "nothing but the journal is on the controller"
    assert granted_verbs("configmap") - granted_verbs() <= asked.verbs or store != "configmap"
    assert granted_actions("s3") - granted_actions() - {"s3:ListBucket"} <= asked.actions or store != "s3"
    if store == "configmap":
        assert list(config_map(world)["data"]) == ["finished"]
        limits = {limit.replace("GROUP", "shared") for limit in objects_of_limited_rules("configmaps", store)}
        used = {call.target for call in world.record.calls(author=TOOL) if call.operation.endswith(" configmaps")}
        assert used <= limits
    else:
        assert [key.removeprefix(KEY).split(".", 2)[2] for key in objects(world)] == ["done.json"]
    so_far = calls_so_far(world)
    again = roll(world, eks_state_store=store, eks_state_bucket="state")
    assert again.rc == 0, again.output
    assert changes_of_the_group(world, since=so_far) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_a_run_moves_between_stores_and_what_it_left_behind_is_not_believed(world: World):
    """Killed with one store, gone on with from another: the marks on the group and its instances are the run."""
    roll_until_killed(world, "kubernetes", "^POST pods/eviction$", **IN_ONE_WAVE, **S3)
    moved = roll(world, **IN_ONE_WAVE, **CONFIG_MAP)
    assert moved.rc == 0, moved.output
    assert "has no checkpoint here: rebuilt from the marks on the group" in moved.stdout
    assert problems(world) == []

    assert objects(world) == [f"{KEY}.json"], "there the run is still unfinished, and holds two instances"
    so_far = calls_so_far(world)
    back = roll(world, **S3)
    assert back.rc == 0, back.output
    assert "is not followed: it was finished, or put back, from elsewhere" in back.stdout
    assert changes_of_the_group(world, since=so_far) == []

    roll_until_killed(world, "ec2", "^CreateTags$", eks_select="all", **S3)
    assert sorted(key.removeprefix(KEY)[-10:] for key in objects(world)) == [".done.json", ".json"]


def write_checkpoint(world: World, **changes: Any) -> None:
    """The checkpoint of another cluster's run in the ConfigMap, with these values."""
    document = {**json.loads(a_checkpoint().to_json()), **changes}
    body = {"data": {"checkpoint": json.dumps(document)}, "metadata": {"name": "evergreen-eks-shared"}}
    world.client().create(CONFIG_MAP_PATH.rpartition("/")[0], body)


def fill(world: World) -> None:
    """The ConfigMap is there, and full of somebody else's."""
    body = {"data": {"theirs": "x" * 1_048_000}, "metadata": {"name": "evergreen-eks-shared"}}
    world.client().create(CONFIG_MAP_PATH.rpartition("/")[0], body)


def tear(world: World) -> None:
    """Half a checkpoint in the bucket."""
    world.aws()("s3").put_object(Bucket="state", Key=f"{KEY}.json", Body=b'{"schema": 1, "run_id": "2026')


def deny(action: str) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        world.cloud.authorize = lambda author, asked: author != TOOL or asked != action

    return prepare


UNUSABLE = {
    "file, read-only": ({"eks_state_dir": "/sys/evergreen"}, None, ("/sys/evergreen", "eks_state_dir")),
    "configmap, full": (CONFIG_MAP, fill, ("evergreen-eks-shared", "Too long", "eks_state_store=s3 or file")),
    "configmap, newer": (
        CONFIG_MAP,
        lambda world: write_checkpoint(world, schema=99),
        ("evergreen-eks-shared", "schema 99", "the release that wrote it"),
    ),
    "configmap, foreign": (
        CONFIG_MAP,
        write_checkpoint,
        ("evergreen-eks-shared", "belongs to another cluster"),
    ),
    "s3, read-only": (S3, deny("s3:PutObject"), (f"s3://state/{KEY}.json", "s3:PutObject", "Allow s3:GetObject")),
    "s3, torn": (S3, tear, (f"s3://state/{KEY}.json", "is not a checkpoint", "Move")),
}


@pytest.mark.parametrize("case", UNUSABLE)
@pytest.mark.scenario(TWO_NODES)
def test_a_store_that_cannot_be_used_stops_before_the_first_change(world: World, case: str):
    store, prepare, says = UNUSABLE[case]
    if prepare:
        prepare(world)
    run = roll(world, **store)
    assert run.rc != 0, run.output
    assert "Traceback" not in run.output
    for words in says:
        assert words in run.stdout, run.output
    assert changes_of_the_group(world) == []


@pytest.mark.slow
@pytest.mark.scenario(TWO_NODES)
def test_a_store_that_fails_in_the_middle_stops_the_run_before_its_next_change(world: World):
    """First another writer in the checkpoint, then no more right to write it; a rerun finishes in the end."""

    def another_writer(_call: Call) -> None:
        checkpoint = json.loads(config_map(world)["data"]["checkpoint"])
        checkpoint["provenance"]["operator"] = "somebody else"
        world.client().patch(CONFIG_MAP_PATH, {"data": {"checkpoint": json.dumps(checkpoint)}})

    def stopped(run: Run, says: str) -> None:
        assert run.rc != 0, run.output
        assert says in run.stdout, run.output
        assert "To go on: ansible-playbook evergreen.eks.rollout" in run.stdout, run.output

    saves = {"service": "kubernetes", "operation": "^PUT configmaps$", "author": TOOL}
    world.faults.add(**saves, skip=2, times=1, before=another_writer)
    run = roll(world, **IN_ONE_WAVE, **CONFIG_MAP)
    stopped(run, "by somebody else since this run read it")
    assert "somebody else" in config_map(world)["data"]["checkpoint"], "it was not overwritten"

    last: list[int] = []
    denied = (403, "Forbidden", 'configmaps "evergreen-eks-shared" is forbidden: User "evergreen" cannot update')
    world.faults.add(**saves, skip=2, times=None, error=denied, before=lambda call: last.append(call.number))
    stopped(roll(world, **IN_ONE_WAVE, **CONFIG_MAP), "Allow get, create and update of configmaps")
    assert changes_of_the_group(world, since=last[0]) == []

    world.faults.clear()
    run = roll(world, **IN_ONE_WAVE, **CONFIG_MAP)
    assert run.rc == 0, run.output
    assert problems(world) == []
