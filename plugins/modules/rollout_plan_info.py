#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_plan_info
short_description: Say what a rollout of a node group would do
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Reads an Auto Scaling group, its instances, the nodes of the cluster and the checkpoint of an unfinished run,
    refuses a group that cannot be rolled, and answers who would be replaced, in which waves and at which sizes.
  - With O(purpose=restore) it answers instead what would be put back after a run that is not to be finished.
  - Changes nothing.
options:
  purpose:
    description: Whether the plan is that of a rollout, or that of giving an unfinished one up.
    type: str
    choices: [rollout, restore]
    default: rollout
notes:
  - Needs the IAM actions C(autoscaling:DescribeAutoScalingGroups), C(autoscaling:DescribeInstanceRefreshes),
    C(autoscaling:DescribeScalingActivities), C(autoscaling:DescribeLaunchConfigurations), C(ec2:DescribeInstances),
    C(ec2:DescribeLaunchTemplateVersions), C(ec2:DescribeLaunchTemplates), C(ssm:GetParameters) for images behind
    C(resolve:ssm:), and C(eks:DescribeCluster).
  - Needs the RBAC verbs C(list) on nodes and C(get) on the namespace C(kube-system). With C(list) on pods and on
    poddisruptionbudgets.policy it also foretells which budgets can never be met.
  - Fails with RV(ignore:reason) V(managed), V(weighted), V(warm_pool), V(suspended), V(empty), V(deleting),
    V(refreshing), V(wrong_cluster), V(target_changed), V(checkpoint_corrupt), V(checkpoint_newer),
    V(checkpoint_foreign), V(checkpoint_unreadable), V(marks_corrupt) or V(invalid_input), besides those of the
    connection.
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.info_module
  - evergreen.eks._attributes.actiongroup_aws_k8s
  - evergreen.eks._aws
  - evergreen.eks._kubernetes
  - evergreen.eks._rollout
  - evergreen.eks._state
  - evergreen.eks._waiting
seealso:
  - module: evergreen.eks.rollout_state
"""

EXAMPLES = r"""
- name: What would be replaced
  evergreen.eks.rollout_plan_info:
    cluster_name: prod
    asg_name: prod-shared
  register: rollout_plan

- name: What a rollout of everything older than a month, two at a time, would do
  evergreen.eks.rollout_plan_info:
    cluster_name: prod
    asg_name: prod-shared
    settings:
      select:
        older_than: 30d
      max_surge: 2
"""

RETURN = r"""
plan:
  description: The plan.
  returned: success
  type: dict
  contains:
    nothing_to_do:
      description: No instance is selected, no unfinished run has anything to put back, and nothing is to be swept up.
      type: bool
    resumed:
      description: An unfinished run exists and would go on.
      type: bool
    run_id:
      description: The unfinished run, V("") where there is none.
      type: str
    target:
      description: What the group launches now, in words.
      type: str
    sizes:
      description: C(min_size), C(max_size) and C(desired_capacity) of the group now.
      type: dict
    own_size:
      description: Desired capacity without the surplus that an unfinished run holds.
      type: int
    held:
      description: That surplus.
      type: int
    surge:
      description: Extra instances at a time.
      type: int
    unavailable:
      description: Instances that may be missing at a time.
      type: int
    max_size_needed:
      description: The maximum size that the rollout needs; it is raised to it and put back at the end.
      type: int
    selected:
      description:
        - The instances to be replaced, each with C(instance_id), C(node), C(zone), C(reason), C(wave) (V(0) until it is
          settled) and C(finished).
      type: list
      elements: dict
    remaining:
      description: The ids of those that are not finished.
      type: list
      elements: str
    waves:
      description: The waves, each with C(number), C(size), C(instances) (once settled) and C(finished).
      type: list
      elements: dict
    ahead:
      description: The numbers of the waves that are not finished.
      type: list
      elements: int
    outcome:
      description: V(nothing_to_do) or V(planned).
      type: str
    changed:
      description: V(false).
      type: bool
    in_hand:
      description: The numbers of the waves whose instances are settled and not all gone.
      type: list
      elements: int
    surplus_waves:
      description: The numbers of the waves of instances that the run launched and that are too many.
      type: list
      elements: int
    finished_last:
      description:
        - The wave that was finished last, with C(number), C(of) (the number of waves) and C(instance_ids), where no
          other was begun since.
        - An operator's own tasks after that wave may not have come to their end.
      type: list
      elements: dict
    impossible_budgets:
      description:
        - The budgets of the whole cluster that no drain will ever get past, each with C(class), C(budgets),
          C(owners), C(pods), C(nodes), C(cause) and C(remedy), as M(evergreen.eks.node_drain) explains who is blocked.
        - Empty also where they cannot be read, which RV(plan.summary) then says.
      returned: when there are instances to replace
      type: list
      elements: dict
    orphans:
      description:
        - Instances that an interrupted call of M(evergreen.eks.asg_detach_terminate) has detached from this group and
          not ended, by C(final_state), each with C(instance_ids).
      type: list
      elements: dict
    notes:
      description: What an operator should know about this plan.
      type: list
      elements: str
    returning_instance_ids:
      description: Instances that would be put back into load balancers.
      returned: purpose=restore
      type: list
      elements: str
    uncordon_instance_ids:
      description: Instances that would be uncordoned.
      returned: purpose=restore
      type: list
      elements: str
    remove_instance_ids:
      description: Instances launched by the run that would be drained and removed.
      returned: purpose=restore
      type: list
      elements: str
    desired_capacity:
      description: The desired capacity that would be put back.
      returned: purpose=restore
      type: int
    max_size:
      description: The maximum size that would be put back.
      returned: purpose=restore
      type: int
    processes:
      description: The processes that would be resumed.
      returned: purpose=restore
      type: list
      elements: str
    protects_new:
      description: Whether the group would protect new instances from scale-in.
      returned: purpose=restore
      type: bool
    unprotect_instance_ids:
      description: Instances that would lose our protection from scale-in.
      returned: purpose=restore
      type: list
      elements: str
    node_instance_ids:
      description: Instances whose nodes would lose our marks.
      returned: purpose=restore
      type: list
      elements: str
    summary:
      description: The plan in a few lines.
      type: list
      elements: str
  sample:
    asg_name: prod-shared
    nothing_to_do: false
    waves:
      - {number: 1, size: 1, instances: [], finished: false}
      - {number: 2, size: 2, instances: [], finished: false}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.foresight import with_impossible_budgets
from ansible_collections.evergreen.eks.plugins.module_utils.gather import as_plan, gather
from ansible_collections.evergreen.eks.plugins.module_utils.going_back import gather_abandoned, way_back
from ansible_collections.evergreen.eks.plugins.module_utils.rollout_options import rollout_argument_spec, rollout_of
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, failures_reported


def main() -> None:
    purposes = {"type": "str", "choices": ["rollout", "restore"], "default": "rollout"}
    module = AnsibleModule(argument_spec=rollout_argument_spec(purpose=purposes), supports_check_mode=True)
    with failures_reported(module):
        rollout = rollout_of(module.params, Call.of(module))
        going_back = module.params["purpose"] == "restore"
        plan = way_back(rollout, gather_abandoned(rollout)) if going_back else as_plan(gather(rollout))
        if plan.get("remaining"):
            plan = with_impossible_budgets(plan, rollout.client)
        module.exit_json(changed=False, plan=plan)


if __name__ == "__main__":
    main()
