#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_insight_info
short_description: Read what EKS has found out about a cluster's readiness for an upgrade
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Reads the insights of an EKS cluster as data, the worst first, and says which of them are old.
  - EKS looks once a day. In between an insight says what was so at its last look; M(evergreen.eks.eks_insight_refresh)
    asks for a fresh one.
options:
  cluster_name:
    description: Name of the EKS cluster.
    type: str
    required: true
  categories:
    description:
      - The kinds of insights. V(UPGRADE_READINESS), what is in the way of the next version; V(ROLLBACK_READINESS), what
        is in the way back; V(MISCONFIGURATION), of hybrid nodes.
    type: list
    elements: str
    choices: [UPGRADE_READINESS, ROLLBACK_READINESS, MISCONFIGURATION]
    default: [UPGRADE_READINESS]
  version:
    description: Only those about this Kubernetes version, for example V(1.33).
    type: str
  statuses:
    description: Only those of these statuses. Without it all.
    type: list
    elements: str
    choices: [PASSING, WARNING, ERROR, UNKNOWN]
    default: []
  max_age:
    description: Seconds after which an insight is called stale; V(0) means never.
    type: float
    default: 86400.0
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.info_module
  - evergreen.eks._attributes.actiongroup_aws
  - evergreen.eks._aws
notes:
  - "Needs the IAM actions C(eks:ListInsights) and, for those that do not pass, C(eks:DescribeInsight)."
seealso:
  - module: evergreen.eks.eks_cluster_version
  - module: evergreen.eks.eks_insight_refresh
"""

EXAMPLES = r"""
- name: What is in the way of the next version
  evergreen.eks.eks_insight_info:
    cluster_name: production
    statuses: [ERROR, WARNING]
  register: insights

- name: Name it
  ansible.builtin.debug:
    msg: "{{ item.name }} ({{ item.version }}): {{ item.reason }} {{ item.recommendation }}"
  loop: "{{ insights.insights }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
insights:
  description: The insights, the worst first.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The id of the insight.
      type: str
    name:
      description: Its name.
      type: str
      sample: Kubelet version skew
    category:
      description: Its category, as in O(categories).
      type: str
    version:
      description: The Kubernetes version that it is about.
      type: str
      sample: '1.33'
    status:
      description: V(PASSING), V(WARNING), V(ERROR) or V(UNKNOWN).
      type: str
    reason:
      description: Why it has that status.
      type: str
    description:
      description: What is checked.
      type: str
    refreshed:
      description: When EKS last looked.
      type: str
      sample: '2026-11-21T01:02:03Z'
    changed:
      description: Since when it has this status.
      type: str
    stale:
      description: Whether EKS looked longer than O(max_age) ago.
      type: bool
    recommendation:
      description: What helps; empty for those that pass, like all that follows.
      type: str
    links:
      description: Addresses of more about it, by their title.
      type: dict
    resources:
      description: What it has found, each with C(resource) (a Kubernetes path or an ARN), C(status) and C(reason).
      type: list
      elements: dict
    deprecations:
      description: >-
        Deprecated APIs that are still used, each with C(usage), C(replaced_with), C(stops_in), C(replacement_since) and
        C(clients), which have C(user_agent), C(requests) (in 30 days) and C(last).
      type: list
      elements: dict
    addons:
      description: Add-ons that do not fit, each with C(name) and C(compatible_versions).
      type: list
      elements: dict
counts:
  description: How many insights there are of each status.
  returned: success
  type: dict
  sample: {ERROR: 1, PASSING: 4, UNKNOWN: 0, WARNING: 0}
stale:
  description: Whether any of them is stale.
  returned: success
  type: bool
reason:
  description:
    - Why the module failed, as one word.
    - V(cluster_not_found), V(invalid_input), V(missing_library), V(access_denied), V(credentials_missing),
      V(credentials_invalid), V(credentials_expired), V(unreachable), V(throttled), V(region_missing), V(aws_error).
  returned: failure
  type: str
  sample: cluster_not_found
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.eks.insights import (
    CATEGORIES,
    PASSING,
    STATUSES,
    UPGRADE,
    counts,
    is_stale,
    list_insights,
    read_insight,
)
from ansible_collections.evergreen.eks.plugins.module_utils.moments import time_of
from ansible_collections.evergreen.eks.plugins.module_utils.progress import refuse_negative
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, failures_reported


def main() -> None:
    module = AnsibleModule(
        argument_spec=aws_argument_spec(
            cluster_name={"type": "str", "required": True},
            categories={"type": "list", "elements": "str", "choices": list(CATEGORIES), "default": [UPGRADE]},
            version={"type": "str"},
            statuses={"type": "list", "elements": "str", "choices": list(STATUSES), "default": []},
            max_age={"type": "float", "default": 86400.0},
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        refuse_negative(module.params, "max_age")
        call = Call.of(module)
        module.exit_json(**insight_info(Aws(module.params, call), call, module.params))


def insight_info(aws: Aws, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """What the module answers. Only what does not pass is read in full: that is a request for each."""
    cluster, now = params["cluster_name"], time_of(call.clock)
    found = list_insights(
        aws,
        cluster,
        categories=params["categories"],
        version=params["version"] or "",
        statuses=params["statuses"],
    )
    whole = [one if one.status == PASSING else read_insight(aws, cluster, one) for one in found]
    records = [{**one.record, "stale": is_stale(one, now, params["max_age"])} for one in whole]
    return {"insights": records, "counts": counts(found), "stale": any(one["stale"] for one in records)}


if __name__ == "__main__":
    main()
