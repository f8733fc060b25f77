"""The bytes of answers to an agent's client. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

PULSE = b": still at work\n\n"  # a comment (html.spec.whatwg.org, "Server-sent events"), which clients skip


def head(status: HTTPStatus, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return an answer's bytes up to its body."""
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "Cache-Control: no-store", "Connection: close", "", ""]).encode("latin-1")


def json_answer(body: bytes, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return a whole answer."""
    usual = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return head(HTTPStatus.OK, [*usual, *headers]) + body


def event(message: bytes) -> bytes:
    """Return a message as an event of a stream."""
    return b"event: message\ndata: %b\n\n" % message


# No proxy in between may keep events back (nginx.org, "X-Accel-Buffering").
STREAM = head(HTTPStatus.OK, [("Content-Type", "text/event-stream"), ("X-Accel-Buffering", "no")])
ACCEPTED = head(HTTPStatus.ACCEPTED, [("Content-Length", "0")])
GONE = head(HTTPStatus.NO_CONTENT)
