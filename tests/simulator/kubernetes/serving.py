# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server on the network: HTTPS/1.1 with kept connections, one thread each, on the loopback device.

The reader of requests is our own, since the standard library's spends more time on headers than the API server on the
answer.
"""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import ssl
import struct
import threading
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from simulator.kubernetes.api import ApiServer, Dropped, Request, Response
from simulator.kubernetes.certificates import make_certificates
from simulator.kubernetes.errors import ApiError, expired
from simulator.kubernetes.queries import ERROR, Event, Watch
from simulator.kubernetes.store import Stored

LARGEST_BODY = 3 * 1024 * 1024
HANDSHAKE_SECONDS = 10.0
# A watch without timeoutSeconds lasts this long; between events the client is looked after this often (real seconds).
WATCH_SECONDS = 1800.0
LOOK_SECONDS = 0.5
BOOKMARK_SECONDS = 10.0


class HttpsServer:
    """Serves an ApiServer. ``url`` and ``ca_pem`` are what EKS tells its clients.

    ``interrupt`` makes the server unreachable (connections are reset) until ``restore``; ``refused`` counts those who
    found it so.
    """

    def __init__(self, api: ApiServer, port: int = 0, tls: bool = True):
        self.api = api
        self._listener = _Listener(("127.0.0.1", port), api)
        self._certificates = make_certificates() if tls else None
        if self._certificates:
            self._listener.tls = self._certificates.server_context()
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(0.05,), name="kube-apiserver", daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._listener.server_address[1]

    @property
    def url(self) -> str:
        """``https://127.0.0.1:PORT``."""
        return f"{'https' if self._certificates else 'http'}://127.0.0.1:{self.port}"

    @property
    def ca_pem(self) -> str:
        """The certificate authority in PEM (empty without TLS)."""
        return self._certificates.ca_pem if self._certificates else ""

    def start(self) -> HttpsServer:
        """Begin to serve, in threads of its own."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End: no more connections, no more watches."""
        self._listener.shutdown()
        self._listener.server_close()
        self.drop_connections()

    def drop_connections(self) -> int:
        """Reset every open connection, watches included; returns how many there were."""
        return self._listener.drop_connections()

    @property
    def refused(self) -> int:
        """How many new connections were reset in outages so far."""
        return self._listener.refused

    def interrupt(self) -> None:
        """An outage: open connections are reset, and so is every new one."""
        self._listener.interrupted = True
        self.drop_connections()

    def restore(self) -> None:
        """The outage is over."""
        self._listener.interrupted = False

    def __enter__(self) -> HttpsServer:
        return self.start()

    def __exit__(self, *_unused: Any) -> None:
        self.stop()


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], api: ApiServer):
        super().__init__(address, _Connection)
        self.api = api
        self.tls: ssl.SSLContext | None = None
        self.interrupted = False
        self.refused = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            if not self.interrupted:
                self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def is_dropped(self, connection: socket.socket) -> bool:
        return connection not in self._open

    def drop_connections(self) -> int:
        with self._lock:
            found = list(self._open)
            self._open.clear()
        for connection in found:
            _reset(connection)
        return len(found)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if self.interrupted:
            self.refused += 1
            _reset(request)
            request.close()
        return not self.interrupted

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error; anything else was answered with 500 already."""


class _Connection(socketserver.StreamRequestHandler):
    """One connection: reads requests and answers them until either side has had enough."""

    disable_nagle_algorithm = True
    rbufsize = 64 * 1024
    server: _Listener

    def setup(self) -> None:
        if self.server.tls:
            self.request.settimeout(HANDSHAKE_SECONDS)
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
            self.request.settimeout(None)
        self.server.opened(self.request)
        if self.server.is_dropped(self.request):
            raise ConnectionResetError("an outage has begun")
        super().setup()

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while self._serve_one():
                pass

    def finish(self) -> None:
        self.server.closed(self.request)
        with contextlib.suppress(OSError, ValueError):
            super().finish()
        with contextlib.suppress(OSError):
            self.request.close()

    def _serve_one(self) -> bool:
        """Answer the next request; False when the connection is to end."""
        line = self.rfile.readline(65537)
        if not line or self.server.is_dropped(self.connection):
            _reset(self.connection)
            return False
        method, url, version = line.decode("latin-1").split()
        headers = self._read_headers()
        length = int(headers.get("content-length") or 0)
        payload = self.rfile.read(length) if length else b""
        if length > LARGEST_BODY:
            self._send(_too_large())
            return True
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        try:
            response = self.server.api.handle(Request.parse(method, url, headers, payload))
        except Dropped:
            _reset(self.connection)
            return False
        if isinstance(response.value, Watch):
            return self._stream(response.value, url) and keep
        if self.server.is_dropped(self.connection):
            return False
        self._send(response, close=not keep)
        return keep

    def _read_headers(self) -> dict[str, str]:
        headers = {}
        while (line := self.rfile.readline(65537)) not in (b"\r\n", b"\n", b""):
            name, _unused, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return headers

    def _send(self, response: Response, close: bool = False) -> None:
        body = response.body
        text = isinstance(response.value, bytes)
        headers = [
            ("Content-Type", "text/plain; charset=utf-8" if text else "application/json"),
            ("Content-Length", str(len(body))),
            self._date(),
            *response.headers,
        ]
        if close:
            headers.append(("Connection", "close"))
        self.connection.sendall(_head(response.status, headers) + body)

    def _date(self) -> tuple[str, str]:
        """What Go's net/http puts on every answer: the time of the timestamps on the objects."""
        return "Date", formatdate(self.server.api.clock.now(), usegmt=True)

    def _stream(self, watch: Watch, url: str) -> bool:
        """Send events as they come, until the time is up or the client has gone."""
        query = Request.parse("GET", url, {}, b"").query
        bookmarks = query.get("allowWatchBookmarks") in ("1", "true", "True")
        now = time.monotonic()
        end = now + float(query.get("timeoutSeconds") or WATCH_SECONDS)
        bookmark_due = now + BOOKMARK_SECONDS
        try:
            chunked = ("Transfer-Encoding", "chunked")
            self.connection.sendall(_head(200, [("Content-Type", "application/json"), chunked, self._date()]))
            while not watch.ended or watch.has_backlog:
                now = time.monotonic()
                if self.server.is_dropped(self.connection):
                    return False
                if now >= end:
                    break
                event = watch.next(min(LOOK_SECONDS, end - now))
                if event and watch.trouble:
                    self._go_wrong(watch.trouble, event)
                    break
                if event:
                    self._send_events([event, *watch.pending()])
                elif self._client_is_gone():
                    _reset(self.connection)
                    return False
                if bookmarks and time.monotonic() >= bookmark_due:
                    self._send_events([watch.bookmark()])
                    bookmark_due = time.monotonic() + BOOKMARK_SECONDS
            if bookmarks and not watch.ended and not watch.trouble:
                self._send_events([watch.bookmark()])
            self.connection.sendall(b"0\r\n\r\n")
            return True
        finally:
            watch.close()

    def _go_wrong(self, trouble: str, event: Event) -> None:
        """What a fault has in store for the event that is due; the end of the stream is the caller's."""
        if trouble == "half":
            half = event.raw[: len(event.raw) // 2]
            self.connection.sendall(b"%x\r\n%s\r\n" % (len(half), half))
        elif trouble == "expired":
            self._send_events([Event(ERROR, Stored(expired("too old resource version: 1 (2)").body))])
        elif trouble == "silence":
            while not self._client_is_gone() and not self.server.is_dropped(self.connection):
                time.sleep(LOOK_SECONDS / 10)

    def _send_events(self, events: list[Event]) -> None:
        self.connection.sendall(b"".join(b"%x\r\n%s\r\n" % (len(event.raw), event.raw) for event in events))

    def _client_is_gone(self) -> bool:
        """While it watches, a client says nothing: what can be read is the end of its side."""
        return bool(select.select([self.connection], [], [], 0)[0])


def _head(status: int, headers: list[tuple[str, str]]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _too_large() -> Response:
    text = f"Request entity too large: limit is {LARGEST_BODY}"
    return Response(413, ApiError(413, "RequestEntityTooLarge", text).body)


def _reset(connection: socket.socket) -> None:
    """Let the connection's thread close it so that the other side sees "connection reset by peer"."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Past TLS: this wakes a thread that is reading, and says nothing to the other side.
        socket.socket.shutdown(connection, socket.SHUT_RD)
