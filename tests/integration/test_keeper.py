# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that keeps a run's lock: it outlives the module that started it, but not the playbook.

The playbook is a process that does nothing; the modules are processes that take the lock on its behalf. Times are
real seconds here, because leases are kept in real time: the lock of these tests is good for two.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evergreen.eks.plugins.module_utils.hold import Hold, HoldRecord, LockLost, boot_seconds
from ansible_collections.evergreen.eks.plugins.module_utils.process import CONTROLLER_VARIABLE, Process
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Clock, Journal
from simulator.runs import COLLECTIONS
from simulator.scenarios import NodeGroup, Scenario
from simulator.world import World

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/evergreen-eks"
ONE_NODE = Scenario(groups=[NodeGroup("shared", size=1)])
SECONDS = 2
# What a module does that takes the lock; warnings are errors, because a module's output must be nothing but its result.
MODULE = """
import sys
from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder
from ansible_collections.evergreen.eks.plugins.module_utils.keeper import take_and_keep
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

cluster, directory, seconds = sys.argv[1:]
call = Call()
call.lifeline.watch()
aws = Aws({}, call)
client = KubernetesClient.connect({"cluster_name": cluster}, aws, call)
holder = Holder.here(call.lifeline, operator="anna", since=call.clock.timestamp())
terms = {"seconds": int(seconds), "wait": 5, "poll_seconds": 0.1}
print(take_and_keep(client, call, holder, cluster=cluster, directory=directory, **terms))
"""


# Stands for ansible-playbook: runs a module when told to, and answers how it ended once its output has ended.
CONTROLLER = """
import json, subprocess, sys
for line in sys.stdin:
    done = subprocess.run([sys.executable, "-W", "error", "-c", *sys.argv[1:]], capture_output=True, text=True)
    print(json.dumps([done.returncode, done.stderr, done.stdout.strip()]), flush=True)
"""


class Playbook:
    """A playbook run: a process in a session of its own, and the modules that it starts."""

    def __init__(self, world: World) -> None:
        arguments = [MODULE, world.scenario.cluster, str(world.home / "state" / "prod"), str(SECONDS)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", CONTROLLER, *arguments],
            env={**world.env(), "PYTHONPATH": str(COLLECTIONS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def module(self) -> str:
        """Run a module that takes the lock; the hold file. The module ends, the process that it leaves does not."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("run it\n")
        self.process.stdin.flush()
        code, stderr, stdout = json.loads(self.process.stdout.readline())
        assert (code, stderr) == (0, "")
        return stdout

    def kill(self) -> None:
        """SIGKILL to all of it, as when an AWX job is cancelled."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def playbook(world: World) -> Iterator[Playbook]:
    one = Playbook(world)
    yield one
    if one.process.poll() is None:
        one.kill()


def lease_of(world: World) -> dict[str, Any]:
    return world.client().get(LEASE)["spec"]


def record_of(path: str) -> HoldRecord:
    record = HoldRecord.read(path)
    assert record
    return record


def eventually(true: Callable[[], Any], what: str) -> None:
    give_up = time.monotonic() + 60
    while not true():
        assert time.monotonic() < give_up, f"never {what}"
        time.sleep(0.02)


def renewals(world: World) -> list[Any]:
    return [call for call in world.record.calls(operation="PUT leases", author="evergreen") if call.succeeded]


@pytest.mark.scenario(ONE_NODE)
def test_the_lock_is_kept_between_modules_and_given_back_when_the_playbook_was_killed(world: World, playbook: Playbook):
    world.kubernetes.authenticator.lifetime = 1  # second; the token that the module used is soon accepted no more
    path = playbook.module()
    keeper = record_of(path).keeper
    eventually(lambda: any(call.status == 401 for call in world.record.calls(service="kubernetes")), "refused")
    before = len(renewals(world))
    eventually(lambda: len(renewals(world)) > before, "renewed with a new token")
    assert playbook.module() == path
    record = record_of(path)
    assert (record.keeper, record.generation) == (keeper, 1)
    assert lease_of(world)["holderIdentity"] == record.holder
    assert sorted(file.name.partition(".hold")[2] for file in Path(path).parent.iterdir()) == ["", ".lock"]

    playbook.kill()
    assert Process.parse(keeper).alive(), "it belongs to the playbook's process group"
    eventually(lambda: lease_of(world)["holderIdentity"] == "", "given back")
    assert lease_of(world)["leaseTransitions"] == 1
    assert not os.path.exists(path)
    eventually(lambda: not Process.parse(keeper).alive(), "ended")


@pytest.mark.scenario(ONE_NODE)
def test_in_an_outage_changes_wait_until_the_lock_is_held_again(world: World, playbook: Playbook):
    path = playbook.module()
    guard = threading.Thread(target=Hold(path, patience=60).check, args=(Clock(), Journal(None, Clock())), daemon=True)
    world.server.interrupt()
    eventually(lambda: not record_of(path).fresh(boot_seconds()), "out of date")
    assert "cannot be reached" in record_of(path).trouble
    guard.start()
    guard.join(SECONDS)
    assert guard.is_alive(), "a change was let through"
    world.server.restore()
    guard.join(60)
    assert not guard.is_alive()
    assert (record_of(path).generation, record_of(path).trouble) == (1, "")


@pytest.mark.scenario(ONE_NODE)
@pytest.mark.parametrize("holder", ["ci-7/b00t/1/4711/99", ""], ids=["still held", "given back"])
def test_who_was_taken_over_in_an_outage_is_fenced(world: World, playbook: Playbook, holder: str):
    path = playbook.module()
    keeper = record_of(path).keeper
    world.server.interrupt()
    world.client().patch(LEASE, {"spec": {"holderIdentity": holder, "leaseTransitions": 2}})
    world.server.restore()
    eventually(lambda: record_of(path).lost, "noticed")
    with pytest.raises(LockLost, match="was taken over by"):
        Hold(path, patience=60).check(Clock(), Journal(None, Clock()))
    eventually(lambda: not Process.parse(keeper).alive(), "ended")
    assert (lease_of(world)["holderIdentity"], lease_of(world)["leaseTransitions"]) == (holder, 2)


@pytest.mark.scenario(ONE_NODE)
def test_a_keeper_that_was_killed_is_replaced_under_its_generation(world: World, playbook: Playbook):
    path = playbook.module()
    os.kill(Process.parse(record_of(path).keeper).pid, signal.SIGKILL)
    with pytest.raises(LockLost, match="has ended"):
        while True:
            Hold(path, patience=60).check(Clock(), Journal(None, Clock()))
            time.sleep(0.1)
    assert playbook.module() == path
    Hold(path, patience=60).check(Clock(), Journal(None, Clock()))
    assert record_of(path).generation == 1


@pytest.mark.scenario(ONE_NODE)
def test_the_lock_waits_for_modules_that_outlive_their_playbook(world: World, playbook: Playbook):
    """Only the playbook's process is killed; its module needs a second to notice."""
    path = playbook.module()
    environment = {**world.env(), CONTROLLER_VARIABLE: str(Process.of(playbook.process.pid))}
    module = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)"], env=environment)
    seen: list[int | None] = []
    world.faults.add(operation="^PUT leases$", times=None, before=lambda _call: seen.append(module.poll()))
    playbook.kill()
    eventually(lambda: lease_of(world)["holderIdentity"] == "", "given back")
    assert seen[-1] == 0
    assert not os.path.exists(path)
