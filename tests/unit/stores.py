# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three places that a checkpoint may be in, for tests: a folder, a simulated API server, a simulated S3."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from unit.fakes import FakeClock

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws
from ansible_collections.evergreen.eks.plugins.module_utils.checkpoint import read_checkpoint
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient
from ansible_collections.evergreen.eks.plugins.module_utils.store import Place, Store
from ansible_collections.evergreen.eks.plugins.module_utils.store_configmap import ConfigMapStore, name_of
from ansible_collections.evergreen.eks.plugins.module_utils.store_file import FileStore
from ansible_collections.evergreen.eks.plugins.module_utils.store_s3 import S3Store
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

ACCOUNT, REGION, CLUSTER = "111122223333", "eu-central-1", "prod"
POLL_SECONDS = 5.0
AUTHOR = "evergreen"


def where(group: str) -> Place:
    return Place(ACCOUNT, REGION, CLUSTER, group)


class Files:
    """Checkpoints in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, group: str = "shared", read: Any = read_checkpoint) -> Store:
        """The store of a group, as a module call of its own would open it."""
        return FileStore(str(self.folder), where(group), read)

    def put(self, content: bytes, group: str = "shared") -> None:
        """Somebody writes this in the checkpoint's place."""
        path = self.folder / ACCOUNT / REGION / CLUSTER / f"{quote(group, safe='')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


class ConfigMaps:
    """Checkpoints in the ConfigMaps of a simulated API server. ``api``, ``faults`` and ``record`` are the world's."""

    namespace = "kube-system"

    def __init__(self) -> None:
        from simulator.clock import Clock
        from simulator.kubernetes.api import ApiServer
        from simulator.kubernetes.authentication import Identity
        from simulator.kubernetes.client import ApiClient
        from simulator.kubernetes.serving import HttpsServer

        self.api = ApiServer(Clock(speed=0))
        self.faults, self.record = self.api.faults, self.api.record
        self.api.authenticator.tokens["t0k3n"] = Identity(AUTHOR, AUTHOR)
        self.server = HttpsServer(self.api, tls=False)
        self.admin = ApiClient(self.api, "admin")
        self.clock = FakeClock()

    def open(self, group: str = "shared", read: Any = read_checkpoint, namespace: str = "") -> Store:
        """The store of a group, as a module call of its own would open it."""
        call = Call(clock=self.clock)
        params = {"host": self.server.url, "api_key": "t0k3n", "poll_seconds": POLL_SECONDS}
        client = KubernetesClient.connect(params, Aws({}, call), call)
        return ConfigMapStore(namespace or self.namespace, where(group), client, call, POLL_SECONDS, read)

    def put(self, content: bytes, group: str = "shared") -> None:
        """Somebody writes this in the checkpoint's place."""
        data = {"data": {"checkpoint": content.decode(errors="replace")}}
        self.admin.patch(self.path(group), {**data, "binaryData": None})

    def path(self, group: str = "shared") -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps/{name_of(group)}"

    def manifest(self, group: str = "shared") -> dict[str, Any]:
        """The ConfigMap of a group, as it is now."""
        return self.admin.get(self.path(group))

    def allow(self, *verbs: str) -> None:
        """These verbs on ConfigMaps, and nothing else."""
        self.api.authorize = lambda _user, verb, _group, resource, _sub: resource == "configmaps" and verb in verbs


class Bucket:
    """Checkpoints in a bucket of a simulated S3. ``cloud``, ``faults`` and ``record`` are the world's."""

    name = "state"

    def __init__(self) -> None:
        from simulator.aws import Cloud
        from simulator.clock import Clock
        from simulator.record import Faults, Record

        clock = Clock(speed=0)
        self.record, self.faults = Record(clock), Faults(clock)
        authors = {"AKIATOOL": AUTHOR, "AKIAADMIN": "admin"}
        self.cloud = Cloud(clock, self.record, self.faults, authors, account=ACCOUNT)
        self.cloud.start()
        self.clock = FakeClock()
        self.tool = self._aws("AKIATOOL")
        self.admin = self._aws("AKIAADMIN").client("s3")
        self.create(self.name)

    def _aws(self, key: str, region: str = REGION) -> Aws:
        params = {"region": region, "access_key": key, "secret_key": "s3cr3t", "endpoint_url": self.cloud.url}
        return Aws({**params, "poll_seconds": POLL_SECONDS}, Call(clock=self.clock))

    def create(self, name: str, region: str = REGION) -> None:
        """A bucket in that region."""
        there = self._aws("AKIAADMIN", region).client("s3")
        there.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})

    def open(self, group: str = "shared", read: Any = read_checkpoint, bucket: str = "") -> Store:
        """The store of a group, as a module call of its own would open it."""
        place = where(group)
        return S3Store(bucket or self.name, "evergreen.eks", place, self.tool, self.tool.call, POLL_SECONDS, read)

    def put(self, content: bytes, group: str = "shared") -> None:
        """Somebody writes this in the checkpoint's place."""
        self.admin.put_object(Bucket=self.name, Key=self.key(group), Body=content)

    def key(self, group: str = "shared") -> str:
        return f"evergreen.eks/{ACCOUNT}/{REGION}/{CLUSTER}/{quote(group, safe='')}.json"

    def keys(self) -> list[str]:
        """The names of all objects, without what they begin with."""
        found = self.admin.list_objects_v2(Bucket=self.name).get("Contents", [])
        return [re.sub(r"^.*/", "", one["Key"]) for one in found]

    def allow(self, *actions: str) -> None:
        """These actions of S3, and nothing else."""
        self.cloud.authorize = lambda author, action: author == "admin" or action in actions


@contextmanager
def config_maps() -> Iterator[ConfigMaps]:
    place = ConfigMaps()
    with place.server:
        yield place


@contextmanager
def bucket() -> Iterator[Bucket]:
    place = Bucket()
    try:
        yield place
    finally:
        place.cloud.stop()
