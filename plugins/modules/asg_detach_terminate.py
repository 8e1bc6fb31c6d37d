#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: asg_detach_terminate
short_description: Take named instances out of their Auto Scaling group and end them
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Removes exactly the named instances from their Auto Scaling group, and terminates, stops or just detaches them. The
    group never chooses.
  - It may be repeated at any time. An instance that is gone already is a success, one that is on its way out is waited
    for, and one that an interrupted call has detached is finished.
  - Unless O(verify_drained=false), the pods of each instance's node are listed right before it is removed. Anything
    but pods of DaemonSets, static pods, finished pods and those that have opted out (C(evergreen.eks/drain=skip))
    refuses that instance, unless the node is dead (O(dead_node_timeout)). An instance that runs without a node of its
    provider ID is refused as well.
  - Calls that lower the desired capacity are sent once. After a failed or lost answer the membership is read again
    before another attempt, so that an instance is never counted twice.
options:
  asg_name:
    description: Name of the Auto Scaling group.
    type: str
    required: true
  instance_ids:
    description: The instances to remove.
    type: list
    elements: str
    required: true
  decrement:
    description:
      - Whether the desired capacity falls by one with each of them. Else the group launches replacements.
      - Below the group's minimum size it is refused before anything is changed.
    type: bool
    required: true
  final_state:
    description: What becomes of the instances.
    type: str
    choices: [terminated, stopped, detached]
    default: terminated
  method:
    description:
      - V(terminate_in_group), the group terminates the instance, which honours its lifecycle hooks and the
        deregistration delay of its load balancers. Only for O(final_state=terminated).
      - V(detach), the instance is detached, and then stopped or terminated by EC2. Termination hooks do not run. It is
        tagged C(evergreen.eks/leaving) (run, final state and group) before. The tag is taken off once it is where it
        was to go, and where it stays a member after all.
      - V(auto) is V(terminate_in_group) for O(final_state=terminated), else V(detach).
    type: str
    choices: [auto, detach, terminate_in_group]
    default: auto
  verify_drained:
    description: Whether to prove, right before each removal, that no pod is lost with the instance.
    type: bool
    default: true
  allow_unjoined:
    description:
      - Whether an instance that is no node of the cluster counts as one without pods. Only for instances that are known
        never to have joined it.
      - One that has joined in the meantime is a node, and is removed only when it is empty.
    type: bool
    default: false
  dead_node_timeout:
    description:
      - Seconds for which a node must have been dead before its pods do not keep its instance any more.
      - That is, for which its kubelet has been silent (Ready is C(Unknown)), whatever is on it; or, on a node whose
        kubelet says that it is not Ready, for which a pod has outlived its grace after it was asked to stop.
      - The same rule and time by which M(evergreen.eks.node_drain) gives such pods up.
    type: float
    default: 60
  min_ready:
    description:
      - How many members of the group must be C(InService), Ready, schedulable and initialised after each removal; where
        they are not, it waits.
      - An instance whose node is cordoned or not Ready takes none away; but also it is not removed while there are
        fewer.
    type: int
  run_id:
    description: Who removes the instances; while they leave, it stands in the tag C(evergreen.eks/leaving).
    type: str
  wait:
    description:
      - Whether to wait until all of them are out of the group and O(final_state) is reached. For C(terminated) it is
        enough that EC2 says C(shutting-down), from which no instance comes back.
      - With V(false) it ends as soon as AWS has accepted all of it. What has to be stopped or terminated after its
        detachment is still waited for until then.
    type: bool
    default: true
  timeout:
    description: Seconds for the whole call; V(0) means for ever.
    type: float
    default: 1800.0
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.progress
  - evergreen.eks._attributes.actiongroup_aws_k8s
  - evergreen.eks._aws
  - evergreen.eks._kubernetes
  - evergreen.eks._waiting
