#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_cluster_version
short_description: Bring the control plane of an EKS cluster to a Kubernetes version
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - The control plane of an EKS cluster is at O(version). EKS takes it up one minor version at a time, so that one which
    is two versions away takes two steps; each is awaited before the next one.
  - An update that is under way is joined, whoever began it, also after this module was killed; it is never asked for
    twice. Where EKS is at work on something else there, the end of that is awaited first.
  - It goes only up. Before anything is changed it refuses a version that EKS does not offer, one that the kubelets of
    the cluster's nodes are too old for (also those on Fargate), a cluster that is not ACTIVE or has health issues, and
    insights that EKS has found to be in error. All of that is looked at again before each step.
  - It says until when EKS lets the upgrade be rolled back.
  - Nodes, add-ons and workloads stay as they are.
options:
  cluster_name:
    description: Name of the EKS cluster.
    type: str
    required: true
  version:
    description:
      - The Kubernetes version, for example V(1.33). Put it in quotes, as V(1.30) without them is V(1.3) in YAML.
    type: str
    required: true
  ignore_insights:
    description:
      - Names or ids of upgrade insights that may be in error. EKS is then told to pass over them.
      - With V(Cluster health issues) among them, the health issues of the cluster are passed over, too.
    type: list
    elements: str
    default: []
  insight_max_age:
    description:
      - EKS is asked to look again before a step where its insights are older than so many seconds, or are from before
        the control plane last changed. It is asked, too, before insights in error stop the upgrade.
      - With V(0) the insights are taken as they are.
      - When EKS cannot look, there is a warning, and those that are known count.
    type: float
    default: 86400.0
  timeout:
    description:
      - Seconds that each step may take; V(0) means for ever. EKS needs some ten minutes.
      - When they are over, EKS goes on all the same. Run the task again to wait on.
    type: float
    default: 3600.0
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
      - Answers the steps that it would take, after the same refusals. Old insights are not refreshed, which a warning
        says.
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - "Needs the IAM actions C(eks:DescribeCluster), C(eks:DescribeClusterVersions), C(eks:DescribeInsight),
    C(eks:DescribeInsightsRefresh), C(eks:DescribeUpdate), C(eks:ListInsights), C(eks:ListNodegroups),
    C(eks:ListUpdates), C(eks:StartInsightsRefresh) and C(eks:UpdateClusterVersion), and the Kubernetes verb C(list) on
    C(nodes)."
  - A cluster with EKS managed node groups goes one version at a time, since EKS wants the node groups to follow before
    the next one.
  - The Kubernetes API is away for moments while its servers are replaced; whoever uses it must try again.
seealso:
  - module: evergreen.eks.eks_insight_info
  - module: evergreen.eks.eks_insight_refresh
  - name: Update existing cluster to new Kubernetes version
    description: What EKS does in an update.
    link: https://docs.aws.amazon.com/eks/latest/userguide/update-cluster.html
  - name: Rollback cluster to previous Kubernetes version
    description: The way back.
    link: https://docs.aws.amazon.com/eks/latest/userguide/rollback-cluster.html
"""

EXAMPLES = r"""
- name: The control plane is at 1.33
  evergreen.eks.eks_cluster_version:
    cluster_name: production
    version: '1.33'
  register: control_plane

- name: Say until when there is a way back
  ansible.builtin.debug:
    msg: Until {{ control_plane.rollback_until }} it can be rolled back to {{ control_plane.rollback_version }}.
  when: control_plane.rollback_until

- name: The same, although an agent that we are about to remove still uses an old API
  evergreen.eks.eks_cluster_version:
    cluster_name: production
    version: '1.33'
    ignore_insights:
      - Deprecated APIs removed in Kubernetes v1.33
"""

RETURN = r"""
cluster_name:
  description: Name of the cluster.
  returned: success
  type: str
version_before:
  description: The Kubernetes version of the control plane when the module began.
  returned: success
  type: str
  sample: '1.31'
version:
  description: The Kubernetes version of the control plane; in check mode as it would be.
  returned: success
  type: str
  sample: '1.33'
platform_version:
  description: EKS's own version of the control plane.
  returned: success
  type: str
  sample: eks.28
