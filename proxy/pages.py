"""The pages: /healthz, /readyz, /metrics, /api/v1/…, and what a browser sees at /."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from prometheus_client import generate_latest

from appliance import __version__, logs
from appliance.names import Protocol
from appliance.request_errors import (
    CannotDial,
    InternalError,
    MethodNotAllowed,
    NotFound,
    RequestError,
    StoreUnavailable,
    UpgradeRequired,
)
from proxy import access, cdp, wrong_client
from proxy.request import API, DASHBOARD, is_below
from proxy.services import Services

log = logs.get_logger()

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
JSON = "application/json"
_METHODS = ("GET", "HEAD")
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

# Pages without anything that a stranger could use. Clients ask for /json and /json/version without their headers, so
# without a token.
OPEN = frozenset({"/", "/json", "/json/", "/healthz", "/readyz", cdp.PATH}) | cdp.VERSION_PAGES

_OTHERS = (DASHBOARD, f"{API}/v1/openapi.json")  # answered elsewhere

ADMIT = "appliance.admit"  # in a WSGI environment: a function that returns the Principal, or raises Unauthorized


class Pages:
    """The WSGI application beside the sessions' endpoint; its pages only read."""

    def __init__(self, services: Services) -> None:
        """Set what the pages show."""
        self._services = services
        self._pages: dict[str, Callable[[], tuple[str, bytes]]] = {
            "/json": self._json,
            "/json/": self._json,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            access.METRICS_PATH: self._metrics_page,
        }

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if is_below(DASHBOARD, environ["PATH_INFO"]):
            return self._services.dashboard(environ, start_response)
        if is_below(API, environ["PATH_INFO"]):
            return self._services.api(environ, start_response)
        try:
            content_type, body = self._answer(environ)
            status, headers = "200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        except RequestError as error:
            status, headers, body = error_answer(error)
        except Exception:
            log.exception("page.failed", path=environ["PATH_INFO"][:100])
            status, headers, body = error_answer(InternalError("The appliance failed to answer this request."))
        start_response(status, [*headers, ("Connection", "close")])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _answer(self, environ: dict[str, Any]) -> tuple[str, bytes]:
        path = environ["PATH_INFO"]
        endpoint = wrong_client.endpoint_at(environ.get("HTTP_HOST", ""), self._services.settings.endpoint)
        if path == "/" or cdp.protocol_at(path) is Protocol.CDP:
            raise self._upgrade_required(endpoint)
        if path in cdp.VERSION_PAGES:
            return JSON, cdp.version_page(
                endpoint, environ.get("QUERY_STRING", ""), environ.get("HTTP_X_FORWARDED_PROTO", "")
            )
        page = self._pages.get(path)
        if page is None:
            raise NotFound(f"There is no page {path[:100]}.", f"Pages: {', '.join(sorted([*self._pages, *_OTHERS]))}.")
        if environ["REQUEST_METHOD"] not in _METHODS:
            raise MethodNotAllowed(f"This page answers {' and '.join(_METHODS)} only.", allow=", ".join(_METHODS))
        if path not in OPEN:
            environ[ADMIT]()
        try:
            return page()
        except CannotDial as error:
            if path in OPEN:
                _require_admitted(environ, error)
            raise

    def _upgrade_required(self, endpoint: str) -> UpgradeRequired:
        """Return the refusal that names the endpoint to use."""
        return UpgradeRequired(
            "This is a Playwright grid. Connect to it with a Playwright client, or with a CDP client.",
            f'For example in Python: playwright.chromium.connect("{endpoint}"). CDP clients connect to '
            f"{endpoint}{cdp.PATH}.",
        )

    def _json(self) -> tuple[str, bytes]:
        # The client appends this path to its own URL and keeps that URL's query string.
        return JSON, json.dumps({"wsEndpointPath": "/"}).encode()

    def _healthz(self) -> tuple[str, bytes]:
        return JSON, json.dumps({"status": "ok", "version": __version__}).encode()

    def _readyz(self) -> tuple[str, bytes]:
        if reason := self._services.presence.reason_to_leave():
            raise reason
        reach, browser = self._services.reach, self._services.settings.default_browser_type
        if refusal := reach.refusal():
            raise refusal
        if not self._services.grid.is_ready(browser, reach.avoided):
            if refusal := reach.refusal_of_the_unreachable(patiently=False):
                raise refusal
            raise _NotReady(f"No {browser} worker is available yet.", "`applctl status` shows the workers.")
        return JSON, json.dumps({"status": "ready", "browser": browser}).encode()

    def _metrics_page(self) -> tuple[str, bytes]:
        return PROMETHEUS, generate_latest(self._services.metrics.registry)


def _require_admitted(environ: dict[str, Any], error: CannotDial) -> None:
    """Raise the error without the dial's own text, which names addresses and paths, unless the request is admitted."""
    try:
        environ[ADMIT]()
    except RequestError:
        raise CannotDial(str(error).partition(":")[0] + ".") from error


class _NotReady(RequestError):
    """No worker of the default browser is available."""

    status = 503
    retry_after_s = 1


def error_answer(error: RequestError, is_rpc: bool = False) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return the status line, headers and body of an error: `{"error": {"code", "message", "hint"}}`.

    With `is_rpc` the body is an error of JSON-RPC, whose message MCP clients show: it includes the hint.
    """
    status = HTTPStatus(error.status)
    message = str(error)
    if isinstance(error, StoreUnavailable):
        message = message.partition(":")[0] + "."  # where Redis is, and what it says, is not for strangers
    content: dict[str, Any] = {"error": {"code": error.status, "message": message, "hint": error.hint}}
    if is_rpc:
        content = {"jsonrpc": "2.0", "id": None, "error": {"code": error.status, "message": f"{message} {error.hint}"}}
    body = json.dumps(content, ensure_ascii=False).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if error.retry_after_s is not None:
        headers.append(("Retry-After", str(error.retry_after_s)))
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", error.allow))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.append(("WWW-Authenticate", "Bearer"))
    if error.status == HTTPStatus.BAD_REQUEST:
        headers.append(("Sec-WebSocket-Version", "13"))
    if error.status == HTTPStatus.UPGRADE_REQUIRED:
        headers.append(("Upgrade", "websocket"))
    return f"{status.value} {error.phrase or status.phrase}", headers, body
