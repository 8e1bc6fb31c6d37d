# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal API server answers as a real one did.

``kubernetes-1.36.json`` holds what kube-apiserver and kube-controller-manager 1.36.2 answered to 175 requests in 22
cases. Each case is replayed over HTTPS in a namespace of its own, with the disruption, ReplicaSet and namespace
controllers running, and every recorded part of every answer has to be the same.

What cannot be the same stands in ``EXCEPTIONS``, with the reason.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from simulator.clock import Clock
from simulator.kubernetes.api import ApiServer
from simulator.kubernetes.authentication import Identity
from simulator.kubernetes.controllers import Controllers
from simulator.kubernetes.serving import HttpsServer

RECORDED = json.loads((Path(__file__).parent / "kubernetes-1.36.json").read_text())
STEPS = 175
# How the controllers of the recording are called here; no scheduler and no kubelet ran.
CONTROLLERS = ("disruption-controller", "replicaset-controller", "namespace-controller")
# (case, number of the step, from 1) -> {dotted path of the answer: why it differs}
EXCEPTIONS: dict[tuple[str, int], dict[str, str]] = {}


@dataclass
class Cluster:
    """A rehearsal API server with its controllers, as the recording's setup describes it."""

    server: HttpsServer
    controllers: Controllers
    pool: urllib3.PoolManager
    clock: Clock

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """One request over HTTPS; the controllers then do what it gives them to do."""
        headers = {"Authorization": "Bearer admin", "Content-Type": content_type}
        payload = None if body is None else json.dumps(body)
        response = self.pool.request(method, self.server.url + path, body=payload, headers=headers)
        self.controllers.step()
        return response

    def wait(self, seconds: float) -> None:
        """That many seconds of the world pass."""
        self.controllers.run_for(seconds)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    clock = Clock(speed=100)
    api = ApiServer(clock, version="1.36")
    api.authenticator.tokens["admin"] = Identity("admin", "test")
    with HttpsServer(api) as server:
        authority = tmp_path_factory.mktemp("pki") / "ca.pem"
        authority.write_text(server.ca_pem)
        pool = urllib3.PoolManager(ca_certs=str(authority), retries=False)
        cluster = Cluster(server, Controllers(api, clock, CONTROLLERS), pool, clock)
        for node in ("n1", "n2"):
            answer = cluster.ask(
                "POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}
            )
            assert answer.status == 201
        yield cluster


def test_recording_is_complete() -> None:
    assert sum(len(case["steps"]) for case in RECORDED["cases"]) == STEPS


@pytest.mark.parametrize("case", RECORDED["cases"], ids=[case["case"] for case in RECORDED["cases"]])
def test_answers_as_recorded(cluster: Cluster, case: dict[str, Any]) -> None:
    namespace = re.sub("[^a-z0-9]+", "-", case["case"].lower()).strip("-")
    saved = {"ns": namespace}
    cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    differences = []
    for number, recorded in enumerate(case["steps"], start=1):
        step = fill_in(recorded, saved)
        cluster.wait(step.get("wait", 0))
        before = cluster.clock.now()
        response = cluster.ask(
            step["method"], step["path"], step.get("body"), step.get("content_type", "application/json")
        )
        if "seconds" in step:
            assert cluster.clock.now() - before >= step["seconds"] - 0.5
        answer = json.loads(response.data) if "json" in response.headers["Content-Type"] else {}
        expected = {"status code": step["status"], **step["answer"]}
        for path, value in expected.items():
            found = response.status if path == "status code" else part_of(answer, path, response.headers)
            if found != value and path not in EXCEPTIONS.get((case["case"], number), {}):
                differences.append(
                    f"step {number}, {step['method']} {step['path']}: {path} is {found!r}, not {value!r}"
                )
        for name, path in step.get("save", {}).items():
            saved[name] = part_of(answer, path, response.headers)
    assert not differences, "\n".join(differences)


def fill_in(step: Any, saved: dict[str, str]) -> Any:
    """The step with each ``${name}`` replaced by what an earlier step saved."""
    if isinstance(step, str):
        return string.Template(step).safe_substitute(saved)
    if isinstance(step, list):
        return [fill_in(item, saved) for item in step]
    if isinstance(step, dict):
        return {key: fill_in(value, saved) if key != "save" else value for key, value in step.items()}
    return step


def part_of(answer: Any, path: str, headers: Any) -> Any:
    """``items.0.metadata.name``, ``items.#`` (how many), ``header:NAME``; None for what is not there."""
    if path.startswith("header:"):
        return headers.get(path.split(":", 1)[1])
    for key in path.split("."):
        if key == "#":
            return len(answer)
        if isinstance(answer, list):
            answer = answer[int(key)] if int(key) < len(answer) else None
        else:
            answer = answer.get(key) if isinstance(answer, dict) else None
    return answer
