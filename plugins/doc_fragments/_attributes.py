# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This fragment is private to the evergreen.eks collection.

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of this collection's modules: what each of them supports is said by the module itself."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
      - This assumes that the system controlled or queried by the module has not changed in a relevant way.
"""

    # A module that only reads: evergreen.eks._attributes.info_module
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This action does not modify state.
  diff_mode:
    support: N/A
    details:
      - This action does not modify state.
  idempotent:
    support: full
    details:
      - This action does not modify state.
"""

    # A module that shows its progress while it works: evergreen.eks._attributes.progress
    PROGRESS = r"""
options: {}
attributes:
  async:
    description: Supports being used with the C(async) keyword.
    support: partial
    details:
      - Progress is not shown while the module runs in the background.
"""

    # Modules with AWS connection options: evergreen.eks._attributes.actiongroup_aws
    ACTIONGROUP_AWS = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/evergreen.eks.aws) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - evergreen.eks.aws
"""

    # Modules with Kubernetes connection options: evergreen.eks._attributes.actiongroup_k8s
    ACTIONGROUP_K8S = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/evergreen.eks.k8s) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - evergreen.eks.k8s
"""

    # Modules with both families: evergreen.eks._attributes.actiongroup_aws_k8s
    ACTIONGROUP_AWS_K8S = r"""
options: {}
attributes:
  action_group:
    description:
      - Use C(group/evergreen.eks.aws) and C(group/evergreen.eks.k8s) in C(module_defaults) to set defaults for this
        module.
    support: full
    membership:
      - evergreen.eks.aws
      - evergreen.eks.k8s
"""
