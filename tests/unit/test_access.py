"""The client's address is believed only from trusted proxies, and web pages are kept out."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from appliance.request_errors import ForeignHost, ForeignOrigin
from proxy.access import client_address, given_by_cookie, refuse_foreign_host, refuse_foreign_origin

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("1.2.3.4", "", "1.2.3.4"),
        ("1.2.3.4", "5.6.7.8", "1.2.3.4"),  # not from a trusted proxy
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "5.6.7.8", "5.6.7.8"),
        ("10.0.0.1", "9.9.9.9, 5.6.7.8", "5.6.7.8"),  # the client made the first one up
        ("10.0.0.1", "9.9.9.9, 5.6.7.8,10.0.0.2", "5.6.7.8"),  # two trusted proxies in a row
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "5.6.7.8, nonsense", "10.0.0.1"),
        ("10.0.0.1", "5.6.7.8:4711", "5.6.7.8"),
        ("fd00::1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("fd00::1", "2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "5.6.7.8", "5.6.7.8"),  # as a listener on "::" sees it
        ("::ffff:1.2.3.4", "", "1.2.3.4"),
    ],
)
def test_the_address_is_the_last_one_that_no_trusted_proxy_has(peer: str, forwarded: str, client: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == client


@pytest.mark.parametrize("origin", ["https://example.org", "http://localhost:8080", "null"])
def test_whatever_carries_an_origin_is_refused(origin: str) -> None:
    with pytest.raises(ForeignOrigin):
        refuse_foreign_origin({"origin": origin, "host": "localhost:8080"}, "/")
    refuse_foreign_origin({"host": "localhost"}, "/")


@pytest.mark.parametrize("path", ["/api/v1/sessions", "/dashboard", "/dashboard/live"])
def test_operators_pages_are_open_to_pages_of_the_same_host_and_port_alone(path: str) -> None:
    for origin, host in (
        ("http://localhost:8080", "localhost:8080"),
        ("https://Grid.corp.org", "grid.corp.org"),  # a load balancer has the certificate
        ("https://grid.corp.org", "grid.corp.org:443"),
        ("http://[::1]:8080", "[::1]:8080"),
    ):
        refuse_foreign_origin({"origin": origin, "host": host}, path)
        with pytest.raises(ForeignOrigin):
            refuse_foreign_origin({"origin": origin, "host": host}, f"/other{path}")
    for origin in ("http://localhost:8081", "http://localhost", "https://localhost:8080.evil.org", "null", "http://"):
        with pytest.raises(ForeignOrigin):
            refuse_foreign_origin({"origin": origin, "host": "localhost:8080"}, path)
    with pytest.raises(ForeignOrigin):
        refuse_foreign_origin({"origin": "http://"}, path)


@pytest.mark.parametrize(
    ("header", "tokens"),
    [
        ("appliance_token=a+b/c==", ["a+b/c=="]),
        ('theme=dark; "broken; appliance_token=T', ["T"]),
        ("appliance_token=; x=T", []),
        ("", []),
    ],
)
def test_the_dashboards_cookie_holds_its_token(header: str, tokens: list[str]) -> None:
    assert given_by_cookie(header) == tokens


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "127.0.0.1:80",
        "[::1]:8080",
        "10.1.2.3",
        "appliance:8080",
        "Grid.Corp.org.:80",
        "",
    ],
)
def test_the_pages_are_shown_under_names_that_no_stranger_can_have(host: str) -> None:
    refuse_foreign_host({"host": host}, {"grid.corp.org"})


@pytest.mark.parametrize(
    "host", ["evil.org", "localhost.evil.org:8080", "127.0.0.1.evil.org", "x.grid.corp.org", "1.2"]
)
def test_the_pages_are_not_shown_under_a_strangers_name(host: str) -> None:
    with pytest.raises(ForeignHost):
        refuse_foreign_host({"host": host}, {"grid.corp.org"})
    refuse_foreign_host({"host": host}, {"*"})
