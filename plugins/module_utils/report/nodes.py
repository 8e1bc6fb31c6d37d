# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The nodes of a rollout: what became of each, and in which stage it was when. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import SURPLUS, Checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.report import records
from ansible_collections.evergreen.eks.plugins.module_utils.report.events import Event, seconds_of
from ansible_collections.evergreen.eks.plugins.module_utils.report.records import Gap, NodeStory, Span

# What the checkpoint notes of a selected instance, as stages of a node.
NOTED = {
    "cordon": records.CORDONED,
    "detach": records.TERMINATING,
    "carried": records.CARRIED,
    "gone": records.TERMINATED,
}
STAGES = frozenset(records.NODE_STAGES)
UNCORDONED = "uncordoned"  # no stage of its own: the node serves again


class NodeBook:
    """Collects what is told of the nodes, of the journal first, and then what the checkpoint knows besides."""

    def __init__(self) -> None:
        self._stories: dict[str, NodeStory] = {}
        self._by_node: dict[str, str] = {}
        self._moments: dict[str, list[tuple[float, str]]] = {}
        self._selected: set[str] = set()

    def note(self, event: Event, wave: int) -> None:
        """An event C(node_stage); C(wave) is the one under way."""
        stage = event.text("to")
        key = self._key(event.text("instance"), event.text("node"))
        if stage not in (*STAGES, UNCORDONED) or not key:
            return
        story = self._stories.get(key)
        if story is None:
            story = self._stories[key] = NodeStory(key, old=self._is_old(event, key, stage))
        story.node = story.node or event.text("node")
        story.zone = story.zone or event.text("zone")
        story.wave = event.number("wave") or (story.wave if story.old else 0) or story.wave or wave
        pods = event.number("pods")
        if pods is not None and stage in (records.DRAINING, records.DRAINED):
            story.pods = max(pods, story.pods or 0)
        if stage in (UNCORDONED, records.SERVING):  # whoever serves, of the new ones, has been Ready
            stage = records.SERVING if story.old else records.READY
        at = seconds_of(event.fields.get("at"))
        self._moments.setdefault(key, []).append((event.at if at is None else min(at, event.at), stage))

    def add_selected(self, event: Event) -> None:
        """Those whom an event C(run_begun) names as selected."""
        for facts in selected_by(event):
            name = str(facts["instance"])
            self._selected.add(name)
            story = self._stories.setdefault(name, NodeStory(name, old=True))
            for field in ("node", "zone", "reason"):
                setattr(story, field, getattr(story, field) or str(facts.get(field) or ""))

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """What the checkpoint knows of the instances that were to go, and what no line of the journal says."""
        for name, host in checkpoint.hosts.items():
            story = self._stories.setdefault(name, NodeStory(name, old=True))
            story.old = host.reason != SURPLUS
            story.node, story.zone = story.node or host.node, story.zone or host.zone
            story.wave, story.reason = host.wave or story.wave, host.reason
            if host.finished and story.old:
                story.outcome = records.VANISHED if host.how == "vanished" else records.REPLACED
            known = {stage for _at, stage in self._moments.get(name, ())}
            for noted, stage in NOTED.items():
                at = seconds_of(host.times.get(noted))
                if at is not None and stage not in known:
                    self._moments.setdefault(name, []).append((at, stage))

    def drop_kept(self, checkpoint: Checkpoint) -> None:
        """A run that was given up selects nobody any more: who stays is no old node that was to go."""
        for name in [key for key, story in self._stories.items() if story.old and key not in checkpoint.hosts]:
            if not any(stage == records.TERMINATED for _at, stage in self._moments.get(name, ())):
                self._stories[name].outcome = records.KEPT

    def stories(self, began: float, ended: float, gaps: Sequence[Gap] = ()) -> list[NodeStory]:
        """All nodes, by wave, the new ones of each first; with their spans between these two moments."""
        for key, story in self._stories.items():
            moments = sorted(self._moments.get(key, ()), key=lambda moment: moment[0])
            story.times = times_of(moments)
            story.spans = spans_of(moments, story.old, began, ended, gaps)
            story.outcome = story.outcome or outcome_of(story.old, [stage for _at, stage in moments])
        return sorted(self._stories.values(), key=_place)

    def _is_old(self, event: Event, key: str, stage: str) -> bool:
        """Whether it was there at the beginning, where the event does not say it: those that were selected were."""
        old = event.fields.get("old")
        if isinstance(old, bool):
            return old
        return key in self._selected or not (self._selected or stage in (records.LAUNCHED, records.READY))

    def _key(self, instance: str, node: str) -> str:
        """The instance; of an event that names the node only, the one that has been told with it."""
        if instance:
            if node:
                self._by_node[node] = instance
                if node in self._stories:  # told by its node's name alone until now
                    self._rename(node, instance)
            return instance
        return self._by_node.get(node, node)

    def _rename(self, node: str, instance: str) -> None:
        story = self._stories.pop(node)
        story.instance, story.node = instance, node
        self._stories[instance] = story
        self._moments[instance] = self._moments.pop(node, [])


def selected_by(event: Event) -> list[Mapping[str, Any]]:
    """The old instances that an event C(run_begun) names, each with at least its id: not those that the run itself had
    launched and are too many."""
    items = event.fields.get("selected")
    every = [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
    return [item for item in every if item.get("instance") and item.get("reason") != SURPLUS]


def spans_of(
    moments: Sequence[tuple[float, str]], old: bool, began: float, ended: float, gaps: Sequence[Gap] = ()
) -> list[Span]:
    """The stages that these moments begin, each until the next one. An old node served until then, from the start."""
    spans: list[Span] = []
    stage: Optional[str] = records.SERVING if old else None
    since = began
    for at, following in moments:
        if stage == following:
            continue
        if stage is not None and (at > since or stage != records.SERVING):
            spans.append(Span(stage, since, at, idle_in(gaps, since, at)))
        stage, since = following, at
        if stage == records.TERMINATED:
            return spans
    if stage is not None and ended >= since:
        spans.append(Span(stage, since, ended, idle_in(gaps, since, ended)))
    return spans


def times_of(moments: Sequence[tuple[float, str]]) -> dict[str, float]:
    """When it came to each stage last; what is told again while it is in that stage does not count."""
    times: dict[str, float] = {}
    before = ""
    for at, stage in moments:
        if stage != before:
            times[stage] = at
        before = stage
    return times


def idle_in(gaps: Sequence[Gap], began: float, ended: float) -> float:
    """How many seconds of these are between two attempts."""
    return sum(max(0.0, min(gap.ended, ended) - max(gap.began, began)) for gap in gaps)


def outcome_of(old: bool, stages: Iterable[str]) -> str:
    """What became of a node of which the checkpoint does not say it."""
    reached = set(stages)
    gone = records.TERMINATED in reached
    if not old:
        if gone:
            return records.REMOVED
        return records.NEW if records.READY in reached else records.STARTING
    if gone:
        return records.REPLACED
    return records.IN_HAND if reached - {records.SERVING} else records.UNTOUCHED


def _place(story: NodeStory) -> tuple[float, bool, float, str]:
    """Nodes that belong to no wave come last."""
    return (story.wave or float("inf"), story.old, min(story.times.values(), default=float("inf")), story.name)
