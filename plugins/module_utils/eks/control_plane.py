# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way of a control plane to a Kubernetes version: look, decide, take one step, and look again.

Nothing is remembered between two calls: an update that is under way is found and joined, whoever began it, so that it
does not matter where an earlier call was killed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.eks import decisions
from ansible_collections.evergreen.eks.plugins.module_utils.eks.clusters import (
    ACTIVE,
    Cluster,
    node_groups,
    offered_versions,
    read_cluster,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.decisions import Refused, next_move
from ansible_collections.evergreen.eks.plugins.module_utils.eks.insights import (
    ERROR,
    PASSING,
    WARNING,
    Insight,
    RefreshFailed,
    is_ignored,
    list_insights,
    read_insight,
    refresh_insights,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.updates import (
    BUSY,
    Update,
    UpdateFailed,
    UpdateTimeout,
    await_update,
    begin_update,
    may_have_begun,
    running_update,
    say_joined,
    updates_of,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import Version, kubelets_of, steps
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, WaitTimeout
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.moments import time_of
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import list_nodes
from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat, wait_patiently
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

# So many updates are read to find the latest upgrade: an update of EKS is rare.
LOOKED_AT = 20
# The codes with which EKS refuses this very request; BUSY is one once there was time enough for what it is busy with.
REFUSALS = (BUSY, "InvalidParameterException", "InvalidRequestException", "InvalidStateException")
PLANNED = "Planned"


@dataclass(frozen=True)
class Wish:
    """What is asked for: the options of the module. ``timeout`` is in seconds for each step, 0 for ever."""

    cluster: str
    version: Version
    ignore_insights: tuple[str, ...] = ()
    insight_max_age: float = 86400
    timeout: float = 3600
    poll_seconds: float = 5


@dataclass
class Step:
    """One minor version on the way; ``seconds`` is how long it was waited for here, ``forced`` whether EKS was told to
    pass over insights in ERROR."""

    begun_from: Version
    to: Version
    update: Update | None = None
    joined: bool = False
    forced: bool = False
    seconds: int = 0

    @property
    def record(self) -> dict[str, Any]:
        """As the module answers it."""
        return {
            "from": str(self.begun_from),
            "to": str(self.to),
            "update_id": self.update.id if self.update else "",
            "status": self.update.status if self.update else PLANNED,
            "began": self.update.created if self.update else "",
            "seconds": self.seconds,
            "joined": self.joined,
            "forced": self.forced,
        }


@dataclass
class Attempt:
    """The step that is being begun: nothing forbids it, and each request for it has the same client token."""

    to: Version
    deadline: Deadline
    heartbeat: Heartbeat
    forced: bool
    token: str = field(default_factory=lambda: f"evergreen-{uuid.uuid4()}")


class ControlPlane:
    """The way of one control plane. ``connect`` makes the connection to its Kubernetes API once nodes are looked at."""

    def __init__(self, aws: Aws, connect: Callable[[Call], KubernetesClient], call: Call, wish: Wish) -> None:
        self._aws, self._connect, self._call, self._wish = aws, connect, call, wish
        self._subject = f"control plane of {wish.cluster}"
        self._first: Cluster | None = None
        self._steps: list[Step] = []
        self._attempt: Attempt | None = None
        self._insights: dict[str, Insight] = {}
        self._passed_over: dict[str, Insight] = {}
        self._warnings: list[str] = []

    def reach(self) -> dict[str, Any]:
        """Bring it to the version that is asked for; answers what the module returns. In check mode it only says what
        it would do. Raises EvergreenError, with what was done until then in its details."""
        try:
            self._first = cluster = self._look()
            return self._foresee(cluster) if self._call.check_mode else self._go(cluster)
        except EvergreenError as error:
            done = [step.record for step in self._steps]
            error.details = {"changed": self._changed, "steps": done, "warnings": self._warnings, **error.details}
            raise

    @property
    def _changed(self) -> bool:
        return any(step.update and step.update.successful for step in self._steps)

    # ---- the way

    def _go(self, cluster: Cluster) -> dict[str, Any]:
        idle = self._attempt_at(cluster.version)
        while True:
            self._catch_up(cluster)
            move = next_move(cluster, self._running(cluster), self._wish.version)
            if move.kind == decisions.DONE:
                return self._outcome(cluster)
            if move.kind == decisions.STEP and move.to:
                self._begin(cluster, move.to)
            elif move.kind == decisions.JOIN and move.to and move.update:
                self._join(cluster, move.to, move.update)
            elif move.kind == decisions.SIT_OUT and move.update:
                self._sit_out(move.update)
            else:
                text = f"EKS is at work on cluster {cluster.name} ({cluster.status}), and does not say at what"
                self._pause(idle, UpdateTimeout(text, remedy="Run again once it is ACTIVE"))
            cluster = self._look()

    def _look(self) -> Cluster:
        return read_cluster(self._aws, self._wish.cluster)

    def _running(self, cluster: Cluster) -> Update | None:
        """The update under way. After a request that has not gone through it is looked for also where the cluster is
        ACTIVE: its status follows with a delay (UpdateClusterVersion)."""
        if cluster.status == ACTIVE and self._attempt is None:
            return None
        return running_update(self._aws, cluster.name)

    def _catch_up(self, cluster: Cluster) -> None:
        """A step that was done before it was known that it had begun: the answer to its request was lost."""
        attempt = self._attempt
        if attempt is None or cluster.version < attempt.to:
            return
        updates = islice(updates_of(self._aws, cluster.name), LOOKED_AT)
        update = next((one for one in updates if one.successful and one.version == str(attempt.to)), None)
        self._steps.append(Step(attempt.to.later(-1), attempt.to, update, forced=attempt.forced))
        self._attempt = None

    def _begin(self, cluster: Cluster, to: Version) -> None:
        """Ask for the step, once nothing forbids it, and wait for it. Where EKS is still busy, or its answer was lost,
        the next look decides; the deadline of the attempt ends that."""
        if self._attempt is None or self._attempt.to != to:
            self._check_way(cluster)
            forced = self._check_insights(to)
            self._look_ahead(to)
            self._attempt = self._attempt_at(to, forced=forced)
        attempt = self._attempt
        try:
            update = begin_update(
                self._aws,
                self._call,
                "UpdateClusterVersion",
                f"{self._subject} {cluster.version} -> {to}",
                name=cluster.name,
                version=str(to),
                clientRequestToken=attempt.token,
                **({"force": True} if attempt.forced else {}),
            )
        except AwsError as error:
            if not may_have_begun(error):
                raise self._refusal(error, to) from error
            self._pause(attempt, error)
            return
        self._await(Step(cluster.version, to, forced=attempt.forced), update)

    def _join(self, cluster: Cluster, to: Version, update: Update) -> None:
        ours = self._attempt is not None and self._attempt.to == to
        if not ours:
            say_joined(self._call, f"{self._subject} {cluster.version} -> {to}", update)
        self._await(Step(cluster.version, to, joined=not ours), update)

    def _await(self, step: Step, update: Update) -> None:
        """Wait until the step is done, and DescribeCluster says so, too."""
        began = self._call.clock.now()
        step.update = update
        self._steps.append(step)
        try:
            step.update = self._awaited(update, f"{self._subject} {step.begun_from} -> {step.to}")
        except UpdateFailed as error:
            step.update = replace(update, status=error.details["update"]["status"])
            raise
        finally:
            step.seconds = round(self._call.clock.now() - began)
        self._settle(step.to)
        self._attempt = None

    def _awaited(self, update: Update, subject: str) -> Update:
        wish = self._wish
        given = {"subject": subject, "timeout": wish.timeout, "poll_seconds": wish.poll_seconds}
        return await_update(self._aws, self._call, wish.cluster, update.id, **given)

    def _settle(self, version: Version) -> None:
        try:
            wait_patiently(
                self._look,
                lambda seen: seen.version >= version,
                call=self._call,
                deadline=Deadline(self._call.clock, self._wish.timeout),
                interval=self._wish.poll_seconds,
                heartbeat=Heartbeat(self._call),
                describe=lambda seen: f"{self._subject}: EKS still describes it as {seen.version}",
            )
        except WaitTimeout as late:
            raise UpdateTimeout(
                f"The update of EKS cluster {self._wish.cluster} to {version} is Successful, but EKS still describes "
                f"it as {late.last.version}",
                remedy="Run again a little later",
            ) from None

    def _sit_out(self, update: Update) -> None:
        """Wait for the end of an update of another kind, good or bad: it is somebody else's."""
        say_joined(self._call, self._subject, update)
        try:
            self._awaited(update, f"{self._subject}, {update.kind}")
        except UpdateFailed as error:
            self._warnings.append(str(error))

    def _attempt_at(self, to: Version, *, forced: bool = False) -> Attempt:
        return Attempt(to, Deadline(self._call.clock, self._wish.timeout), Heartbeat(self._call), forced)

    def _pause(self, attempt: Attempt, error: EvergreenError) -> None:
        """Until the next look; ``error`` is raised once the time is over."""
        if attempt.deadline.expired():
            raise self._refusal(error, attempt.to)
        if getattr(error, "transient", False):
            attempt.heartbeat.trouble(error.message)
        else:
            attempt.heartbeat.beat(f"{self._subject}: EKS is still busy there, and is asked again")
        self._call.clock.sleep(min(self._wish.poll_seconds, attempt.deadline.remaining()))

    # ---- what forbids it

    @cached_property
    def _offered(self) -> list[Version]:
        return offered_versions(self._aws)

    @cached_property
    def _client(self) -> KubernetesClient:
        """After a step, one that was joined, silence is no wrong address: EKS has just replaced the servers."""
        return self._connect(replace(self._call, established=self._call.established or bool(self._steps)))

    def _check_way(self, cluster: Cluster) -> None:
        """Raise Refused where anything forbids the way that is left, all of it: half of it is worse than nothing."""
        wish = self._wish
        decisions.check_offered(cluster.version, wish.version, self._offered)
        decisions.check_issues(cluster, wish.ignore_insights)
        if len(steps(cluster.version, wish.version)) > 1:
            decisions.check_node_groups(cluster, wish.version, node_groups(self._aws, cluster.name))
        decisions.check_kubelets(cluster.name, wish.version, kubelets_of(list_nodes(self._client)))

    def _check_insights(self, to: Version) -> bool:
        """Whether EKS must be told to pass over insights in ERROR. Raises Refused for those that are not ignored; EKS
        looks again before that, since what they found may have been mended."""
        wish = self._wish
        found = list_insights(self._aws, wish.cluster, version=str(to))
        since = self._steps[-1].update.created if self._steps and self._steps[-1].update else ""
        stopping, passed_over = decisions.errors_among(found, wish.ignore_insights)
        may_be_mended = bool(stopping and wish.insight_max_age and not self._call.check_mode)
        if may_be_mended or decisions.wants_fresh(found, time_of(self._call.clock), wish.insight_max_age, since):
            found = self._look_again(to, found)
            stopping, passed_over = decisions.errors_among(found, wish.ignore_insights)
        self._insights |= {one.id: one for one in found if one.status != PASSING}
        self._passed_over |= {one.id: one for one in passed_over}
        if stopping:
            whole = [read_insight(self._aws, wish.cluster, one) for one in stopping]
            raise decisions.insights_refusal(wish.cluster, to, whole)
        return bool(passed_over)

    def _look_ahead(self, to: Version) -> None:
        """A warning for what EKS has found already about the versions after the next one: it may stop the way there."""
        wish = self._wish
        for later in steps(to, wish.version):
            found = list_insights(self._aws, wish.cluster, version=str(later), statuses=(WARNING, ERROR))
            new = {
                one.id: one for one in found if not (one.id in self._insights or is_ignored(one, wish.ignore_insights))
            }
            self._insights |= new
            if new:
                names = "; ".join(map(str, new.values()))
                self._warnings.append(f"On the way, insights for Kubernetes {later} may stop it: {names}")

    def _look_again(self, to: Version, found: list[Insight]) -> list[Insight]:
        """The insights after a fresh look of EKS. Where it cannot look, or in check mode, they are those that are
        known, with a warning: EKS itself judges by them, too."""
        wish = self._wish
        try:
            if self._call.check_mode:
                raise RefreshFailed("They are asked for anew when this is run without check mode")
            given = {"timeout": wish.timeout, "poll_seconds": wish.poll_seconds}
            refresh_insights(self._aws, self._call, wish.cluster, **given)
            return list_insights(self._aws, wish.cluster, version=str(to))
        except (RefreshFailed, WaitTimeout) as error:
            known = f"are of {min(one.refreshed for one in found)}" if found else "are not known"
            self._warnings.append(f"The insights for Kubernetes {to} {known}. {error.message}.")
            return found

    def _refusal(self, error: EvergreenError, to: Version) -> EvergreenError:
        """What EKS says no to, under a reason of its own; anything else as it is."""
        if not isinstance(error, AwsError) or error.code not in REFUSALS:
            return error
        return Refused(
            f"EKS refuses to take cluster {self._wish.cluster} to {to}: {error.message}",
            reason="update_refused",
            remedy="Mend what it names, then run again",
        )

    # ---- what is answered

    def _foresee(self, cluster: Cluster) -> dict[str, Any]:
        """In check mode: the steps that would be taken, after the same refusals."""
        move = next_move(cluster, self._running(cluster), self._wish.version)
        if move.kind == decisions.JOIN and move.to:
            self._steps.append(Step(cluster.version, move.to, move.update, joined=True))
        present = replace(cluster, version=self._steps[-1].to if self._steps else cluster.version)
        planned = steps(present.version, self._wish.version)
        if planned:
            self._check_way(present)
        for begun_from, to in zip([present.version, *planned], planned):
            # EKS has insights for the version after the present one, and for no later one.
            forced = begun_from == cluster.version and self._check_insights(to)
            self._steps.append(Step(begun_from, to, forced=forced))
        if planned:
            self._look_ahead(planned[0])
        return self._answer(cluster, self._wish.version)

    def _outcome(self, cluster: Cluster) -> dict[str, Any]:
        taken = [step.update for step in self._steps if step.update]
        updates = taken or islice(updates_of(self._aws, cluster.name), LOOKED_AT)
        until = decisions.rollback_until(updates, cluster.version, time_of(self._call.clock))
        if taken and until:
            back_to = str(cluster.version.later(-1))
            text = f"{self._subject}: EKS lets it be rolled back to {back_to} until {until}"
            self._call.journal.write("rollback_open", subject=self._subject, version=back_to, until=until, text=text)
        return self._answer(cluster, cluster.version, until)

    def _answer(self, cluster: Cluster, version: Version, until: str = "") -> dict[str, Any]:
        first = self._first or cluster
        before, after = str(first.version), str(version)
        return {
            "changed": before != after,
            "cluster_name": cluster.name,
            "version_before": before,
            "version": after,
            "platform_version": cluster.platform,
            "steps": [step.record for step in self._steps],
            "rollback_until": until,
            "rollback_version": str(version.later(-1)) if until else "",
            "insights": [one.record for one in self._insights.values()],
            "ignored_insights": sorted(one.name for one in self._passed_over.values()),
            "health_issues": [issue.record for issue in cluster.issues],
            "warnings": self._warnings,
            "diff": {"before": {"version": before}, "after": {"version": after}},
        }
