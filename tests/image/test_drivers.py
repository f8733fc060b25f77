"""Clients of two Playwright versions at a machine that has both drivers from its image, and no package index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.machine.drivers import CONFINED
from appliance.names import minor_version
from tests.image.machine import BOOT_S, STEP_S, TOKEN, Machine
from tests.image.session import Client
from tests.support.versions import OWN_MINOR
from tests.support.waiting import until
from tests.versions.installed import python_of

HOLD_S = 600.0  # longer than the test looks at them


def listed(machine: Machine, what: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(machine.run(f"applctl {what} list --json"))
    return rows


@pytest.fixture(scope="module")
def further(seeded: Machine) -> str:
    """Return the version of a driver that the image has beside its own."""
    minors = [row["minor"] for row in listed(seeded, "drivers") if "shipped-drivers" in row["folder"]]
    if not minors:
        pytest.skip("the image has no further driver: `DRIVERS=1.62 packer/build.sh build/image` makes one that has")
    return minors[0]


@pytest.fixture(scope="module")
def further_pool(seeded: Machine, further: str) -> Iterator[str]:
    """Give the machine a pool for the clients of that version."""
    pool = f"chromium@{further}"
    seeded.run(f"applctl pools add {pool}")
    seeded.await_whole()
    yield pool
    seeded.run(f"applctl pools remove {pool}")
    until(lambda: pool not in str(listed(seeded, "pools")), "the pool is gone", STEP_S, 1)
    seeded.await_whole()


def test_the_machine_reaches_no_package_index(seeded: Machine) -> None:
    there = [row["minor"] for row in listed(seeded, "drivers")]
    missing = next(minor for minor in CONFINED if minor not in there)
    said = seeded.run(f"applctl drivers add {missing} 2>&1", check=False)
    assert "the package index cannot be reached" in said
    assert missing not in [row["minor"] for row in listed(seeded, "drivers")]


@pytest.mark.usefixtures("further_pool")
def test_clients_of_two_versions_have_sessions_side_by_side(seeded: Machine, further: str) -> None:
    pythons = {minor: python_of(minor) for minor in (OWN_MINOR, further)}
    clients = [Client(seeded.endpoint, TOKEN, hold_s=HOLD_S, python=python) for python in pythons.values()]
    assert [client.saw().title for client in clients] == ["A page of the client's"] * 2
    minors = {worker["id"]: minor_version(worker["version"]) for worker in listed(seeded, "workers")}
    sessions = listed(seeded, "sessions")
    assert {session["version"] for session in sessions} == set(pythons)
    assert [minors[session["worker"]] for session in sessions] == [session["version"] for session in sessions]
    assert not any(client.has_ended for client in clients)
    for client in clients:
        client.kill()
    until(lambda: not listed(seeded, "sessions"), "their sessions have ended", BOOT_S, 1)
