# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo` and `make demo-upgrade`: a cluster's nodes are replaced, or all of it is upgraded, before your eyes.

By the real playbook, against the rehearsal world.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator import process
from simulator.runs import start_ansible_playbook
from simulator.scenarios import DEMO, UPGRADE, Scenario
from simulator.table import table

SPEED = 30.0  # half a minute of the cluster's time a second: booting and draining stay visible
INTERRUPTED = 130


@dataclass(frozen=True)
class Show:
    """One demonstration: a world, and the playbook that is run on it. ``make`` is how it is asked for."""

    make: str
    scenario: Scenario
    playbook: str
    building: str
    speed: float = SPEED
    variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def all_variables(self) -> dict[str, Any]:
        return {
            "eks_cluster_name": self.scenario.cluster,
            "eks_node_groups": ",".join(group.name for group in self.scenario.groups),
            "eks_poll_seconds": 0.5,
            **self.variables,
        }


ROLLOUT = Show(
    make="demo",
    scenario=DEMO,
    playbook="evergreen.eks.rollout",
    building="three node groups, eleven nodes, over 70 pods",
    variables={
        "eks_delete_emptydir_data": True,
        "eks_max_surge": "50%",
        "eks_parallel_groups": len(DEMO.groups),
    },
)
WHOLE_CLUSTER = Show(
    make="demo-upgrade",
    scenario=UPGRADE,
    playbook="evergreen.eks.upgrade",
    building="a cluster at 1.31 with two old add-ons, three node groups and a Deployment on Fargate",
    speed=60.0,  # a control plane takes ten minutes for a minor
    variables={
        "eks_version": "1.33",
        "eks_image": "recommended",
        "eks_self_managed": "set",
        "eks_verify_sidecars": '[{"annotation":"vault.hashicorp.com/agent-inject","container":"vault-agent"}]',
        "eks_gate_settle_seconds": 5,
        "eks_verify_settle_seconds": 5,
    },
)


def demo(*arguments: str) -> int:
    """Run the rollout on the world that runs, or on a new one; returns ansible-playbook's exit code."""
    return play(ROLLOUT, *arguments)


def demo_new(*arguments: str) -> int:
    """The same from the start, whatever has been before."""
    return play_anew(ROLLOUT, *arguments)


def demo_upgrade(*arguments: str) -> int:
    """Run the upgrade of a whole cluster on the world that runs, or on a new one."""
    return play(WHOLE_CLUSTER, *arguments)


def demo_upgrade_new(*arguments: str) -> int:
    """The same from the start, whatever has been before."""
    return play_anew(WHOLE_CLUSTER, *arguments)


def play_anew(show: Show, *arguments: str) -> int:
    process.stop()
    process.forget_runs()
    return play(show, *arguments)


def play(show: Show, *arguments: str) -> int:
    handle = process.find()
    if handle is not None and handle.scenario != show.scenario.name:
        say(f"The world that runs here is {handle.scenario}; it makes room for the demonstration.")
        process.stop()
        process.forget_runs()
        handle = None
    if handle is None:
        process.forget_runs()
        say(f"Building the rehearsal world: {show.building} ...")
        handle = process.start(show.scenario.name, show.speed)
    else:
        say(f"The rehearsal world is running: going on where it stands. (`make {show.make}-new` starts over.)")
    given = " ".join(f"-e {shlex.quote(f'{name}={value}')}" for name, value in show.all_variables.items())
    say(f"$ ansible-playbook {show.playbook} {given}")
    began = time.monotonic()
    code = _run(show, handle.environment, arguments)
    _report(show, handle, time.monotonic() - began, code)
    return code


def _run(show: Show, environment: dict[str, str], arguments: tuple[str, ...]) -> int:
    """In the foreground, so that the user sees it live and Ctrl-C reaches it."""
    running = start_ansible_playbook(environment, show.playbook, show.all_variables, *arguments)
    try:
        return running.wait()
    except KeyboardInterrupt:
        try:
            running.wait(timeout=10)
        except Exception:
            running.kill()
        return INTERRUPTED


def _report(show: Show, handle: process.Handle, seconds: float, code: int) -> None:
    summary = handle.door.ask("/summary")
    say("")
    say("What the cluster itself recorded:")
    say(table(summary["groups"], summary["speed"]))
    pages = sorted(process.FOLDER.rglob("*.report.html"))
    if pages:
        say("What the runs tell themselves, to be opened in a browser:")
        say("\n".join(f"  {page}" for page in pages))
    if code == 0:
        say(f"Done in {seconds:.0f} s. `make {show.make}` again changes nothing; `make {show.make}-new` starts over.")
    else:
        say(f"Stopped after {seconds:.0f} s (exit code {code}). `make {show.make}` goes on from here.")


def say(text: str) -> None:
    """One line to the user, at once."""
    print(text, flush=True, file=sys.stdout)
