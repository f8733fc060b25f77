"""A client that vanishes without a word: nobody tells the proxy, which finds out by its pings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.appliance import StartGrid
from tests.support.network import Switch, inside
from tests.support.programs import require
from tests.support.relay import relay_to
from tests.support.waiting import until

CLIENT = Path(__file__).parent / "clients" / "waiting_client.py"


@pytest.fixture
def switch() -> Iterator[Switch]:
    if os.geteuid() != 0:
        pytest.skip("only root can make a network whose cable can be pulled")
    require("ip", "iproute2")
    switch = Switch()
    yield switch
    switch.remove()


def test_a_client_whose_cable_is_pulled_behind_a_load_balancer_gives_its_slot_back(
    start_grid: StartGrid, switch: Switch
) -> None:
    grid = start_grid(PING_INTERVAL=0.5, PING_TIMEOUT=2)
    namespace, address = switch.plug(2), switch.address(1)
    with relay_to(grid.port, address) as load_balancer:
        command = [*inside(namespace), sys.executable, str(CLIENT), f"ws://{address}:{load_balancer.port}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout
            assert client.stdout.readline() == "connected\n"
            switch.pull(2)
            until(lambda: not grid.state.sessions(), "the slot is free")
            client.kill()
    (ended,) = [event for event in grid.state.events() if event["event"] == "session.ended"]
    assert ended["reason"] == "client stopped answering"
