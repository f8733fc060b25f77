"""CDP clients: which requests are theirs, what they may ask for, and the page by which they find their endpoint.

A CDP session has a browser of its own, which the client drives by Chrome's DevTools Protocol. Everything here is pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from appliance.names import Browser, Isolation, Protocol
from appliance.request_errors import BadRequest, WrongClient
from appliance.settings.config import Settings
from appliance.settings.proxies import upstream_proxy

PATH = "/cdp"
VERSION_PAGES = frozenset({"/json/version", "/json/version/", "/cdp/json/version", "/cdp/json/version/"})

# Clients that find a port's endpoint for themselves build a path like Chromium's.
_SESSIONS = re.compile(r"/cdp/?|/devtools/browser(/.*)?")
# Chromium's pages about its targets (content/browser/devtools/devtools_http_handler.cc), and a target's own endpoint.
_TARGETS = re.compile(r"/json/(list|protocol|new|activate|close)(/.*)?|/devtools(/.*)?|/cdp/.*")

_WITHOUT = "Leave it out, or connect with Playwright's connect()."


def protocol_at(path: str) -> Protocol:
    """Return what the sessions at a path speak."""
    return Protocol.CDP if _SESSIONS.fullmatch(path) else Protocol.PLAYWRIGHT


def refuse_targets(path: str, endpoint: str) -> None:
    """Raise WrongClient for a path of Chromium's targets: a client sees those of its own browser, once connected."""
    if path not in VERSION_PAGES and _TARGETS.fullmatch(path):
        raise WrongClient(
            "This grid has no list of targets: each CDP connection has a browser of its own.", how_to_connect(endpoint)
        )


def how_to_connect(endpoint: str) -> str:
    """Return the hint that names the right calls; `endpoint` is like "ws://host:8080"."""
    page = f"http{endpoint.removeprefix('ws')}"
    return (
        f'For example in Python: playwright.chromium.connect_over_cdp("{page}"). '
        f"Other clients connect to {endpoint}{PATH}."
    )


def check(parameters: Mapping[str, str], settings: Settings) -> None:
    """Raise BadRequest if the parameters of a session's URL ask for what it cannot have, or the grid cannot serve it.

    If browsers need a password for BROWSER_PROXY, Playwright's driver answers for them; a CDP client does not know it.
    """
    if parameters.get("browser", Browser.CHROMIUM).lower() != Browser.CHROMIUM:
        raise BadRequest("CDP sessions have Chromium: the query parameter 'browser' names another browser.", _WITHOUT)
    if parameters.get("isolation", Isolation.BROWSER) != Isolation.BROWSER:
        raise BadRequest("A CDP session has a browser of its own: 'isolation' must be browser.", _WITHOUT)
    if settings.browser_proxy and upstream_proxy(settings.browser_proxy).username:
        raise BadRequest(
            "This grid has no CDP sessions: its browsers use a proxy with a password, which CDP clients do not know.",
            "Connect with Playwright's connect(), or set BROWSER_PROXY to a proxy without a password.",
        )


def version_page(endpoint: str, query: str, forwarded_proto: str) -> bytes:
    """Return what Chromium's page of that name says, as far as it helps a client.

    The query of the request is that of the session: it may have a token, for a client may be unable to send headers.
    `forwarded_proto` is the header X-Forwarded-Proto: behind a load balancer, "https" where this proxy has no TLS.
    """
    if forwarded_proto == "https":
        endpoint = f"wss{endpoint.removeprefix('wss').removeprefix('ws')}"
    url = f"{endpoint}{PATH}{query and '?'}{query}"
    return json.dumps({"Browser": "Chromium", "Protocol-Version": "1.3", "webSocketDebuggerUrl": url}).encode()
