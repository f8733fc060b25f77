"""A client that sends what no Playwright client would: single messages of Playwright's protocol."""

from __future__ import annotations

import json
from importlib.metadata import version
from types import TracebackType
from typing import Any

import websocket

from tests.support.appliance import Appliance

OWN = version("playwright")
HEADERS = {"User-Agent": f"Playwright/{OWN} (x64; test) python/3", "x-playwright-browser": "chromium"}


class RawClient:
    """A session of a grid, described as its server describes it."""

    def __init__(self, grid: Appliance, query: str = "", version: str = OWN) -> None:
        """Open a session, with a query like "/?isolation=browser", as a client of a Playwright version."""
        self.guids: dict[str, list[str]] = {}  # of the objects that the server has described, by their type
        self._last_id = 0
        self._socket = websocket.create_connection(
            grid.endpoint + query,
            timeout=60,
            suppress_origin=True,
            header={**HEADERS, "User-Agent": HEADERS["User-Agent"].replace(OWN, version)},
        )
        self.call("", "initialize", sdkLanguage="python")

    def __enter__(self) -> RawClient:
        """Close the session at the end of a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session."""
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.shutdown()  # type: ignore[no-untyped-call]

    def guid(self, kind: str) -> str:
        """Return the newest object of a type."""
        return self.guids[kind][-1]

    def call(self, guid: str, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of an object; return its result, or `{"error": the message, "log": its log}`."""
        self._last_id += 1
        params = {"timeout": 30_000} | params  # drivers up to 1.60 ask for it; later ones take it from the metadata
        return self.send({"id": self._last_id, "guid": guid, "method": method, "params": params, "metadata": {}})

    def context(self, **options: Any) -> str:
        """Open a context; return it."""
        guid: str = self.call(self.guid("Browser"), "newContext", **options)["context"]["guid"]
        return guid

    def send(self, message: Any) -> dict[str, Any]:
        """Send a message whatever it is; return what answers it."""
        self.post(message)
        wanted = message.get("id") if isinstance(message, dict) else None
        while (answer := json.loads(self._socket.recv())).get("id") != wanted or answer.get("method"):
            if answer.get("method") == "__create__":
                self.guids.setdefault(answer["params"]["type"], []).append(answer["params"]["guid"])
        if "error" in answer:
            return {"error": answer["error"]["error"]["message"], "log": answer.get("log", [])}
        result: dict[str, Any] = answer.get("result") or {}
        return result

    def post(self, message: Any) -> None:
        """Send a message, and wait for nothing."""
        self._socket.send(json.dumps(message))
