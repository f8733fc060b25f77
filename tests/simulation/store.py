"""The grid's store for simulations: each call is made at the agenda's time, and tells what it made happen.

Half of a simulation's time goes by here, so a call is one packet each way, without the client's generality.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from appliance.grid.store import Store
from tests.simulation.agenda import Agenda
from tests.support.simulated_clock import BEGINNING_MS, CLOCK, library

Event = dict[str, str]
LAST_ANSWER = b"+PONG\r\n"


class SimulatedStore(Store):
    """A store on a unix socket; `watch` is given the events of each call before the call returns."""

    def __init__(self, url: str, agenda: Agenda, watch: Callable[[list[Event]], None]) -> None:
        """Use the URL of a Redis of its own, which is emptied."""
        super().__init__(url, "simulation")
        self._agenda = agenda
        self._watch = watch
        self._digest, text = library()
        self.read(("FLUSHALL",), ("FUNCTION", "LOAD", "REPLACE", text))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(url.removeprefix("unix://"))

    def call_on(self, server: str | None, function: str, **argument: Any) -> dict[str, Any]:
        """Call a function of the library. Raises RuntimeError with what Redis says of an error in it."""
        name, text, stream = f"{function}_{self._digest}", json.dumps(argument), self.key("events")
        self._socket.sendall(
            f"SET {CLOCK} {BEGINNING_MS + int(self._agenda.now_s * 1000)}\r\n"
            f"*5\r\n$5\r\nFCALL\r\n${len(name)}\r\n{name}\r\n$1\r\n1\r\n${len(self.prefix)}\r\n{self.prefix}\r\n"
            f"${len(text)}\r\n{text}\r\n"
            f"XRANGE {stream} - +\r\nDEL {stream}\r\nPING\r\n".encode()
        )
        lines = self._receive().decode().split("\r\n")
        if not lines[1].startswith("$"):
            raise RuntimeError(f"{function}: {lines[1]}")
        if lines[3] != "*0":
            self._watch(events_of(lines[3:]))
        answer: dict[str, Any] = json.loads(lines[2])
        return answer

    def persist(self, *parts: str) -> None:
        """Keep a key that the library lets expire: Redis does that by its own clock."""
        self.read(("PERSIST", self.key(*parts)))

    def close(self) -> None:
        """Close all connections."""
        self._socket.close()
        super().close()

    def _receive(self) -> bytes:
        data = b""
        while not data.endswith(LAST_ANSWER):
            chunk = self._socket.recv(1 << 16)
            if not chunk:
                raise ConnectionError("Redis has gone")
            data += chunk
        return data


def events_of(lines: list[str]) -> list[Event]:
    """Parse the answer of XRANGE in Redis' protocol: each entry is an array of its id and its fields."""
    events, at = [], 1
    for _ in range(int(lines[0][1:])):
        count = int(lines[at + 3][1:])
        fields = lines[at + 5 : at + 4 + 2 * count : 2]
        events.append(dict(zip(fields[::2], fields[1::2], strict=True)))
        at += 4 + 2 * count
    return events
