"""How another appliance's door is reached: by which of its addresses, and with how many lines."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import gevent
import gevent.socket
import pytest

from appliance.errors import Blame, DialFailed
from appliance.grid.values import Door, Grant
from appliance.settings import config
from proxy.door import dialling
from proxy.door.dialling import SPARES_MAX, Neighbours

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


THERE = Grant("s", "there.chromium-00.x", "chromium-00", "there", 0)


class Announced:
    """Appliances that have all announced the same door."""

    def __init__(self, address: str, port: int | str, certificate: str = "") -> None:
        self._door = address, port, certificate

    def door(self, _: str) -> Door:
        address, port, certificate = self._door
        return Door(address, int(port), certificate)


class Secured:
    """A connection over TLS to what has a certificate of its own."""

    certificate = "ab" * 32

    def __init__(self, connection: socket.socket) -> None:
        self.close = connection.close


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HERE, 0)) as server:
        yield server


@pytest.fixture
def neighbours(settings_file: object) -> Neighbours:
    settings = config.load(appliance_name="here", private_hostname=HERE)
    return Neighbours(settings, Announced(HERE, 8080), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_silent", [False, True])
def test_an_address_that_does_not_accept_costs_no_other_its_turn(
    listener: socket.socket, is_silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "socket", gevent.socket)
    monkeypatch.setattr(dialling, "REACH_TIMEOUT_S", 10.0)
    port = listener.getsockname()[1]
    with ExitStack() as opened, gevent.Timeout(9):
        if is_silent:
            crowded = opened.enter_context(socket.create_server((ELSEWHERE, port), backlog=0))
            opened.enter_context(socket.create_connection(crowded.getsockname()))
        addresses = [ipaddress.ip_address(address) for address in (ELSEWHERE, HERE)]
        connection = opened.enter_context(dialling._connect_to_one(list(addresses), port))
        assert connection.getpeername() == (HERE, port)


@pytest.mark.parametrize(
    "door",
    [
        ("2001:db8::5", 8080),  # documentation's, which Linux has no address for where IPv6 is disabled
        (HERE, 65536),
        (HERE, -1),
        (HERE, "any"),
    ],
)
def test_a_place_that_cannot_be_dialled_is_the_paths_trouble(
    neighbours: Neighbours, door: tuple[str, int | str]
) -> None:
    neighbours._places._grid = Announced(*door)  # type: ignore[assignment]
    with pytest.raises(DialFailed) as failed:
        neighbours.dial((), THERE)
    assert failed.value.blame is Blame.PATH


def test_a_certificate_that_is_none_is_the_paths_trouble(
    neighbours: Neighbours, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.tls.secure_dialled", Secured)
    neighbours._places._grid = Announced(HERE, listener.getsockname()[1], "é")  # type: ignore[assignment]
    with pytest.raises(DialFailed) as failed:
        neighbours.dial((), THERE)
    assert failed.value.blame is Blame.PATH


def test_spare_lines_that_are_being_opened_count(neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def open_slowly(appliance: str) -> None:
        begun.append(appliance)
        gevent.sleep(60)

    monkeypatch.setattr(neighbours, "_open", open_slowly)
    openings = [gevent.spawn(neighbours._make_spare, "there") for _ in range(5 * SPARES_MAX)]
    gevent.idle()
    gevent.killall(openings)
    assert len(begun) == SPARES_MAX
    assert not any(neighbours._spares_to_come.values())
