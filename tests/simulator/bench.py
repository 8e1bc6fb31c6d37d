# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: what a rollout costs, by the size of its group, as a table in Markdown.

make bench                      # 10, 50 and 200 nodes with 15 pods each, then draining alone: 100 nodes with 30 each
make bench NODES=10,50 DRAIN=0  # other sizes, no draining alone
make bench SPEED=10             # another clock: quicker, but the waiting is then a smaller part of it

The world's clock runs as fast as the real one, so that what is measured is what an operator would wait. Every node is
replaced in one wave under a surge of 100 %. The world shares the two cores, so its own work is in the wall seconds too.
"""

from __future__ import annotations

import math
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.aws.timings import Timings
from simulator.identities import TOOL
from simulator.killing import MARK, PROC, kill_marked, marked
from simulator.runs import start_ansible_playbook
from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario, Workload
from simulator.world import World

PODS_A_NODE = 15
REPLICAS = 30  # of each Deployment
BUDGET = "25%"  # of them may be missing
GROUP = "bench"
COLUMNS = (
    *("nodes", "pods", "budgets", "wall s", "ideal s", "over it s", "AWS calls", "Kubernetes calls", "a pod"),
    *("evictions a pod", "CPU s", "peak MiB"),
)
SAMPLE_EVERY = 0.5  # real seconds between two looks at the memory
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Bench:
    """One rollout that is measured: its group's size, and whether its pods are under budgets."""

    nodes: int
    budgets: bool = True

    @property
    def pods(self) -> int:
        return self.nodes * PODS_A_NODE

    def scenario(self) -> Scenario:
        """A group of that size whose pods belong to Deployments of `REPLICAS` each."""
        budget = Budget(max_unavailable=BUDGET) if self.budgets else None
        full, rest = divmod(self.pods, REPLICAS)
        sizes = [REPLICAS] * full + ([rest] if rest else [])
        workloads: list[Workload] = [
            Deployment(f"web-{number}", replicas=size, group=GROUP, budget=budget) for number, size in enumerate(sizes)
        ]
        return Scenario(name="bench", groups=[NodeGroup(GROUP, size=self.nodes)], workloads=workloads)


@dataclass(frozen=True)
class Measured:
    """What one rollout cost. Seconds are real ones, `memory` is MiB: the most that all its processes had together."""

    bench: Bench
    wall: float
    ideal: float
    aws_calls: int
    kubernetes_calls: int
    evictions: int
    cpu: float
    memory: float


@dataclass(frozen=True)
class Process:
    """A living process: its CPU seconds, and its proportional set size in MiB."""

    pid: int
    parent: int
    cpu: float
    memory: float


@dataclass
class Usage:
    """What the processes of a run use, looked at while they live. `cpu`: seconds of those that left the others (the
    keeper of the lock), by process id."""

    memory: float = 0.0
    cpu: dict[int, float] = field(default_factory=dict)

    def look(self, mark: str) -> None:
        """Take in the present: proportional set sizes, so that what forked processes share counts once."""
        processes = [one for pid in marked(mark) if (one := state_of(pid)) is not None]
        self.memory = max(self.memory, sum(one.memory for one in processes))
        pids = {one.pid for one in processes}
        self.cpu.update({one.pid: one.cpu for one in processes if one.parent not in pids and one.parent != os.getpid()})


def ideal_seconds(scenario: Scenario) -> float:
    """Seconds of the world below which no tool gets, all nodes in one wave: the new nodes come up, each Deployment's
    pods leave as fast as its budget lets them (the next ones when the successors of those before are Ready), the last
    ones stop, and the instances end. Nobody looks, and nobody makes sure of anything."""
    cloud, times = Timings(), scenario.times
    coming = cloud.reaction + cloud.starting + times.boot + times.ready
    return coming + leaving_seconds(scenario) + cloud.shutting_down


def leaving_seconds(scenario: Scenario) -> float:
    """Seconds of the world within which all pods can have left their nodes."""
    return max((_rounds(one) - 1) * one.start + one.stop for one in scenario.workloads)


