# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scenario's AWS side: network, images, launch templates, Auto Scaling groups, load balancers."""

from __future__ import annotations

from typing import Any

from simulator.aws.eks_addons import as_values
from simulator.aws.server import Cloud
from simulator.identities import AwsClients
from simulator.scenarios.model import NodeGroup, Scenario

# as the cloud provider of AWS sets it
CLASSIC_CHECK = {"Target": "TCP:31080", "Interval": 10, "Timeout": 5, "HealthyThreshold": 2, "UnhealthyThreshold": 6}


class Provisioner:
    """Furnishes a cloud for a scenario; later makes what a group launches newer than what it runs."""

    def __init__(self, scenario: Scenario, cloud: Cloud, aws: AwsClients):
        self.scenario = scenario
        self.images: list[str] = []  # the machine images so far, oldest first
        self.templates: dict[str, str] = {}  # group -> launch template id
        self.target_groups: dict[str, str] = {}  # name -> ARN
        self._cloud = cloud
        self._aws = aws

    def build(self, endpoint: str, ca_pem: str) -> None:
        """Everything, with all instances in service; the groups launch what they run."""
        scenario = self.scenario
        self.network = self._cloud.create_network(list(scenario.zones))
        self._cloud.create_cluster(
            scenario.cluster, scenario.version, endpoint=endpoint, ca_pem=ca_pem, network=self.network
        )
        self._cloud.publish_images()
        self.new_image()
        self._fargate_profiles()
        owned = {"elbv2.k8s.aws/cluster": scenario.cluster}
        for name in scenario.controller_target_groups:
            self._target_group(name, tags=owned)
        for group in scenario.groups:
            self._balancers(group)
            if group.launch != "configuration":
                image = self._first_image(group)
                template = self._cloud.create_template(self._named(group), image, group.instance_type)
                self.templates[group.name] = template.id
            self._auto_scaling_group(group)

    def new_image(self) -> str:
        """A new Amazon Linux 2023 is published for the scenario's version; returns the image's id."""
        name = f"amazon-eks-node-al2023-x86_64-standard-{self.scenario.version}-v{len(self.images) + 1}"
        image = self._cloud.create_image(name)
        self._cloud.publish_eks_image(self.scenario.version, image)
        self.images.append(image)
        return image

    def renew(self, group: NodeGroup, image: str) -> str:
        """The group launches this image from now on; returns the new template version or launch configuration."""
        autoscaling = self._aws("autoscaling")
        if group.launch == "configuration":
            name = self._launch_configuration(group, image)
            autoscaling.update_auto_scaling_group(AutoScalingGroupName=group.name, LaunchConfigurationName=name)
            return name
        template = self.templates[group.name]
        is_default = group.template_version == "$Default"
        version = str(self._cloud.new_template_version(template, default=is_default, ImageId=image))
        if not group.template_version.startswith("$"):
            autoscaling.update_auto_scaling_group(
                AutoScalingGroupName=group.name, **self._launch(group, template_version=version)
            )
        return version

    def install_addons(self) -> None:
        """The add-ons, managed and not, with their objects; nodes are there already."""
        scenario = self.scenario
        with self._cloud.lock:
            addons = self._cloud.clusters.estate(scenario.cluster).addons
            for one in scenario.addons:
                if one.managed:
                    addons.install(one.name, one.version, as_values(one.configuration), one.role)
                else:
                    addons.install_self_managed(one.name, one.version)

    def _fargate_profiles(self) -> None:
        for one in self.scenario.fargate:
            self._aws("eks").create_fargate_profile(
                clusterName=self.scenario.cluster,
                fargateProfileName=one.name,
                podExecutionRoleArn="arn:aws:iam::123456789012:role/fargate",
                subnets=list(self.network.subnets.values()),
                selectors=[{"namespace": one.namespace, "labels": dict(one.labels)}],
            )

    def _managed_tags(self, group: NodeGroup) -> dict[str, str]:
        """As EKS tags the Auto Scaling groups of its node groups."""
        named = {"eks:nodegroup-name": group.managed, "eks:cluster-name": self.scenario.cluster}
        return named if group.managed else {}

    def _first_image(self, group: NodeGroup) -> str:
        """What the group's first instances are made of."""
        return self._cloud.parameter(group.image_parameter) if group.image_parameter else self.images[-1]

    def _named(self, group: NodeGroup) -> str:
        return f"{self.scenario.cluster}-{group.name}"

    def _target_group(self, name: str, **settings: Any) -> None:
        delay = self.scenario.deregistration_delay
        self.target_groups[name] = self._cloud.create_target_group(
            name, self.network.vpc_id, port=31080, deregistration_delay=delay, **settings
        )

    def _balancers(self, group: NodeGroup) -> None:
        for name in group.target_groups:
            if name not in self.target_groups:
                self._target_group(name)
        for name in group.load_balancers:
            listener = {"Protocol": "TCP", "LoadBalancerPort": 80, "InstanceProtocol": "TCP", "InstancePort": 31080}
            self._aws("elb").create_load_balancer(
                LoadBalancerName=name,
                Listeners=[listener],
                Subnets=list(self.network.subnets.values()),
                Tags=[{"Key": f"kubernetes.io/cluster/{self.scenario.cluster}", "Value": "owned"}],
            )
            self._aws("elb").configure_health_check(LoadBalancerName=name, HealthCheck=CLASSIC_CHECK)

    def _launch_configuration(self, group: NodeGroup, image: str) -> str:
        name = f"{self._named(group)}-{image}"
        self._aws("autoscaling").create_launch_configuration(
            LaunchConfigurationName=name, ImageId=image, InstanceType=group.instance_type
        )
        return name

    def _launch(self, group: NodeGroup, template_version: str | None = None) -> dict[str, Any]:
        """What the group launches, as parameters of CreateAutoScalingGroup."""
        if group.launch == "configuration":
            return {"LaunchConfigurationName": self._launch_configuration(group, self._first_image(group))}
        if template_version is None:
            template_version = group.template_version
        specification = {"LaunchTemplateId": self.templates[group.name], "Version": template_version}
        if group.launch == "template":
            return {"LaunchTemplate": specification}
        if group.launch == "mixed":
            types = [{"InstanceType": kind} for kind in group.instance_types or [group.instance_type]]
            source = {"LaunchTemplateSpecification": specification, "Overrides": types}
            return {"MixedInstancesPolicy": {"LaunchTemplate": source}}
        raise ValueError(f"node group {group.name}: launch must be template, mixed or configuration")

    def _auto_scaling_group(self, group: NodeGroup) -> None:
        autoscaling = self._aws("autoscaling")
        self._cloud.create_group(
            group.name,
            None,
            [self.network.subnets[zone] for zone in group.zones or self.scenario.zones],
            group.size,
            min_size=group.min_size,
            max_size=group.max_size,
            cluster=self.scenario.cluster,
            tags={"Name": self._named(group), **self._managed_tags(group), **group.tags},
            NewInstancesProtectedFromScaleIn=group.protected,
            TargetGroupARNs=[self.target_groups[name] for name in group.target_groups],
            LoadBalancerNames=list(group.load_balancers),
            **self._launch(group),
        )
        if group.managed:
            with self._cloud.lock:
                nodegroups = self._cloud.clusters.estate(self.scenario.cluster).nodegroups
                nodegroups.adopt(group.managed, group.name, self.templates[group.name], self.scenario.version)
        for number, hook in enumerate(group.hooks):
            name = f"{group.name}-hook-{number}"
            autoscaling.put_lifecycle_hook(**{"AutoScalingGroupName": group.name, "LifecycleHookName": name, **hook})
        if group.suspended:
            autoscaling.suspend_processes(AutoScalingGroupName=group.name, ScalingProcesses=list(group.suspended))
