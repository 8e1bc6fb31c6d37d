# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which workloads are to be restarted, why, and what is left alone. Pure decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import Budget, budgets_of
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version, parse_version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, counted
from ansible_collections.evergreen.eks.plugins.module_utils.label_selector import LabelSelector
from ansible_collections.evergreen.eks.plugins.module_utils.restarts.workloads import (
    DEPLOYMENT,
    ON_DELETE,
    Pod,
    Workload,
)
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import Sidecar

Key = tuple[str, str, str]  # kind, namespace, name
NAMED, SELECTED, FARGATE, SIDECAR = "named", "selected", "fargate", "sidecar"
KEEP, OVERRULE = "keep", "overrule"
SYSTEM = "kube-system"


@dataclass(frozen=True)
class Wish:
    """Whose pods are to be new. Everything that one of these names is meant; `namespaces` limits all but `named`.

    `version`: of pods on Fargate only those whose kubelet is of another version. `restarted_at`: what was restarted at
    that moment or later is not restarted again, only awaited; "" for no such moment.
    """

    named: tuple[Key, ...] = ()
    selector: LabelSelector | None = None
    namespaces: frozenset[str] = frozenset()
    on_fargate: bool = False
    version: Version | None = None
    sidecars: tuple[Sidecar, ...] = ()
    missing_sidecars_only: bool = False
    restarted_at: str = ""
    budgets: str = KEEP

    def means(self, namespace: str) -> bool:
        return not self.namespaces or namespace in self.namespaces


@dataclass(frozen=True)
class Scene:
    """What the choice is made from; `fargate` holds the kubelet's version of each Fargate node, by its name."""

    workloads: Mapping[Key, Workload]
    pods: Sequence[Pod] = ()
    fargate: Mapping[str, str] = field(default_factory=dict)
    budgets: Sequence[Budget] = ()


@dataclass(frozen=True)
class Left:
    """Something that should get new pods, and is left alone. `reason` is a word of RETURN."""

    object: str
    reason: str
    message: str
    remedy: str

    def as_data(self) -> dict[str, str]:
        """For the result."""
        return {"object": self.object, "reason": self.reason, "message": self.message, "remedy": self.remedy}


@dataclass(frozen=True)
class Target:
    """A workload that is to get new pods, why, and whether it was told so already in this run."""

    workload: Workload
    why: tuple[str, ...]
    already: bool


@dataclass(frozen=True)
class Choice:
    """The targets, those of kube-system first, and what is left alone."""

    targets: tuple[Target, ...]
    left: tuple[Left, ...]


def choose(wish: Wish, scene: Scene) -> Choice:
    """Who is restarted. Raises EvergreenError (workload_not_found) for a named workload that does not exist."""
    reasons, orphans = _meant(wish, scene)
    obstacles = {key: _obstacle(scene.workloads[key], wish, scene) for key in reasons}
    targets = [
        Target(scene.workloads[key], tuple(why), scene.workloads[key].restarted_since(wish.restarted_at))
        for key, why in reasons.items()
        if obstacles[key] is None
    ]
    left = [*orphans, *(obstacle for obstacle in obstacles.values() if obstacle)]
    return Choice(
        tuple(sorted(targets, key=lambda one: (one.workload.namespace != SYSTEM, *one.workload.key[1:]))),
        tuple(sorted(left, key=lambda one: (one.reason, one.object))),
    )


def _meant(wish: Wish, scene: Scene) -> tuple[dict[Key, list[str]], list[Left]]:
    """The workloads that the wish means, each with its reasons; and the pods that belong to none."""
    reasons: dict[Key, list[str]] = {}
    orphans: dict[str, Left] = {}
    for key in wish.named:
        if key not in scene.workloads:
            raise _not_found(key, scene)
        reasons[key] = [NAMED]
    for key, workload in scene.workloads.items() if wish.selector else ():
        if wish.means(workload.namespace) and wish.selector.matches(workload.state.labels):
            reasons.setdefault(key, []).append(SELECTED)
    for pod, why in _pods_meant(wish, scene):
        key = _key_of(pod)
        if key not in scene.workloads:
            orphans.setdefault(str(pod), _without_workload(pod, why))
        elif why not in reasons.setdefault(key, []):
            reasons[key].append(why)
    return reasons, list(orphans.values())


