"""A connection to an appliance in raw bytes: what is sent and what is answered, to the last header.

Two others speak more than HTTP: raw_client.py Playwright's protocol, knocking.py that of the inner door.
"""

from __future__ import annotations

import json
import select
import socket
from dataclasses import dataclass
from typing import Any

from tests.support.appliance import Appliance

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",  # the example of RFC 6455, section 1.3
    "x-playwright-proxy": "",  # every Playwright client sends it
}


def request(target: str = "/", headers: dict[str, str] | None = None, method: str = "GET") -> bytes:
    """Return the bytes of a request, by default for a session."""
    lines = [f"{name}: {value}" for name, value in (UPGRADE if headers is None else headers).items()]
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: grid", *lines, "", ""]).encode("latin-1")


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; `headers` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error that the body holds, whose code is the status."""
        assert self.headers["content-type"] == "application/json"
        error: dict[str, Any] = json.loads(self.body)["error"]
        assert set(error) == {"code", "message", "hint"}
        assert error["code"] == self.status
        return error


class Wire:
    """One TCP connection."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """Connect to a port, by default of loopback."""
        self.socket = socket.create_connection((host, port), timeout=30)
        self._received = b""

    def __enter__(self) -> Wire:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.socket.close()

    def get(self, target: str = "/", headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        """Ask for a page, and return the answer."""
        self.socket.sendall(request(target, headers or {}, method))
        return self.answer(has_body=method != "HEAD")

    def upgrade(self, target: str = "/", **changed: str | None) -> Answer:
        """Ask for a session; headers are added or changed by their names with _ for -, or left out by None."""
        self.send_upgrade(target, **changed)
        return self.answer()

    def send_upgrade(self, target: str = "/", **changed: str | None) -> None:
        """Ask as `upgrade` does, and leave the answer to be read."""
        headers = UPGRADE | {name.replace("_", "-"): value for name, value in changed.items()}
        self.socket.sendall(request(target, {name: value for name, value in headers.items() if value is not None}))

    def answer(self, has_body: bool = True) -> Answer:
        """Read one answer, with as much of a body as it names."""
        while b"\r\n\r\n" not in self._received:
            self._received += self._receive()
        head, _, rest = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for name, _, value in (line.partition(": ") for line in lines):
            headers[name.lower()] = f"{headers[name.lower()]}\n{value}" if name.lower() in headers else value
        size = int(headers.get("content-length", 0)) if has_body else 0
        while len(rest) < size:
            rest += self._receive()
        self._received = rest[size:]
        return Answer(int(first.split()[1]), headers, rest[:size])

    def read_to(self, end: bytes) -> bytes:
        """Read up to these bytes, and return all that has come."""
        while not self._received.endswith(end):
            self._received += self._receive()
        return self._received

    def read_all(self) -> bytes:
        """Read up to the other side's end, and return all that has come."""
        while data := self.socket.recv(65536):
            self._received += data
        return self._received

    def is_closed(self) -> bool:
        """Wait for the other side's end; return whether it came without another byte."""
        try:
            return not self._received and not self.socket.recv(1)
        except TimeoutError:
            return False

    def _receive(self) -> bytes:
        data = self.socket.recv(65536)
        assert data, f"closed in mid-answer, after {self._received!r}"
        return data


class BareClient:
    """A client that asks for a session at once, and keeps what it is given until `close`."""

    def __init__(self, grid: Appliance) -> None:
        """Ask a grid for a session."""
        self._wire = Wire(grid.port)
        self._wire.socket.sendall(request())

    @property
    def is_answered(self) -> bool:
        """Whether the answer has come, whatever it is."""
        return bool(select.select([self._wire.socket], [], [], 0)[0])

    def answer(self) -> tuple[int, str]:
        """Wait for the answer: 101 and "", or the status and message of a refusal."""
        answer = self._wire.answer()
        return answer.status, "" if answer.status == 101 else answer.error["message"]

    def close(self) -> None:
        """Hang up."""
        self._wire.socket.close()
