"""The networks that this machine is directly connected to, by the kernel's tables of routes (proc(5), route(8))."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from appliance.settings.networks import Network

_IPV4, _IPV6 = Path("/proc/net/route"), Path("/proc/net/ipv6_route")

# linux/route.h and linux/ipv6_route.h: is up; has a gateway; is refused; is an address of this machine's own
_UP, _GATEWAY, _REJECT, _LOCAL = 0x1, 0x2, 0x200, 0x80000000

# A shorter prefix is a way to the internet, as of a VPN, and no network of neighbours.
_SHORTEST = {4: 8, 6: 16}


def connected() -> set[Network]:
    """Return the networks whose hosts are neighbours, and this machine's own IPv4 addresses, without loopback."""
    return {*_routes(), *_own()}


def _routes() -> Iterator[Network]:
    for flags, device, network in (*_ipv4_routes(), *_ipv6_routes()):
        is_on_link = flags & (_UP | _GATEWAY | _REJECT | _LOCAL) == _UP and device != "lo"
        if is_on_link and network.prefixlen >= _SHORTEST[network.version] and not network.is_multicast:
            yield network


def _ipv4_routes() -> Iterator[tuple[int, str, Network]]:
    for device, destination, _, flags, _, _, _, mask, *_ in _lines(_IPV4, heading=True):
        address, length = _native(destination), _native(mask).bit_count()
        yield int(flags, 16), device, ipaddress.IPv4Network((address, length))


def _ipv6_routes() -> Iterator[tuple[int, str, Network]]:
    for destination, length, _, _, _, _, _, _, flags, device in _lines(_IPV6, heading=False):
        yield int(flags, 16), device, ipaddress.IPv6Network((int(destination, 16), int(length, 16)))


def _lines(file: Path, *, heading: bool) -> list[list[str]]:
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:  # a kernel without IPv6
        return []
    return [line.split() for line in lines[1 if heading else 0 :]]


def _native(text: str) -> int:
    """Read an IPv4 address that the kernel writes as a number in its own byte order."""
    return int.from_bytes(int(text, 16).to_bytes(4, sys.byteorder), "big")


def _own() -> Iterator[Network]:
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family == socket.AF_INET and not (own := ipaddress.IPv4Network(one.address)).is_loopback:
                yield own