attributes:
  check_mode:
    support: full
    details:
      - In check mode refusals of single instances are answered as such and warned of, but are no failure, because the
        tasks before may just not have drained anything.
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - "Needs the IAM actions C(autoscaling:DescribeAutoScalingGroups), C(ec2:DescribeInstances), and by method
    C(autoscaling:TerminateInstanceInAutoScalingGroup), or C(autoscaling:DetachInstances), C(ec2:CreateTags),
    C(ec2:DeleteTags) and C(ec2:StopInstances) or C(ec2:TerminateInstances); and C(eks:DescribeCluster) with
    O(cluster_name)."
  - "Needs the Kubernetes verb C(list) on C(nodes) and, unless O(verify_drained=false), on C(pods). Without both
    O(verify_drained) and O(min_ready) Kubernetes is not asked at all."
  - Scale-in protection does not keep an instance from being removed by name.
  - A wait costs one request for the group and one for each 100 instances a look.
seealso:
  - module: evergreen.eks.node_drain
  - module: evergreen.eks.asg_capacity
"""

EXAMPLES = r"""
- name: Terminate two drained instances that have been replaced already
  evergreen.eks.asg_detach_terminate:
    cluster_name: production
    asg_name: shared
    instance_ids: [i-0123456789abcdef0, i-0fedcba9876543210]
    decrement: true

- name: Take one out of the group for an inspection, and let the group replace it
  evergreen.eks.asg_detach_terminate:
    cluster_name: production
    asg_name: shared
    instance_ids: [i-0123456789abcdef0]
    decrement: false
    final_state: stopped

- name: Remove an instance that never joined the cluster
  evergreen.eks.asg_detach_terminate:
    asg_name: shared
    instance_ids: [i-0a1b2c3d4e5f60718]
    decrement: true
    verify_drained: false
"""

RETURN = r"""
instances:
  description: What became of each instance, by its ID.
  returned: success, and when the module failed after its first look
  type: dict
  contains:
    result:
      description:
        - V(terminated), V(stopped) or V(detached), it is so now; in check mode, it would be.
        - V(already_gone), EC2 had ended it before this call.
        - V(leaving), it is on its way out.
        - V(refused), it was left as it was. V(failed), AWS did not do it, or it was not attempted.
      type: str
    reason:
      description:
        - V(removed), by this call. V(gone), before this call. V(planned), in check mode.
        - V(terminating) or V(detaching), by whoever began it. V(accepted), with O(wait=false).
        - V(not_drained), pods still run there. V(node_unknown), nobody knows what runs there.
        - V(not_a_member), it runs, but neither in this group nor detached by us.
        - V(not_in_service), its lifecycle state cannot be detached. V(warm_pool), it is an instance of the warm pool.
        - V(floor), too few Ready members would have remained. V(not_attempted), another error came first.
        - V(timeout) and the reasons of the connections, like V(throttled).
      type: str
    message:
      description: The same in words.
      type: str
    node:
      description: Name of its node, empty where it has none or none was asked for.
      type: str
changed_instances:
  description: The instances that this call changed, or in check mode would change.
  returned: success, and when the module failed after its first look
  type: list
  elements: str
reason:
  description:
    - Why the module failed, as one word; that of most of its instances where some were refused or failed.
    - V(below_min_size), the decrements would lower the group below its minimum; nothing was changed.
    - V(timeout), some are still on their way.
    - V(invalid_input), V(group_not_found), and those of the connections.
  returned: failure
  type: str
  sample: not_drained
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.departure import asks_kubernetes
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.removal import remove
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    end_with,
    failures_reported,
    waiting_argument_spec,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec=kubernetes_argument_spec(
            **waiting_argument_spec(
                asg_name={"type": "str", "required": True},
                instance_ids={"type": "list", "elements": "str", "required": True},
                decrement={"type": "bool", "required": True},
                final_state={"type": "str", "choices": ["terminated", "stopped", "detached"], "default": "terminated"},
                method={"type": "str", "choices": ["auto", "detach", "terminate_in_group"], "default": "auto"},
                verify_drained={"type": "bool", "default": True},
                dead_node_timeout={"type": "float", "default": 60},
                allow_unjoined={"type": "bool", "default": False},
                min_ready={"type": "int"},
                run_id={"type": "str"},
                wait={"type": "bool", "default": True},
                timeout={"type": "float", "default": 1800.0},
            )
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        aws = Aws(module.params, call)
        client = KubernetesClient.connect(module.params, aws, call) if asks_kubernetes(module.params) else None
        end_with(module, remove(module.params, aws, client, call))


if __name__ == "__main__":
    main()
