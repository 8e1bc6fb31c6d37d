# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints as files of the controller."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Generic, Iterator, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint, read_checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.private_file import disk_is_full, replace_privately
from ansible_collections.evergreen.eks.plugins.module_utils.store import (
    RUN_ID,
    CheckpointConflict,
    Kept,
    Place,
    Reader,
    StoreError,
    cluster_folder,
    file_of,
)

SCRAP = ".tmp"
LOCK = ".lock"


class FileStore(Generic[Kept]):
    """Checkpoints as files: C(<directory>/<account>/<region>/<cluster>/<group, percent-encoded>.json), mode 0600.

    The version of a checkpoint is the digest of its bytes. It is compared, and the file replaced, under a lock of the
    folder that the operating system gives back when its holder dies.
    """

    def __init__(self, directory: str, where: Place, read: Reader[Kept] = read_checkpoint) -> None:
        self._as_document = read
        self._folder = cluster_folder(directory, where)
        self._file = partial(file_of, directory, where)
        self._stop = self._file(".stop")
        self._picture = self._file(".picture")
        self.path = self._file(".json")
        self._seen = ""  # digest of the bytes that we last saw; "" = no file

    @property
    def place(self) -> str:
        return str(self.path)

    def load(self) -> Optional[Kept]:
        content = self._read(self.path)
        self._seen = _digest(content)
        return None if content is None else self._as_document(content, self.place)

    def save(self, checkpoint: Kept) -> None:
        content = checkpoint.to_json().encode()
        with self._alone():
            self._sweep(self.path)
            self._refuse_another_version()
            handle, name = tempfile.mkstemp(prefix=f"{self.path.name}.", suffix=SCRAP, dir=str(self._folder))
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            self._seen = _digest(content)
            self._sync_folder()

    def archive(self, run_id: str) -> str:
        """As C(<group>.<run id>.done.json)."""
        done = self._file(f".{run_id}.done.json")
        with self._alone():
            self._refuse_another_version()
            os.replace(self.path, done)
            self._seen = _digest(None)
            self._sync_folder()
        return str(done)

    def former(self) -> Optional[Kept]:
        """The youngest of C(<group>.<run id>.done.json): a run's id begins with when it began."""
        begin, end = self.path.name.removesuffix(".json"), ".done.json"
        ours = re.compile(re.escape(begin) + RUN_ID + re.escape(end))
        done = [path for path in self._folder.glob(f"{begin}.*{end}") if ours.fullmatch(path.name)]
        content = self._read(max(done, key=lambda path: path.name)) if done else None
        return None if content is None else self._as_document(content, self.place)

    def picture(self) -> Optional[bytes]:
        """The content of the file C(<group>.picture)."""
        return self._read(self._picture)

    def keep_picture(self, content: bytes) -> None:
        with self._alone():
            self._sweep(self._picture)
            replace_privately(self._picture, content)

    def stop_request(self) -> Optional[str]:
        """The content of the file C(<group>.stop)."""
        content = self._read(self._stop)
        return None if content is None else content.decode(errors="replace").strip() or "somebody"

    def request_stop(self, text: str) -> None:
        with self._writing(self._stop), open(self._stop, "w", encoding="utf-8", opener=_private) as file:
            file.write(f"{text}\n")

    def clear_stop(self) -> None:
        with self._writing(self._stop):
            self._stop.unlink(missing_ok=True)

    # --- the parts -------------------------------------------------------------------------------------------------

    def _read(self, path: Path) -> Optional[bytes]:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f"checkpoint {path} cannot be read: {error.strerror or error}",
                reason="checkpoint_unreadable",
                remedy="Make it readable for you, or name another directory with state.dir (eks_state_dir)",
            ) from error

    def _refuse_another_version(self) -> None:
        if _digest(self._read(self.path)) != self._seen:
            raise CheckpointConflict(self.place)

    def _sweep(self, path: Path) -> None:
        """Take away what a killed writer left half written: whoever has the lock is the only one who writes."""
        for scrap in self._folder.glob(f"{path.name}.*{SCRAP}"):
            scrap.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._writing(self.path), open(self._folder / LOCK, "a", encoding="ascii", opener=_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            yield
        except OSError as error:
            raise StoreError(
                f"checkpoint {path} cannot be written: {error.strerror or error}",
                reason="checkpoint_unwritable",
                remedy=(
                    "Free the disk"
                    if disk_is_full(error)
                    else "Name a directory you may write to (eks_state_dir), or set eks_state_store=configmap"
                ),
            ) from error

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def files_anywhere(directory: str, cluster: str, group: str, suffix: str) -> Iterator[Path]:
    """The files of a group of whichever account and region it is, for who cannot ask AWS."""
    anywhere = file_of(directory, Place("*", "*", cluster, group), suffix)
    return Path(directory).expanduser().absolute().glob(f"*/*/{anywhere.parent.name}/{anywhere.name}")


def find_checkpoint(directory: str, cluster: str, group: str, holder: str) -> Optional[Checkpoint]:
    """The checkpoint that this holder works on: for who cannot ask AWS which account this is. Raises nothing."""
    for path in files_anywhere(directory, cluster, group, ".json"):
        try:
            found = read_checkpoint(path.read_bytes(), str(path))
        except (OSError, EvergreenError):
            continue
        if found.holder == holder:
            return found
    return None


def _digest(content: Optional[bytes]) -> str:
    return "" if content is None else sha256(content).hexdigest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
