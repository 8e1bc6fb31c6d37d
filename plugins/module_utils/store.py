# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where checkpoints live, and who holds a group: the file store and its lock."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Iterator, Optional
from urllib.parse import quote

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import Checkpoint, read_checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.holder import Holder, RunInProgress


class StoreError(EvergreenError):
    """The place of the checkpoints cannot be used; `reason` is checkpoint_unwritable or checkpoint_unreadable."""


@dataclass(frozen=True)
class FileStore:
    """Checkpoints as files: `<directory>/<account>/<region>/<cluster>/<group, percent-encoded>.json`, mode 0600."""

    directory: str
    account: str
    region: str
    cluster: str
    group: str

    @property
    def path(self) -> Path:
        return self._base.with_name(self._base.name + ".json")

    @property
    def journal(self) -> Path:
        return self._base.with_name(self._base.name + ".journal.jsonl")

    @property
    def lock(self) -> Path:
        return self._base.with_name(self._base.name + ".lock")

    @property
    def _base(self) -> Path:
        folder = Path(self.directory).expanduser().absolute()
        return folder / self.account / self.region / quote(self.cluster, safe="") / quote(self.group, safe="")

    def load(self) -> Optional[Checkpoint]:
        """The checkpoint, or None where there is none. Raises CheckpointError or StoreError."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(
                f"checkpoint {self.path} cannot be read: {getattr(error, 'strerror', None) or error}",
                reason="checkpoint_unreadable",
                remedy="Make it readable for you, or name another directory with state_dir (eks_state_dir)",
            ) from error
        return read_checkpoint(text, str(self.path))

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint as one step: a reader, or a kill, sees the old one or the new one, never half."""
        with self._writing():
            handle, name = tempfile.mkstemp(prefix=self.path.name + ".", dir=str(self.path.parent))
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(checkpoint.to_json())
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            self._sync_folder()

    def archive(self, run_id: str) -> Path:
        """Put the finished checkpoint aside as `<group>.<run id>.done.json` and answer where it is."""
        done = self._base.with_name(f"{self._base.name}.{run_id}.done.json")
        with self._writing():
            os.replace(self.path, done)
            self._sync_folder()
        return done

    def claim(self, holder: Holder) -> None:
        """Hold the group for this run. Raises RunInProgress while another run holds it and is not provably gone."""
        with self._writing(), self._locked() as file:
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
        with self._writing(), self._locked() as file:
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
            f"node group {self.group} of cluster {self.cluster} is held by {other}, {cause}",
            reason="locked",
            holder=asdict(other),
            remedy="Wait for it to end; if you are sure that it is dead, run again with lock: false (eks_lock=false)",
        )

    @contextmanager
    def _locked(self) -> Iterator:
        # "a+" creates without truncating; the flock only covers this read-modify-write, the content is the lock.
        with open(self.lock, "a+", encoding="utf-8", opener=_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            yield
        except OSError as error:
            raise StoreError(
                f"checkpoint {self.path} cannot be written: {error.strerror or error}",
                reason="checkpoint_unwritable",
                remedy=(
                    "Free the disk"
                    if error.errno == errno.ENOSPC
                    else "Name a directory you may write to with state_dir (eks_state_dir)"
                ),
            ) from error

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def default_directory(environment: Optional[dict] = None) -> str:
    """`${XDG_STATE_HOME:-~/.local/state}/evergreen.eks`."""
    env = os.environ if environment is None else environment
    return os.path.join(env.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "evergreen.eks")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read_holder(file) -> Optional[Holder]:
    file.seek(0)
    try:
        return Holder(**json.loads(file.read()))
    except (ValueError, TypeError):
        return None  # empty, or torn by a crash of the machine: nobody holds it
