# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where moto is bent: which of its functions are replaced in this process, and by what. No file of moto is edited.

moto routes a request by botocore's model to a method of a service's Response class and writes the answer (an
``ActionResult``) by that model; so an operation is served by giving the class a method of its name. A replacement
serves the accounts that belong to a Cloud of ours, and leaves all others to moto.

``install`` is done once in a process, after ``selfcheck.check`` has found moto to be the one that this was written for.
"""

from __future__ import annotations

import copy
import importlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError, InvalidInstanceIdError, InvalidLaunchTemplateVersionNotFound
from moto.eks import urls as eks_urls
from moto.elb.exceptions import LoadBalancerNotFoundError

from simulator.aws import answers, eks_operations, selfcheck
from simulator.aws.answers import PlainAnswer
from simulator.aws.ec2 import Compute
from simulator.aws.elb import InvalidInstance
from simulator.aws.scaling_operations import OPERATIONS
from simulator.aws.wire import PARAMS

if TYPE_CHECKING:
    from simulator.aws.server import Cloud

#: (account, region) -> the Cloud that it belongs to
CLOUDS: dict[tuple[str, str], Cloud] = {}
#: "module:Class.function" -> moto's own
ORIGINALS: dict[str, Any] = {}


def install() -> None:
    """Check moto, then bend it. Does nothing when that has been done."""
    if ORIGINALS:
        return
    selfcheck.check()
    # the world has its own images; moto's 1,285 make every launch and every reset slow
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    for operation in OPERATIONS:
        _replace(f"moto.autoscaling.responses:AutoScalingResponse.{operation}", _scaling(operation))
    for operation in eks_operations.OPERATIONS:
        _replace(f"moto.eks.responses:EKSResponse.{operation}", _eks(operation))
    for symbol, replacement in REPLACEMENTS.items():
        _replace(symbol, replacement)
    for path in eks_operations.PATHS:
        eks_urls.url_paths[path] = eks_urls.response.dispatch


def _replace(symbol: str, make: Callable[[Any], Any]) -> None:
    """``make`` is given moto's own function (None when there is none) and returns what stands in its place."""
    module, _unused, path = symbol.partition(":")
    owner_name, _unused, name = path.partition(".")
    owner = getattr(importlib.import_module(module), owner_name)
    ORIGINALS[symbol] = getattr(owner, name, None)
    setattr(owner, name, make(ORIGINALS[symbol]))


def _cloud(response: Any) -> Cloud | None:
    """The Cloud that a request to a moto Response is for."""
    return CLOUDS.get((response.current_account, response.region))


def _compute(backend: Any) -> Compute | None:
    """The Compute that a moto EC2 backend belongs to."""
    cloud = CLOUDS.get((backend.account_id, backend.region_name))
    return cloud.compute if cloud else None


# ---- Auto Scaling


def _scaling(operation: str) -> Callable[[Any], Any]:
    serve = OPERATIONS[operation]

    def make(original: Any) -> Any:
        def respond(self: Any) -> ActionResult:
            cloud = _cloud(self)
            if cloud is None:
                if original is None:
                    raise NotImplementedError(operation)
                return original(self)
            answer = serve(cloud.scaling, self._get_params())
            return EmptyResult() if answer is None else PlainAnswer(answer)

        respond.__name__ = operation
        return respond

    return make


# ---- EC2


def _run_instances(original: Any) -> Any:
    def run_instances(self: Any, *args: Any, **kwargs: Any) -> Any:
        reservation = original(self, *args, **kwargs)
        compute = _compute(self)
        if compute:
            compute.launched(reservation.instances)
        return reservation

    return run_instances


def _over_time(verb: str) -> Callable[[Any], Any]:
    """terminate, stop, start: begun by Compute, which lets them take their time."""

    def make(original: Any) -> Any:
        def change(self: Any, instance_ids: list[str]) -> Any:
            compute = _compute(self)
            return getattr(compute, verb)(instance_ids) if compute else original(self, instance_ids)

        return change

    return make


def _terminate_answer(original: Any) -> Any:
    """moto says shutting-down even of what has ended long ago."""

    def terminate_instances(self: Any) -> ActionResult:
        answer = original(self)
        for one in answer.result["TerminatingInstances"]:
            if one["PreviousState"].name == "terminated":
                one["CurrentState"] = {"Code": 48, "Name": "terminated"}
        return answer

    return terminate_instances


