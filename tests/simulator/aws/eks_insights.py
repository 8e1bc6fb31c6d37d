# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cluster insights: what EKS has found out about a cluster's readiness for the next version, and for the way back.

Names, descriptions and the reasons of passing checks are those that ListInsights answers with; EKS looks once a day, or
when StartInsightsRefresh asks for it, and in between an insight says what was so at its last look ("Prepare for
Kubernetes version upgrades and troubleshoot misconfigurations with cluster insights" of the User Guide). A test may
have its say: ``set`` the status of one, ``deprecate`` an API, ``age`` them all.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from simulator.aws import eks_catalogue
from simulator.aws.agenda import Agenda
from simulator.aws.eks_addons import Addons
from simulator.aws.eks_errors import InvalidParameter, NotFound
from simulator.aws.eks_inside import Inside
from simulator.aws.eks_versions import BY_VERSION, minor
from simulator.aws.timings import Timings

UPGRADE, ROLLBACK = "UPGRADE_READINESS", "ROLLBACK_READINESS"
PASSING, WARNING, ERROR, UNKNOWN = "PASSING", "WARNING", "ERROR", "UNKNOWN"
GRAVITY = (PASSING, UNKNOWN, WARNING, ERROR)
#: the version skew policy of Kubernetes: a kubelet, and kube-proxy, may be this many minor versions older
SKEW = 3

HEALTH = "Cluster health issues"
LINUX_2 = "Amazon Linux 2 compatibility"
KUBELET = "Kubelet version skew"
PROXY = "kube-proxy version skew"
ADDONS = "EKS add-on version compatibility"
DESCRIPTIONS = {
    HEALTH: "Checks for any cluster health issues that prevent successful upgrade to the next Kubernetes version on "
    "EKS.",
    LINUX_2: "Checks if any nodes in the cluster are running Amazon Linux 2. Support for Amazon Linux 2 on Amazon EKS "
    "will end on November 26, 2025. Additionally, Amazon EKS will not release Amazon Linux 2 AMIs for Kubernetes "
    "version 1.33 and higher",
    KUBELET: "Checks for kubelet versions of worker nodes in the cluster to see if upgrade would cause non compliance "
    "with supported Kubernetes kubelet version skew policy.",
    PROXY: "Checks version of kube-proxy in cluster to see if upgrade would cause non compliance with supported "
    "Kubernetes kube-proxy version skew policy.",
    ADDONS: "Checks version of installed EKS add-ons to ensure they are compatible with the next version of "
    "Kubernetes. ",
}


@dataclass(frozen=True)
class DeprecatedApi:
    """An API that a version stops serving and that somebody still asks for: user agent -> requests in 30 days."""

    usage: str  # /apis/flowcontrol.apiserver.k8s.io/v1beta3/flowschemas
    replaced_with: str
    stops: str  # the version that serves it no more
    starts: str  # the version since which its replacement is served
    clients: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Insight:
    """The outcome of one check at its last look."""

    name: str
    category: str
    version: str
    status: str
    reason: str
    refreshed: datetime
    changed: datetime
    description: str = ""
    recommendation: str = ""
    resources: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def insight_id(self) -> str:
        """The same as long as it is the same check for the same version."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.category}/{self.name}/{self.version}"))

    def answer(self, whole: bool = False) -> dict[str, Any]:
        """As ListInsights shows it; ``whole``: DescribeInsight."""
        answer: dict[str, Any] = {
            "id": self.insight_id,
            "name": self.name,
            "category": self.category,
            "kubernetesVersion": self.version,
            "lastRefreshTime": self.refreshed,
            "lastTransitionTime": self.changed,
            "description": self.description,
            "insightStatus": {"status": self.status, "reason": self.reason},
        }
        if whole:
            answer |= {
                "recommendation": self.recommendation,
                "additionalInfo": {},
                "resources": self.resources,
                "categorySpecificSummary": self.summary,
            }
        return answer


class Insights:
    """The insights of one cluster. ``version`` tells its version, ``back_to`` the one that it may be rolled back to,
    ``health`` its health issues."""

    def __init__(
        self,
        cluster: str,
        agenda: Agenda,
        timings: Timings,
        addons: Addons,
        inside: Callable[[], Inside],
        version: Callable[[], str],
        back_to: Callable[[], str],
        health: Callable[[], list[dict[str, Any]]],
    ):
        self._cluster = cluster
        self._agenda, self._timings = agenda, timings
        self._addons, self._inside = addons, inside
        self._version, self._back_to, self._health = version, back_to, health
        self._found: dict[str, Insight] = {}
        self._set: dict[str, tuple[str, str]] = {}
        self._deprecated: list[DeprecatedApi] = []
        self._refresh: dict[str, Any] = {}
        self.refresh_fails = False  # a test: the refresh that is asked for next does not succeed
        self.look()
        self._every_day()

    # ---- a test's hand

    def set(self, name: str, status: str, reason: str = "Set by the rehearsal.") -> None:
        """From now on, and at every look, this check has that outcome; a name that EKS has not makes a new one."""
        self._set[name] = (status, reason)
        self.look()

    def unset(self, name: str) -> None:
        """The check is what it finds again, from its next look on."""
        self._set.pop(name, None)

    def deprecate(self, api: DeprecatedApi) -> None:
        """Clients still ask for this API."""
        self._deprecated.append(api)
        self.look()

    def mend(self, api: DeprecatedApi) -> None:
        """Nobody asks for it any more, as EKS finds at its next look."""
        self._deprecated.remove(api)

    def age(self, seconds: float) -> None:
        """The last look was so long ago."""
        for insight in self._found.values():
            insight.refreshed -= timedelta(seconds=seconds)

    # ---- EKS's operations

    def list(self, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """ListInsights, with its filter."""
        wanted = params.get("filter") or {}
        for one in wanted.get("statuses") or []:
            if one not in GRAVITY:
                raise InvalidParameter(self._cluster, f"Invalid insight status: {one}")
        return [
            one.answer()
            for one in self._found.values()
            if one.category in (wanted.get("categories") or [one.category])
            and one.version in (wanted.get("kubernetesVersions") or [one.version])
            and one.status in (wanted.get("statuses") or [one.status])
        ]

    def describe(self, insight_id: str) -> dict[str, Any]:
        """DescribeInsight."""
        for insight in self._found.values():
            if insight.insight_id == insight_id:
                return insight.answer(whole=True)
        raise NotFound(self._cluster, f"No insight found for ID: {insight_id}")

    def start_refresh(self) -> dict[str, Any]:
        """StartInsightsRefresh; while one is under way it is answered with that one."""
        if self._refresh.get("status") != "IN_PROGRESS":
            now = self._agenda.datetime()
            message = "Insights refresh is in progress"
            self._refresh = {"message": message, "status": "IN_PROGRESS", "startedAt": now}
            self._agenda.after(self._timings.insights_refresh, self._refreshed)
        return {"message": self._refresh["message"], "status": self._refresh["status"]}

    def describe_refresh(self) -> dict[str, Any]:
        """DescribeInsightsRefresh: the latest that was asked for."""
        if not self._refresh:
            raise NotFound(self._cluster, f"No insights refresh found for cluster: {self._cluster}")
        return dict(self._refresh)

    def blocking(self, category: str, version: str) -> list[str]:
        """The names of the insights that forbid to go to that version."""
        found = self._found.values()
        return [one.name for one in found if (one.category, one.version, one.status) == (category, version, ERROR)]

    # ---- looking

    def look(self) -> None:
        """Look at everything now."""
        now, before = self._agenda.datetime(), self._found
        insights = [*self._upgrade(now), *self._rollback(now)]
        self._found = {one.insight_id: one for one in insights}
        for key, one in self._found.items():
            if key in before and before[key].status == one.status:
                one.changed = before[key].changed

    def _every_day(self) -> None:
        def again() -> None:
            self.look()
            self._every_day()

        self._agenda.after(self._timings.insights_period, again)

    def _refreshed(self) -> None:
        failed, self.refresh_fails = self.refresh_fails, False
        if not failed:
            self.look()
        ended = {"status": "FAILED" if failed else "COMPLETED", "endedAt": self._agenda.datetime()}
        message = "Insights refresh failed" if failed else "Insights refresh completed successfully"
        self._refresh = {**self._refresh, **ended, "message": message}

    def _upgrade(self, now: datetime) -> list[Insight]:
        target = f"1.{minor(self._version()) + 1}"
        if target not in BY_VERSION:
            return []
        found = [
            self._cluster_health(target, now),
            self._linux_2(target, now),
            self._skew(UPGRADE, KUBELET, target, now),
            self._skew(UPGRADE, PROXY, target, now),
            self._compatibility(UPGRADE, target, now),
        ]
        for stops in sorted({api.stops for api in self._deprecated}, key=minor):
            if minor(stops) > minor(self._version()):
                found.append(self._deprecation(stops, now, imminent=stops == target))
        known = {one.name for one in found}
        for name, outcome in self._set.items():
            if name not in known:
                found.append(self._insight(UPGRADE, name, target, now, outcome))
        return found

    def _rollback(self, now: datetime) -> list[Insight]:
        """For as long as the way back is open."""
        target = self._back_to()
        if not target:
            return []
        skews = [self._skew(ROLLBACK, name, target, now) for name in (KUBELET, PROXY)]
        return [*skews, self._compatibility(ROLLBACK, target, now)]

    def _cluster_health(self, target: str, now: datetime) -> Insight:
        outcome = (PASSING, "No cluster health issues detected.")
        if issues := self._health():
            outcome = (ERROR, "; ".join(issue["message"] for issue in issues))
        return self._insight(UPGRADE, HEALTH, target, now, outcome)

    def _insight(
        self, category: str, name: str, version: str, now: datetime, outcome: tuple[str, str], **more: Any
    ) -> Insight:
        status, reason = self._set.get(name, outcome) if category == UPGRADE else outcome
        more.setdefault("description", DESCRIPTIONS.get(name, name))
        return Insight(name, category, version, status, reason, now, now, **more)

    def _skew(self, category: str, name: str, target: str, now: datetime) -> Insight:
        """Kubelets, or kube-proxy, against the version that the control plane is to have."""
        found = self._kubelets() if name == KUBELET else self._proxies()
        resources, worst = [], PASSING
        for uri, version in found.items():
            behind = minor(target) - minor(version)
            status = ERROR if behind > SKEW or behind < 0 else WARNING if behind == SKEW else PASSING
            worst = max(worst, status, key=GRAVITY.index)
            if status != PASSING:
                said = {"status": status, "reason": f"Version {version} against {target}."}
                resources.append({"insightStatus": said, "kubernetesResourceUri": uri})
        what = "Node kubelet versions" if name == KUBELET else "kube-proxy versions"
        same = all(minor(version) == minor(self._version()) for version in found.values())
        reasons = {
            PASSING: (
                f"{what} match the cluster control plane version."
                if same
                else f"{what} are within the supported version skew."
            ),
            WARNING: f"{what} will be at the limit of the supported version skew at Kubernetes {target}.",
            ERROR: f"{what} are not compatible with Kubernetes {target}.",
        }
        remedy = "" if worst == PASSING else "Update your nodes to the Kubernetes version of your control plane."
        outcome = (worst, reasons[worst])
        return self._insight(category, name, target, now, outcome, resources=resources, recommendation=remedy)

    def _kubelets(self) -> dict[str, str]:
        return {f"/api/v1/nodes/{node.name}": node.kubelet for node in self._inside().nodes()}

    def _proxies(self) -> dict[str, str]:
        """The version in the tag of kube-proxy's image, managed or not."""
        found = self._inside().find("DaemonSet", "kube-system", "kube-proxy")
        if found is None:
            return {}
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        tag = image.rpartition(":")[2]
        uri = "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy"
        return {uri: tag} if tag.startswith("v1.") else {}

    def _compatibility(self, category: str, target: str, now: datetime) -> Insight:
        details, resources = [], []
        for name, addon in self._addons.installed.items():
            fitting = [one.version for one in eks_catalogue.BY_NAME[name].fitting(target)]
            if addon.version not in fitting:
                details.append({"name": name, "compatibleVersions": fitting})
                said = {"status": ERROR, "reason": f"Version {addon.version} is not compatible with {target}."}
                resources.append({"insightStatus": said, "arn": addon.arn})
        outcome = (PASSING, "All installed EKS add-on versions are compatible with next Kubernetes version.")
        if details:
            outcome = (
                ERROR,
                "One or more installed EKS add-on versions are incompatible with next Kubernetes version.",
            )
        summary = {"deprecationDetails": [], "addonCompatibilityDetails": details}
        remedy = (
            "Update the add-ons to a version that is compatible with the next Kubernetes version." if details else ""
        )
        more = {"resources": resources, "summary": summary, "recommendation": remedy}
        return self._insight(category, ADDONS, target, now, outcome, **more)

    def _linux_2(self, target: str, now: datetime) -> Insight:
        old = [node.name for node in self._inside().nodes() if node.os_image == "Amazon Linux 2"]
        outcome = (PASSING, "No Amazon Linux 2 nodes detected.")
        if old:
            outcome = (ERROR if minor(target) >= 33 else WARNING, f"Amazon Linux 2 nodes detected: {len(old)}.")
        said = {"status": outcome[0], "reason": outcome[1]}
        resources = [{"insightStatus": said, "kubernetesResourceUri": f"/api/v1/nodes/{name}"} for name in old]
        return self._insight(UPGRADE, LINUX_2, target, now, outcome, resources=resources)

    def _deprecation(self, stops: str, now: datetime, imminent: bool) -> Insight:
        """ERROR for the next version, WARNING for later ones (the status table of the User Guide's page)."""
        apis = [api for api in self._deprecated if api.stops == stops]
        used = [api.usage for api in apis if api.clients]
        outcome = (PASSING, "No deprecated API usage detected within the last 30 days.")
        if used:
            outcome = (ERROR if imminent else WARNING, "Deprecated API usage detected within last 30 days.")
        said = {"status": outcome[0], "reason": outcome[1]}
        return self._insight(
            UPGRADE,
            f"Deprecated APIs removed in Kubernetes v{stops}",
            stops,
            now,
            outcome,
            description=f"Checks for usage of deprecated APIs that are scheduled for removal in Kubernetes v{stops}.",
            recommendation="Update manifests and API clients to use newer Kubernetes APIs if applicable before "
            f"upgrading to Kubernetes v{stops}.",
            resources=[{"insightStatus": said, "kubernetesResourceUri": usage} for usage in used],
            summary={"deprecationDetails": [_deprecation_detail(api, now) for api in apis]},
        )


def _deprecation_detail(api: DeprecatedApi, now: datetime) -> dict[str, Any]:
    return {
        "usage": api.usage,
        "replacedWith": api.replaced_with,
        "stopServingVersion": api.stops,
        "startServingReplacementVersion": api.starts,
        "clientStats": [
            {"userAgent": agent, "numberOfRequestsLast30Days": count, "lastRequestTime": now}
            for agent, count in api.clients.items()
        ],
    }
