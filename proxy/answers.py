"""The proxy's answers beside sessions: which pages are open to everybody, and errors in words."""

from __future__ import annotations

import json
from http import HTTPStatus

from appliance.errors import RequestError, StoreUnavailable

# Pages without anything that a stranger could use. Clients ask for /json without their headers, so without a token.
OPEN = frozenset({"/", "/json", "/json/", "/healthz", "/readyz"})

ADMIT = "appliance.admit"  # in a WSGI environment: raises Unauthorized for a request that brings no token and needs one


def error_answer(error: RequestError) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return the status line, headers and body of an error: `{"error": {"code", "message", "hint"}}`."""
    status = HTTPStatus(error.status)
    message = str(error)
    if isinstance(error, StoreUnavailable):
        message = message.partition(":")[0] + "."  # where Redis is, and what it says, is not for strangers
    content = {"error": {"code": error.status, "message": message, "hint": error.hint}}
    body = json.dumps(content, ensure_ascii=False).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if error.retry_after_s is not None:
        headers.append(("Retry-After", str(error.retry_after_s)))
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "GET, HEAD"))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.append(("WWW-Authenticate", "Bearer"))
    if error.status == HTTPStatus.BAD_REQUEST:
        headers.append(("Sec-WebSocket-Version", "13"))
    if error.status == HTTPStatus.UPGRADE_REQUIRED:
        headers.append(("Upgrade", "websocket"))
    return f"{status.value} {error.phrase or status.phrase}", headers, body
