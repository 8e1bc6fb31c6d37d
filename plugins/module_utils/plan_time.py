# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a rollout is expected to take: from what former runs of the node group took, else from assumptions.

A checkpoint keeps the paces of the last runs in its field C(history), newest last; a new run's takes them over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import SURPLUS, Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, counted
from ansible_collections.evergreen.eks.plugins.module_utils.journal import event_in
from ansible_collections.evergreen.eks.plugins.module_utils.moments import parse_timestamp
from ansible_collections.evergreen.eks.plugins.module_utils.scene import Scene
from ansible_collections.evergreen.eks.plugins.module_utils.store import Store

KEPT_RUNS = 5
# Seconds, where no run has told better: a managed AMI on a current instance type, pods that stop within their default
# grace, an instance that shuts down, and two looks of the gate with what it waits for to start.
ASSUMED = {"ready_seconds": 120, "drain_seconds": 60, "terminate_seconds": 60, "between_seconds": 30}
LONGEST = 366 * 86400.0  # seconds that anything may have taken
NODE_EVENT = "node_stage"


@dataclass(frozen=True)
class Pace:
    """Seconds from a launch until the node is Ready, for the drain of a node, for the end of an instance, and for all
    that is between two waves besides: gates, load balancers, an operator's own tasks. `runs`: how many told so."""

    ready_seconds: float = ASSUMED["ready_seconds"]
    drain_seconds: float = ASSUMED["drain_seconds"]
    terminate_seconds: float = ASSUMED["terminate_seconds"]
    between_seconds: float = ASSUMED["between_seconds"]
    runs: int = 0

    def __str__(self) -> str:
        told = f"measured in {counted(self.runs, 'former run')}" if self.runs else "assumed, no former run is known"
        return (
            f"{told}: {self.ready_seconds:.0f} s until a node is Ready, {self.drain_seconds:.0f} s for a drain, "
            f"{self.terminate_seconds:.0f} s for an end, {self.between_seconds:.0f} s between waves"
        )

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "source": "history" if self.runs else "assumed", "text": str(self)}


def pace_of(history: Sequence[Mapping[str, Any]]) -> Pace:
    """The medians of the former runs; what none of them has measured is assumed."""
    told = {name: [run[name] for run in history if _is_number(run.get(name))] for name in ASSUMED}
    return Pace(
        **{name: float(median(values)) if values else ASSUMED[name] for name, values in told.items()},
        runs=sum(1 for run in history if any(_is_number(run.get(name)) for name in ASSUMED)),
    )


def wave_seconds(pace: Pace, nodes: int, launches: bool, parallel: int, first: bool, bake: float = 0) -> float:
    """Seconds of one wave. `launches`: new nodes are waited for before it. `bake`: so long the canary stands before."""
    before = (pace.ready_seconds if launches else 0) + (0 if first else pace.between_seconds) + bake
    return before + pace.drain_seconds * ceil(nodes / max(1, parallel)) + pace.terminate_seconds


# --- what a run has taken -----------------------------------------------------------------------------------------


def former_history(store: Store) -> list[dict[str, Any]]:
    """What the last run that came to its end kept of itself and of those before; nothing where it cannot be read."""
    try:
        former = store.former()
    except EvergreenError:
        return []
    return list(former.history) if former else []


def note_pace(checkpoint: Checkpoint, scene: Scene, journal: Path) -> None:
    """Have the checkpoint of a run that has replaced somebody and ends now keep what that took."""
    old = [host for host in checkpoint.hosts.values() if host.finished and host.reason != SURPLUS]
    if checkpoint.given_up or not old:
        return
    entry = {
        "run_id": checkpoint.run_id,
        "ended": checkpoint.ended,
        "instances": len(old),
        **measured(checkpoint, scene, node_events(journal, checkpoint.run_id)),
    }
    known = [run for run in checkpoint.history if run.get("run_id") != checkpoint.run_id]
    checkpoint.history = [*known, entry][-KEPT_RUNS:]


def measured(checkpoint: Checkpoint, scene: Scene, events: Iterable[Mapping[str, Any]]) -> dict[str, Optional[float]]:
    """The pace of one run, None for what nobody has measured."""
    seen = list(events)
    ready = _median(_ready_seconds(checkpoint, scene))
    drains = [
        seconds for cordon, detach in _wave_times(checkpoint) if (seconds := _between(cordon, detach)) is not None
    ]
    drain = _median(_stage_seconds(seen, "drained")) or _median(drains)
    end = _median(_stage_seconds(seen, "terminated"))
    turns = [
        max(0.0, turn - (ready or 0) - (end if end is not None else ASSUMED["terminate_seconds"]))
        for (_cordon, detach), (later, _detach) in zip(_wave_times(checkpoint), _wave_times(checkpoint)[1:])
        if (turn := _between(detach, later)) is not None
    ]
    return {
        "ready_seconds": ready,
        "drain_seconds": drain,
        "terminate_seconds": end,
        "between_seconds": _median(turns),
    }


def node_events(journal: Path, run_id: str) -> Iterator[dict[str, Any]]:
    """What the journal says of this run's nodes; nothing where there is none. What is torn in it is passed over."""
    try:
        with journal.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                event = event_in(line) if NODE_EVENT in line and run_id in line else None
                if event and event.get("kind") == NODE_EVENT and event.get("run") == run_id:
                    yield event
    except OSError:
        return


def _ready_seconds(checkpoint: Checkpoint, scene: Scene) -> list[float]:
    """From the launch of each new instance until its node was Ready."""
    found = []
    for host in scene.counting:
        node = scene.nodes.get(host.instance_id)
        since = parse_timestamp(node.ready_since) if node and node.is_ready else None
        if since and host.launched and host.instance_id not in checkpoint.members_before:
            found.append((since - host.launched).total_seconds())
    return [seconds for seconds in found if seconds >= 0]


def _wave_times(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """When the nodes of each wave began to be cordoned, and when they were drained, by wave."""
    waves: dict[int, list[Mapping[str, str]]] = {}
    for host in checkpoint.hosts.values():
        if host.reason != SURPLUS and not host.carried and {"cordon", "detach"} <= set(host.times):
            waves.setdefault(host.wave, []).append(host.times)
    return [
        (min(times["cordon"] for times in waves[number]), max(times["detach"] for times in waves[number]))
        for number in sorted(waves)
    ]


def _stage_seconds(events: Iterable[Mapping[str, Any]], stage: str) -> list[float]:
    return [
        float(event["seconds"])
        for event in events
        if event.get("to") == stage and event.get("old", True) and _is_number(event.get("seconds"))
    ]


def _between(earlier: str, later: str) -> Optional[float]:
    begin, end = parse_timestamp(earlier), parse_timestamp(later)
    return (end - begin).total_seconds() if begin and end and end >= begin else None


def _median(values: Sequence[float]) -> Optional[float]:
    return round(float(median(values)), 1) if values else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LONGEST
