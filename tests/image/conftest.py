"""What the image's tests share: the key that lets them in, and machines that are gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.image import seed
from tests.image.machine import BOOT_S, IMAGE, SITE_ADDRESS, TOKEN, Machine, MakeMachine, Measured, accelerator

SEEDED = {"APPLIANCE_TOKEN": TOKEN, "CHROMIUM_WORKERS": 2, "SPARE_WORKERS": 0, "EGRESS_PRIVATE": SITE_ADDRESS}

_measured: Measured = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no test be ended by the time that suits others: all that they wait for has a deadline of its own."""
    for item in items:
        item.add_marker(pytest.mark.timeout(0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was measured, and with which acceleration."""
    if _measured:
        terminalreporter.section(f"measured, with {accelerator()}")
        for what, value in _measured.items():
            terminalreporter.line(f"{value:>8}  {what}")


@pytest.fixture
def measured() -> Measured:
    """Provide where a test notes what it measured."""
    return _measured


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a folder for all machines, with the key that lets the tests in."""
    assert IMAGE.is_file(), f"there is no image {IMAGE}: make image"
    folder = tmp_path_factory.mktemp("image")
    seed.make_key(folder)
    return folder


@pytest.fixture(scope="module")
def make_machine(folder: Path, request: pytest.FixtureRequest) -> Iterator[MakeMachine]:
    """Provide what makes a machine by its name, and switches it on; all are gone at the module's end."""
    made: list[Machine] = []

    def make(name: str, **options: Any) -> Machine:
        machine = Machine(folder / name, **options)
        made.append(machine)
        return machine.start()

    yield make
    for machine in made:
        put_away(machine, request)


@pytest.fixture(scope="session")
def seeded(folder: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Provide a machine with user data, which is whole: all its workers are there."""
    content = {"user-data": seed.user_data(folder, SEEDED), "meta-data": seed.meta_data("seeded")}
    drive = seed.make_drive(folder / "seeded.iso", "cidata", content)
    machine = Machine(folder / "seeded", drives=[drive], memory_mib=3072).start()
    try:
        machine.guest.await_login(BOOT_S)
        machine.await_whole()
        yield machine
    finally:
        put_away(machine, request)


def put_away(machine: Machine, request: pytest.FixtureRequest) -> None:
    """Destroy a machine; what it said is shown if anything failed."""
    machine.destroy()
    if request.session.testsfailed:
        print(f"== console of {machine.folder.name}\n{machine.console.read_text(errors='replace')[-4000:]}")
