# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: aws_options
short_description: Read the AWS connection options of a playbook
version_added: 1.0.0
author: Contributors to the evergreen.eks project (@evergreen)
description:
  - Turns connection options that may come as JSON text (from an AWX survey or C(-e)) into a dict for
    C(module_defaults) of the action group C(evergreen.eks.aws).
  - A filter and not a module's answer, so that secrets among the options never stand in the output of a task.
options:
  _input:
    description:
      - A dict of options of the modules of C(evergreen.eks.aws), or its JSON. Empty text means no options.
      - An unknown option is an error.
    type: raw
    required: true
  region:
    description: The AWS region. Empty text means that it is not given here.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Roll node groups
  hosts: localhost
  module_defaults:
    group/evergreen.eks.aws: "{{ eks_aws | default({}) | evergreen.eks.aws_options(region=eks_region | default('')) }}"
  tasks: []
"""

RETURN = r"""
_value:
  description: The options that are set.
  type: dict
"""

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.evergreen.eks.plugins.module_utils.aws import aws_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.settings import aws_options


def read(value: Any, region: Any = "") -> dict[str, Any]:
    try:
        return aws_options(value, region, aws_argument_spec())
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"aws_options": read}
