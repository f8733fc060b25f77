"""What the firewall asks of the machine's resolver, in bounded time; without an answer the one before counts."""

from __future__ import annotations

import ipaddress
import socket
import threading

from appliance.machine.firewall.images import WELL_KNOWN, prefix_of
from appliance.settings.networks import Network, network

_TIMEOUT_S = 3.0
_NAT64 = "ipv4only.arpa"  # RFC 7050: has IPv6 addresses only where a NAT64 makes them

_known: dict[str, frozenset[Network]] = {}


def addresses_of(host: str) -> frozenset[Network]:
    """Return the addresses of a name; none if it leads nowhere, now and whenever this process asked before."""
    try:
        return frozenset({network(host)})
    except ValueError:
        asking = threading.Thread(target=_ask, args=(host,), daemon=True)  # the resolver itself knows no time limit
        asking.start()
        asking.join(_TIMEOUT_S)
        return _known.get(host, frozenset())


def nat64_prefixes() -> list[ipaddress.IPv6Network]:
    """Return the prefixes of NAT64 that may be in use here: the well-known one, and the network's own."""
    found = {WELL_KNOWN}
    for one in addresses_of(_NAT64):
        if isinstance(one, ipaddress.IPv6Network) and (prefix := prefix_of(one.network_address)):
            found.add(prefix)
    return sorted(found)


def _ask(host: str) -> None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return
    _known[host] = frozenset(network(str(address[4][0]).partition("%")[0]) for address in found)
