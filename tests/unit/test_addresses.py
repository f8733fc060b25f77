"""The address by which other appliances reach this one."""

from __future__ import annotations

import socket

import psutil
import pytest

from appliance.errors import SettingsError
from appliance.machine.addresses import address_beside, door_beside_host, private_hostname, reachable_by_others
from appliance.settings import config


def own_addresses() -> set[str]:
    every = (address for addresses in psutil.net_if_addrs().values() for address in addresses)
    return {address.address for address in every if address.family in (socket.AF_INET, socket.AF_INET6)}


@pytest.mark.parametrize(
    ("redis_url", "listen"),
    [
        (None, None),
        (None, "127.0.0.1:6379"),
        ("unix:///run/redis.sock", None),
        ("redis://:secret@localhost:6379/0", None),
        ("redis+sentinel://127.0.0.1:1,127.0.0.1:2/grid/0", None),
    ],
)
def test_it_is_loopback_where_the_redis_is_this_machines_alone(redis_url: str | None, listen: str | None) -> None:
    assert reachable_by_others(redis_url, listen) == "127.0.0.1"


@pytest.mark.parametrize(
    ("redis_url", "listen"),
    [
        ("redis://:p@198.51.100.7:6379", None),
        ("rediss://a-name-that-is-not-looked-up.invalid", None),
        (None, "0.0.0.0:1"),
    ],
)
def test_it_is_an_address_of_this_machine_where_others_may_use_that_redis(
    redis_url: str | None, listen: str | None
) -> None:
    assert reachable_by_others(redis_url, listen) in own_addresses()


def test_a_setting_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVATE_HOSTNAME", "10.1.2.3")
    assert private_hostname(config.load(redis_url="redis://198.51.100.7")) == "10.1.2.3"
    monkeypatch.delenv("PRIVATE_HOSTNAME")
    assert private_hostname(config.load(redis_url="redis://127.0.0.1")) == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "private_hostname", "beside"),
    [
        ("0.0.0.0", "10.0.0.5", ""),
        ("::", "10.0.0.5", ""),
        ("::", "fd00::5", ""),
        ("10.0.0.5", "10.0.0.5", ""),
        ("127.0.0.1", "127.0.0.1", ""),
        ("localhost", "127.0.0.1", ""),
        ("127.0.0.1", "10.0.0.5", "10.0.0.5"),
        ("203.0.113.5", "10.0.0.5", "10.0.0.5"),
        ("0.0.0.0", "fd00::5", "fd00::5"),
    ],
)
def test_the_inner_door_is_open_where_the_others_look_for_it(host: str, private_hostname: str, beside: str) -> None:
    assert address_beside(host, private_hostname) == beside


def test_a_private_hostname_without_an_address_is_told() -> None:
    with pytest.raises(SettingsError, match=r"PRIVATE_HOSTNAME is no-such-name\.invalid, which has no address"):
        address_beside("127.0.0.1", "no-such-name.invalid")


def test_no_second_door_is_opened_where_nobody_would_come() -> None:
    alone = config.load(host="127.0.0.1", private_hostname="10.0.0.5")
    shared = config.load(host="127.0.0.1", private_hostname="10.0.0.5", redis_url="redis://10.0.0.4")
    assert (door_beside_host(alone), door_beside_host(shared)) == ("", "10.0.0.5")