def _rounds(workload: Workload) -> int:
    if workload.budget is None:
        return 1
    share = int(str(workload.budget.max_unavailable).rstrip("%"))
    return math.ceil(workload.replicas / math.ceil(workload.replicas * share / 100))


def measure(bench: Bench, home: Path, speed: float) -> Measured:
    """Roll the group once, and measure. Raises RuntimeError when the rollout does not succeed."""
    with World.start(bench.scenario(), speed=speed, home=home) as world:
        mark = secrets.token_hex(8)
        environment = {**world.env(), MARK: mark}
        log = home / "rollout.log"
        with log.open("w", encoding="utf-8") as output, watched(mark) as usage:
            began = time.monotonic()
            rollout = start_ansible_playbook(
                environment, "evergreen.eks.rollout", variables(bench, speed), into=(output, output)
            )
            cpu = cpu_of(rollout)
            wall = time.monotonic() - began
        kill_marked(mark)
        if rollout.returncode:
            raise RuntimeError(f"the rollout of {bench.nodes} nodes failed: {log.read_text(encoding='utf-8')[-3000:]}")
        calls = world.record.calls(author=TOOL)
        return Measured(
            bench=bench,
            wall=wall,
            ideal=ideal_seconds(bench.scenario()) / speed,
            aws_calls=sum(call.service != "kubernetes" for call in calls),
            kubernetes_calls=sum(call.service == "kubernetes" for call in calls),
            evictions=sum(call.operation == "POST pods/eviction" for call in calls),
            cpu=cpu + sum(usage.cpu.values()),
            memory=usage.memory,
        )


def variables(bench: Bench, speed: float) -> dict[str, Any]:
    """Everything at once, and all else as an operator has it."""
    return {
        "eks_cluster_name": "rehearsal",
        "eks_node_groups": [GROUP],
        "eks_max_surge": "100%",
        "eks_canary": 0,
        "eks_max_parallel_drains": bench.nodes,
        "eks_poll_seconds": 5.0 / speed,
    }


def cpu_of(rollout: subprocess.Popen[str]) -> float:
    """CPU seconds of a process and of all its descendants that were waited for; waits for its end."""
    _pid, status, usage = os.wait4(rollout.pid, 0)
    rollout.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def watched(mark: str) -> Iterator[Usage]:
    """Look at the processes of a run now and then while the context lasts."""
    usage, ended = Usage(), threading.Event()

    def look_on() -> None:
        while not ended.wait(SAMPLE_EVERY):
            usage.look(mark)

    thread = threading.Thread(target=look_on, name="usage", daemon=True)
    thread.start()
    try:
        yield usage
    finally:
        usage.look(mark)
        ended.set()
        thread.join()


def state_of(pid: int) -> Process | None:
    """A process as it is now; None when it has ended, or where the system does not tell (macOS)."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        memory = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    kib = sum(int(line.split()[1]) for line in memory if line.startswith("Pss:"))
    return Process(pid, int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS, kib / 1024)


def row(one: Measured) -> list[str]:
    """A row of the table."""
    pods = one.bench.pods
    return [
        str(one.bench.nodes),
        str(pods),
        BUDGET if one.bench.budgets else "none",
        f"{one.wall:.0f}",
        f"{one.ideal:.0f}",
        f"{one.wall - one.ideal:.0f}",
        str(one.aws_calls),
        str(one.kubernetes_calls),
        f"{one.kubernetes_calls / pods:.2f}",
        f"{one.evictions / pods:.2f}",
        f"{one.cpu:.0f}",
        f"{one.memory:.0f}",
    ]


def as_rows(*rows: Sequence[str]) -> str:
    """Rows of a table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def bench(sizes: Sequence[int], speed: float) -> int:
    """Measure each size with budgets and without, and print the table, row by row; returns the exit code."""
    print(as_rows(COLUMNS, ["---"] * len(COLUMNS)), flush=True)
    for number in sizes:
        for budgets in (True, False):
            one = Bench(number, budgets)
            print(f"{one.nodes} nodes, {one.pods} pods {'under' if budgets else 'without'} budgets", file=sys.stderr)
            with tempfile.TemporaryDirectory(prefix="evergreen-bench-") as home:
                print(as_rows(row(measure(one, Path(home), speed))), flush=True)
    return 0
