"""Real appliances and a real web site for the system tests."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system import site as web
from tests.system.grid import Grid

OLDER_PLAYWRIGHT = "1.62.0"  # the last whose driver speaks to Debian's firefox-esr

StartGrid = Callable[..., Grid]


def starter(to_be_stopped: ExitStack) -> StartGrid:
    """Give what starts appliances that are stopped with the stack."""

    def start(**settings: object) -> Grid:
        folder = Path(tempfile.mkdtemp(prefix="grid-"))  # short: unix sockets are made in it
        grid = Grid(folder, **settings)
        to_be_stopped.callback(grid.stop)
        return grid

    return start


@pytest.fixture
def start_grid() -> Iterator[StartGrid]:
    """Start appliances that one test may damage."""
    with ExitStack() as to_be_stopped:
        yield starter(to_be_stopped)


@pytest.fixture(scope="module")
def grid() -> Iterator[Grid]:
    """Give an appliance with one Chromium worker to the tests of a module that only use it."""
    with ExitStack() as to_be_stopped:
        yield starter(to_be_stopped)(MAX_LIFETIME_SESSIONS=0)


@pytest.fixture(scope="session")
def older_playwright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install another Playwright version, client and driver, in a virtual environment of its own.

    It is installed once for all processes that run tests.
    """
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, installed = root / "playwright", root / "playwright.installed"
    with (root / "playwright.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            subprocess.run([folder / "bin/pip", "install", "--quiet", f"playwright=={OLDER_PLAYWRIGHT}"], check=True)
            installed.touch()
    return folder


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """Serve the web site; gives its URL."""
    with web.serve() as url:
        yield url
