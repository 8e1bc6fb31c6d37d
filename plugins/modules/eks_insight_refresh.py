#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_insight_refresh
short_description: Have EKS look again at a cluster's readiness for an upgrade
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - The insights of an EKS cluster are no older than O(max_age). Where they are, EKS is asked to look again, which it
    otherwise does once a day, and its look is awaited.
  - A look that is under way is waited for instead of being asked for twice.
options:
  cluster_name:
    description: Name of the EKS cluster.
    type: str
    required: true
  max_age:
    description:
      - Insights of the last so many seconds are fresh enough, and nothing is asked for.
      - With V(0) EKS looks again in any case.
    type: float
    default: 0.0
  timeout:
    description: Seconds to wait; V(0) means for ever.
    type: float
    default: 900.0
extends_documentation_fragment:
  - evergreen.eks._attributes
  - evergreen.eks._attributes.progress
  - evergreen.eks._attributes.actiongroup_aws
  - evergreen.eks._aws
  - evergreen.eks._waiting
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - With O(max_age), for so long.
notes:
  - "Needs the IAM actions C(eks:DescribeInsightsRefresh), C(eks:ListInsights) and C(eks:StartInsightsRefresh)."
seealso:
  - module: evergreen.eks.eks_insight_info
  - module: evergreen.eks.eks_cluster_version
"""

EXAMPLES = r"""
- name: Have EKS look at the cluster once more
  evergreen.eks.eks_insight_refresh:
    cluster_name: production

- name: Only if its last look was more than an hour ago
  evergreen.eks.eks_insight_refresh:
    cluster_name: production
    max_age: 3600
"""

RETURN = r"""
refreshed:
  description: When EKS last looked; of several insights the oldest. Empty where there are none.
  returned: success
  type: str
  sample: '2026-11-21T01:02:03Z'
began:
  description: When the look that was waited for began; empty where none was.
  returned: success
  type: str
ended:
  description: When it ended.
  returned: success
  type: str
counts:
  description: How many upgrade insights there are now of each status.
  returned: success
  type: dict
  sample: {ERROR: 0, PASSING: 5, UNKNOWN: 0, WARNING: 0}
reason:
  description:
    - Why the module failed, as one word. V(refresh_failed), EKS could not look; V(refresh_timeout), it is still at it.
    - V(cluster_not_found), V(invalid_input), V(lock_lost), V(missing_library), V(access_denied),
      V(credentials_missing), V(credentials_invalid), V(credentials_expired), V(unreachable), V(throttled),
      V(region_missing), V(aws_error).
  returned: failure
  type: str
  sample: refresh_failed
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.eks.insights import (
    NEVER,
    Refresh,
    counts,
    is_stale,
    list_insights,
    refresh_insights,
)
from ansible_collections.evergreen.eks.plugins.module_utils.moments import time_of
from ansible_collections.evergreen.eks.plugins.module_utils.progress import refuse_negative
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    failures_reported,
    waiting_argument_spec,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec=aws_argument_spec(
            **waiting_argument_spec(
                cluster_name={"type": "str", "required": True},
                max_age={"type": "float", "default": 0.0},
                timeout={"type": "float", "default": 900.0},
            )
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        refuse_negative(module.params, "max_age", "timeout")
        call = Call.of(module)
        module.exit_json(**refresh(Aws(module.params, call), call, module.params))


def refresh(aws: Aws, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Have EKS look again where its insights are old; answers what the module returns."""
    cluster, max_age = params["cluster_name"], params["max_age"]
    found, looked = list_insights(aws, cluster), Refresh(NEVER)
    wanted = not max_age or not found or any(is_stale(one, time_of(call.clock), max_age) for one in found)
    if wanted and not call.check_mode:
        given = {"timeout": params["timeout"], "poll_seconds": params["poll_seconds"]}
        looked = refresh_insights(aws, call, cluster, **given)
        found = list_insights(aws, cluster)
    return {
        "changed": wanted,
        "refreshed": min((one.refreshed for one in found), default=""),
        "began": looked.began,
        "ended": looked.ended,
        "counts": counts(found),
    }


if __name__ == "__main__":
    main()
