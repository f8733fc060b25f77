"""IPv4 networks as IPv6 shows them: by which addresses a translator or a tunnel leads to them. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from appliance.settings.networks import Network, network

WELL_KNOWN = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1: of NAT64

# Forms that hold an IPv4 address and lead nowhere that is not reached as well by that: 6to4 (RFC 3056), Teredo (RFC
# 4380), and addresses of old translations (RFC 4291, section 2.5.5; RFC 2765). They are refused as a whole.
TUNNELS = tuple(map(network, ("2002::/16", "2001::/32", "::/64")))

_PREFIX_LENGTHS = (32, 40, 48, 56, 64, 96)
_NAMES_OF_IPV4ONLY = (0xC00000AA, 0xC00000AB)  # 192.0.0.170 and 171, of ipv4only.arpa (RFC 7050, section 2.2)


def image(v4: ipaddress.IPv4Network, prefix: ipaddress.IPv6Network) -> ipaddress.IPv6Network:
    """Return where a NAT64 with this prefix shows a network (RFC 6052, section 2.2): bits 64 to 71 stay zero."""
    length = prefix.prefixlen
    before = max(0, min(32, 64 - length))  # bits of the address that stand before bit 64
    value, after = int(v4.network_address), 32 - before
    if length == 96:
        return ipaddress.IPv6Network((int(prefix.network_address) | value, 96 + v4.prefixlen))
    high, low = value >> after, value & ((1 << after) - 1)
    bits = int(prefix.network_address) | (high << 64) | (low << (56 - after))
    behind_gap = 8 if v4.prefixlen > before or length == 64 else 0
    return ipaddress.IPv6Network((bits, length + v4.prefixlen + behind_gap))


def images(networks: Iterable[Network], prefixes: Iterable[ipaddress.IPv6Network]) -> list[Network]:
    """Return the images of those networks that are of IPv4, under each prefix of a NAT64."""
    known = list(prefixes)
    return [image(one, prefix) for one in networks if isinstance(one, ipaddress.IPv4Network) for prefix in known]


def prefix_of(address: ipaddress.IPv6Address) -> ipaddress.IPv6Network | None:
    """Return the prefix of the NAT64 that shows ipv4only.arpa at an address (RFC 7050, section 3), if one does."""
    for length in _PREFIX_LENGTHS:
        prefix = ipaddress.IPv6Network((address, length), strict=False)
        for one in _NAMES_OF_IPV4ONLY:
            if image(ipaddress.IPv4Network(one), prefix).network_address == address:
                return prefix
    return None
