"""Which address of this machine others reach it by: told by the kernel's routes, without a packet or a look-up."""

from __future__ import annotations

import ipaddress
import socket

from appliance import redis_url as redis_urls
from appliance.relations import is_loopback

LOOPBACK = "127.0.0.1"
_WORLD = "192.0.2.1"  # RFC 5737: nobody's address, to which the default route leads
_PORT = 9  # any


def reachable_by_others(redis_url: str | None, redis_listen: str | None) -> str:
    """Give the address by which the other appliances of this Redis reach this one.

    That is the one by which it reaches their Redis, or at which it serves its own to them; loopback if that is this
    machine's alone. A name is not looked up: for that the default route counts.
    """
    hosts = [redis_urls.split_address(redis_listen)[0]] if redis_listen else []
    host = next(iter(redis_urls.hosts(redis_url) if redis_url else hosts), "")
    if not host or is_loopback(host):
        return LOOPBACK
    return _source(host if _is_address(host) else _WORLD) or _source(_WORLD) or LOOPBACK


def _source(host: str) -> str:
    """Give the address from which this machine sends to another; "" if it does not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, _PORT))
        except OSError:
            return ""
        found = str(probe.getsockname()[0])
    return "" if is_loopback(found) else found


def _is_address(host: str) -> bool:
    """Whether it is an address, and not the one that stands for all."""
    try:
        return not ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
