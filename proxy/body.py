"""The body of a request, which is read with a bound of bytes and time."""

from __future__ import annotations

import socket

import gevent

from appliance.errors import ClientGone
from appliance.request_errors import BodyTooLarge, RequestTimedOut
from proxy import tls
from proxy.request import Request


def receive_body(connection: socket.socket, request: Request, limit_s: float, max_bytes: int) -> bytes:
    """Read a request's body.

    Raises BodyTooLarge, RequestTimedOut if it is not complete in time, ClientGone, and OSError.
    """
    if request.body_bytes > max_bytes:
        raise BodyTooLarge(f"The request's body is longer than {max_bytes // 1024} KiB.", "Send a shorter one.")
    body = bytearray(request.rest[: request.body_bytes])
    with gevent.Timeout(limit_s, RequestTimedOut(f"The request was not complete within {limit_s:g} s.")):
        if request.headers.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while left := request.body_bytes - len(body):
            if not (data := connection.recv(min(left, tls.RECORD_BYTES))):
                raise ClientGone("it sent no complete request")
            body += data
    return bytes(body)
