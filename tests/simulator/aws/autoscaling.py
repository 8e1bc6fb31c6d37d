# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auto Scaling over time: groups launch, wait for hooks, scale in and terminate.

``AutoScaling`` is what happens inside; the API on top of it is in scaling_api.py, the pure rules in scaling_rules.py,
and what a group does of its own accord to stay healthy and balanced in scaling_upkeep.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.core.exceptions import ServiceException
from moto.ec2.models.instances import Instance
from moto.ec2.utils import parse_user_data

from simulator.aws import scaling_rules as rules
from simulator.aws import scaling_texts as texts
from simulator.aws.agenda import Agenda
from simulator.aws.ec2 import GROUP_TAG, VERSION_TAG, Compute, architecture_of
from simulator.aws.elb import Balancers
from simulator.aws.scaling_model import Activity, Group, HookWait, Member, TemplateRef
from simulator.aws.scaling_upkeep import Upkeep
from simulator.aws.timings import Timings

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
ENDING = "autoscaling:EC2_INSTANCE_TERMINATING"
LAUNCH_TEXT = "Launching a new EC2 instance"
KEPT_ACTIVITIES = 1000


@dataclass
class LaunchFailure:
    """An order to let launches fail; made by ``AutoScaling.fail_launches``."""

    group: str | None
    code: str
    message: str | None
    zone: str | None
    times: int | None
    skip: int = 0
    failed: int = 0

    def matches(self, group: Group, zone: str) -> bool:
        """It is about this launch, and not used up."""
        return (
            (self.group is None or self.group == group.name)
            and (self.zone is None or self.zone == zone)
            and (self.times is None or self.failed < self.times)
        )


@dataclass(frozen=True)
class LaunchPlan:
    """What a group would launch now."""

    image_id: str
    instance_type: str
    security_groups: list[str]
    user_data: Any
    template: TemplateRef | None
    configuration: Any
    weight: int
    weighted: bool
    tags: dict[str, str]


