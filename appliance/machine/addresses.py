"""By which address others reach this machine, from the kernel's routes, and whether HOST is open there."""

from __future__ import annotations

import ipaddress
import socket

from appliance.errors import SettingsError
from appliance.settings import redis_url as redis_urls
from appliance.settings.config import Settings
from appliance.settings.endpoint import EndpointSettings
from appliance.settings.networks import is_loopback

LOOPBACK = "127.0.0.1"
_ALL = ("0.0.0.0", "::")  # noqa: S104  # all addresses of this machine
_WORLD = "192.0.2.1"  # RFC 5737: nobody's address, to which the default route leads
_PORT = 9  # any


def reachable_by_others(redis_url: str | None, redis_listen: str | None) -> str:
    """Return the address by which the other appliances of this Redis reach this one.

    That is the one by which it reaches their Redis, or at which it serves its own to them; loopback if that is this
    machine's alone. A name is not looked up: for that the default route counts.
    """
    hosts = [redis_urls.split_address(redis_listen)[0]] if redis_listen else []
    host = next(iter(redis_urls.hosts(redis_url) if redis_url else hosts), "")
    if not host or is_loopback(host):
        return LOOPBACK
    return _source(host if _is_address(host) else _WORLD) or _source(_WORLD) or LOOPBACK


def address_beside(host: str, private_hostname: str) -> str:
    """Return the address of `private_hostname` if a listener on `host` is not reached there, else "".

    Raises SettingsError for a name without an address.
    """
    wanted, open_at = _look_up("PRIVATE_HOSTNAME", private_hostname), _look_up("HOST", host)
    missing = [address for address in wanted if not _is_reached(address, open_at)]
    return missing[0] if len(missing) == len(wanted) else ""


def private_hostname(settings: Settings) -> str:
    """Return PRIVATE_HOSTNAME or, if it is not set, the address by which the other appliances reach this one."""
    return settings.private_hostname or reachable_by_others(settings.redis_url, settings.redis_listen)


def door_beside_host(settings: Settings) -> str:
    """Return the address at which the inner door is opened beside HOST; "" if others reach HOST, or none would come.

    Raises SettingsError for a name without an address.
    """
    is_shared = settings.redis_url or settings.redis_listen
    return address_beside(settings.host, private_hostname(settings)) if is_shared else ""


def endpoint_for_others(settings: EndpointSettings) -> str:
    """Return the endpoint for clients on other machines; "" if it is `settings.endpoint`, or if they reach none.

    If HOST stands for all addresses, it is the one by which this machine reaches the internet.
    """
    if settings.host not in _ALL:
        return ""
    address = _source("2001:db8::1" if settings.host == "::" else _WORLD) or _source(_WORLD)
    return settings.endpoint_at(address) if address else ""


def _is_reached(address: str, open_at: list[str]) -> bool:
    """Return whether a listener is reached at an address; one on all of IPv6 gets IPv4, too (ipv6(7))."""
    return address in open_at or "::" in open_at or ("0.0.0.0" in open_at and ":" not in address)  # noqa: S104


def _look_up(setting: str, host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{setting} is {host}, which has no address: {error}") from error
    return [str(place[0]) for *_, place in found]


def _source(host: str) -> str:
    """Return the address from which this machine sends to another; "" if it does not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, _PORT))
        except OSError:
            return ""
        found = str(probe.getsockname()[0])
    return "" if is_loopback(found) else found


def _is_address(host: str) -> bool:
    """Return whether it is an address, and not one that stands for all."""
    try:
        return not ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
