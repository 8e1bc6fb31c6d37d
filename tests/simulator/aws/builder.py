# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Furnishing the cloud from inside the process: networks, images, templates, groups, clusters, load balancers.

Nothing here is recorded as a request: it is how the world was before anybody called, or what happens to it from
outside.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ssm.models import Parameter, ssm_backends

from simulator.aws import images
from simulator.aws import scaling_api as api
from simulator.aws.autoscaling import LaunchFailure
from simulator.aws.scaling_model import Group

if TYPE_CHECKING:
    import threading

    from simulator.aws.agenda import Agenda
    from simulator.aws.autoscaling import AutoScaling
    from simulator.aws.ec2 import Compute
    from simulator.aws.eks import Clusters
    from simulator.aws.elb import Balancers

EKS_IMAGE_PARAMETER = "/aws/service/eks/optimized-ami/{version}/amazon-linux-2023/x86_64/standard/recommended/image_id"


@dataclass(frozen=True)
class Network:
    """A VPC with a subnet in each zone."""

    vpc_id: str
    #: zone -> subnet id
    subnets: dict[str, str]


class Builder:
    """The part of Cloud that furnishes it."""

    account: str
    region: str
    agenda: Agenda
    compute: Compute
    balancers: Balancers
    scaling: AutoScaling
    clusters: Clusters
    lock: threading.RLock

    def create_network(self, zones: list[str], cidr: str = "10.20.0.0/16") -> Network:
        """A VPC, and a subnet in each of these zones (room for some 4,000 instances each)."""
        with self.lock:
            ec2 = self.compute.backend
            vpc = ec2.create_vpc(cidr)
            blocks = ipaddress.ip_network(cidr).subnets(new_prefix=20)
            subnets = {
                zone: ec2.create_subnet(vpc.id, str(block), availability_zone=zone).id
                for zone, block in zip(zones, blocks, strict=False)
            }
            return Network(vpc.id, subnets)

    def create_image(self, name: str, architecture: str = "x86_64") -> str:
        """An AMI; returns its id."""
        with self.lock:
            image = self.compute.backend.register_image(name, name)
            image.architecture = architecture
            image.creation_date = self.agenda.datetime()
            return image.id

    def publish_images(self) -> None:
        """All that AWS publishes for EKS nodes, with the parameters that name them."""
        for one in images.catalogue():
            image_id = self.create_image(one.name, one.architecture)
            self.compute.backend.amis[image_id].description = one.description
            self._publish(image_id, one.parameter)

    def _publish(self, image_id: str, parameter: str) -> None:
        """From now on it is an image of AWS's own, and the one that this parameter names."""
        image = self.compute.backend.amis[image_id]
        image.owner_id, image.owner_alias = images.OWNER, "amazon"
        image.launch_permissions.append({"Group": "all"})
        self.set_parameter(parameter, image_id)

    def image(self, image_id: str) -> images.Image:
        """What an AMI makes of the machines that start from it."""
        found = self.compute.backend.amis.get(image_id)
        return images.understood(found.name or "", found.architecture or "") if found else images.Image()

    def parameter(self, name: str) -> str:
        """The value of a parameter of Systems Manager."""
        with self.lock:
            return ssm_backends[self.account][self.region].get_parameter(name).value

    def remove_parameter(self, name: str) -> None:
        """AWS publishes this parameter no more (or never has)."""
        with self.lock:
            ssm_backends[self.account][self.region]._parameters.pop(name, None)

    def set_parameter(self, name: str, value: str) -> None:
        """A parameter of Systems Manager as AWS publishes it (also under /aws, where users may not write)."""
        with self.lock:
            versions = ssm_backends[self.account][self.region]._parameters[name]
            versions.append(
                Parameter(
                    account_id=self.account,
                    name=name,
                    value=value,
                    parameter_type="String",
                    description=None,
                    allowed_pattern=None,
                    keyid=None,
                    last_modified_date=self.agenda.datetime(),
                    version=len(versions) + 1,
                    data_type="aws:ec2:image" if value.startswith("ami-") else "text",
                )
            )

    def publish_eks_image(self, version: str, image_id: str) -> str:
        """AWS's recommended image for EKS nodes of that version; returns the parameter that names it."""
        name = EKS_IMAGE_PARAMETER.format(version=version)
        self._publish(image_id, name)
        return name

    def create_template(
        self, name: str, image_id: str, instance_type: str = "m5.large", tags: dict[str, str] | None = None, **data: Any
    ) -> LaunchTemplate:
        """A launch template with its version 1; ``image_id`` may be ``resolve:ssm:<parameter>``. Has .id, .name."""
        with self.lock:
            content: dict[str, Any] = {"ImageId": image_id, "InstanceType": instance_type, **data}
            if tags:
                pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
                content["TagSpecifications"] = [{"ResourceType": "instance", "Tags": pairs}]
            template = self.compute.backend.create_launch_template(name, "", content, {})
            template.create_time = template.versions[0].create_time = self.agenda.datetime()
            return template

    def new_template_version(self, template: str | LaunchTemplate, *, default: bool = False, **changes: Any) -> int:
        """A further version (ImageId="ami-...", InstanceType="..."), the rest as in the latest. Returns its number."""
        with self.lock:
            if isinstance(template, str):
                by_id = template.startswith("lt-")
                ec2 = self.compute.backend
                template = ec2.get_launch_template(template) if by_id else ec2.get_launch_template_by_name(template)
            version = template.create_version({**template.latest_version().data, **changes}, "")
            version.create_time = self.agenda.datetime()
            if default:
                template.default_version_number = version.number
            return version.number

    def create_target_group(
        self,
        name: str,
        vpc_id: str,
        port: int = 80,
        deregistration_delay: int = 300,
        *,
        target_type: str = "instance",
        tags: dict[str, str] | None = None,
        in_use: bool = True,
        **settings: Any,
    ) -> str:
        """A target group behind some load balancer (not ``in_use``: behind none); returns its ARN.

        ``settings`` are those of moto's create_target_group. Health checks are as the cloud provider of AWS sets them:
        every ten seconds, two make a target healthy, six unhealthy.
        """
        checks = {"healthcheck_interval_seconds": 10, "healthy_threshold_count": "2", "unhealthy_threshold_count": "6"}
        pairs = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
        with self.lock:
            group = self.balancers.target_groups.create_target_group(
                name,
                **{"protocol": "HTTP", "port": str(port), **checks, **settings},
                vpc_id=vpc_id,
                target_type=target_type,
                tags=pairs,
            )
            group.attributes["deregistration_delay.timeout_seconds"] = deregistration_delay
            if in_use:
                place = f"arn:aws:elasticloadbalancing:{self.region}:{self.account}:loadbalancer"
                group.load_balancer_arns.append(f"{place}/net/{name}/50dc6c495c0c9188")
            return group.arn

    def create_group(
        self,
        name: str,
        template: str | LaunchTemplate | None,
        subnets: list[str],
        desired: int,
        *,
        min_size: int = 0,
        max_size: int | None = None,
        version: str | None = "$Latest",
        cluster: str = "",
        tags: dict[str, str] | None = None,
        settled: bool = True,
        **settings: Any,
    ) -> Group:
        """An Auto Scaling group; ``settings`` are parameters of CreateAutoScalingGroup.

        ``cluster`` adds the tag ``kubernetes.io/cluster/<cluster>: owned``. ``settled``: its instances are InService
        already, as in a world that has been running for long; else they begin to launch.
        """
        with self.lock:
            all_tags = {f"kubernetes.io/cluster/{cluster}": "owned"} if cluster else {}
            params: dict[str, Any] = {
                "AutoScalingGroupName": name,
                "MinSize": min_size,
                "MaxSize": desired if max_size is None else max_size,
                "DesiredCapacity": desired,
                "VPCZoneIdentifier": ",".join(subnets),
                "Tags": [
                    {"Key": key, "Value": value, "PropagateAtLaunch": True}
                    for key, value in (all_tags | (tags or {})).items()
                ],
                **settings,
            }
            if template is not None:
                if isinstance(template, str):
                    key = "LaunchTemplateId" if template.startswith("lt-") else "LaunchTemplateName"
                    spec = {key: template}
                else:
                    spec = {"LaunchTemplateId": template.id}
                params["LaunchTemplate"] = spec | ({"Version": version} if version else {})
            api.create_auto_scaling_group(self.scaling, params)
            group = self.scaling.groups[name]
            if settled:
                self.settle_group(group)
            return group

    def settle_group(self, group: Group) -> None:
        """Launch what the group wants, and have it in service at once (hooks are passed over)."""
        with self.lock:
            self.scaling.reconcile(group)
            for member in list(group.members.values()):
                if member.state.startswith("Pending"):
                    self.compute.settle(member.instance_id)
                    self.scaling.into_service(group, member)

    def create_cluster(
        self,
        name: str,
        version: str = "1.35",
        *,
        endpoint: str = "",
        ca_pem: str = "",
        network: Network | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """An EKS cluster; ``endpoint`` and ``ca_pem`` are where the world serves its Kubernetes API."""
        with self.lock:
            vpc = {"vpcId": network.vpc_id, "subnetIds": list(network.subnets.values())} if network else {}
            role = f"arn:aws:iam::{self.account}:role/eks-{name}"
            self.clusters.create(name, version, role, vpc, tags or {})
            if endpoint:
                self.clusters.set_endpoint(name, endpoint, ca_pem)

    def set_cluster_endpoint(self, name: str, endpoint: str, ca_pem: str) -> None:
        """Where DescribeCluster sends people: the URL, and the CA certificate in PEM."""
        with self.lock:
            self.clusters.set_endpoint(name, endpoint, ca_pem)

    # ---- from outside

    def terminate_outside(self, instance_id: str) -> None:
        """EC2 takes an instance away, as it does with spot capacity, without asking its group."""
        with self.lock:
            self.agenda.run()
            self.compute.terminate([instance_id])

    def fail_launches(
        self,
        group: str | None = None,
        code: str = "InsufficientInstanceCapacity",
        message: str | None = None,
        *,
        zone: str | None = None,
        times: int | None = None,
        skip: int = 0,
    ) -> LaunchFailure:
        """Let launches fail, of one group or all, in one zone or all, ``times`` or until ``allow_launches``."""
        with self.lock:
            return self.scaling.fail_launches(group, code, message, zone, times, skip)

    def allow_launches(self) -> None:
        """Launches succeed again."""
        with self.lock:
            self.scaling.failures.clear()

    def group(self, name: str) -> Group:
        """A group as it is inside, for looking (and for tests to judge by)."""
        with self.lock:
            self.agenda.run()
            return self.scaling.group(name)
