#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade_state
short_description: Record how far the upgrade of a cluster has come
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Keeps the checkpoint of a cluster's upgrade, which the playbook C(evergreen.eks.upgrade) and the role
    P(evergreen.eks.upgrade#role) go by. Killed at any moment, the next run goes on where it stopped.
  - The checkpoint stands beside those of the node groups, in the same store, under a name that no Auto Scaling group
    can have.
  - It changes nothing in the cluster itself but the lock, a Lease in C(kube-system).
options:
  stage:
    description:
      - V(begin) takes the cluster in hand, for the first time or again, takes the lock, settles the course and records
        it. An unfinished upgrade to another version is an error.
      - V(part_begun) notes that a part begins and answers whether it is to be skipped, because it is finished and one
        read proves that it still is so. V(part_finished) notes its end.
      - V(bake) waits until the control plane has stood for O(settings.bake_seconds); the time of a killed run counts.
      - V(end) closes the checkpoint when all parts are done, and leaves it open otherwise.
      - V(failed) fails with where the run stopped, what is done and left, and the command to go on.
      - V(report) makes the report of the last upgrade anew, also of one that was killed or still runs.
      - V(stop) asks the upgrade that is under way to end after the part in hand.
    type: str
    required: true
    choices: [begin, part_begun, part_finished, bake, end, failed, stop, report]
  version:
    description: The Kubernetes version that the cluster is to have in the end, for V(begin).
    type: str
    default: ''
  node_groups:
    description:
      - The node groups of the upgrade, in order, for V(begin).
      - The oldest kubelet of a group decides how far the control plane may go before its nodes are replaced.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the Auto Scaling group.
        type: str
        required: true
      image:
        description: What it is to launch, V(keep), V(recommended) or the id of an image.
        type: str
        default: keep
  part:
    description: The part that is begun, finished, or failed.
    type: str
    choices: [control_plane, addons, bake, nodes, fargate, verify]
  part_version:
    description: The Kubernetes version of that part.
    type: str
    default: ''
  asg_name:
    description: The node group, for the part V(nodes).
    type: str
    default: ''
  result:
    description: What the part's role has answered, for V(part_finished). What of it is to be told is recorded.
    type: dict
    default: {}
  difference:
    description:
      - How the cluster differs from what it was before, as RV(evergreen.eks.cluster_snapshot#module:text), to stand in
        the report, for V(end).
    type: str
    default: ''
  cause:
    description: Why the run stopped, for V(failed).
    type: str
    default: ''
  cause_reason:
    description: The same as one word, the RV(ignore:reason) of the task that failed, for V(failed).
    type: str
    default: ''
  failed_task:
    description: The name of the task that failed, for V(failed).
    type: str
    default: ''
  state:
    description: Where the checkpoint is kept; the same as for the node groups.
    type: dict
    default: {}
    suboptions:
      store:
        description: The kind of store, see M(evergreen.eks.rollout_state).
        type: str
        choices: [file, configmap, s3]
        default: file
      dir:
        description:
          - Directory of the checkpoints, and with every store of the journal.
          - Without it C(${XDG_STATE_HOME:-~/.local/state}/evergreen.eks).
        type: path
      namespace:
        description: Namespace of the ConfigMaps.
        type: str
        default: kube-system
      bucket:
        description: The S3 bucket, needed with the store V(s3).
        type: str
      prefix:
        description: What the keys in the bucket begin with.
        type: str
        default: evergreen.eks
  settings:
    description: What the upgrade is asked for. Every part has the default of the role's variable of that name.
    type: dict
    default: {}
    suboptions:
      bake_seconds:
        description: Seconds for which a new control plane stands before the nodes follow.
        type: float
        default: 0
      ignore_checkpoint:
        description: Begin a new upgrade although one is unfinished, also one to another version.
        type: bool
        default: false
      lock:
        description: Hold the cluster with a Lease in C(kube-system) while the playbook runs.
        type: bool
        default: true
      lock_seconds:
        description: Seconds for which the Lease of a run that died without a trace still counts.
        type: float
        default: 60
      lock_wait:
        description: Seconds to wait for another run that holds the cluster, V(0) to wait for nobody.
        type: float
        default: 90
  report:
    description: The reports that are left at the end of the run, for V(end), V(failed) and V(report). Without it none.
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
attributes:
  check_mode:
    support: full
    details:
      - In check mode V(begin) answers the course, and nothing is recorded.
  diff_mode:
    support: none
  idempotent:
    support: full
notes:
  - "IAM actions: C(eks:DescribeCluster), C(eks:DescribeClusterVersions), C(eks:DescribeAddon) and
    C(autoscaling:DescribeAutoScalingGroups), and what proves a finished node group: C(ec2:DescribeInstances),
    C(ec2:DescribeLaunchTemplateVersions) and C(autoscaling:DescribeLaunchConfigurations)."
  - With O(settings.lock) needs the RBAC verbs C(get), C(create) and C(update) on leases in the namespace
    C(kube-system); always C(list) on nodes and C(get) on namespaces.
  - Fails with RV(ignore:reason) V(invalid_input), V(unknown_version), V(group_not_found), V(target_changed),
    V(not_yet), V(stopped), V(locked), V(lock_lost), V(lock_unwritable), V(cluster_not_found), V(checkpoint_conflict),
    V(checkpoint_corrupt), V(checkpoint_foreign), V(checkpoint_newer), V(checkpoint_unreadable),
    V(checkpoint_unwritable), V(report_unwritable) or V(unfinished), and V(failed) with that of O(cause_reason).
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.progress
  - evergreen.eks._attributes.actiongroup_aws_k8s
  - evergreen.eks._aws
  - evergreen.eks._kubernetes
  - evergreen.eks._waiting
seealso:
  - module: evergreen.eks.rollout_state
"""

EXAMPLES = r"""
- name: Take the cluster in hand
  evergreen.eks.upgrade_state:
    cluster_name: prod
    version: '1.33'
    node_groups:
      - name: istio
        image: recommended
    stage: begin
  register: begun

- name: The first step of the control plane begins
  evergreen.eks.upgrade_state:
    cluster_name: prod
    stage: part_begun
    part: control_plane
    part_version: '1.32'
    lease: "{{ begun.lease }}"
  register: part
"""

RETURN = r"""
run_id:
  description: The upgrade that has the cluster in hand. Runs that go on with it have the same.
  returned: stage=begin
  type: str
resumed:
  description: Whether an unfinished upgrade is gone on with.
  returned: stage=begin
  type: bool
started:
  description: When the upgrade was begun, UTC.
  returned: stage=begin
  type: str
version_before:
  description: The control plane's version when it was begun.
  returned: stage=begin
  type: str
  sample: '1.31'
legs:
  description:
    - The course. Each leg has C(version), the control plane's at its end, C(steps), the versions on the way, C(groups),
      the node groups that are replaced then, and C(fargate), whether pods on Fargate are restarted then.
  returned: stage=begin
  type: list
  elements: dict
  sample: [{"version": "1.33", "steps": ["1.32", "1.33"], "groups": ["istio"], "fargate": true}]
parts:
  description: The keys of all parts, in order.
  returned: stage=begin
  type: list
  elements: str
  sample: ["control_plane 1.32", "addons 1.32"]
lease:
  description: The file by which this playbook run knows that it holds the cluster; V("") without a lock.
  returned: stage=begin
  type: str
journal:
  description: The journal of the upgrade.
  returned: stage=begin
  type: str
backup_dir:
  description: The folder of the journal, for what is to be kept beside it.
  returned: stage=begin
  type: str
checkpoint:
  description: Where the checkpoint of the upgrade is.
  returned: stage=begin
  type: str
summary:
  description: What is going to happen, or what was asked, in lines for a person.
  returned: stage=begin, stage=stop or stage=report
  type: list
  elements: str
skip:
  description: Whether the part is done already.
  returned: stage=part_begun
  type: bool
finished_before:
  description: Whether the part was finished once in this upgrade, whatever has become of it.
  returned: stage=part_begun
  type: bool
settled:
  description: Whether a rollout of the node group is under way, so that what its new nodes are to be must stay.
  returned: stage=part_begun
  type: bool
part_began:
  description: When the part was begun for the first time in this upgrade, UTC.
  returned: stage=part_begun
  type: str
request:
  description: The request to stop that stands now, V("") without.
  returned: stage=stop
  type: str
result:
  description:
    - What the upgrade has done, C(upgrade_result) of the role, with C(outcome) (V(finished), or V(partial) where parts
      are left), C(version_before), C(version), C(seconds), C(parts), C(open), C(summary), C(checkpoint), C(journal),
      C(reports) and C(resume_command).
  returned: stage=end
  type: dict
done:
  description: The parts that are done, in words.
  returned: stage=failed
  type: list
  elements: str
open:
  description: The parts that are left, in words.
  returned: stage=failed
  type: list
  elements: str
resume_command:
  description: The command that goes on.
  returned: stage=failed
  type: str
reports:
  description: The path of each report that was written, by its format; of an upgrade that ended well see RV(result).
  returned: stage=failed or stage=report
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.upgrade_options import enter, upgrade_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, failures_reported


def main() -> None:
    module = AnsibleModule(
        argument_spec=upgrade_argument_spec(),
        required_if=[("stage", stage, ["part", "part_version"]) for stage in ("part_begun", "part_finished")],
        supports_check_mode=True,
    )
    with failures_reported(module):
        module.exit_json(**enter(module.params, Call.of(module)))


if __name__ == "__main__":
    main()
