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
  - Changes nothing; the only thing that it writes is O(plan_file).
options:
  purpose:
    description: Whether the plan is that of a rollout, or that of giving an unfinished one up.
    type: str
    choices: [rollout, restore]
    default: rollout
  rehearse:
    description:
      - Options of M(evergreen.eks.node_drain), such as C(evict_unmanaged). With them the API server is asked, by
        evictions that are dry runs, what a drain would meet (RV(plan.blocked)), and AWS whether the subnets have
        addresses enough for the extra instances (RV(plan.addresses)).
      - Empty asks neither.
    type: dict
    default: {}
  max_parallel:
    description:
      - How many nodes M(evergreen.eks.node_drain) will drain at a time, for the time that the rollout is expected to
        take. By default that of O(rehearse), or the default of that module.
    type: int
  plan_file:
    description:
      - A file of the controller that the plan is written to (JSON, mode 0600), for O(settings.plan_file) of the
        rollout. The folder must exist. One file holds the plans of all node groups of a cluster; this group's is
        replaced.
      - The plan that is written follows no other, so O(settings.plan_file) is not looked at. In check mode nothing is
        written.
    type: path
notes:
  - Needs the IAM actions C(autoscaling:DescribeAutoScalingGroups), C(autoscaling:DescribeInstanceRefreshes),
    C(autoscaling:DescribeScalingActivities), C(autoscaling:DescribeLaunchConfigurations), C(ec2:DescribeInstances),
    C(ec2:DescribeLaunchTemplateVersions), C(ec2:DescribeLaunchTemplates), C(ssm:GetParameters) for images behind
    C(resolve:ssm:), and C(eks:DescribeCluster). With O(rehearse) also C(ec2:DescribeSubnets); without it free addresses
    are unknown.
  - Needs the RBAC verbs C(list) on nodes and C(get) on the namespace C(kube-system). With C(list) on pods and on
    poddisruptionbudgets.policy it also foretells which budgets can never be met. With O(rehearse) also those of
    M(evergreen.eks.node_drain), where C(create) on pods/eviction is needed for dry runs only and is done without
    where it is missing, and C(list) on daemonsets.apps in the namespace C(kube-system) for the settings of the VPC CNI.
  - Fails with RV(ignore:reason) V(managed), V(weighted), V(warm_pool), V(suspended), V(empty), V(deleting),
    V(refreshing), V(wrong_cluster), V(target_changed), V(checkpoint_corrupt), V(checkpoint_newer),
    V(checkpoint_foreign), V(checkpoint_unreadable), V(marks_corrupt), V(plan_drift), V(plan_missing),
    V(plan_unreadable), V(plan_foreign), V(plan_unwritable) or V(invalid_input), besides those of the connection.
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

