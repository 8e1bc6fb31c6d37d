# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud of the rehearsal world: AWS's services on one clock, behind an HTTP server on loopback.

    cloud = Cloud(clock, record, faults, authors={"AKIAEVERGREENTOOL00": "evergreen"})
    cloud.start()
    network = cloud.create_network(["eu-central-1a", "eu-central-1b", "eu-central-1c"])
    ...
    boto3.client("autoscaling", endpoint_url=cloud.url, region_name=cloud.region)

Everything moto keeps is keyed by account and region; a Cloud owns one pair of them, and only one Cloud can at a time.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import moto.backends as moto_backends
from moto.core.model_instances import reset_model_data
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer, make_server

from simulator.aws import patches
from simulator.aws.agenda import Agenda
from simulator.aws.autoscaling import AutoScaling
from simulator.aws.builder import Builder
from simulator.aws.ec2 import Compute, InstanceView
from simulator.aws.eks import Clusters
from simulator.aws.elb import Balancers
from simulator.aws.gateway import CREDENTIAL, Gateway
from simulator.aws.timings import Timings
from simulator.clock import Clock
from simulator.record import Faults, Record

SERVICES = ("autoscaling", "dynamodb", "ec2", "eks", "elb", "elbv2", "iam", "s3", "sqs", "ssm", "sts")
Authorize = Callable[[str, str], bool]


class QuietHandler(MotoRequestHandler):
    """One request after the other on a kept connection, and no line on the console for each."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing: the record has it."""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Cloud(Builder):
    """AWS, as far as a rollout meets it. ``Builder`` has the ways to furnish it."""

    def __init__(
        self,
        clock: Clock,
        record: Record,
        faults: Faults,
        authors: Mapping[str, str] | None = None,
        *,
        account: str = "123456789012",
        region: str = "eu-central-1",
        timings: Timings | None = None,
    ):
        """``authors`` maps access keys to names for the record; without it every key is known, by its own name.

        ``authorize(author, "autoscaling:SetDesiredCapacity")`` may be set to say who is allowed what; ``expired`` to
        the access keys whose time is over.
        """
        if (account, region) in patches.CLOUDS:
            raise RuntimeError(
                f"another Cloud of this process has account {account} in {region}: stop() it, or choose another account"
            )
        if os.environ.get("MOTO_ACCOUNT_ID"):
            raise RuntimeError("MOTO_ACCOUNT_ID is set in the environment: unset it, the world chooses the account")
        patches.install()
        self.clock, self.record, self.faults = clock, record, faults
        self.account, self.region = account, region
        self.timings = timings or Timings()
        self.authors = None if authors is None else dict(authors)
        self.authorize: Authorize | None = None
        self.expired: set[str] = set()
        #: what broke inside the world itself, with its traceback; a test should find it empty
        self.errors: list[str] = []
        self.lock = threading.RLock()
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._furnish()

    def _furnish(self) -> None:
        self.agenda = Agenda(self.clock)
        self.compute = Compute(self.agenda, self.timings, self.account, self.region)
        self.balancers = Balancers(self.agenda, self.timings, self.compute)
        self.scaling = AutoScaling(self.agenda, self.timings, self.compute, self.balancers)
        self.clusters = Clusters(self.agenda, self.timings, self.scaling, self.account, self.region)
        patches.CLOUDS[self.account, self.region] = self

    # ---- its life

    def start(self, port: int = 0) -> str:
        """Serve HTTP on loopback (0: any free port); returns the URL."""
        gateway = Gateway(self, SERVICES)
        self._server = make_server("127.0.0.1", port, gateway, threaded=True, request_handler=QuietHandler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="aws", daemon=True)
        self._thread.start()
        return self.url

    @property
    def url(self) -> str:
        """Where it is served; all services at one address."""
        if self._server is None:
            raise RuntimeError("the cloud is not served: call start() first")
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """End the server, and give the account free."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self.lock:
            self._clear()
            patches.CLOUDS.pop((self.account, self.region), None)

    def reset(self) -> None:
        """Empty again, as after the first start; the server goes on."""
        with self.lock:
            self._clear()
            self._furnish()

    def _clear(self) -> None:
        self.expired.clear()
        self.errors.clear()
        for service in SERVICES:
            for backend in list(moto_backends.get_backend(service)[self.account].values()):
                backend.reset()
        reset_model_data()

    def __enter__(self) -> Cloud:
        self.start()
        return self

    def __exit__(self, *_unused: Any) -> None:
        self.stop()

    # ---- its time

    def settle(self) -> None:
        """Let happen what is due by now. The lock must be held."""
        self.agenda.run()
        self.balancers.check()

    def tick(self) -> None:
        """The same, for the world's ticker and for tests that have pushed the clock."""
        with self.lock:
            self.settle()

    @property
    def generation(self) -> int:
        """Grows with each change to an instance: when it has not moved, ``instances`` answers as before."""
        return self.compute.generation

    def instances(self) -> list[InstanceView]:
        """All instances that EC2 knows at this moment of the world, oldest first."""
        with self.lock:
            self.settle()
            return self.compute.views()

    # ---- its people

    def knows(self, access_key: str) -> bool:
        """The access key exists."""
        return self.authors is None or access_key in self.authors

    def author_of(self, access_key: str) -> str:
        """The name that the record uses for who holds this key."""
        if not access_key:
            return "anonymous"
        return (self.authors or {}).get(access_key, access_key)

    def arn_of(self, author: str) -> str:
        """The author as IAM names it."""
        return f"arn:aws:iam::{self.account}:user/{author}"

    @staticmethod
    def caller_key(request: Any) -> str:
        """The access key that signed a request, in its header or in its URL."""
        presigned = request.args.get("X-Amz-Credential", "")
        found = CREDENTIAL.search(request.headers.get("Authorization") or f"Credential={presigned}")
        return found[1] if found else ""
