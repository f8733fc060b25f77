"""BROWSER_PROXY: what Playwright makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_SCHEMES = ("http", "https", "socks4", "socks5")
_FORM = "must be like http://10.0.0.5:3128: http, https, socks4 or socks5, an address and a port"


@dataclass(frozen=True, slots=True)
class UpstreamProxy:
    """A proxy that browsers go through; `server` is its URL without user and password."""

    server: str
    host: str
    port: int
    username: str = ""
    password: str = ""


def upstream_proxy(url: str) -> UpstreamProxy:
    """Read a proxy's URL; raises ValueError, whose text holds nothing of the URL: it may have a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(_FORM) from None
    if parts.scheme not in _SCHEMES or not host or not port or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(_FORM)
    if parts.username and parts.scheme.startswith("socks"):
        raise ValueError("has a user and a password, which browsers do not send to a SOCKS proxy")
    server = f"{parts.scheme}://[{host}]:{port}" if ":" in host else f"{parts.scheme}://{host}:{port}"
    return UpstreamProxy(server, host, port, unquote(parts.username or ""), unquote(parts.password or ""))
