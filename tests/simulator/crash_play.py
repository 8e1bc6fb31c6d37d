# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One crash, played in a world of its own and judged by the record of that world."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator import crash_upgrade, crash_upgrade_judge
from simulator.checks import SCALE_DOWN_DISABLED, Expected, broken_invariants, nothing_changed
from simulator.crash_cases import BROKEN, HELD, MACHINE, MISSED, PARENT, Case, Kill, Outcome
from simulator.crash_meanwhile import DEEDS, Shift, checkpoints
from simulator.identities import KEYS, TOOLS
from simulator.killing import MARK, kill_marked, kill_tree, marked
from simulator.record import Call
from simulator.runs import start_ansible_playbook
from simulator.scenarios import Scenario
from simulator.snapshot import InstanceState, Snapshot
from simulator.steps import Steps, Strike, is_about_a_lease
from simulator.world import World

ROLLOUT, RESTORE = "evergreen.eks.rollout", "evergreen.eks.restore"
SETTLED = ("outdated", "instances")  # what these select is gone once it is replaced; the others select anew
NOTHING_LEFT = {ROLLOUT: "nothing to do", RESTORE: "nothing to put back"}  # what one more run says
SURGE = 2
SPEED = 60.0
RUN_TIMEOUT = 900.0  # real seconds; on an idle machine a run takes one minute
SLOW = 1.0  # while nothing must happen any more
NOTICED = 2.0  # real seconds after which nothing of a killed run changes anything any more
WAIT = 90  # real seconds; whatever a run waits for takes two of them
ENDED = 15.0  # real seconds within which what a killed ansible-playbook left behind has ended by itself
LOCK = 6  # real seconds for which a lock is good that nobody renews any more
# As root of its own user namespace anybody may give the machine another name.
ELSEWHERE = ("unshare", "--user", "--map-root-user", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh")
UNREADABLE = "is not a checkpoint"  # what a run says of one, together with what to do about it


class Runs:
    """The runs of a case, one after the other: under `authors` in turn, and each with two logs in `folder`."""

    def __init__(self, world: World, folder: Path, variables: Mapping[str, Any], authors: Sequence[str] = TOOLS):
        self.returncode: int | None = None
        self.playbook = ROLLOUT
        self._world = world
        self._folder = folder
        self._variables = variables
        self._authors = authors
        self._steps = Steps(world)
        self._marks: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def author(self) -> str:
        """Who the latest run is to the world."""
        return self._authors[(len(self._marks) - 1) % len(self._authors)]

    @property
    def mark(self) -> str:
        """What the latest run's processes are found by."""
        return self._marks[-1]

    @property
    def output(self) -> str:
        """What the latest run has said, both streams."""
        return "".join(path.read_text(errors="replace") for path in self._logs())

    def run(self, kill: Kill | None = None, *, elsewhere: bool = False) -> Call | None:
        """Run it, to its end or until it is killed; answers the request at which it was. `elsewhere`: on a machine
        of another name."""
        self._marks.append(secrets.token_hex(8))
        with contextlib.ExitStack() as stack:
            strike = None
            if kill:
                strike = Strike(self.author, kill.step, kill.moment, lambda _call: self._kill(kill.victims), kill.kind)
                stack.enter_context(self._steps.strike(strike))
            stdout, stderr = (stack.enter_context(path.open("w", encoding="utf-8")) for path in self._logs())
            environment = {**self._world.env(KEYS[self.author]), MARK: self.mark}
            self._process = start_ansible_playbook(
                environment,
                self.playbook,
                self._variables,
                into=(stdout, stderr),
                through=ELSEWHERE if elsewhere and can_be_elsewhere() else (),
            )
            self.returncode = self._process.wait(RUN_TIMEOUT)
        return strike.call if strike else None

    def end(self) -> None:
        """Leave no process of any run behind."""
        for mark in self._marks:
            kill_marked(mark)

    def _logs(self) -> tuple[Path, Path]:
        return tuple(self._folder / f"run{len(self._marks)}.{kind}" for kind in ("stdout", "stderr"))

    def _kill(self, victims: str) -> None:
        if victims == PARENT:
            os.kill(self._process.pid, signal.SIGKILL)
            return
        kill_tree(self._process.pid)
        if victims == MACHINE:
            kill_marked(self.mark)


def play(case: Case, folder: Path) -> Outcome:
    """Play a case; what it leaves in `folder` (logs, record, checkpoints) is kept only where it broke."""
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    killed: list[Call] = []
    try:
        with World.start(scenario_of(case), speed=SPEED, home=folder / "home") as world:
            try:
                problems = list(crash(case, world, folder, killed))
            finally:
                write_record(world, folder)
    except Exception:
        problems = [f"the rehearsal itself failed: {traceback.format_exc(limit=-3).strip()}"]
    missed = len(killed) < len(case.kills)
    verdict = BROKEN if problems else MISSED if missed else HELD
    if not problems:
        shutil.rmtree(folder)
    return Outcome(case.name, verdict, tuple(problems), tuple(map(str, killed)), time.monotonic() - began)


def crash(case: Case, world: World, folder: Path, killed: list[Call]) -> list[str]:
    """Kill the runs of a case, let the last one go to its end, and judge; adds to `killed` where each was."""
    select, selected = selection(case, world)
    if case.upgrade:
        select = crash_upgrade.variables()
    else:
        keep_by_hand(world, selected)
    runs = Runs(world, folder, {**variables(world), **select})
    runs.playbook = crash_upgrade.PLAYBOOK if case.upgrade else ROLLOUT
    problems: list[str] = []
    shift = Shift()
    try:
        for kill in case.kills:
            struck = runs.run(kill)
            if struck is None:
                break
            killed.append(struck)
            problems += silent_since(world, runs, struck, kill)
            if case.back and runs.playbook == ROLLOUT:
                runs.playbook, selected = RESTORE, replaced(world)
        else:
            shift = DEEDS[case.meanwhile](world) if case.meanwhile else shift
            runs.run(elsewhere=case.kills[-1].victims == MACHINE)
            if runs.returncode and UNREADABLE in runs.output:
                for path in checkpoints(world):
                    path.unlink()  # as it asks for
                runs.run()
        if runs.returncode:
            return [*problems, f"the run after it failed: {last_words(runs.output)}"]
        if case.upgrade:
            return problems + crash_upgrade_judge.problems(world)
        return problems + judged(case, world, runs, selected, shift)
    finally:
        runs.end()


def judged(case: Case, world: World, runs: Runs, selected: Mapping[str, list[str]], shift: Shift) -> list[str]:
    """Everything that is not as it should be, after the last run has come to a good end."""
    after = world.wait_until(lambda now: not now.pods_not_ready, "every pod is Ready")
    fewer = sum(max(0, -sizes.get("desired", 0)) for sizes in shift.sizes.values())
    # Where nodes of one zone only go, the surge may have come up in others: a successor then evens the zones out.
    in_one_zone = case.select in ("instances", "expression")
    surplus = SURGE if case.back or in_one_zone else len(shift.gone) + fewer
    expected = Expected(
        selected=selected, shifted=shift.sizes, gone_otherwise=shift.gone, surplus=surplus, authors=TOOLS
    )
    problems = broken_invariants(world.record, world.beginning, after, expected)
    problems += out_of_balancers(world, after)
    problems += [f"the checkpoint {path.name} was left" for path in checkpoints(world)]
    if case.select in SETTLED and not problems:
        problems += rerun_changes_nothing(world, runs)
    return problems


def out_of_balancers(world: World, after: Snapshot) -> list[str]:
    """Members that are no targets where their group is attached: nobody would have put them back."""
    attached = [(group.name, name) for group in world.scenario.groups for name in group.target_groups]
    with world.cloud.lock:
        world.cloud.settle()
        targets = {name: world.cloud.balancers.pool(world.provisioner.target_groups[name]) for _group, name in attached}
    return [
        f"{instance} is out of target group {name}"
        for group, name in attached
        for instance in sorted(set(after.groups[group].instances) - targets[name].registered())
    ]


def rerun_changes_nothing(world: World, runs: Runs) -> list[str]:
    """7: one more run finds nothing to do."""
    so_far = world.record.calls()[-1].number
    runs.run()
    changes = nothing_changed(world.record, so_far, (runs.author,))  # the keeper of the run before may still end
    problems = [f"one more run changed something: {text}" for text in changes]
    if runs.returncode or NOTHING_LEFT[runs.playbook] not in runs.output:
        problems.append(f"one more run did not say '{NOTHING_LEFT[runs.playbook]}': {last_words(runs.output)}")
    return problems


def replaced(world: World) -> dict[str, list[str]]:
    """Those of the start that are no members any more, or on their way out, by group: nobody else goes."""
    now = world.snapshot().groups
    return {
        name: sorted(set(group.instances) - {one.instance_id for one in now[name].instances.values() if stays(one)})
        for name, group in world.beginning.groups.items()
    }


def stays(instance: InstanceState) -> bool:
    """Is this member not on its way out?"""
    return not instance.lifecycle.startswith("Terminating")


def silent_since(world: World, runs: Runs, struck: Call, kill: Kill) -> list[str]:
    """A killed run changes nothing any more, but that its keeper gives the lock back; what was under way may end."""
    if kill.victims != PARENT:
        return []
    world.clock.set_speed(SLOW)  # or a worker that goes on would be done before it could be found out
    began = world.clock.now()
    give_up = time.monotonic() + ENDED
    while (left := marked(runs.mark)) and time.monotonic() < give_up:
        time.sleep(0.1)
    late = [
        f"the killed run still changed something: {call}"
        for call in world.record.calls(author=runs.author, mutating=True, since=struck.number)
        if call.at > began + NOTICED * SLOW and not is_about_a_lease(call)
    ]
    world.clock.set_speed(SPEED)
    return late + ([f"{len(left)} processes of the killed run still live after {ENDED:g} s"] if left else [])


def scenario_of(case: Case) -> Scenario:
    """Where a selection does not ask for what is outdated, nothing is: so that only it can have selected."""
    if case.select == "outdated" or case.upgrade:
        return case.scenario
    return replace(case.scenario, groups=[replace(group, outdated=False) for group in case.scenario.groups])


def variables(world: World) -> dict[str, Any]:
    """The variables of all runs: no canary, so that the surge makes the waves."""
    return {
        "eks_cluster_name": world.scenario.cluster,
        "eks_node_groups": [group.name for group in world.scenario.groups],
        "eks_poll_seconds": 0.1,
        "eks_delete_emptydir_data": True,
        "eks_max_surge": SURGE,
        "eks_canary": 0,
        "eks_ready_timeout": WAIT,
        "eks_drain_timeout": WAIT,
        "eks_lock_seconds": LOCK,
    }


def selection(case: Case, world: World) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The variable that selects, and whom that should select, by group."""
    everybody = {name: sorted(group.instances) for name, group in world.beginning.groups.items()}
    if case.select == "outdated":
        return {}, everybody
    if case.select == "all":
        return {"eks_select": "all"}, everybody
    if case.select == "older_than":
        return {"eks_select": {"older_than": "1s"}}, everybody
    (name, group), *_others = world.beginning.groups.items()
    first = min(group.instances.values(), key=lambda one: one.instance_id)
    if case.select == "instances":
        return {"eks_select": {"instances": [first.instance_id]}}, {name: [first.instance_id]}
    there = [one.instance_id for one in group.instances.values() if one.zone == first.zone]
    return {"eks_select": {"expression": f"[?zone=='{first.zone}']"}}, {name: sorted(there)}


def can_be_elsewhere() -> bool:
    """Whether this system lets a process live under another machine's name. Where not, the rerun is on the same."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ELSEWHERE, "true"], capture_output=True, check=False).returncode == 0


def keep_by_hand(world: World, selected: Mapping[str, list[str]]) -> None:
    """Who is not selected has been protected from scale-in, and from the cluster autoscaler, by its user."""
    for name, group in world.beginning.groups.items():
        stays = sorted(set(group.instances) - set(selected.get(name, ())))
        if stays:
            world.aws()("autoscaling").set_instance_protection(
                AutoScalingGroupName=name, InstanceIds=stays, ProtectedFromScaleIn=True
            )
        for instance in stays:
            annotations = {"metadata": {"annotations": {SCALE_DOWN_DISABLED: "true"}}}
            world.client().patch(f"/api/v1/nodes/{world.beginning.nodes[instance].name}", annotations)
    world.beginning = world.snapshot()


def last_words(output: str, most: int = 600) -> str:
    """The last failure that Ansible reports, else the end of what it said."""
    failures = [line for line in output.splitlines() if "fatal:" in line or "ERROR" in line]
    return (failures or output.strip().splitlines() or ["nothing was said"])[-1][:most]


def write_record(world: World, folder: Path) -> None:
    """All requests and notes of the world, for whoever looks for the cause."""
    calls = [
        f"{call.at - world.beginning.at:9.1f} {call} {call.params if call.mutating else ''}"
        for call in world.record.calls()
    ]
    notes = [f"{note.at - world.beginning.at:9.1f} {note.kind} {note.fields}" for note in world.record.notes()]
    (folder / "calls.txt").write_text("\n".join(calls), encoding="utf-8")
    (folder / "notes.txt").write_text("\n".join(notes), encoding="utf-8")