def _describe_instances(original: Any) -> Any:
    """moto finds them; we show them."""

    def describe_instances(self: Any) -> ActionResult:
        answer = original(self)
        if _cloud(self) is None:
            return answer
        found = answer.result
        return PlainAnswer(found | {"Reservations": [answers.reservation(one) for one in found["Reservations"]]})

    return describe_instances


def _all_reservations(original: Any) -> Any:
    """A filter by instance id (without wildcards) looks at those instances only, not at all there are."""

    def all_reservations(self: Any, filters: Any = None) -> Any:
        compute = _compute(self)
        wanted = (filters or {}).get("instance-id")
        if compute is None or not wanted or any("*" in one or "?" in one for one in wanted):
            return original(self, filters)
        known = [compute.courses[one].instance for one in wanted if one in compute.courses]
        return _reservations_of(self, known, {key: value for key, value in filters.items() if key != "instance-id"})

    return all_reservations


def _get_reservations_by_instance_ids(original: Any) -> Any:
    """By id as well: those only; one unknown id fails the call, as on AWS."""

    def get_reservations_by_instance_ids(self: Any, instance_ids: list[str], filters: Any = None) -> Any:
        compute = _compute(self)
        if compute is None:
            return original(self, instance_ids, filters)
        missing = [one for one in instance_ids if one not in compute.courses]
        if missing:
            raise InvalidInstanceIdError(missing)
        return _reservations_of(self, [compute.courses[one].instance for one in instance_ids], filters or {})

    return get_reservations_by_instance_ids


def _reservations_of(backend: Any, instances: list[Any], filters: dict[str, Any]) -> list[Any]:
    from moto.ec2.utils import filter_reservations

    ids = {instance.id for instance in instances}
    found = []
    for reservation in backend.reservations.values():
        inside = [one for one in reservation.instances if one.id in ids]
        if inside:
            part = copy.copy(reservation)
            part.instances = inside
            found.append(part)
    return filter_reservations(found, filters) if filters else found


def _get_instance_by_id(original: Any) -> Any:
    """moto looks through all instances, also for each volume that it attaches while launching: quadratic."""

    def get_instance_by_id(self: Any, instance_id: str) -> Any:
        compute = _compute(self)
        return _known(self, compute, instance_id) if compute else original(self, instance_id)

    return get_instance_by_id


def _get_instance(original: Any) -> Any:
    def get_instance(self: Any, instance_id: str) -> Any:
        compute = _compute(self)
        found = _known(self, compute, instance_id) if compute else original(self, instance_id)
        if found is None:
            raise InvalidInstanceIdError(instance_id)
        return found

    return get_instance


def _known(backend: Any, compute: Compute, instance_id: str) -> Any:
    """The instance; one that is just being launched stands in moto's newest reservation only."""
    newest = next(reversed(backend.reservations.values()), None)
    being_launched = newest.instances if newest else []
    return compute.find(instance_id) or next((one for one in being_launched if one.id == instance_id), None)


def _get_tags(original: Any) -> Any:
    """moto looks through every tag of every resource for each instance: quadratic."""

    def get_tags(self: Any) -> list[dict[str, str]]:
        tags = self.ec2_backend.tags.get(self.id) if self.id else None
        if not tags:
            return []
        kind = "instance" if self.id.startswith("i-") else (original(self) or [{}])[0].get("resource_type", "")
        return [
            {"resource_id": self.id, "key": key, "value": value, "resource_type": kind} for key, value in tags.items()
        ]

    return get_tags


def _create_launch_template_version(original: Any) -> Any:
    """A new version inherits from its SourceVersion what it does not set itself; moto forgets that. A request that is
    repeated with its client token makes no second version."""

    def create_launch_template_version(self: Any) -> ActionResult:
        cloud = _cloud(self)
        if cloud is None:
            return original(self)
        token, made = self._get_param("ClientToken"), cloud.compute.made_versions
        if token and token in made:
            return made[token]
        source = self._get_param("SourceVersion")
        if source:
            spec = {key: self._get_param(key) for key in ("LaunchTemplateId", "LaunchTemplateName")}
            inherited = cloud.compute.template_version({**spec, "Version": source}).data
            own = self._get_param("LaunchTemplateData", {})
            for key, value in inherited.items():
                if key not in own:
                    own[key] = copy.deepcopy(value)
            self.params["LaunchTemplateData"] = own
        answer = original(self)
        if token:
            made[token] = answer
        return answer

    return create_launch_template_version


