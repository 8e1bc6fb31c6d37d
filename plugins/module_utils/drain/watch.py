# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects of the cluster, the pods of one node above all, kept up to date by a watch in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain.filters import Verdict
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod, pod_from
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError

PODS = "/api/v1/pods"
# A watch is left after so many looks and the list read anew, so that nothing wrong stays so for longer.
WATCH_LOOKS = 12
GONE = 410  # the version to go on from is too old: list again

Judge = Callable[[Pod], Verdict]
Judged = tuple[Pod, Verdict]


def list_judged(client: KubernetesClient, node_name: str, judge: Judge) -> tuple[list[Judged], str]:
    """The pods that are bound to the node with a verdict on each, and the version of this list."""
    return client.list(PODS, field_selector=bound_to(node_name), keep=lambda manifest: judged(manifest, judge))


def bound_to(node_name: str) -> str:
    return f"spec.nodeName={node_name}"


def judged(manifest: dict[str, Any], judge: Judge) -> Judged:
    pod = pod_from(manifest)
    return pod, judge(pod)


class Watch(threading.Thread):
    """Tells what becomes of a collection of objects, through callbacks that are called in this thread.

    ``on_all`` is given all of them after each list, ``on_one`` one that is new or has changed, each as ``keep`` makes
    it of the object; ``on_gone`` the metadata of one that is no more. ``on_stale`` says that nothing is known until the
    next list, and why if an API in trouble is the reason, ``on_error`` that this cannot go on. It never lists twice
    within a poll, whatever becomes of its watches. It needs no first list where the ``version`` of one is given.
    """

    def __init__(
        self,
        client: KubernetesClient,
        path: str,
        keep: Callable[[dict[str, Any]], Any],
        poll_seconds: float,
        *,
        on_all: Callable[[list[Any]], None],
        on_one: Callable[[Any], None],
        on_gone: Callable[[Mapping[str, Any]], None],
        on_stale: Callable[[str], None],
        on_error: Callable[[Exception], None],
        field_selector: str | None = None,
        version: str = "",
    ) -> None:
        super().__init__(name=f"watch of {path} {field_selector or ''}", daemon=True)
        self._client, self._path, self._keep, self._field_selector = client, path, keep, field_selector
        self._version, self._poll_seconds = version, poll_seconds
        self._on_all, self._on_one, self._on_gone = on_all, on_one, on_gone
        self._on_stale, self._on_error = on_stale, on_error
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Say nothing more. The thread itself ends with its watch."""
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            trouble = ""
            try:
                self._follow()
            except KubernetesError as error:
                if not error.transient and error.status != GONE:
                    self._tell(self._on_error, error)
                    return
                trouble = "" if error.status == GONE else error.message
                began += error.retry_after or 0.0
            except Exception as error:
                self._tell(self._on_error, error)
                return
            self._tell(self._on_stale, trouble)
            self._stopped.wait(began + self._poll_seconds - time.monotonic())

    def _follow(self) -> None:
        """List, unless a version is known to go on from, then watch until the watch ends."""
        if not self._version:
            items, self._version = self._client.list(self._path, field_selector=self._field_selector, keep=self._keep)
            self._tell(self._on_all, items)
        version, self._version = self._version, ""
        events = self._client.watch(
            self._path,
            resource_version=version,
            field_selector=self._field_selector,
            timeout_seconds=max(1, round(WATCH_LOOKS * self._poll_seconds)),
        )
        for kind, manifest in events:
            if self._stopped.is_set():
                return
            if kind == "DELETED":
                self._tell(self._on_gone, manifest["metadata"])
            elif kind in ("ADDED", "MODIFIED"):
                self._tell(self._on_one, self._keep(manifest))

    def _tell(self, listener: Callable[..., None], *news: Any) -> None:
        if not self._stopped.is_set():
            listener(*news)


class PodWatch(Watch):
    """The pods that are bound to one node, with a verdict on each; ``on_gone`` is given a UID."""

    def __init__(
        self,
        client: KubernetesClient,
        node_name: str,
        judge: Judge,
        version: str,
        poll_seconds: float,
        *,
        on_all: Callable[[Iterable[Judged]], None],
        on_pod: Callable[[Judged], None],
        on_gone: Callable[[str], None],
        on_stale: Callable[[str], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        super().__init__(
            client,
            PODS,
            lambda manifest: judged(manifest, judge),
            poll_seconds,
            on_all=on_all,
            on_one=on_pod,
            on_gone=lambda metadata: on_gone(metadata["uid"]),
            on_stale=on_stale,
            on_error=on_error,
            field_selector=bound_to(node_name),
            version=version,
        )
