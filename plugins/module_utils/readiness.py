# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wait until instances have become nodes that take pods, and say how far each of them came when they have not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.daemonsets import list_daemonsets, pending_daemonsets
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput, WaitTimeout
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    Activity,
    Group,
    activity_text,
    blocking_activity,
    describe_instances,
    living_group,
    scaling_activities,
)
from ansible_collections.evergreen.eks.plugins.module_utils.journal import LAUNCHED, READY
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.moments import run_began
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import (
    Node,
    Standing,
    by_instance,
    list_nodes,
    list_pods,
    standing,
    summary,
)
from ansible_collections.evergreen.eks.plugins.module_utils.progress import (
    Heartbeat,
    Stand,
    refuse_negative,
    wait_patiently,
)
from ansible_collections.evergreen.eks.plugins.module_utils.telling import tell_capacity
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

GONE_STATES = ("shutting-down", "terminated", "stopping", "stopped")
MESSAGES_IN_SUMMARY = 3


@dataclass(frozen=True)
class Question:
    """What is to be Ready: these instances, or the members of this group (read again at each look)."""

    instance_ids: tuple[str, ...] | None
    asg_name: str | None
    excluded: frozenset[str]
    min_ready: int | None
    expected_desired: int | None
    looks: int
    daemonsets: bool
    startup_taints: tuple[str, ...]

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Question:
        """From the options of `node_ready`. Raises InvalidInput."""
        if params["looks"] < 1:
            raise InvalidInput("looks must be at least 1", remedy="Give the number of looks in a row that must agree")
        refuse_negative(params, "min_ready", "timeout")
        ids = params["instance_ids"]
        if ids is not None and (params["min_ready"] or 0) > len(set(ids)):
            raise InvalidInput(
                f"min_ready is {params['min_ready']}, but only {len(set(ids))} instances are named",
                remedy="Name more instances, or leave min_ready out to wait for all of them",
            )
        return cls(
            instance_ids=tuple(dict.fromkeys(ids)) if ids is not None else None,
            asg_name=params["asg_name"],
            excluded=frozenset(params["exclude_instance_ids"] or ()),
            min_ready=params["min_ready"],
            expected_desired=params["expected_desired"],
            looks=params["looks"],
            daemonsets=params["daemonsets"],
            startup_taints=tuple(params["startup_taints"] or ()),
        )


@dataclass(frozen=True)
class Look:
    """What one look saw: how far each instance is, how many were Ready often enough, and how many must be."""

    standings: tuple[Standing, ...]
    steady: int
    needed: int
    group: Group | None = None

    @property
    def enough(self) -> bool:
        return self.steady >= self.needed

    @property
    def hopeless(self) -> bool:
        """Named instances do not come back: with too few left there is nothing to wait for."""
        gone = sum(item.reason == "terminated" for item in self.standings)
        return self.group is None and len(self.standings) - gone < self.needed

    @property
    def missing(self) -> list[Standing]:
        return [item for item in self.standings if not item.ready]

    @property
    def ready(self) -> int:
        return len(self.standings) - len(self.missing)

    def __str__(self) -> str:
        where = f" of {self.group.name}" if self.group else ""
        return f"{self.ready} of {len(self.standings)} instances{where} are Ready, {self.needed} are needed"


