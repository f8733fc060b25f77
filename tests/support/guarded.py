"""An appliance under its guard, on a machine of its own, for tests that look at it from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support import machine as places
from tests.support.appliance import Appliance
from tests.support.looks import command_of
from tests.support.machine import Machine
from tests.support.network import ip

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make accounts, networks and rules for them")

CLIENTS = Path(__file__).parents[1] / "system" / "clients"
REACHING = CLIENTS / "reaching_client.py"
REFUSED = ["Page.goto: net::ERR_CONNECTION_REFUSED", "connect ECONNREFUSED"]
PEER, FURTHER = "10.9.0.3", "10.9.0.4"  # more addresses outside


@pytest.fixture(scope="module")
def accounts() -> Iterator[dict[str, str]]:
    """Make the two accounts; returns the settings that name them."""
    names = {"SERVICE_USER": f"service-{os.getpid()}", "BROWSER_USER": f"browser-{os.getpid()}"}
    with ExitStack() as ends:
        for name in names.values():
            subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", name], check=True)
            ends.callback(subprocess.run, ["userdel", name], check=True)
        yield names


@contextmanager
def one_machine() -> Iterator[Machine]:
    """Make a machine, and the further addresses outside."""
    machine = Machine()
    try:
        for address in (PEER, FURTHER):
            ip(f"-n {machine.outside_name} address add {address}/24 dev eth0")
        yield machine
    finally:
        machine.remove()


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """Make the machine of `grid`."""
    with one_machine() as machine:
        yield machine


@contextmanager
def running(machine: Machine, accounts: dict[str, str], **settings: object) -> Iterator[Appliance]:
    """Run an appliance on the machine, for everybody outside."""
    open_to_all = {"HOST": "0.0.0.0", "ALLOW_ANONYMOUS": "true", "MAX_LIFETIME_SESSIONS": 0}
    with Appliance(inside=machine.inside(), **open_to_all, **accounts, **settings) as grid:
        yield grid


@pytest.fixture(scope="module")
def grid(machine: Machine, accounts: dict[str, str]) -> Iterator[Appliance]:
    """Provide an appliance with a Redis of its own, and one peer."""
    with running(
        machine, accounts, PRIVATE_HOSTNAME=places.ADDRESS, PEERS=PEER, APPLIANCE_TOKEN="of-the-guards-test"
    ) as grid:
        yield grid


def reached(machine: Machine, grid: Appliance, urls: list[str], within_s: float = 20.0) -> dict[str, list[str]]:
    """Open a session from outside; returns what its page, and its client's requests, met at each URL within a time."""
    endpoint = f"ws://{places.ADDRESS}:{grid.port}"
    command = machine.outside(sys.executable, str(REACHING), endpoint, str(int(within_s * 1000)), *urls)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def assert_refused(found: dict[str, list[str]], urls: list[str]) -> None:
    for url in urls:
        page, request = found[url]
        assert page == REFUSED[0], url
        assert REFUSED[1] in request, url


@contextmanager
def unattended(grid: Appliance) -> Iterator[None]:
    """Let nobody look after the rules meanwhile."""
    (keeper,) = [one for one in grid.processes() if "appliance.machine.firewall.keeper" in command_of(one)]
    keeper.suspend()
    try:
        yield
    finally:
        keeper.resume()


def is_loaded(machine: Machine) -> bool:
    command = machine.inside("nft", "list", "table", "inet", "appliance")
    return not subprocess.run(command, capture_output=True, check=False).returncode
