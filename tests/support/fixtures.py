"""Fixtures of the system tests and attacks: real appliances and a real web site."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.names import minor_version
from tests.support import forked
from tests.support.appliance import Appliance, StartGrid
from tests.support.versions import OTHER_MINORS
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "tests" / "system" / "clients"
OLDER_PLAYWRIGHT = "1.62.0"  # the last whose driver speaks to Debian's firefox-esr

# Clients keep what node compiled: each start of one takes 0.1 s of CPU time less. Appliances do not inherit this.
os.environ.setdefault("NODE_COMPILE_CACHE", str(ROOT / "build" / "compile-cache"))


@pytest.fixture
def start_grid() -> Iterator[StartGrid]:
    """Start appliances that one test may damage."""
    with ExitStack() as to_be_stopped:
        yield lambda **settings: to_be_stopped.enter_context(Appliance(**settings))


@pytest.fixture(scope="session")
def standing_grid() -> Iterator[Appliance]:
    """Run one appliance with one Chromium worker for all modules that only use it: to start one takes seconds."""
    with Appliance(MAX_LIFETIME_SESSIONS=0) as grid:
        yield grid


@pytest.fixture(scope="module")
def grid(standing_grid: Appliance) -> Appliance:
    """Return the appliance to a module's tests, which only use it, with nothing of another module left."""
    until(lambda: not standing_grid.state.sessions(), "the sessions of another module have ended")
    assert standing_grid.lasting_differences() == []
    return standing_grid


@pytest.fixture(scope="session")
def older_playwright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install another Playwright version, client and driver, in a virtual environment of its own."""

    def install(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", folder, "install", "--quiet"]
        subprocess.run([*pip, f"playwright=={OLDER_PLAYWRIGHT}"], check=True)

    return _made_once(tmp_path_factory, "playwright", install)


@pytest.fixture(scope="session")
def added_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Add the driver of that version; return its folder."""
    folder = _made_once(tmp_path_factory, "driver", lambda folder: _add_driver(OLDER_PLAYWRIGHT, folder))
    return folder / OLDER_PLAYWRIGHT


@pytest.fixture(scope="session")
def drivers_dir(tmp_path_factory: pytest.TempPathFactory, added_driver: Path) -> Path:
    """Add the drivers of all versions that can be served beside the appliance's own; return DRIVERS_DIR."""

    def add(folder: Path) -> None:
        shutil.copytree(added_driver, folder / OLDER_PLAYWRIGHT, copy_function=os.link)
        for minor in OTHER_MINORS:
            if minor != minor_version(OLDER_PLAYWRIGHT):
                _add_driver(minor, folder)

    return _made_once(tmp_path_factory, "drivers", add)


def _add_driver(version: str, folder: Path) -> None:
    environment = os.environ | {"DRIVERS_DIR": str(folder), "APPLIANCE_ENV": os.devnull}
    added = forked.applctl(["drivers", "add", version], environment)
    assert added.returncode == 0, added.stderr


def _made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that is made once for all processes that run tests."""
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, made = root / name, root / f"{name}.made"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Return the folder of the clients of npm."""
    return install_clients()


def install_clients() -> Path:
    """Install the clients of npm; return their folder."""
    folder = CLIENTS / "node_modules"
    folder.mkdir(exist_ok=True)
    wanted = json.loads((CLIENTS / "package.json").read_text())["dependencies"]
    with (folder / ".installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all((folder / name).is_dir() for name in wanted):
            subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], cwd=CLIENTS, check=True)
    return folder


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """Serve the web site from a process of its own, which no other test delays; yield its URL."""
    command = [sys.executable, "-m", "tests.support.site"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        yield server.stdout.readline().strip()
        server.stdin.close()
