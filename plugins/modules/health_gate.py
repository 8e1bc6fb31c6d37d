#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_gate
short_description: Stop where a cluster has become worse than it was
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Takes a picture of the nodes, pods and workloads of a cluster, and later compares the cluster with it. When more has
    become worse than is allowed, it fails and names what, the worst first.
  - What was bad in the picture already is not held against anybody. A pod that has moved is known by its workload, not
    by its name, so that what counts is whether more pods of a workload are ill than were.
  - One thing is named once. That is a node, a workload with all of its pods, or a pod without one.
  - It watches until O(looks) looks in a row are clear, and fails when O(timeout) is over before that. What has been bad
    since its first look must be over by then. What comes up later counts once it has lasted for O(settle_seconds).
options:
  state:
    description:
      - V(taken), that the picture is there. One of the same run is kept as it is, so that a rollout that was
        interrupted goes on comparing with its own beginning.
      - V(passed), that the cluster is no worse than in the picture, and that all O(gates) are met.
    type: str
    choices: [taken, passed]
    required: true
  picture:
    description:
      - Path of the file that the picture is kept in, readable by its owner only. Its directory must exist.
      - It holds no secrets, no environment variables and no logs. With 5,000 pods it takes 0.7 MB.
    type: path
  asg_name:
    description:
      - Name of the Auto Scaling group of a rollout, with whose checkpoint the picture is kept. It is in the same store,
        as the file or object C(<group>.picture), or in the same ConfigMap under the key C(picture.gz), where one of
        5,000 pods takes 0.2 MB of the 1 MB that fits.
    type: str
  checkpoints:
    description: Where the checkpoint of O(asg_name) is kept, as in O(evergreen.eks.rollout_state#module:state).
    type: dict
    default: {}
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
      - The run that the picture is taken for. A picture of another run is replaced, and not compared with.
      - Without it any picture that is there will do.
    type: str
    default: ''
  force:
    description: Take a new picture although there is one of this run, or one that cannot be read.
    type: bool
    default: false
  max_new_unhealthy:
    description: How many things may be worse. None may be in O(critical_namespaces).
    type: int
    default: 0
  settle_seconds:
    description:
      - For how long a thing must have been bad to count, if it came up while the gate was watched.
      - Pods that wait for a node which an autoscaler has to launch first need this time.
    type: float
    default: 120.0
  max_restarts:
    description:
      - By how many the restarts of a pod may have risen. A pod that is new may have restarted so many times.
      - Where pods of the same workload restarted before, as many more as that pace makes up are allowed.
    type: int
    default: 3
  critical_namespaces:
    description: Namespaces that are named first, and in which nothing may be worse.
    type: list
    elements: str
    default: [kube-system]
  ignore:
    description: Pods and workloads that do not count. Nodes always count.
    type: list
    elements: dict
    default: []
    suboptions:
      namespace:
        description: Their namespace; C(*) and C(?) stand for any characters. Without it all namespaces.
        type: str
      selector:
        description:
          - A label selector as for C(kubectl -l). A workload has its own labels and those of its pods.
          - Without it all in that namespace.
        type: str
  gates:
    description:
      - Conditions of your own, each of which must be met. They are looked at in every look.
      - A condition that is not JMESPath is refused before anything is read.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What to call it.
        type: str
        required: true
      expression:
        description:
          - A JMESPath expression that must answer V(true), and nothing else, over the cluster as it is now.
          - There are the lists C(nodes), C(pods) and C(workloads), the time C(taken), and the same four as they were
            in the picture under C(before).
          - A node has C(name), C(instance_id), C(ready), C(cordoned), C(version) (of the kubelet), C(since) (when it is
            Ready or not), C(created), C(system) (its OS image) and C(fargate) (whether Fargate made it).
          - A pod has C(namespace), C(name), C(uid), C(owner) (such as C(Deployment/web)), C(node), C(phase), C(ready),
            C(leaving) (being deleted), C(reasons) (why its containers wait or ended), C(message), C(restarts),
            C(restarted) (when that was last), C(created), C(since) (when it is Ready or not), C(labels) and C(images).
          - A workload has C(kind) (C(Deployment), C(StatefulSet) or C(DaemonSet)), C(namespace), C(name), C(wanted),
            C(ready), C(updated), C(may_lack) (while it is updated), C(labels) and C(images).
        type: str
        required: true
      msg:
        description: What to say when it is not met. Without it what the expression answered.
        type: str
  looks:
    description:
      - How many looks in a row must be clear. One is enough where the picture is younger than so many looks take.
    type: int
    default: 2
  timeout:
    description: Seconds to watch; V(0) means for ever. What lasts for longer closes the gate.
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
      - With O(state=taken) it looks and keeps nothing. With O(state=passed) it looks once and answers what it sees,
        without failing for it; where there is no picture, nothing counts as worse.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - Without O(force).
requirements:
  - jmespath, with O(gates)
notes:
  - "Needs the Kubernetes verbs C(list) on C(nodes), C(pods), C(deployments.apps), C(statefulsets.apps) and
    C(daemonsets.apps), and C(get) on C(namespaces)."
  - "With O(asg_name) it needs the rights of the store (see M(evergreen.eks.rollout_state)). With O(cluster_name) it
    needs the IAM action C(eks:DescribeCluster)."
  - Each look costs one list of each of these, of the whole cluster, read in pages of 500.
  - The lock of a run is needed only to keep the picture in a ConfigMap (O(state=taken) and O(lease)).
seealso:
  - module: evergreen.eks.rollout_state
  - name: JMESPath
    description: The language of the expressions.
    link: https://jmespath.org
"""

EXAMPLES = r"""
- name: Keep in mind how the cluster is
  evergreen.eks.health_gate:
    cluster_name: production
    state: taken
    picture: /var/lib/evergreen/production.picture

- name: Go on only if that did no harm
  evergreen.eks.health_gate:
    cluster_name: production
    state: passed
    picture: /var/lib/evergreen/production.picture

- name: The same with a little more patience, in a cluster in which tests run
  evergreen.eks.health_gate:
    cluster_name: production
    state: passed
    picture: /var/lib/evergreen/production.picture
    max_new_unhealthy: 1
    settle_seconds: 300
    timeout: 900
    ignore:
      - namespace: ci-*
      - selector: app.kubernetes.io/part-of=nightly,!critical

- name: Conditions of our own
  evergreen.eks.health_gate:
    cluster_name: production
    state: passed
    picture: /var/lib/evergreen/production.picture
    gates:
      - name: the shop is open
        expression: length(pods[?namespace=='shop' && labels.app=='checkout' && ready]) >= `3`
        msg: The shop needs three pods of checkout that are Ready.
      - name: nobody cordons more nodes than we do
        expression: length(nodes[?cordoned]) <= `2`
      - name: every node has the new kubelet or the old one
        expression: length(nodes[?!starts_with(version, 'v1.33.') && !starts_with(version, 'v1.34.')]) == `0`
      - name: no fewer pods are Ready than before
        expression: length(pods[?ready]) >= length(before.pods[?ready])

- name: The picture of a rollout, with its checkpoint
  evergreen.eks.health_gate:
    cluster_name: production
    state: taken
    asg_name: shared
    checkpoints:
      store: configmap
    run_id: 20261121T010203-4f2a9c
"""

RETURN = r"""
taken:
  description: When the picture was taken.
  returned: success, and when the gate is closed
  type: str
  sample: '2026-11-21T01:02:03Z'
place:
  description: Where the picture is kept.
  returned: state=taken
  type: str
numbers:
  description: How many nodes, pods and workloads there are; in the picture with O(state=taken), else at the last look.
  returned: success, and when the gate is closed
  type: dict
  sample: {nodes: 12, nodes_ready: 12, pods: 240, pods_ready: 238, workloads: 41, workloads_whole: 40}
numbers_before:
  description: The same in the picture.
  returned: state=passed
  type: dict
passed:
  description: Whether the gate is open; in check mode whether this one look was clear.
  returned: state=passed
  type: bool
looked:
  description: How many looks there were.
  returned: state=passed
  type: int
worse:
  description: What has become worse, the worst first; what closed the gate, or what is allowed.
  returned: state=passed
  type: list
  elements: dict
  contains:
    kind:
      description:
        - What has become of it. V(node_not_ready), a node is not Ready that was, or that is new; a cordoned one does
          not count.
        - V(pod_crash_loop), V(pod_image), V(pod_config), V(pod_error) and V(pod_pending), more pods than before crash
          again and again, cannot get their image, cannot be configured, have failed, or wait to start.
        - V(pod_restarts), the restarts of pods have risen by more than O(max_restarts).
        - V(workload_short), a workload lacks more pods than before, compared with what it wants now.
      type: str
    object:
      description: What it is about.
      type: str
    namespace:
      description: Its namespace, empty for a node.
      type: str
    was:
      description: How it was in the picture, in words.
      type: str
    is:
      description: How it is now, in words.
      type: str
    since:
      description: Since when, as far as that is known.
      type: str
    message:
      description: All this in one sentence.
      type: str
    settled:
      description: Whether it has lasted for O(settle_seconds).
      type: bool
    critical:
      description: Whether it is in one of O(critical_namespaces).
      type: bool
    pods:
      description: The pods, as C(namespace/name).
      type: list
      elements: str
  sample:
    - kind: pod_crash_loop
      object: Deployment shop/web
      namespace: shop
      was: well
      is: '2 pods more: CrashLoopBackOff'
      since: '2026-11-21T01:09:12Z'
      message: >-
        Deployment shop/web has 2 pods (web-7d4b9c-x2x7k, web-7d4b9c-zr5pt) in a crash loop (CrashLoopBackOff) since
        2026-11-21T01:09:12Z, on new nodes; it was well in the picture
      settled: true
      critical: false
      pods: [shop/web-7d4b9c-x2x7k, shop/web-7d4b9c-zr5pt]
settling:
  description: What came up while the gate was watched and may pass by itself, in the same form.
  returned: state=passed
  type: list
  elements: dict
unmet:
  description: The O(gates) that are not met, with C(name), C(expression), C(answer) (as JSON) and C(message).
  returned: state=passed
  type: list
  elements: dict
reason:
  description:
    - Why the module failed, as one word. V(gate_closed), more is worse than is allowed; V(user_gate), one of O(gates)
      is not met.
    - V(picture_missing), there is none of this run yet; V(picture_foreign), it shows another cluster;
      V(picture_unreadable), V(picture_newer) and V(picture_unwritable).
    - V(invalid_input), V(missing_library), those of the store, like V(checkpoint_unwritable), and those of the
      connections, like V(kubernetes_forbidden).
  returned: failure
  type: str
  sample: gate_closed
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.gate_watch import health_gate
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.stores import STORE_OPTIONS
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    failures_reported,
    waiting_argument_spec,
)

