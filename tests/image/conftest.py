"""What the image's tests share: the key that lets them in, and machines that are gone afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.image import seed
from tests.image.machine import IMAGE, Machine

MakeMachine = Callable[..., Machine]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no test be ended by the time that suits others: all that they wait for has a deadline of its own."""
    for item in items:
        item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder for all machines, with the key that lets the tests in."""
    assert IMAGE.is_file(), f"there is no image {IMAGE}: make image"
    folder = tmp_path_factory.mktemp("image")
    seed.make_key(folder)
    return folder


@pytest.fixture(scope="module")
def make_machine(folder: Path, request: pytest.FixtureRequest) -> Iterator[MakeMachine]:
    """Give what makes a machine by its name, and switches it on; all are gone at the module's end."""
    made: list[Machine] = []

    def make(name: str, **options: object) -> Machine:
        machine = Machine(folder / name, **options)  # type: ignore[arg-type]
        made.append(machine)
        return machine.start()

    yield make
    failed = request.session.testsfailed
    for machine in made:
        machine.destroy()
        if failed or os.environ.get("SHOW_CONSOLE"):
            print(f"== console of {machine.folder.name}\n{machine.console.read_text(errors='replace')[-4000:]}")
