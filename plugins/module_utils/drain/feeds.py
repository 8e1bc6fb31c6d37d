# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine follows besides the pods: all budgets and all volume attachments of the cluster, one watch each.

Each begins when it is first asked for. What a watch learns is posted as a function for the deciding thread to call.
Whoever may not read them goes without: the server alone knows then what a budget grants, and nobody waits for volumes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.drain.budgets import Budget, budget_from
from ansible_collections.evergreen.eks.plugins.module_utils.drain.explain import BUDGETS
from ansible_collections.evergreen.eks.plugins.module_utils.drain.flow import Lane, Ledger
from ansible_collections.evergreen.eks.plugins.module_utils.drain.node import NodeDrain
from ansible_collections.evergreen.eks.plugins.module_utils.drain.pods import Pod
from ansible_collections.evergreen.eks.plugins.module_utils.drain.volumes import (
    ATTACHMENTS,
    Attachment,
    Attachments,
    attachment_from,
    volumes_of,
)
from ansible_collections.evergreen.eks.plugins.module_utils.drain.watch import Watch
from ansible_collections.evergreen.eks.plugins.module_utils.kubernetes import KubernetesClient, KubernetesError
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Clock, Deadline

Post = Callable[..., None]  # have a function called, with these arguments, by the deciding thread


@dataclass
class Surroundings:
    """What a feed needs of the engine."""

    client: KubernetesClient
    clock: Clock
    poll_seconds: float
    post: Post
    read: Post  # have something read by another thread

    def watch(self, path: str, keep: Callable[[dict[str, Any]], Any], **listeners: Callable[..., None]) -> Watch:
        """A watch, begun, each of whose listeners is called by the deciding thread."""
        posted = {name: self._posted(listener) for name, listener in listeners.items()}
        watch = Watch(self.client, path, keep, self.poll_seconds, **posted)
        watch.start()
        return watch

    def _posted(self, listener: Callable[..., None]) -> Callable[..., None]:
        return lambda *news: self.post(listener, *news)


class BudgetFeed:
    """Keeps a ledger up to date, and wakes who has to wait no more."""

    def __init__(self, around: Surroundings, ledger: Ledger, wake_all: Callable[[], None]) -> None:
        self._around, self._ledger, self._wake_all = around, ledger, wake_all
        self._watch: Watch | None = None
        self._known = False  # or known to be unreadable

    def known(self) -> bool:
        """Whether what the budgets grant is known, as far as it may be."""
        if self._watch is None:
            self._watch = self._around.watch(
                BUDGETS,
                budget_from,
                on_all=self._saw_all,
                on_one=lambda budget: _wake(self._ledger.see(budget, self._now)),
                on_gone=lambda metadata: _wake(self._ledger.see_gone(metadata["namespace"], metadata["name"])),
                on_stale=lambda _why: self._has_been_read(),
                on_error=self._lost,
            )
        return self._known

    def stop(self) -> None:
        if self._watch is not None:
            self._watch.stop()

    @property
    def _now(self) -> float:
        return self._around.clock.now()

    def _saw_all(self, budgets: list[Budget]) -> None:
        _wake(self._ledger.see_all(budgets, self._now))
        self._has_been_read()

    def _has_been_read(self) -> None:
        """The budgets have been listed, or could not be: evictions need not wait for that any more."""
        if not self._known:
            self._known = True
            self._wake_all()

    def _lost(self, error: Exception) -> None:
        if not isinstance(error, KubernetesError):
            raise error
        _wake(self._ledger.forget())
        self._has_been_read()


@dataclass
class Detaching:
    """A node without pods whose volumes may still be attached. ``staying``: those of pods that stay, None: unknown."""

    drain: NodeDrain
    deadline: Deadline
    wake: Callable[[], None]
    staying: frozenset[str] | None = None
    reading: bool = False


class VolumeFeed:
    """Follows the volumes of nodes that are empty but for these."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._attachments = Attachments()
        self._watch: Watch | None = None
        self._waiting: dict[str, Detaching] = {}  # by node
        self.unreadable = ""  # why they cannot be seen

    def begin(self, drain: NodeDrain, timeout: float, wake: Callable[[], None]) -> Detaching:
        """Follow those of a node that has no pods any more but such that stay."""
        detaching = Detaching(drain, Deadline(self._around.clock, timeout), wake)
        if not any(pod.claims for pod in drain.staying):
            detaching.staying = frozenset()
        self._waiting[drain.node.name] = detaching
        if self._watch is None:
            self._watch = self._around.watch(
                ATTACHMENTS,
                attachment_from,
                on_all=self._saw_all,
                on_one=self._attachments.see,
                on_gone=lambda metadata: self._saw_gone(metadata["name"]),
                on_stale=lambda _why: None,
                on_error=self._lost,
            )
        return detaching

    def settled(self, detaching: Detaching) -> bool:
        """Whether the node need not be waited on any more; notes what is left on it."""
        if detaching.staying is None and not detaching.reading:
            detaching.reading = True
            self._around.read(self._read_staying, detaching, detaching.drain.staying)
        known = detaching.staying is not None and self._attachments.known
        if known:
            detaching.drain.volumes = self._attachments.left(detaching.drain.node.name, detaching.staying or ())
        return bool(self.unreadable) or (known and not detaching.drain.volumes) or detaching.deadline.expired()

    def stop(self) -> None:
        if self._watch is not None:
            self._watch.stop()

    def _saw_all(self, attachments: list[Attachment]) -> None:
        self._attachments.see_all(attachments)
        self._wake_all()

    def _saw_gone(self, name: str) -> None:
        detaching = self._waiting.get(self._attachments.see_gone(name))
        if detaching:
            detaching.wake()

    def _read_staying(self, detaching: Detaching, staying: list[Pod]) -> None:
        """In another thread. What fails for a passing reason is read again at the next look."""
        volumes = None
        try:
            volumes = volumes_of(self._around.client, staying)
        except KubernetesError as error:
            if not error.transient:
                self._around.post(self._lost, error)
        self._around.post(self._saw_staying, detaching, volumes)

    @staticmethod
    def _saw_staying(detaching: Detaching, volumes: frozenset[str] | None) -> None:
        detaching.staying, detaching.reading = volumes, False
        if volumes is not None:
            detaching.wake()

    def _lost(self, error: Exception) -> None:
        if not isinstance(error, KubernetesError):
            raise error
        self.unreadable = self.unreadable or str(error)
        self._wake_all()

    def _wake_all(self) -> None:
        for detaching in self._waiting.values():
            detaching.wake()


def _wake(lanes: Iterable[Lane]) -> None:
    for lane in lanes:
        lane.wake()
