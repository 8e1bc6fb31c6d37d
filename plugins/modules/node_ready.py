#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_ready
short_description: Wait until EC2 instances are Kubernetes nodes that take pods
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Waits until instances have become nodes that are Ready, initialised and schedulable, and stay so for some looks in
    a row.
  - Instances and nodes are tied by C(spec.providerID) only, never by a DNS name.
  - Ready is the node's condition C(Ready) with status C(True). C(Unknown) is not Ready.
  - Initialised is a node without the taints C(node.cloudprovider.kubernetes.io/uninitialized),
    C(node.kubernetes.io/not-ready), C(ebs.csi.aws.com/agent-not-ready), C(node.cilium.io/agent-not-ready) and those of
    O(startup_taints).
  - When the time is over it fails and says of each instance how far it came.
options:
  instance_ids:
    description:
      - The instances to wait for.
      - With O(asg_name) as well, they must also be C(InService) in that group.
      - When so many of them have ended that O(min_ready) cannot be reached any more, the module fails at once.
    type: list
    elements: str
  asg_name:
    description:
      - Name of an Auto Scaling group. Without O(instance_ids) its members are waited for; they are read again at each
        look, so that instances which the group launches or replaces meanwhile count.
    type: str
  exclude_instance_ids:
    description: Instances that do not count, for example those that are to leave next.
    type: list
    elements: str
  min_ready:
    description:
      - How many must be Ready.
      - Without it all of O(instance_ids); or all members of the group and no fewer than its desired capacity.
    type: int
  expected_desired:
    description:
      - The desired capacity of O(asg_name) from which O(min_ready) was computed. Where somebody lowers it meanwhile, as
        many fewer are enough.
    type: int
  looks:
    description: For how many looks in a row an instance must be Ready before it counts.
    type: int
    default: 2
  daemonsets:
    description: Whether the pods of all DaemonSets that belong on the node must be Ready there, too.
    type: bool
    default: false
  startup_taints:
    description: Further keys of taints that say that a node is not initialised yet.
    type: list
    elements: str
  timeout:
    description: Seconds to wait; V(0) means for ever.
    type: float
    default: 1200.0
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.info_module
  - evergreen.eks._attributes.progress
  - evergreen.eks._attributes.actiongroup_aws_k8s
  - evergreen.eks._aws
  - evergreen.eks._kubernetes
  - evergreen.eks._waiting
attributes:
  check_mode:
    support: full
    details:
      - This action does not modify state. In check mode it looks once and answers what it sees, without failing for it.
notes:
  - "Needs the Kubernetes verb C(list) on C(nodes); with O(daemonsets) also C(list) on C(pods) and C(daemonsets.apps)."
  - "Needs the IAM actions C(autoscaling:DescribeAutoScalingGroups) and, to explain a launch that does not come,
    C(autoscaling:DescribeScalingActivities) with O(asg_name); C(ec2:DescribeInstances) with O(instance_ids), and to
    explain what is missing; and C(eks:DescribeCluster) with O(cluster_name)."
  - Each look costs one request for the group or the instances, and one list of the nodes, however many instances
    there are. With O(daemonsets) it costs one list of pods for each instance that is Ready otherwise.
seealso:
  - module: evergreen.eks.asg_capacity
  - module: evergreen.eks.node_cordon
"""

EXAMPLES = r"""
- name: Wait for all that the group is to have
  evergreen.eks.node_ready:
    cluster_name: production
    asg_name: shared
    timeout: 900

- name: Wait until six nodes will remain without those that are to leave
  evergreen.eks.node_ready:
    cluster_name: production
    asg_name: shared
    min_ready: 6
    exclude_instance_ids: [i-0123456789abcdef0]

- name: Wait for one instance, its CNI and its log agent
  evergreen.eks.node_ready:
    cluster_name: production
    instance_ids: [i-0fedcba9876543210]
    daemonsets: true
    startup_taints: [example.com/not-attested]
"""

RETURN = r"""
instances:
  description: How far each instance is, by instance ID.
  returned: success, and when not enough instances are Ready
  type: dict
  contains:
    node:
      description: Name of its node, empty when it has none.
      type: str
    ready:
      description: Whether nothing is missing at the last look.
      type: bool
    reason:
      description:
        - The first thing that is missing. V(ready), nothing.
        - V(terminated), the instance has ended or is stopped.
        - V(not_in_service), the group does not have it in service.
        - V(no_node), no node has its provider ID.
        - V(not_ready), its node's condition Ready is not True.
        - V(not_initialized), start-up taints are still on it.
        - V(unschedulable), it is cordoned.
        - V(daemonset_pending), pods of DaemonSets are not Ready there.
      type: str
    message:
      description: The same in words, with what the node or AWS says.
      type: str
  sample:
    i-0123456789abcdef0:
      node: ip-10-0-1-17.eu-central-1.compute.internal
      ready: false
      reason: not_ready
      message: "Ready is False: container runtime network not ready: cni plugin not initialized"
ready:
  description: How many of them are Ready at the last look.
  returned: success, and when not enough instances are Ready
  type: int
ready_instance_ids:
  description: Which of them are.
  returned: success, and when not enough instances are Ready
  type: list
  elements: str
needed:
  description: How many must be.
  returned: success, and when not enough instances are Ready
  type: int
activity:
  description: What AWS says of the launches that do not come; empty when there is nothing to say.
  returned: when not enough instances are Ready
  type: str
reason:
  description:
    - Why the module failed, as one word. When not enough instances are Ready it is what most of them lack, one of the
      reasons of RV(instances).
    - V(invalid_input), V(group_not_found), and those of the connections, like V(access_denied) or
      V(kubernetes_unreachable).
  returned: failure
  type: str
  sample: no_node
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.readiness import wait_ready
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    failures_reported,
    waiting_argument_spec,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec=kubernetes_argument_spec(
            **waiting_argument_spec(
                instance_ids={"type": "list", "elements": "str"},
                asg_name={"type": "str"},
                exclude_instance_ids={"type": "list", "elements": "str"},
                min_ready={"type": "int"},
                expected_desired={"type": "int"},
                looks={"type": "int", "default": 2},
                daemonsets={"type": "bool", "default": False},
                startup_taints={"type": "list", "elements": "str"},
                timeout={"type": "float", "default": 1200.0},
            )
        ),
        required_one_of=[("instance_ids", "asg_name")],
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        aws = Aws(module.params, call)
        client = KubernetesClient.connect(module.params, aws, call)
        module.exit_json(**wait_ready(module.params, aws, client, call))


if __name__ == "__main__":
    main()
