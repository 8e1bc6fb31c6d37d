# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the option C(state) to the store that it names."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import read_checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.store import Kept, Place, Reader, Store, default_directory
from ansible_collections.evergreen.eks.plugins.module_utils.store_configmap import ConfigMapStore
from ansible_collections.evergreen.eks.plugins.module_utils.store_file import FileStore
from ansible_collections.evergreen.eks.plugins.module_utils.store_s3 import S3Store
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

#: the options of the dictionary that names a store
STORE_OPTIONS: Mapping[str, Any] = {
    "store": {"type": "str", "choices": ["file", "configmap", "s3"], "default": "file"},
    "dir": {"type": "path"},
    "namespace": {"type": "str", "default": "kube-system"},
    "bucket": {"type": "str"},
    "prefix": {"type": "str", "default": "evergreen.eks"},
}


def store_of(
    state: Mapping[str, Any],
    place: Place,
    aws: Aws,
    client: KubernetesClient,
    call: Call,
    poll_seconds: float,
    read: Reader[Kept] = read_checkpoint,
) -> Store[Kept]:
    """The store that C(state) names (C(store), C(dir), C(namespace), C(bucket), C(prefix)). Asks nobody anything yet.

    C(read) makes a document of what is kept there, by default the checkpoint of a node group. Passing failures are
    repeated, with pauses of C(poll_seconds). Raises InvalidInput.
    """
    if state["store"] == "configmap":
        return ConfigMapStore(state["namespace"], place, client, call, poll_seconds, read)
    if state["store"] == "s3":
        if not state["bucket"]:
            raise InvalidInput(
                "the checkpoint is to be kept in S3, but no bucket is named",
                remedy="Name it with state.bucket (eks_state_bucket)",
            )
        return S3Store(state["bucket"], state["prefix"], place, aws, call, poll_seconds, read)
    return FileStore(state["dir"] or default_directory(), place, read)
