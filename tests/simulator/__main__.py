# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal world on the command line: ``python -m simulator COMMAND`` with ``PYTHONPATH=tests``."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys

from simulator import process
from simulator.crash import crash
from simulator.demo import SPEED, demo, demo_new, demo_upgrade, demo_upgrade_new
from simulator.door import DEEDS, BadRequest
from simulator.scenarios import SCENARIOS
from simulator.table import table


def parser() -> argparse.ArgumentParser:
    """The commands."""
    top = argparse.ArgumentParser(prog="python -m simulator", description="The rehearsal world of evergreen.eks")
    commands = top.add_subparsers(dest="command", required=True)
    for name, text in (("start", "start a world in the background"), ("serve", "be a world, in the foreground")):
        made = commands.add_parser(name, help=text)
        made.add_argument("scenario", nargs="?", default="demo", choices=sorted(SCENARIOS))
        made.add_argument("--speed", type=float, default=SPEED, help="world seconds a second (default %(default)g)")
    commands.add_parser("stop", help="end the world")
    commands.add_parser("status", help="what runs, and how its groups stand")
    commands.add_parser("summary", help="what was replaced by what so far")
    commands.add_parser("calls", help="every request so far, with its author")
    commands.add_parser("notes", help="what the world saw: cordons, evictions, removals, lost pods")
    commands.add_parser("env", help='print the environment for your shell: eval "$(python -m simulator env)"')
    act = commands.add_parser("act", help="let somebody else do something")
    act.add_argument("deed", choices=DEEDS)
    act.add_argument("arguments", nargs="*")
    for name, text in (
        ("demo", "roll the demo cluster, or go on with it"),
        ("demo-new", "the same from the start"),
        ("demo-upgrade", "upgrade a whole cluster, or go on with it"),
        ("demo-upgrade-new", "the same from the start"),
    ):
        made = commands.add_parser(name, help=text)
        made.add_argument("arguments", nargs=argparse.REMAINDER, help="more arguments for ansible-playbook")
    commands.add_parser("demo-stop", help="end the world and forget the demo")
    made = commands.add_parser("crash", help="kill rollouts at every step, and run them again")
    made.add_argument("--only", default="", help="names of cases, with commas and wildcards")
    made.add_argument("--every", type=int, default=1, help="only every n-th")
    made.add_argument("--jobs", type=int, default=2, help="worlds at a time (default %(default)d)")
    made = commands.add_parser("bench", help="what a rollout costs, by the size of its group")
    made.add_argument("--nodes", default="10,50,200", help="sizes, with commas (default %(default)s)")
    made.add_argument("--drain", type=int, default=100, help="nodes that are only drained (default %(default)d)")
    made.add_argument("--speed", type=float, default=1.0, help="world seconds a second (default %(default)g)")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = parser().parse_args(arguments)
    try:
        return run(given)
    except (process.WorldTrouble, BadRequest) as trouble:
        print(trouble, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run(given: argparse.Namespace) -> int:
    """Dispatch."""
    if given.command == "serve":
        return process.serve(given.scenario, given.speed)
    demonstrations = {
        "demo": demo,
        "demo-new": demo_new,
        "demo-upgrade": demo_upgrade,
        "demo-upgrade-new": demo_upgrade_new,
    }
    if given.command in demonstrations:
        return demonstrations[given.command](*given.arguments)
    if given.command == "crash":
        return crash(given.only, given.every, given.jobs)
    if given.command == "bench":
        return measure(given)
    if given.command == "start":
        return start(given.scenario, given.speed)
    if given.command in ("stop", "demo-stop"):
        print("The world has ended." if process.stop() else "No world was running.")
        if given.command == "demo-stop":
            process.forget_runs()
    elif given.command == "act":
        numbers_too = [int(value) if value.isdigit() else value for value in given.arguments]
        print(json.dumps(process.ask("/act", {"deed": given.deed, "arguments": numbers_too})))
    elif given.command == "env":
        print_environment()
    elif given.command == "summary":
        summary = process.ask("/summary")
        print(table(summary["groups"], summary["speed"]))
    elif given.command == "calls":
        print("\n".join(process.ask("/calls")))
    else:
        print(json.dumps(process.ask(f"/{given.command}"), indent=2))
    return 0


def measure(given: argparse.Namespace) -> int:
    """Both halves of the bench. Moto is loaded with them, which the other commands need not wait for."""
    environment = process.serving_environment()
    os.environ.clear()  # nothing of the caller's own AWS or Kubernetes reaches the worlds, nor what runs in them
    os.environ.update(environment)
    from simulator.bench import bench
    from simulator.bench_drain import bench_drain

    sizes = [int(size) for size in given.nodes.split(",") if int(size)]
    codes = [bench(sizes, given.speed) if sizes else 0, bench_drain(given.drain, given.speed) if given.drain else 0]
    return max(codes)


def start(scenario: str, speed: float) -> int:
    """Start a world unless one runs."""
    if (running := process.find()) is not None:
        print(f"A world is running already: {running.scenario}, pid {running.pid}.")
        return 0
    handle = process.start(scenario, speed)
    print(f"The world {scenario} runs, pid {handle.pid}.")
    return 0


def print_environment() -> None:
    """The variables with which the aws CLI, kubectl and ansible-playbook talk to the world."""
    handle = process.find()
    if handle is None:
        raise process.WorldTrouble("no world is running here; start one with `python -m simulator start`")
    for name, value in handle.environment.items():
        if name not in ("PATH", "HOME", "TERM"):
            print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    sys.exit(main())
