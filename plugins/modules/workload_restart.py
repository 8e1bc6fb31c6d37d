#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workload_restart
short_description: Restart workloads and wait for their new pods
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Replaces all pods of Deployments, StatefulSets and DaemonSets by new ones, as C(kubectl rollout restart) does, and
    waits until the new pods are Ready. The workloads are named, chosen by their labels, or by where and how their pods
    run.
  - After an upgrade of the control plane that is how pods on Fargate get a node with a kubelet of the new version, and
    how pods that came while an injector was away get their sidecar.
  - Each controller replaces its pods by its workload's own strategy. It asks no PodDisruptionBudget for that; so a
    workload whose strategy may take away more pods at a time than its budget spares is left alone, unless O(budgets)
    says otherwise.
  - Pods that nothing controls, those of Jobs, and those of other kinds of owners are named and never touched.
  - When the time is over it fails and says of each workload what holds it up.
options:
  workloads:
    description: The workloads by name. It is an error when one of them does not exist.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: The kind.
        type: str
        choices: [Deployment, StatefulSet, DaemonSet]
        default: Deployment
      namespace:
        description: The namespace.
        type: str
        required: true
      name:
        description: The name.
        type: str
        required: true
  label_selector:
    description: Workloads that have these labels, or whose pods have, written as for C(kubectl -l).
    type: str
  on_fargate:
    description: Workloads with pods on Fargate nodes.
    type: bool
    default: false
  version:
    description:
      - With O(on_fargate) only those with a pod on a node whose kubelet is of another minor version of Kubernetes.
    type: str
  sidecars:
    description: Workloads with pods that ask for one of these sidecars.
    type: list
    elements: dict
    default: []
    suboptions:
      annotation:
        description: The annotation of the pods that asks for it. A label of that name counts as well.
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
  missing_sidecars_only:
    description: With O(sidecars) only workloads with a pod that asks for one and does not have it.
    type: bool
    default: false
  namespaces:
    description: Nothing in other namespaces, except for O(workloads). Without it all namespaces count.
    type: list
    elements: str
    default: []
  restarted_at:
    description:
      - The moment at which the run began that this task belongs to, such as V(2026-11-21T01:02:03Z). It is what is
        written into the pod templates.
      - A workload that was restarted at that moment or later, by whomever, is not restarted again, only awaited. So a
        rerun with the same moment restarts nothing twice.
      - Without it the moment is now, and everything is restarted each time.
    type: str
    aliases: [since]
  budgets:
    description:
      - V(keep) leaves a workload alone whose strategy may take away more pods at a time than a PodDisruptionBudget over
        its pods spares when all of them are healthy.
      - V(overrule) restarts it all the same.
    type: str
    choices: [keep, overrule]
    default: keep
  max_parallel:
    description:
      - How many workloads are restarted at a time, those of C(kube-system) first. None is begun while the controller of
        one that is under way says that it cannot go on.
    type: int
    default: 10
  timeout:
    description: Seconds to wait for all of them; V(0) means for ever.
    type: float
    default: 1200.0
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
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - It is idempotent with O(restarted_at).
notes:
  - "Needs the Kubernetes verbs C(list) and C(patch) on C(deployments.apps), C(statefulsets.apps) and
    C(daemonsets.apps), C(list) on C(pods), with O(on_fargate) on C(nodes), and with O(budgets=keep) on
    C(poddisruptionbudgets.policy)."
  - Each look costs one list of each kind of which something is under way, however many workloads there are.
seealso:
  - module: evergreen.eks.cluster_verify
"""

EXAMPLES = r"""
- name: Everything on Fargate nodes that are not at 1.33 yet
  evergreen.eks.workload_restart:
    cluster_name: production
    on_fargate: true
    version: '1.33'

- name: Pods that came without their sidecar get it
  evergreen.eks.workload_restart:
    cluster_name: production
    sidecars:
      - annotation: vault.hashicorp.com/agent-inject
        container: vault-agent
    missing_sidecars_only: true

- name: Two by name, once however often the play is run again
  evergreen.eks.workload_restart:
    cluster_name: production
    workloads:
      - namespace: kube-system
        name: coredns
      - kind: StatefulSet
        namespace: logging
        name: elasticsearch
    restarted_at: '2026-11-21T01:02:03Z'
"""

RETURN = r"""
restarted:
  description: What this task has restarted; in check mode what it would restart.
  returned: always, once it has chosen
  type: list
  elements: str
  sample: [Deployment batch/reports]
restarted_at:
  description: The moment that was written into the pod templates.
  returned: always, once it has chosen
  type: str
  sample: '2026-11-21T01:02:03Z'
