# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints as objects of an S3 bucket, replaced by conditional writes only."""

from __future__ import annotations

import re
import sys
from typing import Any, Optional
from urllib.parse import quote

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError, aws_errors
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import read_checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.store import RUN_ID, Kept, Place, Reader, StoreError
from ansible_collections.evergreen.eks.plugins.module_utils.store_remote import RemoteStore, Seen
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

CONDITIONAL_SINCE = "1.35.69"  # botocore: If-Match on PutObject

DONE = ".done.json"  # how the key of a finished run ends
JSON, TEXT = "application/json", "text/plain; charset=utf-8"

#: refused for its version: another one is there, or none; or two writes met, which S3 settles for neither of them
MOVED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "OperationAborted"}
ELSEWHERE = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}


class S3Store(RemoteStore[Kept]):
    """One object a node group: C(<prefix>/<account>/<region>/<cluster>/<group, percent-encoded>.json).

    The version of a checkpoint is its ETag. A finished run is kept as C(<group>.<run id>.done.json); a lifecycle rule
    of the bucket may end that.
    """

    REFUSAL = AwsError

    def __init__(
        self,
        bucket: str,
        prefix: str,
        where: Place,
        aws: Aws,
        call: Call,
        poll_seconds: float,
        read: Reader[Kept] = read_checkpoint,
    ) -> None:
        super().__init__(call, poll_seconds, read)
        self._aws = aws
        self._bucket = bucket
        names = [part for part in prefix.split("/") if part]
        names += [where.account, where.region, quote(where.cluster, safe=""), quote(where.group, safe="")]
        self._base = "/".join(names)
        self._key = f"{self._base}.json"

    @property
    def place(self) -> str:
        return f"s3://{self._bucket}/{self._key}"

    def archive(self, run_id: str) -> str:
        """As C(<group>.<run id>.done.json): written first, then the checkpoint is deleted, if it is still that one."""
        done = f"{self._base}.{run_id}{DONE}"
        content = self._seen.content or b""
        self._request(lambda: self._write(done, content), "written")
        self._seen = self._swap(self._seen, self._delete, None)
        return f"s3://{self._bucket}/{done}"

    def picture(self) -> Optional[bytes]:
        """The object C(<group>.picture)."""
        return self._request(lambda: self._get(f"{self._base}.picture"), "read").content

    def keep_picture(self, content: bytes) -> None:
        self._request(lambda: self._write(f"{self._base}.picture", content), "written")

    def stop_request(self) -> Optional[str]:
        """The object C(<group>.stop)."""
        found = self._request(lambda: self._get(f"{self._base}.stop"), "read")
        return None if found.content is None else found.content.decode(errors="replace").strip() or "somebody"

    def request_stop(self, text: str) -> None:
        self._request(lambda: self._write(f"{self._base}.stop", f"{text}\n".encode(), TEXT), "written")

    def clear_stop(self) -> None:
        if self.stop_request() is not None:
            self._request(lambda: self._remove(f"{self._base}.stop"), "written")

    # --- the parts -------------------------------------------------------------------------------------------------

    def _look(self) -> Seen:
        return self._get(self._key)

    def _look_aside(self) -> Optional[bytes]:
        """The youngest of C(<group>.<run id>.done.json): a run's id begins with when it began."""
        ours = re.compile(re.escape(self._base) + RUN_ID + re.escape(DONE))
        with aws_errors("s3:ListBucket", f"bucket {self._bucket}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"{self._base}.")
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        done = [key for key in keys if ours.fullmatch(key)]
        return self._get(max(done)).content if done else None

    def _as_bytes(self, checkpoint: Kept) -> bytes:
        return checkpoint.to_json().encode()

    def _put(self, content: bytes, seen: Seen) -> Seen:
        condition = {"IfNoneMatch": "*"} if seen.version is None else {"IfMatch": seen.version}
        return Seen(content, self._write(self._key, content, **condition))

    def _delete(self, seen: Seen) -> Seen:
        self._remove(self._key, IfMatch=seen.version)
        return Seen()

    def _get(self, key: str) -> Seen:
        try:
            with aws_errors("s3:GetObject", f"bucket {self._bucket}"):
                answer = self._client.get_object(Bucket=self._bucket, Key=key)
                return Seen(answer["Body"].read(), answer["ETag"])
        except AwsError as error:
            if error.code == "NoSuchKey":
                return Seen()
            raise

    def _write(self, key: str, content: bytes, kind: str = JSON, **condition: str) -> str:
        """The ETag of what was written."""
        with aws_errors("s3:PutObject", f"bucket {self._bucket}"):
            answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType=kind, **condition)
            return answer["ETag"]

    def _remove(self, key: str, **condition: str) -> None:
        with aws_errors("s3:DeleteObject", f"bucket {self._bucket}"):
            self._client.delete_object(Bucket=self._bucket, Key=key, **condition)

    @property
    def _client(self) -> Any:
        """The client, whose botocore must know conditional writes: without them a writer would overwrite another."""
        client = self._aws.client("s3")
        if "IfMatch" in client.meta.service_model.operation_model("PutObject").input_shape.members:
            return client
        import botocore

        raise StoreError(
            f"checkpoint {self.place} cannot be used: botocore {botocore.__version__} has no conditional writes",
            reason="checkpoint_unwritable",
            remedy=f"Install botocore {CONDITIONAL_SINCE} or newer "
            f"({sys.executable} -m pip install 'botocore>={CONDITIONAL_SINCE}')",
        )

    def _moved(self, error: AwsError, seen: Seen) -> bool:
        return error.code in MOVED

    def _remedy(self, error: AwsError) -> str:
        if error.code == "NoSuchBucket":
            return "Create the bucket, or name another with state.bucket (eks_state_bucket)"
        if error.code in ELSEWHERE:
            return f"The bucket is not in {self._aws.region}: name one of this region (eks_state_bucket)"
        if error.reason == "access_denied":
            return (
                f"Allow s3:GetObject, s3:PutObject and s3:DeleteObject on the objects of bucket {self._bucket}, and on "
                "itself s3:ListBucket, without which S3 denies even to say that there is no checkpoint yet"
            )
        return ""
