"""What an agent's client and the proxy say to each other. Pure: bytes in, values and bytes out.

The protocol is that of modelcontextprotocol.io/specification: JSON-RPC 2.0, one message in a request. The proxy answers
all but the call of a tool by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from appliance import __version__
from appliance.request_errors import BadRequest

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")  # the newest first
METHOD_NOT_FOUND, INVALID_PARAMS = -32601, -32602  # jsonrpc.org/specification, section 5.1

_INSTRUCTIONS = (
    "Tools for a browser of a Playwright grid. It is opened by the first call and closed by browser_close, or after a "
    "time without a call; an answer says so. The grid keeps no files: what you want to see, ask for as text or image."
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a client. A notification, and an answer to the server, have no `id`."""

    method: str
    id: str | int | None
    params: dict[str, Any]


def parse(body: bytes) -> Message:
    """Return the message in a request's body; raises BadRequest."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):  # also of bytes that are no UTF-8
        raise BadRequest("The request's body is not JSON.", _HINT) from None
    if isinstance(found, list):
        raise BadRequest("The request's body has several messages.", "Send one message with each request.")
    if not isinstance(found, dict) or found.get("jsonrpc") != "2.0":
        raise BadRequest("The request's body is not a message of JSON-RPC 2.0.", _HINT)
    method, number, params = found.get("method", ""), found.get("id"), found.get("params") or {}
    is_id = number is None or (isinstance(number, str | int) and not isinstance(number, bool))
    if not (isinstance(method, str) and is_id and isinstance(params, dict)):
        raise BadRequest("The message's method, id or params are not valid in JSON-RPC 2.0.", _HINT)
    return Message(method, number if method else None, params)


def result(number: str | int | None, value: bytes | dict[str, Any]) -> bytes:
    """Return the answer to a message; a value that is JSON already is taken as it is."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (json.dumps(number).encode(), text)


def error(number: str | int | None, code: int, message: str) -> bytes:
    """Return the answer to a message that cannot be served."""
    return json.dumps({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}).encode()


def welcome(params: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to `initialize`."""
    asked = params.get("protocolVersion")
    return {
        "protocolVersion": asked if asked in VERSIONS else VERSIONS[0],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "Playwright Appliance", "version": __version__},
        "instructions": _INSTRUCTIONS,
    }


def failure(text: str) -> bytes:
    """Return the result of a tool that failed, as Playwright's tools word theirs; the agent reads it."""
    return json.dumps({"content": [{"type": "text", "text": f"### Error\n{text}"}], "isError": True}).encode()


_HINT = "Connect with an MCP client that speaks streamable HTTP."
