"""The firewall on the image: pages reach what is outside, and nothing of the machine, its network or its cloud."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.image.machine import SITE, TOKEN, Machine
from tests.image.session import Saw, use

# A cloud beside the machine, with metadata, another machine of a private network, and a way to the internet; a listener
# at each.
MAKE_CLOUD = """
ip netns add cloud
ip link add to-cloud type veth peer name in-cloud netns cloud
ip address add 10.99.0.2/24 dev to-cloud
ip link set to-cloud up
ip route add 169.254.169.254 dev to-cloud
ip route add 198.51.100.7 via 10.99.0.1
ip -n cloud address add 10.99.0.1/24 dev in-cloud
ip -n cloud address add 169.254.169.254/32 dev in-cloud
ip -n cloud address add 198.51.100.7/32 dev in-cloud
ip -n cloud link set in-cloud up
systemd-run --quiet --unit cloud ip netns exec cloud python3 -m http.server 80 --directory /usr/share/fonts
"""
METADATA, NEIGHBOUR = "http://169.254.169.254/", "http://10.99.0.1/"
INTERNET = "http://198.51.100.7/"  # for documentation (RFC 5737)
REDIS, ENDPOINT = "http://127.0.0.1:6399/", "http://127.0.0.1:8080/healthz"


@pytest.fixture(scope="module")
def inside(seeded: Machine) -> Iterator[list[str]]:
    """Make what pages must not reach, and see that root does: addresses of metadata, Redis, the API, workers."""
    seeded.run(MAKE_CLOUD)
    seeded.run("systemd-run --quiet --unit redis-tcp redis-server --port 6399 --save ''")
    urls = [
        METADATA,
        NEIGHBOUR,
        ENDPOINT,
        "http://203.0.113.15:8080/healthz",
        "http://203.0.113.15:22/",
    ]
    for url in urls:
        seeded.run(
            f"curl -s --http0.9 --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null -m 60 {url}; test $? != 7"
        )
    seeded.run("until redis-cli -p 6399 ping; do :; done")
    yield [*urls, REDIS]
    seeded.run("systemctl stop cloud redis-tcp; ip link delete to-cloud; ip netns delete cloud")


@pytest.fixture(scope="module")
def saw(seeded: Machine, inside: list[str]) -> Saw:
    return use(seeded.endpoint, TOKEN, SITE, INTERNET, *inside, site=SITE)


def test_a_page_reaches_what_is_outside_and_nothing_inside(saw: Saw) -> None:
    assert saw.title == "A page outside"
    assert [url for url, result in saw.fetched.items() if result == "reached"] == [SITE, INTERNET]


def test_a_sessions_own_requests_reach_what_is_outside_and_nothing_inside(saw: Saw) -> None:
    assert [url for url, result in saw.requested.items() if result == "reached"] == [SITE, INTERNET]
    refused = [result for result in saw.requested.values() if result != "reached"]
    assert all("ECONNREFUSED" in result for result in refused), "refused at once, not left to wait"


def test_redis_and_supervisord_have_unix_sockets_that_browsers_cannot_open(seeded: Machine) -> None:
    for socket in ("redis.sock", "log/supervisor.sock"):
        script = f"import socket; socket.socket(socket.AF_UNIX).connect('/var/lib/playwright-appliance/{socket}')"
        said = seeded.run(
            f'setpriv --reuid browser --regid browser --clear-groups python3 -c "{script}" 2>&1', check=False
        )
        assert "PermissionError" in said


def test_the_firewall_is_loaded_and_other_tables_are_left_alone(seeded: Machine) -> None:
    assert re.findall(r"table (\S+ \S+)", seeded.run("nft list tables")) == ["inet appliance"]
