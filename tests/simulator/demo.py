# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: a cluster's nodes are replaced before your eyes, by the real playbook against the rehearsal world."""

from __future__ import annotations

import sys
import time

from simulator import process
from simulator.runs import start_ansible_playbook
from simulator.scenarios import DEMO
from simulator.table import table

SPEED = 30.0  # half a minute of the cluster's time a second: booting and draining stay visible
PLAYBOOK = "evergreen.eks.rollout"
VARIABLES = {
    "eks_cluster_name": DEMO.cluster,
    "eks_node_groups": ",".join(group.name for group in DEMO.groups),
    "eks_delete_emptydir_data": True,
    "eks_max_surge": "50%",
    "eks_parallel_groups": len(DEMO.groups),
    "eks_poll_seconds": 0.5,
}
INTERRUPTED = 130


def demo(*arguments: str) -> int:
    """Run the rollout on the world that runs, or on a new one; returns ansible-playbook's exit code."""
    handle = process.find()
    if handle is not None and handle.scenario != DEMO.name:
        say(f"The world that runs here is {handle.scenario}; it makes room for the demonstration.")
        process.stop()
        process.forget_runs()
        handle = None
    if handle is None:
        process.forget_runs()
        say("Building the rehearsal world: three node groups, eleven nodes, over 70 pods ...")
        handle = process.start(DEMO.name, SPEED)
    else:
        say("The rehearsal world is running: going on where it stands. (`make demo-new` starts over.)")
    given = " ".join(f"-e {name}={value}" for name, value in VARIABLES.items())
    say(f"$ ansible-playbook {PLAYBOOK} {given}")
    began = time.monotonic()
    code = _run(handle.environment, arguments)
    _report(handle, time.monotonic() - began, code)
    return code


def demo_new(*arguments: str) -> int:
    """The same from the start, whatever has been before."""
    process.stop()
    process.forget_runs()
    return demo(*arguments)


def _run(environment: dict[str, str], arguments: tuple[str, ...]) -> int:
    """In the foreground, so that the user sees it live and Ctrl-C reaches it."""
    running = start_ansible_playbook(environment, PLAYBOOK, VARIABLES, *arguments)
    try:
        return running.wait()
    except KeyboardInterrupt:
        try:
            running.wait(timeout=10)
        except Exception:
            running.kill()
        return INTERRUPTED


def _report(handle: process.Handle, seconds: float, code: int) -> None:
    summary = handle.door.ask("/summary")
    say("")
    say("What the cluster itself recorded:")
    say(table(summary["groups"], summary["speed"]))
    pages = sorted(process.FOLDER.rglob("*.report.html"))
    if pages:
        say("What the runs tell themselves, to be opened in a browser:")
        say("\n".join(f"  {page}" for page in pages))
    if code == 0:
        say(f"Done in {seconds:.0f} s. `make demo` again changes nothing; `make demo-new` starts over.")
    else:
        say(f"Stopped after {seconds:.0f} s (exit code {code}). `make demo` goes on from here.")


def say(text: str) -> None:
    """One line to the user, at once."""
    print(text, flush=True, file=sys.stdout)
