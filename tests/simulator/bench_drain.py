# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The second half of `make bench`: draining alone, many nodes at once, by us and by others, as a table in Markdown.

Each tool drains the same nodes in a world of its own, built alike: all pods are on the nodes of one group, an empty
group of the same size stands beside it. Others take part where they are installed: C(kubectl), and
C(kubernetes.core.k8s_drain) (``.venv/bin/pip install -r requirements-bench.txt``).
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from simulator.bench import BUDGET, GROUP, REPLICAS, as_rows, cpu_of, leaving_seconds, watched
from simulator.identities import TOOL, TOOL_KEY
from simulator.killing import MARK, kill_marked
from simulator.kubernetes.authentication import Identity
from simulator.runs import COLLECTIONS, REPOSITORY
from simulator.scenarios import Budget, Deployment, NodeGroup, Scenario
from simulator.world import World

PODS_A_NODE = 30
SPARE = "spare"
START, STOP = 20.0, 25.0  # world seconds a pod takes to become Ready, and to end
TIMEOUT = 900  # seconds that each tool is given
QUICK = 60.0  # the clock's speed while nothing is measured
TOKEN = "bench-token"
OTHER = "other"  # who the other tools are to the world
COLUMNS = (
    *("who", "nodes", "pods", "budgets", "ended", "seconds", "ideal s", "times ideal", "evictions a pod"),
    *("refused", "Kubernetes calls a pod", "CPU s", "peak MiB", "pods left"),
)


@dataclass(frozen=True)
class Trial:
    """How many nodes are drained at once, and whether their pods are under budgets."""

    nodes: int
    budgets: bool

    @property
    def pods(self) -> int:
        return self.nodes * PODS_A_NODE

    def scenario(self) -> Scenario:
        """The full group and the empty one."""
        budget = Budget(max_unavailable=BUDGET) if self.budgets else None
        groups = [
            NodeGroup(GROUP, size=self.nodes, instance_type="m5.xlarge", outdated=False),
            NodeGroup(SPARE, size=0, max_size=self.nodes, instance_type="m5.xlarge", outdated=False),
        ]
        workloads = [
            Deployment(f"web-{number}", replicas=REPLICAS, start=START, stop=STOP, budget=budget)
            for number in range(self.pods // REPLICAS)
        ]
        return Scenario(name="bench-drain", groups=groups, workloads=workloads)


@dataclass(frozen=True)
class Command:
    """What a tool is started with."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    stdin: str = ""


@dataclass(frozen=True)
class Tool:
    """Somebody who drains: its name in the table, who it is to the world, whether it is here, and how it is called
    for these nodes, with a folder for what it needs and the world's speed."""

    name: str
    author: str
    is_here: Callable[[], bool]
    command: Callable[[World, Sequence[str], Path, float], Command]


@dataclass(frozen=True)
class Ended:
    """How a tool's process ended, after so many real seconds, and what it used (CPU seconds, MiB)."""

    returncode: int
    seconds: float
    cpu: float
    memory: float


@dataclass(frozen=True)
class Drained:
    """What came of it. `ideal` is in real seconds; `left`: pods that are still on the nodes."""

    tool: str
    trial: Trial
    ended: Ended
    ideal: float
    evictions: int
    refused: int
    calls: int
    left: int


def ours(world: World, nodes: Sequence[str], _folder: Path, speed: float) -> Command:
    """evergreen.eks.node_drain, as the process that ansible-playbook starts."""
    options = {
        "cluster_name": world.scenario.cluster,
        "nodes": list(nodes),
        "max_parallel": len(nodes),
        "timeout": TIMEOUT,
        "poll_seconds": 5.0 / speed,
    }
    module = "ansible_collections.evergreen.eks.plugins.modules.node_drain"
    environment = {**world.env(TOOL_KEY), "PYTHONPATH": str(COLLECTIONS)}
    return Command([sys.executable, "-m", module], environment, json.dumps({"ANSIBLE_MODULE_ARGS": options}))


def kubectl(world: World, nodes: Sequence[str], folder: Path, _speed: float) -> Command:
    """kubectl drain of all of them in one call."""
    options = ["--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={TIMEOUT}s"]
    config = kubeconfig(world, folder)
    return Command(["kubectl", "--kubeconfig", str(config), "drain", *options, *nodes], world.env())


def k8s_drain(world: World, nodes: Sequence[str], folder: Path, _speed: float) -> Command:
    """kubernetes.core.k8s_drain, which takes one node: a loop in a playbook, as its users write it."""
    options = {
        "name": "{{ item }}",
        "state": "drain",
        "kubeconfig": str(kubeconfig(world, folder)),
        "delete_options": {"ignore_daemonsets": True, "delete_emptydir_data": True, "wait_timeout": TIMEOUT},
    }
    task = {"kubernetes.core.k8s_drain": options, "loop": list(nodes)}
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]
    playbook = folder / "k8s_drain.yml"
    playbook.write_text(json.dumps(play), encoding="utf-8")
    interpreter = ["-e", f"ansible_python_interpreter={sys.executable}"]
    return Command([str(Path(sys.executable).parent / "ansible-playbook"), str(playbook), *interpreter], world.env())


