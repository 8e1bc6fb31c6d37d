#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: asg_capacity
short_description: Set the sizes of an Auto Scaling group
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Sets minimum size, maximum size and desired capacity of an Auto Scaling group, each optional and absolute, in one
    call that carries only what differs.
  - On request it waits until as many instances are C(InService) as are desired.
  - It never lets AWS choose an instance to terminate. Sizes that cannot be together are refused before anything is
    changed, and so is a O(desired_capacity) below the number of members; remove instances by name instead, with
    M(evergreen.eks.asg_detach_terminate).
options:
  asg_name:
    description: Name of the Auto Scaling group.
    type: str
    required: true
  min_size:
    description: Minimum size. Without it the minimum size stays.
    type: int
  max_size:
    description: Maximum size. Without it the maximum size stays.
    type: int
  desired_capacity:
    description: Desired capacity. Without it the desired capacity stays.
    type: int
  expected_desired:
    description:
      - The desired capacity from which the sizes asked for were computed. Once somebody else has changed it, such as an
        autoscaler, nothing is changed, and the module fails with RV(ignore:reason) V(desired_changed).
    type: int
  only_raise:
    description: Whether a size that is already larger than asked for stays as it is.
    type: bool
    default: false
  wait:
    description:
      - Whether to wait until as many instances are C(InService) as the group's desired capacity, whether or not this
        task has changed it.
      - Where somebody lowers the desired capacity meanwhile, that many are enough.
      - Nothing is waited for in check mode.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait; V(0) means for ever.
    type: float
    default: 1200.0
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
  - "Needs the IAM actions C(autoscaling:DescribeAutoScalingGroups), C(autoscaling:UpdateAutoScalingGroup) and, to
    explain a wait that ran out of time, C(autoscaling:DescribeScalingActivities)."
  - A group that counts its capacity in weights, vCPU or memory cannot be waited for, nor its capacity be lowered.
seealso:
  - module: evergreen.eks.asg_info
  - module: evergreen.eks.asg_detach_terminate
"""

EXAMPLES = r"""
- name: Add two instances to a group of six, and wait for them
  evergreen.eks.asg_capacity:
    asg_name: shared
    max_size: 8
    desired_capacity: 8
    wait: true
    wait_timeout: 900

- name: See to it that at least ten instances are possible
  evergreen.eks.asg_capacity:
    asg_name: shared
    max_size: 10
    only_raise: true
"""

RETURN = r"""
before:
  description: The sizes as described right before the change.
  returned: success, and when the wait ran out of time
  type: dict
  contains: &sizes
    min_size:
      description: Minimum size.
      type: int
    max_size:
      description: Maximum size.
      type: int
    desired_capacity:
      description: Desired capacity.
      type: int
after:
  description: The sizes as described right after the change; in check mode as they would be.
  returned: success, and when the wait ran out of time
  type: dict
  contains: *sizes
in_service:
  description: How many instances of the group are C(InService).
  returned: success, and when the wait ran out of time
  type: int
  sample: 8
reason:
  description:
    - Why the module failed, as one word.
    - V(refused), the sizes cannot be together, or AWS would choose an instance to terminate; nothing was changed.
    - V(capacity_timeout), the sizes are set, but the instances did not come in time.
    - V(desired_changed), the desired capacity is not O(expected_desired); nothing was changed.
    - V(group_deleting), somebody is deleting the group.
    - V(group_not_found), V(invalid_input), V(access_denied), V(credentials_missing), V(credentials_invalid),
      V(credentials_expired), V(unreachable), V(throttled), V(region_missing), V(aws_error).
  returned: failure
  type: str
  sample: capacity_timeout
wanted:
  description: How many instances were waited for.
  returned: when the wait ran out of time
  type: int
members:
  description: The lifecycle state of each member, by instance ID.
  returned: when the wait ran out of time
  type: dict
  sample: {i-0123456789abcdef0: InService, i-0fedcba9876543210: Pending}
activity:
  description: The scaling activity that did not succeed, in AWS's own words; empty when there is none.
  returned: when the wait ran out of time
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, aws_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.groups import (
    SIZES,
    CapacityTimeout,
    ensure_sizes,
    wait_in_service,
)
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
                min_size={"type": "int"},
                max_size={"type": "int"},
                desired_capacity={"type": "int"},
                expected_desired={"type": "int"},
                only_raise={"type": "bool", "default": False},
                wait={"type": "bool", "default": False},
                wait_timeout={"type": "float", "default": 1200.0},
            )
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        module.exit_json(**resize(Aws(module.params, call), call, module.params))


def resize(aws: Aws, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Set the sizes, wait where asked, and answer what the module returns."""
    name, wait, timeout = params["asg_name"], params["wait"], params["wait_timeout"]
    if timeout < 0:
        raise InvalidInput(f"wait_timeout is {timeout:g}", remedy="Give a number of seconds, or 0 to wait for ever")
    asked = {size: params[size] for size in SIZES}
    expected = params["expected_desired"]
    sizing = ensure_sizes(
        aws,
        call,
        name,
        asked,
        only_raise=params["only_raise"],
        counted=wait,
        expected=None if expected is None else {"desired_capacity": expected},
    )
    if not sizing.as_expected:
        now = sizing.after["desired_capacity"]
        raise EvergreenError(
            f"Auto Scaling group {name} has a desired capacity of {now}, not of {expected}",
            reason="desired_changed",
            remedy="Somebody else changed it: compute the sizes anew",
            changed=sizing.changed,
            before=sizing.before,
            after=sizing.after,
        )
    answer = {
        "changed": sizing.changed,
        "before": sizing.before,
        "after": sizing.after,
        "in_service": sizing.in_service,
        "diff": {"before": sizing.before, "after": sizing.after},
    }
    if wait and not call.check_mode:
        wanted = sizing.after["desired_capacity"]
        try:
            answer["in_service"] = wait_in_service(aws, call, name, wanted, timeout, params["poll_seconds"])
        except CapacityTimeout as error:
            error.details = {**answer, **error.details}
            raise
    return answer


if __name__ == "__main__":
    main()
