# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints as ConfigMaps of the cluster whose nodes are rolled: no disk and no other service is needed."""

from __future__ import annotations

import base64
import copy
import gzip
import re
import zlib
from hashlib import sha256
from typing import Any, Callable, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import read_checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.store import CheckpointConflict, Kept, Place, Reader
from ansible_collections.evergreen.eks.plugins.module_utils.store_remote import RemoteStore, Seen
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

CHECKPOINT = "checkpoint"  # key of an unfinished run
FINISHED = "finished"  # key of the last run, until the next one begins
PACKED = ".gz"
PICTURE = "picture.gz"  # of the cluster at the start of the last run; always packed, to leave room for the checkpoint
# Longer documents are packed: the server takes 1 MiB, and people can read what is not packed.
LONGEST_PLAIN = 512 * 1024

LABELS = {"app.kubernetes.io/managed-by": "evergreen.eks"}
CLUSTER = "evergreen.eks/cluster"
GROUP = "evergreen.eks/group"
STOP = "evergreen.eks/stop"

NAME_PREFIX = "evergreen-eks-"
LONGEST_CLEAN_NAME = 200

Manifest = dict[str, Any]


class ConfigMapStore(RemoteStore[Kept]):
    """One ConfigMap a node group, C(evergreen-eks-<group>), with the document as compact JSON under C(checkpoint).

    A group of 5,000 instances makes 1.8 MB of compact JSON at its end, which packs to 0.3 MB: nothing has to be left
    out. Only the last finished run is kept, under C(finished), until the next one begins. The version of a checkpoint
    is the object's resourceVersion; where others changed labels or annotations only, we write over that.
    """

    REFUSAL = KubernetesError

    def __init__(
        self,
        namespace: str,
        where: Place,
        client: KubernetesClient,
        call: Call,
        poll_seconds: float,
        read: Reader[Kept] = read_checkpoint,
    ) -> None:
        super().__init__(call, poll_seconds, read)
        self._client = client
        self._where = where
        self._namespace = namespace
        self._name = name_of(where.group)
        self._collection = f"/api/v1/namespaces/{namespace}/configmaps"
        self._path = f"{self._collection}/{self._name}"

    @property
    def place(self) -> str:
        return f"ConfigMap {self._namespace}/{self._name}"

    def archive(self, run_id: str) -> str:
        """In the same ConfigMap, under the key C(finished): one step, and no right to delete is needed."""
        self._seen = self._swap(self._seen, self._put_aside, None)
        return f"{self.place}, key {FINISHED}"

    def picture(self) -> Optional[bytes]:
        """In the same ConfigMap, packed, under the key C(picture.gz): no further name has to be allowed."""
        found = self._request(self._find, "read") or {}
        packed = (found.get("binaryData") or {}).get(PICTURE)
        return None if packed is None else _unzipped(packed)

    def keep_picture(self, content: bytes) -> None:
        self._write_beside(lambda seen: self._write_picture(seen, content))

    def stop_request(self) -> Optional[str]:
        """The annotation C(evergreen.eks/stop)."""
        found = self._request(self._find, "read")
        text = None if found is None else _annotations(found).get(STOP)
        return None if text is None else text.strip() or "somebody"

    def request_stop(self, text: str) -> None:
        self._annotate(STOP, text)

    def clear_stop(self) -> None:
        self._annotate(STOP, None)

    # --- the parts -------------------------------------------------------------------------------------------------

    def _find(self) -> Optional[Manifest]:
        try:
            return self._client.get(self._path)
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise

    def _look(self) -> Seen:
        found = self._find()
        return Seen() if found is None else Seen(_unpacked(found, CHECKPOINT), found)

    def _look_aside(self) -> Optional[bytes]:
        found = self._find()
        return None if found is None else _unpacked(found, FINISHED)

    def _as_bytes(self, checkpoint: Kept) -> bytes:
        return checkpoint.to_json(indent=None).encode()

    def _put(self, content: bytes, seen: Seen) -> Seen:
        return Seen(content, self._write(_with_content(self._manifest(seen.version), CHECKPOINT, content)))

    def _put_aside(self, seen: Seen) -> Seen:
        manifest = self._manifest(seen.version)
        return Seen(None, self._write(_with_content(manifest, FINISHED, seen.content or b"")))

    def _write(self, manifest: Manifest) -> Manifest:
        if manifest["metadata"].get("resourceVersion"):
            return self._client.replace(self._path, manifest)
        return self._client.create(self._collection, manifest)

    def _manifest(self, found: Optional[Manifest]) -> Manifest:
        """What is there, or is to be there, with our labels and annotations; others' are kept."""
        manifest = copy.deepcopy(found) if found else {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}
        metadata = manifest["metadata"]
        metadata.update(name=self._name, namespace=self._namespace)
        metadata["labels"] = {**(metadata.get("labels") or {}), **LABELS}
        metadata["annotations"] = {**_annotations(manifest), CLUSTER: self._where.cluster, GROUP: self._where.group}
        return manifest

    def _annotate(self, key: str, value: Optional[str]) -> None:
        """Set an annotation, or take it off."""
        self._write_beside(lambda seen: self._write_annotation(seen, key, value))

    def _write_beside(self, write: Callable[[Seen], Seen]) -> None:
        """Write something else than the checkpoint, whatever becomes of that meanwhile."""
        deadline = Deadline(self._call.clock, self._call.patience(self._poll_seconds))
        while True:
            seen = self._request(self._look, "read")
            try:
                now = self._swap(seen, write, seen.content)
                break
            except CheckpointConflict:  # a run has saved its progress between the look and the write
                if deadline.expired():
                    raise
        if now.content == self._seen.content:
            self._seen = now

    def _write_annotation(self, seen: Seen, key: str, value: Optional[str]) -> Seen:
        manifest = self._manifest(seen.version)
        annotations = _annotations(manifest)
        if annotations.get(key) == value:
            return seen
        manifest["metadata"]["annotations"] = {
            name: text for name, text in {**annotations, key: value}.items() if text is not None
        }
        return Seen(seen.content, self._write(manifest))

    def _write_picture(self, seen: Seen, content: bytes) -> Seen:
        manifest = self._manifest(seen.version)
        packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
        manifest["binaryData"] = {**(manifest.get("binaryData") or {}), PICTURE: packed}
        return Seen(seen.content, self._write(manifest))

    def _moved(self, error: KubernetesError, seen: Seen) -> bool:
        """409: another resourceVersion, or it is there already; 404 on an update: it has been deleted."""
        return error.status == 409 or (error.status == 404 and seen.version is not None)

    def _remedy(self, error: KubernetesError) -> str:
        too_long = any(cause.get("reason") == "FieldValueTooLong" for cause in error.causes)
        if too_long or error.status == 413 or "request is too large" in error.text:
            return "It is full: keep the checkpoint elsewhere (eks_state_store=s3 or file)"
        if error.status == 404:
            return f"Create the namespace {self._namespace}, or name another with state.namespace (eks_state_namespace)"
        if "exceeded quota" in error.text:
            return "Raise that quota, or keep the checkpoint elsewhere (eks_state_namespace, eks_state_store)"
        if error.status == 403:
            return (
                f"Allow get, create and update of configmaps in the namespace {self._namespace} to the identity in use"
            )
        return ""


