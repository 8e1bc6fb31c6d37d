# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time: the Lease of the cluster, through ansible-playbook. Leases are kept in real time."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.rollouts import PLAYBOOK, checkpoints, problems, roll, roll_until_killed, variables

from simulator.checks import nothing_changed
from simulator.identities import SOMEBODY
from simulator.record import Call
from simulator.runs import kill_group, start_ansible_playbook
from simulator.scenarios import NodeGroup, Scenario
from simulator.world import World

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
LEASE = f"{LEASES}/evergreen-eks"
ONE_NODE = Scenario(groups=[NodeGroup("shared", size=1)])
TWO_GROUPS = Scenario(groups=[NodeGroup("istio", size=1), NodeGroup("shared", size=1)])
SPEED = 60


def lease_of(world: World) -> dict[str, Any]:
    return world.client().get(LEASE)["spec"]


def holder_of(world: World) -> dict[str, Any]:
    return json.loads(world.client().get(LEASE)["metadata"]["annotations"]["evergreen.eks/holder"])


def renewals(world: World) -> list[Call]:
    return [call for call in world.record.calls(operation="PUT leases", author="evergreen") if call.succeeded]


def changes(world: World) -> list[Call]:
    """What we changed, the lock itself left out."""
    ours = world.record.calls(author="evergreen", mutating=True)
    return [call for call in ours if not call.operation.endswith(" leases")]


def keeper_of(world: World) -> int:
    """The process that keeps the lock of the one run that there is."""
    (hold,) = (world.home / "state").rglob("*.hold")
    return int(json.loads(hold.read_text())["keeper"].partition(":")[0])


class RunElsewhere:
    """A run on another machine, whose clock is wrong by decades. Its lock is good for ``seconds`` (real ones)."""

    def __init__(self, world: World, seconds: int) -> None:
        self._world, self._client, self._year = world, world.client(SOMEBODY), 1999
        spec = {"holderIdentity": "ci-7/b00t/1/4711/99", "leaseDurationSeconds": seconds, "leaseTransitions": 7}
        self._client.create(LEASES, {"metadata": {"name": "evergreen-eks"}, "spec": spec})

    def renew_while(self, wanted: Callable[[], bool]) -> None:
        """Every half second, as long as that is so."""
        if wanted():
            self._year -= 1
            self._client.patch(LEASE, {"spec": {"renewTime": f"{self._year}-01-01T00:00:00.000000Z"}})
            self._world.actors.at(0.5 * SPEED, lambda: self.renew_while(wanted))

    def take_over(self) -> None:
        """As it may when the lock has run out."""
        generation = lease_of(self._world)["leaseTransitions"] + 1
        changed = {"holderIdentity": "ci-7/b00t/1/4711/99", "leaseTransitions": generation}
        self._client.patch(LEASE, {"spec": changed})


def site_playbook(folder: Path) -> Path:
    """An operator's own: one node group, then tasks of another kind for as long as it takes, then the next group."""
    terms = {
        "rollout_cluster_name": "{{ cluster }}",
        "rollout_state_dir": str(folder / "first"),
        "rollout_poll_seconds": 0.1,
        "rollout_lock_seconds": 2,
    }
    rolls = [
        {
            "name": f"Roll {group}",
            "ansible.builtin.include_role": {"name": "evergreen.eks.rollout"},
            "vars": {"rollout_asg_name": group},
        }
        for group in ("istio", "shared")
    ]
    between = [
        {"name": "Begin", "ansible.builtin.file": {"path": str(folder / "begun"), "state": "touch"}},
        {"name": "Take long", "ansible.builtin.wait_for": {"path": str(folder / "go"), "sleep": 1}},
    ]
    play = {"name": "Site", "hosts": "localhost", "gather_facts": False, "vars": terms}
    path = folder / "site.yml"
    path.write_text(yaml.safe_dump([{**play, "tasks": [rolls[0], *between, rolls[1]]}]))
    return path


@pytest.mark.scenario(TWO_GROUPS)
def test_a_second_job_is_refused_by_name_also_while_the_first_does_something_else(world: World, tmp_path: Path):
    """Two slices of one AWX job: each in its own container, with a directory of its own."""
    site = site_playbook(tmp_path)
    job = {"cluster": world.scenario.cluster, "awx_job_id": 17, "awx_user_name": "ann"}
    first = start_ansible_playbook(world.env(), str(site), job, capture=True)
    try:
        world.wait_until(lambda _now: (tmp_path / "begun").exists(), "the first group is rolled", seconds=240 * SPEED)
        before = len(renewals(world))
        world.wait_until(lambda _now: len(renewals(world)) > before + 1, "the lock is renewed meanwhile")
        so_far = len(changes(world))
        second = roll(world, awx_job_id=18, eks_lock_wait=0, eks_select="all", eks_state_dir=str(tmp_path / "second"))
        assert len(changes(world)) == so_far
    finally:
        (tmp_path / "go").touch()
        stdout, stderr = first.communicate(timeout=300)
    assert second.rc == 2
    assert re.search(rf"is held by ann on \S+ \(AWX job 17, process {first.pid}, since ", second.stdout), second.output
    assert "Nothing was changed at node group istio of cluster rehearsal: it stopped in " in second.stdout
    for said_of_the_first in ("Done: ", "has no checkpoint", "To go back"):
        assert said_of_the_first not in second.stdout, second.output
    assert "kubectl -n kube-system delete lease evergreen-eks" in second.stdout
    assert "eks_lock=false" in second.stdout
    assert first.returncode == 0, stdout + stderr
    assert problems(world) == []
    world.wait_until(lambda _now: lease_of(world)["holderIdentity"] == "", "the lock is given back")
    assert lease_of(world)["leaseTransitions"] == 1


