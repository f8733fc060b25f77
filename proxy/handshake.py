"""The two handshakes of a session: the client's with the proxy, and the proxy's with the worker.

Everything here is pure: headers and bytes in, values and bytes out.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.grid.values import SessionRequest
from appliance.names import SESSIONS_PATH, Browser, Isolation, Protocol
from appliance.request_errors import BadRequest
from appliance.settings.config import Settings
from proxy import cdp, launch_options, query

# The headers that reach the worker, unchanged: what the driver answers to, its version check included. No other
# does, such as Origin, Authorization or Cookie, nor does the query string.
_FORWARDED = frozenset(
    {
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "user-agent",
    }
)
_FORWARDED_PREFIX = "x-playwright-"

# The headers that ask a driver for a browser: workers/preload/browsers.js and devtools.js.
OWN_BROWSER, CDP = ("isolation", "browser"), ("protocol", "cdp")
# Those about a browser that outlives its clients: workers/preload/kept.js. Each names the session, and the seconds.
_KEEP, VISIT = "keep", "visit"
# The session's id, and that of a session whose browser somebody looks at: workers/preload/looks.js.
_SESSION, LOOK = "session", "look"

# packages/playwright-core/src/server/utils/userAgent.ts: "Playwright/1.65.1 (x64; debian 12) node/20 …"
_USER_AGENT = re.compile(r"^Playwright/(?P<minor>\d+\.\d+)\.\d+(?P<pre_release>-[\w.-]+)?")


Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Handshake:
    """A client's request for a session, understood: what it asks for, what the worker sees, and lines for its log.

    `keep_s` is for how long the session is kept when its client goes.
    """

    request: SessionRequest
    forwarded: Headers
    log_lines: list[str]
    keep_s: int = 0

    @property
    def can_be_kept(self) -> bool:
        """Whether clients may reconnect to the session."""
        return bool(self.request.kept_as)

    def claiming(self, session_id: str) -> Headers:
        """Return what the worker sees that is to serve the session."""
        kept = ((_KEEP, f"{session_id} {self.keep_s}"),) if self.can_be_kept else ()
        return (*self.forwarded, (_SESSION, session_id), *kept)

    def visiting(self, session_id: str) -> Headers:
        """Return what the worker sees if the session is there already."""
        return (*self.forwarded, (VISIT, f"{session_id} {self.keep_s}"))


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker's answer: its status, its bytes up to the end of its headers, and what came after."""

    status: int
    head: bytes
    rest: bytes


def is_upgrade(headers: Mapping[str, str]) -> bool:
    """Return whether a request asks for a WebSocket (RFC 6455, section 4.2.1); both headers are lists."""
    return "websocket" in _tokens(headers, "upgrade") and "upgrade" in _tokens(headers, "connection")


def parse(
    items: Iterable[tuple[str, str]],
    target: str,
    client: str,
    settings: Settings,
    token: str = "",
    *,
    may_wish: bool = False,
) -> Handshake:
    """Understand a client's upgrade request.

    `items` are its headers in order, `target` its path with the query string, `client` its address, `settings` those of
    this appliance, `token` the name of the token that it brought. `may_wish` says whether a driver may be got for it.
    Raises BadRequest.
    """
    items = list(items)
    headers = {name.lower(): value for name, value in items}
    _check_once([name.lower() for name, _ in items])
    _check_websocket(headers)
    path, _, text = target.partition("?")
    parameters, protocol = query.parse(text), cdp.protocol_at(path)
    if protocol is Protocol.CDP:
        cdp.check(parameters, settings.serving(Browser.CHROMIUM, ""))
        parameters |= {"browser": Browser.CHROMIUM, "isolation": Isolation.BROWSER}
    browser = browser_of(
        parameters.get("browser") or headers.get("x-playwright-browser") or settings.default_browser_type
    )
    user_agent = headers.get("user-agent", "")
    version = _USER_AGENT.match(user_agent) if protocol is Protocol.PLAYWRIGHT else None
    minor = version["minor"] if version else ""
    pools, asked = settings, parameters.get("isolation", "")
    settings = pools.serving(browser, minor, asked)
    options = launch_options.read(headers, browser, settings)
    keep_s, timeout_s = _keep_s(parameters, settings), _timeout_s(parameters, settings)
    needing_own = options.own_browser + (["a session to reconnect to"] if "session" in parameters else [])
    isolation = _isolation(asked, needing_own, settings)
    if isolation is Isolation.BROWSER and not asked:  # its own pool may have another usual browser
        options = launch_options.read(headers, browser, pools.serving(browser, minor, isolation))
    return Handshake(
        SessionRequest(
            browser=browser,
            minor=minor,
            name=parameters.get("name", ""),
            client=client,
            user_agent=user_agent[:500],
            token=token,
            isolation=isolation,
            protocol=protocol,
            kept_as=parameters.get("session", ""),
            labels=query.labels(parameters),
            may_wish=may_wish,
            timeout_s=timeout_s,
        ),
        tuple((name, value) for name, value in items if _is_forwarded(name.lower())) + _asked(protocol, isolation),
        [
            *_about_isolation(parameters, needing_own, settings),
            *_about_pre_release(version),
            *options.log_lines,
            *([f"ends after {timeout_s} s, as its URL says"] if timeout_s else []),
        ],
        keep_s,
    )


