# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the controllers: step by step, or in a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from simulator.clock import Clock
from simulator.kubernetes.api import ApiServer
from simulator.kubernetes.client import ApiClient
from simulator.kubernetes.controllers.budgets import DisruptionController
from simulator.kubernetes.controllers.cache import Cache
from simulator.kubernetes.controllers.cleanup import NamespaceController, PodGarbageCollector
from simulator.kubernetes.controllers.controller import Controller, Surroundings
from simulator.kubernetes.controllers.daemonsets import DaemonSetController
from simulator.kubernetes.controllers.jobs import JobController
from simulator.kubernetes.controllers.kubelet import Kubelet
from simulator.kubernetes.controllers.nodes import NodeLifecycleController, TaintEvictionController
from simulator.kubernetes.controllers.replicasets import DeploymentController, ReplicaSetController
from simulator.kubernetes.controllers.scheduler import Scheduler
from simulator.kubernetes.controllers.statefulsets import StatefulSetController
from simulator.kubernetes.controllers.timings import Timings
from simulator.kubernetes.controllers.volumes import AttachDetachController, PersistentVolumeController

LOG = logging.getLogger("simulator.controllers")

KINDS: dict[str, type[Controller]] = {
    kind.author: kind
    for kind in (
        DeploymentController,
        ReplicaSetController,
        StatefulSetController,
        DaemonSetController,
        JobController,
        Scheduler,
        PersistentVolumeController,
        AttachDetachController,
        Kubelet,
        NodeLifecycleController,
        TaintEvictionController,
        DisruptionController,
        PodGarbageCollector,
        NamespaceController,
    )
}
ALL = tuple(KINDS)

POLL = 0.02  # real seconds between two steps of the thread
ROUNDS = 500  # in one step; more would mean controllers that undo each other's work


class Controllers:
    """The chosen controllers of one cluster.

    ``which`` names them by author (``ALL``); ``machine_is_up`` tells whether the machine of a node runs. Either call
    ``step`` (or ``run_for``) yourself, or let ``start`` run them in a thread until ``stop``.
    """

    def __init__(
        self,
        server: ApiServer,
        clock: Clock,
        which: Iterable[str] = ALL,
        *,
        timings: Timings | None = None,
        machine_is_up: Callable[[str], bool] = lambda name: True,
        can_pull: Callable[[str], bool] = lambda image: True,
    ):
        unknown = set(which) - set(ALL)
        if unknown:
            raise ValueError(f"no such controllers: {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
        self._clock = clock
        self._cache = Cache(server.store)
        around = Surroundings(
            self._cache, clock, timings or Timings(), lambda author: ApiClient(server, author), machine_is_up, can_pull
        )
        self._controllers = [KINDS[author](around) for author in ALL if author in set(which)]
        for controller in self._controllers:
            self._cache.listen(controller.watches, controller.observe)
        self._stepping = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def step(self) -> bool:
        """Do all that is to be done right now; False when it would not come to rest."""
        with self._stepping:
            for _unused in range(ROUNDS):
                self._cache.refresh()
                busy = [controller.author for controller in self._controllers if controller.work()]
                if not busy:
                    return True
        LOG.warning("these controllers do not come to rest: %s", ", ".join(busy))
        return False

    def next_due(self) -> float | None:
        """When (unix seconds of the world) something is to happen by itself; None when nothing is."""
        dues = [due for controller in self._controllers if (due := controller.agenda.next()) is not None]
        return min(dues, default=None)

    def run_for(self, seconds: float) -> None:
        """Let that much time of the world pass, from one due moment to the next (for a clock that stands still)."""
        end = self._clock.now() + seconds
        self.step()
        while (due := self.next_due()) is not None and due <= end:
            self._clock.advance(max(0.0, due - self._clock.now()))
            self.step()
        self._clock.advance(max(0.0, end - self._clock.now()))
        self.step()

    def start(self) -> None:
        """Run in a thread from now on."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="controllers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; everything stays as it is."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stop.wait(POLL):
            try:
                self.step()
            except Exception:  # one bad object must not end the world
                LOG.exception("a controller failed")
