#!/usr/bin/python

# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: asg_protection
short_description: Protect instances of an Auto Scaling group from scale-in
version_added: 1.0.0
author:
  - Contributors to the evergreen.eks project (@evergreen-eks)
description:
  - Protects members of an Auto Scaling group from scale-in, or takes the protection off, and says for each instance
    what became of it.
  - Optionally also decides whether instances that the group launches from now on are protected.
options:
  asg_name:
    description: Name of the Auto Scaling group.
    type: str
    required: true
  instance_ids:
    description:
      - The instances. Without it all members of the group.
      - One that is no member of the group is no error; it is reported as V(not_a_member).
    type: list
    elements: str
  state:
    description: Whether the instances are to be protected from scale-in or not.
    type: str
    required: true
    choices: [protected, unprotected]
  new_instances:
    description:
      - Whether new instances of the group are to be protected from scale-in. Without it this setting stays.
      - It is set before the members are looked at, so that none is launched in between without it.
    type: bool
  unless_too_many:
    description:
      - Whether the protection of members stays on, with O(state=unprotected), while the group has more members than its
        desired capacity. Without their protection AWS would at once terminate some of its choice.
    type: bool
    default: false
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
  - "Needs the IAM actions C(autoscaling:DescribeAutoScalingGroups) and C(autoscaling:SetInstanceProtection), and
    C(autoscaling:UpdateAutoScalingGroup) for O(new_instances)."
  - AWS changes the protection only of instances that are C(InService), C(EnteringStandby) or C(Standby). Others are
    left as they are and reported as V(wrong_state).
  - Taking the protection off while the group has more members than its desired capacity lets AWS terminate some at
    once, unless O(unless_too_many=true).
seealso:
  - module: evergreen.eks.asg_info
  - module: evergreen.eks.asg_capacity
"""

EXAMPLES = r"""
- name: Protect all members, and those that come
  evergreen.eks.asg_protection:
    asg_name: shared
    state: protected
    new_instances: true
  register: protection

- name: Take off only what was put on here
  evergreen.eks.asg_protection:
    asg_name: shared
    instance_ids: "{{ protection.changed_instances }}"
    state: unprotected
    new_instances: false
"""

RETURN = r"""
instances:
  description: What became of each instance, by ID.
  returned: success
  type: dict
  contains:
    before:
      description: Whether it was protected; null when it is no member.
      type: bool
    after:
      description: Whether it is protected now, in check mode whether it would be; null when it is no member any more.
      type: bool
    lifecycle_state:
      description: Its state in the group; empty when it is no member.
      type: str
    reason:
      description:
        - V(changed), its protection was changed, or in check mode would be.
        - V(unchanged), it was already so.
        - V(wrong_state), AWS changes nothing in this lifecycle state.
        - V(not_a_member), it is not in this group.
        - V(too_many_members), it stays protected because of O(unless_too_many).
        - V(left), it left the group, or began to, while the module worked.
      type: str
  sample:
    i-0123456789abcdef0: {before: false, after: true, lifecycle_state: InService, reason: changed}
changed_instances:
  description: IDs of the instances whose protection this task changed, sorted; in check mode would change.
  returned: success
  type: list
  elements: str
new_instances:
  description: Whether new instances are protected.
  returned: success
  type: dict
  contains:
    before:
      description: Before the task.
      type: bool
    after:
      description: After the task; in check mode as it would be.
      type: bool
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
from ansible_collections.evergreen.eks.plugins.module_utils.groups import ProtectionOutcome, ensure_protection
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
                instance_ids={"type": "list", "elements": "str"},
                state={"type": "str", "required": True, "choices": ["protected", "unprotected"]},
                new_instances={"type": "bool"},
                unless_too_many={"type": "bool", "default": False},
            )
        ),
        supports_check_mode=True,
    )
    with failures_reported(module):
        call = Call.of(module)
        module.exit_json(**protect(Aws(module.params, call), call, module.params))


def protect(aws: Aws, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Change the protection, and answer what the module returns."""
    outcome = ensure_protection(
        aws,
        call,
        params["asg_name"],
        params["instance_ids"],
        protected=params["state"] == "protected",
        new_instances=params["new_instances"],
        unless_too_many=params["unless_too_many"],
    )
    return {
        "changed": outcome.changed,
        "changed_instances": outcome.changed_instances,
        "instances": outcome.instances,
        "new_instances": {"before": outcome.new_before, "after": outcome.new_after},
        "diff": {"before": _side(outcome, "before"), "after": _side(outcome, "after")},
    }


def _side(outcome: ProtectionOutcome, side: str) -> dict[str, Any]:
    """One side of the diff."""
    return {
        "protected_instances": [name for name, entry in outcome.instances.items() if entry[side]],
        "protects_new_instances": outcome.new_before if side == "before" else outcome.new_after,
    }


if __name__ == "__main__":
    main()