steps:
  description: The steps that were taken, or joined, in their order; in check mode those that would be.
  returned: always, except for invalid options
  type: list
  elements: dict
  contains:
    from:
      description: The version before the step.
      type: str
    to:
      description: The version after it.
      type: str
    update_id:
      description: The id of EKS's update; empty in check mode.
      type: str
    status:
      description: V(Successful), V(Failed), V(Cancelled), V(InProgress), or V(Planned) in check mode.
      type: str
    began:
      description: When the update began, by EKS's clock; empty in check mode.
      type: str
    seconds:
      description: How long it was waited for by this task.
      type: int
    joined:
      description: Whether the update was under way already.
      type: bool
    forced:
      description: Whether EKS was told to pass over insights in error.
      type: bool
  sample:
    - from: '1.31'
      to: '1.32'
      update_id: 0f5c1b0c-8a9a-4a2f-8e0d-4b1e2f3a4b5c
      status: Successful
      began: '2026-11-21T01:02:03Z'
      seconds: 612
      joined: false
      forced: false
rollback_until:
  description:
    - Until when EKS lets the latest upgrade be rolled back, which is seven days; empty where it does not, and in check
      mode.
    - Counted from the update's beginning. EKS counts from its end, some minutes later.
  returned: success
  type: str
  sample: '2026-11-28T01:02:03Z'
rollback_version:
  description: The version that it can be rolled back to until then, else empty.
  returned: success
  type: str
  sample: '1.32'
insights:
  description:
    - The upgrade insights that did not pass when they were looked at, before each step, also those about later versions
      on the way, of which there is a warning; where some stopped the upgrade, these.
    - In the form of RV(evergreen.eks.eks_insight_info#module:insights), without C(stale).
  returned: success, and for insights in error
  type: list
  elements: dict
ignored_insights:
  description: Names of the insights in error that were passed over.
  returned: success
  type: list
  elements: str
health_issues:
  description: The health issues of the cluster, each with C(code), C(message) and C(resources).
  returned: success, and for health issues
  type: list
  elements: dict
nodes:
  description: The nodes whose kubelets are too old, each with C(node), C(version) and C(fargate).
  returned: when the version skew forbids the upgrade
  type: list
  elements: dict
update:
  description: >-
    The update that failed or was waited for, with C(id), C(type), C(status), C(created), C(params) and C(errors), each
    of which has C(code), C(message) and C(resources).
  returned: when an update failed or did not end in time
  type: dict
reason:
  description:
    - Why the module failed, as one word.
    - V(unknown_version), EKS does not offer that version; V(downgrade), the control plane is at a later one, or on its
      way there; V(version_skew), kubelets are too old; V(node_groups_behind), several steps with EKS managed node
      groups; V(insights_in_error); V(cluster_issues), health issues of the cluster; V(cluster_not_active);
      V(rolling_back), somebody is rolling the cluster back. No step was begun then that RV(steps) does not name.
    - V(update_refused), EKS refuses the update; V(update_failed), EKS has ended it without success;
      V(update_timeout), it goes on.
    - V(cluster_not_found), V(invalid_input), V(lock_lost), V(missing_library), V(access_denied),
      V(credentials_missing), V(credentials_invalid), V(credentials_expired), V(unreachable), V(throttled),
      V(region_missing), V(aws_error), and those of the connection to Kubernetes, like V(kubernetes_forbidden).
  returned: failure
  type: str
  sample: version_skew
"""

from functools import partial

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.eks.control_plane import ControlPlane, Wish
from ansible_collections.evergreen.eks.plugins.module_utils.eks.versions import asked_version
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.progress import refuse_negative
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    end_with,
    failures_reported,
    waiting_argument_spec,
)


def main() -> None:
    argument_spec = kubernetes_argument_spec(
        **waiting_argument_spec(
            version={"type": "str", "required": True},
            ignore_insights={"type": "list", "elements": "str", "default": []},
            insight_max_age={"type": "float", "default": 86400.0},
            timeout={"type": "float", "default": 3600.0},
        )
    )
    argument_spec["cluster_name"] = {"type": "str", "required": True}
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True)
    params = module.params
    with failures_reported(module):
        refuse_negative(params, "insight_max_age", "timeout")
        wish = Wish(
            cluster=params["cluster_name"],
            version=asked_version(params["version"]),
            ignore_insights=tuple(params["ignore_insights"]),
            insight_max_age=params["insight_max_age"],
            timeout=params["timeout"],
            poll_seconds=params["poll_seconds"],
        )
        call = Call.of(module)
        aws = Aws(params, call)
        end_with(module, ControlPlane(aws, partial(KubernetesClient.connect, params, aws), call, wish).reach())


if __name__ == "__main__":
    main()
