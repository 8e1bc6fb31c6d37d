#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_state
short_description: Record the next stage of a rollout before it happens
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Enters a stage of the rollout of one node group. It looks at the group, its instances and its nodes, settles what
    the last stage really did, records what this stage is about to do, and answers what the modules that follow are
    to do.
  - The record stands in two places. Compact tags on the Auto Scaling group and its instances carry what must be put
    back, and are written first; the checkpoint file carries progress. A lost checkpoint is rebuilt from the tags.
  - It is what the role P(evergreen.eks.rollout#role) is made of; it does not touch nodes. Sizes it sets
    itself where they have to be announced first, and only if nobody else changed desired capacity meanwhile.
options:
  stage:
    description:
      - V(reserve) holds the group and records the way back.
      - V(bake) lets the canary stand for O(settings.canary_bake_seconds), where this is the wave after it.
      - V(scale_up) announces the sizes that the wave needs, sets them, and answers how many nodes are to be Ready then.
      - V(cordon) settles who is in the wave. V(detach) marks who leaves, with and without a decrement.
      - V(further_waves) plans the waves that are needed because nodes were carried.
      - V(surplus) makes one more wave of what is held although no old node is left. V(give_up) keeps the old nodes.
      - V(restore) answers how many nodes are to be Ready in the end. V(sizes_back) puts the sizes back and answers what
        else is to be put back. V(finished) proves that all is back, takes our tags off, and archives
        the checkpoint.
      - V(abandon) is the beginning of the way back from an unfinished run. It holds the cluster and selects nobody any
        more; V(surplus), V(restore) and V(finished) follow.
      - V(failed) records where the run stopped and fails with what is done, half done and untouched, and with the
        commands to go on and to go back.
      - V(hook_begun) and V(hook_ended) note in the journal that an operator's own tasks begin, and have ended.
      - V(hook_failed) fails with RV(ignore:reason) V(user_gate), in the words of an operator's own task that failed.
    type: str
    required: true
    choices:
      - reserve
      - bake
      - scale_up
      - cordon
      - detach
      - further_waves
      - surplus
      - give_up
      - abandon
      - restore
      - sizes_back
      - finished
      - failed
      - hook_begun
      - hook_ended
      - hook_failed
  wave:
    description: Number of the wave, for V(bake), V(scale_up), V(cordon) and V(detach).
    type: int
  carried:
    description: Those instances of the wave that were not drained in time and are left to the next wave, for V(detach).
    type: list
    elements: str
    default: []
  failed_stage:
    description: Where the run stopped, for V(failed); the task that failed, for V(hook_failed).
    type: str
    default: ''
  cause:
    description: Why the run stopped, for V(failed); what the task said, for V(hook_failed).
    type: str
    default: ''
  cause_reason:
    description: The same as one word, the RV(ignore:reason) of the task that failed, for V(failed).
    type: str
    default: ''
  hook:
    description: When the operator's own tasks run, for V(hook_begun), V(hook_ended) and V(hook_failed).
    type: str
    default: ''
  hook_files:
    description: The files that are run then, for the same.
    type: list
    elements: str
    default: []
  begun:
    description: Whether the run had come to hold the group, before which nothing is changed, for V(failed).
    type: bool
    default: true
  put_back:
    description: The RV(result) of the way back where the run has come to the end of that by itself, for V(failed).
    type: dict
    default: {}
  report:
    description:
      - The reports that are left at the end of the run, for V(finished) and V(failed). Without it none, as of a run
        that stops before it holds the group. One that cannot be written is a warning.
      - See M(evergreen.eks.rollout_report).
    type: dict
    suboptions:
      formats:
        description: The files to write.
        type: list
        elements: str
        choices: [html, markdown, json]
        default: [html, markdown, json]
      dir:
        description: The folder for them. By default that of the journal.
        type: path
  operator:
    description: Who runs this; found out by itself.
    type: str
  awx_job_id:
    description: The AWX job that runs this; found out by itself.
    type: str
  resume_command:
    description: The command that goes on with this run; found out by itself.
    type: str
  restore_command:
    description: The command that puts back what this run took; found out by itself.
    type: str
attributes:
  check_mode:
    support: none
    details:
      - A rollout in check mode ends after its plan. In check mode this module is skipped.
  diff_mode:
    support: none
  idempotent:
    support: full
notes:
  - Needs the IAM actions of M(evergreen.eks.rollout_plan_info), and C(autoscaling:CreateOrUpdateTags),
    C(autoscaling:DeleteTags), C(autoscaling:UpdateAutoScalingGroup), C(ec2:CreateTags) and C(ec2:DeleteTags).
  - With O(settings.lock) needs the RBAC verbs C(get), C(create) and C(update) on leases in the namespace
    C(kube-system).
  - Fails with RV(ignore:reason) V(locked), V(lock_lost), V(lock_unwritable), V(stopped), V(unfinished),
    V(canary_failed), V(user_gate), V(checkpoint_conflict) or V(checkpoint_unwritable), besides those of
    M(evergreen.eks.rollout_plan_info).
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.progress
  - evergreen.eks._attributes.actiongroup_aws_k8s
  - evergreen.eks._aws
  - evergreen.eks._kubernetes
  - evergreen.eks._rollout
  - evergreen.eks._state
  - evergreen.eks._waiting
seealso:
  - module: evergreen.eks.rollout_plan_info
  - module: evergreen.eks.rollout_stop
"""

EXAMPLES = r"""
- name: Hold the group and record the way back
  evergreen.eks.rollout_state:
    cluster_name: prod
    asg_name: prod-shared
    stage: reserve
  register: reserved

- name: The sizes that the first wave needs
  evergreen.eks.rollout_state:
    cluster_name: prod
    asg_name: prod-shared
    stage: scale_up
    wave: 1
  register: sizes
"""

RETURN = r"""
run_id:
  description: The run that holds the group.
  returned: stage=reserve or stage=abandon, when there is something to do
  type: str
plan:
  description: The plan, as M(evergreen.eks.rollout_plan_info) answers it.
  returned: stage=reserve or stage=abandon
  type: dict
lease:
  description: The file by which this playbook run knows that it holds the cluster; V("") without a lock.
  returned: stage=reserve or stage=abandon
  type: str
journal:
  description: The journal of this node group.
  returned: success
  type: str
checkpoint:
  description: Where the checkpoint of this node group is.
  returned: success
  type: str
max_size:
  description: The maximum size that was put back.
  returned: stage=sizes_back
  type: int
desired_capacity:
  description: The desired capacity of now.
  returned: stage=scale_up
  type: int
expected_desired:
  description: The desired capacity that C(min_ready) was computed from.
  returned: stage=scale_up or stage=restore
  type: int
finished:
  description: Nobody of this wave is left, it needs nothing.
  returned: stage=scale_up
  type: bool
min_ready:
  description: Ready, schedulable members to wait for.
  returned: stage=scale_up or stage=restore
  type: int
floor:
  description: Ready, schedulable members that must remain.
  returned: stage=scale_up, stage=cordon or stage=detach
  type: int
surplus:
  description: Whether this wave is of instances that the run launched and the group has too many.
  returned: stage=cordon
  type: bool
on_timeout:
  description: What is to become of a node of this wave that is not drained in time, V(fail), V(carry) or V(escalate).
  returned: stage=cordon
  type: str
ahead:
  description: The numbers of the waves to come.
  returned: stage=further_waves
  type: list
  elements: int
min_healthy:
  description: Healthy targets that must remain in each load balancer; none where all members may be missing.
  returned: stage=cordon
  type: int
processes:
  description: The processes to suspend, or at V(sizes_back) to resume.
  returned: stage=reserve or stage=sizes_back
  type: list
  elements: str
uncordon_instance_ids:
  description: Members that carry our cordon although they are to stay.
  returned: stage=reserve
  type: list
  elements: str
returning_instance_ids:
  description: Members that a run has taken out of load balancers and that are to stay, to be put back.
  returned: stage=reserve, stage=give_up, stage=abandon or stage=sizes_back
  type: list
  elements: str
old_instance_ids:
  description: The members of the beginning, and whoever else is to go. New nodes are all others.
  returned: stage=scale_up or stage=restore
  type: list
  elements: str
new_instance_ids:
  description: The instances launched by this run whose nodes do not carry our marks yet.
  returned: stage=cordon
  type: list
  elements: str
instance_ids:
  description: The instances that the stage is about.
  returned: stage=reserve, stage=cordon, stage=detach, stage=give_up or stage=abandon
  type: list
  elements: str
node_instance_ids:
  description: Those of the members whose nodes carry, or at V(reserve) are to carry, our marks.
  returned: stage=reserve or stage=sizes_back
  type: list
  elements: str
decrement_instance_ids:
  description: The nodes' instances that leave with a decrement of desired capacity, because we hold as many.
  returned: stage=detach
  type: list
  elements: str
replace_instance_ids:
  description: The nodes' instances that leave without, so that the group launches their successors.
  returned: stage=detach
  type: list
  elements: str
unjoined_decrement_instance_ids:
  description: Those launched since the run began that never became nodes and leave with a decrement.
  returned: stage=detach
  type: list
  elements: str
unjoined_replace_instance_ids:
  description: Those launched since the run began that never became nodes and leave without.
  returned: stage=detach
  type: list
  elements: str
unprotect_instance_ids:
  description: The instances whose scale-in protection is ours and can be taken off.
  returned: stage=sizes_back
  type: list
  elements: str
protects_new:
  description: Whether the group is to protect new instances from scale-in.
  returned: stage=sizes_back
  type: bool
number:
  description: The number of the surplus wave, V(0) where there is none.
  returned: stage=surplus
  type: int
wave:
  description: The wave, with C(number), C(of) and C(instance_ids).
  returned: stage=scale_up, stage=cordon or stage=detach
  type: dict
done:
  description: The selected instances that are replaced.
  returned: stage=failed
  type: list
  elements: str
half_done:
  description: Those that were begun with.
  returned: stage=failed
  type: list
  elements: str
untouched:
  description: Those that were not touched.
  returned: stage=failed
  type: list
  elements: str
forced:
  description:
    - The pods that the run has forced by its escalation, each with C(time), C(node), C(pod), C(uid), C(action),
      C(after) and C(budgets) as in M(evergreen.eks.node_drain). Those of a run that ended well are in RV(result).
  returned: stage=failed
  type: list
  elements: dict
reports:
  description: The path of each report that was written, by its format; of a run that ended well see RV(result).
  returned: stage=failed
  type: dict
again:
  description: Somebody has brought something about meanwhile that can be put right at once, from V(surplus) on.
  returned: stage=finished
  type: bool
open:
  description: What is still open, in words.
  returned: stage=finished, where something is
  type: list
  elements: str
resume_command:
  description: The command that goes on.
  returned: stage=failed
  type: str
restore_command:
  description: The command that goes back, V("") where there is nothing to go back from.
  returned: stage=failed
  type: str
result:
  description: What the run did; C(rollout_result) of the role.
  returned: stage=finished, unless RV(again)
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.report.files import WISH_OPTIONS
from ansible_collections.evergreen.eks.plugins.module_utils.rollout_options import rollout_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.run_stage import enter
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, failures_reported

STAGES = [
    *("reserve", "bake", "scale_up", "cordon", "detach", "further_waves", "surplus"),
    *("give_up", "abandon", "restore", "sizes_back", "finished", "failed", "hook_begun", "hook_ended"),
    "hook_failed",
]


def main() -> None:
    module = AnsibleModule(
        argument_spec=rollout_argument_spec(
            stage={"type": "str", "required": True, "choices": STAGES},
            wave={"type": "int"},
            carried={"type": "list", "elements": "str", "default": []},
            failed_stage={"type": "str", "default": ""},
            cause={"type": "str", "default": ""},
            cause_reason={"type": "str", "default": ""},
            hook={"type": "str", "default": ""},
            hook_files={"type": "list", "elements": "str", "default": []},
            begun={"type": "bool", "default": True},
            put_back={"type": "dict", "default": {}},
            report={"type": "dict", "options": WISH_OPTIONS},
            operator={"type": "str"},
            awx_job_id={"type": "str"},
            resume_command={"type": "str"},
            restore_command={"type": "str"},
        ),
        required_if=[("stage", stage, ["wave"]) for stage in ("bake", "scale_up", "cordon", "detach")],
        supports_check_mode=False,
    )
    with failures_reported(module):
        answer = enter(module.params, Call.of(module))
        module.exit_json(**answer)


if __name__ == "__main__":
    main()