workloads:
  description: Everything that was chosen, in the order in which it was taken in hand.
  returned: always, once it has chosen
  type: list
  elements: dict
  contains:
    kind:
      description: The kind.
      type: str
    namespace:
      description: The namespace.
      type: str
    name:
      description: The name.
      type: str
    why:
      description: Why it was chosen, some of V(named), V(selected), V(fargate), V(sidecar).
      type: list
      elements: str
    state:
      description:
        - V(restarted), all of its pods are new and Ready. V(already), they were restarted since O(restarted_at), and
          are Ready. V(waiting), not yet. V(planned), it was not begun. V(gone), somebody has deleted it. V(reverted),
          somebody has taken the restart back.
      type: str
    wanted:
      description: How many pods it wants.
      type: int
    ready:
      description: How many of its pods are Ready.
      type: int
    seconds:
      description: How long it took.
      type: int
left:
  description: What should have got new pods, and was left alone. There is a warning for each.
  returned: always, once it has chosen
  type: list
  elements: dict
  contains:
    object:
      description: The workload or the pod.
      type: str
      sample: Pod batch/by-hand
    reason:
      description:
        - V(no_controller), nothing controls the pod. V(job), a Job does. V(other_controller), something else does.
        - V(paused), the workload's rollout is paused. V(on_delete), it replaces its pods only when they are deleted.
          V(budget), it could take away more pods than its disruption budget spares. V(reverted), see above.
      type: str
    message:
      description: The same in words.
      type: str
    remedy:
      description: What to do about it.
      type: str
behind:
  description: New pods that are on Fargate nodes of another version than O(version) all the same.
  returned: success
  type: list
  elements: str
without_sidecar:
  description: New pods that have not got the sidecar that they ask for.
  returned: success
  type: list
  elements: str
reason:
  description:
    - Why the module failed, as one word.
    - V(workload_not_found), one of O(workloads) does not exist; nothing was changed.
    - V(restart_timeout), not all pods are new and Ready in time. Running it again goes on from there.
    - V(invalid_input), V(lock_lost), and those of the connections, like V(access_denied), V(kubernetes_unreachable) or
      V(kubernetes_forbidden).
  returned: failure
  type: str
  sample: restart_timeout
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import asked_version
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.label_selector import parse_selector
from ansible_collections.evergreen.eks.plugins.module_utils.picture import moment_of, seconds_of
from ansible_collections.evergreen.eks.plugins.module_utils.progress import refuse_negative
from ansible_collections.evergreen.eks.plugins.module_utils.restarts.choice import KEEP, OVERRULE, Wish
from ansible_collections.evergreen.eks.plugins.module_utils.restarts.work import restart_workloads
from ansible_collections.evergreen.eks.plugins.module_utils.restarts.workloads import KINDS
from ansible_collections.evergreen.eks.plugins.module_utils.verify.records import Sidecar
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
                workloads={
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {
                        "kind": {"type": "str", "choices": list(KINDS), "default": "Deployment"},
                        "namespace": {"type": "str", "required": True},
                        "name": {"type": "str", "required": True},
                    },
                },
                label_selector={"type": "str"},
                on_fargate={"type": "bool", "default": False},
                version={"type": "str"},
                sidecars={
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {
                        "annotation": {"type": "str", "required": True},
                        "value": {"type": "str", "default": "true"},
                        "container": {"type": "str", "required": True},
                    },
                },
                missing_sidecars_only={"type": "bool", "default": False},
                namespaces={"type": "list", "elements": "str", "default": []},
                restarted_at={"type": "str", "aliases": ["since"]},
                budgets={"type": "str", "choices": [KEEP, OVERRULE], "default": KEEP},
                max_parallel={"type": "int", "default": 10},
                timeout={"type": "float", "default": 1200.0},
            )
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        wish = wish_from(module.params)
        client = KubernetesClient.connect(module.params, Aws(module.params, call), call)
        end_with(module, restart_workloads(client, call, wish, module.params))


def wish_from(params: dict[str, Any]) -> Wish:
    """What the options ask for. Raises InvalidInput."""
    if not (params["workloads"] or params["label_selector"] or params["on_fargate"] or params["sidecars"]):
        raise InvalidInput(
            "Nothing is chosen to be restarted",
            remedy="Give workloads, label_selector, on_fargate or sidecars; several of them add up",
        )
    refuse_negative(params, "timeout")
    if params["max_parallel"] < 1:
        raise InvalidInput(f"max_parallel is {params['max_parallel']}", remedy="Give a number of 1 or more")
    restarted_at = params["restarted_at"] or ""
    if restarted_at and not seconds_of(restarted_at):
        raise InvalidInput(
            f"restarted_at is '{restarted_at}', which is no moment", remedy="Give one such as 2026-11-21T01:02:03Z"
        )
    return Wish(
        named=tuple(dict.fromkeys((one["kind"], one["namespace"], one["name"]) for one in params["workloads"])),
        selector=parse_selector(params["label_selector"]) if params["label_selector"] else None,
        namespaces=frozenset(params["namespaces"]),
        on_fargate=params["on_fargate"],
        version=asked_version(params["version"]) if params["version"] else None,
        sidecars=tuple(Sidecar(one["annotation"], one["value"], one["container"]) for one in params["sidecars"]),
        missing_sidecars_only=params["missing_sidecars_only"],
        restarted_at=moment_of(seconds_of(restarted_at)),
        budgets=params["budgets"],
    )


if __name__ == "__main__":
    main()