- name: What would block, and a file for who has to approve it
  evergreen.eks.rollout_plan_info:
    cluster_name: prod
    asg_name: prod-shared
    rehearse:
      delete_emptydir_data: true
    plan_file: /srv/changes/4711.json
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
        - C(launched) is when it was launched (UTC), C(age_seconds) how long ago that is, C(came_from) what it was
          launched from (C(launch_template_id), C(launch_version), C(launch_configuration), C(image_id),
          C(instance_type)), and C(why) says in a few words why it goes.
        - C(expected_wave) is the wave in which it is expected to leave, where everything goes as expected. C(moves)
          names the pods that leave it, and is empty (null) without O(rehearse).
      type: list
      elements: dict
    launches:
      description:
        - What new instances are launched from, C(launch_template_id), C(launch_version), C(launch_configuration),
          C(image_id) and C(instance_types).
      type: dict
    fingerprint:
      description: The same as a fingerprint, by which a rollout that follows this plan knows it again.
      type: str
    settings:
      description: C(select), C(max_surge), C(max_unavailable) and C(canary), as they were asked for.
      type: dict
    made:
      description: When the plan was made, by the clock of the API server, UTC.
      type: str
      sample: "2026-11-21T01:02:03Z"
    remaining:
      description: The ids of those that are not finished.
      type: list
      elements: str
    waves:
      description:
        - The waves, each with C(number), C(size), C(instances) (once settled) and C(finished).
        - On paper, where everything goes as expected, C(expected) names who leaves in it, C(desired_capacity),
          C(max_size) and C(extra) are the sizes while it lasts, C(floor) is how many Ready, schedulable members remain,
          C(launches) how many instances are launched before anybody is cordoned, C(successors) how many after the old
          ones have left, C(desired_after) the desired capacity then, and C(seconds) how long it takes.
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
    max_size_after:
      description: The maximum size in the end.
      type: int
    surplus:
      description: How many instances of the run's own are expected to be too many in the end, and removed by name.
      type: int
    skips:
      description: What a run that goes on has behind it, C(waves) by number and C(instance_ids).
      type: dict
    expected_seconds:
      description: How long the rollout is expected to take.
      type: int
    pace:
      description:
        - What that is estimated from. C(ready_seconds) from a launch until its node is Ready, C(drain_seconds) for the
          drain of a node, C(terminate_seconds) for the end of an instance, C(between_seconds) for gates and all else
          between two waves.
        - C(source) is V(history) where C(runs) former runs of this node group are known by their checkpoint, and
          V(assumed) else. C(text) says it in words.
      type: dict
    rehearsed:
      description: Whether it was asked what a drain would meet.
      type: bool
    blocked:
      description:
        - Pods that could not be evicted right now, as C(nodes[].blocked) of M(evergreen.eks.node_drain), with
          C(cause) and C(remedy).
        - Every pod is asked for alone, so a budget that lets one go may be named by none.
      type: list
      elements: dict
    addresses:
      description:
        - An estimate of the IP addresses that the extra instances take, where they were asked for.
        - C(per_node) by C(assumption), C(subnets) of the group, and C(zones), each with C(zone), C(extra_instances)
          (the most at a time), C(addresses_needed), C(addresses_free) in the subnets of the group, and C(enough). The
          last two are empty (null) where subnets cannot be seen. C(enough) is the same for all zones.
      returned: with O(rehearse), when there are instances to replace
      type: dict
    table:
      description: The plan as lines of at most 100 characters, which are shown when the module is run by Ansible.
      type: list
      elements: str
    orphans:
      description:
        - Instances that an interrupted call of M(evergreen.eks.asg_detach_terminate) has detached from this group and
          not ended, by C(final_state), each with C(instance_ids).
      type: list
      elements: dict
    notes:
      description:
        - What an operator should know about this plan.
        - Without O(rehearse) and O(plan_file), and outside check mode, a mistake in the look ahead is only noted here,
          and what is on paper is missing.
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

from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.foresight import with_impossible_budgets
from ansible_collections.evergreen.eks.plugins.module_utils.gather import gather
from ansible_collections.evergreen.eks.plugins.module_utils.going_back import gather_abandoned, way_back
from ansible_collections.evergreen.eks.plugins.module_utils.plan_file import check_place, write_plan
from ansible_collections.evergreen.eks.plugins.module_utils.plan_outlook import drain_options, outlook
from ansible_collections.evergreen.eks.plugins.module_utils.rollout import Rollout
from ansible_collections.evergreen.eks.plugins.module_utils.rollout_options import rollout_argument_spec, rollout_of
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, failures_reported


def main() -> None:
    module = AnsibleModule(
        argument_spec=rollout_argument_spec(
            purpose={"type": "str", "choices": ["rollout", "restore"], "default": "rollout"},
            rehearse={"type": "dict", "default": {}},
            max_parallel={"type": "int"},
            plan_file={"type": "path"},
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        drain, path = drain_options(module.params["rehearse"]), module.params["plan_file"]
        if path:
            check_place(Path(path))
        rollout = rollout_of(module.params, Call.of(module))
        going_back = module.params["purpose"] == "restore"
        plan = plan_back(rollout) if going_back else plan_ahead(rollout, drain, module.params["max_parallel"], path)
        module.exit_json(changed=False, plan=plan)


def plan_back(rollout: Rollout) -> dict[str, Any]:
    """What would be put back."""
    plan = way_back(rollout, gather_abandoned(rollout))
    return with_impossible_budgets(plan, rollout.client) if plan.get("remaining") else plan


def plan_ahead(
    rollout: Rollout, drain: Optional[Mapping[str, Any]], max_parallel: Optional[int], path: Optional[str]
) -> dict[str, Any]:
    """What a rollout would do; written to the file, where one is named."""
    if path:
        rollout = replace(rollout, settings=replace(rollout.settings, plan_file=""))
    gathered = gather(rollout)
    plan = outlook(rollout, gathered, drain, max_parallel, needed=bool(drain or path or rollout.call.check_mode))
    if path and not rollout.call.check_mode:
        write_plan(Path(path), gathered.checkpoint.cluster, plan["asg_name"], plan)
        plan["summary"].append(f"{plan['asg_name']}: the plan is written to {path}")
    return plan


if __name__ == "__main__":
    main()
