# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows what a running module appends to its journal, line by line, while it works."""

from __future__ import annotations

import os
import threading
import time
from typing import Callable

from ansible_collections.evergreen.eks.plugins.module_utils.journal import event_in
from ansible_collections.evergreen.eks.plugins.plugin_utils.progress_lines import Line, Lines


class JournalTail(threading.Thread):
    """Hands what is appended to a journal while the context lasts to ``show``, as lines of text.

    It begins at the present end of the file, which need not exist yet, and looks once more when the context ends, so
    that nothing is lost and nothing is shown twice. A line that is still being written is left until it is complete.
    """

    def __init__(self, path: str, lines: Lines, show: Callable[[Line], None], interval: float = 0.25) -> None:
        super().__init__(name="evergreen-journal", daemon=True)
        self._path = path
        self._lines = lines
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
            self.look(last=last_look)

    def look(self, *, last: bool = False) -> None:
        """Take in the complete lines that have been added since the last look, and show what is due."""
        now = time.monotonic()
        for line in self._complete_lines():
            event = event_in(line)
            if event:
                self._lines.take(event, now)
        for shown in self._lines.due(now, last=last):
            self._show(shown)

    def _complete_lines(self) -> list[bytes]:
        try:
            with open(self._path, "rb") as journal:
                journal.seek(self._position)
                complete, newline, _rest = journal.read().rpartition(b"\n")
        except OSError:
            return []
        self._position += len(complete) + len(newline)
        return complete.split(b"\n")
