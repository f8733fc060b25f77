"""Who asks, and whether they may: the client's address, and what web pages are kept from.

Everything here is pure: headers and addresses in, values or RequestError out.

A page that somebody looks at in a browser, inside the grid or on the machine of its operator, can make
that browser send requests to the proxy. Two rules keep it from using the grid:
 1. Browsers put `Origin` on every WebSocket handshake, and on every request whose answer another
    site's page could read. No Playwright client sends it. So whatever carries one is refused.
 2. A page can have its own host's name lead to the proxy's address (DNS rebinding); then it reads
    answers as its own, and no `Origin` is sent. But its host's name stands in `Host`. So the pages
    that tell something are given under names only that no stranger's domain can have. (`Sec-Fetch-Site`
    would not do: browsers leave it out of plain HTTP to other hosts than localhost.) Sessions need
    not be kept so, since rule 1 holds for a rebound page's WebSocket too: clients may connect by any name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping

from appliance.errors import ForeignHost, ForeignOrigin
from appliance.settings.networks import Network

ANY_HOST = "*"


def refuse_foreign_origin(headers: Mapping[str, str]) -> None:
    """Raise ForeignOrigin if a web page sent the request."""
    if headers.get("origin"):
        raise ForeignOrigin("Web pages must not use this grid.")


def refuse_foreign_host(headers: Mapping[str, str], own: Collection[str]) -> None:
    """Raise ForeignHost if the request's `Host` may be a stranger's domain.

    `own` are the names that this appliance goes by; "*" allows all. An address is no domain, and one label alone
    ("localhost", a container's name) none that the public DNS gives out.
    """
    host = _without_port(headers.get("host", "")).lower().rstrip(".")
    if ANY_HOST in own or host in own or "." not in host or host.endswith(".localhost") or _address(host):
        return
    raise ForeignHost(
        f"This page is not available under the name {host[:100]}.",
        "Use the machine's address, or add the name to ALLOWED_HOSTS.",
    )


def client_address(peer: str, forwarded_for: str, trusted: Iterable[Network]) -> str:
    """Give the address that a request comes from.

    That is the connection's peer; if it is a trusted proxy, the last address in its `X-Forwarded-For`
    that is not a trusted proxy itself. What stands before that one its sender may have made up.
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
    """Read an address; an IPv4 one that a listener on "::" sees as IPv6 is IPv4 again."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
