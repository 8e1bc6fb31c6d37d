# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kubernetes Events on Nodes, so that C(kubectl get events) and C(kubectl describe node) tell others what happens.

They are sent beside the work, once each, and no step of it waits for them: only its end does, 2 s at most. What cannot
be sent is done without. An Event's name is made of run, Node and reason: a rerun that says the same again is answered
that it exists, and it does.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from typing import Any

from ansible.module_utils.common.warnings import warn

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.nodes import Node
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

CORDONED = "EvergreenCordoned"
DRAINING = "EvergreenDraining"
DRAINED = "EvergreenDrained"
BLOCKED = "EvergreenBlocked"
COMPONENT = "evergreen.eks"
# Where the kubelet's Events about its Node are, too: a Node is in no namespace.
NAMESPACE = "default"
PATH = f"/api/v1/namespaces/{NAMESPACE}/events"
LONGEST_MESSAGE = 1000  # the API takes 1024 bytes
LAST_SECONDS = 2.0  # real ones, for those that are still under way when the work is done
FORBIDDEN = 403


class NodeEvents:
    """Sends Events from a thread of its own; without a client, and in check mode, none."""

    def __init__(self, client: KubernetesClient | None, call: Call) -> None:
        self._client = None if call.check_mode else client
        self._call = call
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue()  # it counts those under way
        self._told: set[tuple[str, str]] = set()
        self._thread: threading.Thread | None = None

    def tell(self, reason: str, node: Node, message: str) -> None:
        """That this has happened to the Node, unless it was told before."""
        if self._client is None or (node.name, reason) in self._told:
            return
        self._told.add((node.name, reason))
        message = self._call.journal.clean(message)
        self._waiting.put(event_of(reason, node, message, self._call.journal.run, self._client.time.timestamp()))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="node-events", daemon=True)
            self._thread.start()

    def close(self, seconds: float = LAST_SECONDS) -> None:
        """Wait a moment for what is still under way; what has not been sent by then is not."""
        give_up = time.monotonic() + seconds
        while self._waiting.unfinished_tasks and time.monotonic() < give_up:
            time.sleep(0.01)
        self._client = None

    def _work(self) -> None:
        while True:
            event = self._waiting.get()
            try:
                self._send(event)
            finally:
                self._waiting.task_done()

    def _send(self, event: dict[str, Any]) -> None:
        client = self._client
        if client is None:
            return
        try:
            client.announce(PATH, event)
        except KubernetesError as error:
            if error.status == FORBIDDEN:
                self._client = None
                warn(
                    f"No Events are written on nodes, the work goes on without: {error.message}. Grant the verb create "
                    f"on events in namespace {NAMESPACE}, or set node_events (eks_node_events) to false"
                )
        except EvergreenError:
            return  # an outage, or credentials that have ended: the work itself finds out, and tells


def event_of(reason: str, node: Node, message: str, run: str, now: str) -> dict[str, Any]:
    """The Event as core/v1 has it. ``now`` is of the API server's clock."""
    digest = hashlib.sha256(f"{run}/{node.uid}/{reason}".encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{node.name}.{digest}", "namespace": NAMESPACE},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.uid},
        "type": "Warning" if reason == BLOCKED else "Normal",
        "reason": reason,
        "message": message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 3]}...",
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": run or COMPONENT,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
