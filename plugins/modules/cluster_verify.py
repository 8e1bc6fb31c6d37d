#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_verify
short_description: Whether a cluster is as it should be after an upgrade
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Looks whether everything is as it should be once a cluster has been upgraded, and fails where it is not. It changes
    nothing.
  - All checks are made, whatever one of them finds. Each finding names the object, what is wrong with it, and what
    helps. An C(error) fails the module; a C(warning) is told.
  - What may pass by itself is waited for, until O(looks) looks in a row find nothing more of that kind, or O(timeout)
    is over. What is wrong for good is not waited for.
options:
  version:
    description:
      - The minor version that the control plane and the nodes should have, such as V(1.33).
      - Without it that of the control plane.
    type: str
    default: ''
  node_groups:
    description:
      - The names of the node groups that were to be upgraded; Auto Scaling groups, or EKS managed node groups.
      - What is wrong with the version or the launch template of any other group is a warning, as long as the control
        plane supports its nodes. Without it all groups of the cluster are meant.
    type: list
    elements: str
    default: []
  snapshot:
    description:
      - The file with a snapshot of before the upgrade, as M(evergreen.eks.cluster_snapshot) takes it. Nothing may be
        worse than in it.
      - Without it, and without O(checkpoints), the check V(snapshot) is not made.
    type: path
  checkpoints:
    description: The store of the cluster's checkpoint, where it is kept instead, or as well.
    type: dict
    suboptions:
      store:
        description: The kind of store.
        type: str
        choices: [file, configmap, s3]
        default: file
      dir:
        description:
          - Directory of the checkpoints, with the store V(file).
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
  run_id:
    description: The run that the snapshot must be of. Without it any that is there will do.
    type: str
    default: ''
  sidecars:
    description:
      - The containers that pods should have got from an injector, such as Vault's or Istio's. A pod that came while the
        injector was away has none, and never gets one.
    type: list
    elements: dict
    default: []
    suboptions:
      annotation:
        description: The annotation of the pods that ask for it. A label of that name counts as well.
        type: str
        required: true
      value:
        description: Its value.
        type: str
        default: 'true'
      container:
        description: The name of the container. An init container counts where it runs on beside the others.
        type: str
        required: true
  checks:
    description:
      - The checks to make. Without it all of them.
      - "V(control_plane): the cluster is ACTIVE, has O(version), and no health issues."
      - "V(nodes_ready): every node is Ready. V(node_versions): every node has O(version), those on Fargate, too; which
        versions the control plane supports counts for all."
      - "V(managed_node_groups): every EKS managed node group is ACTIVE, has O(version), and no health issues."
      - "V(kube_system): what runs in C(kube-system) is there in full, up to date, and well. V(csi_drivers): the same of
        CSI drivers in all namespaces, and no volume is stuck on its way to a node or from it."
      - "V(kube_proxy): its image is of O(version); a warning, as long as the control plane supports it."
      - "V(sidecars): pods that ask for one of O(sidecars) have it, and it is Ready."
      - "V(snapshot): nothing is worse than in O(snapshot), as in M(evergreen.eks.health_gate)."
      - "V(leftover_groups): no Auto Scaling group launches nodes of an older version, can launch none, has none (a
        warning), or has only cordoned ones."
      - "V(marks), V(suspensions), V(protection), V(cordons) and V(lease): nothing of ours is left behind. What others
        have suspended, protected or cordoned, and a lock that another run holds, are warnings."
    type: list
    elements: str
    default: []
  ignore:
    description:
      - What does not count. The name of a check, or one with a pattern for the object, such as
        V(kube_system:Deployment kube-system/tiller*), where C(*) and C(?) stand for any characters.
    type: list
    elements: str
    default: []
  settle_seconds:
    description:
      - For how long what may pass by itself must have lasted to count, if it came up while the module looked.
    type: float
    default: 120.0
  max_restarts:
    description: By how many the restarts of a pod may have risen since the snapshot.
    type: int
    default: 3
  looks:
    description: How many looks in a row must find nothing that may pass by itself.
    type: int
    default: 2
  timeout:
    description: Seconds to wait for what may pass by itself; V(0) means for ever.
    type: float
    default: 300.0
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
      - It looks once and answers what it sees, without failing for it.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - This module does not modify state.
notes:
  - "Needs the Kubernetes verbs C(list) on C(nodes), C(pods), C(deployments.apps), C(statefulsets.apps),
    C(daemonsets.apps) and C(volumeattachments.storage.k8s.io), and C(get) on C(namespaces) and on the
    C(leases.coordination.k8s.io) C(evergreen-eks) in C(kube-system)."
  - "Needs the IAM actions C(eks:DescribeCluster), C(eks:ListNodegroups), C(eks:DescribeNodegroup),
    C(autoscaling:DescribeAutoScalingGroups), C(ec2:DescribeInstances), C(ec2:DescribeLaunchTemplateVersions),
    C(ec2:DescribeImages), and C(autoscaling:DescribeLaunchConfigurations) or C(ssm:GetParameters) where groups use
    such."
  - Each look costs one list of each of these, of the whole cluster, read in pages of 500. AWS is asked every
    30 seconds.
