# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report holds. Moments are seconds since 1970 (UTC), None where nobody knows; durations are seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

# Pods that were held up for less, in seconds, are counted and not listed: budgets let pods go one after the other.
BRIEFLY = 10.0

# How a run, or one attempt at it, has ended.
FINISHED, FAILED, STOPPED, PUT_BACK = "finished", "failed", "stopped", "put_back"
RUNNING = "running"  # it has not ended, and its process lives, or it was heard of a moment ago
INTERRUPTED = "interrupted"  # it has not ended, and nothing is heard of it any more
ENDED_WELL = (FINISHED, PUT_BACK)

# What became of a node: C(outcome) of NodeStory.
REPLACED = "replaced"  # old, and removed by the run
VANISHED = "vanished"  # old, and gone by itself
IN_HAND = "in_hand"  # old, begun with and still there
UNTOUCHED = "untouched"  # old, selected and not begun with
KEPT = "kept"  # old, selected, and kept by a run that was given up
NEW = "new"  # launched meanwhile, and Ready
STARTING = "starting"  # launched meanwhile, and not Ready yet
REMOVED = "removed"  # launched meanwhile, and gone again

# The stages of a node, as the journal names them; the first is our own word for an old node that nobody has touched.
SERVING = "serving"
LAUNCHED, READY = "launched", "ready"
CORDONED, DEREGISTERED, DRAINING, DRAINED = "cordoned", "deregistered", "draining", "drained"
NOT_DRAINED, CARRIED, TERMINATING, TERMINATED = "not_drained", "carried", "terminating", "terminated"
NODE_STAGES = (
    *(SERVING, LAUNCHED, READY, CORDONED, DEREGISTERED, DRAINING, DRAINED),
    *(NOT_DRAINED, CARRIED, TERMINATING, TERMINATED),
)


@dataclass(frozen=True)
class Attempt:
    """One run of the playbook for this rollout; a rollout that was resumed has several."""

    began: float
    ended: float
    outcome: str
    resumed: bool = False
    purpose: str = "rollout"  # or restore, the way back
    operator: str = ""
    awx_job_id: str = ""
    command: str = ""
    cause: str = ""

    @property
    def seconds(self) -> float:
        return max(0.0, self.ended - self.began)


@dataclass(frozen=True)
class Gap:
    """The time between two attempts, in which nobody worked on the group. C(outcome): how the first one ended."""

    began: float
    ended: float
    outcome: str

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True)
class Phase:
    """Time that an attempt spent in one stage of the role."""

    stage: str
    seconds: float


@dataclass(frozen=True)
class Span:
    """A node in one stage. C(ended) is the end of what is known where it still is in it; C(idle) is how much of it lies
    between two attempts, when nobody worked on it."""

    stage: str
    began: float
    ended: float
    idle: float = 0.0

    @property
    def seconds(self) -> float:
        return self.ended - self.began - self.idle


@dataclass
class NodeStory:
    """One instance: what became of it, and when. C(reason): why it was to go."""

    instance: str
    old: bool
    node: str = ""
    zone: str = ""
    wave: int = 0
    reason: str = ""
    outcome: str = ""
    pods: Optional[int] = None
    times: dict[str, float] = field(default_factory=dict)  # the last time at which it reached a stage
    spans: list[Span] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.node or self.instance

    @property
    def seconds_to_ready(self) -> Optional[float]:
        """From its launch until it was Ready, or until now where it is not; None where its launch was not seen."""
        if LAUNCHED not in self.times:
            return None
        return self.seconds_in(LAUNCHED)

    def seconds_in(self, stage: str) -> float:
        return sum(span.seconds for span in self.spans if span.stage == stage)


@dataclass
class WaveStory:
    """One wave: its number, the old instances in it, and when it was worked on."""

    number: int
    instances: tuple[str, ...] = ()
    began: Optional[float] = None
    ended: Optional[float] = None


