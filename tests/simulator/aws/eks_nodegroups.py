# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS's managed node groups: an Auto Scaling group each, whose nodes EKS replaces by itself.

The phases of an update: "Understand each phase of node updates" of the Amazon EKS User Guide; rules and parameters:
UpdateNodegroupVersion in botocore's model. A course is a generator: each ``yield`` is a pause until EKS looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from simulator.aws import scaling_api as api
from simulator.aws.agenda import Agenda
from simulator.aws.eks_errors import InUse, InvalidParameter, NotFound
from simulator.aws.eks_inside import Inside
from simulator.aws.eks_updates import SUCCESSFUL, VERSION_UPDATE, Script, Update, Updates
from simulator.aws.eks_versions import BY_VERSION, is_known, minor
from simulator.aws.images import RELEASE, recommended
from simulator.aws.timings import Timings

if TYPE_CHECKING:
    from simulator.aws.autoscaling import AutoScaling

#: pauses, and in the end what went wrong: code, message, the nodes concerned
Failure = tuple[str, str, list[str]]
Course = Generator[None, None, "Failure | None"]
AMI_TYPES = {"AL2023_x86_64_STANDARD": "amazon-linux-2023/x86_64/standard", "AL2_x86_64": "amazon-linux-2"}
NOT_JOINING = "Couldn't proceed with upgrade process as new nodes are not joining node group {name}"
NOT_LEAVING = "Reached max retries while trying to evict pods from nodes in node group {name}"


@dataclass
class Nodegroup:
    """One managed node group. ``base``: its max size and desired capacity before an update that has not ended well."""

    name: str
    group: str  # the Auto Scaling group
    template: str  # id of the launch template that EKS keeps for it
    version: str
    created: datetime
    modified: datetime
    ami_type: str = "AL2023_x86_64_STANDARD"
    max_unavailable: int = 1
    status: str = "ACTIVE"
    issues: list[dict[str, Any]] = field(default_factory=list)
    base: tuple[int, int] | None = None

    @property
    def release(self) -> str:
        """Its AMI release version: ``1.32.11-20261101``."""
        return f"{BY_VERSION[self.version].patch}-{RELEASE.lstrip('v')}"


