"""Which announced addresses are dialled at all."""

from __future__ import annotations

import socket

import pytest

from appliance.errors import Blame, DialFailed
from appliance.grid.values import Door
from appliance.settings.networks import networks
from proxy.door.places import addresses_of


def dialled(address: str, peers: str = "", allow_loopback: bool = False) -> str:
    return " ".join(map(str, addresses_of(Door(address, 8080, ""), networks(peers), allow_loopback)))


@pytest.mark.parametrize("address", ["10.0.0.12", "192.168.1.1", "203.0.113.5", "fd09::2", "2001:db8::5"])
def test_an_appliance_may_be_at_any_ordinary_address(address: str) -> None:
    assert dialled(address) == address


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "fd00:ec2::254"),
        *("168.63.129.16", "100.100.100.200", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
        *("0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1"),
        *("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "localhost"),
    ],
)
def test_no_appliance_is_looked_for_where_none_can_be(address: str) -> None:
    with pytest.raises(DialFailed) as failed:
        dialled(address)
    assert failed.value.blame is Blame.PATH


def test_appliances_of_one_machine_find_each_other_on_loopback() -> None:
    assert dialled("127.0.0.1", allow_loopback=True) == "127.0.0.1"
    assert dialled("::1", allow_loopback=True) == "::1"
    with pytest.raises(DialFailed):
        dialled("169.254.169.254", allow_loopback=True)


def test_where_peers_are_named_nothing_else_is_dialled() -> None:
    assert dialled("10.0.0.12", "10.0.0.0/24, fd09::/64") == "10.0.0.12"
    assert dialled("fd09::2", "10.0.0.0/24, fd09::/64") == "fd09::2"
    for elsewhere in ("10.0.1.12", "203.0.113.5", "2001:db8::5"):
        with pytest.raises(DialFailed, match="not in PEERS"):
            dialled(elsewhere, "10.0.0.0/24, fd09::/64")


@pytest.mark.parametrize("name", ["", "a" * 70, "no such name", "../../redis", "no-such-name.invalid"])
def test_a_name_without_an_address_is_not_dialled(name: str) -> None:
    with pytest.raises(DialFailed, match="has no address"):
        dialled(name)


def test_a_name_is_judged_by_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "grid-2": ["10.0.0.12"],
        "grid-3": ["fd09::3", "169.254.169.254", "10.0.0.13"],
        "evil": ["169.254.169.254"],
    }

    def look_up(name: str, *_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in answers[name]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert dialled("grid-2") == "10.0.0.12"
    assert dialled("grid-3") == "fd09::3 10.0.0.13"
    assert dialled("grid-3", "10.0.0.0/24") == "10.0.0.13"
    with pytest.raises(DialFailed, match="no appliance can be at"):
        dialled("evil")


def test_a_name_that_no_thread_can_be_had_to_look_up_is_not_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(DialFailed, match="can't start new thread") as failed:
        dialled("grid-2")
    assert failed.value.blame is Blame.PATH
