"""Real appliances and a real web site for the system tests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system import site as web
from tests.system.grid import Grid

StartGrid = Callable[..., Grid]


def _starter(started: list[Grid]) -> StartGrid:
    def start(**settings: object) -> Grid:
        folder = Path(tempfile.mkdtemp(prefix="grid-"))  # short: unix sockets are made in it
        started.append(Grid(folder, **settings))
        return started[-1]

    return start


@pytest.fixture
def start_grid() -> Iterator[StartGrid]:
    """Start appliances that one test may damage."""
    started: list[Grid] = []
    yield _starter(started)
    for grid in started:
        grid.stop()


@pytest.fixture(scope="module")
def grid() -> Iterator[Grid]:
    """Give an appliance with one Chromium worker to the tests of a module that only use it."""
    started: list[Grid] = []
    yield _starter(started)(MAX_LIFETIME_SESSIONS=0)
    started[0].stop()


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """Serve the web site; gives its URL."""
    with web.serve() as url:
        yield url
