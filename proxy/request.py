"""A client's request, from its first byte to the empty line: read with a limit, and checked before it is used.

Only requests to /mcp and to operators' pages may have a body: proxy/body.py reads it.

h11 parses it, by RFC 9112. What h11 lets pass for old peers, and no client of a grid sends, is refused here: by each
leniency two parties may understand one request differently.
Bytes in, values out; no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import h11

from appliance.request_errors import BadRequest, MethodNotAllowed, RequestTooLarge
from proxy import wrong_client

HEAD_MAX_BYTES = 16 * 1024
HEADERS_MAX = 99  # http.client, by which pywsgi reads the pages' requests again, takes 100 lines with the empty one
TARGET_MAX_BYTES = 8000  # pywsgi takes request lines of up to 8192 bytes
INNER_PATH = "/inner"  # where the grid's other appliances ask: proxy/door
MCP_PATH = "/mcp"  # where agents ask: proxy/mcp
API = "/api"  # proxy/api
DASHBOARD = "/dashboard"  # proxy/dashboard
LIVE_PATH, VIEW_PATH = f"{DASHBOARD}/live", f"{DASHBOARD}/view"  # its WebSockets: the feed, and a look at a session

_METHODS, _METHODS_OF_AGENTS = ("GET", "HEAD"), ("POST", "DELETE")
_OPERATORS = (API, DASHBOARD)  # where each resource has methods of its own, and says which
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FOLDED = re.compile(rb"\n[ \t]")  # RFC 9112, section 5.2
_SINGLE = ("host", "origin", "sec-websocket-key", "sec-websocket-version", "user-agent", "authorization")


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body. `head` is all of its bytes; `rest` is what came after them."""

    method: str
    target: str
    version: str
    items: tuple[tuple[str, str], ...]
    head: bytes
    rest: bytes
    headers: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Read the headers by their names in lower case; a repeated one is a list (RFC 9110, section 5.3)."""
        found: dict[str, str] = {}
        for name, value in self.items:
            name = name.lower()
            found[name] = f"{found[name]}, {value}" if name in found else value
        object.__setattr__(self, "headers", found)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def body_bytes(self) -> int:
        """The length of its body, of which `rest` has the beginning."""
        return int(self.headers.get("content-length", 0))

    @property
    def query(self) -> str:
        """What follows the path: "a=1&b=2", or ""."""
        return self.target.partition("?")[2]


class RequestParser:
    """Parses one request, whose bytes come in chunks of any size."""

    def __init__(self) -> None:
        """Wait for the first byte."""
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)
        self._received = b""

    def feed(self, data: bytes) -> Request | None:
        """Read the next bytes, one at least; return the request once it is complete.

        Raises RequestError if it cannot be answered.
        """
        self._received += data
        self._connection.receive_data(data)
        try:
            event = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == RequestTooLarge.status:
                raise _too_large() from error
            reason = str(error).partition(":")[0]  # the line that follows may hold a token
            raise BadRequest(f"This is not an HTTP/1.1 request: {reason}.", _HINT) from None
        if not isinstance(event, h11.Request):
            return None
        rest = self._connection.trailing_data[0]
        return _checked(event, self._received[: len(self._received) - len(rest)], rest)


def is_for_operators(path: str) -> bool:
    """Return whether a path is below /api or /dashboard."""
    return any(is_below(root, path) for root in _OPERATORS)


def is_below(root: str, path: str) -> bool:
    """Return whether a path is another one, or below it."""
    return path == root or path.startswith(f"{root}/")


def _checked(event: h11.Request, head: bytes, rest: bytes) -> Request:
    """Raise RequestError for what h11 lets pass."""
    if len(head) > HEAD_MAX_BYTES or len(event.headers) > HEADERS_MAX or len(event.target) > TARGET_MAX_BYTES:
        raise _too_large()
    if _CONTROL.search(head) or _FOLDED.search(head):
        raise BadRequest("The request's headers contain control characters or folded lines.", _HINT)
    version, target = event.http_version.decode(), event.target.decode()
    if version not in ("1.0", "1.1"):
        raise BadRequest(f"This endpoint does not speak HTTP/{version}.", "Use HTTP/1.1.")
    path = target.partition("?")[0]
    methods = _METHODS_OF_AGENTS if path == MCP_PATH else _METHODS
    if event.method.decode() not in methods and not is_for_operators(path):
        raise _wrong_method(path, methods)
    if not target.startswith("/"):
        raise BadRequest("The request's target must be a path.", "This endpoint is not a proxy for other hosts.")
    names = [name for name, _ in event.headers]
    for single in {*_SINGLE, *(name.decode() for name in names if name.startswith(b"x-playwright-"))}:
        if names.count(single.encode()) > 1:
            raise BadRequest(f"The request has more than one {single} header.", _HINT)
    _check_body(dict(event.headers), path == MCP_PATH or is_for_operators(path))
    items = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers.raw_items())
    return Request(event.method.decode(), target, version, items, head, rest)


def _check_body(headers: Mapping[bytes, bytes], may_have_one: bool) -> None:
    """Refuse a body that none may have, or in chunks; h11 has checked these headers' form, and their number."""
    if not may_have_one and (int(headers.get(b"content-length", 0)) or b"transfer-encoding" in headers):
        raise BadRequest("Requests to this endpoint must not have a body.", _HINT)
    if b"transfer-encoding" in headers:
        raise BadRequest("The request's body comes in chunks.", "Send it in one piece, with its Content-Length.")


def _too_large() -> RequestTooLarge:
    return RequestTooLarge(
        f"The request is longer than {HEAD_MAX_BYTES // 1024} KiB, or has more than {HEADERS_MAX} headers.",
        "Send fewer or shorter headers, or a shorter URL.",
    )


def _wrong_method(path: str, methods: tuple[str, ...]) -> MethodNotAllowed:
    """Return the refusal of a method; raises NotFound for a path of another kind of grid."""
    wrong_client.refuse_path(path)
    return MethodNotAllowed(f"This endpoint answers {' and '.join(methods)} only.", allow=", ".join(methods))


_HINT = "Connect with a Playwright client."
