# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What EKS has found out about a cluster's readiness for the next version: its insights.

EKS looks once a day, or when it is asked to; in between an insight says what was so at its last look. Sources: Amazon
EKS User Guide, "Prepare for Kubernetes version upgrades and troubleshoot misconfigurations with cluster insights".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.eks.api import ask, ask_all
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import cluster_named
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, WaitTimeout
from ansible_collections.evergreen.eks.plugins.module_utils.moments import parse_timestamp, timestamp_of
from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat, wait_patiently
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

UPGRADE, ROLLBACK, MISCONFIGURATION = "UPGRADE_READINESS", "ROLLBACK_READINESS", "MISCONFIGURATION"
CATEGORIES = (UPGRADE, ROLLBACK, MISCONFIGURATION)
PASSING, WARNING, ERROR, UNKNOWN = "PASSING", "WARNING", "ERROR", "UNKNOWN"
STATUSES = (PASSING, WARNING, ERROR, UNKNOWN)
# The check that fails for a cluster's health issues.
HEALTH_CHECK = "Cluster health issues"
IN_PROGRESS, COMPLETED, FAILED, NEVER = "IN_PROGRESS", "COMPLETED", "FAILED", "NEVER"
# With this EKS refuses what it could do at another time.
NOT_NOW = "InvalidRequestException"


