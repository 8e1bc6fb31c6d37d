# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal API server for each test: in this process as ``client``, over HTTPS as ``https``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from simulator.clock import Clock
from simulator.kubernetes.api import ApiServer
from simulator.kubernetes.authentication import Identity
from simulator.kubernetes.client import ApiClient
from simulator.kubernetes.serving import HttpsServer

PODS = "/api/v1/namespaces/default/pods"


class Https:
    """A client without any cleverness: one request, one answer, no retries."""

    def __init__(self, server: HttpsServer, authority: Path):
        self.server = server
        self.authority = str(authority)
        self.pool = urllib3.PoolManager(ca_certs=self.authority, retries=False)

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = "admin", stream: bool = False
    ) -> Any:
        """A urllib3 response; ``.json()`` reads it."""
        kinds = {"PATCH": "application/merge-patch+json"}
        headers = {"Content-Type": kinds.get(method, "application/json")}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        payload = None if body is None else json.dumps(body)
        return self.pool.request(
            method, self.server.url + path, body=payload, headers=headers, preload_content=not stream
        )

    def watch(self, path: str) -> list[tuple[str, dict[str, Any]]]:
        """All events of a watch that ends by itself."""
        lines = self.ask("GET", path).data.splitlines()
        return [(event["type"], event["object"]) for event in map(json.loads, lines)]


@pytest.fixture
def clock() -> Clock:
    """Stands still: only ``advance`` moves it."""
    return Clock(speed=0)


@pytest.fixture
def api(clock: Clock) -> ApiServer:
    server = ApiServer(clock)
    server.authenticator.tokens["admin"] = Identity("admin", "operator")
    return server


@pytest.fixture
def client(api: ApiServer) -> ApiClient:
    return ApiClient(api, "test")


@pytest.fixture
def https(api: ApiServer, tmp_path: Path) -> Iterator[Https]:
    with HttpsServer(api) as server:
        authority = tmp_path / "ca.pem"
        authority.write_text(server.ca_pem)
        yield Https(server, authority)


@pytest.fixture
def make_pod(client: ApiClient) -> Callable[..., dict[str, Any]]:
    """Create a running, ready pod on node n1."""

    def make(name: str, node: str = "n1", labels: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
        spec = {"nodeName": node, "containers": [{"name": "c", "image": "pause"}]}
        client.create(PODS, {"metadata": {"name": name, "labels": labels or {}, **metadata}, "spec": spec})
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        return client.patch(f"{PODS}/{name}/status", {"status": status})

    return make
