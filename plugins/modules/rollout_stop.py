#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_stop
short_description: Ask the rollout of a node group to stop after the nodes in hand
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Leaves a request where the checkpoint of a run is kept. The run looks for it before it touches the nodes of a new
    wave. It brings the nodes in hand to their end, fails with RV(ignore:reason) V(stopped) and leaves the others as
    they are.
  - The next run takes the request off and goes on.
  - Where the node group is not begun, but a run holds the cluster, that run is asked to stop before it begins here.
    Where there is neither, nothing is left. Requests that are older than the lock of a run do not concern it.
  - A run that is being put back cannot be asked to stop.
options:
  requested:
    description: Whether the run is asked to stop. V(false) takes the request off.
    type: bool
    default: true
  operator:
    description: Who asks; found out by itself.
    type: str
  awx_job_id:
    description: The AWX job that asks; found out by itself.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
notes:
  - Needs the IAM actions C(sts:GetCallerIdentity), C(autoscaling:DescribeAutoScalingGroups), C(eks:DescribeCluster),
    and the rights that the store needs. To see who holds the cluster it needs the RBAC verb C(get) on leases in the
    namespace C(kube-system). Without it, or where the run has no lock, only a run that has begun here can be asked.
  - Takes no lock, because the run that it is about holds it.
  - Fails with RV(ignore:reason) V(state_elsewhere), V(given_up), V(checkpoint_unwritable) or V(checkpoint_unreadable),
    besides those of the connection.
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.progress
  - evergreen.eks._attributes.actiongroup_aws_k8s
  - evergreen.eks._aws
  - evergreen.eks._kubernetes
  - evergreen.eks._state
  - evergreen.eks._waiting
seealso:
  - module: evergreen.eks.rollout_state
"""

EXAMPLES = r"""
- name: Let the rollout end after the nodes in hand
  evergreen.eks.rollout_stop:
    cluster_name: prod
    asg_name: prod-shared

- name: Let it go on after all
  evergreen.eks.rollout_stop:
    cluster_name: prod
    asg_name: prod-shared
    requested: false
"""

RETURN = r"""
request:
  description: Who asked when, V("") where nobody has.
  returned: success
  type: str
  sample: ann at 2026-11-21T01:02:03Z
run_id:
  description: The unfinished run, V("") where there is none.
  returned: success
  type: str
checkpoint:
  description: Where the checkpoint of this node group is.
  returned: success
  type: str
summary:
  description: What that means, in words.
  returned: success
  type: str
  sample: "prod-shared: run 20261121T010203-4f2a9c is asked to stop (ann at 2026-11-21T01:02:03Z)"
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.rollout_options import state_argument_spec, stored_run
from ansible_collections.evergreen.eks.plugins.module_utils.stopping import ask
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, failures_reported


def main() -> None:
    module = AnsibleModule(
        argument_spec=state_argument_spec(
            requested={"type": "bool", "default": True},
            operator={"type": "str"},
            awx_job_id={"type": "str"},
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        aws, client, place, store = stored_run(module.params, call)
        module.exit_json(**ask(aws, client, store, place, module.params, call))


if __name__ == "__main__":
    main()
