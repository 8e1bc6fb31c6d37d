# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of instances behind load balancers, how far each of them is, and who may leave now. No calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.balancers.records import (
    DRAINING,
    HEALTHY,
    INITIAL,
    NOT_IN_USE,
    NOT_REGISTERED,
    STOPPED,
    UNHEALTHY,
    Balancer,
    Pool,
    Target,
    in_order,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups.records import INSTANCE_ID
from ansible_collections.evergreen.eks.plugins.module_utils.progress import refuse_negative

# What may be asked for.
GONE, REGISTERED = "gone", "registered"

# Why an instance is where it is, beside the states of a target.
NO_LOCAL_POD = "no_local_pod"
NOBODY_HEALTHY = "nobody_healthy"
TAKEN_OUT = "taken_out"
LEFT_TO_GROUP = "left_to_group"
LEFT_TO_PODS = "left_to_pods"
TOO_FEW_HEALTHY = "too_few_healthy"
REGISTERED_AGAIN = "registered_again"
BALANCER_GONE = "balancer_gone"
INSTANCE_GONE = "instance_gone"
NO_BALANCER = "no_balancer"
UNMARKED = "unmarked"

# With these there is nothing more to wait for, by what was asked for.
SETTLED = {
    HEALTHY: frozenset((HEALTHY, NO_LOCAL_POD, NOBODY_HEALTHY, TAKEN_OUT, NOT_IN_USE, BALANCER_GONE, INSTANCE_GONE)),
    GONE: frozenset((GONE, NOT_REGISTERED, LEFT_TO_GROUP, LEFT_TO_PODS, BALANCER_GONE)),
    REGISTERED: frozenset((REGISTERED, BALANCER_GONE, INSTANCE_GONE)),
}
# An instance is as far as where it is least far.
LEAST_FAR_FIRST = (
    REGISTERED_AGAIN,
    TOO_FEW_HEALTHY,
    NOT_REGISTERED,
    UNHEALTHY,
    DRAINING,
    INITIAL,
    STOPPED,
    REGISTERED,
    LEFT_TO_GROUP,
    LEFT_TO_PODS,
    NO_LOCAL_POD,
    NOBODY_HEALTHY,
    TAKEN_OUT,
    INSTANCE_GONE,
    BALANCER_GONE,
    NOT_IN_USE,
    GONE,
    HEALTHY,
)

GROUP_KEEPS = (
    "Auto Scaling replaces a member that its load balancers have lost (ELB health checks); it takes it out itself, and "
    "waits for its connections, when the member is terminated"
)
PODS_KEEP = "its pods are the last healthy ones (externalTrafficPolicy: Local); it falls out with their eviction"

# On every instance before it is deregistered, one tag a load balancer: `evergreen.eks/out-of/tg/<name>/<id>` or
# `evergreen.eks/out-of/elb/<name>`, whose value is `<run id>/<port>+<port>`. It is what `registered` puts back.
MARK = "evergreen.eks/out-of/"
# EC2 lets an instance have so many tags of its user's; those of AWS (`aws:`) do not count. A run needs a few more.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
TAGS_AN_INSTANCE, TAGS_FOR_THE_RUN = 50, 5
# Somebody who registers an instance again this often means it.
ATTEMPTS = 5


@dataclass(frozen=True)
class Request:
    """The options of `lb_targets`, checked. `instance_ids` None: the members of the group."""

    asg_name: str
    state: str
    instance_ids: tuple[str, ...] | None
    excluded: frozenset[str]
    cluster: str
    min_healthy: int
    run_id: str
    timeout: float
    poll_seconds: float

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Request:
        """Raises InvalidInput."""
        ids = params["instance_ids"]
        wrong = [item for item in ids or [] if not INSTANCE_ID.fullmatch(item)]
        if wrong:
            raise InvalidInput(
                f"{', '.join(wrong[:3])} cannot be the id of an EC2 instance",
                remedy="Give ids like i-0123456789abcdef0",
            )
        if params["state"] == GONE and ids is None:
            raise InvalidInput(
                "state gone without instance_ids would take out every member of the group",
                remedy="Name the instances that are to leave their load balancers",
            )
        refuse_negative(params, "min_healthy", "timeout")
        return cls(
            asg_name=params["asg_name"],
            state=params["state"],
            instance_ids=None if ids is None else tuple(dict.fromkeys(ids)),
            excluded=frozenset(params["exclude_instance_ids"] or ()),
            cluster=params["cluster_name"] or "",
            min_healthy=params["min_healthy"],
            run_id=params["run_id"] or "",
            timeout=params["timeout"],
            poll_seconds=params["poll_seconds"],
        )


