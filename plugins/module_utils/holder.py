# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a playbook run is: enough to tell it from every other, and to prove, on the same machine, that it has ended."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Lifeline, Process


class RunInProgress(EvergreenError):
    """Another run holds the cluster or the node group."""

    default_reason = "locked"


@dataclass(frozen=True)
class Holder:
    """The playbook run that holds something: enough to prove, on the same machine, that it is gone."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: str  # start time of the process, as the kernel counts it
    operator: str = ""
    since: str = ""
    run_id: str = ""

    @classmethod
    def parse(cls, text: str) -> Optional[Holder]:
        """From the words of a tag, as `label` writes them; None where they are not such."""
        parts = text.split("/")
        if len(parts) != 5 or not parts[3].isdigit():
            return None
        return cls(host=parts[0], boot=parts[1], namespace=parts[2], pid=int(parts[3]), started=parts[4])

    @property
    def label(self) -> str:
        """Enough for a tag: host/boot/namespace/process/start, the first three abridged."""
        return "/".join([self.host[:60], self.boot[:8], self.namespace[5:-1], str(self.pid), self.started])

    @classmethod
    def here(cls, lifeline: Lifeline, operator: str = "", since: str = "") -> Holder:
        """The holder that this module call belongs to: its playbook's process on this machine."""
        return cls(
            host=socket.gethostname(),
            boot=_read("/proc/sys/kernel/random/boot_id"),
            namespace=_link("/proc/self/ns/pid"),
            pid=lifeline.controller.pid,
            started=lifeline.controller.started,
            operator=operator,
            since=since,
        )

    def same_process(self, other: Holder) -> bool:
        return (self.host, self.boot, self.namespace, self.pid, self.started) == (
            other.host,
            other.boot,
            other.namespace,
            other.pid,
            other.started,
        )

    @property
    def abridged(self) -> Holder:
        """This holder as it reads in a tag."""
        return Holder.parse(self.label) or self

    def gone(self, here: Holder) -> Optional[bool]:
        """True: provably ended. False: it runs. None: another machine or container, nothing can be proved."""
        if self.host == here.host and self.boot and here.boot and self.boot != here.boot:
            return True
        if (self.host, self.boot, self.namespace) != (here.host, here.boot, here.namespace):
            return None
        return not Process(self.pid, self.started).alive()

    def __str__(self) -> str:
        who = f"{self.operator} on {self.host}" if self.operator else self.host
        return f"{who} (process {self.pid}{', since ' + self.since if self.since else ''})"


def with_run(holder: Holder, run_id: str) -> Holder:
    return replace(holder, run_id=run_id)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
