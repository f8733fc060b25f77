"""Two machines, one grid: the second is told nothing but where Redis is, and the token.

Between them they also are what the others are not: the first speaks TLS with a certificate from its drive, the second
is booted by UEFI and has a larger disk.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.image import seed
from tests.image.machine import BOOT_S, Cable, Machine, MakeMachine
from tests.image.session import Client
from tests.support.certificates import Authority
from tests.support.waiting import until

TOKEN = "a-token-of-both-machines"
PASSWORD = "a-password-of-redis"
CLIENTS = 3  # of each proxy; one worker serves five at a time, so they need both machines'
HOLD_S = 600.0
DISK_GIB = 24  # the image's own has 8
UEFI = Path("/usr/share/ovmf/OVMF.fd")
BOUND_S = 40.0  # WORKER_TTL, REAPER_RUN_INTERVAL, and twice that for emulation


class Given(NamedTuple):
    """What one machine is given, on its drive and as its hardware."""

    name: str
    cable: Cable
    settings: dict[str, object]
    files: dict[str, str]
    options: dict[str, object]


class Pair(NamedTuple):
    first: Machine
    second: Machine


@pytest.fixture(scope="module")
def pair(make_machine: MakeMachine, folder: Path) -> Pair:
    authority = Authority(folder)
    issued = authority.issue("grid")
    pems = {"certificate.pem": issued.certificate.read_text(), "key.pem": issued.key.read_text()}
    ports = free_udp_ports()
    cables = Cable(*ports, number=1), Cable(*reversed(ports), number=2)
    serving = {
        "APPLIANCE_TOKEN": TOKEN,
        "REDIS_LISTEN": "10.55.0.1:6379",
        "REDIS_PASSWORD": PASSWORD,
        "TLS_CERT": "/etc/playwright-appliance/certificate.pem",
        "TLS_KEY": "/etc/playwright-appliance/key.pem",
    }
    joining = {"APPLIANCE_TOKEN": TOKEN, "REDIS_URL": f"redis://:{PASSWORD}@10.55.0.1:6379/0"}
    first = Given("first", cables[0], serving, pems, {"authority": authority.file})
    second = Given("second", cables[1], joining, {}, {"firmware": UEFI, "disk_gib": DISK_GIB})
    machines = []
    for name, cable, settings, files, options in (first, second):
        content = {
            **files,
            "user-data": seed.user_data(folder),
            "meta-data": seed.meta_data(name),
            "network-config": seed.network_config(cable),
            "appliance.env": seed.settings_text(settings),
        }
        drive = seed.make_drive(folder / f"{name}.iso", "cidata", content)
        machines.append(make_machine(name, drives=[drive], cable=cable, **options))
    for machine in machines:
        machine.guest.await_login(BOOT_S)
    pair = Pair(*machines)
    until(lambda: with_workers(pair.first) == {"first", "second"}, "both have workers", BOOT_S, 5)
    return pair


def free_udp_ports() -> tuple[int, int]:
    """Return two UDP ports of loopback that nobody uses."""
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def appliances(machine: Machine, count: str) -> dict[str, int]:
    """Return what the grid says of its appliances, as a machine sees it: a count of each that is not 0."""
    said = json.loads(machine.run("applctl appliances --json"))
    return {one["name"]: one[count] for one in said if one[count]}


def with_workers(machine: Machine) -> set[str]:
    """Name the appliances that have available workers; none is known before the grid's Redis runs."""
    said = json.loads(machine.run("applctl appliances --json", check=False) or "[]")
    return {one["name"] for one in said if one["workers"]["available"]} if isinstance(said, list) else set()


def sessions_across(machine: Machine) -> int:
    """Count the sessions that go through this machine's proxy to a worker of the other."""
    name = f"{machine.folder.name}."
    sessions = json.loads(machine.run("applctl sessions list --json"))
    return sum(session["proxy"].startswith(name) and not session["worker"].startswith(name) for session in sessions)


def clients_of(machine: Machine) -> list[Client]:
    clients = [Client(machine.endpoint, TOKEN, hold_s=HOLD_S, authority=machine.authority) for _ in range(CLIENTS)]
    for client in clients:
        client.saw()
    return clients


def test_a_machine_boots_by_uefi_and_grows_into_its_disk(pair: Pair) -> None:
    assert pair.second.run("test -d /sys/firmware/efi && echo UEFI") == "UEFI"
    assert int(pair.second.run("df --output=size -BG / | tail -n 1").rstrip("G")) >= DISK_GIB - 2


def test_a_machine_that_is_switched_off_takes_only_its_own_sessions_with_it(pair: Pair) -> None:
    through_first, through_second = clients_of(pair.first), clients_of(pair.second)
    assert appliances(pair.first, "in_proxy") == {"first": CLIENTS, "second": CLIENTS}
    active = appliances(pair.second, "on_workers")
    assert set(active) == {"first", "second"}, "sessions land on both machines"
    assert sum(active.values()) == 2 * CLIENTS
    lost = sessions_across(pair.first)

    pair.second.pull_the_plug()

    until(lambda: with_workers(pair.first) == {"first"}, "its slots are gone", BOUND_S, 1)
    left = CLIENTS - lost
    until(
        lambda: appliances(pair.first, "on_workers").get("first", 0) == left, "only its sessions are left", BOUND_S, 1
    )
    assert all(client.end() for client in through_second)
    until(lambda: sum(client.has_ended for client in through_first) == lost, "their clients are told", BOUND_S)
    failed = [client.end() for client in through_first if client.has_ended]
    assert all("worker" in said for said in failed), failed
    for client in through_first:
        client.kill()


def test_it_comes_back_and_serves(pair: Pair) -> None:
    pair.second.start()
    until(lambda: with_workers(pair.first) == {"first", "second"}, "it is back", BOOT_S, 5)
    client = Client(pair.second.endpoint, TOKEN)
    client.saw()
    assert client.end() == ""