@pytest.mark.scenario(ONE_NODE)
def test_a_run_elsewhere_is_waited_for_until_its_lock_has_stood_still(world: World):
    elsewhere = RunElsewhere(world, seconds=3)
    elsewhere.renew_while(lambda: len(world.record.calls(operation="GET leases", author="evergreen")) < 20)
    taken = roll_until_killed(world, "kubernetes", "^PUT leases$", eks_lock_wait=70)
    last = world.record.calls(operation="PATCH leases", author=SOMEBODY)[-1]
    assert taken.at - last.at >= 3 * SPEED
    assert changes(world) == []
    assert (lease_of(world)["leaseTransitions"], holder_of(world)["host"] != "ci-7") == (8, True)


@pytest.mark.scenario(ONE_NODE)
def test_who_was_killed_with_its_keeper_is_taken_over_at_once(world: World):
    """The lock of the first would be good for another minute, but its process is provably gone."""
    first = start_ansible_playbook(world.env(), PLAYBOOK, variables(world), capture=True)

    def kill(_call: Call) -> None:
        os.kill(keeper_of(world), signal.SIGKILL)
        kill_group(first)

    world.faults.add("autoscaling", "^CreateOrUpdateTags$", after=kill)
    first.communicate(timeout=300)
    assert lease_of(world)["leaseTransitions"] == 1
    assert holder_of(world)["pid"] == first.pid
    roll_until_killed(world, "kubernetes", "^PUT leases$", eks_lock_wait=0)
    assert lease_of(world)["leaseTransitions"] == 2
    assert holder_of(world)["pid"] != first.pid


@pytest.mark.slow
@pytest.mark.scenario(ONE_NODE)
def test_a_run_whose_keeper_is_killed_keeps_its_lock_to_the_end(world: World):
    """Replaced at the next stage: without a keeper nobody would give the lock back."""
    world.actors.when(lambda: os.kill(keeper_of(world), signal.SIGKILL), operation="^SetInstanceProtection$")
    run = roll(world)
    assert run.rc == 0, run.output
    assert problems(world) == []
    world.wait_until(lambda _now: lease_of(world)["holderIdentity"] == "", "the lock is given back")
    assert lease_of(world)["leaseTransitions"] == 1


@pytest.mark.slow
@pytest.mark.scenario(ONE_NODE)
def test_without_the_right_to_leases_it_says_so_before_any_change_and_goes_without_a_lock(world: World):
    world.kubernetes.authorize = lambda user, verb, group, resource, subresource: resource != "leases"
    refused = roll(world)
    assert refused.rc == 2
    assert "needs the verbs get, create and update on leases.coordination.k8s.io" in refused.stdout
    assert "eks_lock=false" in refused.stdout
    assert nothing_changed(world.record) == []

    so_far = world.record.calls()[-1].number
    roll_until_killed(world, "kubernetes", "^PATCH nodes$", skip=1, eks_lock="false")  # the new node's first mark
    assert world.snapshot().groups["shared"].desired == 2
    assert [call for call in world.record.calls(since=so_far) if "leases" in call.operation] == []


@pytest.mark.scenario(ONE_NODE)
def test_while_its_lock_cannot_be_renewed_a_run_changes_nothing_and_then_goes_on(world: World):
    """Everything else answers: only the guard holds the changes back."""
    seconds = 2

    def trouble() -> None:
        error = (503, "ServiceUnavailable", "etcdserver: no leader")
        world.faults.add("kubernetes", " leases$", times=None, seconds=4 * SPEED, error=error)

    world.actors.when(trouble, operation="^CreateOrUpdateTags$")
    roll_until_killed(world, "kubernetes", "^PATCH nodes$", skip=1, eks_lock_seconds=seconds)
    attempts = world.record.calls(operation="PUT leases", author="evergreen")
    failed = [number for number, call in enumerate(attempts) if call.status == 503]
    last, again = attempts[failed[0] - 1], attempts[failed[-1] + 1]
    assert [call for call in changes(world) if last.at + seconds * SPEED < call.at < again.at] == []
    assert [call for call in changes(world) if call.at > again.at] != []
    assert lease_of(world)["leaseTransitions"] == 1


@pytest.mark.slow
@pytest.mark.scenario(ONE_NODE)
def test_who_was_taken_over_is_fenced(world: World):
    elsewhere = RunElsewhere(world, seconds=60)
    world.client(SOMEBODY).patch(LEASE, {"spec": {"holderIdentity": ""}})
    world.actors.when(elsewhere.take_over, operation="^CreateOrUpdateTags$")
    run = roll(world)
    assert run.rc == 2
    assert "was taken over by ci-7 (process 4711)" in run.stdout
    assert world.snapshot().groups["shared"].desired == 1, "a later stage went on"
    (checkpoint,) = checkpoints(world)
    assert "failed" not in json.loads(checkpoint.read_text())["stages"], "it was written without the lock"
    assert (lease_of(world)["holderIdentity"], lease_of(world)["leaseTransitions"]) == ("ci-7/b00t/1/4711/99", 9)
