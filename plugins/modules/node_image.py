#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_image
short_description: Set the image that an Auto Scaling group launches its nodes from
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Sees to it that the nodes which an Auto Scaling group launches from now on come up with an image, for example the
    one that AWS recommends for a Kubernetes version.
  - The group's launch template gets a new version, made from the one that is launched now, in which only the image is
    another; the group then follows it. Nothing else is changed, no user data either, and no instance is replaced.
    The role P(evergreen.eks.rollout#role) does that.
  - A version that is there already, and differs from the present one in nothing but the image, is used instead. So
    none is made twice, also where the module was killed.
  - In a mixed instances policy the launch templates of the overrides get their new versions, too, each with the image
    of its own architecture.
options:
  asg_name:
    description: Name of the Auto Scaling group.
    type: str
    required: true
  image:
    description:
      - V(keep) changes nothing, and answers what is launched.
      - V(recommended) takes the image that AWS recommends for O(version), of the same family, variant and architecture
        as the present one. A template whose image is one of AWS's parameters (C(resolve:ssm:)) then names the
        parameter of that version.
      - Or the ID of an image.
    type: str
    default: keep
  version:
    description:
      - The minor version of Kubernetes, such as V(1.33). Without it that of O(cluster_name)'s control plane.
      - With an O(image) of another version there is a warning.
    type: str
  cluster_name:
    description:
      - Name of the EKS cluster. With it an image whose kubelet would be newer than the control plane is refused; in
        check mode it is not, because a plan is made before the control plane is upgraded.
    type: str
  family:
    description:
      - The family of images for V(recommended). Without it that of the present image.
      - It is needed where the present image is none that AWS publishes, and cannot change the family of one that is,
        because user data made for the one starts no node of the other.
    type: str
    choices: [al2023, al2, bottlerocket]
  variant:
    description:
      - The variant for V(recommended). Without it that of the present image, or V(standard).
      - Amazon Linux 2023 has V(nvidia) and V(neuron), Amazon Linux 2 V(gpu), Bottlerocket V(nvidia), V(fips) and
        V(nvidia-fips).
    type: str
    choices: [standard, nvidia, neuron, gpu, fips, nvidia-fips]
  architecture:
    description: The architecture for V(recommended). Without it that of the present image.
    type: str
    choices: [x86_64, arm64]
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.progress
  - evergreen.eks._attributes.actiongroup_aws
  - evergreen.eks._aws
  - evergreen.eks._waiting
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - "Needs the IAM actions C(autoscaling:DescribeAutoScalingGroups), C(ec2:DescribeLaunchTemplateVersions),
    C(ec2:DescribeImages); C(ssm:GetParameters) for V(recommended) and C(resolve:ssm:) images; C(eks:DescribeCluster)
    with O(cluster_name); and to change anything C(ec2:CreateLaunchTemplateVersion), with C(ec2:ModifyLaunchTemplate)
    for groups that follow C($Default), with C(autoscaling:UpdateAutoScalingGroup) for those that follow a number. For
    the latter AWS also wants what a launch takes, C(ec2:RunInstances), C(iam:PassRole), and C(ec2:CreateTags) where the
    template tags what it launches."
  - A group that follows C($Default) moves the default of its template, and one that follows C($Latest) its latest
    version, for everybody who follows these. Other groups that do are answered in RV(also_used_by), with a warning.
  - A group with a launch configuration, one of an EKS managed node group, and one whose policy names images itself are
    refused, with what to do, unless O(image=keep).
seealso:
  - module: evergreen.eks.asg_info
  - name: Retrieve recommended Amazon Linux AMI IDs
    description: The parameters of Amazon Linux in the Amazon EKS User Guide.
    link: https://docs.aws.amazon.com/eks/latest/userguide/retrieve-ami-id.html
  - name: Retrieve recommended Bottlerocket AMI IDs
    description: The parameters of Bottlerocket in the Amazon EKS User Guide.
    link: https://docs.aws.amazon.com/eks/latest/userguide/retrieve-ami-id-bottlerocket.html
"""

EXAMPLES = r"""
- name: New nodes of the group have the recommended image for Kubernetes 1.33
  evergreen.eks.node_image:
    asg_name: shared
    image: recommended
    version: '1.33'

- name: The same for the version that the control plane has
  evergreen.eks.node_image:
    asg_name: shared
    cluster_name: production
    image: recommended

- name: An image of our own
  evergreen.eks.node_image:
    asg_name: gpu
    image: ami-0123456789abcdef0
"""

RETURN = r"""
image_id:
  description: The image that the group launches, empty where AWS does not know it, or where it is a configuration's.
  returned: success
  type: str
  sample: ami-0123456789abcdef0
kubernetes_version:
  description: The Kubernetes version that the image's name says, empty where it says none.
  returned: success
  type: str
  sample: '1.33'
family:
  description: The image's family, empty where AWS has not published it.
  returned: success
  type: str
  sample: al2023
variant:
  description: The image's variant, empty where AWS has not published it.
  returned: success
  type: str
  sample: standard
architecture:
  description: The image's architecture.
  returned: success
  type: str
  sample: x86_64
templates:
  description:
    - Each version of a launch template that the group may launch; the group's own comes first, and what stands above is
      about that one. There is none for a launch configuration.
  returned: success
  type: list
  elements: dict
  contains:
    template_id:
      description: The launch template's ID.
      type: str
    template_name:
      description: Its name.
      type: str
    follows:
      description: The version as the group names it, a number, C($Latest) or C($Default).
      type: str
    version:
      description: The number that this means; in check mode V(0) for one that would be made.
      type: int
    image:
      description: What the version names as its image, an ID or C(resolve:ssm:) and a parameter.
      type: str
    image_id:
      description: The image that this means now.
      type: str
    image_name:
      description: The image's name.
      type: str
    kubernetes_version:
      description: As above.
      type: str
    family:
      description: As above.
      type: str
    variant:
      description: As above.
      type: str
    architecture:
      description: As above.
      type: str
    before:
      description: The same as it was before.
      type: dict
    action:
      description: V(stay), it carries the image already. V(use), the group follows a version that was there. V(make),
        a version was made.
      type: str
also_used_by:
  description: Other Auto Scaling groups of the region that launch what was changed.
  returned: success
  type: list
  elements: str
reason:
  description:
    - Why the module failed, as one word. But for V(template_moved), nothing was changed.
    - V(launch_configuration), V(managed_group) and V(image_by_policy), the group's image is not set in a launch
      template of its own.
    - V(image_by_parameter), a parameter that is none of AWS's names the image.
    - V(image_unknown), the present image is none that AWS publishes, and O(family) is not set.
    - V(template_shared), another group follows the same template, and more than the image would change for it, or it
      belongs to another cluster.
    - V(family_change), the image is of another family.
    - V(image_not_published), AWS has no such image for this version.
    - V(image_unfit), it is not available, of another architecture, or newer than the control plane.
    - V(template_moved), somebody else has changed the template or the group meanwhile.
    - V(not_found), the image, the template or its version does not exist; V(cluster_not_found), the cluster.
    - V(group_not_found), V(group_deleting), V(invalid_input), V(lock_lost), V(access_denied), V(credentials_missing),
      V(credentials_invalid), V(credentials_expired), V(unreachable), V(throttled), V(region_missing), V(aws_error).
  returned: failure
  type: str
  sample: family_change
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.images.choice import KEEP, Wish
from ansible_collections.evergreen.eks.plugins.module_utils.images.families import ARCHITECTURES, FAMILIES, VARIANTS
from ansible_collections.evergreen.eks.plugins.module_utils.images.work import ensure_image
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    end_with,
    failures_reported,
    waiting_argument_spec,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec=aws_argument_spec(
            **waiting_argument_spec(
                asg_name={"type": "str", "required": True},
                image={"type": "str", "default": KEEP},
                version={"type": "str"},
                cluster_name={"type": "str"},
                family={"type": "str", "choices": list(FAMILIES)},
                variant={"type": "str", "choices": list(VARIANTS)},
                architecture={"type": "str", "choices": list(ARCHITECTURES)},
            )
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        asked = {name: module.params[name] or "" for name in ("version", "family", "variant", "architecture")}
        wish = Wish(image=module.params["image"] or KEEP, **asked)
        cluster = module.params["cluster_name"] or ""
        outcome = ensure_image(Aws(module.params, call), call, module.params["asg_name"], wish, cluster=cluster)
        end_with(module, outcome.as_result())


if __name__ == "__main__":
    main()
