"""Who may connect: by a token, by an account of this machine, through a trusted proxy, and no web page.

A web page, inside the grid or on its operator's machine, can make its browser send requests to the proxy. Two rules
keep it from using the grid:
 1. Browsers send `Origin` with every WebSocket handshake, with every request that is no GET or HEAD, and with every
    request whose answer another site's page could read. No Playwright client sends it. So a request with an `Origin`
    is refused, unless it is for /api or /dashboard and of the page at its own host and port.
 2. A page can point its own host's name at the proxy's address (DNS rebinding). Then it reads answers as its own, and
    its `Origin`, if there is one, equals `Host`; but that is the page's name. So pages with information are served only
    under names that a stranger's domain cannot have. (`Sec-Fetch-Site` would not do: browsers leave it out of plain
    HTTP to other hosts than localhost.) Sessions need no such rule, for rule 1 holds for a rebound page's WebSocket:
    clients may connect by any name.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
from collections.abc import Collection, Iterable, Mapping
from urllib.parse import parse_qs, unquote

from appliance.grid.token_table import Principal
from appliance.grid.tokens import Tokens
from appliance.request_errors import ForeignHost, ForeignOrigin, StoreUnavailable, Unauthorized
from appliance.settings.config import Settings
from appliance.settings.networks import Network, is_loopback
from proxy.request import is_for_operators
from proxy.socket_owner import overflow_uid, uid_of

QUERY_PARAMETER = "token"
COOKIE = "appliance_token"  # of the dashboard: HttpOnly, SameSite=Strict
NO_TOKEN = "This grid requires a token, but the request has none."  # noqa: S105  # a sentence
ANY_HOST = "*"
METRICS_PATH = "/metrics"

_ROOT = 0
_PASSED_ON = ("x-forwarded-for", "forwarded", "x-real-ip", "via")  # what proxies add to the requests of others


class Access:
    """Admits requests by their token, or by the account that they come from.

    Without a token, only an account that runs the appliance and root are admitted. Rules
     1. Only where the appliance listens on loopback: beyond it a token is the only proof.
     2. What a proxy passes on for somebody is that somebody's request, whichever account the proxy has.
     3. An unknown account is not the appliance's.
    """

    def __init__(self, tokens: Tokens, settings: Settings, own_uid: int) -> None:
        """Set the grid's tokens, and this process's account: SERVICE_USER or who started it."""
        self._tokens = tokens
        self._allow_anonymous = settings.allow_anonymous
        self._is_local = is_loopback(settings.host)
        self._uids = {own_uid, _ROOT} - {overflow_uid()}

    def admit(self, connection: socket.socket, headers: Mapping[str, str], path: str, query: str) -> Principal:
        """Return who sends a request. Without a token, that is the appliance's own account or an anonymous client.

        On the operator's pages a cookie may hold the token. Raises Unauthorized, and StoreUnavailable if a token cannot
        be checked: nobody gets in unchecked. Only the metrics, which say that Redis is away, are shown to whom Redis
        knew when it was last heard.
        """
        given = given_tokens(headers.get("authorization", ""), query)
        if not given and is_for_operators(path):
            given = given_by_cookie(headers.get("cookie", ""))
        if given:
            return self._check(given, path)
        if self._allow_anonymous:
            return Principal()
        if self._tokens.are_for_everybody():
            raise Unauthorized(NO_TOKEN)
        if objection := self._objection(connection, headers):
            raise Unauthorized(objection)
        return Principal(is_admin=True)

    def _check(self, given: list[str], path: str) -> Principal:
        for token in given:
            try:
                found = self._tokens.check(token)
            except StoreUnavailable:
                found = self._tokens.recall(token) if path == METRICS_PATH else None
                if found is None:
                    raise
            if found:
                return found
        raise Unauthorized("The grid does not know this token, or it was revoked.")

    def _objection(self, connection: socket.socket, headers: Mapping[str, str]) -> str:
        """Return why a request needs a token, as a sentence; "" if it needs none."""
        if not self._is_local:
            return NO_TOKEN
        try:
            peer, own = connection.getpeername(), connection.getsockname()
        except OSError:  # the client is gone
            return NO_TOKEN
        if any(headers.get(name) for name in _PASSED_ON):
            return "A request that comes through a proxy needs a token, but this one has none."
        uid = uid_of(peer, own)
        if uid is None:
            return "The kernel does not tell which account sent this request, so it needs a token."
        return "" if uid in self._uids else "Only root and the appliance's own account may connect without a token."


def given_tokens(authorization: str, query: str) -> list[str]:
    """Return what may be a request's token, the likeliest first; nothing if it has none.

    It stands in `Authorization` as `Bearer TOKEN` (RFC 6750, section 2.1), or as the password of `Basic`
    (RFC 7617), which is what clients make of ws://any:TOKEN@host; else in the query as `token`.
    Raises Unauthorized for a password that cannot be read.
    """
    scheme, _, credentials = authorization.strip().partition(" ")
    if scheme.lower() == "bearer" and (token := credentials.strip()):
        return [token]
    password = _password(credentials.strip()) if scheme.lower() == "basic" else ""
    if password:
        return list(dict.fromkeys([password, unquote(password)]))  # clients send it as it stands in the URL
    found = parse_qs(query.replace("+", "%2B")).get(QUERY_PARAMETER, [])  # a token has no space, but may have a +
    if not found and password is None:
        raise Unauthorized("The request's Authorization header cannot be read.")
    return found[-1:]


def _password(credentials: str) -> str | None:
    """Return the password of `Basic` credentials; None if they cannot be read."""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:  # not base64, not ASCII, or not UTF-8 in it
        return None


def given_by_cookie(header: str) -> list[str]:
    """Return the token that the dashboard's cookie holds; nothing if there is none."""
    cookies = (part.strip().partition("=") for part in header.split(";"))
    return [value for name, _, value in cookies if name == COOKIE and value][:1]


