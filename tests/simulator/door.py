# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to a world in another process, for those who know its token. ``control`` is the other side.

Nothing of the world itself is imported here: who only asks must not have to load it.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

DEEDS = (
    "cordon",
    "delete_group",
    "delete_pod",
    "new_version",
    "reset_max",
    "set_desired",
    "spot_loss",
    "stop_instance",
    "suspend",
)


class BadRequest(Exception):
    """What was asked for makes no sense; the text says why."""


class Door:
    """Asks a world in another process."""

    def __init__(self, url: str, token: str):
        self._url = url
        self._token = token
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def ask(self, path: str, given: dict[str, Any] | None = None, timeout: float = 30) -> Any:
        """GET without, POST with a body. Raises BadRequest with the world's words, OSError when it does not answer."""
        data = None if given is None else json.dumps(given).encode()
        request = urllib.request.Request(self._url + path, data, {"Authorization": f"Bearer {self._token}"})
        try:
            with self._open(request, timeout=timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            raise BadRequest(json.load(refusal).get("error", str(refusal))) from None
