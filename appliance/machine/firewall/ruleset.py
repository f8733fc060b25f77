"""The firewall's rules as text for `nft -f`. Pure: values in, text out.

Rules for what the browsers' group sends; the first that matches decides
 1. Packets of connections that were let through, or that were made to browsers, pass.
 2. So do questions to the machine's name resolvers, at port 53, and connections to BROWSER_PROXY.
 3. All addresses of this machine are refused, and so are broadcast and multicast.
 4. Clouds' metadata is refused, even where EGRESS_PRIVATE allows its network; so are tunnels (images.py).
 5. The grid's other appliances and its Redis are refused, too.
 6. Networks in EGRESS_PRIVATE pass. Other private networks, and networks that the machine is directly connected to, are
    refused. All else passes.
A rule for an IPv4 network holds for its images behind a NAT64, too. A refused page gets an answer at once, so that it
waits for no time-out.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from appliance.machine.firewall.images import TUNNELS, WELL_KNOWN, images
from appliance.settings.accounts import PRIVATE
from appliance.settings.networks import HELPERS, METADATA, Network

TABLE = "inet appliance"
MARK = "settings "  # begins the comment that identifies the text from which the rules were loaded

# Single addresses among METADATA: under a NAT64 prefix that is unknown here they are known by their last 32 bits.
_METADATA_HOSTS = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200")
_METADATA_HOSTS_AS_NUMBERS = tuple(hex(int(ipaddress.IPv4Address(one))) for one in _METADATA_HOSTS)
_REFUSE = ("meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited")
_ICMP = "echo-request, destination-unreachable, time-exceeded, parameter-problem"
_ICMP_6 = f"{_ICMP}, packet-too-big, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query"


@dataclass(frozen=True, slots=True)
class Inbound:
    """What may come from outside: `public_ports` from anywhere, `peer_ports` ("7000" or "7000-7999") from peers."""

    public_ports: tuple[int, ...]
    peers: tuple[Network, ...] = ()
    peer_ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Values:
    """What the rules are made of; `grid` are the other appliances and Redis, `inbound` None if all may come.

    `connected` are networks of neighbours, `proxies` the addresses of BROWSER_PROXY with its port, and `nat64` the
    prefixes under which IPv4 is shown as IPv6.
    """

    browser_group: int
    resolvers: tuple[Network, ...] = ()
    grid: tuple[Network, ...] = ()
    allowed: tuple[Network, ...] = ()
    inbound: Inbound | None = None
    connected: tuple[Network, ...] = ()
    proxies: tuple[tuple[Network, int], ...] = ()
    nat64: tuple[ipaddress.IPv6Network, ...] = (WELL_KNOWN,)


def ruleset(values: Values) -> str:
    """Return the text, which replaces the table in one step."""
    chains = [_chain("refuse", _REFUSE), _chain("browsers", _browsers(values))]
    if values.inbound:
        chains.append(_chain("input", _input(values.inbound)))
    digest = hashlib.sha256(f"{values.browser_group} {chains}".encode()).hexdigest()[:16]
    entry = f'meta skgid {values.browser_group} jump browsers comment "{MARK}{digest}"'
    hook = "type filter hook output priority filter; policy accept;"
    answer = f"ip saddr {HELPERS} tcp flags & (syn | ack) == syn | ack"
    own, others = f"{answer} meta skgid {values.browser_group} accept", f"{answer} drop"
    chains.append(_chain("output", (hook, own, others, entry)))
    return f"{removal()}table {TABLE} {{\n{''.join(chains)}}}\n"


def removal() -> str:
    """Return the text that removes the table, whether it is there or not."""
    return f"table {TABLE}\ndelete table {TABLE}\n"


def mark_of(text: str) -> str:
    """Return the mark in a text of rules, or in what nft lists of them; "" if there is none."""
    _, found, rest = text.partition(f'"{MARK}')
    return rest.partition('"')[0] if found else ""


def outline_of(text: str) -> Counter[str]:
    """Count the rules of each chain in a text of rules, or in what nft lists of them, which words them otherwise.

    What makes a chain be asked at all, and switches a table off, is worded alike (nft(8), "type" and "flags").
    """
    counts: Counter[str] = Counter()
    chain = ""
    for line in map(str.strip, text.rpartition(f"table {TABLE} {{\n")[2].splitlines()):
        if line.startswith("chain "):
            chain = line
        elif line.startswith(("type ", "flags ")):
            counts[f"{chain} {line}"] += 1
        elif line not in ("", "}"):
            counts[chain] += 1
    return counts


def _browsers(values: Values) -> Iterator[str]:
    yield "ct state established,related accept"
    for protocol in ("udp", "tcp"):
        yield from _for("daddr", values.resolvers, f"{protocol} dport 53 accept")
    for address, port in values.proxies:
        yield from _for("daddr", (address,), f"tcp dport {port} accept")
    yield f"ip daddr {HELPERS} tcp dport 1024-65535 accept"
    yield "fib daddr type { local, broadcast, anycast, multicast } goto refuse"
    yield from _for("daddr", (*METADATA, *images(METADATA, values.nat64), *TUNNELS), "goto refuse")
    yield f"meta nfproto ipv6 @nh,288,32 {{ {', '.join(_METADATA_HOSTS_AS_NUMBERS)} }} goto refuse"
    yield from _for("daddr", (*values.grid, *images(values.grid, values.nat64)), "goto refuse")
    refused = (*PRIVATE, *values.connected)
    # images first: a NAT64's prefix may itself be private, and allowed
    for allowed, others in (
        (images(values.allowed, values.nat64), images(refused, values.nat64)),
        (values.allowed, refused),
    ):
        yield from _for("daddr", allowed, "accept")
        yield from _for("daddr", others, "goto refuse")


def _input(inbound: Inbound) -> Iterator[str]:
    yield "type filter hook input priority filter; policy drop;"
    yield "ct state established,related accept"
    yield 'iifname "lo" accept'
    yield f"icmp type {{ {_ICMP} }} accept"
    yield f"icmpv6 type {{ {_ICMP_6} }} accept"
    yield "udp dport 68 accept"  # DHCP
    yield "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept"  # and DHCPv6
    yield f"tcp dport {{ {', '.join(map(str, sorted(set(inbound.public_ports))))} }} accept"
    for ports in inbound.peer_ports:
        yield from _for("saddr", inbound.peers, f"tcp dport {ports} accept")


def _for(side: str, networks: Iterable[Network], verdict: str) -> Iterator[str]:
    """Write a rule for each kind of address that is among the networks; nft takes no overlaps, and no empty set."""
    for family, version in (("ip", 4), ("ip6", 6)):
        found = [one for one in networks if one.version == version]
        if found:
            text = ", ".join(map(str, ipaddress.collapse_addresses(found)))  # type: ignore[type-var]
            yield f"{family} {side} {{ {text} }} {verdict}"


def _chain(name: str, rules: Iterable[str]) -> str:
    lines = "".join(f"    {rule}\n" for rule in rules)
    return f"  chain {name} {{\n{lines}  }}\n"
