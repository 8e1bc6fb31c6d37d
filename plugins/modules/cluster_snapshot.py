#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_snapshot
short_description: Keep how a cluster is, and say later what is different
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Takes a snapshot of a cluster before it is worked on. In it are the nodes with their versions and systems, the pods
    with their places and restarts, the workloads with their readiness and images, what runs on Fargate, and the version
    of the control plane.
  - Says later what is different, as data and as text for a ticket.
  - M(evergreen.eks.cluster_verify) compares with the same snapshot, and fails where something has become worse.
options:
  state:
    description:
      - V(taken), that the snapshot is there. One of the same run is kept as it is, so that a run that was interrupted
        goes on comparing with its own beginning.
      - V(compared), to answer what is different between the snapshot and the cluster as it is now, or O(after).
    type: str
    choices: [taken, compared]
    default: taken
  path:
    description:
      - The file that the snapshot is kept in, readable by its owner only. Its directory must exist.
      - It holds no secrets, no environment variables and no logs. With 5,000 pods it takes 0.7 MB.
    type: path
  checkpoints:
    description:
      - Keep it beside the checkpoint of the cluster, in the store that is named here as in
        O(evergreen.eks.rollout_state#module:state). It needs O(cluster_name).
      - With O(path) as well it is kept in both, and found in either.
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
    description:
      - The run that the snapshot is taken for. A snapshot of another run is replaced, and not compared with.
      - Without it any snapshot that is there will do.
    type: str
    default: ''
  force:
    description: Take a new snapshot although there is one of this run, or one that cannot be read.
    type: bool
    default: false
  after:
    description: The file of another snapshot, to be compared with instead of the cluster as it is now.
    type: path
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
      - With O(state=taken) it looks and keeps nothing. With O(state=compared), where there is no snapshot, nothing is
        different.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - Without O(force).
notes:
  - "Needs the Kubernetes verbs C(list) on C(nodes), C(pods), C(deployments.apps), C(statefulsets.apps) and
    C(daemonsets.apps), and C(get) on C(namespaces)."
  - "With O(checkpoints) it needs the rights of the store (see M(evergreen.eks.rollout_state)). With O(cluster_name) it
    needs the IAM action C(eks:DescribeCluster)."
  - The lock of a run is needed only to keep the snapshot in a ConfigMap (O(lease)).
seealso:
  - module: evergreen.eks.cluster_verify
  - module: evergreen.eks.health_gate
"""

EXAMPLES = r"""
- name: Keep in mind how the cluster is
  evergreen.eks.cluster_snapshot:
    cluster_name: production
    path: /var/lib/evergreen/production.before

- name: What is different now
  evergreen.eks.cluster_snapshot:
    cluster_name: production
    path: /var/lib/evergreen/production.before
    state: compared
  register: since_then

- name: For the ticket
  ansible.builtin.copy:
    content: "{{ since_then.text }}"
    dest: /tmp/ticket.txt
    mode: "0600"

- name: In a pipeline, whose files do not outlive it
  evergreen.eks.cluster_snapshot:
    cluster_name: production
    run_id: "{{ pipeline_id }}"
    checkpoints:
      store: configmap

- name: Two snapshots of last week
  evergreen.eks.cluster_snapshot:
    cluster_name: production
    path: /var/lib/evergreen/production.monday
    after: /var/lib/evergreen/production.friday
    state: compared
"""

RETURN = r"""
taken:
  description: When the snapshot was taken; with O(state=compared) the later one.
  returned: success
  type: str
  sample: '2026-11-21T01:02:03Z'
places:
  description: Where it is kept.
  returned: state=taken
  type: list
  elements: str
numbers:
  description: How many nodes, pods and workloads there are in it.
  returned: success
  type: dict
  sample: {nodes: 12, nodes_ready: 12, pods: 240, pods_ready: 238, workloads: 41, workloads_whole: 40}
version:
  description: The version of the control plane in it.
  returned: success
  type: str
  sample: v1.33.1-eks-113cf36
different:
  description:
    - Whether anything is different. Restarts do not count.
  returned: state=compared
  type: bool
difference:
  description: What is different; where something was and is, the keys are C(was) and C(is).
  returned: state=compared
  type: dict
  contains:
    taken:
      description: When the two were taken.
      type: dict
    version:
      description: The versions of the control plane.
      type: dict
    numbers:
      description: How many nodes, pods and workloads there were and are.
      type: dict
    node_versions:
      description: By the version of the kubelet, how many nodes have it.
      type: dict
      sample: {v1.31.0: {was: 7, is: 0}, v1.33.1: {was: 0, is: 7}}
    nodes_gone:
      description: Nodes that are gone. One whose name has gone to another instance is in both lists.
      type: list
      elements: str
    nodes_new:
      description: Nodes that are new.
      type: list
      elements: str
    nodes:
      description:
        - What has changed of the others, each with C(object), C(what) (V(state), V(scheduling), V(version) or
          V(system)), C(was) and C(is).
      type: list
      elements: dict
    workloads_gone:
      description: Deployments, StatefulSets and DaemonSets that are gone.
      type: list
      elements: str
    workloads_new:
      description: Those that are new.
      type: list
      elements: str
    workloads:
      description:
        - What has changed of the others, each with C(object), C(what) (V(pods) or V(images)), C(was) and C(is).
      type: list
      elements: dict
    moved:
      description:
        - Workloads whose pods are on other nodes, each with C(object), and the nodes in C(was) and C(is). DaemonSets
          are not named.
      type: list
      elements: dict
    restarts:
      description: Whose containers were restarted, each with C(object), and in C(more) how many times.
      type: list
      elements: dict
    worse:
      description: What is worse, as in RV(evergreen.eks.health_gate#module:worse).
      type: list
      elements: dict
    better:
      description: What is better, each with C(kind), C(object) and C(was).
      type: list
      elements: dict
text:
  description: The difference in plain lines, the first fifty of each kind.
  returned: state=compared
  type: str
  sample: |
    Cluster production: 2026-11-21T01:00:00Z -> 2026-11-21T02:00:00Z (60 min)
    Control plane: v1.31.0-eks-1 -> v1.33.1-eks-2
    Nodes ready: 7 of 7 -> 7 of 7
    - v1.31.0: 7 -> 0
    - v1.33.1: 0 -> 7
    Worse: nothing
reason:
  description:
    - Why the module failed, as one word. V(picture_missing), there is no snapshot of this run yet; V(picture_foreign),
      it shows another cluster; V(picture_unreadable), V(picture_newer) and V(picture_unwritable).
    - V(invalid_input), those of the store, like V(checkpoint_unwritable), and those of the connections, like
      V(kubernetes_forbidden).
  returned: failure
  type: str
  sample: picture_missing
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.snapshot import cluster_snapshot
from ansible_collections.evergreen.eks.plugins.module_utils.stores import STORE_OPTIONS
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    failures_reported,
    waiting_argument_spec,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec=kubernetes_argument_spec(
            **waiting_argument_spec(
                state={"type": "str", "choices": ["taken", "compared"], "default": "taken"},
                path={"type": "path"},
                checkpoints={"type": "dict", "options": STORE_OPTIONS},
                run_id={"type": "str", "default": ""},
                force={"type": "bool", "default": False},
                after={"type": "path"},
            )
        ),
        required_one_of=[("path", "checkpoints")],
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        aws = Aws(module.params, call)
        client = KubernetesClient.connect(module.params, aws, call)
        module.exit_json(**cluster_snapshot(module.params, aws, client, call))


if __name__ == "__main__":
    main()
