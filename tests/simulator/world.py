# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal world as a whole: an Amazon EKS cluster in this process.

AWS and the Kubernetes API are real HTTP(S) servers on loopback ports. The cluster is found the way it is found in
reality: EKS names its endpoint and CA, and the access key behind the bearer token says who asks. One thread, the
ticker, lets everything happen that is due.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simulator import runs
from simulator.actors import Actors
from simulator.aws import eks_catalogue
from simulator.aws.eks import Estate
from simulator.aws.server import Cloud
from simulator.balancer_controller import BalancerController
from simulator.clock import Clock
from simulator.fargate import Fargate
from simulator.identities import (
    AUTHORS,
    BALANCER_CONTROLLER,
    OPERATOR,
    STRANGER_KEY,
    TOOL_KEY,
    WORLD,
    AwsClients,
)
from simulator.in_cluster import InCluster
from simulator.injector import SidecarInjector
from simulator.kubernetes.api import ApiServer
from simulator.kubernetes.client import ApiClient
from simulator.kubernetes.controllers import Controllers
from simulator.kubernetes.serving import HttpsServer
from simulator.nodes import Machines
from simulator.provisioning import Provisioner
from simulator.record import Faults, Record
from simulator.runs import Run
from simulator.scenarios import Scenario
from simulator.scenarios.manifests import manifests, movable_pods
from simulator.snapshot import Snapshot, take_snapshot
from simulator.traffic import Client, Service
from simulator.witness import Change, Witness

LOG = logging.getLogger("simulator.world")

ALL_KEYS = {**AUTHORS, STRANGER_KEY: "stranger"}
TICK = 0.05  # real seconds between two looks at what is due
SETTLE_STEP = 5.0  # world seconds skipped at once while the world is being built
SETTLE_LIMIT = 3600.0  # world seconds after which a scenario that does not settle is given up


