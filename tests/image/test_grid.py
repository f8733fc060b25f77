"""Two machines, one grid: the second is told nothing but where Redis is, and the token."""

from __future__ import annotations

import json
import socket
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.image import seed
from tests.image.conftest import MakeMachine
from tests.image.machine import BOOT_S, STEP_S, Cable, Machine
from tests.image.session import Client
from tests.waiting import until

TOKEN = "a-token-of-both-machines"
PASSWORD = "a-password-of-redis"
CLIENTS = 3  # of each proxy; one worker serves five at a time, so they need both machines'
HOLD_S = 600.0
BOUND_S = 40.0  # WORKER_TTL, REAPER_RUN_INTERVAL, and twice that for emulation


class Pair(NamedTuple):
    first: Machine
    second: Machine


@pytest.fixture(scope="module")
def pair(make_machine: MakeMachine, folder: Path) -> Pair:
    ports = free_udp_ports()
    cables = Cable(*ports, number=1), Cable(*reversed(ports), number=2)
    serving = {"APPLIANCE_TOKEN": TOKEN, "REDIS_LISTEN": "10.55.0.1:6379", "REDIS_PASSWORD": PASSWORD}
    joining = {"APPLIANCE_TOKEN": TOKEN, "REDIS_URL": f"redis://:{PASSWORD}@10.55.0.1:6379/0"}
    machines = []
    for name, cable, settings in zip(("first", "second"), cables, (serving, joining), strict=True):
        content = {
            "user-data": seed.user_data(folder),
            "meta-data": seed.meta_data(name),
            "network-config": seed.network_config(cable),
            "appliance.env": seed.settings_text(settings),
        }
        drive = seed.make_drive(folder / f"{name}.iso", "cidata", content)
        machines.append(make_machine(name, drives=[drive], cable=cable))
    for machine in machines:
        machine.guest.await_login(BOOT_S)
    pair = Pair(*machines)
    until(lambda: set(workers_by_appliance(pair.first)) == {"first", "second"}, "both have workers", BOOT_S, 2)
    return pair


def free_udp_ports() -> tuple[int, int]:
    """Give two UDP ports of loopback that nobody uses."""
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def workers(machine: Machine) -> list[dict[str, Any]]:
    """Give the grid's available workers as a machine sees them."""
    said = machine.guest.run("applctl status --json", within_s=STEP_S, check=False)
    found = json.loads(said)["workers"] if said else []
    return [worker for worker in found if worker["status"] == "available"]


def workers_by_appliance(machine: Machine) -> Counter[str]:
    return Counter(worker["appliance"] for worker in workers(machine))


def active_by_appliance(machine: Machine) -> Counter[str]:
    active: Counter[str] = Counter()
    for worker in workers(machine):
        active[worker["appliance"]] += worker["active"]
    return active


def sessions_across(machine: Machine) -> int:
    """Count the sessions that go through this machine's proxy to a worker of the other."""
    sessions = json.loads(machine.guest.run("applctl sessions list --json", within_s=STEP_S))
    own = {worker["id"] for worker in workers(machine) if worker["appliance"] == machine.folder.name}
    through_own = [session for session in sessions if session["proxy"].startswith(machine.folder.name)]
    return sum(session["worker"] not in own for session in through_own)


def clients_of(machine: Machine) -> list[Client]:
    clients = [Client(machine.endpoint, TOKEN, hold_s=HOLD_S) for _ in range(CLIENTS)]
    for client in clients:
        client.saw()
    return clients


def test_a_machine_that_is_switched_off_takes_only_its_own_sessions_with_it(pair: Pair) -> None:
    through_first, through_second = clients_of(pair.first), clients_of(pair.second)
    active = active_by_appliance(pair.first)
    assert active.total() == 2 * CLIENTS
    assert active["first"] > 0
    assert active["second"] > 0, "sessions land on both machines"
    lost = sessions_across(pair.first)

    pair.second.pull_the_plug()

    until(lambda: set(workers_by_appliance(pair.first)) == {"first"}, "its slots are gone", BOUND_S, 1)
    until(lambda: active_by_appliance(pair.first)["first"] == CLIENTS - lost, "only the others are left", BOUND_S, 1)
    assert all(client.end() for client in through_second)
    failed = [said for client in through_first if client.has_ended and (said := client.end())]
    assert len(failed) == lost
    assert all("second" in said or "worker" in said for said in failed), failed
    for client in through_first:
        client.kill()


def test_it_comes_back_and_serves(pair: Pair) -> None:
    pair.second.start()
    until(lambda: set(workers_by_appliance(pair.first)) == {"first", "second"}, "it is back", BOOT_S, 2)
    client = Client(pair.second.endpoint, TOKEN)
    client.saw()
    assert client.end() == ""
