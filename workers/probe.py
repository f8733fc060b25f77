"""Does a browser answer? Asked as a client asks, through the driver's socket and the browser itself.

The least of Playwright's protocol that reaches the browser (packages/protocol/src/protocol.yml):
`initialize`, upon which the server describes its objects by `__create__` events, then `newContext` on
the one of type Browser.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import websocket

from appliance.deadline import Deadline
from appliance.errors import LaunchError
from appliance.names import SESSIONS_PATH

_LEAKS = b"GET /json HTTP/1.1\r\nHost: driver\r\nConnection: close\r\n\r\n"  # what a driver alone would answer
_NOTHING = b"HTTP/1.1 404 "
_REFUSAL = "isolation=browser"  # in the sentences of workers/preload, to what reaches beyond a session


class _Connection:
    """A client's connection with one deadline for all that it does."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._deadline = deadline
        self._last_id = 0
        self.guids: dict[str, str] = {}  # of the objects that the server has described, by their type
        self._socket = websocket.create_connection(
            f"ws://driver{SESSIONS_PATH}", socket=connected, timeout=self._left_s(), suppress_origin=True
        )

    def call(self, guid: str, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of an object; return its result, and raise LaunchError if it is an error."""
        answer = self.answer(guid, method, **params)
        if "error" in answer:
            raise LaunchError(f"the browser refuses {method}: {_first_line(answer['error'])}")
        result: dict[str, Any] = answer.get("result", {})
        return result

    def answer(self, guid: str, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of an object; return the answer, with a result or an error."""
        self._last_id += 1
        message = {"id": self._last_id, "guid": guid, "method": method, "params": params}
        self._socket.settimeout(self._left_s())
        self._socket.send(json.dumps(message | {"metadata": {"internal": True}}))
        while (answer := self._receive()).get("id") != self._last_id:
            if answer.get("method") == "__create__":
                self.guids[answer["params"]["type"]] = answer["params"]["guid"]
        return answer

    def _receive(self) -> dict[str, Any]:
        self._socket.settimeout(self._left_s())
        data = self._socket.recv()
        if not data:
            raise LaunchError("the driver closed the connection")
        message: dict[str, Any] = json.loads(data)
        return message

    def _left_s(self) -> float:
        return max(0.001, self._deadline.left_s)


def check(path: Path, timeout_s: float) -> None:
    """Open a context in the browser behind a driver's socket, and close it.

    Raises LaunchError if that fails or takes longer than `timeout_s` seconds in all.
    """
    deadline = Deadline(timeout_s)
    asked = "driver"
    try:
        with _connected(path, timeout_s) as connected:
            connection = _Connection(connected, deadline)
            browser = _browser_of(connection)
            asked = "browser"
            _open_and_close_context(connection, browser)
    except (websocket.WebSocketTimeoutException, TimeoutError) as error:
        raise LaunchError(f"the {asked} did not answer within {timeout_s:.0f} s") from error
    except (websocket.WebSocketException, OSError) as error:
        raise LaunchError(f"the driver does not answer: {error}") from error


def require_preload(path: Path, timeout_s: float) -> None:
    """Raise LaunchError if the driver answers what is no session: then it runs without workers/preload."""
    try:
        with _connected(path, timeout_s) as connected:
            connected.sendall(_LEAKS)
            answer = connected.recv(len(_NOTHING), socket.MSG_WAITALL)
    except OSError as error:
        raise LaunchError(f"the driver does not answer: {error}") from error
    if answer != _NOTHING:
        raise LaunchError(f"the driver is not confined: to GET /json it answers {answer!r}")


def _connected(path: Path, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout_s)
    try:
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _browser_of(connection: _Connection) -> str:
    """Return the driver's object for its browser; the driver answers alone."""
    connection.call("", "initialize", sdkLanguage="python")
    browser = connection.guids.get("Browser")
    if browser is None:
        raise LaunchError("the driver offers no browser")
    refusal = connection.answer(browser, "newBrowserCDPSession").get("error", {})
    if _REFUSAL not in _first_line(refusal):
        raise LaunchError("the driver is not confined: it gives a session DevTools of the whole browser")
    return browser


def _open_and_close_context(connection: _Connection, browser: str) -> None:
    context = connection.call(browser, "newContext")
    connection.call(context["context"]["guid"], "close")


def _first_line(error: dict[str, Any]) -> str:
    return str(error.get("error", error).get("message", error)).partition("\n")[0]
