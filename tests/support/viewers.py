"""Who looks at a session, without a browser: what the live view is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import websocket

from tests.support.appliance import Appliance
from tests.support.waiting import WITHIN_S

JPEG, PNG = b"\xff\xd8", b"\x89PNG"


class Viewer:
    """One look at a session."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        """Take over an open WebSocket."""
        self._socket = socket
        self.pages: list[dict[str, Any]] = []
        self.end: tuple[int, str] | None = None

    def picture(self) -> bytes:
        """Wait for a picture; b"" if the look ends first."""
        while True:
            code, data = self._socket.recv_data()
            if code == websocket.ABNF.OPCODE_BINARY:
                return bytes(data)
            if code == websocket.ABNF.OPCODE_CLOSE:
                self.end = int.from_bytes(data[:2], "big"), data[2:].decode()
                return b""
            if code == websocket.ABNF.OPCODE_TEXT:
                self.pages = json.loads(data)["pages"]

    def show(self, page: int) -> None:
        """Ask for another page."""
        self._socket.send(json.dumps({"show": page}))


@contextmanager
def viewer(grid: Appliance, session_id: str) -> Iterator[Viewer]:
    """Look at a session by a grid's endpoint."""
    url = f"{grid.endpoint}/dashboard/view?session={session_id}"
    socket = websocket.create_connection(url, suppress_origin=True, timeout=WITHIN_S)
    try:
        yield Viewer(socket)
    finally:
        socket.close()
