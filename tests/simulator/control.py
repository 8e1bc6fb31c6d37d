# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A door into a world that runs in another process: a few JSON requests over loopback, with a token.

GET  /summary   /calls   /notes   /status
POST /advance   {"seconds": 60}
POST /act       {"deed": "spot_loss", "arguments": ["i-0123"]}
POST /fault     {"service": "autoscaling", "operation": "^Set", "error": [400, "Throttling", "slow down"]}
POST /stop
"""

from __future__ import annotations

import dataclasses
import hmac
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from simulator.door import DEEDS, BadRequest
from simulator.summary import as_data, summarize

if TYPE_CHECKING:
    from simulator.world import World

FAULT_OPTIONS = ("service", "operation", "target", "author", "times", "skip", "seconds", "error", "stall", "reset")


class ControlServer:
    """Serves one world. ``stopped`` is set when somebody asked for its end."""

    def __init__(self, world: World, token: str):
        self.world = world
        self.stopped = threading.Event()
        control = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_GET(self) -> None:
                control.serve(self, token)

            def do_POST(self) -> None:
                control.serve(self, token)

            def log_message(self, *_unused: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="control", daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def serve(self, request: BaseHTTPRequestHandler, token: str) -> None:
        """Check the token, do it, answer with JSON."""
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length)
        if not hmac.compare_digest(request.headers.get("Authorization", ""), f"Bearer {token}"):
            status, answer = 401, {"error": "the token in .world/world.json is needed"}
        else:
            try:
                status, answer = 200, self._answer(request.command, request.path, json.loads(body or b"{}"))
            except (BadRequest, ValueError, TypeError, KeyError) as problem:
                status, answer = 400, {"error": f"{request.path}: {problem}"}
        data = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _answer(self, method: str, path: str, given: dict[str, Any]) -> Any:
        doors: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
            ("GET", "/status"): lambda _unused: self.world.status(),
            ("GET", "/summary"): lambda _unused: self._summary(),
            ("GET", "/calls"): lambda _unused: [str(call) for call in self.world.record.calls()],
            ("GET", "/notes"): lambda _unused: [dataclasses.asdict(note) for note in self.world.record.notes()],
            ("POST", "/advance"): self._advance,
            ("POST", "/act"): self._act,
            ("POST", "/fault"): self._fault,
            ("POST", "/stop"): lambda _unused: self.stopped.set(),
        }
        if (method, path) not in doors:
            raise BadRequest("no such door; there are " + ", ".join(f"{verb} {door}" for verb, door in doors))
        return doors[method, path](given)

    def _summary(self) -> dict[str, Any]:
        world = self.world
        return {
            "speed": world.clock.speed,
            "groups": as_data(summarize(world.record, world.beginning, world.snapshot())),
        }

    def _advance(self, given: dict[str, Any]) -> Any:
        self.world.clock.advance(float(given["seconds"]))
        return {"now": self.world.clock.timestamp()}

    def _act(self, given: dict[str, Any]) -> Any:
        deed = given.get("deed")
        if deed not in DEEDS:
            raise BadRequest(f"unknown deed {deed}; there are {', '.join(DEEDS)}")
        return {"result": getattr(self.world.actors, deed)(*given.get("arguments", []))}

    def _fault(self, given: dict[str, Any]) -> Any:
        unknown = sorted(set(given) - set(FAULT_OPTIONS))
        if unknown:
            raise BadRequest(f"unknown {', '.join(unknown)}; there are {', '.join(FAULT_OPTIONS)}")
        self.world.faults.add(**given)
        return {}
