"""Networks as a NAT64 shows them, and those that a machine is connected to."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.machine.firewall import names, routes, ruleset, values_of
from appliance.machine.firewall.images import image, images, prefix_of
from appliance.settings import config
from appliance.settings.networks import networks

BOTH = {"service_user": "daemon", "browser_user": "nobody"}  # two accounts that every Debian has
PREFIXES = [  # RFC 6052, section 2.4, whose address is 192.0.2.33
    ("2001:db8::/32", "2001:db8:c000:221::"),
    ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
    ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
    ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
    ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
    ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
    ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
]


@pytest.mark.parametrize(("prefix", "address"), PREFIXES)
def test_an_address_has_the_image_that_the_standard_gives_it(prefix: str, address: str) -> None:
    assert image(IPv4Network("192.0.2.33"), IPv6Network(prefix)).network_address == IPv6Address(address)


@given(st.sampled_from(PREFIXES), st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_the_image_of_a_network_holds_the_images_of_its_addresses_and_no_others(
    known: tuple[str, str], number: int, length: int
) -> None:
    prefix, network = IPv6Network(known[0]), IPv4Network((number, length), strict=False)
    shown = image(network, prefix)
    for address in (network[0], network[-1]):
        assert image(IPv4Network(address), prefix).subnet_of(shown)
    for other in (int(network[0]) - 1, int(network[-1]) + 1):
        if 0 <= other < 2**32:
            assert not image(IPv4Network(other), prefix).subnet_of(shown)


@pytest.mark.parametrize("prefix", [prefix for prefix, _ in PREFIXES])
def test_the_prefix_of_a_network_is_found_by_the_name_that_has_only_ipv4(prefix: str) -> None:
    shown = image(IPv4Network("192.0.0.171"), IPv6Network(prefix)).network_address
    assert prefix_of(shown) == IPv6Network(prefix)
    assert prefix_of(IPv6Address("2001:db8::5")) is None


def test_only_networks_of_ipv4_have_images() -> None:
    assert images(networks("fd00::/8"), [IPv6Network("64:ff9b::/96")]) == []


def test_a_name_that_leads_nowhere_now_keeps_the_addresses_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_known", {})
    assert {str(one) for one in names.addresses_of("localhost")} & {"127.0.0.1/32", "::1/128"}
    before = names.addresses_of("localhost")

    def fail(*_: object, **__: object) -> None:
        raise names.socket.gaierror("the resolver is away")

    monkeypatch.setattr(names.socket, "getaddrinfo", fail)
    assert names.addresses_of("localhost") == before
    assert names.addresses_of("never.heard.of") == frozenset()
    assert names.addresses_of("10.0.0.1") == {ipaddress.IPv4Network("10.0.0.1")}


ROUTES = """Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	016433C6	0003	0	0	0	00000000	0	0	0
eth0	006433C6	00000000	0001	0	0	0	00FFFFFF	0	0	0
tun0	00000000	00000000	0001	0	0	0	00000080	0	0	0
docker0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
eth0	097100CB	016433C6	0007	0	0	0	FFFFFFFF	0	0	0
"""
ROUTES_6 = """\
20010db8000100000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0
20010db8000200000000000000000000 40 {zero} 00 fe800000000000000000000000000001 00000100 00000001 00000000 00000003 eth0
20000000000000000000000000000000 03 {zero} 00 {zero} 00000100 00000001 00000000 00000001     tun0
20010db8000100000000000000000002 80 {zero} 00 {zero} 00000000 00000001 00000000 80200001     eth0
fe800000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0
ff000000000000000000000000000000 08 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0
""".replace("{zero}", 32 * "0")


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide the kernel's tables of a machine with a public network, bridges of containers and a VPN."""
    for attribute, text in (("_IPV4", ROUTES), ("_IPV6", ROUTES_6)):
        (tmp_path / attribute).write_text(text)
        monkeypatch.setattr(routes, attribute, tmp_path / attribute)
    monkeypatch.setattr("psutil.net_if_addrs", dict)
    return tmp_path


def test_neighbours_are_those_that_no_gateway_leads_to(tables: Path) -> None:
    assert set(map(str, routes.connected())) == {
        *("198.51.100.0/24", "172.17.0.0/16"),
        *("2001:db8:1::/64", "fe80::/64"),
    }
    (tables / "_IPV6").unlink()
    assert set(map(str, routes.connected())) == {"198.51.100.0/24", "172.17.0.0/16"}


def test_neighbours_are_refused_unless_the_settings_allow_them(tables: Path) -> None:
    values = values_of(config.load(**BOTH, egress_private="198.51.100.7"))
    assert list(map(str, values.connected)) == ["198.51.100.0/24", "2001:db8:1::/64"]
    rules = ruleset(values)
    assert rules.index("198.51.100.7/32 } accept") < rules.index("198.51.100.0/24")
    assert "64:ff9b::c633:6400/120" in rules
    assert not values_of(config.load(**BOTH, egress_private="all")).connected


def test_a_private_prefix_that_is_allowed_shows_no_private_network(tables: Path) -> None:
    settings = config.load(**BOTH, egress_private="64:ff9b:1::/48")
    values = values_of(settings)
    rules = ruleset(values.__class__(1, allowed=values.allowed, nat64=(IPv6Network("64:ff9b:1::/96"),)))
    assert rules.index("64:ff9b:1::a00:0/104") < rules.index("64:ff9b:1::/48 } accept")


def test_pages_reach_the_proxy_of_the_settings_at_its_port_alone(tables: Path) -> None:
    rules = ruleset(values_of(config.load(**BOTH, browser_proxy="http://10.2.3.4:3128")))
    assert "ip daddr { 10.2.3.4/32 } tcp dport 3128 accept" in rules