class Nodegroups:
    """The managed node groups of one cluster."""

    def __init__(
        self,
        cluster: str,
        arn: str,
        agenda: Agenda,
        timings: Timings,
        updates: Updates,
        script: Script,
        inside: Callable[[], Inside],
        cluster_version: Callable[[], str],
        scaling: AutoScaling,
    ):
        self._cluster, self._arn = cluster, arn
        self._agenda, self._timings = agenda, timings
        self._updates, self._script = updates, script
        self._inside, self._cluster_version = inside, cluster_version
        self._scaling = scaling
        self.groups: dict[str, Nodegroup] = {}

    def adopt(self, name: str, group: str, template: str, version: str, max_unavailable: int = 1) -> None:
        """This Auto Scaling group is a managed node group, and has been for long (for scenarios)."""
        now = self._agenda.datetime()
        self.groups[name] = Nodegroup(name, group, template, version, now, now, max_unavailable=max_unavailable)

    def behind(self) -> list[str]:
        """The node groups that are not at the cluster's version: it cannot be upgraded before they are."""
        return [one.name for one in self.groups.values() if one.version != self._cluster_version()]

    # ---- EKS's operations

    def names(self) -> list[str]:
        """ListNodegroups."""
        return sorted(self.groups)

    def find(self, name: str) -> Nodegroup:
        """The node group, or EKS's refusal."""
        if name not in self.groups:
            raise NotFound(self._cluster, f"No node group found for name: {name}.")
        return self.groups[name]

    def describe(self, name: str) -> dict[str, Any]:
        """As DescribeNodegroup shows it."""
        one = self.find(name)
        group = self._scaling.group(one.group)
        start = self._arn.replace(":cluster/", ":nodegroup/")
        sizes = {"minSize": group.min_size, "maxSize": group.max_size, "desiredSize": group.desired}
        return {
            "nodegroupName": one.name,
            "nodegroupArn": f"{start}/{one.name}/{one.template}",
            "clusterName": self._cluster,
            "version": one.version,
            "releaseVersion": one.release,
            "createdAt": one.created,
            "modifiedAt": one.modified,
            "status": one.status,
            "capacityType": "ON_DEMAND",
            "scalingConfig": sizes,
            "instanceTypes": [self._scaling.launch_plan(group).instance_type],
            "subnets": list(group.subnets),
            "amiType": one.ami_type,
            "nodeRole": self._arn.partition(":cluster/")[0].replace(":eks:", ":iam:") + ":role/nodes",
            "labels": {},
            "taints": [],
            "resources": {"autoScalingGroups": [{"name": one.group}]},
            "diskSize": 20,
            "health": {"issues": one.issues},
            "updateConfig": {"maxUnavailable": one.max_unavailable},
            "tags": {},
        }

    def update_version(self, params: Mapping[str, Any]) -> Update:
        """UpdateNodegroupVersion: to the newest image of that Kubernetes version, by default of the group's own."""
        one = self.find(params["nodegroupName"])
        token = params.get("clientRequestToken") or ""
        repeated = self._updates.repeated(token)
        if repeated is not None:
            return repeated
        if one.status != "ACTIVE":
            raise InUse(self._cluster, "Nodegroup cannot be updated as it is currently not in Active State")
        wanted = params.get("version") or one.version
        if not is_known(wanted):
            raise InvalidParameter(self._cluster, "unsupported Kubernetes version")
        if not minor(one.version) <= minor(wanted) <= minor(self._cluster_version()):
            text = f"Requested node group version {wanted} is invalid: the node group has {one.version}, the cluster"
            raise InvalidParameter(self._cluster, f"{text} {self._cluster_version()}")
        if params.get("launchTemplate"):
            text = "You cannot specify a launch template: the node group was not created with one"
            raise InvalidParameter(self._cluster, text)
        release = f"{BY_VERSION[wanted].patch}-{RELEASE.lstrip('v')}"
        told = {"Version": wanted, "ReleaseVersion": release}
        update = Update(VERSION_UPDATE, told, self._agenda.datetime(), token=token, nodegroup=one.name)
        self._updates.add(update)
        one.status = "UPDATING"
        self._go_on(self._course(one, update, wanted, bool(params.get("force"))))
        return update

    # ---- the course of an update

    def _go_on(self, course: Generator[None, None, None]) -> None:
        """To its next pause, and from there later."""
        if next(course, self) is not self:
            self._agenda.after(self._timings.update_look, lambda: self._go_on(course))

    def _course(self, one: Nodegroup, update: Update, wanted: str, force: bool) -> Generator[None, None, None]:
        yield
        while self._script.holds(update):
            yield
        if self._script.ends(update):
            one.status = "ACTIVE"
            return
        ended = yield from self._replace_all(one, self._new_template_version(one, wanted), force)
        one.status, one.modified = "ACTIVE", self._agenda.datetime()
        if ended is not None:
            update.fail(*ended)
            return
        one.version, one.base, update.status = wanted, None, SUCCESSFUL

    def _new_template_version(self, one: Nodegroup, wanted: str) -> str:
        """Set-up: a launch template version with the image of that version."""
        image = self._scaling.compute.resolve_image(f"resolve:ssm:{recommended(AMI_TYPES[one.ami_type], wanted)}")
        template = self._scaling.compute.backend.get_launch_template(one.template)
        latest = template.latest_version()
        if latest.data.get("ImageId") != image:
            latest = template.create_version({**latest.data, "ImageId": image}, "")
            latest.create_time = self._agenda.datetime()
        return str(latest.number)

    def _replace_all(self, one: Nodegroup, version: str, force: bool) -> Course:
        """Scale up, cordon the old nodes, replace them, scale down."""
        group, inside = self._scaling.group(one.group), self._inside()
        old = [member.instance_id for member in group.counting() if _version(member) != version]
        if not old:
            return None
        one.base = one.base or (group.max_size, group.desired)
        extra = min(len(old), max(len(group.zones), one.max_unavailable))
        self._resize(one, one.base[0] + extra, max(group.desired, one.base[1] + extra))
        since = self._agenda.now()
        while sum(inside.is_ready(new) for new in self._members(one) - set(old)) < extra:
            if self._agenda.now() - since > self._timings.node_patience:
                return "NodeCreationFailure", NOT_JOINING.format(name=one.name), sorted(self._members(one) - set(old))
            yield
        for instance in old:
            inside.cordon(instance)
        for number in range(0, len(old), one.max_unavailable):
            failure = yield from self._replace(one, old[number : number + one.max_unavailable], force)
            if failure is not None:
                return failure
        while any(not inside.is_ready(member) for member in self._members(one)):
            yield
        self._resize(one, *one.base)
        return None

    def _replace(self, one: Nodegroup, batch: list[str], force: bool) -> Course:
        """Drain these nodes, wait a minute, and have the group terminate them."""
        inside, since = self._inside(), self._agenda.now()
        while True:
            stuck = [instance for instance in batch if inside.evict(instance)]
            if not stuck:
                break
            if self._agenda.now() - since > self._timings.eviction_patience:
                if not force:
                    names = [inside.node_of(instance) for instance in stuck]
                    return "PodEvictionFailure", NOT_LEAVING.format(name=one.name), names
                for instance in stuck:
                    inside.delete_pods(instance)
                break
            yield
        since = self._agenda.now()
        while self._agenda.now() - since < self._timings.before_termination:
            yield
        for instance in batch:
            group = self._scaling.group(one.group)
            if instance in group.members:
                surplus = one.base is not None and group.desired > one.base[1]
                given = {"InstanceId": instance, "ShouldDecrementDesiredCapacity": surplus}
                api.terminate_instance_in_auto_scaling_group(self._scaling, given)
        return None

    def _members(self, one: Nodegroup) -> set[str]:
        return {member.instance_id for member in self._scaling.group(one.group).counting()}

    def _resize(self, one: Nodegroup, max_size: int, desired: int) -> None:
        given = {"AutoScalingGroupName": one.group, "MaxSize": max_size, "DesiredCapacity": desired}
        api.update_auto_scaling_group(self._scaling, given)


def _version(member: Any) -> str:
    return member.template.version if member.template else ""