def _describe_launch_template_versions(original: Any) -> Any:
    """ResolveAlias shows the image that resolve:ssm: means now; versions that were deleted are gone. Of the filters
    image-id is known, which moto passes over."""

    def describe_launch_template_versions(self: Any) -> ActionResult:
        cloud = _cloud(self)
        answer = original(self)
        if cloud is None:
            return answer
        found = answer.result["LaunchTemplateVersions"]
        deleted = cloud.compute.deleted_versions
        for version in found:
            key = (version["LaunchTemplateId"], version["VersionNumber"])
            if key in deleted and str(key[1]) in map(str, self._get_param("Versions", [])):
                raise InvalidLaunchTemplateVersionNotFound(str(key[1]), key[0])
        kept = [one for one in found if (one["LaunchTemplateId"], one["VersionNumber"]) not in deleted]
        images = self._filters_from_querystring().get("image-id")
        kept = [one for one in kept if not images or one["LaunchTemplateData"].get("ImageId") in images]
        answer.result["LaunchTemplateVersions"] = kept
        if self._get_bool_param("ResolveAlias", False):
            for version in kept:
                data = copy.copy(version["LaunchTemplateData"])
                if data.get("ImageId"):
                    data["ImageId"] = cloud.compute.resolve_image(data["ImageId"])
                version["LaunchTemplateData"] = data
        return answer

    return describe_launch_template_versions


def _delete_launch_template_versions(original: Any) -> Any:
    """moto keeps versions in a list by their number: the world remembers which of them are gone."""

    def delete_launch_template_versions(self: Any) -> ActionResult:
        cloud = _cloud(self)
        if cloud is None:
            raise NotImplementedError("delete_launch_template_versions")
        spec = {key: self._get_param(key) for key in ("LaunchTemplateId", "LaunchTemplateName")}
        done = []
        for number in self._get_param("Versions", []):
            version = cloud.compute.template_version({**spec, "Version": number})
            template = version.template
            if template.is_default(version):
                text = "You cannot delete the default version of a launch template."
                raise EC2ClientError("OperationNotPermitted", text)
            cloud.compute.deleted_versions.add((template.id, version.number))
            named = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name}
            done.append({**named, "VersionNumber": version.number})
        return PlainAnswer({"SuccessfullyDeletedLaunchTemplateVersions": done})

    return delete_launch_template_versions


# ---- load balancers


def _register_targets(original: Any) -> Any:
    def register_targets(self: Any, target_group_arn: str, instances: list[Any]) -> None:
        cloud = CLOUDS.get((self.account_id, self.region_name))
        if cloud is None:
            return original(self, target_group_arn, instances)
        return cloud.balancers.register_targets(target_group_arn, instances)

    return register_targets


def _deregister_targets(original: Any) -> Any:
    def deregister_targets(self: Any, target_group_arn: str, instances: list[dict[str, Any]]) -> None:
        cloud = CLOUDS.get((self.account_id, self.region_name))
        if cloud is None:
            return original(self, target_group_arn, instances)
        return cloud.balancers.deregister_targets(target_group_arn, instances)

    return deregister_targets


def _describe_target_health(original: Any) -> Any:
    def describe_target_health(self: Any, target_group_arn: str, targets: list[dict[str, Any]]) -> Any:
        cloud = CLOUDS.get((self.account_id, self.region_name))
        if cloud is None:
            return original(self, target_group_arn, targets)
        return cloud.balancers.target_health(target_group_arn, targets)

    return describe_target_health


def _describe_instance_health(original: Any) -> Any:
    def describe_instance_health(self: Any) -> ActionResult:
        cloud = _cloud(self)
        if cloud is None:
            return original(self)
        asked = [one["InstanceId"] for one in self._get_param("Instances", [])]
        name = self._get_param("LoadBalancerName")
        if self.elb_backend.get_load_balancer(name) is None:
            raise LoadBalancerNotFoundError(name)
        if missing := [one for one in asked if cloud.compute.find(one) is None]:
            raise InvalidInstance(missing)
        return PlainAnswer({"InstanceStates": cloud.balancers.instance_health(name, asked)})

    return describe_instance_health


