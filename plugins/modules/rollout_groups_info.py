#!/usr/bin/python
# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_groups_info
short_description: Read what the variables of a rollout playbook ask for
version_added: 1.0.0
author: Contributors to the evergreen.eks project (@evergreen)
description:
  - Checks and types all C(eks_*) variables of a playbook at once, and answers with its node groups, in order, each
    with the typed variables of the role P(evergreen.eks.rollout#role).
  - Extra variables and AWX surveys deliver text. A number, a boolean or a duration may come as text, a list as V(a,b)
    or as JSON, a dict as JSON, and an empty text means that nothing was given.
  - An unknown variable, an unknown key of a group, a value out of bounds and a group that does not exist are errors
    that name the variable and what it may be. Nothing has been changed then.
options:
  variables:
    description:
      - The variables C(eks_*) as they were given.
      - C(eks_cluster_name) and C(eks_node_groups) are required. The latter is a list of names of Auto Scaling groups,
        or of dicts with C(name) and settings of that group, or the word V(all).
      - With V(all), the groups tagged C(kubernetes.io/cluster/<cluster>) are taken, by name. Groups without instances
        are left out and reported in RV(left_out).
      - By default these are all variables of the playbook whose names begin with C(eks_), but the connection options
        C(eks_aws) and C(eks_kubernetes), which belong into C(module_defaults).
    type: dict
  needs:
    description:
      - The variables that this playbook cannot do without, beside C(eks_cluster_name) and C(eks_node_groups).
    type: list
    elements: str
    default: []
    choices: [version]
  working_directory:
    description:
      - The folder from which a relative C(eks_state_dir) is meant.
      - By default the folder in which the playbook was started.
    type: path
  forks:
    description:
      - How many hosts Ansible works on at a time. More parallel groups are refused, for Ansible would silently work on
        fewer.
      - By default what the playbook was started with.
    type: int
  awx_job_id:
    description:
      - The number of the AWX job. With it a checkpoint needs C(eks_state_dir), for other files end with the job.
      - By default the variable C(awx_job_id) or C(tower_job_id).
    type: str
extends_documentation_fragment:
  - evergreen.eks._aws
  - evergreen.eks._attributes
  - evergreen.eks._attributes.info_module
  - evergreen.eks._attributes.actiongroup_aws
notes:
  - "IAM actions: C(autoscaling:DescribeAutoScalingGroups)."
"""

EXAMPLES = r"""
- name: Read what the variables of this playbook ask for
  evergreen.eks.rollout_groups_info:
  register: rollout_groups

- name: The same with variables of a larger playbook
  evergreen.eks.rollout_groups_info:
    variables:
      eks_cluster_name: production
      eks_max_surge: 50%
      eks_node_groups:
        - istio
        - name: shared
          max_surge: 2
          drain_timeout: 30m
  register: rollout_groups
"""

RETURN = r"""
groups:
  description: The node groups, in the order in which they are to be replaced.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the Auto Scaling group.
      type: str
      sample: shared
    host:
      description: A name for the group's host in the inventory, unlike RV(groups[].name) fit for C(add_host).
      type: str
      sample: shared
    variables:
      description:
        - All variables of the roles P(evergreen.eks.rollout#role) and P(evergreen.eks.node_image#role) for this group,
          typed.
      type: dict
      sample: {"rollout_asg_name": "shared", "rollout_max_surge": 2, "rollout_drain_timeout": 1800}
clusters:
  description: The cluster, of which there is always one, with what it takes to upgrade it around these groups.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the EKS cluster.
      type: str
      sample: production
    host:
      description: A name for the cluster's host in the inventory.
      type: str
      sample: production@eu-central-1
    variables:
      description:
        - All variables of the roles P(evergreen.eks.upgrade#role), P(evergreen.eks.control_plane#role),
          P(evergreen.eks.addons#role), P(evergreen.eks.fargate#role) and P(evergreen.eks.verify#role), typed, but those
          that change from part to part of an upgrade.
      type: dict
      sample: {"upgrade_version": "1.33", "addons_addons": "all"}
left_out:
  description: Groups of the cluster without instances, left out of V(all).
  returned: success
  type: list
  elements: str
parallel_groups:
  description: How many groups are worked on at a time.
  returned: success
  type: int
strategy:
  description: The C(strategy) of a play with one host a group, V(linear) for one at a time, otherwise V(host_pinned).
  returned: success
  type: str
serial:
  description:
    - The C(serial) of a play with one host a group, with which it works on RV(parallel_groups) at a time.
    - V(0), all hosts in one batch, when Ansible has exactly as many forks. Then the next group begins as soon as one
      has ended. Otherwise the next batch begins when all groups of a batch have ended.
  returned: success
  type: int
cluster_name:
  description: The name of the EKS cluster.
  returned: success
  type: str
region:
  description: The AWS region in which the groups were found.
  returned: success
  type: str
summary:
  description: What is going to happen, in lines for a person.
  returned: success
  type: list
  elements: str
  sample:
    - "1 node group of cluster production in eu-central-1, 1 at a time:"
    - "  shared: 6 instances, surge 2, unavailable 0"
reason:
  description: Why the module failed, a word to test for.
  returned: failure
  type: str
  sample: invalid_input
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import Group, GroupNotFound, describe_groups
from ansible_collections.evergreen.eks.plugins.module_utils.settings import (
    Request,
    Surroundings,
    cluster_host_name,
    host_name,
    read_request,
    some,
)
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, failures_reported

MANAGED_TAG = "eks:nodegroup-name"


def main() -> None:
    spec = aws_argument_spec(
        variables={"type": "dict"},
        needs={"type": "list", "elements": "str", "choices": ["version"], "default": []},
        working_directory={"type": "path"},
        forks={"type": "int"},
        awx_job_id={"type": "str"},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    with failures_reported(module):
        params = module.params
        surroundings = Surroundings(
            params["working_directory"] or os.getcwd(), params["forks"] or 0, params["awx_job_id"] or ""
        )
        request = read_request(params["variables"] or {}, surroundings, params["needs"])
        aws = Aws(params, Call.of(module))
        groups = cluster_groups(aws, request) if request.every_group else named_groups(aws, request)
        module.exit_json(changed=False, region=aws.region, **answer(request, groups, aws.region))


def named_groups(aws: Aws, request: Request) -> list[Group]:
    """The groups that were named, in that order. Raises GroupNotFound: all missing names, and the cluster's groups."""
    try:
        return describe_groups(aws, names=list(request.own))
    except GroupNotFound as error:
        of_cluster = [group.name for group in describe_groups(aws, cluster=request.cluster_name)]
        if not of_cluster:
            raise
        raise GroupNotFound(
            error.message,
            remedy=f"The groups of cluster {request.cluster_name} are {some(of_cluster)}",
            **error.details,
        ) from None


def cluster_groups(aws: Aws, request: Request) -> list[Group]:
    """Every group of the cluster, by name; refuses those that this collection cannot roll, before any is touched."""
    groups = describe_groups(aws, cluster=request.cluster_name)
    if not groups:
        raise GroupNotFound(
            f"No Auto Scaling group in {aws.region} is tagged kubernetes.io/cluster/{request.cluster_name}",
            remedy="Check eks_cluster_name, the region and the account, or name the groups in eks_node_groups",
        )
    managed = [group.name for group in groups if MANAGED_TAG in group.tags]
    if managed:
        raise InvalidInput(
            f"{some(managed)} belong to EKS managed node groups, which are not supported yet",
            remedy="Name the other groups in eks_node_groups",
        )
    return groups


def answer(request: Request, groups: list[Group], region: str) -> dict[str, Any]:
    """What the module returns for these groups. Groups without instances are left out unless they were named."""
    left_out = [group for group in groups if request.every_group and not group.members and not group.desired_capacity]
    taken = [group for group in groups if group not in left_out]
    records = [
        {
            "name": group.name,
            "host": host_name(group.name),
            "variables": {**request.role_variables(group.name), **request.upgrade_variables(group.name)},
        }
        for group in taken
    ]
    cluster = {
        "name": request.cluster_name,
        "host": cluster_host_name(request.cluster_name, region),
        "variables": request.cluster_variables([group.name for group in taken]),
    }
    count = f"{len(taken)} node group{'' if len(taken) == 1 else 's'}"
    headline = f"{count} of cluster {request.cluster_name} in {region}, {request.parallel_groups} at a time:"
    return {
        "groups": records,
        "clusters": [cluster],
        "left_out": [group.name for group in left_out],
        "parallel_groups": request.parallel_groups,
        "strategy": request.strategy,
        "serial": request.serial,
        "cluster_name": request.cluster_name,
        "summary": [
            headline,
            *(group_line(group, record["variables"]) for group, record in zip(taken, records)),
            *(f"  {group.name}: left out, it has no instances" for group in left_out),
        ],
    }


def group_line(group: Group, variables: dict[str, Any]) -> str:
    """One group in one line: its size, and how many may be added and missing."""
    surge, unavailable = variables["rollout_max_surge"], variables["rollout_max_unavailable"]
    instances = f"{group.desired_capacity} instance{'' if group.desired_capacity == 1 else 's'}"
    return f"  {group.name}: {instances}, surge {surge}, unavailable {unavailable}"


if __name__ == "__main__":
    main()
