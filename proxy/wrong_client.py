"""Clients of another protocol or another grid, and the refusal they read instead of a bare 404.

Everything here is pure. No token is needed, for a refusal says only which kind of grid this is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from appliance.names import Protocol
from appliance.request_errors import NotFound, WrongClient
from proxy import cdp

_PLAYWRIGHT = re.compile(r"^Playwright/1\.(\d+)\.")
# Playwright's `connect` has sent such headers since 1.20 (packages/playwright-core/src/client/browserType.ts). Its
# `connectOverCDP` has the same User-Agent, but like Puppeteer it sends none of them.
_PREFIX, _SENT_SINCE = "x-playwright-", 20

_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")
_SELENIUM = re.compile(r"/(wd/hub|session|sessions|status|se/grid|grid|graphql)(/.*)?")
_OTHER_GRID = re.compile(r"/(playwright|chromium|chrome|edge|firefox|webkit)(/.*)?")
_REST = re.compile(r"/(content|download|function|pdf|performance|scrape|screenshot|unblock)(/.*)?")

_TO_THE_ROOT = "Connect to / of this host and port"


def refuse_session(path: str, headers: Mapping[str, str], endpoint: str) -> None:
    """Raise WrongClient or NotFound unless a client asks for a session at its path: Playwright's `connect` at /.

    `headers` are those of the request by their names in lower case, `endpoint` is the settings'.
    """
    endpoint = endpoint_at(headers.get("host", ""), endpoint)
    is_connect = any(name.startswith(_PREFIX) for name in headers)
    if cdp.protocol_at(path) is Protocol.CDP:
        if is_connect:
            raise WrongClient(
                "This is the endpoint of CDP clients, and Playwright's connect() is none.", _connect(endpoint)
            )
        return
    refuse_path(path, endpoint)
    if path != "/":
        raise NotFound(f"There are no sessions at {path[:100]}.", f"{_TO_THE_ROOT}.")
    version = _PLAYWRIGHT.match(headers.get("user-agent", ""))
    is_too_old_to_tell = version is not None and int(version[1]) < _SENT_SINCE
    if not is_too_old_to_tell and not is_connect:
        raise WrongClient(
            "This is the endpoint of Playwright's connect(): CDP clients, as connect_over_cdp() and Puppeteer, have "
            f"one at {cdp.PATH}.",
            cdp.how_to_connect(endpoint),
        )


def refuse_path(path: str, endpoint: str = "ws://HOST:PORT") -> None:
    """Raise WrongClient or NotFound if a path is one that another kind of grid has."""
    cdp.refuse_targets(path, endpoint)
    if _SELENIUM.fullmatch(path):
        raise NotFound("This is a Playwright grid, not a Selenium grid.", _connect(endpoint))
    if _OTHER_GRID.fullmatch(path):
        hint = f"{_TO_THE_ROOT}, and name the browser like ?browser=firefox. {_connect(endpoint)}"
        raise NotFound(f"There are no sessions at {path[:100]}.", hint)
    if _REST.fullmatch(path):
        raise NotFound("This is a Playwright grid, which has no REST API for pages.", _connect(endpoint))


def endpoint_at(host: str, endpoint: str) -> str:
    """Return the address to connect to, by the `Host` that the client used if it is one; else by the settings'."""
    return f"{endpoint.partition('://')[0]}://{host}" if _HOST.fullmatch(host) else endpoint


def _connect(endpoint: str) -> str:
    return f'For example in Python: playwright.chromium.connect("{endpoint}").'
