# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2 over time: instances start, stop and end as they do, and templates inherit as they should.

moto keeps the instances; this gives them time. ``Compute`` belongs to one Cloud and watches over moto's EC2 backend of
its account and region.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moto.ec2.exceptions import EC2ClientError, InvalidInstanceIdError, InvalidLaunchTemplateVersionNotFound
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance
from moto.ec2.models.instances import InstanceState as EC2State
from moto.ec2.models.launch_templates import LaunchTemplateVersion
from moto.ssm.models import ssm_backends

from simulator.aws.agenda import Agenda
from simulator.aws.timings import Timings

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
GROUP_TAG = "aws:autoscaling:groupName"
VERSION_TAG = "aws:ec2launchtemplate:version"
RESOLVE = "resolve:ssm:"
GRAVITON = re.compile(r"^[a-z]+\d+g[a-z]*\.")


def architecture_of(instance_type: str) -> str:
    """Graviton's families have a g after their generation: m7g, c6gn, t4g."""
    return "arm64" if GRAVITON.match(instance_type) else "x86_64"


@dataclass(frozen=True)
class InstanceView:
    """An instance as the rest of the world sees it. Times are unix seconds of the world; None: not yet."""

    instance_id: str
    group: str
    version: str  # of the launch template; empty where it was launched without one
    zone: str
    state: str
    private_dns_name: str
    private_ip: str
    instance_type: str
    image_id: str
    launched_at: float
    running_since: float | None


@dataclass
class Course:
    """What moto does not keep about an instance."""

    instance: Instance
    launched_at: float
    running_since: float | None = None


