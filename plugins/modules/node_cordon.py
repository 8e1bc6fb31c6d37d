#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_cordon
short_description: Cordon Kubernetes nodes, mark them, and take off again what is ours
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Cordons nodes, puts taints, labels and annotations on them, and takes off again exactly what it has put on.
  - What it did to a node is recorded on the node itself, in the annotation C(evergreen.eks/marks), in the same request
    as the change. What was there before, or what somebody else changed since, is not touched by V(uncordoned).
    A node that somebody else cordoned stays cordoned.
  - There it also stands since when the node is cordoned, so that M(evergreen.eks.node_drain) waits for pods no longer
    than it is asked to, however often it is run.
  - With O(asg_name) and O(min_ready) it cordons only as long as enough Ready, schedulable members of the group remain.
    The group and its nodes are read again before each cordon, or, where many members are to spare, once half of
    them are cordoned; where the floor is reached it waits.
options:
  nodes:
    description: Names of the nodes. A name that does not exist fails before anything is changed, but not to release it.
    type: list
    elements: str
  instance_ids:
    description:
      - The EC2 instances whose nodes are meant (by C(spec.providerID)).
      - An instance without a node is answered with the reason V(no_node) and a warning; it may have gone by itself.
    type: list
    elements: str
  state:
    description:
      - V(cordoned), no new pods are scheduled there; and what the other options ask for.
      - V(marked), only what the other options ask for, without a cordon.
      - V(uncordoned), all that this collection has put on the nodes is taken off, whichever run put it on.
    type: str
    choices: [cordoned, marked, uncordoned]
    default: cordoned
  taints:
    description:
      - Taints to put on. Other taints of the node stay.
      - The effect C(NoExecute) is not offered, because it deletes pods without asking any PodDisruptionBudget.
    type: list
    elements: dict
    suboptions:
      key:
        description: Key of the taint.
        type: str
        required: true
      value:
        description: Value of the taint.
        type: str
        default: ''
      effect:
        description: Effect of the taint.
        type: str
        choices: [NoSchedule, PreferNoSchedule]
        default: NoSchedule
  labels:
    description: Labels to put on.
    type: dict
  annotations:
    description: Annotations to put on.
    type: dict
  exclude_from_load_balancers:
    description:
      - Whether to put on the label C(node.kubernetes.io/exclude-from-external-load-balancers), by which controllers
        take the node out of external load balancers.
      - V(false) leaves the label as it is.
    type: bool
    default: false
  scale_down_disabled:
    description:
      - Whether to put on the annotation C(cluster-autoscaler.kubernetes.io/scale-down-disabled), by which the cluster
        autoscaler leaves the node alone.
      - V(false) leaves the annotation as it is.
    type: bool
    default: false
  run_id:
    description: Who marks the nodes; it is recorded with the marks. Marks of an earlier run are taken over.
    type: str
  asg_name:
    description: Name of the Auto Scaling group whose Ready members must not become fewer than O(min_ready).
    type: str
  min_ready:
    description:
      - How many members must be C(InService), Ready, schedulable and initialised right after each cordon.
      - A node that does not count anyway (not Ready, cordoned already) takes nothing away and comes first; but also it
        is not cordoned while there are fewer than O(min_ready).
    type: int
  timeout:
    description:
      - Seconds to wait until one more node may be cordoned; V(0) means for ever.
      - Only used with O(asg_name).
    type: float
    default: 900.0
  node_events:
    description:
      - Whether an Event C(EvergreenCordoned) on each Node that is cordoned tells others, in namespace C(default). That
        takes the verb create on events there; without it there is a warning.
    type: bool
    default: false
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
      - In check mode nothing is waited for. A node that would have to wait is answered with the reason V(floor).
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - "Needs the Kubernetes verbs C(list), C(get) and C(patch) on C(nodes), and C(create) on C(events) in namespace
    C(default) with O(node_events)."
  - "Needs the IAM actions C(autoscaling:DescribeAutoScalingGroups) with O(asg_name), and C(eks:DescribeCluster) with
    O(cluster_name)."
  - A change is bound to the node as it was read (C(resourceVersion)); where somebody else was faster it is decided
    again.
seealso:
  - module: evergreen.eks.node_drain
  - module: evergreen.eks.node_ready