class Watcher:
    """Looks at the instances again and again and counts for how many looks in a row each has been Ready."""

    def __init__(self, question: Question, aws: Aws, client: KubernetesClient) -> None:
        self.question = question
        self._aws = aws
        self._client = client
        self._streaks: Counter[str] = Counter()

    def look(self) -> Look:
        """One describe and one list of the nodes for the whole batch; pods only where all else is Ready."""
        group = living_group(self._aws, self.question.asg_name) if self.question.asg_name else None
        nodes = by_instance(list_nodes(self._client))
        standings = self._with_daemonsets(self._with_gone(self._judge(group, nodes), group), nodes)
        self._count(standings)
        needed = how_many(self.question, group, standings)
        steady = sum(self._streaks[item.instance_id] >= self.question.looks for item in standings)
        return Look(standings, steady, needed, group)

    def _judge(self, group: Group | None, nodes: Mapping[str, Node]) -> tuple[Standing, ...]:
        """How far each instance is that the question is about."""
        members = {member.instance_id: member for member in group.members} if group else {}
        ids: Iterable[str] = self.question.instance_ids or ()
        if self.question.instance_ids is None and group:
            ids = [member.instance_id for member in group.strength]
        return tuple(
            standing(item, nodes.get(item), member=members.get(item), startup_taints=self.question.startup_taints)
            for item in ids
            if item not in self.question.excluded
        )

    def _with_gone(self, standings: tuple[Standing, ...], group: Group | None) -> tuple[Standing, ...]:
        """Named instances that are not Ready may have ended: EC2 knows. Members of a group are not asked about."""
        if self.question.instance_ids is None:
            return standings
        doubtful = [item.instance_id for item in standings if not item.ready]
        instances = describe_instances(self._aws, doubtful)
        members = {member.instance_id for member in group.members} if group else set()

        def judged(item: Standing) -> Standing:
            if item.ready:
                return item
            # EC2 does not know an instance yet in the first seconds after its launch: that is no end.
            state = instances[item.instance_id].state if item.instance_id in instances else "unknown to EC2"
            if state in GONE_STATES:
                return replace(item, reason="terminated", message=f"the instance is {state}")
            if group and item.instance_id not in members:
                return replace(item, reason="not_in_service", message=f"it is no member of {group.name} ({state})")
            return replace(item, message=f"{item.message} (it is {state})") if item.reason == "no_node" else item

        return tuple(judged(item) for item in standings)

    def _with_daemonsets(self, standings: tuple[Standing, ...], nodes: Mapping[str, Node]) -> tuple[Standing, ...]:
        if not self.question.daemonsets or not any(item.ready for item in standings):
            return standings
        daemonsets = list_daemonsets(self._client)

        def judged(item: Standing) -> Standing:
            if not item.ready:
                return item
            pending = pending_daemonsets(daemonsets, nodes[item.instance_id], list_pods(self._client, item.node))
            if not pending:
                return item
            message = f"its DaemonSet pods are not Ready yet: {', '.join(pending)}"
            return replace(item, reason="daemonset_pending", message=message)

        return tuple(judged(item) for item in standings)

    def _count(self, standings: Iterable[Standing]) -> None:
        self._streaks = Counter(
            {item.instance_id: self._streaks[item.instance_id] + 1 for item in standings if item.ready}
        )


def how_many(question: Question, group: Group | None, standings: Sequence[Standing]) -> int:
    """How many must be Ready: as many as asked for, else all there are and, of a group, all that it is to have.

    Where somebody has lowered the desired capacity since that was asked for, as many fewer.
    """
    if question.min_ready is not None:
        expected = question.expected_desired
        fewer = max(0, expected - group.desired_capacity) if group and expected is not None else 0
        return max(0, question.min_ready - fewer)
    if question.instance_ids is not None or group is None:
        return len(standings)
    excluded = sum(member.instance_id in question.excluded for member in group.strength)
    return max(len(standings), group.desired_capacity - excluded)


def wait_ready(params: Mapping[str, Any], aws: Aws, client: KubernetesClient, call: Call) -> dict[str, Any]:
    """Do what the options of `node_ready` say; answers the module's result. In check mode: one look, whatever it sees.

    Raises EvergreenError with the reason of most instances that are missing, `instances` and `activity`.
    """
    question = Question.of(params)
    watcher = Watcher(question, aws, client)
    if call.check_mode:
        return outcome(watcher.look())
    arrivals = Arrivals(call, aws)
    try:
        look = wait_patiently(
            lambda: arrivals.seen(watcher.look()),
            lambda seen: seen.enough or seen.hopeless,
            call=call,
            deadline=Deadline(call.clock, params["timeout"]),
            interval=params["poll_seconds"],
            heartbeat=Heartbeat(call),
            describe=lambda seen: _told(seen, aws),
            connected=lambda: client.answered,
        )
    except WaitTimeout as late:
        look = with_states(late.last, aws)
        raise not_ready(look, launch_trouble(aws, look), f"within {params['timeout']:g} s") from None
    if not look.enough:
        raise not_ready(look, None, "and the others have ended")
    return outcome(look)


class Arrivals:
    """Tells who has been launched and who has got Ready, from one look to the next, and the numbers of the group."""

    def __init__(self, call: Call, aws: Aws) -> None:
        self._call = call
        self._aws = aws
        self._looked = False
        self._met: dict[str, float] = {}  # when an instance was first seen
        self._ready: set[str] = set()

    def seen(self, look: Look) -> Look:
        """The same look, once what is new in it has been told. Who is Ready in the first look is no news; nor is who
        has no node in it, unless it was launched since the run began: an old instance may be sick."""
        first, now = not self._looked, self._call.clock.now()
        self._looked = True
        coming = [item.instance_id for item in look.standings if item.reason in ("not_in_service", "no_node")]
        new = self._launched_in_the_run(coming) if first else set(coming)
        for item in look.standings:
            if item.instance_id not in self._met:
                self._met[item.instance_id] = now
                if item.instance_id in new:
                    self._tell(item, LAUNCHED, "launched")
            if item.ready and item.instance_id not in self._ready:
                self._ready.add(item.instance_id)
                if not first:
                    self._tell(item, READY, "Ready", seconds=round(now - self._met[item.instance_id]))
        if look.group:
            tell_capacity(self._call.journal, look.group, look.ready)
        return look

    def _launched_in_the_run(self, ids: Iterable[str]) -> set[str]:
        """Who of these AWS has launched since the run began; nobody where that cannot be known."""
        began = run_began(self._call.journal.run)
        if began is None:
            return set()
        try:
            instances = describe_instances(self._aws, ids)
        except AwsError:  # it is only a line of the progress
            return set()
        # EC2 does not know an instance yet in the first seconds after its launch.
        return {name for name in ids if name not in instances or (instances[name].launch_time or began) >= began}

    def _tell(self, item: Standing, stage: str, text: str, **facts: Any) -> None:
        self._call.journal.write("node_stage", to=stage, node=item.node, instance=item.instance_id, text=text, **facts)


