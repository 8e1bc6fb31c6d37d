# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints as files of the controller; also, until a Lease of the cluster takes its place, the lock of a group."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Iterator, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint, read_checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder, RunInProgress
from ansible_collections.evergreen.eks.plugins.module_utils.store import (
    CheckpointConflict,
    Place,
    StoreError,
    cluster_folder,
    file_of,
    journal_path,
)

SCRAP = ".tmp"
LOCK = ".lock"


class FileStore:
    """Checkpoints as files: C(<directory>/<account>/<region>/<cluster>/<group, percent-encoded>.json), mode 0600.

    The version of a checkpoint is the digest of its bytes. It is compared, and the file replaced, under a lock of the
    folder that the operating system gives back when its holder dies.
    """

    def __init__(self, directory: str, where: Place) -> None:
        self._where = where
        self._folder = cluster_folder(directory, where)
        self._file = partial(file_of, directory, where)
        self._stop = self._file(".stop")
        self.path = self._file(".json")
        self.lock = self._file(".lock")
        self.journal = journal_path(directory, where)
        self._seen = ""  # digest of the bytes that we last saw; "" = no file

    @property
    def place(self) -> str:
        return str(self.path)

    def load(self) -> Optional[Checkpoint]:
        content = self._read(self.path)
        self._seen = _digest(content)
        return None if content is None else read_checkpoint(content, self.place)

    def save(self, checkpoint: Checkpoint) -> None:
        content = checkpoint.to_json().encode()
        with self._alone():
            self._sweep()
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

    def claim(self, holder: Holder) -> None:
        """Hold the group for this run. Raises RunInProgress while another run holds it and is not provably gone."""
        with self._locked() as file:
            other = _read_holder(file)
            if other and other.same_process(holder):
                holder = replace(holder, since=other.since, run_id=holder.run_id or other.run_id)
            elif other:
                self.refuse_unless_gone(other, holder)
            file.seek(0)
            file.truncate()
            file.write(json.dumps(asdict(holder)))

    def release(self, holder: Holder) -> None:
        """Give the group back, where it is ours."""
        with self._locked() as file:
            other = _read_holder(file)
            if other and other.same_process(holder):
                file.seek(0)
                file.truncate()

    def refuse_unless_gone(self, other: Holder, here: Holder) -> None:
        """Raise RunInProgress unless the other holder has provably ended."""
        gone = other.gone(here)
        if gone:
            return
        cause = "which still runs" if gone is False else "and from here nobody can tell whether that run still lives"
        raise RunInProgress(
            f"node group {self._where.group} of cluster {self._where.cluster} is held by {other}, {cause}",
            reason="locked",
            holder=asdict(other),
            remedy="Wait for it to end; if you are sure that it is dead, run again with lock: false (eks_lock=false)",
        )

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

    def _sweep(self) -> None:
        """Take away what a killed writer left half written: whoever has the lock is the only one who writes."""
        for scrap in self._folder.glob(f"{self.path.name}.*{SCRAP}"):
            scrap.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._writing(self.path), open(self._folder / LOCK, "a", encoding="ascii", opener=_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _locked(self) -> Iterator:
        # "a+" creates without truncating; the flock only covers this read-modify-write, the content is the lock.
        with self._writing(self.lock), open(self.lock, "a+", encoding="utf-8", opener=_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

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
                    if error.errno in (errno.ENOSPC, errno.EDQUOT)
                    else "Name a directory you may write to with state.dir (eks_state_dir)"
                ),
            ) from error

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _digest(content: Optional[bytes]) -> str:
    return "" if content is None else sha256(content).hexdigest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read_holder(file) -> Optional[Holder]:
    file.seek(0)
    try:
        return Holder(**json.loads(file.read()))
    except (ValueError, TypeError):
        return None  # empty, or torn by a crash of the machine: nobody holds it
