"""Messages of every size pass through a real session; one that is too large is refused in the driver's own words."""

from __future__ import annotations

import base64
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import sync_playwright

from tests.frames import CLOSE, TEXT, frame, read_frame
from tests.system.bare_client import UPGRADE
from tests.system.grid import Grid
from tests.waiting import until

# The driver's WebSocket server is made without a limit of its own, so that of the ws package holds: 100 MiB
# (packages/utils/wsServer.ts of Playwright; maxPayload in ws/lib/websocket-server.js).
TOO_LARGE = 101 * 1024 * 1024
MESSAGE_TOO_BIG = 1009  # RFC 6455, section 7.4.1


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Echo the body."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_messages_of_16_and_90_mb_pass_both_ways(grid: Grid, echo: str) -> None:
    with sync_playwright() as playwright:
        page = playwright.chromium.connect(grid.endpoint).new_page()
        text = base64.b64encode(os.urandom(12_000_000)).decode()
        assert page.evaluate("x => x", text) == text
        before = grid.registry.sessions()
        data = os.urandom(67_500_000)  # 90 MB in base64, as the driver and the client exchange it
        answer = page.request.post(echo, data=data, timeout=60_000)
        assert answer.body() == data
        assert grid.registry.sessions() == before
        page.context.browser.close()


@contextmanager
def raw_session(grid: Grid) -> Iterator[socket.socket]:
    """Open a session without compression; gives the socket, from the first frame on."""
    with socket.create_connection(("127.0.0.1", grid.port), timeout=30) as client:
        lines = ["GET / HTTP/1.1", f"Host: 127.0.0.1:{grid.port}", *(f"{k}: {v}" for k, v in UPGRADE.items())]
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        yield client


def test_the_client_sees_the_code_with_which_the_driver_refuses_a_message_of_101_mib(grid: Grid) -> None:
    (worker,) = grid.available(1)
    with raw_session(grid) as client:
        message = frame(TEXT, bytes(TOO_LARGE), mask=bytes(4))
        sender = threading.Thread(target=client.sendall, args=(message,))
        sender.start()
        refusal = read_frame(client)
        assert refusal is not None
        assert (refusal.opcode, refusal.code) == (CLOSE, MESSAGE_TOO_BIG)
        sender.join()
        client.sendall(frame(CLOSE, refusal.payload, mask=bytes(4)))
        assert read_frame(client) is None
    until(lambda: not grid.registry.sessions(), "the slot is free")
    assert grid.available(1)[0].id == worker.id
