# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows what a running module appends to its journal, line by line, while it works."""

from __future__ import annotations

import json
import os
import threading
from typing import Callable


class JournalTail(threading.Thread):
    """Hands each event that is appended to a journal while the context lasts to ``show``, as one line of text.

    It begins at the present end of the file, which need not exist yet, and looks once more when the context ends, so
    that nothing is lost and nothing is shown twice. A line that is still being written is left until it is complete.
    """

    def __init__(self, path: str, group: str, show: Callable[[str], None], interval: float = 0.5) -> None:
        super().__init__(name="evergreen-journal", daemon=True)
        self._path = path
        self._group = group
        self._show = show
        self._interval = interval
        self._position = os.path.getsize(path) if os.path.exists(path) else 0
        self._ended = threading.Event()

    def __enter__(self) -> JournalTail:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        last_look = False
        while not last_look:
            last_look = self._ended.wait(self._interval)
            self.look()

    def look(self) -> None:
        """Show the complete lines that have been added since the last look."""
        for line in self._complete_lines():
            text = as_line(line, self._group)
            if text:
                self._show(text)

    def _complete_lines(self) -> list[bytes]:
        try:
            with open(self._path, "rb") as journal:
                journal.seek(self._position)
                complete, newline, _rest = journal.read().rpartition(b"\n")
        except OSError:
            return []
        self._position += len(complete) + len(newline)
        return complete.split(b"\n")


def as_line(event_line: bytes, group: str) -> str | None:
    """The line to show for a line of a journal: time of day (UTC), node group, text. None for events without text."""
    try:
        event = json.loads(event_line)
        words = "".join(letter if letter.isprintable() else " " for letter in str(event["text"])).split()
    except (ValueError, KeyError, TypeError):
        return None
    if not words:
        return None
    time_of_day = str(event.get("time", "")).partition("T")[2]
    return " ".join(part for part in ("  ", time_of_day, f"[{event.get('group') or group}]", *words) if part)
