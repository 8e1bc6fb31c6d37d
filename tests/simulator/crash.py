# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make crash`: rollouts killed at every step, and run again; prints how many crashes held, and what the others broke.

make crash                              # everything
make crash EVERY=5                      # every fifth step only, and every fifth of the other kinds of crashes
make crash ONLY=k017-after              # one case; several with commas and wildcards: ONLY='lost-*,torn-*'
make crash JOBS=1                       # one world at a time

Interrupted, it goes on where it stopped: what held is written down, and believed as long as the code is the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from multiprocessing import get_context
from pathlib import Path

from simulator import process
from simulator.crash_cases import (
    BROKEN,
    HELD,
    MISSED,
    Case,
    Outcome,
    every_step,
    every_step_back,
    samples,
)
from simulator.runs import REPOSITORY
from simulator.steps import MOMENTS

OUTPUT = REPOSITORY / "tests" / "output" / "crash"
TESTED = ("plugins", "roles", "playbooks", "tests/simulator")
MOST_STEPS = 500  # no run has as many
PROGRESS_EVERY = 10  # cases, where the output is no terminal


@dataclass
class Tally:
    """What came of the cases so far; `every`: how many steps lie between neighbours of a series."""

    every: int = 1
    held: int = 0
    broken: int = 0
    seconds: float = 0.0
    missed: dict[tuple[str, str], set[int]] = field(default_factory=dict)  # series, moment -> steps not reached

    def add(self, case: Case, outcome: Outcome) -> Outcome:
        """Count it; answers it as it is counted."""
        kill = case.kills[-1]
        only_the_last = len(outcome.killed_at) == len(case.kills) - 1
        if outcome.verdict == MISSED and case.series and only_the_last:
            self.missed.setdefault((case.series, kill.moment), set()).add(kill.step)
        elif outcome.verdict == MISSED:
            problem = "a run ended before it was killed: lower GIVEN_UP or LAST_STEP in tests/simulator/crash_cases.py"
            outcome = Outcome(outcome.name, BROKEN, (problem,), outcome.killed_at, outcome.seconds)
        self.held += outcome.verdict == HELD
        self.broken += outcome.verdict == BROKEN
        self.seconds += outcome.seconds
        return outcome

    def is_beyond(self, case: Case) -> bool:
        """Would this case only see what earlier ones saw: a run that ends before it can be killed?"""
        kill = case.kills[-1]
        return bool(case.series) and kill.step > self._end(case.series, kill.moment)

    def is_at_an_end(self, case: Case) -> bool:
        """Is this case of a series beyond its end, whatever the moment?"""
        return case.kills[-1].step > max(self._end(case.series, moment) for moment in MOMENTS)

    def _end(self, series: str, moment: str) -> int:
        """Where two neighbouring steps are missed: one run may have a step less than others."""
        missed = self.missed.get((series, moment), set())
        return min((step for step in missed if step - self.every in missed), default=MOST_STEPS)


class Results:
    """What came of the cases in this and in earlier runs of the same code; those that broke are played again."""

    def __init__(self, path: Path, code: str):
        self._path = path
        self._code = code
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        ours = [line["outcome"] for line in lines if line["code"] == code and line["outcome"]["verdict"] != BROKEN]
        self._known = {outcome["name"]: Outcome(**outcome) for outcome in ours}

    def get(self, case: Case) -> Outcome | None:
        return self._known.get(case.name)

    def add(self, outcome: Outcome) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps({"code": self._code, "outcome": asdict(outcome)}) + "\n")


def code_tested() -> str:
    """A digest of all that a crash depends on."""
    digest = hashlib.sha256()
    for folder in TESTED:
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def crash(only: str = "", every: int = 1, jobs: int = 2) -> int:
    """Play the cases; returns the exit code: 0 when all of them held, and there was one at least."""
    began = time.monotonic()
    environment = process.serving_environment()
    os.environ.clear()  # nothing of the caller's own AWS or Kubernetes reaches the worlds, nor what runs in them
    os.environ.update(environment)
    tally = Tally(every)
    results = Results(OUTPUT / "results.jsonl", code_tested())
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting: dict[Future[Outcome], Case] = {}
        ahead = cases(tally, only.split(",") if only else ())
        while True:
            while len(waiting) < jobs and (case := next(ahead, None)) is not None:
                if known := results.get(case):
                    tally.add(case, known)
                else:
                    waiting[pool.submit(play, case, OUTPUT / case.name)] = case
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                case, outcome = waiting.pop(future), future.result()
                results.add(outcome)
                report(tally, tally.add(case, outcome), began)
    print(f"{tally.held} held, {tally.broken} broken")
    return 0 if tally.held and not tally.broken else 1


def cases(tally: Tally, only: Sequence[str]) -> Iterator[Case]:
    """The cases that are asked for, in order; how many steps a run has is known only when one has ended."""
    for series in (every_step, every_step_back):
        for case in series(tally.every):
            if tally.is_at_an_end(case):
                break
            if not tally.is_beyond(case) and is_asked_for(case, only):
                yield case
    for case in samples()[:: tally.every]:
        if is_asked_for(case, only):
            yield case


def is_asked_for(case: Case, only: Sequence[str]) -> bool:
    """Is it named, or is no name given?"""
    return not only or any(fnmatch(case.name, pattern.strip()) for pattern in only)


def play(case: Case, folder: Path) -> Outcome:
    """In a process of its own. Only there moto is loaded, which takes a second and looks at the environment."""
    from simulator.crash_play import play as play_in_a_world

    return play_in_a_world(case, folder)


def report(tally: Tally, outcome: Outcome, began: float) -> None:
    """A line for a broken case, and how far it has come."""
    done = tally.held + tally.broken
    if outcome.verdict == BROKEN:
        where = (OUTPUT / outcome.name).relative_to(REPOSITORY)
        cause = "; ".join(" ".join(problem.split()) for problem in outcome.problems)
        print(f"BROKEN {outcome.name}: {cause} [make crash ONLY={outcome.name}; see {where}]", flush=True)
    so_far = f"{tally.held} held, {tally.broken} broken so far, {(time.monotonic() - began) / 60:.0f} min"
    latest = f"{outcome.name} took {outcome.seconds:.0f} s, killed at {' and '.join(outcome.killed_at) or 'no step'}"
    if sys.stderr.isatty():
        print(f"\r\033[K{so_far}; {latest}"[:160], end="", file=sys.stderr, flush=True)
    elif done % PROGRESS_EVERY == 0 or outcome.verdict == MISSED:
        print(f"{so_far}; {latest}", file=sys.stderr, flush=True)
