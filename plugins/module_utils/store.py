# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where checkpoints live: what every store can do, how it is named, and what goes wrong with it.

The stores themselves stand in C(store_file), C(store_configmap) and C(store_s3); C(stores) chooses one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Optional, Protocol, TypeVar, Union
from urllib.parse import quote

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput

# How the id of a run stands in the name of a checkpoint that was put aside, as a regular expression.
RUN_ID = r"\.\d{8}T\d{6}-[0-9a-f]+"

# What belongs to the cluster as a whole is kept beside its groups, under a name that none of them can have: "You cannot
# use a colon (:) in the name" (API reference of CreateAutoScalingGroup, AutoScalingGroupName).
CLUSTER_ITSELF = ":cluster"


class StoreError(EvergreenError):
    """The place of the checkpoints cannot be used; C(reason) is checkpoint_unwritable or checkpoint_unreadable."""


class CheckpointConflict(EvergreenError):
    """Somebody else wrote the checkpoint since we read it; it was not overwritten."""

    default_reason = "checkpoint_conflict"

    def __init__(self, place: str) -> None:
        super().__init__(
            f"checkpoint {place} was written, or taken away, by somebody else since this run read it",
            remedy="Another run works on this node group: wait for it to end, then run again",
        )


@dataclass(frozen=True)
class Place:
    """All that names a node group, everywhere: the key of its checkpoint in every store."""

    account: str
    region: str
    cluster: str
    group: str


class Document(Protocol):
    """What a store keeps: the checkpoint of a node group's rollout, or of a cluster's upgrade."""

    def to_json(self, indent: Optional[int] = 2) -> str:
        """The document, to be read by people; without `indent` in as few bytes as it takes."""


Kept = TypeVar("Kept", bound=Document)


class Reader(Protocol[Kept]):
    """From what was kept to the document; the second argument is its place, for messages. Raises CheckpointError."""

    def __call__(self, text: Union[str, bytes], place: str, /) -> Kept: ...


class Store(Protocol[Kept]):
    """The checkpoint of one node group, the picture of the cluster at its start, and the request to stop its run.

    A store remembers the version that it last saw, at C(load) or C(save), and writes only over that: what somebody
    else wrote meanwhile is never overwritten (CheckpointConflict). Before the first look it expects to find nothing.
    Every method may raise StoreError, which names the object, the cause and the remedy.
    """

    @property
    def place(self) -> str:
        """Where the checkpoint is, for messages."""

    def load(self) -> Optional[Kept]:
        """The checkpoint, or None where there is none. Raises CheckpointError for one that cannot be used."""

    def save(self, checkpoint: Kept) -> None:
        """Replace the checkpoint in one step: a reader, or a kill, sees the old one or the new one, never half.

        Raises CheckpointConflict.
        """

    def archive(self, run_id: str) -> str:
        """Put the checkpoint aside, for people to read; answers where it is then. Raises CheckpointConflict."""

    def former(self) -> Optional[Kept]:
        """The last checkpoint that was put aside, or None. Raises CheckpointError for one that cannot be used."""

    def picture(self) -> Optional[bytes]:
        """The picture of the cluster that was last kept here, or None."""

    def keep_picture(self, content: bytes) -> None:
        """Replace the picture in one step, whatever becomes of the checkpoint meanwhile.

        It stands beside the checkpoint and not in it, because it is large and written once, where the checkpoint is
        written at every stage.
        """

    def stop_request(self) -> Optional[str]:
        """Who asked when that the run of this group stops; None where nobody did."""

    def request_stop(self, text: str) -> None:
        """Ask the run of this group to stop, now or whenever the next one looks."""

    def clear_stop(self) -> None:
        """Take the request off; where there is none, nothing happens."""


def default_directory(environment: Optional[Mapping[str, str]] = None) -> str:
    """C(${XDG_STATE_HOME:-~/.local/state}/evergreen.eks)."""
    env = os.environ if environment is None else environment
    return os.path.join(env.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "evergreen.eks")


def refuse_lost_state(awx_job_id: str, store: str, directory: str) -> None:
    """Raise InvalidInput where the checkpoint would be a file in the container of an AWX job, which ends with it."""
    if awx_job_id and store == "file" and not directory:
        raise InvalidInput(
            "The checkpoint would be lost with the container of this AWX job",
            remedy="Set eks_state_store=configmap, or s3, or eks_state_dir to a directory that outlives jobs",
        )


def cluster_folder(directory: str, place: Place) -> Path:
    """The folder of a cluster below the state directory; it may not exist yet."""
    return Path(directory).expanduser().absolute() / place.account / place.region / quote(place.cluster, safe="")


def file_of(directory: str, place: Place, suffix: str) -> Path:
    """A file of a node group: its name percent-encoded, for it may hold slashes and spaces."""
    return cluster_folder(directory, place) / f"{quote(place.group, safe='')}{suffix}"


def journal_path(directory: str, place: Place) -> Path:
    """The journal of a node group: a local file, whatever store its checkpoint is in."""
    return file_of(directory, place, ".journal.jsonl")
