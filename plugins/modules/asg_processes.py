#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: asg_processes
short_description: Suspend or resume scaling processes of an Auto Scaling group
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Suspends scaling processes of an Auto Scaling group, or lets them run again.
  - It answers which of them this task changed, so that a later task can put back just these and leave alone what was
    suspended before.
options:
  asg_name:
    description: Name of the Auto Scaling group.
    type: str
    required: true
  processes:
    description: The processes. An empty list means none of them.
    type: list
    elements: str
    required: true
    choices:
      - AddToLoadBalancer
      - AlarmNotification
      - AZRebalance
      - HealthCheck
      - InstanceRefresh
      - Launch
      - ReplaceUnhealthy
      - ScheduledActions
      - Terminate
  state:
    description: Whether the processes are to be suspended or running.
    type: str
    required: true
    choices: [suspended, running]
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
    support: full
  idempotent:
    support: full
notes:
  - "Needs the IAM actions C(autoscaling:DescribeAutoScalingGroups), C(autoscaling:SuspendProcesses) and
    C(autoscaling:ResumeProcesses)."
seealso:
  - module: evergreen.eks.asg_info
"""

EXAMPLES = r"""
- name: Keep the group from moving instances between zones
  evergreen.eks.asg_processes:
    asg_name: shared
    processes: [AZRebalance]
    state: suspended
  register: suspended

- name: Put back only what was suspended here
  evergreen.eks.asg_processes:
    asg_name: shared
    processes: "{{ suspended.changed_processes }}"
    state: running
"""

RETURN = r"""
suspended:
  description: All processes that are suspended now, sorted; in check mode those that would be.
  returned: success
  type: list
  elements: str
  sample: [AZRebalance]
changed_processes:
  description: The processes that this task suspended or resumed, sorted; in check mode those that it would.
  returned: success
  type: list
  elements: str
  sample: [AZRebalance]
reason:
  description:
    - Why the module failed, as one word.
    - V(group_not_found), V(invalid_input), V(access_denied), V(credentials_missing), V(credentials_invalid),
      V(credentials_expired), V(unreachable), V(throttled), V(region_missing), V(aws_error).
  returned: failure
  type: str
  sample: group_not_found
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.groups import PROCESSES, ensure_processes
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import (
    Call,
    failures_reported,
    waiting_argument_spec,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec=aws_argument_spec(
            **waiting_argument_spec(
                asg_name={"type": "str", "required": True},
                processes={"type": "list", "elements": "str", "required": True, "choices": list(PROCESSES)},
                state={"type": "str", "required": True, "choices": ["suspended", "running"]},
            )
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        module.exit_json(**switch(Aws(module.params, call), call, module.params))


def switch(aws: Aws, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Suspend or resume, and answer what the module returns."""
    outcome = ensure_processes(
        aws, call, params["asg_name"], params["processes"], suspended=params["state"] == "suspended"
    )
    return {
        "changed": bool(outcome.changed),
        "suspended": outcome.after,
        "changed_processes": outcome.changed,
        "diff": {"before": {"suspended": outcome.before}, "after": {"suspended": outcome.after}},
    }


if __name__ == "__main__":
    main()
