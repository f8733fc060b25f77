"""What the proxy answers that is no session: which pages are open to everybody, and errors in words."""

from __future__ import annotations

import json
from http import HTTPStatus

from appliance.errors import RequestError, StoreUnavailable

# Pages that tell nothing that a stranger could use. A client asks /json without the headers that it is given.
OPEN = frozenset({"/", "/json", "/json/", "/healthz", "/readyz"})


def error_answer(error: RequestError) -> tuple[str, list[tuple[str, str]], bytes]:
    """Give the status line, headers and body of an error: `{"error": {"code", "message", "hint"}}`."""
    status = HTTPStatus(error.status)
    message = str(error)
    if isinstance(error, StoreUnavailable):
        message = message.partition(":")[0]  # where Redis is, and what it says, is not for strangers
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
    return f"{status.value} {status.phrase}", headers, body
