# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This fragment is private to the evergreen.eks collection.

from __future__ import annotations


class ModuleDocFragment:
    # Which node group, and where its checkpoint is: plugins/module_utils/rollout_options.py, state_argument_spec
    DOCUMENTATION = r"""
options:
  asg_name:
    description: Name of the Auto Scaling group that is the node group.
    type: str
    required: true
  state:
    description: Where the checkpoint is kept.
    type: dict
    default: {}
    suboptions:
      store:
        description:
          - V(file) keeps checkpoints below O(state.dir) as C(<account>/<region>/<cluster>/<group>.json), readable by
            their owner only.
          - V(configmap) keeps each in a ConfigMap of the cluster, C(evergreen-eks-<group>), which takes the rights to
            get, create and update it.
          - V(s3) keeps each as an object of O(state.bucket), by conditional writes, which take botocore 1.35.69 or
            newer and the permissions C(s3:GetObject), C(s3:PutObject), C(s3:DeleteObject) and C(s3:ListBucket).
        type: str
        choices: [file, configmap, s3]
        default: file
      dir:
        description:
          - Directory of the checkpoints, and with every store of the journal.
          - Without it C(${XDG_STATE_HOME:-~/.local/state}/evergreen.eks).
        type: path
      namespace:
        description: Namespace of the ConfigMaps.
        type: str
        default: kube-system
      bucket:
        description: The S3 bucket, needed with the store V(s3).
        type: str
      prefix:
        description: What the keys in the bucket begin with.
        type: str
        default: evergreen.eks
"""
