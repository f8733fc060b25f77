"""Where other appliances' inner doors are, and whether such a place may be dialled at all.

Whoever can write to Redis can announce an appliance anywhere. Nothing is said there before the other side has proven
that it belongs to the grid, and addresses where no appliance can be are not connected to.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from appliance.deadline import Deadline
from appliance.errors import Blame, DialFailed
from appliance.grid.grid import Grid
from appliance.grid.values import Door
from appliance.settings.networks import METADATA, Network, network

KEPT_S = 5.0  # how long an announcement is believed; one that has changed is noticed at the first dial that fails

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# No appliance is there: this network's own, multicast, what clouds tell machines, and images of IPv4 addresses
_NOWHERE = (*METADATA, *map(network, ("0.0.0.0/8", "224.0.0.0/3", "::/127", "ff00::/8", "64:ff9b::/96", "2002::/16")))
_LOOPBACK = tuple(map(network, ("127.0.0.0/8", "::1")))


class Places:
    """The doors of the other appliances, as they announced them."""

    def __init__(self, grid: Grid) -> None:
        """Set the grid; nothing is read yet."""
        self._grid = grid
        self._known: dict[str, tuple[Deadline, Door]] = {}

    def of(self, appliance: str) -> Door:
        """Return where an appliance's door is; raises DialFailed if it has announced none, and StoreUnavailable.

        What was announced before counts on where Redis has lost everything.
        """
        believed, known = self._known.get(appliance, (Deadline(0), None))
        if known and not believed.is_over:
            return known
        try:
            door = self._grid.door(appliance) or known
        except ValueError as error:  # what it announced as its port is no number
            raise DialFailed(f"appliance {appliance} has announced no place: {error}", Blame.PATH) from error
        if door is None:
            raise DialFailed(f"appliance {appliance} has not announced itself", Blame.PATH)
        self._known[appliance] = Deadline(KEPT_S), door
        return door

    def doubt(self, appliance: str) -> None:
        """Read an appliance's announcement again at the next dial."""
        if appliance in self._known:
            self._known[appliance] = Deadline(0), self._known[appliance][1]


def addresses_of(door: Door, peers: Sequence[Network], allow_loopback: bool) -> list[Address]:
    """Return the addresses to dial, the preferred first; raises DialFailed if none can be an appliance's of this grid.

    `peers` are where the other appliances are, if that is set. Loopback is allowed where this appliance's own address
    is there, too.
    """
    found = _resolve(door.address)
    objections = [_objection(one, peers, allow_loopback) for one in found]
    if all(objections):
        raise DialFailed(objections[0], Blame.PATH)
    return [one for one, objection in zip(found, objections, strict=True) if not objection]


def _objection(address: Address, peers: Sequence[Network], allow_loopback: bool) -> str:
    """Return why an address is not dialled, "" if it is."""
    if any(address in one for one in _LOOPBACK):
        return "" if allow_loopback else f"{address} is this machine, not another appliance"
    if any(address in one for one in _NOWHERE):
        return f"no appliance can be at {address}"
    return f"{address} is not in PEERS" if peers and not any(address in one for one in peers) else ""


def _resolve(name: str) -> list[Address]:
    """Return the addresses of a name; an address needs no look-up. An IPv4 address in IPv6's clothes is IPv4 again."""
    try:
        found: list[Address] = [ipaddress.ip_address(name)]
    except ValueError:
        try:
            answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, RuntimeError, UnicodeError) as error:  # RuntimeError: no thread can be had to look it up
            raise DialFailed(f"{name[:100]} has no address: {error}", Blame.PATH) from error
        found = [ipaddress.ip_address(str(place[0]).partition("%")[0]) for *_, place in answers]
    return [getattr(address, "ipv4_mapped", None) or address for address in found]
