# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarting workloads: look, mark those that are due, wait for all of them with one list of each kind a poll."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import budget_from
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import FARGATE, FARGATE_LABEL
from ansible_collections.evergreen.eks.plugins.module_utils.errors import (
    EvergreenError,
    InvalidInput,
    WaitTimeout,
    counted,
)
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import node_from
from ansible_collections.evergreen.eks.plugins.module_utils.picture import WORKLOADS, moment_of, pod_from, seconds_of
from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat, wait_patiently
from ansible_collections.evergreen.eks.plugins.module_utils.restarts.blocks import holdup, stand
from ansible_collections.evergreen.eks.plugins.module_utils.restarts.choice import (
    KEEP,
    Choice,
    Key,
    Left,
    Scene,
    Target,
    Wish,
    choose,
    is_behind,
)
from ansible_collections.evergreen.eks.plugins.module_utils.restarts.workloads import (
    RESTARTED_AT,
    Pod,
    Workload,
    pod_of,
    restartable_from,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

BLOCKED_SECONDS = 60.0  # without any pod's coming or going until it is asked why
ASKED_AGAIN_SECONDS = 30.0
ASKED_AT_ONCE = 5  # workloads that are asked why in one look
AHEAD_SECONDS = 300  # by which the caller's clock may be ahead of the API server's
WAITING, RESTARTED, ALREADY, PLANNED, GONE, REVERTED = "waiting", "restarted", "already", "planned", "gone", "reverted"


@dataclass
class Restart:
    """One target on its way. `sent`: this call has marked it; `begun` and `moved` are of the clock."""

    target: Target
    workload: Workload
    begun: float
    sent: bool
    moved: float
    state: str = WAITING
    seconds: int = 0
    told: str = ""
    asked: float = 0.0

    @property
    def open(self) -> bool:
        return self.state == WAITING

    def as_data(self) -> dict[str, Any]:
        """For the result."""
        return target_record(self.target, self.workload, self.state, self.seconds)


@dataclass
class Batch:
    """All targets: those that are marked, in the order in which they were, and those that are due."""

    client: KubernetesClient
    call: Call
    moment: str
    max_parallel: int
    due: list[Target]
    begun: dict[Key, Restart] = field(default_factory=dict)

    @property
    def open(self) -> list[Restart]:
        return [restart for restart in self.begun.values() if restart.open]

    @property
    def over(self) -> bool:
        return not self.due and not self.open

    def look(self) -> Batch:
        """See how far those are that are marked, then mark as many as may be under way."""
        now = dict(read_workloads(self.client, self._kinds()))
        for restart in self.open:
            self._see(restart, now.get(restart.workload.key))
        for restart in sorted(self.open, key=lambda one: one.asked)[:ASKED_AT_ONCE]:
            self._ask_why(restart)
        # A restart that has run aground may well be followed by the next, for the same reason.
        while self.due and len(self.open) < self.max_parallel and not any(one.workload.trouble for one in self.open):
            self._begin(self.due[0])  # which stays first in line where its request fails for a passing reason
            self.due.pop(0)
        return self

    def describe(self, _seen: Batch) -> str:
        """For the line that comes while nothing else does."""
        total = len(self.begun) + len(self.due)
        done = sum(not restart.open for restart in self.begun.values())
        waits = "; ".join(f"{one.workload}: {stand(one.workload)}" for one in self.open[:2])
        more = f" and {len(self.open) - 2} more" if len(self.open) > 2 else ""
        return f"{done} of {counted(total, 'workload')} restarted, waiting for {waits}{more}"

    def _kinds(self) -> list[str]:
        """Those of which something is under way."""
        return sorted({restart.workload.state.kind for restart in self.open})

    def _begin(self, target: Target) -> None:
        workload, now = target.workload, self.call.clock.now()
        if target.already:
            self.begun[workload.key] = Restart(target, workload, now, False, now)
            return
        self.call.journal.write(
            "restart",
            workload=str(workload),
            pods=workload.state.wanted,
            text=f"{workload}: its {counted(workload.state.wanted, 'pod')} are replaced by new ones",
        )
        annotations = {"annotations": {RESTARTED_AT: self.moment}}
        try:
            answer = self.client.patch(workload.path, {"spec": {"template": {"metadata": annotations}}})
        except KubernetesError as error:
            if error.status != 404:
                raise
            self.begun[workload.key] = Restart(target, workload, now, False, now, state=GONE)
            return
        self.begun[workload.key] = Restart(target, restartable_from(workload.state.kind, answer), now, True, now)

    def _see(self, restart: Restart, workload: Optional[Workload]) -> None:
        now = self.call.clock.now()
        if workload is None or workload.uid != restart.workload.uid:
            restart.state = GONE
            return
        if _numbers(workload) != _numbers(restart.workload):
            restart.moved = now
        restart.workload = workload
        restart.seconds = round(now - restart.begun)
        if workload.restarted_at < seconds_of(self.moment):
            restart.state = REVERTED
            self.tell_left(reverted(workload))
        elif workload.complete:
            restart.state = RESTARTED if restart.sent else ALREADY
            self.call.journal.write(
                "restarted",
                workload=str(workload),
                pods=workload.state.wanted,
                seconds=restart.seconds,
                text=f"{workload}: all {counted(workload.state.wanted, 'pod')} are new and Ready",
            )

    def tell_left(self, left: Left) -> None:
        self.call.journal.write(
            "not_restarted",
            workload=left.object,
            reason=left.reason,
            text=f"{left.object} is left alone: {left.message}",
        )

    def _ask_why(self, restart: Restart) -> None:
        """Say what is in the way, once for each obstacle."""
        now = self.call.clock.now()
        slow = restart.workload.trouble or now - restart.moved >= BLOCKED_SECONDS
        if not (restart.open and slow) or (restart.asked and now - restart.asked < ASKED_AGAIN_SECONDS):
            return
        restart.asked = now
        trouble = self.why(restart)
        if trouble != restart.told:
            restart.told = trouble
            text = f"{restart.workload} is held up: {trouble}"
            self.call.journal.write("restart_blocked", workload=str(restart.workload), trouble=trouble, text=text)

    def why(self, restart: Restart) -> str:
        """What holds it up, from its pods."""
        labels = restart.workload.template_labels
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        path = f"/api/v1/namespaces/{restart.workload.namespace}/pods"
        pods, _version = self.client.briefly.list(path, label_selector=selector or None, keep=pod_from)
        return holdup(restart.workload, [pod for pod in pods if pod.owner == restart.workload.state.owner])


def restart_workloads(client: KubernetesClient, call: Call, wish: Wish, params: Mapping[str, Any]) -> dict[str, Any]:
    """Restart what the wish means, wait for it, and answer what the module returns."""
    scene = read_scene(client, wish)
    if seconds_of(wish.restarted_at) > client.time.now().timestamp() + AHEAD_SECONDS:
        raise InvalidInput(
            f"restarted_at is {wish.restarted_at}, and at the Kubernetes API it is {client.time.timestamp()}",
            remedy="Give the moment at which this run began, or set the clock of this machine right",
        )
    choice = choose(wish, scene)
    moment = wish.restarted_at or client.time.timestamp()
    if call.check_mode:
        return _planned(choice, moment)
    # What is under way already comes first: it takes its place among those that may be.
    due = sorted(choice.targets, key=lambda target: not target.already)
    batch = Batch(client, call, moment, params["max_parallel"], due)
    for left in choice.left:
        batch.tell_left(left)
    try:
        _await(batch, params["timeout"], params["poll_seconds"])
    except EvergreenError as error:
        # What is a module's own in a success only stays out of its failure.
        done = {name: value for name, value in _result(choice, batch).items() if name not in ("warnings", "diff")}
        error.details = {**done, **error.details}
        raise
    result, after = _result(choice, batch), _afterwards(client, wish, choice)
    return {**result, **after, "warnings": [*result["warnings"], *_warnings_after(wish, after)]}


def read_workloads(client: KubernetesClient, kinds: Iterable[str]) -> Iterator[tuple[Key, Workload]]:
    """All workloads of these kinds, one list each. Needs the verb list on deployments.apps and so on."""
    for kind in kinds:
        records, _version = client.list(WORKLOADS[kind], keep=lambda manifest, of=kind: restartable_from(of, manifest))
        yield from ((record.key, record) for record in records)


def read_scene(client: KubernetesClient, wish: Wish) -> Scene:
    """What the choice is made from. Pods, nodes and budgets are read only where the wish asks for them."""
    pods, fargate = read_pods(client, wish)
    budgets: list[Any] = []
    if wish.budgets == KEEP:
        budgets, _version = client.list("/apis/policy/v1/poddisruptionbudgets", keep=budget_from)
    return Scene(dict(read_workloads(client, WORKLOADS)), pods, fargate, budgets)


def read_pods(client: KubernetesClient, wish: Wish) -> tuple[list[Pod], dict[str, str]]:
    """The pods that the wish may be about, and the kubelet's version of each Fargate node."""
    pods: list[Optional[Pod]] = []
    fargate: dict[str, str] = {}
    if wish.on_fargate:
        found, _version = client.list("/api/v1/nodes", label_selector=f"{FARGATE_LABEL}={FARGATE}", keep=node_from)
        fargate = {node.name: node.kubelet_version for node in found}
    if fargate or wish.sidecars:
        pods, _version = client.list("/api/v1/pods", keep=lambda manifest: pod_of(manifest, wish.sidecars))
    return [pod for pod in pods if pod], fargate


def reverted(workload: Workload) -> Left:
    """Somebody has put the pod template back as it was."""
    by = f", probably {workload.owner}, which controls it" if workload.owner else ""
    return Left(
        str(workload),
        "reverted",
        f"Somebody has taken the annotation {RESTARTED_AT} off again{by}: its pods may be old ones",
        "Restart it by what controls it",
    )


def target_record(target: Target, workload: Workload, state: str, seconds: int = 0) -> dict[str, Any]:
    """A workload for the module's result."""
    kind, namespace, name = workload.key
    numbers = {"wanted": workload.state.wanted, "ready": workload.state.ready}
    names = {"kind": kind, "namespace": namespace, "name": name}
    return {**names, "why": list(target.why), "state": state, **numbers, "seconds": seconds}


def _await(batch: Batch, timeout: float, poll_seconds: float) -> None:
    """Until all are over. Raises WaitTimeout (restart_timeout)."""
    try:
        wait_patiently(
            batch.look,
            lambda seen: seen.over,
            call=batch.call,
            deadline=Deadline(batch.call.clock, timeout),
            interval=poll_seconds,
            heartbeat=Heartbeat(batch.call),
            describe=batch.describe,
            connected=lambda: batch.client.answered,
        )
    except WaitTimeout as late:
        if late.reason != WaitTimeout.default_reason:
            raise
        told = [f"{restart.workload}: {_why_briefly(batch, restart)}" for restart in batch.open[:ASKED_AT_ONCE]]
        not_begun = f"; {counted(len(batch.due), 'workload')} not begun" if batch.due else ""
        raise WaitTimeout(
            f"{counted(len(batch.open), 'workload')} not restarted after {timeout:g} s: {' | '.join(told)}{not_begun}",
            reason="restart_timeout",
            remedy="See to these pods, then run again; with the same restarted_at nothing is restarted twice",
            last=batch,
        ) from late


def _why_briefly(batch: Batch, restart: Restart) -> str:
    try:
        return batch.why(restart)
    except EvergreenError:  # the pods are only a help
        return stand(restart.workload)


def _numbers(workload: Workload) -> tuple[int, ...]:
    return workload.state.updated, workload.state.ready, workload.total, workload.available


def _result(choice: Choice, batch: Batch) -> dict[str, Any]:
    sent = [str(one.workload) for one in batch.begun.values() if one.sent]
    lost = [reverted(one.workload) for one in batch.begun.values() if one.state == REVERTED]
    waiting = [target_record(target, target.workload, PLANNED) for target in batch.due]
    left = [*choice.left, *lost]
    before = {str(target.workload): moment_of(target.workload.restarted_at) for target in choice.targets}
    return {
        "changed": bool(sent),
        "restarted_at": batch.moment,
        "restarted": sent,
        "workloads": [*(one.as_data() for one in batch.begun.values()), *waiting],
        "left": [one.as_data() for one in left],
        "warnings": warnings_about(left),
        "diff": {"before": before, "after": {**before, **dict.fromkeys(sent, batch.moment)}},
    }


def _planned(choice: Choice, moment: str) -> dict[str, Any]:
    """The result in check mode."""
    new = [str(target.workload) for target in choice.targets if not target.already]
    before = {str(target.workload): moment_of(target.workload.restarted_at) for target in choice.targets}
    return {
        "changed": bool(new),
        "restarted_at": moment,
        "restarted": new,
        "workloads": [
            target_record(target, target.workload, ALREADY if target.already else PLANNED) for target in choice.targets
        ],
        "left": [one.as_data() for one in choice.left],
        "warnings": warnings_about(choice.left),
        "diff": {"before": before, "after": {**before, **dict.fromkeys(new, moment)}},
        "behind": [],
        "without_sidecar": [],
    }


def warnings_about(left: Sequence[Left]) -> list[str]:
    """One for each that should have got new pods."""
    return [f"{one.object} is left alone. {one.message}. {one.remedy}." for one in left]


def _afterwards(client: KubernetesClient, wish: Wish, choice: Choice) -> dict[str, Any]:
    """Whether the new pods are what they were made for: with the version wanted, with their sidecars."""
    ours = {(target.workload.namespace, target.workload.state.owner) for target in choice.targets}
    there, fargate = read_pods(client, wish) if ours and (wish.version or wish.sidecars) else ([], {})
    pods = [pod for pod in there if (pod.state.namespace, pod.state.owner) in ours]
    without = sorted(str(pod) for pod in pods if pod.lacks)
    behind = sorted(str(pod) for pod in pods if wish.version and is_behind(pod, wish.version, fargate))
    return {"behind": behind, "without_sidecar": without}


def _warnings_after(wish: Wish, after: Mapping[str, Sequence[str]]) -> list[str]:
    texts = {
        "behind": f"still on Fargate nodes that are not at {wish.version}, although new: what is the control plane at?",
        "without_sidecar": "without their sidecar, although new: does its injector work?",
    }
    return [
        f"{counted(len(after[name]), 'pod')} {text} ({', '.join(after[name][:5])})"
        for name, text in texts.items()
        if after[name]
    ]
