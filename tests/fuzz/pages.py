"""Odd requests for what operators and agents use: the API, the dashboard, /mcp.

None of them may change what other cases need: they name no worker and no appliance that there is, and make no token.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.fuzz.requests import CASE_HEADER, ODD, flipped, joined

API = b"/api/v1"
READ = (
    b"/sessions", b"/history", b"/workers", b"/appliances", b"/appliance", b"/pools", b"/capacity", b"/queue",
    b"/pressure", b"/events", b"/tokens", b"/openapi.json", b"/sessions/0123456789abcdef", b"/sessions/0/why",
    b"/sessions/%00", b"/sessions/" + b"f" * 5000, b"/sessions/../tokens", b"/workers/nobody", b"/workers/%2e%2e%2f",
    b"/nothing", b"/", b"", b"//sessions", b"/sessions/%ff", b"/sessions/\xe2\x80\xa8",
)  # fmt: skip
CHANGED = (
    (b"DELETE", b"/sessions"), (b"DELETE", b"/sessions/0123456789abcdef"), (b"DELETE", b"/tokens/nobody"),
    (b"POST", b"/workers/nobody/drain"), (b"POST", b"/appliances/nobody/drain"), (b"HEAD", b"/history"),
    (b"POST", b"/appliances/nobody/undrain"), (b"PUT", b"/sessions"), (b"PATCH", b"/history"), (b"POST", b"/sessions"),
)  # fmt: skip
DASHBOARD = (
    b"/dashboard", b"/dashboard/", b"/dashboard/app.js", b"/dashboard/../../../etc/passwd", b"/dashboard/%2e%2e/x",
    b"/dashboard/live", b"/dashboard/view", b"/dashboard/\xff", b"/dashboard/" + b"a" * 9000, b"/metrics",
    b"/readyz", b"/json/version", b"/inner", b"/cdp", b"/devtools/browser/0",
)  # fmt: skip
PARAMETERS = (
    b"count=0", b"count=-1", b"count=1000", b"count=99999999999999999999", b"count=x", b"before_ms=-1",
    b"before_ms=1e9", b"name=*", b"name=[", b"name=%00%0d%0a", b"name=" + b"*" * 3000, b"label.build=4711",
    b"label.=x", b"label.a=" + b"b" * 999, b"status=waiting", b"status=x", b"ended_by=client", b"search=%f0%9f",
    b"token=0123456789abcdef0123", b"all=false", b"after=0-0", b"after=x", b"session=0", b"nothing=1", b"=", b"%",
)  # fmt: skip
HEADERS = (
    b"Accept: text/event-stream", b"Accept: application/json", b"Accept: */*;q=\xff", b"Origin: http://127.0.0.1",
    b"Origin: null", b"Host: rebound.example", b"Cookie: appliance_token=x", b"Cookie: " + b"c=d; " * 2000,
    b"Authorization: Bearer x", b"Authorization: Basic !!!", b"Last-Event-ID: 0-0", b"Last-Event-ID: x",
    b"Content-Type: application/json", b"Content-Type: multipart/form-data", b"Mcp-Session-Id: nobody",
    b"MCP-Protocol-Version: 2025-06-18", b"MCP-Protocol-Version: \xff", b"Transfer-Encoding: chunked",
    b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13", b"If-None-Match: *",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Range: bytes=0-0,-1", b"Accept-Encoding: gzip, \x00",
)  # fmt: skip
METHODS = ("initialize", "tools/list", "tools/call", "ping", "notifications/initialized", "notifications/cancelled", "")
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 2**70, "", "x" * 3000, "\u0000", "\ud800", [], {}, [[]], {"a": {"b": []}},
    {"protocolVersion": "2025-06-18"}, {"name": "browser_navigate", "arguments": {"url": "file:///etc/passwd"}},
)  # fmt: skip


def page(random: Random, number: int) -> bytes:
    """Return a request for the API, the dashboard or an agent, whole or with some bytes changed."""
    kind = random.randrange(4)
    if kind == 0:
        data = _for_an_agent(random, number)
    elif kind == 1:
        data = _request(random, number, b"GET", random.choice(DASHBOARD))
    elif kind == 2 and random.random() < 0.5:
        method, path = random.choice(CHANGED)
        data = _request(random, number, method, API + path, random.choice((b"", b"{}", b"[", random.randbytes(50))))
    else:
        data = _request(random, number, b"GET", API + random.choice(READ))
    return flipped(random, data) if random.random() < 0.2 else data


def _request(random: Random, number: int, method: bytes, path: bytes, body: bytes = b"") -> bytes:
    parameters = [random.choice(PARAMETERS) for _ in range(random.choice((0, 0, 1, 1, 2, 5)))]
    target = path + b"?" * bool(parameters) + b"&".join(parameters)
    return joined([b"%s %s HTTP/1.1" % (method, target), *_headers(random, number, body)]) + body


def _headers(random: Random, number: int, body: bytes) -> list[bytes]:
    length = len(body) if random.random() < 0.9 else random.choice((0, -1, 10**6, 10**12))
    named = [b"Content-Length: %d" % length] if body or random.random() < 0.1 else []
    more = [random.choice(HEADERS) for _ in range(random.choice((0, 1, 2, 4)))]
    return [b"Host: 127.0.0.1", b"%s: %d" % (CASE_HEADER, number), *named, *more]


def _for_an_agent(random: Random, number: int) -> bytes:
    message: Any = {"jsonrpc": "2.0", "id": number, "method": random.choice(METHODS), "params": random.choice(VALUES)}
    for _ in range(random.choice((0, 0, 1, 2))):
        message[random.choice(list(message))] = random.choice(VALUES)
    if random.random() < 0.1:
        message = random.choice(([message], [], *VALUES))
    body = json.dumps(message).encode()
    if random.random() < 0.2:
        place = random.randrange(len(body) + 1)
        body = random.choice((body[:place], body[:place] + random.choice(ODD) + body[place:], b"[" * 5000))
    method = random.choice((b"POST",) * 6 + (b"DELETE", b"GET", b"PUT"))
    query = random.choice((b"",) * 3 + (b"?name=x", b"?label.build=1", b"?keep=1", b"?browser=netscape", b"?%"))
    usual = [b"Content-Type: application/json", b"Accept: application/json, text/event-stream"]
    lines = [b"%s /mcp%s HTTP/1.1" % (method, query), *usual[random.random() < 0.1 :], *_headers(random, number, body)]
    return joined(lines) + body
