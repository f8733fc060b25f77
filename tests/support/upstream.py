"""A forward proxy as companies have them: it asks for a user and a password, and notes where it was asked to go."""

from __future__ import annotations

import base64
import http.client
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

USER, PASSWORD = "grid", "p:w/d@1"
_EXPECTED = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class Proxy(BaseHTTPRequestHandler):
    """Takes http:// requests, and CONNECT."""

    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        """Fetch a URL for the client."""
        if not self._is_admitted():
            return
        parts = urlsplit(self.path)
        server = http.client.HTTPConnection(parts.hostname or "", parts.port)
        server.request("GET", parts.path or "/")
        answer = server.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type", "text/html"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        """Pass bytes on, both ways, until either side ends."""
        if not self._is_admitted():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            self.send_response(200)
            self.end_headers()
            ends = {server: self.connection, self.connection: server}
            while data := [(end, end.recv(65536)) for end in select.select(list(ends), [], [])[0]]:
                if not all(block for _, block in data):
                    return
                for end, block in data:
                    ends[end].sendall(block)

    def _is_admitted(self) -> bool:
        if self.headers.get("Proxy-Authorization") != _EXPECTED:
            self.send_response(407)
            self.send_header("Proxy-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False
        self.asked.append(self.path)
        return True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def proxy() -> Iterator[tuple[int, list[str]]]:
    """Run the proxy on loopback; returns its port, and where it was asked to go so far."""
    asked: list[str] = []
    handler = type("OneProxy", (Proxy,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()