@dataclass(frozen=True)
class Standing:
    """How far one instance is at one load balancer; `cause` and `description` are what AWS says of it."""

    reason: str
    cause: str = ""
    description: str = ""
    ports: tuple[int, ...] = ()

    def __str__(self) -> str:
        said = ": ".join(part for part in (self.cause, self.description.rstrip(".")) if part)
        return f"{self.reason} ({said})" if said else self.reason


Standings = Mapping[Balancer, Standing]


# --- one instance at one load balancer -------------------------------------------------------------------------------


def standing(reason: str, targets: Sequence[Target]) -> Standing:
    """That reason, with AWS's words about the target that is least far."""
    ports = tuple(sorted(target.port for target in targets if target.port))
    worst = least_far(targets)
    return Standing(reason, worst.cause, worst.description, ports) if worst else Standing(reason)


def least_far(targets: Iterable[Target]) -> Target | None:
    """Of several ports of an instance the one that is least far on its way to be healthy."""
    return min(targets, key=lambda target: LEAST_FAR_FIRST.index(target.state), default=None)


def arriving(pool: Pool, instance_id: str) -> Standing:
    """How far an instance is on its way to be healthy there."""
    targets = pool.of(instance_id)
    worst = least_far(targets)
    if worst is None:
        return Standing(NOT_REGISTERED)
    if worst.state == UNHEALTHY and pool.balancer.local:
        return standing(NO_LOCAL_POD, targets)
    if worst.state == UNHEALTHY and serves_nobody(pool):
        return standing(NOBODY_HEALTHY, targets)
    return standing(worst.state, targets)


def serves_nobody(pool: Pool) -> bool:
    """Every one of several instances fails the health checks: what is behind it is down, like the service of a test
    that nobody has cleared away. It is not the new nodes that are ill, and nobody would ever get healthy there."""
    return len(pool.registered) > 1 and all(target.state == UNHEALTHY for target in pool.targets if target.registered)


def departing(pool: Pool | None, instance_id: str, plan: Leaving) -> Standing:
    """How far an instance, which was there, is on its way out."""
    if pool is None:
        return Standing(BALANCER_GONE)
    targets = [target for target in pool.of(instance_id) if target.state != NOT_REGISTERED]
    if not targets:
        return Standing(GONE)
    if instance_id in plan.held:
        return plan.held[instance_id]
    return standing(REGISTERED if any(target.registered for target in targets) else DRAINING, targets)


# --- who may leave ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaving:
    """Which targets of one load balancer may be deregistered now, and why others must not, by instance."""

    targets: tuple[Target, ...] = ()
    held: Mapping[str, Standing] = field(default_factory=dict)


def leaving(pool: Pool, ids: Iterable[str], min_healthy: int, left_to_group: Iterable[str] = ()) -> Leaving:
    """Who of these may leave, so that at least `min_healthy` healthy instances stay.

    What is not healthy takes nothing away. Of a service with externalTrafficPolicy: Local the last healthy nodes are
    left to their pods: with their eviction they fail the health checks by themselves, while the pods still answer.
    """
    group_keeps = frozenset(left_to_group) if pool.balancer.attached else frozenset()
    targets: list[Target] = []
    held: dict[str, Standing] = {}
    spare = max(0, len(pool.healthy) - min_healthy)
    for instance_id in ids:
        registered = [target for target in pool.of(instance_id) if target.registered]
        if not registered:
            continue
        if instance_id in group_keeps:
            held[instance_id] = Standing(LEFT_TO_GROUP, description=GROUP_KEEPS)
        elif instance_id in pool.healthy and not spare and pool.balancer.local:
            held[instance_id] = Standing(LEFT_TO_PODS, description=PODS_KEEP)
        elif instance_id in pool.healthy and not spare:
            few = f"{len(pool.healthy)} healthy there, and {min_healthy} must stay"
            held[instance_id] = Standing(TOO_FEW_HEALTHY, description=few)
        else:
            spare -= instance_id in pool.healthy
            targets += registered
    return Leaving(tuple(targets), held)


