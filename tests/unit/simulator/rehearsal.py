# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small cluster for the tests of the controllers: an API server, a clock that stands still, nodes and workloads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from simulator.clock import Clock
from simulator.kubernetes.api import ApiServer
from simulator.kubernetes.client import ApiClient
from simulator.kubernetes.controllers import ALL, Controllers, Timings
from simulator.kubernetes.controllers.cache import path_to
from simulator.kubernetes.controllers.objects import is_ready, is_terminating, node_of

Object = dict[str, Any]


class Cluster:
    """``after(seconds)`` lets time pass; the rest makes objects and looks at them, in the namespace ``shop``."""

    def __init__(self, which: Iterable[str] = ALL, timings: Timings | None = None):
        self.clock = Clock(speed=0, start=1_790_000_000)
        self.server = ApiServer(self.clock)
        self.api = ApiClient(self.server, "test")
        self.down: set[str] = set()  # nodes whose machine does not run
        self.controllers = Controllers(
            self.server, self.clock, which, timings=timings, machine_is_up=lambda name: name not in self.down
        )
        self.make("namespaces", "shop")

    def after(self, seconds: float) -> Cluster:
        self.controllers.run_for(seconds)
        return self

    # --- making things

    def make(self, resource: str, name: str, *, namespace: str = "shop", **body: Any) -> Object:
        metadata = {"name": name, **body.pop("metadata", {})}
        return self.api.create(path_to(resource, namespace), {"metadata": metadata, **body})

    def node(self, name: str, *, zone: str = "a", cpu: str = "4", ready: str = "True", **metadata: Any) -> Object:
        labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone, **metadata.pop("labels", {})}
        status = {
            "allocatable": {"cpu": cpu, "memory": "16Gi", "pods": "58"},
            "conditions": [{"type": "Ready", "status": ready}],
        }
        return self.make("nodes", name, metadata={"labels": labels, **metadata}, status=status)

    def workload(self, resource: str, name: str, *, life: dict[str, str] | None = None, **options: Any) -> Object:
        """A Deployment, StatefulSet, ...; ``life`` are the simulator/ annotations of its pods, ``pod`` more of their
        spec, everything else goes into the workload's spec."""
        pod = {"containers": [{"name": "main", "image": "main:1"}], **options.pop("pod", {})}
        annotations = {f"simulator/{key}": value for key, value in (life or {}).items()}
        template = {"metadata": {"labels": {"app": name}, "annotations": annotations}, "spec": pod}
        selector = {} if resource == "jobs" else {"selector": {"matchLabels": {"app": name}}}
        return self.make(resource, name, spec={**selector, "template": template, **options})

    def budget(self, name: str, **spec: Any) -> Object:
        return self.make("poddisruptionbudgets", name, spec={"selector": {"matchLabels": {"app": name}}, **spec})

    # --- changing things

    def patch(self, resource: str, name: str, body: Object, sub: str = "") -> Object:
        return self.api.patch(path_to(resource, "shop", name, sub), body)

    def cordon(self, name: str) -> None:
        self.patch("nodes", name, {"spec": {"unschedulable": True}})

    def evict(self, pod: Object) -> Object:
        name = pod["metadata"]["name"]
        return self.api.create(path_to("pods", "shop", name, "eviction"), {"metadata": {"name": name}})

    def delete(self, resource: str, name: str, **query: Any) -> Object:
        return self.api.delete(path_to(resource, "shop", name), **query)

    # --- looking

    def get(self, resource: str, name: str) -> Object:
        return self.api.get(path_to(resource, "shop", name))

    def all(self, resource: str) -> list[Object]:
        return self.api.list(path_to(resource))[0]

    def pods(self, app: str = "", node: str = "") -> list[Object]:
        """The pods of one workload, or on one node, or all."""
        found = self.api.list(path_to("pods"), label_selector=f"app={app}" if app else None)[0]
        return [pod for pod in found if not node or node_of(pod) == node]

    def ready(self, app: str) -> list[Object]:
        return [pod for pod in self.pods(app) if is_ready(pod) and not is_terminating(pod)]

    def taints(self, name: str) -> set[tuple[str, str]]:
        return {(taint["key"], taint["effect"]) for taint in self.get("nodes", name)["spec"].get("taints", [])}


def names(objects: Iterable[Object]) -> list[str]:
    return sorted(item["metadata"]["name"] for item in objects)


def nodes_of(pods: Iterable[Object]) -> list[str]:
    return sorted(node_of(pod) for pod in pods)
