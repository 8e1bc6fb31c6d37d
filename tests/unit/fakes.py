# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What unit tests pass instead of the real thing: a clock nobody waits for, a server that says what it was told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeClock:
    """A clock of the shape of C(waiting.Clock) that moves only when somebody sleeps."""

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self.sleeps: list[float] = []

    def now(self) -> float:
        return self._now

    def timestamp(self) -> str:
        return "2026-11-21T01:02:03Z"

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self._now += seconds


@dataclass(frozen=True)
class Answer:
    """One scripted answer: a JSON object, raw bytes, or a connection that is cut (``status`` 0)."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    """An HTTP server on loopback that gives its answers in the order given and remembers what it was asked."""

    def __init__(self, answers: list[Answer]) -> None:
        self.requests: list[Request] = []
        self._answers = list(answers)
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                script.requests.append(Request(self.command, self.path, dict(self.headers), body))
                answer = script._answers.pop(0)
                if answer.status == 0:
                    self.close_connection = True
                    return
                data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def scripted_server(*answers: Answer) -> Iterator[ScriptedServer]:
    server = ScriptedServer(list(answers))
    server.start()
    try:
        yield server
    finally:
        server.stop()