IGNORE = {"namespace": {"type": "str"}, "selector": {"type": "str"}}
GATES = {
    "name": {"type": "str", "required": True},
    "expression": {"type": "str", "required": True},
    "msg": {"type": "str"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=kubernetes_argument_spec(
            **waiting_argument_spec(
                state={"type": "str", "choices": ["taken", "passed"], "required": True},
                picture={"type": "path"},
                asg_name={"type": "str"},
                checkpoints={"type": "dict", "default": {}, "apply_defaults": True, "options": STORE_OPTIONS},
                run_id={"type": "str", "default": ""},
                force={"type": "bool", "default": False},
                max_new_unhealthy={"type": "int", "default": 0},
                settle_seconds={"type": "float", "default": 120.0},
                max_restarts={"type": "int", "default": 3},
                critical_namespaces={"type": "list", "elements": "str", "default": ["kube-system"]},
                ignore={
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": IGNORE,
                    "required_one_of": [("namespace", "selector")],
                },
                gates={"type": "list", "elements": "dict", "default": [], "options": GATES},
                looks={"type": "int", "default": 2},
                timeout={"type": "float", "default": 300.0},
            )
        ),
        mutually_exclusive=[("picture", "asg_name")],
        required_one_of=[("picture", "asg_name")],
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        aws = Aws(module.params, call)
        client = KubernetesClient.connect(module.params, aws, call)
        module.exit_json(**health_gate(module.params, aws, client, call))


if __name__ == "__main__":
    main()