class AutoScaling:
    """The Auto Scaling groups of one account and region."""

    def __init__(self, agenda: Agenda, timings: Timings, compute: Compute, balancers: Balancers):
        self.agenda = agenda
        self.timings = timings
        self.compute = compute
        self.balancers = balancers
        self.groups: dict[str, Group] = {}
        self.failures: list[LaunchFailure] = []
        self.moto = autoscaling_backends[compute.backend.account_id][compute.backend.region_name]
        self.upkeep = Upkeep(self)
        compute.watchers.append(self._instance_changed)
        balancers.lost = self._traffic_lost

    # ---- looking

    def group(self, name: str) -> Group:
        """The group of that name, or AWS's refusal."""
        if name not in self.groups:
            raise rules.group_not_found(name)
        return self.groups[name]

    def member(self, instance_id: str) -> tuple[Group, Member] | None:
        """The group that an instance belongs to, and its membership."""
        for group in self.groups.values():
            if instance_id in group.members:
                return group, group.members[instance_id]
        return None

    def launch_plan(self, group: Group) -> LaunchPlan:
        """What the group would launch now: template, version, image and type, all resolved."""
        tags = {tag["Key"]: tag["Value"] for tag in group.tags.values() if tag.get("PropagateAtLaunch")}
        tags[GROUP_TAG] = group.name
        if group.launch_configuration:
            configuration = self.moto.launch_configurations.get(group.launch_configuration)
            if configuration is None:
                raise rules.refusal(f"Launch configuration name not found - {group.launch_configuration}.")
            return LaunchPlan(
                image_id=configuration.image_id,
                instance_type=configuration.instance_type,
                security_groups=configuration.security_groups,
                user_data=configuration.user_data,
                template=None,
                configuration=configuration,
                weight=1,
                weighted=False,
                tags=tags,
            )
        spec, override = launch_spec(group)
        version = self.compute.template_version(spec)
        template = version.template
        user_data = version.data.get("UserData")  # text in a version that was added, moto's own type in the first one
        return LaunchPlan(
            image_id=self.compute.resolve_image(version.image_id),
            instance_type=override.get("InstanceType") or version.instance_type or "m5.large",
            security_groups=version.security_groups,
            user_data=parse_user_data(str(user_data)) if user_data else None,
            template=TemplateRef(template.id, template.name, str(version.number)),
            configuration=None,
            weight=int(override.get("WeightedCapacity") or 1),
            weighted="WeightedCapacity" in override,
            tags={**version.instance_tags, **tags, VERSION_TAG: str(version.number)},
        )

    # ---- capacity

    def wish(self, group: Group, desired: int, reason: str) -> None:
        """Desired capacity is now that; ``reason`` opens the cause of the activities that follow."""
        if desired != group.desired:
            group.reasons.append(reason)
            group.stuck_reported = False
        group.desired = desired
        self.soon(group)

    def soon(self, group: Group, seconds: float | None = None) -> None:
        """Compare desired with actual capacity in a moment; many calls in a row do not put that off."""
        delay = self.timings.reaction if seconds is None else seconds
        planned = group.reconcile_due
        if planned is not None:
            if planned.at <= self.agenda.now() + delay:
                return
            planned.cancel()
        group.reconcile_due = self.agenda.after(delay, lambda: self.reconcile(group))

    def reconcile(self, group: Group) -> None:
        """Launch what is missing, terminate what is too much, or come back later."""
        group.reconcile_due = None
        if self.groups.get(group.name) is not group:
            return
        have = sum(member.weight for member in group.counting() if member.instance_id not in group.balancing)
        if have < group.desired and group.runs("Launch") and not group.deleting:
            self._scale_out(group, have)
        elif have > group.desired and group.runs("Terminate"):
            self._scale_in(group, have)
        group.reasons.clear()
        self.upkeep.rebalance_soon(group)

    def _scale_out(self, group: Group, have: int) -> None:
        at = self.agenda.timestamp()
        missing = group.desired - have
        while missing > 0:
            if group.to_replace:
                group.to_replace -= 1
                cause = texts.replaced(at)
            else:
                cause = texts.JOIN.join([*group.reasons, texts.started(at, have, group.desired)])
            member = self.launch(group, cause)
            if member is None:
                self.soon(group, self.timings.launch_retry)
                return
            missing -= member.weight
        group.to_replace = 0

    def _scale_in(self, group: Group, have: int) -> None:
        at = self.agenda.timestamp()
        surplus = have - group.desired
        chosen = rules.victims(group, surplus // min(member.weight for member in group.counting()))
        cause = texts.JOIN.join(
            [*group.reasons, texts.scaled_in(at, have, group.desired, [one.instance_id for one in chosen])]
        )
        for member in chosen:
            self.terminate(group, member, cause)
        if sum(member.weight for member in chosen) < surplus and not group.stuck_reported:
            group.stuck_reported = True
            reason = texts.JOIN.join(group.reasons)
            self.log(group, texts.PROTECTED, reason, "Cancelled").finish(self.agenda.datetime(), "Cancelled")

    # ---- launching

    def launch(self, group: Group, cause: str) -> Member | None:
        """Launch one instance where the group has fewest; None when that failed (told in a failed activity)."""
        try:
            plan = self.launch_plan(group)
        except ServiceException as error:
            self._failed(group, cause, f"{error.message} Launching EC2 instance failed.")
            return None
        closed: set[str] = set()
        while True:
            zone = rules.emptiest_zone(group, closed)
            if zone is None:
                return None
            failure = self._failure(group, zone, plan)
            if failure is None:
                try:
                    return self._launch_in(group, zone, plan, cause)
                except ServiceException as error:
                    failure = f"{error.message} Launching EC2 instance failed."
            self._failed(group, cause, failure, zone)
            closed.add(zone)
            if not self.compute.image_exists(plan.image_id):
                return None

    def fail_launches(
        self,
        group: str | None = None,
        code: str = "InsufficientInstanceCapacity",
        message: str | None = None,
        zone: str | None = None,
        times: int | None = None,
        skip: int = 0,
    ) -> LaunchFailure:
        """Let launches fail: of this group (None: all), in this zone (None: all), so many times (None: for ever), after
        the first `skip` have gone well."""
        failure = LaunchFailure(group, code, message, zone, times, skip)
        self.failures.append(failure)
        return failure

    def _failed(self, group: Group, cause: str, reason: str, zone: str = "") -> None:
        activity = self.log(group, f"{LAUNCH_TEXT}.  Status Reason: {reason}", cause, "Failed", zone)
        activity.finish(self.agenda.datetime(), "Failed", reason)

    def _failure(self, group: Group, zone: str, plan: LaunchPlan) -> str | None:
        if not self.compute.image_exists(plan.image_id):
            return texts.no_image(plan.image_id)
        image, wanted = self.compute.architecture(plan.image_id), architecture_of(plan.instance_type)
        if image != wanted:
            return texts.other_architecture(wanted, image)
        for failure in self.failures:
            if failure.matches(group, zone):
                if failure.skip > 0:
                    failure.skip -= 1
                    continue
                failure.failed += 1
                others = [other for other in group.zones if other != zone]
                return failure.message or texts.no_capacity(plan.instance_type, zone, others)
        return None

    def _launch_in(self, group: Group, zone: str, plan: LaunchPlan, cause: str) -> Member:
        subnet = rules.subnet_for(group, zone)
        template = None
        if plan.template:
            template = {"LaunchTemplateId": plan.template.template_id, "Version": plan.template.version}
        instance = self.compute.launch(
            image_id=plan.image_id,
            user_data=plan.user_data,
            security_group_names=plan.security_groups,
            instance_type=plan.instance_type,
            tags={"instance": plan.tags},
            placement=None,
            launch_config=plan.configuration,
            launch_template=template,
            subnet_id=subnet,
            region_name=self.compute.backend.region_name,
        )
        member = Member(
            instance_id=instance.id,
            zone=zone,
            subnet=subnet,
            instance_type=plan.instance_type,
            launched_at=self.agenda.now(),
            protected=group.protects_new,
            template=plan.template,
            configuration=plan.configuration.name if plan.configuration else "",
            weight=plan.weight,
            weighted=plan.weighted,
        )
        group.members[instance.id] = member
        text = f"{LAUNCH_TEXT}: {instance.id}"
        member.activity = self.log(group, text, cause, "PreInService", zone, subnet, progress=30)
        return member

    def _booted(self, group: Group, member: Member) -> None:
        """EC2 runs it: now the hooks, then service."""
        if member.state != "Pending" or group.members.get(member.instance_id) is not member:
            return
        if self._wait_for_hooks(group, member, LAUNCHING):
            member.state = "Pending:Wait"
            if member.activity:
                member.activity.to("MidLifecycleAction", 60)
        else:
            self.into_service(group, member)

    def into_service(self, group: Group, member: Member) -> None:
        """It serves: registered with the load balancers, its activity at an end."""
        member.state = "InService"
        if member.activity:
            member.activity.finish(self.agenda.datetime())
            member.activity = None
        if group.runs("AddToLoadBalancer"):
            self.balancers.register(group, member.instance_id)
        self.upkeep.in_service(group, member)

    # ---- terminating

    def terminate(self, group: Group, member: Member, cause: str) -> Activity:
        """Take a member out for good: off the load balancers, then the hooks, then EC2."""
        if member.activity:
            member.activity.finish(self.agenda.datetime(), "Cancelled")
        self._drop_waits(member)
        member.state = "Terminating"
        group.balancing.discard(member.instance_id)
        text = f"Terminating EC2 instance: {member.instance_id}"
        member.activity = self.log(group, text, cause, "InProgress", member.zone, member.subnet)
        draining = self.balancers.deregister(group, member.instance_id)
        if draining:
            member.activity.to("WaitingForELBConnectionDraining", 25)
        self.agenda.after(draining, lambda: self._terminating_hooks(group, member))
        self.upkeep.rebalance_soon(group)
        return member.activity

    def _terminating_hooks(self, group: Group, member: Member) -> None:
        if self._wait_for_hooks(group, member, ENDING):
            member.state = "Terminating:Wait"
            if member.activity:
                member.activity.to("MidTerminatingLifecycleAction", 50)
        else:
            self._end(group, member)

    def _end(self, group: Group, member: Member) -> None:
        instance = self.compute.find(member.instance_id)
        if instance is None or instance.state == "terminated":
            self._remove(group, member)
            return
        if member.state == "Terminating:Wait":
            member.state = "Terminating:Proceed"
        if member.activity:
            member.activity.to("InProgress", 75)
        instance.disable_api_termination = False
        self.compute.terminate([member.instance_id])

    def _remove(self, group: Group, member: Member) -> None:
        self._drop_waits(member)
        group.members.pop(member.instance_id, None)
        group.balancing.discard(member.instance_id)
        if member.activity:
            member.activity.finish(self.agenda.datetime())
        if group.deleting and not group.members:
            self.groups.pop(group.name, None)
            return
        self.soon(group)

    def release(self, group: Group, member: Member, state: str, then: Callable[[], None]) -> None:
        """A member leaves alive: Detaching or EnteringStandby until the load balancers have let go of it."""
        member.state = state
        draining = self.balancers.deregister(group, member.instance_id)
        if draining and member.activity:
            member.activity.to("WaitingForELBConnectionDraining", 25)
        self.agenda.after(max(draining, self.timings.detaching), then)

    def detached(self, group: Group, member: Member) -> None:
        """Detaching has come to its end: the instance runs on, outside."""
        self.compute.backend.delete_tags([member.instance_id], {GROUP_TAG: group.name})
        self.compute.generation += 1
        self._remove(group, member)

    # ---- hooks

    def _wait_for_hooks(self, group: Group, member: Member, transition: str) -> bool:
        """Begin to wait for each hook of that transition; False when there is none."""
        for hook in group.hooks.values():
            if hook.transition == transition:
                wait = HookWait(hook.name, str(uuid.uuid4()), hook.heartbeat, hook.default_result)
                member.waits.append(wait)
                self.heartbeat(group, member, wait)
        return bool(member.waits)

    def heartbeat(self, group: Group, member: Member, wait: HookWait) -> None:
        """The hook has its full time again."""
        if wait.due:
            wait.due.cancel()
        wait.due = self.agenda.after(
            wait.heartbeat, lambda: self.complete_hook(group, member, wait, wait.default_result)
        )

    def complete_hook(self, group: Group, member: Member, wait: HookWait, result: str) -> None:
        """One hook is answered (or its time is over). ABANDON ends the others too."""
        if wait not in member.waits:
            return
        if wait.due:
            wait.due.cancel()
        member.waits.remove(wait)
        if result == "ABANDON":
            self._drop_waits(member)
        if member.waits:
            return
        if member.state == "Terminating:Wait":
            self._end(group, member)
        elif result == "ABANDON":
            self.terminate(group, member, texts.unhealthy(self.agenda.timestamp(), "hook"))
            self.soon(group)
        else:
            member.state = "Pending:Proceed"
            self.agenda.after(1.0, lambda: self._proceed(group, member))

    def _proceed(self, group: Group, member: Member) -> None:
        if member.state == "Pending:Proceed":
            self.into_service(group, member)

    @staticmethod
    def _drop_waits(member: Member) -> None:
        for wait in member.waits:
            if wait.due:
                wait.due.cancel()
        member.waits.clear()

    # ---- what EC2 tells

    def _instance_changed(self, instance: Instance, before: str, state: str) -> None:
        found = self.member(instance.id)
        if found is None:
            return
        group, member = found
        if state == "running" and member.state == "Pending":
            self.agenda.after(self.timings.in_service, lambda: self._booted(group, member))
        elif state == "terminated" and member.state in ("Terminating", "Terminating:Proceed"):
            self._remove(group, member)
        elif state in ("stopping", "stopped", "shutting-down", "terminated") and not member.terminating:
            self.agenda.after(self.timings.health_check, lambda: self.upkeep.check_health(group))

    # ---- what load balancers tell

    def _traffic_lost(self, instance_id: str) -> None:
        """A target has become unhealthy or was taken out: with ELB health checks that is the end of a member."""
        found = self.member(instance_id)
        if found is not None and rules.asks_load_balancers(found[0]):
            group, member = found
            graced = member.launched_at + group.health_check_grace - self.agenda.now()
            soon = max(self.timings.health_check, graced)
            self.agenda.after(soon, lambda: self.upkeep.check_health(group))

    # ---- telling

    def log(
        self,
        group: Group,
        description: str,
        cause: str,
        status: str,
        zone: str = "",
        subnet: str = "",
        progress: int = 0,
    ) -> Activity:
        activity = Activity(
            group=group.name,
            description=description,
            cause=cause,
            started=self.agenda.datetime(),
            status=status,
            progress=progress,
            zone=zone,
            subnet=subnet,
        )
        group.activities.insert(0, activity)
        del group.activities[KEPT_ACTIVITIES:]
        return activity


def launch_spec(group: Group) -> tuple[dict[str, Any], dict[str, Any]]:
    """The template that a group launches from, and the override that comes first in a mixed instances policy."""
    if group.mixed_policy:
        template = group.mixed_policy["LaunchTemplate"]
        override = (template.get("Overrides") or [{}])[0]
        return override.get("LaunchTemplateSpecification") or template["LaunchTemplateSpecification"], override
    return group.launch_template or {}, {}
