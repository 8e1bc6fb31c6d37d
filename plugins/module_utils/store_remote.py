# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stores behind a network share: compare-and-swap over answers that may be lost on their way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Generic, Optional, TypeVar

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat
from ansible_collections.evergreen.eks.plugins.module_utils.store import CheckpointConflict, Kept, Reader, StoreError
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

Found = TypeVar("Found")


@dataclass(frozen=True)
class Seen:
    """What a look found: the bytes of the checkpoint (None: there is none), and the server's word for that version."""

    content: Optional[bytes] = None
    version: Any = None


class RemoteStore(ABC, Generic[Kept]):
    """A store that reads and writes over a network.

    A write that was refused for its version, or whose answer was lost, is judged by another look: where our own words
    stand there it was done; where nothing has changed it is sent again, for as long as patience lasts; anything else
    was another writer.
    """

    #: what is raised where this store's own server refuses; all else (expired credentials, a lost lock) passes as it is
    REFUSAL: ClassVar[type[EvergreenError]]

    def __init__(self, call: Call, poll_seconds: float, read: Reader[Kept]) -> None:
        self._as_document = read
        self._call = call
        self._poll_seconds = poll_seconds
        self._seen = Seen()

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the checkpoint is, for messages."""

    @abstractmethod
    def _look(self) -> Seen:
        """What is there now. Raises REFUSAL."""

    @abstractmethod
    def _look_aside(self) -> Optional[bytes]:
        """The last checkpoint that was put aside. Raises REFUSAL."""

    @abstractmethod
    def _put(self, content: bytes, seen: Seen) -> Seen:
        """Write it in one step, if that version is still the current one. Raises REFUSAL."""

    @abstractmethod
    def _moved(self, error: Any, seen: Seen) -> bool:
        """Whether that REFUSAL of a write says that the version is not the current one."""

    @abstractmethod
    def _remedy(self, error: Any) -> str:
        """What to do about a REFUSAL; "" where its own remedy says it."""

    @abstractmethod
    def _as_bytes(self, checkpoint: Kept) -> bytes:
        """The document as this store keeps it."""

    def load(self) -> Optional[Kept]:
        self._seen = self._request(self._look, "read")
        return None if self._seen.content is None else self._as_document(self._seen.content, self.place)

    def former(self) -> Optional[Kept]:
        content = self._request(self._look_aside, "read")
        return None if content is None else self._as_document(content, self.place)

    def save(self, checkpoint: Kept) -> None:
        content = self._as_bytes(checkpoint)
        self._seen = self._swap(self._seen, lambda seen: self._put(content, seen), content)

    def _swap(self, seen: Seen, write: Callable[[Seen], Seen], content: Optional[bytes]) -> Seen:
        """Write over that version, so that ``content`` is there. Raises CheckpointConflict, StoreError."""
        deadline = Deadline(self._call.clock, self._call.patience(self._poll_seconds))
        heartbeat = Heartbeat(self._call)
        while True:
            try:
                return write(seen)
            except self.REFUSAL as error:
                if not self._moved(error, seen) and not error.transient:
                    raise self._unusable(error, "written") from error
                refusal = error
            now = self._request(self._look, "read")
            if now.content == content != seen.content:
                return now
            if now.content != seen.content:
                raise CheckpointConflict(self.place) from refusal
            if deadline.expired():
                raise self._unusable(refusal, "written") from refusal
            seen = now
            heartbeat.trouble(f"checkpoint {self.place} cannot be written: {refusal.message}")
            self._call.clock.sleep(min(self._poll_seconds, deadline.remaining()))

    def _request(self, request: Callable[[], Found], what: str) -> Found:
        """What the request answers; C(what) it was to be: read or written. Raises StoreError."""
        try:
            return request()
        except self.REFUSAL as error:
            raise self._unusable(error, what) from error

    def _unusable(self, error: EvergreenError, what: str) -> StoreError:
        return StoreError(
            f"checkpoint {self.place} cannot be {what}: {error.message}",
            reason="checkpoint_unwritable" if what == "written" else "checkpoint_unreadable",
            remedy=self._remedy(error) or error.remedy,
        )
