# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: kubernetes_options
short_description: Read the Kubernetes connection options of a playbook
version_added: 1.0.0
author: Contributors to the evergreen.eks project (@evergreen)
description:
  - Turns connection options that may come as JSON text (from an AWX survey or C(-e)) into a dict for
    C(module_defaults) of the action group C(evergreen.eks.k8s).
  - A filter and not a module's answer, so that secrets among the options never stand in the output of a task.
options:
  _input:
    description:
      - A dict of Kubernetes options of the modules of C(evergreen.eks.k8s), or its JSON. Empty text means no options.
      - An unknown option is an error.
    type: raw
    required: true
  cluster_name:
    description: The EKS cluster, for which the modules find the API server and make tokens themselves.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Roll node groups
  hosts: localhost
  module_defaults:
    group/evergreen.eks.k8s: >-
      {{ eks_kubernetes | default({}) | evergreen.eks.kubernetes_options(cluster_name=eks_cluster_name | default('')) }}
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
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes_connection import kubernetes_argument_spec
from ansible_collections.evergreen.eks.plugins.module_utils.settings import kubernetes_options


def read(value: Any, cluster_name: Any = "") -> dict[str, Any]:
    own = {name: option for name, option in kubernetes_argument_spec().items() if name not in aws_argument_spec()}
    try:
        return kubernetes_options(value, cluster_name, own)
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"kubernetes_options": read}