def name_of(group: str) -> str:
    """The name of a group's ConfigMap: where the group's own had to be changed, a digest of it keeps names apart."""
    clean = re.sub(r"[^a-z0-9]+", "-", group.lower()).strip("-")[:LONGEST_CLEAN_NAME].strip("-")
    if re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", group) and len(group) <= LONGEST_CLEAN_NAME:
        return f"{NAME_PREFIX}{group}"
    return f"{NAME_PREFIX}{clean}-{sha256(group.encode()).hexdigest()[:10]}"


def _annotations(manifest: Manifest) -> dict[str, str]:
    return dict(manifest["metadata"].get("annotations") or {})


def _with_content(manifest: Manifest, key: str, content: bytes) -> Manifest:
    """The ConfigMap with this document only: what stood there of this or another run is replaced."""
    ours = {f"{name}{suffix}" for name in (CHECKPOINT, FINISHED) for suffix in ("", PACKED)}
    for kind in ("data", "binaryData"):
        rest = {name: value for name, value in (manifest.pop(kind, None) or {}).items() if name not in ours}
        manifest.update({kind: rest} if rest else {})
    if len(content) <= LONGEST_PLAIN:
        manifest.setdefault("data", {})[key] = content.decode()
    else:
        packed = gzip.compress(content, mtime=0)
        manifest.setdefault("binaryData", {})[key + PACKED] = base64.b64encode(packed).decode()
    return manifest


def _unpacked(manifest: Manifest, key: str) -> Optional[bytes]:
    """The document under that key. One that cannot be unpacked is answered as it is: no checkpoint."""
    packed = (manifest.get("binaryData") or {}).get(key + PACKED)
    if packed is None:
        text = (manifest.get("data") or {}).get(key)
        return None if text is None else text.encode()
    return _unzipped(packed)


def _unzipped(packed: str) -> bytes:
    raw = base64.b64decode(packed)
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error):
        return raw
