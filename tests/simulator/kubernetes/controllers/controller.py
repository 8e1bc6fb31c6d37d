# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every controller is made of: a queue of keys, an agenda of due times, and a client with its own name.

A controller never loops over the cluster. It is told of every change (``observe``), notes the keys that the change
concerns, and works through them (``reconcile``), each time looking at the world as it is now. What is to happen later
goes on the agenda. When nothing changes and nothing is due, a step costs next to nothing.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from simulator.clock import Clock
from simulator.kubernetes.client import ApiClient
from simulator.kubernetes.controllers.cache import Cache, Event, path_to
from simulator.kubernetes.controllers.objects import Key, Object, controller_of, status_of
from simulator.kubernetes.controllers.timings import Timings
from simulator.kubernetes.errors import ApiError

LOG = logging.getLogger("simulator.controllers")


class Agenda:
    """Keys with the moment (unix seconds of the world) at which each is to be looked at again; the earliest wins."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Hashable]] = []
        self._due: dict[Hashable, float] = {}
        self._count = 0

    def put(self, key: Hashable, at: float) -> None:
        if self._due.get(key, at + 1) > at:
            self._due[key] = at
            self._count += 1
            heapq.heappush(self._heap, (at, self._count, key))

    def pop_due(self, now: float) -> list[Hashable]:
        """The keys whose time has come, taken off the agenda."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            at, _unused, key = heapq.heappop(self._heap)
            if self._due.get(key) == at:
                del self._due[key]
                due.append(key)
        return due

    def next(self) -> float | None:
        """When the next key is due; None when none is."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None


@dataclass(frozen=True)
class Surroundings:
    """What all controllers of a cluster share."""

    cache: Cache
    clock: Clock
    timings: Timings
    client: Callable[[str], ApiClient]  # author -> client
    machine_is_up: Callable[[str], bool]  # node name -> does its machine run?
    can_pull: Callable[[str], bool] = lambda image: True  # is there such an image?


@dataclass
class Controller:
    """Base of all controllers; see the module's docstring. Subclasses set ``author`` and ``watches``."""

    around: Surroundings
    queue: dict[Hashable, None] = field(default_factory=dict, init=False)
    agenda: Agenda = field(default_factory=Agenda, init=False)
    failures: dict[Hashable, int] = field(default_factory=dict, init=False)

    author: ClassVar[str] = ""  # the name under which the requests are recorded
    watches: ClassVar[tuple[str, ...]] = ()  # resources whose changes it is told

    def __post_init__(self) -> None:
        self.cache = self.around.cache
        self.clock = self.around.clock
        self.timings = self.around.timings
        self.api = self.around.client(self.author)
        self.start()

    # --- for subclasses to fill in

    def start(self) -> None:
        """Make what the controller needs; the cache is still empty."""

    def observe(self, event: Event) -> None:
        """A watched object changed: note what has to be looked at. No requests here."""
        raise NotImplementedError

    def reconcile(self, key: Any) -> None:
        """Bring the world closer to what it should be, for this key."""
        raise NotImplementedError

    # --- what they use

    def enqueue(self, key: Hashable) -> None:
        self.queue[key] = None

    def enqueue_owner(self, obj: Object, kind: str) -> None:
        """Look at the object's controller, if that is of this kind."""
        reference = controller_of(obj)
        if reference is not None and reference["kind"] == kind:
            key: Key = (obj["metadata"].get("namespace") or "", reference["name"])
            self.enqueue(key)

    def later(self, key: Hashable, seconds: float) -> None:
        """Look at the key again after that time of the world."""
        self.agenda.put(key, self.clock.now() + seconds)

    def create(self, resource: str, namespace: str, body: Object) -> Object:
        return self.api.create(path_to(resource, namespace), body)

    def patch(
        self, resource: str, obj: Object, body: Object | list[Object], *, sub: str = "", kind: str = "merge"
    ) -> Object:
        metadata = obj["metadata"]
        return self.api.patch(path_to(resource, metadata.get("namespace"), metadata["name"], sub), body)

    def patch_status(self, resource: str, obj: Object, status: Object) -> None:
        """Set these fields of the object's status (lists are replaced as a whole); nothing is sent when they are so."""
        known = status_of(obj)
        if all(known.get(name) == value for name, value in status.items()):
            return
        # Only if the object is still as we know it: we may have decided on something that has just changed.
        version = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        self.patch(resource, obj, {"metadata": version, "status": status}, sub="status")

    def replace_status(self, resource: str, obj: Object) -> None:
        """Write the whole status of this changed copy of an object."""
        metadata = obj["metadata"]
        self.api.replace(path_to(resource, metadata.get("namespace"), metadata["name"], "status"), obj)

    def delete(self, resource: str, obj: Object, grace: int | None = None) -> None:
        """Delete exactly this object, not another that may have its name by now."""
        metadata = obj["metadata"]
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": metadata["uid"]}}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        self.api.delete(path_to(resource, metadata.get("namespace"), metadata["name"]), options)

    # --- the work

    def work(self) -> bool:
        """Deal with everything that is queued or due; True when there was something to do."""
        for key in self.agenda.pop_due(self.clock.now()):
            self.queue[key] = None
        keys = list(self.queue)
        for key in keys:
            self.queue.pop(key, None)
            self.attempt(key)
        return bool(keys)

    def attempt(self, key: Hashable) -> None:
        """Reconcile one key; when the server refuses, come back to it after a growing pause."""
        self.cache.refresh()
        try:
            self.reconcile(key)
        except (ApiError, ConnectionError) as error:
            count = self.failures.get(key, 0)
            self.failures[key] = count + 1
            LOG.debug("%s: %s: %s", self.author, key, error)
            # A conflict means that our view was old: the change that made it so is in the log already.
            pause = 0.0 if getattr(error, "code", 0) == 409 and count < 3 else self.timings.retry * 2 ** min(count, 10)
            self.later(key, min(pause, self.timings.retry_limit))
        else:
            self.failures.pop(key, None)
