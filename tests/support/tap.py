"""A tap on the wire between a client and an appliance: passes everything on, and keeps a copy of each direction."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Tap:
    """Takes connections on a port of its own."""

    def __init__(self, port: int) -> None:
        """Take the port to pass to."""
        self.sent, self.answered = bytearray(), bytearray()  # by the clients, and by the appliance
        self._target = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, target = self.listener.accept()[0], socket.create_connection(self._target)
                for ends in ((client, target, self.sent), (target, client, self.answered)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, copy: bytearray) -> None:
        with suppress(OSError), sink:
            while data := source.recv(65536):
                copy += data
                sink.sendall(data)


@contextmanager
def tap(port: int) -> Iterator[Tap]:
    """Tap a port of loopback."""
    tap = Tap(port)
    try:
        yield tap
    finally:
        tap.listener.close()


def frames(direction: bytes) -> Iterator[tuple[int, int]]:
    """Give each frame after the handshake: its first byte (RFC 6455, section 5.2), and its payload's length."""
    place = direction.index(b"\r\n\r\n") + 4
    while place + 2 <= len(direction):
        length, extended = direction[place + 1] & 0x7F, 0
        if length >= 126:
            extended = 2 if length == 126 else 8
            length = int.from_bytes(direction[place + 2 : place + 2 + extended], "big")
        yield direction[place], length
        place += 2 + extended + length + (4 if direction[place + 1] & 0x80 else 0)
