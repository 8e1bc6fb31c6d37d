# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-ons of a cluster are brought to their versions, one after the other, each awaited until its pods are up.

One after the other, because each may break what the next one needs: a cluster whose network is ill gets no new DNS on
top. A plan may be minutes old when its turn comes, so each add-on is looked at again before each request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError
from ansible_collections.evergreen.eks.plugins.module_utils.eks.addon_plan import (
    REPORT,
    SET,
    Item,
    Terms,
    chosen,
    missing,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.addon_pods import (
    Workload,
    read_obstacles,
    read_workloads,
    some_pods,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.addon_versions import steps
from ansible_collections.evergreen.eks.plugins.module_utils.eks.addons import (
    DELETING,
    UPDATING,
    Addon,
    read_addon,
    remedy_for,
    subject,
    update_request,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.api import ask_all
from ansible_collections.evergreen.eks.plugins.module_utils.eks.self_managed import (
    SelfManaged,
    back_up,
    read_self_managed,
    set_image,
)
from ansible_collections.evergreen.eks.plugins.module_utils.eks.updates import (
    Update,
    UpdateFailed,
    await_update,
    begin_update,
    may_have_begun,
    running_update,
    say_joined,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, WaitTimeout, counted
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat, wait_patiently
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

# What EKS says to a request that it does not begin: wrong for this add-on, or not now.
REFUSALS = ("InvalidParameterException", "InvalidRequestException")


class AddonUnhealthy(EvergreenError):
    """An add-on is at its version, and does not do well."""

    default_reason = "addon_unhealthy"


@dataclass
class Outcome:
    """What has become of one add-on, as the module answers it."""

    item: Item
    version: str
    status: str = ""
    issues: tuple[str, ...] = ()
    updates: list[dict[str, Any]] = field(default_factory=list)
    joined: bool = False
    workloads: tuple[Workload, ...] = ()
    image: str = ""
    wanted_image: str = ""
    backups: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether it has another version now, or EKS was told something, or would be."""
        return bool(self.updates and not self.joined) or self.version != self.item.version

    def answer(self) -> dict[str, Any]:
        workload = self.item.workload
        common = {
            "name": self.item.name,
            "managed": workload is None,
            "changed": self.changed,
            "version_before": self.item.version,
            "version": self.version,
            "wanted": self.item.choice.version,
            "steps": list(self.item.steps),
            "note": self.item.note or self.item.choice.why,
            "workloads": [str(one) for one in self.workloads],
        }
        if workload is None:
            return {
                **common,
                "status": self.status,
                "issues": list(self.issues),
                "updates": self.updates,
                "joined": self.joined,
            }
        return {**common, "image": self.image, "wanted_image": self.wanted_image, "backups": self.backups}


@dataclass
class AddonWork:
    """See the module's docstring.

    ``timeout``: seconds for each step of an add-on, 0 for ever. ``settle_seconds``: for how long EKS may find it
    unhealthy, as it does for a moment after an update, until it has looked at the pods again.
    """

    aws: Aws
    client: KubernetesClient
    call: Call
    cluster: str
    terms: Terms
    timeout: float
    settle_seconds: float
    poll_seconds: float
    backup_dir: Path

    def foresee(self, items: Sequence[Item]) -> list[Outcome]:
        """What would become of them."""
        return [self._foreseen(item) for item in items]

    def do(self, items: Sequence[Item]) -> list[Outcome]:
        """Bring all of them to their versions. An error has what was done until then in its details."""
        done: list[Outcome] = []
        for item in items:
            try:
                done.append(self._self_managed(item, item.workload) if item.workload else self._managed(item))
            except EvergreenError as error:
                begun = error.details.pop("outcome", None)
                answers = [outcome.answer() for outcome in [*done, *([begun] if begun else [])]]
                error.details = {
                    "addon": item.name,
                    "addons": answers,
                    "changed": any(answer["changed"] for answer in answers),
                    "not_begun": [one.name for one in items[len(done) + 1 :]],
                    **error.details,
                }
                raise
        return done

    def _foreseen(self, item: Item) -> Outcome:
        addon, workload = item.addon, item.workload
        if workload:
            return self._look(item, workload, reached=item.choice.version if self._is_set(item) else "")
        if not addon:
            raise missing(self.cluster, [item.name], [], self.terms)
        again = [addon.version] if addon.failed and not item.steps else []
        updates = [{"id": "", "version": version} for version in [*item.steps, *again]]
        return Outcome(item, item.choice.version, addon.status, tuple(map(str, addon.issues)), updates)

    # ---- those that EKS manages

    def _managed(self, item: Item) -> Outcome:
        outcome = Outcome(item, item.version)
        began = self.call.clock.now()
        try:
            if item.steps:
                self._say_begun(item)
            self._bring(item, outcome)
            self._await_health(item, outcome)
        except EvergreenError as error:
            error.details.setdefault("outcome", outcome)
            raise
        if outcome.changed:
            self._say_ended(outcome, began)
        return outcome

    def _bring(self, item: Item, outcome: Outcome) -> None:
        """Updates until it is at its version and the last one has succeeded."""
        patience, heartbeat = Deadline(self.call.clock, self.timeout), Heartbeat(self.call)
        while True:
            addon = self._read(item)
            outcome.version, outcome.status = addon.version, addon.status
            if addon.busy:
                if self._wait_for_others(addon, patience, heartbeat, outcome):
                    patience = Deadline(self.call.clock, self.timeout)
                continue
            version = self._next(item, addon)
            if not version:
                return
            history = ask_all(
                self.aws,
                "ListUpdates",
                subject(self.cluster, item.name),
                "updateIds",
                name=self.cluster,
                addonName=item.name,
            )
            request = update_request(self.cluster, addon, version, item.wish.conflicts, history)
            called = f"{item.name} {addon.version} -> {version}"
            try:
                update = begin_update(self.aws, self.call, "UpdateAddon", called, **request)
            except AwsError as error:
                if not may_have_begun(error) or patience.expired():
                    raise refused(called, error) from None
                heartbeat.trouble(error.message)
                self.call.clock.sleep(min(self.poll_seconds, patience.remaining()))
                continue
            outcome.updates.append({"id": update.id, "version": version})
            outcome.joined = False
            try:
                self._wait(item.name, update, called)
            except UpdateFailed as error:
                self._look_again(item, outcome)
                self._name_obstacles(item, error)
                raise
            patience = Deadline(self.call.clock, self.timeout)

    def _next(self, item: Item, addon: Addon) -> str:
        """The version of the next update: chosen anew, for somebody else may have been at work; "" for none."""
        choice = chosen(item.wish, addon.version, [item.offers])
        ahead = steps(item.offers, addon.version, choice.version)
        return ahead[0] if ahead else addon.version if addon.failed else ""

    def _wait_for_others(self, addon: Addon, patience: Deadline, heartbeat: Heartbeat, outcome: Outcome) -> bool:
        """One look at what EKS is at work on there, whoever asked for it; whether that was an update, which is then
        waited for to its end. One that fails is not the end: what is asked for here comes next.
        """
        called = subject(self.cluster, addon.name)
        if addon.status == DELETING:
            raise EvergreenError(f"{called} is being deleted", reason="addon_deleting", remedy="Leave it out")
        update = running_update(self.aws, self.cluster, addon=addon.name) if addon.status == UPDATING else None
        if update is None:
            if patience.expired():
                raise WaitTimeout(
                    f"{called} is {addon.status} for more than {self.timeout:g} s",
                    reason="update_timeout",
                    remedy="EKS goes on with it; run again to wait on",
                )
            heartbeat.beat(f"{called} is {addon.status}")
            self.call.clock.sleep(min(self.poll_seconds, patience.remaining()))
            return False
        say_joined(self.call, called, update)
        outcome.joined = not outcome.updates
        outcome.updates.append({"id": update.id, "version": update.params.get("AddonVersion", "")})
        with suppress(UpdateFailed):
            self._wait(addon.name, update, called)
        return True

    def _wait(self, name: str, update: Update, called: str) -> None:
        await_update(
            self.aws,
            self.call,
            self.cluster,
            update.id,
            subject=called,
            timeout=self.timeout,
            poll_seconds=self.poll_seconds,
            addon=name,
        )

    def _await_health(self, item: Item, outcome: Outcome) -> None:
        """Until EKS calls it ACTIVE without issues, and its Deployments and DaemonSets are rolled out."""
        ill_since = math.inf

        def look() -> tuple[Addon, list[Workload]]:
            return self._read(item), read_workloads(self.client, item.name, item.namespace)

        def done(seen: tuple[Addon, list[Workload]]) -> bool:
            nonlocal ill_since
            addon, workloads = seen
            outcome.version, outcome.status = addon.version, addon.status
            outcome.issues, outcome.workloads = tuple(map(str, addon.issues)), tuple(workloads)
            if addon.healthy:
                ill_since = math.inf
                return all(workload.rolled_out for workload in workloads)
            ill_since = min(ill_since, self.call.clock.now())
            return not addon.busy and self.call.clock.now() - ill_since >= self.settle_seconds

        try:
            addon, _workloads = wait_patiently(
                look,
                done,
                call=self.call,
                deadline=Deadline(self.call.clock, self.timeout),
                interval=self.poll_seconds,
                heartbeat=Heartbeat(self.call),
                describe=lambda seen: waiting_for(item.name, seen[0].status, seen[1]),
                connected=lambda: self.client.answered,
            )
        except WaitTimeout:
            raise self._timed_out(item, outcome) from None
        if not addon.healthy:
            raise self._unhealthy(item, addon)

    def _unhealthy(self, item: Item, addon: Addon) -> AddonUnhealthy:
        causes = "; ".join(map(str, addon.issues)) or "EKS names no issue"
        error = AddonUnhealthy(
            f"{subject(self.cluster, item.name)} is {addon.status} at {addon.version}: {causes}",
            remedy=remedy_for(addon.issues),
        )
        self._name_obstacles(item, error)
        return error

    def _look_again(self, item: Item, outcome: Outcome) -> None:
        """How it is after an update that has failed, as far as that can be seen."""
        with suppress(EvergreenError):
            addon = self._read(item)
            outcome.version, outcome.status, outcome.issues = addon.version, addon.status, tuple(map(str, addon.issues))

    def _read(self, item: Item) -> Addon:
        addon = read_addon(self.aws, self.cluster, item.name)
        if addon is None:
            raise missing(self.cluster, [item.name], [], self.terms)
        return addon

    # ---- those that it does not

    def _is_set(self, item: Item) -> bool:
        return self.terms.self_managed == SET and bool(item.version)

    def _self_managed(self, item: Item, planned: SelfManaged) -> Outcome:
        outcome = self._look(item, planned)
        if not self._is_set(item):
            return outcome
        began = self.call.clock.now()
        try:
            self._set(item, outcome)
            self._await_pods(item, outcome)
        except EvergreenError as error:
            error.details.setdefault("outcome", outcome)
            raise
        if outcome.changed:
            self._say_ended(outcome, began)
        return outcome

    def _set(self, item: Item, outcome: Outcome) -> None:
        """Set its image, step by step, until it is the one that it should have; the last one is not waited for."""
        while True:
            workload = read_self_managed(self.client, item.name)
            if workload is None or not workload.version:
                raise missing(self.cluster, [item.name], [], self.terms)
            wanted = chosen(item.wish, workload.version, [item.offers]).version
            if workload.image_at(wanted) == workload.found:
                return
            if outcome.changed:
                self._await_pods(item, outcome)
            version = steps(item.offers, workload.version, wanted)[0]
            file = str(back_up(workload, self.backup_dir))
            self.call.journal.write(
                "image_set",
                addon=item.name,
                was=workload.found,
                image=workload.image_at(version),
                backup=file,
                text=f"{workload.kind.kind} {workload.kind.name}: image {workload.version} -> {version}, "
                f"the manifest is kept in {file}",
            )
            outcome.backups.append(file)
            set_image(self.client, workload, version)
            outcome.version, outcome.image = version, workload.image_at(version)

    def _await_pods(self, item: Item, outcome: Outcome) -> None:
        """Until the workload is rolled out."""

        def look() -> list[Workload]:
            return read_workloads(self.client, item.name, item.namespace)

        def done(seen: list[Workload]) -> bool:
            outcome.workloads = tuple(seen)
            return all(one.rolled_out for one in seen)

        try:
            wait_patiently(
                look,
                done,
                call=self.call,
                deadline=Deadline(self.call.clock, self.timeout),
                interval=self.poll_seconds,
                heartbeat=Heartbeat(self.call),
                describe=lambda seen: waiting_for(item.name, "set", seen),
                connected=lambda: self.client.answered,
            )
        except WaitTimeout:
            error = self._timed_out(item, outcome)
            if outcome.backups:
                error.remedy += f"; back again with: kubectl apply -f {outcome.backups[-1]}"
            raise error from None

    def _look(self, item: Item, workload: SelfManaged, *, reached: str = "") -> Outcome:
        """What the module answers of it; `reached`: the version that it would come to."""
        return Outcome(
            item,
            reached or workload.version,
            image=workload.image_at(reached) if reached else workload.found,
            wanted_image=workload.image_at(item.choice.version),
        )

    # ---- words

    def _timed_out(self, item: Item, outcome: Outcome) -> EvergreenError:
        behind = [one.standing for one in outcome.workloads if not one.rolled_out]
        error = EvergreenError(
            f"{subject(self.cluster, item.name)} is at {outcome.version}, but not up after {self.timeout:g} s"
            f"{': ' if behind else ''}{'; '.join(behind)}",
            reason="pods_timeout",
            remedy="Look at the pods that are named, then run again: it goes on from here",
        )
        self._name_obstacles(item, error)
        return error

    def _name_obstacles(self, item: Item, error: EvergreenError) -> None:
        """Add the pods that are in the way, as far as they can be seen."""
        with suppress(EvergreenError):
            workloads = read_workloads(self.client.briefly, item.name, item.namespace)
            pods = read_obstacles(self.client.briefly, workloads)
            if pods:
                error.message = f"{error.message.rstrip('.')}; {counted(len(pods), 'pod')} not Ready: {some_pods(pods)}"
            error.details["pods"] = pods

    def _say_begun(self, item: Item) -> None:
        self.call.journal.write(
            "addon_begun",
            addon=item.name,
            was=item.version,
            steps=list(item.steps),
            text=f"add-on {item.name}: {' -> '.join([item.version, *item.steps])}",
        )

    def _say_ended(self, outcome: Outcome, began: float) -> None:
        seconds = round(self.call.clock.now() - began)
        self.call.journal.write(
            "addon_ended",
            addon=outcome.item.name,
            version=outcome.version,
            seconds=seconds,
            text=f"add-on {outcome.item.name}: {outcome.version} is up after {seconds} s",
        )


def refused(called: str, error: AwsError) -> EvergreenError:
    """What EKS says no to, under a reason of its own; anything else as it is."""
    if error.code not in REFUSALS:
        return error
    return EvergreenError(
        f"EKS refuses to update {called}: {error.message}",
        reason="update_refused",
        remedy="Mend what it names, then run again",
    )


def waiting_for(name: str, status: str, workloads: Sequence[Workload]) -> str:
    """What is waited for, in words."""
    behind = [one.standing for one in workloads if not one.rolled_out]
    return f"add-on {name} is {status}{'; ' if behind else ''}{'; '.join(behind)}"


def warnings_of(outcomes: Sequence[Outcome], terms: Terms) -> list[str]:
    """What an operator should know although nothing failed."""
    found = []
    for outcome in outcomes:
        item = outcome.item
        if not item.workload:
            continue
        if item.note and not item.steps:
            found.append(f"{item.name} is self-managed and is left as it is: {item.note}")
        elif terms.self_managed == REPORT and outcome.image != outcome.wanted_image:
            found.append(
                f"{item.name} is self-managed with the image {outcome.image}; Kubernetes {item.offers.kubernetes} "
                f"wants {outcome.wanted_image}, which self_managed=set sets"
            )
    return found