@dataclass(frozen=True)
class Capacity:
    """The sizes of the group at one moment; None where a size was not seen."""

    at: float
    desired: Optional[int] = None
    max: Optional[int] = None
    members: Optional[int] = None
    ready: Optional[int] = None
    floor: Optional[int] = None


@dataclass(frozen=True)
class Blocked:
    """A pod that was in the way of a drain. C(until) is None where it still was at the end."""

    pod: str
    node: str
    since: float
    until: Optional[float]
    seconds: float
    reason: str = ""
    budget: str = ""
    message: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class GateStory:
    """One look of a gate that let the run pass, or did not."""

    at: float
    passed: bool
    text: str = ""
    wave: int = 0


@dataclass(frozen=True)
class Cluster:
    """How the cluster was in the picture at the beginning, and in the last comparison with it."""

    before: Mapping[str, int] = field(default_factory=dict)
    after: Mapping[str, int] = field(default_factory=dict)
    before_at: Optional[float] = None
    after_at: Optional[float] = None
    worse: tuple[str, ...] = ()
    better: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One line that people saw while it ran."""

    at: float
    text: str


@dataclass(frozen=True)
class Ending:
    """How the run that writes this report ends, where that is known better than by the journal."""

    outcome: str = ""
    cause: str = ""
    resume_command: str = ""
    restore_command: str = ""


@dataclass
class Report:
    """All that is told of one rollout of one node group."""

    group: str
    run: str
    outcome: str
    written: float
    cluster_name: str = ""
    account: str = ""
    region: str = ""
    cause: str = ""
    target: str = ""
    surge: Optional[int] = None
    unavailable: Optional[int] = None
    floor: Optional[int] = None
    selected: int = 0
    resume_command: str = ""
    restore_command: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    waves: list[WaveStory] = field(default_factory=list)
    nodes: list[NodeStory] = field(default_factory=list)
    capacity: list[Capacity] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    forced: list[Mapping[str, Any]] = field(default_factory=list)
    gates: list[GateStory] = field(default_factory=list)
    cluster: Cluster = Cluster()
    lines: list[Line] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)  # what it was told from
    missing: list[str] = field(default_factory=list)  # what could not be read, in words
    whole: bool = True  # whether the journal tells it from its beginning; a run may go on on another machine

    @property
    def began(self) -> float:
        return self.attempts[0].began if self.attempts else self.written

    @property
    def ended(self) -> float:
        """The end of what is known; of a run that goes on, now."""
        return self.attempts[-1].ended if self.attempts else self.written

    @property
    def seconds(self) -> float:
        return max(0.0, self.ended - self.began)

    @property
    def seconds_worked(self) -> float:
        """Without the time in which nobody worked on it."""
        return sum(attempt.seconds for attempt in self.attempts)

    @property
    def unfinished(self) -> bool:
        return self.outcome not in ENDED_WELL

    @property
    def old(self) -> list[NodeStory]:
        return [node for node in self.nodes if node.old]

    @property
    def new(self) -> list[NodeStory]:
        return [node for node in self.nodes if not node.old]

    @property
    def replaced(self) -> list[NodeStory]:
        """The old nodes that are gone, whoever took them away."""
        return [node for node in self.old if node.outcome in (REPLACED, VANISHED)]

    @property
    def held_up(self) -> list[Blocked]:
        """The pods that were blocked for so long that it matters, or still are, the longest first."""
        return [one for one in self.blocked if one.until is None or one.seconds >= BRIEFLY]

    def floor_at(self, moment: Capacity) -> Optional[int]:
        """What was promised then: an autoscaler moves it. Where a look did not name it, that of the beginning."""
        return self.floor if moment.floor is None else moment.floor

    @property
    def below_floor(self) -> list[Capacity]:
        """The moments at which fewer nodes were Ready than was promised, the worst first."""
        seen = [(self.floor_at(one), one) for one in self.capacity if one.ready is not None]
        below = [(one.ready - floor, one) for floor, one in seen if floor is not None and one.ready < floor]
        return [one for _missing, one in sorted(below, key=lambda found: found[0])]