def _told(look: Look, aws: Aws) -> Stand:
    """What is waited for, with what AWS says where instances do not come."""
    activity = launch_trouble(aws, look)
    text = "; ".join([str(look), *_summary(look), *([activity_text(activity)] if activity else [])])
    return Stand(text, min(look.ready, look.needed), look.needed)


def launch_trouble(aws: Aws, look: Look) -> Activity | None:
    """What AWS says of the launches, while the group has fewer instances in service than it is to have."""
    if look.group is None or len(look.group.in_service) >= max(look.group.desired_capacity, look.needed):
        return None
    return blocking_activity(scaling_activities(aws, look.group.name, limit=20))


def with_states(look: Look, aws: Aws) -> Look:
    """The look, whose missing members of the group also say what Auto Scaling and EC2 think of them."""
    if look.group is None:
        return look
    try:
        instances = describe_instances(aws, [item.instance_id for item in look.missing])
    except AwsError:  # it is only the explanation of a failure
        instances = {}

    def explained(item: Standing) -> Standing:
        member, instance = look.group.member(item.instance_id), instances.get(item.instance_id)
        if item.ready or member is None:
            return item
        since = f" since its launch at {instance.launch_time:%H:%M:%SZ}" if instance and instance.launch_time else ""
        state = f"{instance.state}{since}" if instance else "unknown"
        return replace(item, message=f"{item.message} (Auto Scaling: {member.lifecycle_state}; EC2: {state})")

    return replace(look, standings=tuple(map(explained, look.standings)))


def _summary(look: Look) -> list[str]:
    return summary([vars(item) for item in look.missing], most=MESSAGES_IN_SUMMARY)


def not_ready(look: Look, trouble: Activity | None, when: str) -> EvergreenError:
    """The failure: the numbers, the first few that are missing and why, and what AWS says of launches that failed."""
    lines = _summary(look)
    if look.group and len(look.standings) < look.needed:
        lines.append(f"the group has only {len(look.standings)}")
    if trouble:
        lines.append(f"its latest scaling activity: {activity_text(trouble)}")
    if look.ready >= look.needed:
        lines = ["but not for as many looks in a row as asked"]
    reasons = Counter(item.reason for item in look.missing)
    reason = reasons.most_common(1)[0][0] if reasons else "not_in_service"
    where = f" of Auto Scaling group {look.group.name}" if look.group else ""
    return EvergreenError(
        f"{look.ready} of the {look.needed} instances{where} that are needed are Ready {when}: {'; '.join(lines)}",
        reason=reason,
        remedy=REMEDIES[reason],
        changed=False,
        activity=activity_text(trouble) if trouble else "",
        **results(look),
    )


REMEDIES = {
    "no_node": "See whether they can join: the instance's console output, its user data, its role's access entry, "
    "its security groups and subnet; then run again",
    "not_in_service": "See the group's scaling activities, its launch source and lifecycle hooks, then run again",
    "not_ready": "See kubectl describe node and the kubelet's log, then run again",
    "not_initialized": "See the pods that take these taints off (cloud controller, CNI, CSI driver), then run again",
    "unschedulable": "Uncordon them, or ask who cordoned them, then run again",
    "daemonset_pending": "See these pods (kubectl describe pod), then run again",
    "terminated": "Name instances that exist, or ask for the group's members instead",
}


def results(look: Look) -> dict[str, Any]:
    """The result's `instances`, `ready`, `ready_instance_ids` and `needed`."""
    instances = {
        item.instance_id: {"node": item.node, "ready": item.ready, "reason": item.reason, "message": item.message}
        for item in sorted(look.standings, key=lambda item: item.instance_id)
    }
    ready = [instance_id for instance_id, item in instances.items() if item["ready"]]
    return {"instances": instances, "ready": look.ready, "ready_instance_ids": ready, "needed": look.needed}


def outcome(look: Look) -> dict[str, Any]:
    """The module's result when enough are Ready."""
    return {"changed": False, **results(look)}