def has_k8s_drain() -> bool:
    """Is the collection kubernetes.core beside ansible-core?"""
    found = [Path(path) / "ansible_collections" / "kubernetes" / "core" for path in sys.path]
    return any(path.is_dir() for path in found)


TOOLS = (
    Tool("evergreen.eks.node_drain", TOOL, lambda: True, ours),
    Tool("kubectl drain", OTHER, lambda: shutil.which("kubectl") is not None, kubectl),
    Tool("kubernetes.core.k8s_drain", OTHER, has_k8s_drain, k8s_drain),
)


def kubeconfig(world: World, folder: Path) -> Path:
    """A kubeconfig with which the other tools get in."""
    world.kubernetes.authenticator.tokens[TOKEN] = Identity("bench", OTHER)
    authority = folder / "ca.pem"
    authority.write_text(world.server.ca_pem, encoding="utf-8")
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "b", "cluster": {"server": world.server.url, "certificate-authority": str(authority)}}],
        "users": [{"name": "b", "user": {"token": TOKEN}}],
        "contexts": [{"name": "b", "context": {"cluster": "b", "user": "b"}}],
        "current-context": "b",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def drain(tool: Tool, trial: Trial, folder: Path, speed: float) -> Drained:
    """Let that tool drain them."""
    scenario = trial.scenario()
    with World.start(scenario, speed=speed, home=folder / "home") as world:
        full = {node.name for node in world.beginning.nodes.values()}
        make_room(world, trial.nodes, speed)
        for name in full:
            world.client().patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
        command = tool.command(world, sorted(full), folder, speed)
        so_far = world.record.calls()[-1].number
        with (folder / "output.log").open("w", encoding="utf-8") as output:
            ended = run(command, output)
        calls = [call for call in world.record.calls(author=tool.author, since=so_far) if call.service == "kubernetes"]
        evictions = [call for call in calls if call.operation == "POST pods/eviction"]
        return Drained(
            tool=tool.name,
            trial=trial,
            ended=ended,
            ideal=leaving_seconds(scenario) / speed,
            evictions=len(evictions),
            refused=sum(not call.succeeded for call in evictions),
            calls=len(calls),
            left=sum(node in full for node in world.snapshot().pods.values()),
        )


def make_room(world: World, nodes: int, speed: float) -> None:
    """Let the empty group grow, which takes no time that is measured, and wait until its nodes are Ready."""
    world.actors.set_desired(SPARE, nodes)
    world.clock.set_speed(QUICK)
    world.wait_until(lambda now: sum(node.ready for node in now.nodes.values()) == 2 * nodes, "all nodes are Ready")
    world.clock.set_speed(speed)


def run(command: Command, output: IO[str]) -> Ended:
    """Run it to its end."""
    mark = secrets.token_hex(8)
    began = time.monotonic()
    with watched(mark) as usage, tempfile.TemporaryFile("w+", encoding="utf-8") as stdin:
        stdin.write(command.stdin)
        stdin.seek(0)
        process = subprocess.Popen(
            command.arguments,
            env={**command.environment, MARK: mark},
            cwd=REPOSITORY,
            stdin=stdin,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        cpu = cpu_of(process)
    kill_marked(mark)
    return Ended(process.returncode, time.monotonic() - began, cpu, usage.memory)


def row(one: Drained) -> list[str]:
    """A row of the table."""
    pods, ended = one.trial.pods, one.ended
    return [
        one.tool,
        str(one.trial.nodes),
        str(pods),
        BUDGET if one.trial.budgets else "none",
        "well" if ended.returncode == 0 else f"exit code {ended.returncode}",
        f"{ended.seconds:.0f}",
        f"{one.ideal:.0f}",
        f"{ended.seconds / one.ideal:.2f}",
        f"{one.evictions / pods:.2f}",
        str(one.refused),
        f"{one.calls / pods:.2f}",
        f"{ended.cpu:.0f}",
        f"{ended.memory:.0f}",
        str(one.left),
    ]


def bench_drain(nodes: int, speed: float) -> int:
    """Let each tool that is here drain so many nodes, with budgets and without; prints the table, row by row."""
    print(as_rows(COLUMNS, ["---"] * len(COLUMNS)), flush=True)
    for tool in TOOLS:
        if not tool.is_here():
            print(f"{tool.name} is not here", file=sys.stderr)
            continue
        for budgets in (True, False):
            print(f"{tool.name}: {nodes} nodes {'under' if budgets else 'without'} budgets", file=sys.stderr)
            with tempfile.TemporaryDirectory(prefix="evergreen-bench-") as folder:
                print(as_rows(row(drain(tool, Trial(nodes, budgets), Path(folder), speed))), flush=True)
    return 0
