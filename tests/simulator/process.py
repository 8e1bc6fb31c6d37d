# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A world in a process of its own: starting, finding and stopping it.

It lives in a session of its own, so that Ctrl-C in the terminal does not reach it. What others need to know of it
(pid, address and token of its control door, environment) stands in ``.world/world.json``, readable only by the user
(``SIMULATOR_FOLDER`` names another folder than ``.world``).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.door import BadRequest, Door
from simulator.runs import REPOSITORY

FOLDER = Path(os.environ.get("SIMULATOR_FOLDER") or REPOSITORY / ".world")
START_TIMEOUT = 60.0  # real seconds
STOP_TIMEOUT = 10.0


class WorldTrouble(Exception):
    """It does not start, or does not answer; the text says what to do."""


@dataclass(frozen=True)
class Handle:
    """A running world."""

    pid: int
    scenario: str
    speed: float
    environment: dict[str, str]
    door: Door


def find() -> Handle | None:
    """The world that runs here, if one does and answers."""
    try:
        known = json.loads((FOLDER / "world.json").read_text(encoding="utf-8"))
        door = Door(known["url"], known["token"])
        door.ask("/status", timeout=5)
    except (OSError, ValueError, KeyError, BadRequest):
        return None
    return Handle(known["pid"], known["scenario"], known["speed"], known["environment"], door)


def start(scenario: str, speed: float) -> Handle:
    """Start a world and wait until it is built."""
    make_private_folder(FOLDER)
    (FOLDER / "world.json").unlink(missing_ok=True)
    log = FOLDER / "world.log"
    write_private(log, "")
    with log.open("a", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "simulator", "serve", scenario, "--speed", f"{speed:g}"],
            env=serving_environment(),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    give_up = time.monotonic() + START_TIMEOUT
    try:
        while time.monotonic() < give_up:
            if (handle := find()) is not None:
                return handle
            if process.poll() is not None:
                raise WorldTrouble(f"the world ended at once; {log} says why:\n{_tail(log)}")
            time.sleep(0.1)
    except KeyboardInterrupt:
        process.terminate()
        raise
    process.terminate()
    raise WorldTrouble(f"the world was not ready after {START_TIMEOUT:g} s; {log} may say why:\n{_tail(log)}")


def stop() -> bool:
    """End the world, if one runs. Returns whether one did."""
    handle = find()
    if handle is None:
        return False
    with contextlib.suppress(OSError, BadRequest):
        handle.door.ask("/stop", {})
    give_up = time.monotonic() + STOP_TIMEOUT
    while _alive(handle.pid):
        if time.monotonic() > give_up:  # it answered under this pid a moment ago, so the pid is its own
            os.kill(handle.pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    (FOLDER / "world.json").unlink(missing_ok=True)
    return True


def forget_runs() -> None:
    """Remove what the runs of Ansible against the last world have left behind: checkpoints above all."""
    shutil.rmtree(FOLDER / "home", ignore_errors=True)


def serve(scenario_name: str, speed: float) -> int:
    """Be the world, until somebody asks for its end. Runs in the process that ``start`` makes."""
    # Only here: this loads moto, which takes a second and looks at the environment.
    from simulator.control import ControlServer
    from simulator.scenarios import SCENARIOS
    from simulator.world import World

    make_private_folder(FOLDER)
    token = secrets.token_hex(16)
    with World.start(SCENARIOS[scenario_name], speed=speed, home=FOLDER / "home") as world:
        control = ControlServer(world, token)
        signal.signal(signal.SIGTERM, lambda *_unused: control.stopped.set())
        known = {
            "pid": os.getpid(),
            "scenario": scenario_name,
            "speed": speed,
            "url": control.url,
            "token": token,
            "environment": world.env(),
        }
        write_private(FOLDER / "world.json", json.dumps(known, indent=2))
        control.stopped.wait()
        control.close()
    return 0


def serving_environment() -> dict[str, str]:
    """What the world's own process gets of the caller's environment: no AWS, Kubernetes or proxy settings."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SIMULATOR_FOLDER")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONPATH": str(REPOSITORY / "tests"),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "*",
    }


def make_private_folder(folder: Path) -> None:
    """Make a folder that only the user may enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def write_private(path: Path, text: str) -> None:
    """Write a file that only the user may read, whole or not at all."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def ask(path: str, given: dict[str, Any] | None = None) -> Any:
    """One request to the running world."""
    handle = find()
    if handle is None:
        raise WorldTrouble("no world is running here; start one with `make demo`, or `python -m simulator start`")
    return handle.door.ask(path, given)


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # it may be our own child
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(encoding="utf-8").splitlines()[-lines:])
