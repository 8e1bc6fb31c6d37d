#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: asg_info
short_description: Read Auto Scaling groups and which of their instances are outdated
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Describes Auto Scaling groups, what they would launch now, and for each of their instances whether it differs from
    that and in what.
  - Launch template versions V($Latest) and V($Default) and images of the form V(resolve:ssm:...) are resolved.
options:
  names:
    description:
      - Names of Auto Scaling groups. The answer is in this order.
      - A name that does not exist is an error.
    type: list
    elements: str
  cluster_name:
    description:
      - Name of an EKS cluster. All groups tagged C(kubernetes.io/cluster/<name>) are described, sorted by name.
      - A cluster of which there is no group is an error.
    type: str
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.info_module
  - evergreen.eks._attributes.actiongroup_aws
  - evergreen.eks._aws
notes:
  - "Needs the IAM actions C(autoscaling:DescribeAutoScalingGroups), C(autoscaling:DescribeLifecycleHooks) and
    C(ec2:DescribeInstances); C(ec2:DescribeLaunchTemplateVersions) for groups with launch templates,
    C(ssm:GetParameters) where their image is a Systems Manager parameter, and
    C(autoscaling:DescribeLaunchConfigurations) for groups with launch configurations."
seealso:
  - module: evergreen.eks.asg_capacity
  - module: evergreen.eks.asg_protection
"""

EXAMPLES = r"""
- name: Describe two groups
  evergreen.eks.asg_info:
    names: [shared, logging]
    region: eu-west-1
  register: groups

- name: Show the outdated instances of a whole cluster
  evergreen.eks.asg_info:
    cluster_name: production
  register: groups

- name: Name them
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.instances | selectattr('outdated') | map(attribute='instance_id') | join(', ') }}"
  loop: "{{ groups.groups }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
groups:
  description: The groups.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the group.
      type: str
      sample: shared
    arn:
      description: ARN of the group.
      type: str
    min_size:
      description: Minimum size.
      type: int
    max_size:
      description: Maximum size.
      type: int
    desired_capacity:
      description: Desired capacity.
      type: int
    suspended_processes:
      description: Names of the suspended scaling processes, sorted.
      type: list
      elements: str
      sample: [AZRebalance]
    protects_new_instances:
      description: Whether new instances are protected from scale-in.
      type: bool
    hooks:
      description: Lifecycle hooks, sorted by name.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the hook.
          type: str
        transition:
          description: V(launching) or V(terminating).
          type: str
        heartbeat_timeout:
          description: Seconds that an instance waits for the hook.
          type: int
        default_result:
          description: V(CONTINUE) or V(ABANDON).
          type: str
    target_group_arns:
      description: Target groups to which the instances are registered.
      type: list
      elements: str
    load_balancers:
      description: Names of Classic Load Balancers to which the instances are registered.
      type: list
      elements: str
    zones:
      description: Availability zones of the group.
      type: list
      elements: str
    weighted:
      description: Whether the sizes are not numbers of instances (weights, or capacity in vCPU or memory).
      type: bool
    warm_pool:
      description: Whether the group has a warm pool.
      type: bool
    status:
      description: Set while the group is being deleted, else empty.
      type: str
    tags:
      description: Tags of the group.
      type: dict
    launch:
      description: What the group launches from, as configured.
      type: dict
      contains:
        kind:
          description: V(template), V(mixed) (a mixed instances policy) or V(configuration).
          type: str
        template_id:
          description: ID of the launch template, else empty.
          type: str
        template_name:
          description: Name of the launch template, else empty.
          type: str
        version:
          description: Version as configured, for example V($Latest), else empty.
          type: str
        configuration:
          description: Name of the launch configuration, else empty.
          type: str
        overrides:
          description: >-
            Overrides of the mixed instances policy, each with C(instance_type), C(template_id), C(template_name),
            C(version), C(image_id), C(weight) and C(requirements); what is empty comes from the policy's template.
          type: list
          elements: dict
    target:
      description: What the group would launch now.
      type: dict
      contains:
        kind:
          description: As RV(groups[].launch.kind).
          type: str
        template_id:
          description: ID of the launch template, else empty.
          type: str
        version:
          description: Number of the version, resolved.
          type: str
          sample: "7"
        image_id:
          description: ID of the image, resolved; empty when the template names none.
          type: str
          sample: ami-0123456789abcdef0
        instance_types:
          description: Instance types that may be launched, sorted; empty when they are chosen by their attributes.
          type: list
          elements: str
        configuration:
          description: Name of the launch configuration, else empty.
          type: str
        fingerprint:
          description: The same as long as the group would launch the same.
          type: str
          sample: sha256:0f5c1b0c8a9a2a2f0e0d4b1e2f3a4b5c6d7e8f90123456789abcdef012345678
    instances:
      description: Members of the group, sorted by ID.
      type: list
      elements: dict
      contains:
        instance_id:
          description: ID of the instance.
          type: str
        lifecycle_state:
          description: State in the group, for example V(InService).
          type: str
        health_status:
          description: Health as the group sees it.
          type: str
        zone:
          description: Availability zone.
          type: str
        instance_type:
          description: Instance type.
          type: str
        launch_template_id:
          description: ID of the launch template that it was launched from, else empty.
          type: str
        launch_version:
          description: Version of the launch template that it was launched from, else empty.
          type: str
        launch_configuration:
          description: Name of the launch configuration that it was launched from, else empty.
          type: str
        image_id:
          description: Image of the instance; empty when EC2 no longer knows it.
          type: str
        state:
          description: State in EC2, for example V(running); empty when EC2 no longer knows it.
          type: str
        launch_time:
          description: When it was launched, in UTC; empty when EC2 no longer knows it.
          type: str
          sample: "2026-11-21T01:02:03Z"
        protected:
          description: Whether it is protected from scale-in.
          type: bool
        outdated:
          description: Whether it differs from what the group would launch now.
          type: bool
        reason:
          description:
            - In what it differs, else null.
            - V(configuration), launched from another launch configuration, or not from one.
            - V(template), launched from another launch template, or from none.
            - V(template_version), launched from another version of the launch template.
            - V(image), its image is not the one that the version resolves to now.
            - V(instance_type), a type that the group may no longer launch.
          type: str
          sample: template_version
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.groups import groups_info
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, failures_reported


def main() -> None:
    module = AnsibleModule(
        argument_spec=aws_argument_spec(
            names={"type": "list", "elements": "str"},
            cluster_name={"type": "str"},
        ),
        mutually_exclusive=[("names", "cluster_name")],
        required_one_of=[("names", "cluster_name")],
        supports_check_mode=True,
    )
    with failures_reported(module):
        aws = Aws(module.params, Call.of(module))
        module.exit_json(groups=groups_info(aws, module.params["names"], module.params["cluster_name"]))


if __name__ == "__main__":
    main()