# --- marks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """What one of our tags says: from which load balancer we took the instance, on which ports, in which run."""

    key: str
    run_id: str
    ports: tuple[int, ...]

    @property
    def tag(self) -> tuple[str, str]:
        return MARK + self.key, f"{self.run_id}/{'+'.join(map(str, self.ports))}"


def read_marks(tags: Mapping[str, str]) -> tuple[Mark, ...]:
    """All marks among the tags of an instance, by their key."""
    found = []
    for key, value in sorted(tags.items()):
        if key.startswith(MARK):
            run_id, _slash, ports = value.rpartition("/")
            numbers = tuple(sorted(int(port) for port in ports.split("+") if port.isdigit()))
            found.append(Mark(key[len(MARK) :], run_id, numbers))
    return tuple(found)


def fresh_marks(existing: Mapping[str, str], run_id: str, targets: Iterable[tuple[Balancer, Target]]) -> dict[str, str]:
    """The tags that an instance must get before these targets of it are deregistered; marks that say it stay.

    Where there is no room for all, controllers put it back into their load balancers themselves, once its node is no
    longer to be kept out of them: those attached to the group come first, since nobody else puts it back there.
    """
    known = {mark.key: mark for mark in read_marks(existing)}
    room = TAGS_AN_INSTANCE - TAGS_FOR_THE_RUN - sum(1 for key in existing if not key.startswith("aws:"))
    ports: dict[str, set[int]] = {}
    for balancer, target in sorted(targets, key=lambda item: not item[0].attached):
        new = balancer.key not in known and balancer.key not in ports
        if balancer.attached or not new or room > 0:
            ports.setdefault(balancer.key, set()).add(target.port)
            room -= new
    fresh = {}
    for key, numbers in ports.items():
        old = set(known[key].ports) if key in known else set()
        if not numbers <= old:
            tag, value = Mark(key, run_id, tuple(sorted(numbers | old))).tag
            fresh[tag] = value
    return fresh


# --- the answer ------------------------------------------------------------------------------------------------------


def instance_answer(standings: Standings, nowhere: str) -> dict[str, Any]:
    """What the module answers of one instance; `nowhere` is the reason where no load balancer has to do with it."""
    places = [(balancer, standings[balancer]) for balancer in in_order(standings)]
    reasons = {entry.reason for entry in standings.values()}
    reason = next((one for one in LEAST_FAR_FIRST if one in reasons), nowhere)
    telling = [f"{balancer}: {entry}" for balancer, entry in places if entry.reason == reason]
    return {
        "reason": reason,
        "message": "; ".join(telling),
        "balancers": [
            {
                "balancer": balancer.name,
                "kind": balancer.kind,
                "arn": balancer.arn,
                "ports": list(entry.ports),
                "reason": entry.reason,
                "cause": entry.cause,
                "description": entry.description,
            }
            for balancer, entry in places
        ],
    }


REMEDIES = {
    NOT_REGISTERED: "See who registers them: Auto Scaling (is AddToLoadBalancer suspended?) or the controller of the "
    "load balancers (its log, and the label node.kubernetes.io/exclude-from-external-load-balancers); then run again",
    UNHEALTHY: "See what answers the health check there (security groups, kube-proxy, the service's pods), then run "
    "again",
    INITIAL: "Health checks are still going on: run again to wait on, or raise timeout",
    DRAINING: "Run again to wait on, or raise timeout",
    STOPPED: "See who stopped them, then run again",
    TOO_FEW_HEALTHY: "Get other targets healthy there first, or lower min_healthy (0: take out the last one, too)",
    REGISTERED: "Run again to go on, or raise timeout",
    REGISTERED_AGAIN: "Somebody puts them back: label the nodes "
    "node.kubernetes.io/exclude-from-external-load-balancers (node_cordon, exclude_from_load_balancers), or see who "
    "else registers them; then run again",
}
