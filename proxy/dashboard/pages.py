"""The dashboard as a WSGI application: its files, the log-in, and the feed's WebSocket."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.websocket import WebSocket

from appliance import logs
from appliance.grid.grid import Grid
from appliance.grid.token_table import Principal
from appliance.request_errors import MethodNotAllowed, NotFound, RequestError, Unauthorized
from appliance.settings.config import Settings
from proxy.access import COOKIE, given_by_cookie, given_tokens
from proxy.connection import ConnectionHandler
from proxy.dashboard import files
from proxy.dashboard.feed import Feed
from proxy.dashboard.view import Views
from proxy.frames import REASON_MAX_BYTES
from proxy.pages import ADMIT, StartResponse, error_answer
from proxy.request import DASHBOARD, VIEW_PATH, Request

log = logs.get_logger()

LOG_IN, LOG_OUT = f"{DASHBOARD}/log-in", f"{DASHBOARD}/log-out"
ADMITTED_S = 5.0  # a token that is revoked meanwhile ends the feed
FEEDS_MAX = 50  # of one proxy
TRY_AGAIN_LATER = 1013  # IANA's registry of WebSocket close codes
NOT_ADMITTED = 4401  # a code of our own, by which the page knows that it must ask for a token

Answer = tuple[str, list[tuple[str, str]], bytes]


class Dashboard:
    """The dashboard of one proxy."""

    def __init__(self, grid: Grid, settings: Settings) -> None:
        """Set what it shows; nothing is read before somebody looks."""
        self._feed, self._views = Feed(grid, settings), Views(grid, settings)
        self._files = files.load()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if socket := environ.get("wsgi.websocket"):
            self._tell(socket, environ)
            return []
        try:
            status, headers, body = self._answer(environ)
        except RequestError as error:
            status, headers, body = error_answer(error)
        start_response(status, [*headers, ("Connection", "close")])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def serve_viewer(self, handler: ConnectionHandler, who: Principal, request: Request) -> None:
        """Serve who looks at a session; raises RequestError before it is answered."""
        self._views.serve(handler, who, request)

    def renew(self) -> None:
        """Note that those who look at sessions are still there; raises StoreUnavailable."""
        self._views.renew()

    def end_all(self, reason: str) -> None:
        """Let everybody go: the proxy stops."""
        self._feed.end_all()
        self._views.end_all(reason)

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path in (LOG_IN, LOG_OUT):
            _require(method, "POST")
            return self._log_in(environ) if path == LOG_IN else _answered(_cookie("", 0))
        _require(method, "GET", "HEAD")
        if path == VIEW_PATH:
            self._views.find(environ[ADMIT](), environ.get("QUERY_STRING", ""))
            return _answered()
        file = self._files.get(path)
        if file is None:
            raise NotFound(f"The dashboard has no file {path[:100]}.", f"The page is {DASHBOARD}.")
        headers = [("Content-Type", file.content_type), ("ETag", file.tag), *files.HEADERS]
        if environ.get("HTTP_IF_NONE_MATCH") == file.tag:
            return "304 Not Modified", headers, b""
        return "200 OK", [*headers, ("Content-Length", str(len(file.content)))], file.content

    def _log_in(self, environ: dict[str, Any]) -> Answer:
        """Exchange a token that is known for a cookie, which scripts cannot read and other sites' pages cannot use."""
        given = given_tokens(environ.get("HTTP_AUTHORIZATION", ""), "")
        if not given:
            raise Unauthorized("The log-in needs a token.", "Send it as `Authorization: Bearer TOKEN`.")
        environ[ADMIT]()
        is_secure = environ["wsgi.url_scheme"] == "https" or environ.get("HTTP_X_FORWARDED_PROTO") == "https"
        return _answered(_cookie(given[0], None) + "; Secure" * is_secure)

    def _tell(self, socket: WebSocket, environ: dict[str, Any]) -> None:
        """Tell a page what the grid looks like until it goes, the proxy stops, or its token is revoked."""
        admit: Callable[[], Principal] = environ[ADMIT]
        try:
            who = admit()
            if self._feed.followers >= FEEDS_MAX:
                _close(socket, TRY_AGAIN_LATER, f"{FEEDS_MAX} dashboards are open at this appliance already.")
                return
            has_cookie = bool(given_by_cookie(environ.get("HTTP_COOKIE", "")))
            me = {"type": "me", "is_admin": who.is_admin, "token": who.name, "has_cookie": has_cookie}
            socket.send(json.dumps(me))
            until = time.monotonic() + ADMITTED_S
            for message in self._feed.follow(who):
                socket.send(message)
                if time.monotonic() > until and not _is_away(message):
                    if admit() != who:
                        break  # it comes back, as somebody else
                    until = time.monotonic() + ADMITTED_S
        except Unauthorized as error:
            _close(socket, NOT_ADMITTED, str(error))
        except (WebSocketError, OSError, RequestError) as error:
            log.debug("dashboard.gone", error=str(error))


def _close(socket: WebSocket, code: int, reason: str) -> None:
    """Close a WebSocket with a code, which gevent-websocket's own `close` leaves out."""
    with suppress(WebSocketError, OSError):
        socket.send_frame(code.to_bytes(2, "big") + reason.encode()[:REASON_MAX_BYTES], socket.OPCODE_CLOSE)
    socket.closed = True


def _is_away(message: str) -> bool:
    """Return whether a message says that Redis is away: then no token can be checked."""
    return '"trouble": ""' not in message


def _require(method: str, *methods: str) -> None:
    if method not in methods:
        raise MethodNotAllowed(f"This page answers {' and '.join(methods)} only.", allow=", ".join(methods))


def _answered(cookie: str = "") -> Answer:
    headers = [("Cache-Control", "no-store"), *([("Set-Cookie", cookie)] if cookie else [])]
    return "204 No Content", headers, b""


def _cookie(token: str, max_age_s: int | None) -> str:
    age = "" if max_age_s is None else f"; Max-Age={max_age_s}"
    return f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{age}"
