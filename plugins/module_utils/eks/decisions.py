# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be done next about a control plane, and what forbids it: decisions over what was read. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import ACTIVE, UPDATING, Cluster
from ansible_collections.evergreen.eks.plugins.module_utils.eks.insights import (
    ERROR,
    HEALTH_CHECK,
    Insight,
    in_words,
    is_ignored,
    is_stale,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.updates import (
    VERSION_ROLLBACK,
    VERSION_UPDATE,
    Update,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import (
    Kubelet,
    Version,
    furthest,
    named,
    parse_version,
    steps,
    too_old,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.moments import parse_timestamp, timestamp_of

# "within 7 days of an in-place upgrade": Amazon EKS best practices, "Best Practices for Cluster Version Rollback".
ROLLBACK_DAYS = 7
# The kinds of a move.
DONE, STEP, JOIN, SIT_OUT, WAIT = "done", "step", "join", "sit_out", "wait"


class Refused(EvergreenError):
    """The control plane cannot, or must not, come to that version; nothing more has been changed."""

    default_reason = "refused"


@dataclass(frozen=True)
class Move:
    """What is next: it is DONE; a STEP to ``to``; JOIN an update that goes ``to`` there; SIT_OUT an update of another
    kind; WAIT, for EKS is at work and has not said at what."""

    kind: str
    to: Version | None = None
    update: Update | None = None


def next_move(cluster: Cluster, running: Update | None, wanted: Version) -> Move:
    """What to do about a control plane in this state, with this update under way. Raises Refused."""
    if cluster.status not in (ACTIVE, UPDATING):
        raise Refused(
            f"EKS cluster {cluster.name} is {cluster.status}, not ACTIVE",
            reason="cluster_not_active",
            remedy="Wait until it is ACTIVE, or mend it, then run again",
        )
    if running and running.kind == VERSION_ROLLBACK:
        raise Refused(
            f"Somebody is rolling EKS cluster {cluster.name} back to {running.version} since {running.created} "
            f"(update {running.id})",
            reason="rolling_back",
            remedy="Find out why before it is upgraded again",
        )
    to = parse_version(running.version) if running else None
    if max(cluster.version, to or cluster.version) > wanted:
        goes = f", and is on its way to {to} since {running.created}" if running and to else ""
        raise Refused(
            f"The control plane of EKS cluster {cluster.name} is at {cluster.version} already{goes}; "
            f"it is not taken down to {wanted}",
            reason="downgrade",
            remedy=f"Ask for {max(cluster.version, to or cluster.version)} or a later version{_in_quotes(wanted)}",
        )
    if running:
        return Move(JOIN, to, running) if to else Move(SIT_OUT, None, running)
    if cluster.version == wanted:
        return Move(DONE)
    return Move(STEP, cluster.version.later(1)) if cluster.status == ACTIVE else Move(WAIT)


def _in_quotes(wanted: Version) -> str:
    """What helps whoever wrote 1.30 as a number, of which YAML makes 1.3."""
    return f"; {wanted}0 is written '{wanted}0', in quotes" if wanted.minor < 10 else ""


# --- what forbids it --------------------------------------------------------------------------------------------------


def check_offered(present: Version, wanted: Version, offered: Sequence[Version]) -> None:
    """Raise Refused where EKS does not offer the wanted version, or one on the way there."""
    unknown = [version for version in steps(present, wanted) if version not in offered]
    if unknown:
        what = " and ".join(map(str, unknown))
        raise Refused(
            f"EKS does not offer Kubernetes {what}",
            reason="unknown_version",
            remedy=f"It offers {', '.join(map(str, offered)) or 'none'}{_in_quotes(wanted)}",
        )


def check_node_groups(cluster: Cluster, wanted: Version, managed: Sequence[str]) -> None:
    """Raise Refused for a way of several steps where there are EKS managed node groups: "all of your node groups'
    Kubernetes versions must match the cluster's" before each of them (UpdateClusterVersion)."""
    if managed and len(steps(cluster.version, wanted)) > 1:
        following = cluster.version.later(1)
        raise Refused(
            f"EKS cluster {cluster.name} cannot go from {cluster.version} to {wanted} at once: its managed node groups "
            f"({', '.join(managed)}) must be at {following} before it goes on from there",
            reason="node_groups_behind",
            remedy=f"Go to {following}, update the managed node groups, then go on",
        )


def check_kubelets(cluster: str, wanted: Version, kubelets: Sequence[Kubelet]) -> None:
    """Raise Refused where a control plane of that version would be too new for kubelets that are there."""
    old, far = too_old(kubelets, wanted), furthest(kubelets)
    if old and far:
        raise Refused(
            f"The control plane of EKS cluster {cluster} must not go to {wanted}: kubelets of {len(old)} of its nodes "
            f"are too old for that: {named(old)}",
            reason="version_skew",
            remedy=f"Replace these nodes first (restart the pods on Fargate); with them it may go to {far}",
            nodes=[{"node": one.node, "version": str(one.version), "fargate": one.fargate} for one in old],
        )


def check_issues(cluster: Cluster, ignored: Iterable[str]) -> None:
    """Raise Refused where the cluster has health issues that make an update fail, unless that check is ignored."""
    issues = [issue for issue in cluster.issues if issue.forbids_update]
    if issues and HEALTH_CHECK.casefold() not in {one.strip().casefold() for one in ignored}:
        raise Refused(
            f"EKS cluster {cluster.name} has health issues with which an update fails: {'; '.join(map(str, issues))}",
            reason="cluster_issues",
            remedy=f"Mend them, or name '{HEALTH_CHECK}' in ignore_insights",
            health_issues=[issue.record for issue in issues],
        )


def errors_among(insights: Iterable[Insight], ignored: Iterable[str]) -> tuple[list[Insight], list[Insight]]:
    """The insights in ERROR: those that stop an upgrade, and those that the operator passes over."""
    names = list(ignored)
    errors = [insight for insight in insights if insight.status == ERROR]
    return [one for one in errors if not is_ignored(one, names)], [one for one in errors if is_ignored(one, names)]


def insights_refusal(cluster: str, to: Version, stopping: Sequence[Insight]) -> Refused:
    """The refusal for insights in ERROR."""
    names = ", ".join(f"'{insight.name}'" for insight in stopping)
    return Refused(
        f"Insights of EKS cluster {cluster} forbid Kubernetes {to}: {'; '.join(map(in_words, stopping))}",
        reason="insights_in_error",
        remedy=f"Mend that, or name in ignore_insights what may be passed over: {names}",
        insights=[insight.record for insight in stopping],
    )


def wants_fresh(insights: Sequence[Insight], now: datetime, max_age: float, since: str) -> bool:
    """Whether EKS is to look again: it has not yet, or too long ago, or before the moment ``since``, when the control
    plane changed. With a ``max_age`` of 0 its last look is good however old it is."""
    if not max_age:
        return False
    return not insights or any(is_stale(one, now, max_age) or one.refreshed <= since for one in insights)


# --- the way back -----------------------------------------------------------------------------------------------------


def rollback_until(updates: Iterable[Update], present: Version, now: datetime) -> str:
    """Until when EKS lets the latest upgrade be rolled back, as far as that can be told from when it began (EKS counts
    from its end, some minutes later); "" where it does not."""
    changes = sorted((one for one in updates if one.version and one.successful), key=lambda one: one.created)
    began = parse_timestamp(changes[-1].created) if changes else None
    if began is None or changes[-1].kind != VERSION_UPDATE or changes[-1].version != str(present):
        return ""
    until = began + timedelta(days=ROLLBACK_DAYS)
    return timestamp_of(until) if until > now else ""