def looking(items: Iterable[tuple[str, str]], session_id: str) -> Headers:
    """Return what the worker sees of a viewer's upgrade request, who looks at a session; raises BadRequest."""
    items = [(name, value) for name, value in items if name.lower() in _FORWARDED]
    _check_websocket({name.lower(): value for name, value in items})
    return (*items, (LOOK, session_id))


def _about_pre_release(version: re.Match[str] | None) -> list[str]:
    """Return a line on the driver of a pre-release, such as the "1.66.0-alpha-…" that packages for MCP carry."""
    if version is None or not version["pre_release"]:
        return []
    return [f"this client is a pre-release, {version[0]}: the driver of Playwright {version['minor']} serves it"]


def worker_request(forwarded: Headers) -> bytes:
    """Build the request to a worker's driver."""
    lines = [
        f"GET {SESSIONS_PATH} HTTP/1.1",
        "Host: driver",
        "Connection: Upgrade",
        "Upgrade: websocket",
    ]
    lines += [f"{name}: {value}" for name, value in forwarded]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def parse_answer(received: bytes) -> Answer | None:
    """Understand what a worker has answered so far; None while its headers are not complete.

    Raises ValueError if it is not HTTP.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    status = re.match(rb"HTTP/1\.1 (\d{3})", received)
    if not status:
        raise ValueError("the worker's answer is not HTTP")
    return Answer(int(status.group(1)), received[: end + 4], received[end + 4 :])


def with_log(head: bytes, lines: Iterable[str]) -> bytes:
    """Add lines for the client's own log to an answer's headers.

    Clients write such headers into the log of the call, which they print if the connect fails after all
    (packages/playwright-core/src/server/transport.ts, `debugLogHeader`).
    """
    added = "".join(f"x-playwright-debug-log: {' '.join(line.split())}\r\n" for line in lines)
    return head[:-2] + added.encode("latin-1", "backslashreplace") + b"\r\n"


def _tokens(headers: Mapping[str, str], name: str) -> list[str]:
    return [token.strip().lower() for token in headers.get(name, "").split(",")]


def _check_once(names: list[str]) -> None:
    """Refuse two of Playwright's headers with one name: a driver reads both as one, this proxy would check the last."""
    if twice := [name for name in names if name.startswith(_FORWARDED_PREFIX) and names.count(name) > 1]:
        raise BadRequest(f"The header {twice[0][:100]} is there twice.", "Send each header once.")


def _check_websocket(headers: Mapping[str, str]) -> None:
    if headers.get("sec-websocket-version") != "13":
        raise BadRequest("The WebSocket version must be 13.", "Connect with a Playwright client.")
    try:
        key = base64.b64decode(headers.get("sec-websocket-key", ""), validate=True)
    except ValueError:  # not base64, or not even ASCII
        key = b""
    if len(key) != 16:
        raise BadRequest("Sec-WebSocket-Key must be 16 bytes in base64.", "Connect with a Playwright client.")


def browser_of(name: str) -> Browser:
    """Return the browser of a name that a client gives; raises BadRequest."""
    try:
        return Browser(name.lower())
    except ValueError:
        raise BadRequest(f"Unknown browser {name[:50]!r}.", f"Known browsers: {', '.join(Browser)}.") from None


def _isolation(asked: str, needing_own: list[str], settings: Settings) -> Isolation:
    """Return what the session has for itself: what it asks for, what its options need, or what is usual here."""
    if not needing_own:
        return Isolation(asked or settings.isolation)
    if asked == Isolation.CONTEXT:
        raise BadRequest(
            f"A shared browser cannot have {', '.join(needing_own)}.", "Leave isolation=context out of the URL."
        )
    return Isolation.BROWSER


def _about_isolation(parameters: Mapping[str, str], needing_own: list[str], settings: Settings) -> list[str]:
    """Return a line for the client's log if it gets a browser of its own without having asked for one."""
    if not needing_own or parameters.get("isolation") or settings.isolation is Isolation.BROWSER:
        return []
    return [f"a browser of its own, for {', '.join(needing_own)}"]


def _keep_s(parameters: Mapping[str, str], settings: Settings) -> int:
    """Return for how many seconds the session is kept; raises BadRequest if that is longer than allowed here."""
    keep_s = int(parameters.get("keep", 0))
    if "keep" in parameters and not settings.keep_max:
        raise BadRequest("This grid keeps no sessions.", "Leave session and keep out, or set KEEP_MAX.")
    if keep_s > settings.keep_max:
        raise BadRequest(f"This grid keeps a session for {settings.keep_max} s at most.", "KEEP_MAX sets it.")
    return keep_s


def _timeout_s(parameters: Mapping[str, str], settings: Settings) -> int:
    """Return after how many seconds the session ends, 0 for no limit of its own; raises BadRequest."""
    timeout_s = int(parameters.get("timeout", 0))
    if 0 < settings.session_timeout < timeout_s:
        raise BadRequest(
            f"This grid ends sessions after {settings.session_timeout:.15g} s.",
            "Set `timeout` to that at most, or leave it out; SESSION_TIMEOUT sets it.",
        )
    return timeout_s


def _asked(protocol: Protocol, isolation: Isolation) -> Headers:
    if protocol is Protocol.CDP:
        return (CDP,)
    return (OWN_BROWSER,) if isolation is Isolation.BROWSER else ()


def _is_forwarded(name: str) -> bool:
    return name in _FORWARDED or name.startswith(_FORWARDED_PREFIX)