class Compute:
    """The instances of one account and region."""

    def __init__(self, agenda: Agenda, timings: Timings, account: str, region: str):
        self._agenda = agenda
        self._timings = timings
        self.backend = ec2_backends[account][region]
        self._parameters = ssm_backends[account][region]
        self.courses: dict[str, Course] = {}
        #: called with (instance, state before, state now) after each change
        self.watchers: list[Callable[[Instance, str, str], None]] = []
        #: launch template id and number of the versions that were deleted; what client tokens have made
        self.deleted_versions: set[tuple[str, int]] = set()
        self.made_versions: dict[str, Any] = {}
        #: counts the changes, so that a ticker can see cheaply that nothing happened
        self.generation = 0

    # ---- looking

    def find(self, instance_id: str) -> Instance | None:
        """The instance, also when it has ended; None when EC2 does not know it (any more)."""
        course = self.courses.get(instance_id)
        return course.instance if course else None

    def views(self) -> list[InstanceView]:
        """All instances that EC2 still knows, oldest first."""
        return [self._view(course) for course in self.courses.values()]

    def _view(self, course: Course) -> InstanceView:
        instance = course.instance
        tags = self.backend.tags.get(instance.id, {})
        return InstanceView(
            instance_id=instance.id,
            group=tags.get(GROUP_TAG, ""),
            version=tags.get(VERSION_TAG, ""),
            zone=instance.availability_zone or "",
            state=instance.state,
            private_dns_name=instance.private_dns_name,
            private_ip=instance.private_ip or "",
            instance_type=instance.instance_type,
            image_id=instance.image_id,
            launched_at=course.launched_at,
            running_since=course.running_since,
        )

    def image_exists(self, image_id: str) -> bool:
        """EC2 could launch from it."""
        image = self.backend.amis.get(image_id)
        return image is not None and image.state == "available"

    def architecture(self, image_id: str) -> str:
        """The architecture of an image."""
        return self.backend.amis[image_id].architecture or "x86_64"

    def resolve_image(self, image_id: str) -> str:
        """``resolve:ssm:<parameter>`` to the image that the parameter names now; anything else unchanged."""
        if not image_id.startswith(RESOLVE):
            return image_id
        parameter = self._parameters.get_parameter(image_id[len(RESOLVE) :].split(":")[0])
        return parameter.value if parameter else image_id

    def template_version(self, spec: dict[str, Any]) -> LaunchTemplateVersion:
        """The version that ``{"LaunchTemplateId"|"LaunchTemplateName", "Version"}`` means now."""
        if spec.get("LaunchTemplateId"):
            template = self.backend.get_launch_template(spec["LaunchTemplateId"])
        else:
            template = self.backend.get_launch_template_by_name(spec.get("LaunchTemplateName"))
        version = template.get_version(spec.get("Version") or "$Default")
        if str(spec.get("Version")).lower() == "$latest":
            left = [one for one in template.versions if (template.id, one.number) not in self.deleted_versions]
            version = left[-1]
        if (template.id, version.number) in self.deleted_versions:
            raise InvalidLaunchTemplateVersionNotFound(str(version.number), template.id)
        return version

    # ---- changing

    def launched(self, instances: list[Instance]) -> None:
        """moto has just made these: they are pending, and run after a while."""
        for instance in instances:
            instance.launch_time = self._agenda.datetime()
            self.courses[instance.id] = Course(instance, self._agenda.now())
            self._become(instance, "pending", was="")
            self._agenda.after(self._timings.starting, lambda one=instance: self._started(one))

    def launch(self, **run: Any) -> Instance:
        """One instance through moto's own RunInstances (see EC2Backend.run_instances for the arguments)."""
        return self.backend.run_instances(count=1, is_instance_type_default=False, **run).instances[0]

    def terminate(self, instance_ids: list[str]) -> list[tuple[Instance, EC2State]]:
        """Begin to terminate; answers with each instance's state before. Ended ones are left alone."""
        instances = self._all(instance_ids)
        for instance in instances:
            if instance.disable_api_termination is True:
                raise EC2ClientError(
                    "OperationNotPermitted",
                    f"The instance '{instance.id}' may not be terminated. Modify its 'disableApiTermination' "
                    "instance attribute and try again.",
                )
        answer = []
        for instance in instances:
            before = EC2State(instance.state, instance.state_code)
            answer.append((instance, before))
            if instance.state in ("shutting-down", "terminated"):
                continue
            instance._reason = f"User initiated ({self._agenda.datetime():%Y-%m-%d %H:%M:%S GMT})"
            self._become(instance, "shutting-down")
            self._agenda.after(self._timings.shutting_down, lambda one=instance: self._ended(one))
        return answer

    def stop(self, instance_ids: list[str]) -> list[tuple[Instance, EC2State]]:
        """Begin to stop; answers with each instance's state before."""
        instances = self._all(instance_ids)
        for instance in instances:
            if instance.state not in ("running", "stopping", "stopped"):
                raise EC2ClientError(
                    "IncorrectInstanceState",
                    f"The instance '{instance.id}' is not in a state from which it can be stopped.",
                )
        answer = []
        for instance in instances:
            answer.append((instance, EC2State(instance.state, instance.state_code)))
            if instance.state == "running":
                instance._reason = f"User initiated ({self._agenda.datetime():%Y-%m-%d %H:%M:%S GMT})"
                self._become(instance, "stopping")
                self._agenda.after(self._timings.stopping, lambda one=instance: self._stopped(one))
        return answer

    def start(self, instance_ids: list[str]) -> list[tuple[Instance, EC2State]]:
        """Begin to start stopped instances; answers with each instance's state before."""
        instances = self._all(instance_ids)
        for instance in instances:
            if instance.state not in ("stopped", "pending", "running"):
                raise EC2ClientError(
                    "IncorrectInstanceState",
                    f"The instance '{instance.id}' is not in a state from which it can be started.",
                )
        answer = []
        for instance in instances:
            answer.append((instance, EC2State(instance.state, instance.state_code)))
            if instance.state == "stopped":
                self._become(instance, "pending")
                self._agenda.after(self._timings.starting, lambda one=instance: self._started(one))
        return answer

    def settle(self, instance_id: str) -> None:
        """Skip the wait: a pending instance runs at once (for scenarios that begin with a running cluster)."""
        instance = self.find(instance_id)
        if instance is not None:
            self._started(instance)

    def _all(self, instance_ids: list[str]) -> list[Instance]:
        missing = [instance_id for instance_id in instance_ids if instance_id not in self.courses]
        if missing:
            raise InvalidInstanceIdError(missing)
        return [self.courses[instance_id].instance for instance_id in instance_ids]

    def _become(self, instance: Instance, state: str, was: str | None = None) -> None:
        before = instance.state if was is None else was
        instance._state = EC2State(state, CODES[state])
        self.generation += 1
        for watcher in self.watchers:
            watcher(instance, before, state)

    def _started(self, instance: Instance) -> None:
        if instance.state == "pending":
            self.courses[instance.id].running_since = self._agenda.now()
            self._become(instance, "running")

    def _stopped(self, instance: Instance) -> None:
        if instance.state == "stopping":
            instance.stop()
            self.courses[instance.id].running_since = None
            self._become(instance, "stopped", was="stopping")

    def _ended(self, instance: Instance) -> None:
        instance.terminate()
        self.courses[instance.id].running_since = None
        self._become(instance, "terminated", was="shutting-down")
        self._agenda.after(self._timings.forget_terminated, lambda: self._forget(instance))

    def _forget(self, instance: Instance) -> None:
        self.courses.pop(instance.id, None)
        self.backend.tags.pop(instance.id, None)
        for key, reservation in list(self.backend.reservations.items()):
            if instance in reservation.instances:
                reservation.instances = [one for one in reservation.instances if one is not instance]
                if not reservation.instances:
                    del self.backend.reservations[key]
        self.generation += 1
