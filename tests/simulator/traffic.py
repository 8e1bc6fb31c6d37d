# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of a service in the cluster: requests through a load balancer, at a steady rate, and how many of them fail.

A request goes to one of the balancer's targets, and from that node to a Ready pod of the service on whatever node
(externalTrafficPolicy: Cluster). It fails at once where there is no target, the target's machine does not answer, or no
pod is Ready; and later where the machine or the pod goes before the request has been answered. A pod that has been told
to go still answers what it has begun. Failures are notes in the record (``request_failed``: ``balancer``, ``instance``,
``pod``, ``why``).

It looks at the world when the world's ticker does: a request that ends between two looks is judged at the later one.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

from simulator.aws.server import Cloud
from simulator.clock import Clock
from simulator.kubernetes.resources import PODS
from simulator.kubernetes.store import Store
from simulator.record import Note, Record
from simulator.witness import healthy_pod

CATCH_UP = 50  # requests at one look at most, where a test has pushed the clock ahead


@dataclass(frozen=True)
class Request:
    """One request under way: through which instance, to which pod (its UID), and when its answer is complete."""

    instance_id: str
    pod: str
    uid: str
    ends: float


@dataclass(frozen=True)
class Service:
    """What is asked for: the pods labelled ``app``, through a target group (its ARN) or a classic load balancer (its
    name); one request ``every`` so many seconds of the world, whose answer ``takes`` so long."""

    balancer: str
    app: str
    every: float = 1.0
    takes: float = 2.0


class Client:
    """All users of one service."""

    def __init__(self, clock: Clock, cloud: Cloud, store: Store, record: Record, service: Service):
        self._clock = clock
        self._cloud = cloud
        self._store = store
        self._record = record
        self.service = service
        self._next = clock.now()
        self._under_way: list[Request] = []
        self._turn = itertools.count()
        #: how many requests each instance got
        self.sent: Counter[str] = Counter()
        self.failures: list[Note] = []

    def step(self) -> None:
        """Begin what is due, and see how those fare that are under way."""
        now = self._clock.now()
        pods = {pod["metadata"]["uid"]: pod for pod in self._pods()}
        self._look_after(pods, now)
        due = int((now - self._next) // self.service.every) + 1 if now >= self._next else 0
        self._next += due * self.service.every
        ready = [pod for pod in pods.values() if healthy_pod(pod)]
        for _unused in range(min(due, CATCH_UP)):
            self._begin(ready, now)

    def _begin(self, ready: list[dict[str, Any]], now: float) -> None:
        turn = next(self._turn)
        with self._cloud.lock:
            self._cloud.settle()
            targets = self._cloud.balancers.pool(self.service.balancer).routable()
        if not targets:
            self._fail("", "", "there is no target")
            return
        instance_id = targets[turn % len(targets)]
        self.sent[instance_id] += 1
        if not self._answers(instance_id):
            self._fail(instance_id, "", "the target does not answer")
        elif not ready:
            self._fail(instance_id, "", "no pod is Ready")
        else:
            pod = ready[turn % len(ready)]["metadata"]
            name = f"{pod['namespace']}/{pod['name']}"
            self._under_way.append(Request(instance_id, name, pod["uid"], now + self.service.takes))

    def _look_after(self, pods: dict[str, dict[str, Any]], now: float) -> None:
        going_on = []
        for request in self._under_way:
            if not self._answers(request.instance_id):
                self._fail(request.instance_id, request.pod, "the target went")
            elif request.uid not in pods:
                self._fail(request.instance_id, request.pod, "the pod went")
            elif now < request.ends:
                going_on.append(request)
        self._under_way = going_on

    def _answers(self, instance_id: str) -> bool:
        with self._cloud.lock:
            return self._cloud.balancers.instance_answers(instance_id)

    def _pods(self) -> list[dict[str, Any]]:
        found = (stored.object for stored in self._store.all(PODS))
        return [pod for pod in found if (pod["metadata"].get("labels") or {}).get("app") == self.service.app]

    def _fail(self, instance_id: str, pod: str, why: str) -> None:
        note = self._record.note(
            "request_failed", balancer=self.service.balancer, instance=instance_id, pod=pod, why=why
        )
        self.failures.append(note)
