"""An agent among the clients of a chaos run, with the three steps that every client of a load has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException
from typing import TypeVar

from playwright.async_api import Error

from tests.support.agent import Agent, Reply

T = TypeVar("T")


class AgentVisit:
    """One MCP session. Whatever fails is an Error, as with Playwright's own clients."""

    def __init__(self, endpoint: str, query: str) -> None:
        """Set where it connects."""
        host, _, port = endpoint.removeprefix("ws://").partition(":")
        self._agent = Agent(int(port), query, host)

    async def begin(self) -> AgentVisit:
        """Begin it; it has no browser yet."""
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "chaos", "version": "1"}}
        reply = await _in_a_thread(lambda: self._agent.ask("initialize", **about))
        _require(reply)
        self._agent.id = reply.headers["mcp-session-id"]
        return self

    async def call(self, tool: str, **arguments: str) -> str:
        """Run a tool, and return the text of its result."""
        reply = await _in_a_thread(lambda: self._agent.ask("tools/call", name=tool, arguments=arguments))
        _require(reply)
        if "error" in reply.message:
            raise Error(reply.message["error"]["message"])
        result = reply.message["result"]
        text = "\n".join(part["text"] for part in result["content"] if part["type"] == "text")
        if result.get("isError"):
            raise Error(text)
        return text

    async def close(self) -> None:
        """End it, and with it the browser."""
        _require(await _in_a_thread(self._agent.end))

    def is_connected(self) -> bool:
        """Whether it has begun: it has no connection between two calls."""
        return bool(self._agent.id)


def _require(reply: Reply) -> None:
    if reply.status not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
        raise Error(f"{reply.status} {reply.body.decode(errors='replace')}")


async def _in_a_thread(ask: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(ask)
    except (OSError, HTTPException, ValueError) as error:  # ValueError: half of an answer
        raise Error(f"{type(error).__name__}: {error}") from error