seealso:
  - module: evergreen.eks.cluster_snapshot
  - module: evergreen.eks.health_gate
  - name: Version Skew Policy
    description: Which versions of kubelets and kube-proxy go with which control plane.
    link: https://kubernetes.io/releases/version-skew-policy/
"""

EXAMPLES = r"""
- name: Is everything as it should be
  evergreen.eks.cluster_verify:
    cluster_name: production
    version: "1.33"
    snapshot: /var/lib/evergreen/production.before
    sidecars:
      - annotation: vault.hashicorp.com/agent-inject
        container: vault-agent

- name: Only some groups were upgraded, and one node is cordoned on purpose
  evergreen.eks.cluster_verify:
    cluster_name: production
    version: "1.33"
    node_groups: [istio, shared]
    ignore:
      - cordons:Node ip-10-0-1-17.*

- name: What does a cluster look like before anybody works on it
  evergreen.eks.cluster_verify:
    cluster_name: production
    checks: [nodes_ready, kube_system, csi_drivers, leftover_groups]
  register: before
  failed_when: false

- name: For the ticket
  ansible.builtin.debug:
    msg: "{{ before.text }}"
"""

RETURN = r"""
healthy:
  description: Whether no error was found.
  returned: success, and when the cluster is unhealthy
  type: bool
version:
  description: The version that was wanted.
  returned: success, and when the cluster is unhealthy
  type: str
  sample: '1.33'
findings:
  description: What is not as it should be, errors first, then in the order of O(checks).
  returned: success, and when the cluster is unhealthy
  type: list
  elements: dict
  contains:
    check:
      description: The check that found it.
      type: str
    severity:
      description: V(error) or V(warning).
      type: str
    object:
      description: What it is about.
      type: str
    message:
      description: What is wrong with it, in one sentence.
      type: str
    remedy:
      description: What helps.
      type: str
  sample:
    - check: sidecars
      severity: error
      object: Deployment shop/checkout
      message: 'Deployment shop/checkout has 1 pod without the sidecar vault-agent: checkout-7d4b9c-x2x7k'
      remedy: See that the injector works, then restart it (workload_restart)
settling:
  description: What came up while the module looked and may pass by itself, in the same form.
  returned: success, and when the cluster is unhealthy
  type: list
  elements: dict
ignored:
  description: What was found and does not count, in the same form.
  returned: success, and when the cluster is unhealthy
  type: list
  elements: dict
checks:
  description: How each check came out, V(ok), V(warning), V(error), or V(skipped) where it was not made.
  returned: success, and when the cluster is unhealthy
  type: dict
  sample: {control_plane: ok, node_versions: ok, sidecars: error, snapshot: skipped}
looked:
  description: How many looks there were.
  returned: success, and when the cluster is unhealthy
  type: int
numbers:
  description: How many nodes, pods and workloads there were at the last look.
  returned: success, and when the cluster is unhealthy
  type: dict
  sample: {nodes: 12, nodes_ready: 12, pods: 240, pods_ready: 238, workloads: 41, workloads_whole: 40}
text:
  description: All findings with their remedies in plain lines, for a ticket.
  returned: success, and when the cluster is unhealthy
  type: str
reason:
  description:
    - Why the module failed, as one word. V(unhealthy), there are errors in RV(findings).
    - V(group_not_found), one of O(node_groups) does not exist; V(cluster_not_found).
    - V(picture_missing), there is no snapshot (of this run); V(picture_foreign), it shows another cluster;
      V(picture_unreadable) and V(picture_newer).
    - V(invalid_input), those of the store, like V(checkpoint_unreadable), and those of the connections, like
      V(kubernetes_forbidden) and V(access_denied).
  returned: failure
  type: str
  sample: unhealthy
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.stores import STORE_OPTIONS
from ansible_collections.evergreen.eks.plugins.module_utils.verify.watch import cluster_verify
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    failures_reported,
    waiting_argument_spec,
)

SIDECARS = {
    "annotation": {"type": "str", "required": True},
    "value": {"type": "str", "default": "true"},
    "container": {"type": "str", "required": True},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=kubernetes_argument_spec(
            **waiting_argument_spec(
                version={"type": "str", "default": ""},
                node_groups={"type": "list", "elements": "str", "default": []},
                snapshot={"type": "path"},
                checkpoints={"type": "dict", "options": STORE_OPTIONS},
                run_id={"type": "str", "default": ""},
                sidecars={"type": "list", "elements": "dict", "default": [], "options": SIDECARS},
                checks={"type": "list", "elements": "str", "default": []},
                ignore={"type": "list", "elements": "str", "default": []},
                settle_seconds={"type": "float", "default": 120.0},
                max_restarts={"type": "int", "default": 3},
                looks={"type": "int", "default": 2},
                timeout={"type": "float", "default": 300.0},
            )
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        aws = Aws(module.params, call)
        client = KubernetesClient.connect(module.params, aws, call)
        module.exit_json(**cluster_verify(module.params, aws, client, call))


if __name__ == "__main__":
    main()
