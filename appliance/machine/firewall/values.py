"""What the firewall's rules are made of on this machine: the settings, and what they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from appliance.errors import FirewallError
from appliance.machine.accounts import accounts_of
from appliance.machine.firewall.names import addresses_of, nat64_prefixes
from appliance.machine.firewall.routes import connected
from appliance.machine.firewall.ruleset import Inbound, Values
from appliance.settings import redis_url
from appliance.settings.accounts import PRIVATE
from appliance.settings.config import Settings
from appliance.settings.networks import METADATA, Network, network
from appliance.settings.proxies import upstream_proxy

_RESOLVERS = Path("/etc/resolv.conf")


def values_of(settings: Settings) -> Values:
    """Look up what the rules need. Raises FirewallError without BROWSER_USER, SettingsError if it is no account."""
    accounts = accounts_of(settings)
    if accounts is None:
        raise FirewallError(
            "the firewall tells browsers by their account, and BROWSER_USER is not set",
            "Set SERVICE_USER and BROWSER_USER, each to an account of its own.",
        )
    return Values(
        browser_group=accounts.browser.gid,
        resolvers=tuple(sorted(resolvers(_RESOLVERS), key=str)),
        grid=(*settings.peers, *sorted(_redis(settings), key=str)),
        allowed=tuple(settings.egress_private),
        inbound=_inbound(settings) if settings.guard_inbound else None,
        connected=tuple(sorted(_neighbours(settings), key=str)),
        proxies=_proxies(settings),
        nat64=tuple(nat64_prefixes()),
    )


def resolvers(file: Path) -> set[Network]:
    """Read the resolvers' addresses from a file like /etc/resolv.conf; without one it is this machine's own.

    What is no address is passed over, as glibc does.
    """
    try:
        lines = [line.split() for line in file.read_text(errors="replace").splitlines()]
    except FileNotFoundError:
        lines = []
    found = set()
    for words in lines:
        if words[:1] == ["nameserver"] and len(words) > 1:
            with suppress(ValueError):
                found.add(network(words[1].partition("%")[0]))
    return found or {network("127.0.0.1"), network("::1")}


def _redis(settings: Settings) -> set[Network]:
    """Return the addresses of REDIS_URL's hosts. A name without an address now cannot be kept from pages."""
    hosts = redis_url.hosts(settings.redis_url) if settings.redis_url else []
    return {address for host in hosts for address in addresses_of(host)}


def _neighbours(settings: Settings) -> set[Network]:
    """Return the networks that the machine is connected to and that are refused for nothing else.

    So what comes and goes, like the bridges of containers, does not change the rules. EGRESS_PRIVATE=all allows them.
    """
    if set(PRIVATE) <= {*settings.egress_private}:
        return set()
    return {one for one in connected() if not any(_holds(other, one) for other in (*PRIVATE, *METADATA))}


def _holds(network: Network, one: Network) -> bool:
    return network.version == one.version and one.subnet_of(network)  # type: ignore[arg-type]


def _proxies(settings: Settings) -> tuple[tuple[Network, int], ...]:
    """Return where the proxies of browsers are: BROWSER_PROXY, and those of pools."""
    pools = [settings, *(settings.of_pool(pool) for pool in settings.all_pools)]
    proxies = dict.fromkeys(upstream_proxy(one.browser_proxy) for one in pools if one.browser_proxy)
    found = {(address, proxy.port) for proxy in proxies for address in addresses_of(proxy.host)}
    return tuple(sorted(found, key=str))


def _inbound(settings: Settings) -> Inbound:
    return Inbound((settings.port, *settings.open_ports), tuple(settings.peers), tuple(_services(settings)))


def _services(settings: Settings) -> Iterator[str]:
    """Yield the ports, beside PORT with its inner door, at which this appliance serves the others."""
    if settings.redis_listen:
        yield str(redis_url.split_address(settings.redis_listen)[1])


def described(networks: Iterable[Network]) -> str:
    """Write networks as one would: single addresses without their mask."""
    return ", ".join(str(one[0] if one.num_addresses == 1 else one) for one in networks)