@dataclass(frozen=True)
class Insight:
    """The outcome of one check at EKS's last look, ``refreshed``; ``version`` is the one that it is about.

    What follows ``changed`` is empty until the insight is read in full.
    """

    id: str
    name: str
    category: str
    version: str
    status: str
    reason: str
    description: str
    refreshed: str
    changed: str
    recommendation: str = ""
    links: Mapping[str, str] | None = None
    resources: tuple[Mapping[str, str], ...] = ()
    deprecations: tuple[Mapping[str, Any], ...] = ()
    addons: tuple[Mapping[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.reason else self.name

    @property
    def record(self) -> dict[str, Any]:
        """As a module answers it."""
        return {
            **vars(self),
            "links": dict(self.links or {}),
            "resources": [dict(one) for one in self.resources],
            "deprecations": [dict(one) for one in self.deprecations],
            "addons": [dict(one) for one in self.addons],
        }


def insight_from(answer: Mapping[str, Any]) -> Insight:
    """The record of an InsightSummary, or of a whole Insight, as EKS answers it."""
    status, summary = answer.get("insightStatus") or {}, answer.get("categorySpecificSummary") or {}
    return Insight(
        id=answer["id"],
        name=answer.get("name", ""),
        category=answer.get("category", ""),
        version=answer.get("kubernetesVersion") or "",
        status=status.get("status", UNKNOWN),
        reason=status.get("reason") or "",
        description=(answer.get("description") or "").strip(),
        refreshed=_moment(answer.get("lastRefreshTime")),
        changed=_moment(answer.get("lastTransitionTime")),
        recommendation=answer.get("recommendation") or "",
        links=dict(answer.get("additionalInfo") or {}),
        resources=tuple(_resource(one) for one in answer.get("resources") or ()),
        deprecations=tuple(_deprecation(one) for one in summary.get("deprecationDetails") or ()),
        addons=tuple(
            {"name": one.get("name", ""), "compatible_versions": list(one.get("compatibleVersions") or ())}
            for one in summary.get("addonCompatibilityDetails") or ()
        ),
    )


def _moment(moment: datetime | None) -> str:
    return timestamp_of(moment) if moment else ""


def _resource(answer: Mapping[str, Any]) -> dict[str, str]:
    status = answer.get("insightStatus") or {}
    name = answer.get("kubernetesResourceUri") or answer.get("arn") or ""
    return {"resource": name, "status": status.get("status", ""), "reason": status.get("reason") or ""}


def _deprecation(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "usage": answer.get("usage", ""),
        "replaced_with": answer.get("replacedWith", ""),
        "stops_in": answer.get("stopServingVersion", ""),
        "replacement_since": answer.get("startServingReplacementVersion", ""),
        "clients": [
            {
                "user_agent": client.get("userAgent", ""),
                "requests": client.get("numberOfRequestsLast30Days", 0),
                "last": _moment(client.get("lastRequestTime")),
            }
            for client in answer.get("clientStats") or ()
        ],
    }


# --- reading ----------------------------------------------------------------------------------------------------------


def list_insights(
    aws: Aws, cluster: str, *, categories: Sequence[str] = (UPGRADE,), version: str = "", statuses: Sequence[str] = ()
) -> list[Insight]:
    """The insights, worst first; without what only `read_insight` tells."""
    wanted = {
        "categories": list(categories),
        "kubernetesVersions": [version] if version else [],
        "statuses": list(statuses),
    }
    given = {key: value for key, value in wanted.items() if value}
    with cluster_named(aws, cluster):
        found = ask_all(aws, "ListInsights", f"EKS cluster {cluster}", "insights", clusterName=cluster, filter=given)
    return sorted(map(insight_from, found), key=_gravity)


def _gravity(insight: Insight) -> tuple[int, str, str]:
    worst_first = (ERROR, WARNING, UNKNOWN, PASSING)
    place = worst_first.index(insight.status) if insight.status in worst_first else len(worst_first)
    return place, insight.version, insight.name


def read_insight(aws: Aws, cluster: str, insight: Insight) -> Insight:
    """The same insight in full; as it was listed where EKS has none of that id any more."""
    try:
        subject = f"insight {insight.name} of EKS cluster {cluster}"
        return insight_from(ask(aws, "DescribeInsight", subject, clusterName=cluster, id=insight.id)["insight"])
    except AwsError as error:
        if error.reason != "not_found":
            raise
        return replace(insight, recommendation="EKS has looked again meanwhile, and has none of this any more")


def counts(insights: Iterable[Insight]) -> dict[str, int]:
    """How many there are of each status."""
    statuses = [insight.status for insight in insights]
    return {status: statuses.count(status) for status in STATUSES}


# --- judging ----------------------------------------------------------------------------------------------------------


def is_stale(insight: Insight, now: datetime, max_age: float) -> bool:
    """Whether EKS's last look is longer ago than so many seconds; 0 is never."""
    looked = parse_timestamp(insight.refreshed)
    return bool(max_age) and (looked is None or now - looked > timedelta(seconds=max_age))


def is_ignored(insight: Insight, ignored: Iterable[str]) -> bool:
    """Whether it is named there, by its name in any case of letters, or by its id."""
    return bool({insight.name.casefold(), insight.id} & {one.strip().casefold() for one in ignored})


def in_words(insight: Insight) -> str:
    """Why it does not pass, and what helps, in one line: `name: reason (recommendation) [resources]`."""
    remedy = f" ({insight.recommendation.strip()})" if insight.recommendation else ""
    bad = [one["resource"] for one in insight.resources if one["status"] != PASSING]
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    where = f" [{', '.join(bad[:5])}{more}]" if bad else ""
    return f"{insight}{remedy}{where}"


# --- asking EKS to look again -----------------------------------------------------------------------------------------


class RefreshFailed(EvergreenError):
    """EKS could not look again."""

    default_reason = "refresh_failed"


@dataclass(frozen=True)
class Refresh:
    """A look of EKS that was asked for. Its status is IN_PROGRESS, COMPLETED, FAILED, or NEVER: nobody ever asked."""

    status: str
    message: str = ""
    began: str = ""
    ended: str = ""


def read_refresh(aws: Aws, cluster: str) -> Refresh:
    """The look that was asked for last."""
    try:
        answer = ask(aws, "DescribeInsightsRefresh", f"EKS cluster {cluster}", clusterName=cluster)
    except AwsError as error:
        if error.reason != "not_found":
            raise
        return Refresh(NEVER)
    status = answer.get("status", "")
    return Refresh(status, answer.get("message", ""), _moment(answer.get("startedAt")), _moment(answer.get("endedAt")))


def refresh_insights(aws: Aws, call: Call, cluster: str, *, timeout: float, poll_seconds: float) -> Refresh:
    """Ask EKS to look again, and wait until it has; a look that is under way is waited for instead.

    ``timeout`` in seconds, 0 for ever. Raises RefreshFailed, WaitTimeout (refresh_timeout), AwsError.
    """
    subject = f"insights of EKS cluster {cluster}"
    before = read_refresh(aws, cluster)
    if before.status != IN_PROGRESS:
        call.journal.write("intent", verb="StartInsightsRefresh", subject=subject, text=f"{subject}: EKS looks again")
        _start_refresh(aws, cluster, subject)
    try:
        refresh = wait_patiently(
            lambda: read_refresh(aws, cluster),
            lambda seen: is_over(seen, before),
            call=call,
            deadline=Deadline(call.clock, timeout),
            interval=poll_seconds,
            heartbeat=Heartbeat(call),
            describe=lambda _seen: f"{subject}: EKS is looking",
        )
    except WaitTimeout as late:
        raise WaitTimeout(
            f"EKS has not looked at cluster {cluster} again in {timeout:g} s",
            reason="refresh_timeout",
            remedy="It goes on looking; run again to wait on",
            last=late.last,
        ) from None
    if refresh.status == FAILED:
        raise RefreshFailed(
            f"EKS could not look at cluster {cluster} again: {refresh.message or 'it names no cause'}",
            remedy="Run again; until then its insights are those of the last look",
        )
    return refresh


def _start_refresh(aws: Aws, cluster: str, subject: str) -> None:
    """To ask twice is to ask once: EKS answers with the look that is under way. Raises RefreshFailed, AwsError."""
    try:
        ask(aws, "StartInsightsRefresh", subject, clusterName=cluster)
    except AwsError as error:
        if error.code != NOT_NOW:
            raise
        raise RefreshFailed(
            f"EKS does not look at cluster {cluster} again now: {error.message}",
            remedy="Run again later; until then its insights are those of the last look",
        ) from error


def is_over(seen: Refresh, before: Refresh) -> bool:
    """Whether the look is over, and is not the one of before that EKS may still show for a moment."""
    is_the_old_one = before.status in (COMPLETED, FAILED) and bool(seen.began) and seen.began == before.began
    return seen.status in (COMPLETED, FAILED) and not is_the_old_one
