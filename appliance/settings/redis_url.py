"""REDIS_URL: whether the client can use it, and how it is shown without its password.

Errors quote nothing of it: any part may belong to a password that contains a slash.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel")

_ENCODE = "in a password, percent-encode all but letters and digits, like %2F for /"
_PASSWORD = re.compile(r"(://[^:@/\s]*):\S*@")
_PASSWORD_PARAMETER = re.compile(r"([?&](?:password|token)=)[^&\s]+", re.IGNORECASE)


def check(url: str) -> None:
    """Raise ValueError, in a sentence without the password, if `appliance.grid.client.connect` could not use a URL."""
    if not url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        raise ValueError(f"must start with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    parts = _split(url)
    if parts.netloc and "@" in parts.path + parts.query + parts.fragment:
        raise ValueError(f"has an @ in the wrong place, as if its password contained / ? or #: {_ENCODE}")
    database = parse_qs(parts.query).get("db", [""])[0]
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("must name a socket, like unix:///run/redis.sock")
    elif parts.scheme == "redis+sentinel":
        database = _check_sentinels(parts)
    else:
        _check_address(parts.netloc.rpartition("@")[2])
        database = database or parts.path.strip("/")
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError("has a database that is not a number; try redis://host:6379/0")


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # whose text may quote the password
        raise ValueError(f"is not a URL: {_ENCODE}") from None


def _check_sentinels(parts: SplitResult) -> str:
    """Check addresses and service of a Sentinel URL, and give its database."""
    form = "redis+sentinel://host:26379,host:26379/SERVICE/0"
    for address in parts.netloc.rpartition("@")[2].split(","):
        if not _check_address(address):
            raise ValueError(f"lacks the name of a Sentinel host; try {form}")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError(f"lacks a Sentinel service; try {form}")
    return database


def _check_address(address: str) -> str:
    """Return the host of `host:port` or `host`; raises ValueError."""
    try:
        parts = urlsplit(f"//{address}")
        usable = parts.port != 0 and not address.endswith(":")
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("has a port that is not a number from 1 to 65535")
    return parts.hostname or ""


def hosts(url: str) -> list[str]:
    """Return the names or addresses that a valid URL leads to: none for a unix socket, all Sentinels' for theirs."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return []
    return [_check_address(address) or "localhost" for address in parts.netloc.rpartition("@")[2].split(",")]


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port` or `[host]:port`; raises ValueError, also if there is no port."""
    host = _check_address(address)
    port = urlsplit(f"//{address}").port
    if not host or port is None:
        raise ValueError("must be an address and a port, like 10.0.0.5:6379")
    return host, port


def mask(value: Any) -> Any:
    """Return a setting's value with the passwords in its URLs replaced by ***."""
    if isinstance(value, list):
        return [mask(item) for item in value]
    if not isinstance(value, str):
        return value
    return _PASSWORD_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", value))