class World:
    """A running world; make one with ``World.start``. As a context manager it stops itself."""

    def __init__(self, scenario: Scenario, speed: float, home: Path | None):
        self.scenario = scenario
        self.clock = Clock(speed)
        self.record = Record(self.clock)
        self.faults = Faults(self.clock)
        self._own_home = None if home else tempfile.mkdtemp(prefix="evergreen-world-")
        self.home = Path(home or self._own_home or "")
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.beginning: Snapshot
        self._aws_clients: dict[str, AwsClients] = {}
        self._make_servers()
        self._make_inhabitants()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="ticker", daemon=True)
        self._troubles: list[BaseException] = []
        self._away_until = 0.0

    @classmethod
    def start(cls, scenario: Scenario, speed: float = 60.0, home: Path | None = None) -> World:
        """Build the scenario (which takes no time of the world's clock that anybody sees) and let it run.

        ``speed``: world seconds a real second; 0 stops the clock, then only ``clock.advance`` moves it. ``home``: where
        processes that are run against the world keep their state; a temporary folder unless given.
        """
        world = cls(scenario, speed, home)
        try:
            world._build()
        except BaseException:
            world._close()
            raise
        world._ticker.start()
        return world

    def __enter__(self) -> World:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_unused: object) -> None:
        self.stop()
        if kind is None:
            self.raise_troubles()

    def stop(self) -> None:
        """End it: servers, ticker, temporary files."""
        self._ended.set()
        if self._ticker.is_alive():
            self._ticker.join(timeout=10)
        self._close()

    def raise_troubles(self) -> None:
        """Raise the first error that the world's own parts ran into; a test must not pass over one."""
        if self._troubles:
            raise RuntimeError(f"the world itself broke: {self._troubles[0]!r}") from self._troubles[0]

    # ---- for those who look at it

    def env(self, access_key: str = TOOL_KEY) -> dict[str, str]:
        """A complete environment for a process that talks to this world, with nothing of the caller's own in it."""
        return runs.scrubbed_environment(
            self.home, access_key=access_key, region=self.scenario.region, aws_url=self.cloud.url
        )

    def playbook(
        self,
        name: str,
        variables: Mapping[str, Any] | None = None,
        *arguments: str,
        timeout: float = runs.DEFAULT_TIMEOUT,
        env: Mapping[str, str] | None = None,
    ) -> Run:
        """``ansible-playbook NAME -e VARIABLES ARGUMENTS``, as a user would run it; ``env`` is added to the world's."""
        return runs.ansible_playbook({**self.env(), **(env or {})}, name, variables, *arguments, timeout=timeout)

    def module(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        check: bool = False,
        diff: bool = False,
        timeout: float = runs.DEFAULT_TIMEOUT,
        env: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The result of one module, run as a process; its ``failed`` tells how it went."""
        environment = {**self.env(), **(env or {})}
        return runs.run_module(environment, name, arguments or {}, check=check, diff=diff, timeout=timeout)

    def task(self, name: str, arguments: Mapping[str, Any] | None = None, *, check: bool = False) -> dict[str, Any]:
        """The same through ``ansible-playbook``."""
        return runs.run_task(self.env(), name, arguments or {}, check=check)

    def aws(self, author: str = OPERATOR) -> AwsClients:
        """boto3 clients for the world's AWS: ``world.aws()("autoscaling")``."""
        if author not in self._aws_clients:
            self._aws_clients[author] = AwsClients(self.cloud.url, self.scenario.region, author)
        return self._aws_clients[author]

    @property
    def eks(self) -> Estate:
        """The cluster's updates, add-ons and insights, with a test's hand in each."""
        return self.cloud.clusters.estate(self.scenario.cluster)

    def client(self, author: str = OPERATOR) -> ApiClient:
        """A client of the Kubernetes API in this process."""
        return ApiClient(self.kubernetes, author)

    def snapshot(self) -> Snapshot:
        """How things stand now."""
        return take_snapshot(self.clock.now(), self.cloud, self.kubernetes.store)

    def wait_until(self, condition: Callable[[Snapshot], Any], what: str, seconds: float = 600.0) -> Snapshot:
        """Wait for that many seconds of the world at most; AssertionError with ``what`` when it does not come true."""
        give_up = self.clock.now() + seconds
        while True:
            now = self.snapshot()
            if condition(now):
                return now
            self.raise_troubles()
            if self.clock.now() > give_up:
                raise AssertionError(f"after {seconds:g} s of the world: {what} is still not so")
            time.sleep(TICK)

    def status(self) -> dict[str, Any]:
        """The state in a few lines."""
        now = self.snapshot()
        return {
            "scenario": self.scenario.name,
            "cluster": self.scenario.cluster,
            "time": self.clock.timestamp(),
            "speed": self.clock.speed,
            "aws": self.cloud.url,
            "kubernetes": self.server.url,
            "groups": {
                group.name: {
                    "min/max/desired": f"{group.min_size}/{group.max_size}/{group.desired}",
                    "instances": {
                        one.instance_id: f"{one.lifecycle} {one.zone} v{one.version}"
                        for one in group.instances.values()
                    },
                }
                for group in now.groups.values()
            },
            "nodes ready": sum(1 for node in now.nodes.values() if node.ready),
            "pods": len(now.pods),
            "pods not ready": list(now.pods_not_ready),
            "calls": len(self.record.calls()),
            "troubles": [repr(trouble) for trouble in self._troubles],
        }

    def outage(self, seconds: float) -> None:
        """The control plane is away for so many seconds of the world, from now on.

        Nobody reaches the API: requests under way lose their connection, and so does every new one
        (``server.refused`` counts them). Controllers, kubelets and the machines' cloud controller, which live by it,
        do nothing meanwhile either. AWS goes on.
        """
        self._away_until = max(self._away_until, self.clock.now() + seconds)
        self.server.interrupt()

    @property
    def reachable(self) -> bool:
        """No outage is under way."""
        return not self._away_until

    def add_client(self, balancer: str, app: str, every: float = 1.0, takes: float = 2.0) -> Client:
        """From now on users ask for the pods of that app through a target group (by name) or classic load balancer.

        One request each ``every`` seconds of the world, answered ``takes`` seconds later, which must be less than the
        pods take to stop.
        """
        target = self.provisioner.target_groups.get(balancer, balancer)
        service = Service(target, app, every, takes)
        client = Client(self.clock, self.cloud, self.kubernetes.store, self.record, service)
        self.clients.append(client)
        return client

    # ---- making it

    def _make_servers(self) -> None:
        self.cloud = Cloud(self.clock, self.record, self.faults, authors=ALL_KEYS, region=self.scenario.region)
        self.cloud.start()
        self.kubernetes = ApiServer(
            self.clock, self.record, self.faults, version=self.scenario.version, find_user=self._find_user
        )
        self.server = HttpsServer(self.kubernetes)
        self.server.start()

    def _make_inhabitants(self) -> None:
        world_client = ApiClient(self.kubernetes, WORLD)
        store = self.kubernetes.store
        self.machines = Machines(
            self.scenario, self.clock, self.cloud.instances, world_client, store, image=self.cloud.image
        )
        self.fargate = Fargate(
            self.scenario,
            self.clock,
            lambda: self.cloud.clusters.backend.clusters.get(self.scenario.cluster),
            lambda: self.kubernetes.version,
            world_client,
            store,
        )
        self.injector = SidecarInjector(self.scenario.sidecars)
        self.kubernetes.registry.admission += [self.fargate.admit, self.injector.admit]
        self.cloud.clusters.inside = InCluster(self.kubernetes, self.outage)
        self.controllers = Controllers(
            self.kubernetes, self.clock, machine_is_up=self._machine_is_up, can_pull=eks_catalogue.has_image
        )
        self.provisioner = Provisioner(self.scenario, self.cloud, self.aws())
        self.actors = Actors(self.scenario, self.clock, self.faults, self.provisioner, self.aws, self.client)
        self.cloud.balancers.answers = self.machines.answers
        self.balancer_controller = BalancerController(
            self.clock, self.cloud, self.kubernetes.store, self.aws(BALANCER_CONTROLLER), self._controller_target_groups
        )
        self.clients: list[Client] = []
        self.witness = Witness(self.record, self.kubernetes.store, self.machines.machine_is_up)
        self.record.observe(self.witness.on_call)
        self.cloud.compute.watchers.append(self._instance_changed)

    def _machine_is_up(self, node_name: str) -> bool:
        return self.machines.machine_is_up(node_name) or self.fargate.machine_is_up(node_name)

    def _find_user(self, access_key: str) -> tuple[str, str] | None:
        """The cluster's access entries: which Kubernetes user, and which author, an access key stands for.

        The cluster asks STS, which knows nobody by credentials that have expired.
        """
        author = AUTHORS.get(access_key)
        if author is None or access_key in self.cloud.expired:
            return None
        return f"arn:aws:sts::123456789012:assumed-role/{author}", author

    def _controller_target_groups(self) -> list[str]:
        return [self.provisioner.target_groups[name] for name in self.scenario.controller_target_groups]

    def _instance_changed(self, instance: Any, before: str, now: str) -> None:
        """EC2 says so, at the very moment; the cloud's lock is held."""
        membership = self.cloud.scaling.member(instance.id)
        group, activity = (membership[0].name, membership[1].activity) if membership else ("", None)
        self.witness.on_instance(
            Change(
                instance=instance.id,
                group=group or self.machines.group_of(instance.id),
                zone=instance.availability_zone or "",
                before=before,
                now=now,
                cause=activity.cause if activity else "",
            )
        )

    def _build(self) -> None:
        """The cluster, its groups and nodes, then what runs on them; and only then what makes the groups outdated."""
        scenario = self.scenario
        self.provisioner.build(self.server.url, self.server.ca_pem)
        wanted = sum(group.size for group in scenario.groups)
        self._settle(lambda now: sum(1 for node in now.nodes.values() if node.ready) == wanted, "every node Ready")
        operator = self.client()
        for manifest in manifests(scenario):
            create(operator, manifest)
        self.provisioner.install_addons()
        movable = movable_pods(scenario)
        self._settle(
            lambda now: len({*now.pods, *now.pods_finished}) == movable and not now.pods_not_ready, "every pod Ready"
        )
        self._settle(lambda now: self.cloud.balancers.settled(), "every target healthy")
        with self.cloud.lock:
            self.eks.insights.look()
        image = self.provisioner.new_image()
        for group in scenario.groups:
            if group.outdated:
                self.provisioner.renew(group, image)
        self.beginning = self.snapshot()
        self.record.clear()
        self.witness.watch()

    def _settle(self, done: Callable[[Snapshot], bool], what: str) -> None:
        """Skip through the world's time until that is so."""
        give_up = self.clock.now() + SETTLE_LIMIT
        while True:
            self._step()
            now = self.snapshot()
            if done(now):
                return
            if self.clock.now() > give_up:
                raise RuntimeError(
                    f"scenario {self.scenario.name} never comes to {what}: "
                    f"{len(now.nodes)} nodes, not ready are {', '.join(now.pods_not_ready) or 'no pods'}"
                )
            self.clock.advance(SETTLE_STEP)

    # ---- keeping it going

    def _step(self) -> None:
        self.cloud.tick()
        if self._away_until and self.clock.now() >= self._away_until:
            self._away_until = 0.0
            self.server.restore()
        if not self._away_until:
            self.machines.step()
            self.fargate.step()
            self.controllers.step()
            self.balancer_controller.step()
        self.actors.step()
        for client in self.clients:
            client.step()

    def _tick(self) -> None:
        while not self._ended.wait(TICK):
            try:
                self._step()
            except Exception as trouble:
                LOG.exception("the world itself broke")
                self._troubles.append(trouble)

    def _close(self) -> None:
        self.server.stop()
        self.cloud.stop()
        if self._own_home:
            shutil.rmtree(self._own_home, ignore_errors=True)


def create(client: ApiClient, manifest: dict[str, Any]) -> None:
    """``kubectl create``: put an object where it belongs."""
    from simulator.kubernetes.errors import ApiError
    from simulator.kubernetes.resources import BY_KIND

    resource = BY_KIND[manifest["apiVersion"], manifest["kind"]]
    prefix = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    namespace = manifest["metadata"].get("namespace")
    path = f"{prefix}/namespaces/{namespace}/{resource.plural}" if namespace else f"{prefix}/{resource.plural}"
    try:
        client.create(path, manifest)
    except ApiError as error:
        if error.code != 409:
            raise