def _classic_instances(verb: str) -> Callable[[Any], Any]:
    """Instances of a classic load balancer, registered or deregistered by hand."""

    def make(original: Any) -> Any:
        def change(self: Any, load_balancer_name: str, instance_ids: list[str], from_autoscaling: bool = False) -> Any:
            cloud = CLOUDS.get((self.account_id, self.region_name))
            if cloud is None:
                return original(self, load_balancer_name, instance_ids, from_autoscaling)
            balancer = self.get_load_balancer(load_balancer_name)
            if balancer is None:
                raise LoadBalancerNotFoundError(load_balancer_name)
            getattr(cloud.balancers, verb)(load_balancer_name, list(instance_ids))
            return balancer

        return change

    return make


def _classic_found(original: Any) -> Any:
    """moto breaks where the load balancer does not exist."""

    def respond(self: Any) -> ActionResult:
        name = self._get_param("LoadBalancerName")
        if _cloud(self) is not None and self.elb_backend.get_load_balancer(name) is None:
            raise LoadBalancerNotFoundError(name)
        return original(self)

    return respond


# ---- EKS, STS


def _eks(operation: str) -> Callable[[Any], Any]:
    serve = eks_operations.OPERATIONS[operation]

    def make(original: Any) -> Any:
        def respond(self: Any) -> ActionResult:
            cloud = _cloud(self)
            if cloud is None:
                if original is None:
                    raise NotImplementedError(operation)
                return original(self)
            # moto names what is in the path by its own patterns: the gateway has read the request by botocore's model
            return PlainAnswer(serve(cloud.clusters, self.normalized_request.environ[PARAMS]))

        respond.__name__ = operation
        return respond

    return make


def _get_caller_identity(original: Any) -> Any:
    def get_caller_identity(self: Any) -> ActionResult:
        cloud = next((one for (account, _unused), one in CLOUDS.items() if account == self.current_account), None)
        if cloud is None:
            return original(self)
        author = cloud.author_of(cloud.caller_key(self.normalized_request))
        return ActionResult(
            {"UserId": f"AIDA{author.upper()}"[:21], "Account": cloud.account, "Arn": cloud.arn_of(author)}
        )

    return get_caller_identity


REPLACEMENTS: dict[str, Callable[[Any], Any]] = {
    "moto.ec2.models.instances:InstanceBackend.run_instances": _run_instances,
    "moto.ec2.models.instances:InstanceBackend.terminate_instances": _over_time("terminate"),
    "moto.ec2.models.instances:InstanceBackend.stop_instances": _over_time("stop"),
    "moto.ec2.models.instances:InstanceBackend.start_instances": _over_time("start"),
    "moto.ec2.models.instances:InstanceBackend.all_reservations": _all_reservations,
    "moto.ec2.models.instances:InstanceBackend.get_instance": _get_instance,
    "moto.ec2.models.instances:InstanceBackend.get_instance_by_id": _get_instance_by_id,
    "moto.ec2.models.instances:InstanceBackend.get_reservations_by_instance_ids": _get_reservations_by_instance_ids,
    "moto.ec2.models.core:TaggedEC2Resource.get_tags": _get_tags,
    "moto.ec2.responses.instances:InstanceResponse.describe_instances": _describe_instances,
    "moto.ec2.responses.instances:InstanceResponse.terminate_instances": _terminate_answer,
    "moto.ec2.responses.launch_templates:LaunchTemplates.create_launch_template_version": (
        _create_launch_template_version
    ),
    "moto.ec2.responses.launch_templates:LaunchTemplates.delete_launch_template_versions": (
        _delete_launch_template_versions
    ),
    "moto.ec2.responses.launch_templates:LaunchTemplates.describe_launch_template_versions": (
        _describe_launch_template_versions
    ),
    "moto.elbv2.models:ELBv2Backend.register_targets": _register_targets,
    "moto.elbv2.models:ELBv2Backend.deregister_targets": _deregister_targets,
    "moto.elbv2.models:ELBv2Backend.describe_target_health": _describe_target_health,
    "moto.elb.models:ELBBackend.register_instances": _classic_instances("register_instances"),
    "moto.elb.models:ELBBackend.deregister_instances": _classic_instances("deregister_instances"),
    "moto.elb.responses:ELBResponse.describe_instance_health": _describe_instance_health,
    "moto.elb.responses:ELBResponse.describe_load_balancer_attributes": _classic_found,
    "moto.sts.responses:TokenResponse.get_caller_identity": _get_caller_identity,
}