def is_behind(pod: Pod, version: Version, fargate: Mapping[str, str]) -> bool:
    """Whether the pod is on a Fargate node of another version than is wanted."""
    return pod.state.node in fargate and parse_version(fargate[pod.state.node]) != version


def _pods_meant(wish: Wish, scene: Scene) -> Iterable[tuple[Pod, str]]:
    """The pods that are to be replaced, each with the reason.

    Of what was restarted in this run all pods count, whatever they are like by now: it is still to be awaited.
    """
    for pod in scene.pods:
        if not wish.means(pod.state.namespace):
            continue
        workload = scene.workloads.get(_key_of(pod))
        ours = workload is not None and workload.restarted_since(wish.restarted_at)
        there = wish.on_fargate and pod.state.node in scene.fargate
        if there and (wish.version is None or ours or is_behind(pod, wish.version, scene.fargate)):
            yield pod, FARGATE
        if wish.sidecars and pod.asks and (pod.lacks or ours or not wish.missing_sidecars_only):
            yield pod, SIDECAR


def _key_of(pod: Pod) -> Key:
    kind, _slash, name = pod.state.owner.partition("/")
    return kind, pod.state.namespace, name


def _without_workload(pod: Pod, why: str) -> Left:
    """A pod that no restart of a workload replaces."""
    name, owner = f"Pod {pod}", pod.state.owner or pod.controller
    what = f"It runs on the Fargate node {pod.state.node}" if why == FARGATE else "It asks for a sidecar"
    if not owner:
        return Left(
            name,
            "no_controller",
            f"{what}, and nothing controls it: once deleted it does not come back",
            "Delete it and create it again",
        )
    if owner.startswith(("Job/", "CronJob/")):
        return Left(
            name,
            "job",
            f"{what}, and belongs to {owner}, whose work would begin anew",
            "Let it finish: the next pod of the job is a new one",
        )
    return Left(
        name,
        "other_controller",
        f"{what}, and belongs to {owner}, which nobody but its own tools restarts",
        "Restart it with its own tools",
    )


def _obstacle(workload: Workload, wish: Wish, scene: Scene) -> Left | None:
    """Why a workload is not restarted; None where nothing is in the way."""
    if workload.paused:
        return Left(
            str(workload),
            "paused",
            "Its rollout is paused: it would not replace its pods",
            f"Resume it: kubectl rollout resume -n {workload.namespace} deployment/{workload.state.name}",
        )
    if workload.strategy == ON_DELETE:
        return Left(
            str(workload),
            "on_delete",
            "Its update strategy is OnDelete: its pods are replaced when somebody deletes them",
            "Delete its pods one after another, or give it the strategy RollingUpdate",
        )
    if wish.budgets == OVERRULE or workload.restarted_since(wish.restarted_at):
        return None
    return _budget_in_the_way(workload, scene.budgets)


def _budget_in_the_way(workload: Workload, budgets: Iterable[Budget]) -> Left | None:
    """A restart is an update: its controller deletes pods, by its own strategy, without asking any budget."""
    for budget in budgets_of(_PodsToBe(workload.namespace, workload.template_labels), budgets):
        spare = budget.expected_pods - budget.desired_healthy
        if budget.expected_pods and workload.state.may_lack > spare:
            how = (
                f"{workload.strategy} of {workload.state.wanted}" if workload.state.kind == DEPLOYMENT else "an update"
            )
            return Left(
                str(workload),
                "budget",
                f"Its strategy ({how}) may take away {counted(workload.state.may_lack, 'pod')} at a time, and the "
                f"disruption budget {budget} ({budget.limit}) spares {max(0, spare)}",
                "Let its strategy take away less (maxUnavailable), or allow the restart with budgets: overrule",
            )
    return None


@dataclass(frozen=True)
class _PodsToBe:
    """The pods of a workload, as a budget looks at them."""

    namespace: str
    labels: Mapping[str, str]


def _not_found(key: Key, scene: Scene) -> EvergreenError:
    kind, namespace, name = key
    others = sorted(name for of, where, name in scene.workloads if (of, where) == (kind, namespace))
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    known = f"; there are {', '.join(others[:5])}{more}" if others else f"; there is none in {namespace}"
    return EvergreenError(
        f"There is no {kind} {namespace}/{name}{known}",
        reason="workload_not_found",
        remedy="Check kind, namespace and name, and that this is the right cluster",
    )