def refuse_foreign_origin(headers: Mapping[str, str], path: str) -> None:
    """Raise ForeignOrigin if a web page sent the request, unless it is the dashboard and its path the operator's."""
    if (origin := headers.get("origin")) and not (is_for_operators(path) and _is_own(origin, headers.get("host", ""))):
        raise ForeignOrigin("Web pages must not use this grid.")


def _is_own(origin: str, host: str) -> bool:
    """Return whether an `Origin` is the host and port that its request was sent to.

    The scheme may differ: where a load balancer has the certificate, the appliance sees no TLS.
    """
    scheme, _, name = origin.lower().partition("://")
    port = {"http": ":80", "https": ":443"}.get(scheme, "")
    return bool(port and name) and name.removesuffix(port) == host.lower().removesuffix(port)


def refuse_foreign_host(headers: Mapping[str, str], own: Collection[str]) -> None:
    """Raise ForeignHost if the request's `Host` may be a stranger's domain.

    `own` are this appliance's names; "*" allows all. An address is no domain, and the public DNS gives out no
    single label ("localhost", a container's name).
    """
    host = _without_port(headers.get("host", "")).lower().rstrip(".")
    if ANY_HOST in own or host in own or "." not in host or host.endswith(".localhost") or _address(host):
        return
    raise ForeignHost(
        f"This page is not available under the name {host[:100]}.",
        "Use the machine's address, or add the name to ALLOWED_HOSTS.",
    )


def client_address(peer: str, forwarded_for: str, trusted: Iterable[Network]) -> str:
    """Return the address that a request comes from.

    That is the connection's peer; if it is a trusted proxy, the last address in its `X-Forwarded-For` that is not
    itself a trusted proxy. Its sender may have made up what stands before that one.
    """
    trusted = tuple(trusted)
    found = _address(peer)
    for text in reversed(forwarded_for.split(",")):
        if found is None or not any(found in network for network in trusted):
            break
        before = _address(_without_port(text.strip()))
        if before is None:
            break
        found = before
    return str(found) if found else peer


def _without_port(host: str) -> str:
    """Strip the port of "name:80", "1.2.3.4:80" or "[::1]:80", and the brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address; an IPv4 one that a listener on "::" sees as IPv6 becomes IPv4 again."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
