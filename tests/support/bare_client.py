"""A client that only asks for a session: it shows when and how it is answered, and holds what it was given."""

from __future__ import annotations

import http.client
import json
import select

from tests.support.appliance import Appliance

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",  # the example of RFC 6455, section 1.3
    "x-playwright-proxy": "",  # every Playwright client sends it
}


class BareClient:
    """One connection that asks for a session at once, and keeps it until `close`."""

    def __init__(self, grid: Appliance) -> None:
        """Ask a grid for a session."""
        self._connection = http.client.HTTPConnection("127.0.0.1", grid.port, timeout=30)
        self._connection.request("GET", "/", headers=UPGRADE)

    @property
    def is_answered(self) -> bool:
        """Whether the answer has come, whatever it is."""
        return bool(select.select([self._connection.sock], [], [], 0)[0])

    def answer(self) -> tuple[int, str]:
        """Wait for the answer: 101 and "", or the status and message of a refusal."""
        answer = self._connection.getresponse()
        return answer.status, "" if answer.status == 101 else json.load(answer)["error"]["message"]

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
