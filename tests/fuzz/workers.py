"""Workers that do what the case says in which they are dialled; registered like any other."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import gevent
from gevent.server import StreamServer

from appliance.grid.grid import Grid
from appliance.grid.values import WorkerSpec, WorkerStatus
from appliance.names import Browser
from appliance.request_errors import StoreUnavailable
from tests.fuzz import answers
from tests.fuzz.case import Case
from tests.fuzz.requests import CASE_HEADER
from tests.fuzz.steps import play
from tests.support.driver_socket import listening

VERSION = "1.65.1"
APPLIANCE = "fuzz"
SLOTS = 10_000  # of each: nothing here is about waiting
FOREVER_MS = 10**9
HEAL_INTERVAL_S = 0.1
HOSTILE = 20  # workers that may become suspect at any moment; the client's next one is another of them

_CASE = re.compile(rb"\n" + CASE_HEADER + rb": (\d+)\r")
_REQUEST = rb"GET /\S+ HTTP/1\.1\r\nHost: driver\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
_EXPECTED = re.compile(
    _REQUEST
    + rb"(((Sec-WebSocket-(Key|Version|Extensions|Protocol)|User-Agent|x-playwright-[^:\s]*):[^\r\n]*\r\n)*"
    + rb"session: [0-9a-f]{16}\r\n)?\r\n",  # a session's; or a probe's, which has no more
    re.IGNORECASE,
)


class Workers:
    """Many registered workers, all served here."""

    def __init__(self, grid: Grid, run_dir: Path) -> None:
        """Listen, and register: one worker of Chromium that always accepts, and those of Firefox that may not."""
        self._grid, self._run_dir = grid, run_dir
        self._cases: dict[int, Case] = {}
        self.complaints: list[str] = []  # of requests with lines that no worker should see
        self._ends = ExitStack()
        self._ids = [self._register(Browser.CHROMIUM, 0)]
        self._ids += [self._register(Browser.FIREFOX, number) for number in range(HOSTILE)]
        self._healer = gevent.spawn(self._heal)

    def expect(self, case: Case) -> None:
        """Do what this case says when the proxy first dials for it; later dials are served honestly."""
        self._cases[case.number] = case

    def forget(self, case: Case) -> None:
        """Expect a case no more."""
        self._cases.pop(case.number, None)

    def stop(self) -> None:
        """Serve no more."""
        self._healer.kill()
        self._ends.close()

    def _register(self, browser: Browser, number: int) -> str:
        name = f"{browser}-{number:02}"
        worker_id = f"{APPLIANCE}.{name}.abcdef"
        server = StreamServer(self._ends.enter_context(listening(self._run_dir, worker_id)), self._serve)
        server.start()
        self._ends.callback(server.stop)
        spec = WorkerSpec(worker_id, browser, VERSION, APPLIANCE, name, SLOTS, 0, FOREVER_MS, 1, target=HOSTILE + 1,
                          status=WorkerStatus.AVAILABLE)  # fmt: skip
        self._grid.register_worker(spec)
        return worker_id

    def _heal(self) -> None:
        """Say of every suspect worker that it is healthy, as a real one does whose browser answers."""
        while True:
            with suppress(StoreUnavailable):  # a loaded machine: the next time will do
                for worker in self._grid.workers():
                    if worker.suspect:
                        self._grid.heartbeat_worker(worker.id, 0, healthy=True)
            gevent.sleep(HEAL_INTERVAL_S)

    def _serve(self, connection: socket.socket, _: Any) -> None:
        connection.settimeout(5.0)
        try:
            request = connection.recv(65536, socket.MSG_PEEK)
        except OSError:
            connection.close()
            return
        if b"\r\n\r\n" in request and not _EXPECTED.fullmatch(request):
            self.complaints.append(f"a worker was sent {request!r}")
        named = _CASE.search(request)
        case = self._cases.pop(int(named.group(1)), None) if named else None
        play(connection, case.worker if case else answers.HONEST)
