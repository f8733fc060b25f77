"""An agent's MCP client: JSON-RPC over streamable HTTP, one connection for each message."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; `headers` by their names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """What a refusal says, with its hint; it is an error of JSON-RPC."""
        refusal = json.loads(self.body)
        assert set(refusal) == {"jsonrpc", "id", "error"}
        assert refusal["error"]["code"] == self.status
        return str(refusal["error"]["message"])

    @property
    def message(self) -> dict[str, Any]:
        """The message of an answer, or of the one event of a stream."""
        text = self.body
        if self.headers["content-type"] == "text/event-stream":
            (text,) = [line.removeprefix(b"data: ") for line in self.body.splitlines() if line.startswith(b"data: ")]
        found: dict[str, Any] = json.loads(text)
        return found


class Agent:
    """A client of an appliance's /mcp."""

    def __init__(self, port: int, query: str = "", host: str = "127.0.0.1", **headers: str) -> None:
        """Set where it connects, and further headers with _ for -."""
        self.host, self.port, self.path = host, port, f"/mcp{query}"
        self.headers = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
        self.id = ""
        self._numbers = itertools.count(1)

    def send(self, body: Any, method: str = "POST", headers: Mapping[str, str] | None = None) -> Reply:
        """Send a request, and return the answer; the body is written as JSON, unless it is bytes."""
        connection = HTTPConnection(self.host, self.port, timeout=90)
        named = {"Mcp-Session-Id": self.id} if self.id else {}
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, self.path, text, self.headers | named | dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def ask(self, method: str, **params: Any) -> Reply:
        """Send a request of JSON-RPC."""
        return self.send({"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": params})

    def begin(self) -> Agent:
        """Begin an MCP session, as clients do."""
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        reply = self.ask("initialize", **about)
        assert reply.status == 200, reply.body
        assert reply.message["result"]["protocolVersion"] == "2025-06-18"
        self.id = reply.headers["mcp-session-id"]
        noted = self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert (noted.status, noted.body) == (202, b"")
        return self

    def call(self, tool: str, **arguments: Any) -> list[dict[str, Any]]:
        """Run a tool, and return the content of its result."""
        reply = self.ask("tools/call", name=tool, arguments=arguments)
        assert reply.status == 200, reply.body
        assert "result" in reply.message, reply.message
        content: list[dict[str, Any]] = reply.message["result"]["content"]
        return content

    def said(self, tool: str, **arguments: Any) -> str:
        """Run a tool, and return the text of its result."""
        return "\n".join(part["text"] for part in self.call(tool, **arguments) if part["type"] == "text")

    def end(self) -> Reply:
        """End the MCP session."""
        return self.send(b"", "DELETE")
