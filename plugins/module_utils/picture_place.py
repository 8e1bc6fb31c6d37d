# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the picture of a cluster is kept: in a file, or beside the checkpoint of a rollout or of the cluster itself.

A rollout keeps it with its checkpoint, whatever store that is in: an AWX job's container takes all files along when it
ends, and the run that goes on in another one must compare with the same beginning. Otherwise what the first half of a
rollout has broken would be taken for what was there before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.picture import Picture, PictureError, read_picture
from ansible_collections.evergreen.eks.plugins.module_utils.private_file import replace_privately
from ansible_collections.evergreen.eks.plugins.module_utils.store import Place, Store
from ansible_collections.evergreen.eks.plugins.module_utils.stores import store_of
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call


class PicturePlace(Protocol):
    """Keeps one picture. Its methods raise PictureError, or the StoreError of the checkpoint's store."""

    @property
    def name(self) -> str:
        """Where that is, for messages."""

    def read(self) -> bytes | None:
        """The picture, None where there is none."""

    def write(self, content: bytes) -> None:
        """Replace it in one step."""


@dataclass(frozen=True)
class PictureFile:
    """A file of the controller, readable by its owner only, in a directory that exists."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def read(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PictureError(
                f"The picture {self.path} cannot be read: {error.strerror or error}",
                reason="picture_unreadable",
                remedy="Make it readable for you, or name another file",
            ) from error

    def write(self, content: bytes) -> None:
        try:
            replace_privately(self.path, content)
        except OSError as error:
            raise PictureError(
                f"The picture {self.path} cannot be written: {error.strerror or error}",
                reason="picture_unwritable",
                remedy="Name a file in a directory that exists and is writable",
            ) from error


@dataclass(frozen=True)
class BesideCheckpoint:
    """With the checkpoint of a node group, or of the cluster."""

    store: Store

    @property
    def name(self) -> str:
        return f"the picture beside checkpoint {self.store.place}"

    def read(self) -> bytes | None:
        return self.store.picture()

    def write(self, content: bytes) -> None:
        self.store.keep_picture(content)


def place_of(params: Mapping[str, Any], aws: Aws, client: KubernetesClient, call: Call) -> PicturePlace:
    """The place that the options `picture`, or `asg_name` and `checkpoints`, name. Raises InvalidInput, AwsError."""
    if params["picture"]:
        return PictureFile(Path(params["picture"]).absolute())
    return beside_checkpoint(params["asg_name"], params, aws, client, call)


def beside_checkpoint(
    group: str, params: Mapping[str, Any], aws: Aws, client: KubernetesClient, call: Call
) -> BesideCheckpoint:
    """With the checkpoint of this group (CLUSTER_ITSELF: of the cluster) in the store of the option `checkpoints`.

    Raises InvalidInput, AwsError.
    """
    if not params["cluster_name"]:
        raise InvalidInput("cluster_name is not set", remedy="Name the EKS cluster whose nodes these are")
    place = Place(aws.account, aws.region, params["cluster_name"], group)
    return BesideCheckpoint(store_of(params["checkpoints"], place, aws, client, call, params["poll_seconds"]))


def find_picture(place: PicturePlace, cluster: str, run: str = "") -> Picture | None:
    """The picture that is kept there, None where there is none; with `run` only that of this run.

    Raises PictureError, also for another cluster's. Of an earlier run it may well be: clusters are made anew under
    their old name."""
    content = place.read()
    if content is None:
        return None
    found = read_picture(content, place.name)
    if run and found.run != run:
        return None
    if found.cluster != cluster:
        raise PictureError(
            f"{place.name} shows another cluster (kube-system {found.cluster}, here it is {cluster})",
            reason="picture_foreign",
            remedy="Check the connection to Kubernetes, or name another picture",
        )
    return found
