"""A way to a driver's socket for Playwright's clients, which know only URLs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance.names import SESSIONS_PATH


@contextmanager
def bridged(path: Path) -> Iterator[str]:
    """Give a URL on loopback that leads to a driver's socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, path), daemon=True).start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}{SESSIONS_PATH}"
        listener.shutdown(socket.SHUT_RDWR)  # which ends its `accept`


def _accept(listener: socket.socket, path: Path) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            driver = socket.socket(socket.AF_UNIX)
            driver.connect(str(path))
            for source, sink in ((client, driver), (driver, client)):
                threading.Thread(target=_move, args=(source, sink), daemon=True).start()


def _move(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
