# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a playbook run is: enough to tell it from every other, and to prove, on the same machine, that it has ended."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Mapping, Optional

from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError
from ansible_collections.evergreen.eks.plugins.module_utils.process import Process
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Lifeline

IDENTITY = ("host", "boot", "namespace", "pid", "started")


class RunInProgress(EvergreenError):
    """Another run holds the cluster or the node group."""

    default_reason = "locked"


@dataclass(frozen=True)
class Holder:
    """The playbook run that holds something: the process of ansible-playbook, and who started it.

    ``boot`` is the beginning of the kernel's boot id, ``namespace`` the number of the process namespace, ``started``
    the start time of the process as the kernel counts it; where a system tells none of them (macOS), they are "".
    Run ids are not here, because each node group has its own: the group's tag `evergreen.eks/run` names both.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: str
    operator: str = ""
    since: str = ""
    job: str = ""

    @classmethod
    def here(cls, lifeline: Lifeline, operator: str = "", since: str = "", job: str = "") -> Holder:
        """The holder that this module call belongs to: its playbook's process on this machine."""
        return cls(
            host=socket.gethostname()[:60].replace("/", "-"),
            boot=_read("/proc/sys/kernel/random/boot_id")[:8],
            namespace=_link("/proc/self/ns/pid")[5:-1],  # pid:[4026531836]
            pid=lifeline.controller.pid,
            started=lifeline.controller.started,
            operator=operator,
            since=since,
            job=job,
        )

    @classmethod
    def parse(cls, text: str) -> Optional[Holder]:
        """From the words of a tag, as `label` writes them; None where they are not such."""
        parts = text.split("/")
        if len(parts) != 5 or not parts[3].isdigit():
            return None
        return cls(host=parts[0], boot=parts[1], namespace=parts[2], pid=int(parts[3]), started=parts[4])

    @classmethod
    def of(cls, words: Any) -> Optional[Holder]:
        """From what `as_dict` answers, whatever a later release may have added; None where it is not such."""
        known = {one.name: one.type for one in fields(cls)}
        if not isinstance(words, Mapping):
            return None
        try:
            holder = cls(**{name: value for name, value in words.items() if name in known})
        except TypeError:
            return None
        sound = all(isinstance(getattr(holder, name), int if kind == "int" else str) for name, kind in known.items())
        return holder if sound else None

    def as_dict(self) -> dict[str, Any]:
        """All that is known, for JSON."""
        return {name: value for name, value in asdict(self).items() if value != "" or name in IDENTITY}

    @property
    def label(self) -> str:
        """Enough for a tag, and for nobody else: host/boot/namespace/process/start."""
        return "/".join(str(getattr(self, name)) for name in IDENTITY)

    def gone(self, here: Holder) -> Optional[bool]:
        """True: provably ended. False: it runs. None: another machine or container, nothing can be proved.

        A host of the same name is no proof of the same machine, so a later boot proves nothing either.
        """
        provable = bool(self.boot and self.namespace and self.started)
        if not provable or (self.host, self.boot, self.namespace) != (here.host, here.boot, here.namespace):
            return None
        return not Process(self.pid, self.started).alive()

    def __str__(self) -> str:
        where = f"{self.operator} on {self.host}" if self.operator else self.host
        facts = [
            f"AWX job {self.job}" if self.job else "",
            f"process {self.pid}",
            f"since {self.since}" if self.since else "",
        ]
        return f"{where} ({', '.join(fact for fact in facts if fact)})"


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
