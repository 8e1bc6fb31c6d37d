# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits as a person meets them: the numbers that are given for them, and what is waited for, now and then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.errors import InvalidInput
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

HEARTBEAT_SECONDS = 30.0


class Heartbeat:
    """Journal lines of a wait: the first at once, then at most one each `every` seconds."""

    def __init__(self, call: Call, every: float = HEARTBEAT_SECONDS) -> None:
        self._call = call
        self._every = every
        self._next = call.clock.now()

    def due(self) -> bool:
        """Whether the next line may be written: asked before something costly is read for it."""
        return self._call.clock.now() >= self._next

    def beat(self, text: str, **fields: Any) -> None:
        """Write what is waited for, unless that was said only a moment ago."""
        if self.due():
            self._call.journal.write("waiting", text=text, **fields)
            self._next = self._call.clock.now() + self._every


def refuse_negative(params: Mapping[str, Any], *names: str) -> None:
    """Raise InvalidInput for the first of these options that is below 0; one that is not given is fine."""
    for name in names:
        if params[name] is not None and params[name] < 0:
            raise InvalidInput(f"{name} is {params[name]:g}", remedy="Give a number of 0 or more, or leave it out")