"""

EXAMPLES = r"""
- name: Cordon the old nodes, and keep six others Ready
  evergreen.eks.node_cordon:
    cluster_name: production
    instance_ids: [i-0123456789abcdef0, i-0fedcba9876543210]
    asg_name: shared
    min_ready: 6
    exclude_from_load_balancers: true
    run_id: 20261121-4f2a

- name: Keep the cluster autoscaler from the new nodes
  evergreen.eks.node_cordon:
    cluster_name: production
    instance_ids: [i-0a1b2c3d4e5f60718]
    state: marked
    scale_down_disabled: true

- name: Take off all that is ours
  evergreen.eks.node_cordon:
    cluster_name: production
    nodes: [ip-10-0-1-17.eu-central-1.compute.internal]
    state: uncordoned
"""

RETURN = r"""
nodes:
  description: What became of each node, by its name; by its instance ID where an instance has no node.
  returned: success, and when the module failed after its first look
  type: dict
  contains:
    instance_id:
      description: The EC2 instance of the node.
      type: str
    changed:
      description: Whether this call changed the node.
      type: bool
    reason:
      description:
        - V(changed), or V(unchanged) where nothing was to be done.
        - V(foreign_cordon), somebody else cordoned it, so the cordon is not ours and stays.
        - V(kept), something that we had put on was changed by somebody else since, and stays.
        - V(no_node), no node belongs to the instance. V(gone), the node went away meanwhile.
        - V(floor), it was not cordoned, because too few Ready members would have remained.
      type: str
    before:
      description: Cordon and taints before, and those labels and annotations that are touched.
      type: dict
      contains:
        unschedulable:
          description: Whether the node is cordoned.
          type: bool
        taints:
          description: All its taints as C(key=value:effect).
          type: list
          elements: str
        labels:
          description: Labels that are touched.
          type: dict
        annotations:
          description: Annotations that are touched.
          type: dict
    after:
      description: The same afterwards; in check mode as it would be.
      type: dict
    kept:
      description: What was ours and stays, because somebody else has changed it since.
      type: list
      elements: str
missing:
  description: The members that do not count as Ready, with C(instance_id), C(node), C(reason) and C(message).
  returned: when the floor was not free in time
  type: list
  elements: dict
reason:
  description:
    - Why the module failed, as one word.
    - V(floor), too few Ready members would have remained until the time was over.
    - V(node_not_found), there is no node of that name; nothing was changed.
    - V(marks_unreadable), the annotation C(evergreen.eks/marks) is not one that this collection wrote.
    - V(kubernetes_conflict), somebody else writes to the node all the time.
    - V(invalid_input), V(group_not_found), and those of the connections, like V(kubernetes_forbidden).
  returned: failure
  type: str
  sample: floor
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.cordon import settle_nodes
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    end_with,
    failures_reported,
    waiting_argument_spec,
)

TAINT = {
    "key": {"type": "str", "required": True, "no_log": False},
    "value": {"type": "str", "default": ""},
    "effect": {"type": "str", "choices": ["NoSchedule", "PreferNoSchedule"], "default": "NoSchedule"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=kubernetes_argument_spec(
            **waiting_argument_spec(
                nodes={"type": "list", "elements": "str"},
                instance_ids={"type": "list", "elements": "str"},
                state={"type": "str", "choices": ["cordoned", "marked", "uncordoned"], "default": "cordoned"},
                taints={"type": "list", "elements": "dict", "options": TAINT},
                labels={"type": "dict"},
                annotations={"type": "dict"},
                exclude_from_load_balancers={"type": "bool", "default": False},
                scale_down_disabled={"type": "bool", "default": False},
                run_id={"type": "str"},
                asg_name={"type": "str"},
                min_ready={"type": "int"},
                timeout={"type": "float", "default": 900.0},
                node_events={"type": "bool", "default": False},
            )
        ),
        mutually_exclusive=[("nodes", "instance_ids")],
        required_one_of=[("nodes", "instance_ids")],
        required_together=[("asg_name", "min_ready")],
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        aws = Aws(module.params, call)
        client = KubernetesClient.connect(module.params, aws, call)
        end_with(module, settle_nodes(module.params, aws, client, call))


if __name__ == "__main__":
    main()
