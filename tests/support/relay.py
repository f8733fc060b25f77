"""A relay of bytes, both ways: a tap on the wire, a load balancer, or a way to a socket that has no port.

Two others do more: redis_relay.py loses what it is told to, and knocking.py ends TLS on both sides.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance.names import SESSIONS_PATH


class Relay:
    """Passes connections on, and keeps each up until both sides have ended. Each direction is kept in a copy."""

    def __init__(self, connect: Callable[[], socket.socket], address: str = "127.0.0.1") -> None:
        """Listen on a port of an address; `connect` opens the connection to pass to."""
        self.sent, self.answered = bytearray(), bytearray()  # by the clients, and to them
        self._connect = connect
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Relay:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Accept no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)  # which ends its `accept`
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, target = self._listener.accept()[0], self._connect()
                for ends in ((client, target, self.sent), (target, client, self.answered)):
                    threading.Thread(target=_pass, args=ends, daemon=True).start()


def _pass(source: socket.socket, sink: socket.socket, copy: bytearray) -> None:
    with suppress(OSError):  # a side that is reset has ended, too
        while data := source.recv(65536):
            copy += data
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def relay_to(port: int, address: str = "127.0.0.1") -> Relay:
    """Relay what comes to an address of this machine to a port of loopback."""
    return Relay(lambda: socket.create_connection(("127.0.0.1", port)), address)


@contextmanager
def bridged(path: Path) -> Iterator[str]:
    """Yield a URL on loopback that leads to a driver's socket: Playwright's clients know only URLs."""

    def connect() -> socket.socket:
        driver = socket.socket(socket.AF_UNIX)
        driver.connect(str(path))
        return driver

    with Relay(connect) as relay:
        yield f"ws://127.0.0.1:{relay.port}{SESSIONS_PATH}"
