"""A worker in the test's own hands: it records the request that reaches it, and answers what it is told."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, suppress
from types import TracebackType

from appliance.grid.values import WorkerSpec, WorkerStatus
from appliance.names import Browser
from tests.support.appliance import Appliance
from tests.support.driver_socket import listening

VERSION = "1.65.1"
TTL_MS = 600_000
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate; a=1\r\n"
    b"X-Of-The-Worker:  two spaces\r\n\r\n"
)


class RecordingWorker:
    """Registered in a grid's Redis from its block's beginning to its end."""

    def __init__(self, grid: Appliance, browser: Browser, name: str = "recording") -> None:
        """Use the grid, and which browser it pretends to run; of equals, the first by name is chosen."""
        self._name = f"{name}-{browser}"
        self._appliance = str(grid.env["APPLIANCE_NAME"])
        self.id = f"{self._appliance}.{self._name}.abcdef"
        self.requests: list[bytes] = []
        self.answer_with = ACCEPTED
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._grid, self._browser = grid, browser
        self._ends = ExitStack()

    def __enter__(self) -> RecordingWorker:
        """Listen and register."""
        listener = self._ends.enter_context(listening(self._grid.run_dir, self.id))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        spec = WorkerSpec(
            self.id,
            self._browser,
            VERSION,
            self._appliance,
            self._name,
            50,
            0,
            TTL_MS,
            1,
            status=WorkerStatus.AVAILABLE,
        )
        self._grid.state.register_worker(spec)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Deregister."""
        self._grid.state.remove_worker(self.id, "the test is over")
        self._ends.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # it was closed
            while True:
                threading.Thread(target=self._serve, args=listener.accept()[:1], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        request = b""
        with connection, suppress(OSError):
            while b"\r\n\r\n" not in request:
                if not (data := connection.recv(65536)):
                    return
                request += data
            self.requests.append(request)
            self.may_answer.wait()
            connection.sendall(self.answer_with)
            if b" 101 " in self.answer_with:
                while data := connection.recv(65536):
                    connection.sendall(data)
